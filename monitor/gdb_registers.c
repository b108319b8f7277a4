/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Registers between struct cpu and gdb's layout. */
#include <errno.h>
#include <string.h>

#include "core/cpu/cpu.h"
#include "monitor/gdb_int.h"

/* XSAVE area: SDM volume 1, 10.5.1 and 13.4 (standard form). */
enum {
    X_FCW = 0,
    X_FSW = 2,
    X_FTW = 4,
    X_FOP = 6,
    X_FIP = 8,
    X_FDP = 16,
    X_MXCSR = 24,
    X_ST = 32,
    X_XMM = 160,
    X_IN_USE = 512,
    X_YMM = 576,
};
enum { IN_X87 = 1, IN_SSE = 2, IN_AVX = 4 };

static uint64_t in_use(const struct cpu *c)
{
    uint64_t v;

    memcpy(&v, c->xsave + X_IN_USE, sizeof(v));
    return v;
}

/* A component in its initial state is not in the area: fill it in. */
static void use(struct cpu *c, unsigned part)
{
    uint64_t v = in_use(c);
    static const uint16_t fcw = 0x37f;

    if (v & part) return;
    if (part == IN_X87) {
        memset(c->xsave, 0, X_MXCSR);
        memset(c->xsave + X_ST, 0, X_XMM - X_ST);
        memcpy(c->xsave + X_FCW, &fcw, sizeof(fcw));
    }
    if (part == IN_SSE) memset(c->xsave + X_XMM, 0, 256);
    if (part == IN_AVX) memset(c->xsave + X_YMM, 0, 256);
    v |= part;
    memcpy(c->xsave + X_IN_USE, &v, sizeof(v));
}

static uint16_t get16(const struct cpu *c, unsigned at)
{
    uint16_t v;

    memcpy(&v, c->xsave + at, sizeof(v));
    return v;
}

/* Full tag word from the abridged one: SDM volume 1, 8.1.7 and 10.5.1.1. */
static uint32_t tag_word(const struct cpu *c)
{
    unsigned top = get16(c, X_FSW) >> 11 & 7;
    uint32_t tags = 0;

    for (unsigned i = 0; i < 8; i++) {
        const uint8_t *st = c->xsave + X_ST + 16 * ((i - top) & 7);
        unsigned exponent = (unsigned)(st[8] | st[9] << 8) & 0x7fff, tag = 3;
        uint64_t mantissa;

        memcpy(&mantissa, st, sizeof(mantissa));
        if (c->xsave[X_FTW] >> i & 1) {
            bool is_normal =
                exponent != 0 && exponent != 0x7fff && mantissa >> 63 != 0;

            tag = is_normal ? 0 : exponent == 0 && mantissa == 0 ? 1 : 2;
        }
        tags |= tag << 2 * i;
    }
    return tags;
}

static uint32_t fpu_get(const struct cpu *c, unsigned n)
{
    bool is_initial = !(in_use(c) & IN_X87);

    switch (n) {
    case 0: return is_initial ? 0x37f : get16(c, X_FCW);
    case 1: return is_initial ? 0 : get16(c, X_FSW);
    case 2: return is_initial ? 0xffff : tag_word(c);
    case 3: return is_initial ? 0 : get16(c, X_FIP + 4);
    case 4:
        return is_initial
                   ? 0
                   : get16(c, X_FIP) | (uint32_t)get16(c, X_FIP + 2) << 16;
    case 5: return is_initial ? 0 : get16(c, X_FDP + 4);
    case 6:
        return is_initial
                   ? 0
                   : get16(c, X_FDP) | (uint32_t)get16(c, X_FDP + 2) << 16;
    default: return is_initial ? 0 : get16(c, X_FOP);
    }
}

static uint64_t control_get(const struct cpu *c, unsigned n)
{
    switch (n) {
    case 0: return c->cr0;
    case 2: return c->cr2;
    case 3: return c->cr3;
    case 4: return c->cr4;
    case GDB_EFER: return c->efer;
    default: return 0;
    }
}

static uint64_t pc_base(const struct cpu *c, enum gdb_arch arch)
{
    return arch == GDB_ARCH_I8086 ? c->seg[SEG_CS].base : 0;
}

static uint64_t number_get(const struct cpu *c, enum gdb_arch arch,
                           const struct gdb_register *r)
{
    uint32_t mxcsr = 0x1f80;

    switch (r->kind) {
    case GDB_GPR: return c->gpr[r->number];
    case GDB_PC: return c->rip + pc_base(c, arch);
    case GDB_FLAGS: return c->rflags;
    case GDB_SEGMENT: return c->seg[r->number].sel;
    case GDB_FPU: return fpu_get(c, r->number);
    case GDB_MXCSR:
        if (in_use(c) & (IN_SSE | IN_AVX)) {
            memcpy(&mxcsr, c->xsave + X_MXCSR, sizeof(mxcsr));
        }
        return mxcsr;
    case GDB_SEGMENT_BASE: return c->seg[r->number].base;
    case GDB_KERNEL_GS: return c->kernel_gs_base;
    case GDB_CONTROL: return control_get(c, r->number);
    default: return 0;
    }
}

