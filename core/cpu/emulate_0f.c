/* SPDX-License-Identifier: GPL-2.0-or-later */

/* The two-byte opcode map, integer and system part (SDM volume 2, table A-3). */
#include "core/cpu/emu.h"

static void op_lar(struct cpu *c, const struct insn *i, bool is_lsl)
{
    /* System types that may be looked at, as bit masks (SDM, LAR and LSL). */
    uint32_t types =
        is_lsl ? 1u << 1 | 1u << 2 | 1u << 3 | 1u << 9 | 1u << 11 : 0x1a3e;
    struct desc d;
    if (is_real_style(c)) throw_ud(c);
    unsigned sel = (unsigned)rm_read(c, i, 2);
    if (cpu_is_long(c)) types &= 1u << 2 | 1u << 9 | 1u << 11 | 1u << 12;
    bool is_ok = desc_read(c, sel, &d);
    if (is_ok && !(d.hi & DESC_S)) is_ok = types >> DESC_TYPE(&d) & 1;
    if (is_ok && !(desc_is_code(&d) && desc_is_conforming(&d))) {
        unsigned dpl = DESC_DPL(&d);
        is_ok = cpu_cpl(c) <= dpl && (sel & 3) <= dpl;
    }
    flags_set(c, FLAG_ZF, is_ok ? FLAG_ZF : 0);
    if (!is_ok) return;
    uint64_t v = is_lsl ? desc_segment(&d, sel).limit : d.hi & 0x00f0ff00;
    reg_set(c, i->reg, i->osize, v);
}

static void op_cmov(struct cpu *c, const struct insn *i)
{
    uint64_t v = rm_read(c, i, i->osize);
    if (!alu_condition(i->op & 15, c->rflags)) {
        v = reg_get(c, i->reg, i->osize); /* 32 bits: zeroes the upper half */
    }
    reg_set(c, i->reg, i->osize, v);
}

static void op_imul2(struct cpu *c, const struct insn *i)
{
    uint64_t f = c->rflags, b = rm_read(c, i, i->osize);
    uint64_t r = alu_imul(i->osize, reg_get(c, i->reg, i->osize), b, &f);
    reg_set(c, i->reg, i->osize, r);
    flags_set(c, FLAGS_ARITH, f);
}

static void op_double_shift(struct cpu *c, const struct insn *i)
{
    uint8_t count = i->op & 1 ? (uint8_t)c->gpr[GPR_CX] : (uint8_t)i->imm;
    struct rmw m;
    uint64_t f = c->rflags;
    rmw_open(c, i, &m, i->osize);
    uint64_t r = alu_double_shift(i->op & 8, i->osize, m.old,
                                  reg_get(c, i->reg, i->osize), count, &f);
    rmw_close(c, &m, r);
    flags_set(c, FLAGS_ARITH, f);
}

/* BT, BTS, BTR, BTC: A3 AB B3 BB with a register, BA /4../7 with imm8. */
void op_bit_test(struct cpu *c, const struct insn *i)
{
    unsigned bits = 8 * i->osize, kind;
    int64_t at;
    if (i->op == 0xba) {
        kind = i->reg & 3;
        at = (int64_t)(i->imm & (bits - 1));
    } else {
        kind = i->op >> 3 & 3;
        at = sign_extend(c->gpr[i->reg], i->osize);
    }
    uint64_t bit = (uint64_t)1 << ((uint64_t)at & (bits - 1));
    uint64_t off =
        i->mod == 3 ? 0
                    : insn_ea(c, i) + (uint64_t)(at >> 3 & -(int64_t)i->osize);
    uint64_t old;
    if (kind == 0) {
        old = i->mod == 3
                  ? reg_get(c, i->rm, i->osize)
                  : mem_read(c, i->seg, off & size_mask(i->asize), i->osize);
    } else {
        struct rmw m;
        uint64_t v;
        if (i->mod == 3) {
            rmw_open(c, i, &m, i->osize);
        } else {
            rmw_open_at(c, i, &m, i->osize, off);
        }
        do {
            old = m.old;
            v = kind == 1 ? old | bit : kind == 2 ? old & ~bit : old ^ bit;
        } while (!rmw_close(c, &m, v));
    }
    flags_set(c, FLAG_CF, old & bit ? FLAG_CF : 0);
}

