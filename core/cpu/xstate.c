/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * FXSAVE, XSAVE and their family, MXCSR, XCR0, cache control and fences
 * (0F AE, XGETBV, XSETBV).  Save areas go through a scratch buffer, always in
 * the 64-bit form: the x87 pointers in it are the host's and translated.
 */
#include "core/cpu/native.h"

enum {
    FXSAVE_BYTES = 512,
    FXSAVE_BYTES32 = 288, /* XMM8..15 are left alone outside 64-bit code */
    XSAVE_HEADER = 512,
    XSAVE_STANDARD = 576, /* legacy area and header */
    XSAVE_AVX = 832,
};

static void encode_ae(struct native_code *k, unsigned op, bool is_wide)
{
    code_open(k);
    if (is_wide) code_add(k, 0x48);
    code_add(k, 0x0f);
    code_add(k, 0xae);
    code_add(k, op << 3 | 6);
}

/* Selectors are stored as 0. */
static void put_pointers(struct cpu *c, const struct insn *i, uint8_t *area)
{
    bool is_wide = i->mode == 8 && (i->rex & REX_W);
    struct x87_pointers p = native_pointers(c, area);
    cpu_put(area + 6, 2, p.op & 0x7ff);
    cpu_put(area + 8, 8, is_wide ? p.ip : (uint32_t)p.ip);
    cpu_put(area + 16, 8, is_wide ? p.dp : (uint32_t)p.dp);
}

static uint64_t mxcsr_mask(void)
{
    return 0xffff;
}

static void check_fxsr(struct cpu *c)
{
    if (c->cr0 & (CR0_EM | CR0_TS)) cpu_throw(c, EXC_NM);
}

/* Outside 64-bit code registers 8 to 15 are neither saved nor restored. */
static void move_high(struct cpu *c, bool is_put)
{
    uint8_t *buf = native_scratch(c) + 1024;
    bool is_256 = (c->cr4 & CR4_OSXSAVE) && (c->xcr0 & 4);
    for (unsigned n = 8; n < 16; n++, buf += 32) {
        if (is_put) {
            native_vector_set(c, n, is_256, buf);
        } else {
            native_vector_get(c, n, is_256, buf);
        }
    }
}

static void restore(struct cpu *c, const struct insn *i, struct native_code *k,
                    struct native_regs *r, uint8_t *buf)
{
    if (i->mode != 8) move_high(c, false);
    native_run(c, k, r, buf);
    if (i->mode != 8) move_high(c, true);
}

static void store_area(struct cpu *c, const struct insn *i, uint64_t ea,
                       const uint8_t *buf, unsigned bytes)
{
    if (i->mode == 8) {
        mem_store(c, i->seg, ea, buf, bytes);
        return;
    }
    mem_store(c, i->seg, ea, buf, FXSAVE_BYTES32);
    mem_store(c, i->seg, ea + XSAVE_HEADER, buf + XSAVE_HEADER,
              (bytes == XSAVE_AVX ? XSAVE_AVX - 128 : bytes) - XSAVE_HEADER);
}

static void op_fxsave(struct cpu *c, const struct insn *i)
{
    struct native_code k;
    struct native_regs r = { 0 };
    uint64_t ea = insn_ea(c, i);
    check_fxsr(c);
    uint64_t lin = seg_linear(c, i->seg, ea, FXSAVE_BYTES, ACC_WRITE);
    if (lin & 15) throw_gp(c, 0);
    lin_probe_write(c, lin, FXSAVE_BYTES, 0);
    uint8_t *buf = native_scratch(c);
    cpu_zero(buf, FXSAVE_BYTES);
    encode_ae(&k, 0, true);
    native_run(c, &k, &r, buf);
    put_pointers(c, i, buf);
    mem_store(c, i->seg, ea, buf,
              i->mode == 8 ? FXSAVE_BYTES - 96 : FXSAVE_BYTES32);
}

static void op_fxrstor(struct cpu *c, const struct insn *i)
{
    struct native_code k;
    struct native_regs r = { 0 };
    uint64_t ea = insn_ea(c, i);
    check_fxsr(c);
    uint64_t lin = seg_linear(c, i->seg, ea, FXSAVE_BYTES, ACC_READ);
    if (lin & 15) throw_gp(c, 0);
    uint8_t *buf = native_scratch(c);
    mem_load(c, i->seg, ea, buf, FXSAVE_BYTES);
    if (cpu_get(buf + 24, 4) & ~mxcsr_mask()) throw_gp(c, 0);
    encode_ae(&k, 1, i->mode == 8 && (i->rex & REX_W));
    restore(c, i, &k, &r, buf);
}

