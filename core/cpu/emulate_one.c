/* SPDX-License-Identifier: GPL-2.0-or-later */

/* The one-byte opcode map (SDM volume 2, table A-2). */
#include "core/cpu/emu.h"

static uint64_t imm_z(const struct insn *i)
{
    return (uint64_t)sign_extend(i->imm, i->osize == 2 ? 2 : 4);
}

static uint64_t imm_b(const struct insn *i)
{
    return (uint64_t)sign_extend(i->imm, 1);
}

static void not_in_64(struct cpu *c, const struct insn *i)
{
    if (i->mode == 8) throw_ud(c);
}

static void push(struct cpu *c, const struct insn *i, uint64_t v)
{
    struct stack s;
    stack_open(c, &s);
    stack_push(c, &s, stack_bytes(i), v);
    stack_commit(c, &s);
}

/* ---- ALU */

static void alu_to_rm(struct cpu *c, const struct insn *i, enum alu_op op,
                      unsigned bytes, uint64_t src)
{
    uint64_t f, r;
    if (op >= ALU_CMP) {
        f = c->rflags;
        alu_binary(op, bytes, rm_read(c, i, bytes), src, &f);
    } else {
        struct rmw m;
        rmw_open(c, i, &m, bytes);
        do {
            f = c->rflags;
            r = alu_binary(op, bytes, m.old, src, &f);
        } while (!rmw_close(c, &m, r));
    }
    flags_set(c, FLAGS_ARITH, f);
}

static void alu_to_reg(struct cpu *c, const struct insn *i, enum alu_op op,
                       unsigned bytes, unsigned reg, uint64_t src)
{
    uint64_t f = c->rflags;
    uint64_t r = alu_binary(op, bytes, op_reg_get(c, i, reg, bytes), src, &f);
    if (op < ALU_CMP) op_reg_set(c, i, reg, bytes, r);
    flags_set(c, FLAGS_ARITH, f);
}

/* 00..3F, columns 0..5 */
static void op_alu(struct cpu *c, const struct insn *i)
{
    enum alu_op op = i->op >> 3 & 7;
    unsigned bytes = i->op & 1 ? i->osize : 1;
    switch (i->op & 7) {
    case 0:
    case 1: alu_to_rm(c, i, op, bytes, op_reg_get(c, i, i->reg, bytes)); break;
    case 2:
    case 3: alu_to_reg(c, i, op, bytes, i->reg, rm_read(c, i, bytes)); break;
    default:
        alu_to_reg(c, i, op, bytes, GPR_AX, bytes == 1 ? imm_b(i) : imm_z(i));
        break;
    }
}

static void unary_rm(struct cpu *c, const struct insn *i, enum unary_op op,
                     unsigned bytes)
{
    struct rmw m;
    uint64_t f, r;
    rmw_open(c, i, &m, bytes);
    do {
        f = c->rflags;
        r = alu_unary(op, bytes, m.old, &f);
    } while (!rmw_close(c, &m, r));
    flags_set(c, FLAGS_ARITH, f);
}

static void op_shift(struct cpu *c, const struct insn *i, uint8_t count)
{
    unsigned bytes = i->op & 1 ? i->osize : 1;
    struct rmw m;
    uint64_t f = c->rflags;
    rmw_open(c, i, &m, bytes);
    uint64_t r = alu_shift(i->reg & 7, bytes, m.old, count, &f);
    rmw_close(c, &m, r);
    flags_set(c, FLAGS_ARITH, f);
}

static void op_multiply(struct cpu *c, const struct insn *i, unsigned bytes)
{
    uint64_t lo, hi, f = c->rflags, b = rm_read(c, i, bytes);
    alu_multiply((i->reg & 7) == 5, bytes, reg_get(c, GPR_AX, bytes), b, &lo,
                 &hi, &f);
    if (bytes == 1) {
        reg_set(c, GPR_AX, 2, hi << 8 | lo);
    } else {
        reg_set(c, GPR_AX, bytes, lo);
        reg_set(c, GPR_DX, bytes, hi);
    }
    flags_set(c, FLAGS_ARITH, f);
}