static void op_scan(struct cpu *c, const struct insn *i, enum scan_op op)
{
    uint64_t f = c->rflags, a = rm_read(c, i, i->osize);
    uint64_t r = alu_scan(op, i->osize, reg_get(c, i->reg, i->osize), a, &f);
    bool keeps = (op == SCAN_BSF || op == SCAN_BSR) && a == 0;
    if (!keeps) reg_set(c, i->reg, i->osize, r);
    flags_set(c, FLAGS_ARITH, f);
}

static void op_movx(struct cpu *c, const struct insn *i)
{
    unsigned from = i->op & 1 ? 2 : 1;
    uint64_t v = rm_read(c, i, from);
    if (i->op & 8) v = (uint64_t)sign_extend(v, from);
    reg_set(c, i->reg, i->osize, v);
}

static void op_xadd(struct cpu *c, const struct insn *i)
{
    unsigned bytes = i->op & 1 ? i->osize : 1;
    uint64_t f, r, old, src = op_reg_get(c, i, i->reg, bytes);
    struct rmw m;
    rmw_open(c, i, &m, bytes);
    do {
        f = c->rflags;
        old = m.old;
        r = alu_binary(ALU_ADD, bytes, old, src, &f);
        /* The register first: with the same one twice the sum stays. */
        if (m.is_reg) op_reg_set(c, i, i->reg, bytes, old);
    } while (!rmw_close(c, &m, r));
    if (!m.is_reg) op_reg_set(c, i, i->reg, bytes, old);
    flags_set(c, FLAGS_ARITH, f);
}

static void op_cmpxchg(struct cpu *c, const struct insn *i)
{
    unsigned bytes = i->op & 1 ? i->osize : 1;
    uint64_t src = op_reg_get(c, i, i->reg, bytes);
    uint64_t acc = reg_get(c, GPR_AX, bytes), old, f;
    struct rmw m;
    rmw_open(c, i, &m, bytes);
    do {
        old = m.old;
        if (m.is_reg && old != acc) break; /* the register stays whole */
    } while (!rmw_close(c, &m, old == acc ? src : old));
    f = c->rflags;
    alu_binary(ALU_CMP, bytes, acc, old, &f);
    if (old != acc) reg_set(c, GPR_AX, bytes, old);
    flags_set(c, FLAGS_ARITH, f);
}

static void op_cmpxchg8b(struct cpu *c, const struct insn *i)
{
    uint64_t acc = (uint32_t)c->gpr[GPR_AX] | c->gpr[GPR_DX] << 32;
    uint64_t src = (uint32_t)c->gpr[GPR_BX] | c->gpr[GPR_CX] << 32, old;
    struct rmw m;
    rmw_open(c, i, &m, 8);
    do {
        old = m.old;
    } while (!rmw_close(c, &m, old == acc ? src : old));
    if (old != acc) {
        c->gpr[GPR_AX] = (uint32_t)old;
        c->gpr[GPR_DX] = old >> 32;
    }
    flags_set(c, FLAG_ZF, old == acc ? FLAG_ZF : 0);
}

static void op_cmpxchg16b(struct cpu *c, const struct insn *i)
{
    uint64_t ea = insn_ea(c, i);
    if ((ea + c->seg[i->seg].base) & 15) throw_gp(c, 0); /* before #SS */
    uint64_t lin = seg_linear(c, i->seg, ea, 16, ACC_READ | ACC_WRITE);
    uint64_t lo = c->gpr[GPR_AX], hi = c->gpr[GPR_DX];
    uint8_t is_equal;
    uint64_t *p = c->ops->lin_ptr(c, lin, ACC_READ | ACC_WRITE);
    if (p) {
        __asm__ volatile("lock cmpxchg16b %1"
                         : "=@ccz"(is_equal), "+m"(*(char(*)[16])p), "+a"(lo),
                           "+d"(hi)
                         : "b"(c->gpr[GPR_BX]), "c"(c->gpr[GPR_CX])
                         : "memory");
    } else {
        uint64_t v[2];
        bool is_locked = i->has_lock && c->ops->bus_lock;
        if (is_locked) c->ops->bus_lock(c, true);
        c->ops->load(c, lin, v, 16, ACC_READ);
        is_equal = v[0] == lo && v[1] == hi;
        lo = v[0];
        hi = v[1];
        if (is_equal) {
            v[0] = c->gpr[GPR_BX];
            v[1] = c->gpr[GPR_CX];
        }
        c->ops->store(c, lin, v, 16, ACC_WRITE);
        if (is_locked) c->ops->bus_lock(c, false);
    }
    if (!is_equal) {
        c->gpr[GPR_AX] = lo;
        c->gpr[GPR_DX] = hi;
    }
    flags_set(c, FLAG_ZF, is_equal ? FLAG_ZF : 0);
}

