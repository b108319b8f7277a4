/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * x87 instructions (D8..DF), run natively with the memory operand in a
 * scratch buffer.  Stores read the old contents first: an unmasked exception
 * leaves the destination as it was.  Instruction and data pointers in saved
 * environments are the host's and translated to the guest's.
 */
#include "core/cpu/native.h"

/* Bytes of the memory operand by opcode and ModRM.reg; 0: not defined.
 * ENV and STATE depend on the operand size. */
enum { ENV = 0xfe, STATE = 0xff };
static const uint8_t mem_bytes[8][8] = {
    { 4, 4, 4, 4, 4, 4, 4, 4 },         /* D8 */
    { 4, 0, 4, 4, ENV, 2, ENV, 2 },     /* D9 */
    { 4, 4, 4, 4, 4, 4, 4, 4 },         /* DA */
    { 4, 4, 4, 4, 0, 10, 0, 10 },       /* DB */
    { 8, 8, 8, 8, 8, 8, 8, 8 },         /* DC */
    { 8, 8, 8, 8, STATE, 0, STATE, 2 }, /* DD */
    { 2, 2, 2, 2, 2, 2, 2, 2 },         /* DE */
    { 2, 2, 2, 2, 10, 8, 10, 8 },       /* DF */
};
/* ModRM.reg values that store, one bit each. */
static const uint8_t mem_stores[8] = { 0, 0xcc, 0, 0x8e, 0, 0xce, 0, 0xce };

static unsigned operand_bytes(const struct insn *i)
{
    unsigned n = mem_bytes[i->op & 7][i->reg & 7];
    if (n == ENV) return i->osize == 2 ? 14 : 28;
    if (n == STATE) return i->osize == 2 ? 94 : 108;
    return n;
}

static bool is_environment(const struct insn *i)
{
    return mem_bytes[i->op & 7][i->reg & 7] >= ENV;
}

/* Instructions that do not look for pending exceptions first. */
static bool is_waiting(const struct insn *i)
{
    if (i->mod == 3) {
        if (i->op == 0xdb && i->modrm >= 0xe0 && i->modrm <= 0xe4) return false;
        return !(i->op == 0xdf && i->modrm == 0xe0);
    }
    unsigned n = i->reg & 7;
    if (i->op == 0xd9) return n != 6 && n != 7;
    if (i->op == 0xdd) return n != 6 && n != 7;
    return true;
}

/* Control instructions leave FIP and FDP alone: SDM volume 1, 8.1.8. */
static bool is_control(const struct insn *i)
{
    unsigned n = i->reg & 7;
    if (i->mod == 3) {
        return (i->op == 0xdb && i->modrm >= 0xe0 && i->modrm <= 0xe4) ||
               (i->op == 0xdf && i->modrm == 0xe0);
    }
    return (i->op == 0xd9 && n >= 4) || (i->op == 0xdd && n >= 4);
}

/* The host's whole FIP and FDP: an environment has the low halves alone.
 * FXSAVE of AMD's writes none unless an exception is pending (APM 5,
 * FXSAVE). */
static struct x87_pointers read_pointers(struct cpu *c, uint8_t *buf)
{
    cpu_zero(buf, 32);
    struct native_code k;
    struct native_regs r = { 0 };
    code_open(&k);
    code_add(&k, 0x48); /* FXSAVE64 */
    code_add(&k, 0x0f);
    code_add(&k, 0xae);
    code_add(&k, 6);
    native_run(c, &k, &r, buf);
    return native_pointers(c, buf);
}

/* SDM volume 1, figures 8-9 to 8-12.  Selectors are stored as 0, as by
 * processors that announce so. */