static void op_divide(struct cpu *c, const struct insn *i, unsigned bytes)
{
    uint64_t f = c->rflags, b = rm_read(c, i, bytes);
    uint64_t lo = reg_get(c, GPR_AX, bytes);
    uint64_t hi =
        bytes == 1 ? c->gpr[GPR_AX] >> 8 & 0xff : reg_get(c, GPR_DX, bytes);
    if (!alu_divide((i->reg & 7) == 7, bytes, &lo, &hi, b, &f)) {
        cpu_throw(c, EXC_DE);
    }
    if (bytes == 1) {
        reg_set(c, GPR_AX, 2, hi << 8 | (lo & 0xff));
    } else {
        reg_set(c, GPR_AX, bytes, lo);
        reg_set(c, GPR_DX, bytes, hi);
    }
    flags_set(c, FLAGS_ARITH, f);
}

/* F6, F7 */
static void op_group3(struct cpu *c, const struct insn *i)
{
    unsigned bytes = i->op & 1 ? i->osize : 1;
    switch (i->reg & 7) {
    case 0:
    case 1:
        alu_to_rm(c, i, ALU_TEST, bytes, bytes == 1 ? imm_b(i) : imm_z(i));
        break;
    case 2: unary_rm(c, i, UN_NOT, bytes); break;
    case 3: unary_rm(c, i, UN_NEG, bytes); break;
    case 4:
    case 5: op_multiply(c, i, bytes); break;
    default: op_divide(c, i, bytes); break;
    }
}

static void op_imul3(struct cpu *c, const struct insn *i, uint64_t b)
{
    uint64_t f = c->rflags;
    uint64_t r = alu_imul(i->osize, rm_read(c, i, i->osize), b, &f);
    reg_set(c, i->reg, i->osize, r);
    flags_set(c, FLAGS_ARITH, f);
}

/* 40..4F outside 64-bit code */
static void op_inc_dec(struct cpu *c, const struct insn *i)
{
    uint64_t f = c->rflags;
    unsigned reg = i->op & 7;
    uint64_t r = alu_unary(i->op & 8 ? UN_DEC : UN_INC, i->osize,
                           reg_get(c, reg, i->osize), &f);
    reg_set(c, reg, i->osize, r);
    flags_set(c, FLAGS_ARITH, f);
}

/* ---- moves */

static void op_xchg(struct cpu *c, const struct insn *i, unsigned bytes)
{
    struct rmw m;
    uint64_t v = op_reg_get(c, i, i->reg, bytes);
    rmw_open(c, i, &m, bytes);
    while (!rmw_close(c, &m, v)) {
    }
    op_reg_set(c, i, i->reg, bytes, m.old);
}

static void op_mov_from_sreg(struct cpu *c, const struct insn *i)
{
    unsigned seg = i->reg & 7;
    if (seg >= SEG_COUNT) throw_ud(c);
    rm_write(c, i, i->mod == 3 ? i->osize : 2, c->seg[seg].sel);
}

static void op_mov_to_sreg(struct cpu *c, struct insn *i)
{
    unsigned seg = i->reg & 7;
    if (seg >= SEG_COUNT || seg == SEG_CS) throw_ud(c);
    load_segment(c, seg, (unsigned)rm_read(c, i, 2));
    if (seg == SEG_SS) i->shadows = i->no_trap = true;
}

/* In a slot of 32 bits Intel's processors write the lower half alone (SDM
 * volume 2, PUSH); others clear the upper one. */
void op_push_sreg(struct cpu *c, const struct insn *i, unsigned seg)
{
    struct stack s;
    uint64_t v = c->seg[seg].sel;
    unsigned bytes = stack_bytes(i);
    stack_open(c, &s);
    if (bytes == 4 && !(c->model && c->model->is_amd)) {
        s.sp -= 2;
        bytes = 2;
    }
    stack_push(c, &s, bytes, v);
    stack_commit(c, &s);
}