bool model_bit_sub(const struct cpu *c, uint32_t leaf, uint32_t subleaf,
                   unsigned reg, unsigned bit)
{
    uint32_t v[4];
    if (!c->model) return true; /* no model: everything the host has */
    cpu_cpuid(c, leaf, subleaf, v);
    return v[reg] >> bit & 1;
}

bool model_bit(const struct cpu *c, uint32_t leaf, unsigned reg, unsigned bit)
{
    return model_bit_sub(c, leaf, 0, reg, bit);
}

/* RDRAND, RDSEED: the host's, which the guest has only where the host does. */
static void op_random(struct cpu *c, const struct insn *i, bool is_seed)
{
    uint64_t v = 0;
    uint8_t is_ok = 0;
    bool has = is_seed ? model_bit(c, 7, 1, 18) : model_bit(c, 1, 2, 30);
    if (!has) throw_ud(c);
    for (unsigned n = 0; n < 16 && !is_ok; n++) {
        if (is_seed) {
            __asm__ volatile("rdseed %0" : "=r"(v), "=@ccc"(is_ok));
        } else {
            __asm__ volatile("rdrand %0" : "=r"(v), "=@ccc"(is_ok));
        }
    }
    reg_set(c, i->rm, i->osize, is_ok ? v : 0);
    flags_set(c, FLAGS_ARITH, is_ok ? FLAG_CF : 0);
}

/* 0F C7 */
static void op_group9(struct cpu *c, const struct insn *i)
{
    unsigned n = i->reg & 7;
    if (n == 1 && i->mod != 3) {
        if (i->osize == 8) {
            op_cmpxchg16b(c, i);
        } else {
            op_cmpxchg8b(c, i);
        }
    } else if (n == 4 && i->mod != 3 && !i->rep && !i->has_66) {
        op_xsavec(c, i);
    } else if (i->mod == 3 && i->rep == 0 && (n == 6 || n == 7)) {
        op_random(c, i, n == 7);
    } else if (i->mod == 3 && i->rep == 0xf3 && n == 7 &&
               model_bit(c, 7, 2, 22)) {
        reg_set(c, i->rm, i->mode == 8 ? 8 : 4, c->tsc_aux);
    } else {
        throw_ud(c);
    }
}

static void op_bswap(struct cpu *c, const struct insn *i)
{
    unsigned reg = (i->op & 7) | (i->rex & 1 ? 8 : 0);
    uint64_t v = c->gpr[reg];
    if (i->osize == 8) {
        c->gpr[reg] = __builtin_bswap64(v);
    } else if (i->osize == 4) {
        c->gpr[reg] = __builtin_bswap32((uint32_t)v);
    } else {
        reg_set(c, reg, 2, 0); /* undefined; what processors do */
    }
}

static void op_cpuid(struct cpu *c)
{
    uint32_t v[4];
    cpu_cpuid(c, (uint32_t)c->gpr[GPR_AX], (uint32_t)c->gpr[GPR_CX], v);
    c->gpr[GPR_AX] = v[0];
    c->gpr[GPR_BX] = v[1];
    c->gpr[GPR_CX] = v[2];
    c->gpr[GPR_DX] = v[3];
}

static void op_clts(struct cpu *c)
{
    require_cpl0(c);
    c->cr0 &= ~(uint64_t)CR0_TS;
    mode_changed(c);
}

static bool row_00(struct cpu *c, struct insn *i)
{
    switch (i->op) {
    case 0x00: op_group6(c, i); return true;
    case 0x01: op_group7(c, i); return true;
    case 0x02: op_lar(c, i, false); return true;
    case 0x03: op_lar(c, i, true); return true;
    case 0x05: op_syscall(c, i); return true;
    case 0x06: op_clts(c); return true;
    case 0x07: op_sysret(c, i); return true;
    case 0x08:
    case 0x09: require_cpl0(c); return true; /* caches are coherent */
    case 0x0d: /* prefetches; the register form is a no-op too */
    case 0x18:
    case 0x19:
    case 0x1a:
    case 0x1b:
    case 0x1c:
    case 0x1d:
    case 0x1e:
    case 0x1f: return true;
    default: return false;
    }
}