/* Where a vector or x87 register is in the area, and its component. */
static unsigned place(const struct gdb_register *r, unsigned *part)
{
    switch (r->kind) {
    case GDB_ST: *part = IN_X87; return X_ST + 16u * r->number;
    case GDB_XMM: *part = IN_SSE; return X_XMM + 16u * r->number;
    case GDB_YMM_HIGH: *part = IN_AVX; return X_YMM + 16u * r->number;
    default: *part = 0; return 0;
    }
}

size_t gdb_register_read(const struct cpu *c, enum gdb_arch arch,
                         const struct gdb_register *r,
                         uint8_t out[GDB_REGISTER_BYTES])
{
    size_t bytes = r->bits / 8u;
    unsigned part, at = place(r, &part);
    uint64_t v;

    memset(out, 0, GDB_REGISTER_BYTES);
    if (part != 0) {
        if (in_use(c) & part) memcpy(out, c->xsave + at, bytes);
        return bytes;
    }
    v = number_get(c, arch, r);
    memcpy(out, &v, bytes);
    return bytes;
}

/* ---- writing ---- */

/* EFLAGS bits a debugger may change: not VM, which is no flag but a mode. */
#define FLAGS_WRITABLE                                                 \
    (FLAGS_ARITH | FLAG_TF | FLAG_IF | FLAG_DF | FLAG_IOPL | FLAG_NT | \
     FLAG_RF | FLAG_AC | FLAG_VIF | FLAG_VIP | FLAG_ID)

/* Outside real mode a selector without its descriptor would be a lie. */
static int segment_set(struct cpu *c, unsigned n, uint64_t v)
{
    struct cpu_segment *s = &c->seg[n];

    if (s->sel == (uint16_t)v) return 0;
    if ((c->cr0 & CR0_PE) && !(c->rflags & FLAG_VM)) return -EPERM;
    s->sel = (uint16_t)v;
    s->base = (uint64_t)s->sel << 4;
    return 0;
}

static int fpu_set(struct cpu *c, unsigned n, uint64_t v)
{
    uint16_t w = (uint16_t)v;
    uint8_t abridged = 0;

    if (fpu_get(c, n) == (uint32_t)v) return 0;
    use(c, IN_X87);
    switch (n) {
    case 0: memcpy(c->xsave + X_FCW, &w, 2); return 0;
    case 1: memcpy(c->xsave + X_FSW, &w, 2); return 0;
    case 2:
        for (unsigned i = 0; i < 8; i++) {
            if ((w >> 2 * i & 3) != 3) abridged |= (uint8_t)(1u << i);
        }
        c->xsave[X_FTW] = abridged;
        return 0;
    default: return -EPERM;
    }
}

static bool is_canonical(uint64_t v)
{
    return (int64_t)(v << 16) >> 16 == (int64_t)v;
}

static int number_set(struct cpu *c, enum gdb_arch arch,
                      const struct gdb_register *r, uint64_t v)
{
    uint32_t mxcsr = (uint32_t)v & 0xffff; /* the bits every CPU has */

    switch (r->kind) {
    case GDB_GPR: c->gpr[r->number] = v; return 0;
    case GDB_PC:
        v -= pc_base(c, arch);
        if (cpu_is_code64(c) && !is_canonical(v)) return -EINVAL;
        c->rip = arch == GDB_ARCH_X86_64 ? v : (uint32_t)v;
        return 0;
    case GDB_FLAGS:
        c->rflags =
            (c->rflags & ~(uint64_t)FLAGS_WRITABLE) | (v & FLAGS_WRITABLE) | 2;
        return 0;
    case GDB_SEGMENT: return segment_set(c, r->number, v);
    case GDB_FPU: return fpu_set(c, r->number, v);
    case GDB_MXCSR:
        use(c, IN_SSE);
        memcpy(c->xsave + X_MXCSR, &mxcsr, sizeof(mxcsr));
        return 0;
    case GDB_SEGMENT_BASE:
        if (!is_canonical(v)) return -EINVAL;
        c->seg[r->number].base = v;
        return 0;
    case GDB_KERNEL_GS:
        if (!is_canonical(v)) return -EINVAL;
        c->kernel_gs_base = v;
        return 0;
    case GDB_CONTROL:
        if (v == control_get(c, r->number)) return 0;
        if (r->number == 2) {
            c->cr2 = v;
            return 0;
        }
        return -EPERM;
    default: return -EPERM;
    }
}

int gdb_register_write(struct cpu *c, enum gdb_arch arch,
                       const struct gdb_register *r, const uint8_t *in)
{
    size_t bytes = r->bits / 8u;
    unsigned part, at = place(r, &part);
    uint64_t v = 0;

    if (part != 0) {
        use(c, part);
        memcpy(c->xsave + at, in, bytes);
        return 0;
    }
    memcpy(&v, in, bytes);
    return number_set(c, arch, r, v);
}