void op_pop_sreg(struct cpu *c, struct insn *i, unsigned seg)
{
    struct stack s;
    stack_open(c, &s);
    unsigned sel = stack_pop(c, &s, stack_bytes(i)) & 0xffff;
    load_segment(c, seg, sel);
    stack_commit(c, &s);
    if (seg == SEG_SS) i->shadows = i->no_trap = true;
}

static void op_pop_rm(struct cpu *c, const struct insn *i)
{
    struct stack s;
    unsigned bytes = stack_bytes(i);
    if (i->reg & 7) throw_ud(c);
    stack_open(c, &s);
    uint64_t v = stack_pop(c, &s, bytes);
    if (i->mod == 3) {
        stack_commit(c, &s);
        reg_set(c, i->rm, bytes, v);
        return;
    }
    uint64_t ea = insn_ea(c, i);
    if (i->base == GPR_SP) ea = (ea + bytes) & size_mask(i->asize);
    mem_write(c, i->seg, ea, bytes, v);
    stack_commit(c, &s);
}

static void op_pop_reg(struct cpu *c, const struct insn *i)
{
    struct stack s;
    unsigned bytes = stack_bytes(i);
    stack_open(c, &s);
    uint64_t v = stack_pop(c, &s, bytes);
    stack_commit(c, &s);
    reg_set(c, (i->op & 7) | (i->rex & 1 ? 8 : 0), bytes, v);
}

static void op_pusha(struct cpu *c, const struct insn *i)
{
    struct stack s;
    not_in_64(c, i);
    stack_open(c, &s);
    for (unsigned n = 0; n < 8; n++) {
        stack_push(c, &s, i->osize, c->gpr[n]);
    }
    stack_commit(c, &s);
}

static void op_popa(struct cpu *c, const struct insn *i)
{
    struct stack s;
    uint64_t v[8];
    not_in_64(c, i);
    stack_open(c, &s);
    for (unsigned n = 8; n-- > 0;) {
        v[n] = stack_pop(c, &s, i->osize);
    }
    for (unsigned n = 0; n < 8; n++) {
        if (n != GPR_SP) reg_set(c, n, i->osize, v[n]);
    }
    stack_commit(c, &s);
}

static void op_enter(struct cpu *c, const struct insn *i)
{
    struct stack s;
    unsigned bytes = stack_bytes(i), level = i->imm2 & 31;
    stack_open(c, &s);
    struct stack from = s;
    from.sp = c->gpr[GPR_BP];
    stack_push(c, &s, bytes, c->gpr[GPR_BP]);
    uint64_t frame = s.sp;
    for (unsigned n = 1; n < level; n++) {
        from.sp -= bytes;
        struct stack one = from;
        stack_push(c, &s, bytes, stack_pop(c, &one, bytes));
    }
    if (level) stack_push(c, &s, bytes, frame);
    s.sp -= i->imm;
    stack_probe(c, &s, bytes);
    reg_set(c, GPR_BP, bytes, frame);
    stack_commit(c, &s);
}

static void op_leave(struct cpu *c, const struct insn *i)
{
    struct stack s;
    unsigned bytes = stack_bytes(i);
    stack_open(c, &s);
    s.sp = c->gpr[GPR_BP];
    uint64_t v = stack_pop(c, &s, bytes);
    stack_commit(c, &s);
    reg_set(c, GPR_BP, bytes, v);
}

/* LES, LDS (C4, C5); LSS, LFS, LGS come from the 0F map. */
void op_load_far(struct cpu *c, struct insn *i, unsigned seg)
{
    if (i->mod == 3) throw_ud(c);
    uint64_t ea = insn_ea(c, i);
    uint64_t v = mem_read(c, i->seg, ea, i->osize);
    uint64_t at = (ea + i->osize) & size_mask(i->asize);
    load_segment(c, seg, (unsigned)mem_read(c, i->seg, at, 2));
    reg_set(c, i->reg, i->osize, v);
    if (seg == SEG_SS) i->shadows = i->no_trap = true;
}