static void op_ldmxcsr(struct cpu *c, const struct insn *i)
{
    uint32_t v = (uint32_t)mem_read(c, i->seg, insn_ea(c, i), 4);
    if (v & ~mxcsr_mask()) throw_gp(c, 0);
    __asm__ volatile("ldmxcsr %0" : : "m"(v));
}

static void op_stmxcsr(struct cpu *c, const struct insn *i)
{
    uint32_t v;
    __asm__ volatile("stmxcsr %0" : "=m"(v));
    mem_write(c, i->seg, insn_ea(c, i), 4, v);
}

/* ---- XSAVE */

static void check_xsave(struct cpu *c)
{
    if (!(c->cr4 & CR4_OSXSAVE)) throw_ud(c);
    if (c->cr0 & CR0_TS) cpu_throw(c, EXC_NM);
}

static uint64_t requested(const struct cpu *c)
{
    uint64_t v = (uint32_t)c->gpr[GPR_AX] | c->gpr[GPR_DX] << 32;
    return v & c->xcr0;
}

static unsigned standard_bytes(uint64_t components)
{
    return components & 4 ? XSAVE_AVX : XSAVE_STANDARD;
}

/* XSAVE and XSAVEOPT.  XSAVEOPT may leave out what has not changed since the
 * last XRSTOR from the same address; with a scratch buffer that would lose
 * state, and saving more than needed is always right. */
static void op_xsave(struct cpu *c, const struct insn *i)
{
    struct native_code k;
    struct native_regs r = { 0 };
    uint64_t ea = insn_ea(c, i), what = requested(c);
    check_xsave(c);
    unsigned bytes = standard_bytes(what);
    uint64_t lin = seg_linear(c, i->seg, ea, bytes, ACC_READ | ACC_WRITE);
    if (lin & 63) throw_gp(c, 0);
    lin_probe_write(c, lin, bytes, 0);
    uint8_t *buf = native_scratch(c);
    mem_load(c, i->seg, ea, buf, bytes);
    r.ax = what;
    encode_ae(&k, 4, true);
    native_run(c, &k, &r, buf);
    if (what & 1) put_pointers(c, i, buf);
    store_area(c, i, ea, buf, bytes);
}

/* XSAVEC (0F C7 /4): compact form, AVX state right after the header. */
void op_xsavec(struct cpu *c, const struct insn *i)
{
    struct native_code k;
    struct native_regs r = { 0 };
    uint64_t ea = insn_ea(c, i), what = requested(c);
    check_xsave(c);
    if (!model_bit_sub(c, 0xd, 1, 0, 1)) throw_ud(c);
    unsigned bytes = standard_bytes(what);
    uint64_t lin = seg_linear(c, i->seg, ea, bytes, ACC_WRITE);
    if (lin & 63) throw_gp(c, 0);
    lin_probe_write(c, lin, bytes, 0);
    uint8_t *buf = native_scratch(c);
    mem_load(c, i->seg, ea, buf, bytes);
    r.ax = what;
    code_open(&k);
    code_add(&k, 0x48);
    code_add(&k, 0x0f);
    code_add(&k, 0xc7);
    code_add(&k, 4 << 3 | 6);
    native_run(c, &k, &r, buf);
    /* Parts in their initial state are not written. */
    if (cpu_get(buf + XSAVE_HEADER, 8) & 1) put_pointers(c, i, buf);
    store_area(c, i, ea, buf, bytes);
}

/*
 * SDM volume 1, 13.8: what the header and MXCSR may hold.  The standard form
 * loads MXCSR with SSE or AVX, even where both are to be initial; the compact
 * one takes it for a part of SSE, and XSAVEC leaves it unwritten.
 */
static void check_area(struct cpu *c, const uint8_t *area, uint64_t what)
{
    uint64_t bv = cpu_get(area + XSAVE_HEADER, 8);
    uint64_t comp = cpu_get(area + XSAVE_HEADER + 8, 8);
    const uint64_t compact = (uint64_t)1 << 63;
    bool is_bad = bv & ~c->xcr0, has_mxcsr;
    if (comp & compact) {
        is_bad = is_bad || (comp & ~(c->xcr0 | compact)) || (bv & ~comp) ||
                 !model_bit_sub(c, 0xd, 1, 0, 1);
        has_mxcsr = what & bv & 2;
    } else {
        is_bad = is_bad || comp;
        has_mxcsr = what & 6;
    }
    if (has_mxcsr && (cpu_get(area + 24, 4) & ~mxcsr_mask())) is_bad = true;
    for (unsigned n = 16; n < 64; n += 8) {
        if (cpu_get(area + XSAVE_HEADER + n, 8)) is_bad = true;
    }
    if (is_bad) throw_gp(c, 0);
}