static bool row_20(struct cpu *c, struct insn *i)
{
    switch (i->op) {
    case 0x20: control_read(c, i); return true;
    case 0x21: debug_read(c, i); return true;
    case 0x22: control_write(c, i); return true;
    case 0x23: debug_write(c, i); return true;
    case 0x30: op_wrmsr(c); return true;
    case 0x31: op_rdtsc(c, false); return true;
    case 0x32: op_rdmsr(c); return true;
    case 0x33: throw_gp(c, 0); /* RDPMC: no counters */
    case 0x34: op_sysenter(c, i); return true;
    case 0x35: op_sysexit(c, i); return true;
    default: return false;
    }
}

static bool row_a0(struct cpu *c, struct insn *i)
{
    switch (i->op) {
    case 0xa0: op_push_sreg(c, i, SEG_FS); return true;
    case 0xa1: op_pop_sreg(c, i, SEG_FS); return true;
    case 0xa2: op_cpuid(c); return true;
    case 0xa8: op_push_sreg(c, i, SEG_GS); return true;
    case 0xa9: op_pop_sreg(c, i, SEG_GS); return true;
    case 0xaa: op_rsm(c, i); return true;
    case 0xa4:
    case 0xa5:
    case 0xac:
    case 0xad: op_double_shift(c, i); return true;
    case 0xa3:
    case 0xab: op_bit_test(c, i); return true;
    case 0xae: op_group15(c, i); return true;
    case 0xaf: op_imul2(c, i); return true;
    default: return false;
    }
}

static bool row_b0(struct cpu *c, struct insn *i)
{
    switch (i->op) {
    case 0xb0:
    case 0xb1: op_cmpxchg(c, i); return true;
    case 0xb2: op_load_far(c, i, SEG_SS); return true;
    case 0xb3:
    case 0xbb: op_bit_test(c, i); return true;
    case 0xb4: op_load_far(c, i, SEG_FS); return true;
    case 0xb5: op_load_far(c, i, SEG_GS); return true;
    case 0xb6:
    case 0xb7:
    case 0xbe:
    case 0xbf: op_movx(c, i); return true;
    case 0xb8:
        if (i->rep != 0xf3) return false;
        op_scan(c, i, SCAN_POPCNT);
        return true;
    case 0xba:
        if ((i->reg & 7) < 4) return false;
        op_bit_test(c, i);
        return true;
    case 0xbc:
        op_scan(c, i,
                i->rep == 0xf3 && model_bit(c, 7, 1, 3) ? SCAN_TZCNT
                                                        : SCAN_BSF);
        return true;
    case 0xbd:
        op_scan(c, i,
                i->rep == 0xf3 && model_bit(c, 0x80000001, 2, 5) ? SCAN_LZCNT
                                                                 : SCAN_BSR);
        return true;
    default: return false;
    }
}

static bool row_c0(struct cpu *c, struct insn *i)
{
    unsigned n;

    switch (i->op) {
    case 0xc0:
    case 0xc1: op_xadd(c, i); return true;
    case 0xc3:
        if (i->mod == 3 || i->has_66 || i->rep) return false;
        n = i->osize == 8 ? 8 : 4; /* MOVNTI has no 16-bit form */
        mem_write(c, i->seg, insn_ea(c, i), n, reg_get(c, i->reg, n));
        return true;
    case 0xc7: op_group9(c, i); return true;
    default:
        if (i->op < 0xc8) return false;
        op_bswap(c, i);
        return true;
    }
}

void emulate_0f(struct cpu *c, struct insn *i)
{
    bool is_done = false;
    if (!i->has_vex) {
        switch (i->op >> 4) {
        case 0x0:
        case 0x1: is_done = row_00(c, i); break;
        case 0x2:
        case 0x3: is_done = row_20(c, i); break;
        case 0x4:
            op_cmov(c, i);
            is_done = true;
            break;
        case 0x8:
            op_jcc_near(c, i);
            is_done = true;
            break;
        case 0x9:
            rm_write(c, i, 1, alu_condition(i->op & 15, c->rflags));
            is_done = true;
            break;
        case 0xa: is_done = row_a0(c, i); break;
        case 0xb: is_done = row_b0(c, i); break;
        case 0xc: is_done = row_c0(c, i); break;
        default: break;
        }
    }
    if (!is_done && i->has_vex) is_done = op_vex_mxcsr(c, i);
    if (!is_done && !emulate_vector(c, i)) throw_ud(c);
}