static void op_xlat(struct cpu *c, const struct insn *i)
{
    uint64_t off =
        (c->gpr[GPR_BX] + (c->gpr[GPR_AX] & 0xff)) & size_mask(i->asize);
    reg_set(c, GPR_AX, 1, mem_read(c, i->seg, off, 1));
}

static void op_bound(struct cpu *c, const struct insn *i)
{
    if (i->mode == 8 || i->mod == 3) throw_ud(c);
    uint64_t ea = insn_ea(c, i);
    uint64_t at = (ea + i->osize) & size_mask(i->asize);
    int64_t low = sign_extend(mem_read(c, i->seg, ea, i->osize), i->osize);
    int64_t high = sign_extend(mem_read(c, i->seg, at, i->osize), i->osize);
    int64_t v = sign_extend(c->gpr[i->reg], i->osize);
    if (v < low || v > high) cpu_throw(c, EXC_BR);
}

static void op_arpl(struct cpu *c, const struct insn *i)
{
    if (is_real_style(c)) throw_ud(c);
    uint64_t old = rm_read(c, i, 2);
    unsigned rpl = c->gpr[i->reg] & 3;
    bool is_lower = (old & 3) < rpl;
    if (is_lower) rm_write(c, i, 2, (old & ~(uint64_t)3) | rpl);
    flags_set(c, FLAG_ZF, is_lower ? FLAG_ZF : 0);
}

/* 98, 99: CBW family and CWD family */
static void op_convert(struct cpu *c, const struct insn *i)
{
    int64_t v;
    if (i->op == 0x98) {
        v = sign_extend(c->gpr[GPR_AX], i->osize / 2);
        reg_set(c, GPR_AX, i->osize, (uint64_t)v);
    } else {
        v = sign_extend(c->gpr[GPR_AX], i->osize);
        reg_set(c, GPR_DX, i->osize, v < 0 ? UINT64_MAX : 0);
    }
}

/* ---- control transfer */

static void jump_rel(struct cpu *c, struct insn *i, int64_t rel)
{
    uint64_t to = i->next + (uint64_t)rel;
    if (i->mode != 8) to &= size_mask(i->osize);
    jump_near(c, i, to);
}

static int64_t rel_z(const struct insn *i)
{
    return sign_extend(i->imm, i->mode != 8 && i->osize == 2 ? 2 : 4);
}

void op_jcc_near(struct cpu *c, struct insn *i)
{
    if (alu_condition(i->op & 15, c->rflags)) jump_rel(c, i, rel_z(i));
}

/* E0..E3 */
static void op_loop(struct cpu *c, struct insn *i)
{
    uint64_t count = reg_get(c, GPR_CX, i->asize);
    bool is_taken;
    if (i->op == 0xe3) {
        is_taken = count == 0;
    } else {
        bool is_zero = c->rflags & FLAG_ZF;
        count = (count - 1) & size_mask(i->asize);
        is_taken = count != 0;
        if (i->op == 0xe0) is_taken = is_taken && !is_zero;
        if (i->op == 0xe1) is_taken = is_taken && is_zero;
    }
    if (is_taken) jump_rel(c, i, sign_extend(i->imm, 1));
    if (i->op != 0xe3) reg_set(c, GPR_CX, i->asize, count);
}

static void call_near(struct cpu *c, struct insn *i, uint64_t to)
{
    struct stack s;
    unsigned bytes = i->mode == 8 ? 8 : i->osize;
    if (i->mode != 8) to &= size_mask(i->osize);
    to = check_target(c, &c->seg[SEG_CS], to);
    stack_open(c, &s);
    stack_push(c, &s, bytes, i->next);
    stack_commit(c, &s);
    i->next = to;
}

static void op_ret(struct cpu *c, struct insn *i, unsigned extra)
{
    struct stack s;
    stack_open(c, &s);
    uint64_t to = stack_pop(c, &s, i->mode == 8 ? 8 : i->osize);
    jump_near(c, i, to);
    s.sp += extra;
    stack_commit(c, &s);
}