static void op_xrstor(struct cpu *c, const struct insn *i)
{
    struct native_code k;
    struct native_regs r = { 0 };
    uint64_t ea = insn_ea(c, i), what = requested(c);
    check_xsave(c);
    unsigned bytes = standard_bytes(what);
    uint64_t lin = seg_linear(c, i->seg, ea, bytes, ACC_READ);
    if (lin & 63) throw_gp(c, 0);
    uint8_t *buf = native_scratch(c);
    mem_load(c, i->seg, ea, buf, bytes);
    check_area(c, buf, what);
    r.ax = what;
    encode_ae(&k, 5, i->mode == 8 && (i->rex & REX_W));
    restore(c, i, &k, &r, buf);
}

void op_xgetbv(struct cpu *c)
{
    if (!(c->cr4 & CR4_OSXSAVE)) throw_ud(c);
    uint32_t n = (uint32_t)c->gpr[GPR_CX];
    /* XCR1: components in use; all enabled ones count as such. */
    bool has_xcr1 = model_bit_sub(c, 0xd, 1, 0, 2);
    if (n != 0 && !(n == 1 && has_xcr1)) throw_gp(c, 0);
    c->gpr[GPR_AX] = (uint32_t)c->xcr0;
    c->gpr[GPR_DX] = c->xcr0 >> 32;
}

void op_xsetbv(struct cpu *c)
{
    if (!(c->cr4 & CR4_OSXSAVE)) throw_ud(c);
    require_cpl0(c);
    uint64_t v = (uint32_t)c->gpr[GPR_AX] | c->gpr[GPR_DX] << 32;
    uint64_t allowed = c->model ? c->model->xcr0_mask : 7;
    bool is_bad =
        (uint32_t)c->gpr[GPR_CX] || !(v & 1) || (v & ~allowed) || (v & 6) == 4;
    if (is_bad) throw_gp(c, 0);
    c->xcr0 = v;
    mode_changed(c);
}

/* ---- 0F AE */

/* Touch the line for access rights; caches are coherent anyway. */
static void op_clflush(struct cpu *c, const struct insn *i)
{
    uint64_t lin = seg_linear(c, i->seg, insn_ea(c, i), 1, ACC_READ);
    lin_read(c, lin, 1, ACC_READ);
}

static void group15_register(struct cpu *c, struct insn *i)
{
    unsigned n = i->reg & 7;
    if (i->rep == 0xf3 && n < 4) {
        op_fsgsbase(c, i);
    } else if (!i->rep && !i->has_66 && n >= 5) {
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
    } else {
        throw_ud(c);
    }
}

static void group15_memory(struct cpu *c, struct insn *i)
{
    unsigned n = i->reg & 7;
    if (i->rep) throw_ud(c);
    if (i->has_66) { /* CLWB, CLFLUSHOPT */
        if (n < 6) throw_ud(c);
        op_clflush(c, i);
        return;
    }
    switch (n) {
    case 0: op_fxsave(c, i); break;
    case 1: op_fxrstor(c, i); break;
    case 2:
        check_sse(c);
        op_ldmxcsr(c, i);
        break;
    case 3:
        check_sse(c);
        op_stmxcsr(c, i);
        break;
    case 4:
    case 6: op_xsave(c, i); break;
    case 5: op_xrstor(c, i); break;
    default: op_clflush(c, i); break;
    }
}

void op_group15(struct cpu *c, struct insn *i)
{
    if (i->mod == 3) {
        group15_register(c, i);
    } else {
        group15_memory(c, i);
    }
}

/* VLDMXCSR, VSTMXCSR; false when i is neither. */
bool op_vex_mxcsr(struct cpu *c, const struct insn *i)
{
    unsigned n = i->reg & 7;
    if (i->op != 0xae || i->map != MAP_0F || i->mod == 3 || i->vl || i->pp ||
        i->vvvv || (n != 2 && n != 3)) {
        return false;
    }
    check_avx(c);
    if (n == 2) {
        op_ldmxcsr(c, i);
    } else {
        op_stmxcsr(c, i);
    }
    return true;
}