static void put_pointers(const struct cpu *c, const struct insn *i,
                         uint8_t *env, struct x87_pointers p)
{
    bool is_short = i->osize == 2;
    /* In protected mode the last two octets are all ones, as the host's. */
    unsigned all = is_short ? 8 : is_real_style(c) ? 16 : 14;
    cpu_zero(env + (is_short ? 6 : 12), all);
    if (is_real_style(c)) {
        uint32_t ip = (uint32_t)(p.ip + c->seg[SEG_CS].base);
        uint32_t dp = (uint32_t)p.dp;
        if (is_short) {
            cpu_put(env + 6, 2, ip);
            cpu_put(env + 8, 2, (ip >> 4 & 0xf000) | (p.op & 0x7ff));
            cpu_put(env + 10, 2, dp);
            cpu_put(env + 12, 2, dp >> 4 & 0xf000);
        } else {
            cpu_put(env + 12, 4, ip & 0xffff);
            cpu_put(env + 16, 4, ip >> 16 << 12 | (p.op & 0x7ff));
            cpu_put(env + 20, 4, dp & 0xffff);
            cpu_put(env + 24, 4, dp >> 16 << 12);
        }
    } else if (is_short) {
        cpu_put(env + 6, 2, p.ip);
        cpu_put(env + 10, 2, p.dp);
    } else {
        cpu_put(env + 12, 4, p.ip);
        cpu_put(env + 18, 2, p.op & 0x7ff);
        cpu_put(env + 20, 4, p.dp);
    }
}

static void clear_ferr(struct cpu *c)
{
    if (!(c->cr0 & CR0_NE) && c->ops->ferr) c->ops->ferr(c, false);
}

static void run_memory(struct cpu *c, const struct insn *i)
{
    unsigned bytes = operand_bytes(i), n = i->reg & 7;
    bool is_store = mem_stores[i->op & 7] >> n & 1;
    bool has_state = is_environment(i);
    if (!bytes) throw_ud(c);
    uint8_t *buf = native_scratch(c);
    uint64_t ea = insn_ea(c, i), lin = 0;
    struct x87_pointers p = { 0, 0, 0 };
    if (is_store) {
        lin = seg_linear(c, i->seg, ea, bytes, ACC_READ | ACC_WRITE);
        lin_probe_write(c, lin, bytes, 0);
    }
    if (!(is_store && has_state)) mem_load(c, i->seg, ea, buf, bytes);
    if (is_store && has_state) p = read_pointers(c, buf);
    struct native_code k;
    struct native_regs r = { 0 };
    code_open(&k);
    if (has_state && i->osize == 2) code_add(&k, 0x66);
    code_add(&k, i->op);
    code_add(&k, n << 3 | 6);
    native_run(c, &k, &r, buf);
    if (!is_control(i)) {
        native_note_x87(c, i, i->mode == 8 ? ea : ea + c->seg[i->seg].base);
    }
    if (!is_store) return;
    if (has_state && !p.ip && i->osize != 2) {
        p = native_pointers_of(c, (uint32_t)cpu_get(buf + 12, 4));
    }
    if (has_state) put_pointers(c, i, buf, p);
    if (has_state && i->op == 0xdd) clear_ferr(c); /* FNSAVE */
    mem_store(c, i->seg, ea, buf, bytes);
}

static void run_register(struct cpu *c, const struct insn *i)
{
    struct native_code k;
    struct native_regs r = { 0 };
    bool is_fnstsw = i->op == 0xdf && i->modrm == 0xe0;
    code_open(&k);
    code_add(&k, i->op);
    code_add(&k, i->modrm);
    r.ax = c->gpr[GPR_AX];
    native_run(c, &k, &r, NULL);
    if (!is_control(i)) native_note_x87(c, i, 0);
    /* FNCLEX and FNINIT end a pending exception. */
    if (i->op == 0xdb && (i->modrm == 0xe2 || i->modrm == 0xe3)) clear_ferr(c);
    if (is_fnstsw) reg_set(c, GPR_AX, 2, r.ax);
    /* FCOMI, FUCOMI and their popping forms set flags. */
    bool sets_flags =
        (i->op == 0xdb || i->op == 0xdf) && i->modrm >= 0xe8 && i->modrm < 0xf8;
    if (sets_flags) flags_set(c, FLAGS_ARITH, r.flags);
}

bool emulate_fpu(struct cpu *c, struct insn *i)
{
    check_x87(c, is_waiting(i));
    if (i->mod == 3) {
        run_register(c, i);
    } else {
        run_memory(c, i);
    }
    return true;
}