/* FF /3 and /5 */
static void far_indirect(struct cpu *c, struct insn *i, bool is_call)
{
    if (i->mod == 3) throw_ud(c);
    uint64_t ea = insn_ea(c, i);
    uint64_t off = mem_read(c, i->seg, ea, i->osize);
    uint64_t at = (ea + i->osize) & size_mask(i->asize);
    unsigned sel = (unsigned)mem_read(c, i->seg, at, 2);
    if (is_call) {
        far_call(c, i, sel, off, i->osize);
    } else {
        far_jump(c, i, sel, off);
    }
}

/* FE, FF */
static void op_group5(struct cpu *c, struct insn *i)
{
    unsigned bytes = i->op & 1 ? i->osize : 1;
    unsigned n = i->reg & 7, near = i->mode == 8 ? 8 : i->osize;
    if (i->op == 0xfe && n > 1) throw_ud(c);
    switch (n) {
    case 0: unary_rm(c, i, UN_INC, bytes); break;
    case 1: unary_rm(c, i, UN_DEC, bytes); break;
    case 2: call_near(c, i, rm_read(c, i, near)); break;
    case 3: far_indirect(c, i, true); break;
    case 4: jump_near(c, i, rm_read(c, i, near)); break;
    case 5: far_indirect(c, i, false); break;
    case 6: push(c, i, rm_read(c, i, stack_bytes(i))); break;
    default: throw_ud(c);
    }
}

static void op_hlt(struct cpu *c)
{
    require_cpl0(c);
    c->activity = CPU_HALTED;
}

static void op_lahf(struct cpu *c, bool is_store)
{
    const uint64_t mask = FLAGS_ARITH & ~(uint64_t)FLAG_OF;
    uint64_t ah = c->gpr[GPR_AX] >> 8 & 0xff;
    if (is_store) {
        flags_set(c, mask, ah);
    } else {
        ah = (c->rflags & mask) | 2;
        c->gpr[GPR_AX] = (c->gpr[GPR_AX] & ~(uint64_t)0xff00) | ah << 8;
    }
}

/* ---- dispatch */

static void row_00_3f(struct cpu *c, struct insn *i)
{
    static const uint8_t seg_of_row[4] = { SEG_ES, SEG_CS, SEG_SS, SEG_DS };
    unsigned row = i->op >> 4, column = i->op & 7;
    if (column < 6) {
        op_alu(c, i);
        return;
    }
    not_in_64(c, i);
    switch (i->op) {
    case 0x06:
    case 0x16: op_push_sreg(c, i, seg_of_row[2 * (row & 1)]); break;
    case 0x0e:
    case 0x1e: op_push_sreg(c, i, seg_of_row[1 + 2 * (row & 1)]); break;
    case 0x07:
    case 0x17: op_pop_sreg(c, i, seg_of_row[2 * (row & 1)]); break;
    case 0x1f: op_pop_sreg(c, i, SEG_DS); break;
    default: op_bcd(c, i); break; /* 27 2F 37 3F */
    }
}

static void row_60(struct cpu *c, struct insn *i)
{
    switch (i->op) {
    case 0x60: op_pusha(c, i); break;
    case 0x61: op_popa(c, i); break;
    case 0x62: op_bound(c, i); break;
    case 0x63:
        if (i->mode != 8) {
            op_arpl(c, i);
        } else {
            unsigned from = i->osize == 2 ? 2 : 4;
            reg_set(c, i->reg, i->osize,
                    (uint64_t)sign_extend(rm_read(c, i, from), from));
        }
        break;
    case 0x68: push(c, i, imm_z(i)); break;
    case 0x69: op_imul3(c, i, imm_z(i)); break;
    case 0x6a: push(c, i, imm_b(i)); break;
    case 0x6b: op_imul3(c, i, imm_b(i)); break;
    default: emulate_string(c, i); break;
    }
}

static void row_80(struct cpu *c, struct insn *i)
{
    unsigned bytes = i->op & 1 ? i->osize : 1;
    switch (i->op) {
    case 0x82: not_in_64(c, i); /* fall through */
    case 0x80:
    case 0x83: alu_to_rm(c, i, i->reg & 7, bytes, imm_b(i)); break;
    case 0x81: alu_to_rm(c, i, i->reg & 7, bytes, imm_z(i)); break;
    case 0x84:
    case 0x85:
        alu_to_rm(c, i, ALU_TEST, bytes, op_reg_get(c, i, i->reg, bytes));
        break;
    case 0x86:
    case 0x87: op_xchg(c, i, bytes); break;
    case 0x88:
    case 0x89: rm_write(c, i, bytes, op_reg_get(c, i, i->reg, bytes)); break;
    case 0x8a:
    case 0x8b: op_reg_set(c, i, i->reg, bytes, rm_read(c, i, bytes)); break;
    case 0x8c: op_mov_from_sreg(c, i); break;
    case 0x8d:
        if (i->mod == 3) throw_ud(c);
        reg_set(c, i->reg, i->osize, insn_ea(c, i));
        break;
    case 0x8e: op_mov_to_sreg(c, i); break;
    default: op_pop_rm(c, i); break;
    }
}

static void row_90(struct cpu *c, struct insn *i)
{
    unsigned reg = (i->op & 7) | (i->rex & 1 ? 8 : 0);
    if (i->op < 0x98) {
        if (i->op == 0x90 && i->rep == 0xf3) return; /* PAUSE, REX.B or not */
        if (reg == 0) return;                        /* NOP */
        uint64_t v = reg_get(c, GPR_AX, i->osize);
        reg_set(c, GPR_AX, i->osize, reg_get(c, reg, i->osize));
        reg_set(c, reg, i->osize, v);
        return;
    }
    switch (i->op) {
    case 0x98:
    case 0x99: op_convert(c, i); break;
    case 0x9a:
        not_in_64(c, i);
        far_call(c, i, i->imm2, i->imm, i->osize);
        break;
    case 0x9b: fwait_check(c, true); break;
    case 0x9c: op_pushf(c, i); break;
    case 0x9d: op_popf(c, i); break;
    case 0x9e: op_lahf(c, true); break;
    default: op_lahf(c, false); break;
    }
}

static void row_a0(struct cpu *c, struct insn *i)
{
    unsigned bytes = i->op & 1 ? i->osize : 1;
    switch (i->op) {
    case 0xa0:
    case 0xa1:
        reg_set(c, GPR_AX, bytes, mem_read(c, i->seg, i->imm, bytes));
        break;
    case 0xa2:
    case 0xa3:
        mem_write(c, i->seg, i->imm, bytes, reg_get(c, GPR_AX, bytes));
        break;
    case 0xa8:
    case 0xa9:
        alu_to_reg(c, i, ALU_TEST, bytes, GPR_AX,
                   bytes == 1 ? imm_b(i) : imm_z(i));
        break;
    default: emulate_string(c, i); break;
    }
}

static void row_c0(struct cpu *c, struct insn *i)
{
    switch (i->op) {
    case 0xc0:
    case 0xc1: op_shift(c, i, (uint8_t)i->imm); break;
    case 0xc2: op_ret(c, i, (unsigned)i->imm); break;
    case 0xc3: op_ret(c, i, 0); break;
    case 0xc4: op_load_far(c, i, SEG_ES); break;
    case 0xc5: op_load_far(c, i, SEG_DS); break;
    case 0xc6:
        if (i->reg & 7) throw_ud(c);
        rm_write(c, i, 1, i->imm);
        break;
    case 0xc7:
        if (i->reg & 7) throw_ud(c);
        rm_write(c, i, i->osize, imm_z(i));
        break;
    case 0xc8: op_enter(c, i); break;
    case 0xc9: op_leave(c, i); break;
    case 0xca: far_return(c, i, i->osize, (unsigned)i->imm); break;
    case 0xcb: far_return(c, i, i->osize, 0); break;
    case 0xcc: soft_interrupt(c, i, EXC_BP); break;
    case 0xcd: soft_interrupt(c, i, (unsigned)i->imm); break;
    case 0xce:
        not_in_64(c, i);
        if (c->rflags & FLAG_OF) soft_interrupt(c, i, EXC_OF);
        break;
    default: interrupt_return(c, i, i->osize); break;
    }
}

static void row_d0(struct cpu *c, struct insn *i)
{
    switch (i->op) {
    case 0xd0:
    case 0xd1: op_shift(c, i, 1); break;
    case 0xd2:
    case 0xd3: op_shift(c, i, (uint8_t)c->gpr[GPR_CX]); break;
    case 0xd4:
    case 0xd5:
        not_in_64(c, i);
        op_bcd(c, i);
        break;
    case 0xd6:
        not_in_64(c, i);
        reg_set(c, GPR_AX, 1, c->rflags & FLAG_CF ? 0xff : 0);
        break;
    case 0xd7: op_xlat(c, i); break;
    default:
        if (!emulate_fpu(c, i)) throw_ud(c);
        break;
    }
}

static void row_e0(struct cpu *c, struct insn *i)
{
    switch (i->op) {
    case 0xe0:
    case 0xe1:
    case 0xe2:
    case 0xe3: op_loop(c, i); break;
    case 0xe8: call_near(c, i, i->next + (uint64_t)rel_z(i)); break;
    case 0xe9: jump_rel(c, i, rel_z(i)); break;
    case 0xea:
        not_in_64(c, i);
        far_jump(c, i, i->imm2, i->imm);
        break;
    case 0xeb: jump_rel(c, i, sign_extend(i->imm, 1)); break;
    default: emulate_io(c, i); break;
    }
}

static void row_f0(struct cpu *c, struct insn *i)
{
    switch (i->op) {
    case 0xf1: soft_interrupt(c, i, EXC_DB); break;
    case 0xf4: op_hlt(c); break;
    case 0xf5: c->rflags ^= FLAG_CF; break;
    case 0xf6:
    case 0xf7: op_group3(c, i); break;
    case 0xf8: c->rflags &= ~(uint64_t)FLAG_CF; break;
    case 0xf9: c->rflags |= FLAG_CF; break;
    case 0xfa: op_cli(c); break;
    case 0xfb: op_sti(c, i); break;
    case 0xfc: c->rflags &= ~(uint64_t)FLAG_DF; break;
    case 0xfd: c->rflags |= FLAG_DF; break;
    case 0xfe:
    case 0xff: op_group5(c, i); break;
    default: throw_ud(c);
    }
}

void emulate_one_byte(struct cpu *c, struct insn *i)
{
    unsigned reg = (i->op & 7) | (i->rex & 1 ? 8 : 0);
    switch (i->op >> 4) {
    case 0x0:
    case 0x1:
    case 0x2:
    case 0x3: row_00_3f(c, i); break;
    case 0x4: op_inc_dec(c, i); break;
    case 0x5:
        if (i->op & 8) {
            op_pop_reg(c, i);
        } else {
            push(c, i, c->gpr[reg]);
        }
        break;
    case 0x6: row_60(c, i); break;
    case 0x7:
        if (alu_condition(i->op & 15, c->rflags)) {
            jump_rel(c, i, sign_extend(i->imm, 1));
        }
        break;
    case 0x8: row_80(c, i); break;
    case 0x9: row_90(c, i); break;
    case 0xa: row_a0(c, i); break;
    case 0xb:
        if (i->op & 8) {
            reg_set(c, reg, i->osize, i->imm);
        } else {
            op_reg_set(c, i, reg, 1, i->imm);
        }
        break;
    case 0xc: row_c0(c, i); break;
    case 0xd: row_d0(c, i); break;
    case 0xe: row_e0(c, i); break;
    default: row_f0(c, i); break;
    }
}
