/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Which CPUID feature an instruction belongs to (SDM volume 2, "CPUID Feature
 * Flag" of each instruction).  Without its feature it is undefined, though the
 * host might run it.  Sets that depend on enabled state or are looked at where
 * they are executed (BMI, ADX, MOVBE, XSAVE, RDRAND and the like) are not here.
 */
#include "core/cpu/cpuid.h"
#include "core/cpu/insn.h"

static bool is_in(unsigned op, unsigned first, unsigned last)
{
    return op >= first && op <= last;
}

/* MMX registers: the instructions that came with SSE and SSE2. */
static uint32_t mmx_set(unsigned op)
{
    switch (op) {
    case 0x70:
    case 0xc4:
    case 0xc5:
    case 0xd7:
    case 0xda:
    case 0xde:
    case 0xe0:
    case 0xe3:
    case 0xe4:
    case 0xe7:
    case 0xea:
    case 0xee:
    case 0xf6:
    case 0xf7: return CPU_SET_MMX | CPU_SET_SSE;
    case 0xd4:
    case 0xf4:
    case 0xfb: return CPU_SET_MMX | CPU_SET_SSE2;
    default: return CPU_SET_MMX;
    }
}

static uint32_t group15_set(const struct insn *i)
{
    unsigned n = i->reg & 7;
    if (i->mod == 3) {
        if (i->pp) return 0;
        return n == 7 ? CPU_SET_SSE : n >= 5 ? CPU_SET_SSE2 : 0;
    }
    switch (n) {
    case 0:
    case 1: return CPU_SET_FXSR;
    case 2:
    case 3: return CPU_SET_SSE;
    case 6: return i->pp == 1 ? CPU_SET_CLWB : CPU_SET_XSAVEOPT;
    case 7: return i->pp == 1 ? CPU_SET_CLFLUSHOPT : CPU_SET_CLFLUSH;
    default: return 0;
    }
}

static uint32_t set_0f_plain(const struct insn *i)
{
    unsigned op = i->op;
    if (op == 0x5a || op == 0x5b || op == 0xc3) return CPU_SET_SSE2;
    if (is_in(op, 0x10, 0x17) || is_in(op, 0x28, 0x2f) ||
        is_in(op, 0x50, 0x5f) || op == 0xc2 || op == 0xc6) {
        return CPU_SET_SSE;
    }
    return is_in(op, 0x60, 0x7f) || is_in(op, 0xc4, 0xc5) ||
                   is_in(op, 0xd1, 0xfe)
               ? mmx_set(op)
               : 0;
}

static uint32_t set_0f_simd(const struct insn *i)
{
    unsigned op = i->op;
    bool is_simd = is_in(op, 0x10, 0x17) || is_in(op, 0x28, 0x2f) ||
                   is_in(op, 0x50, 0x7f) || is_in(op, 0xc2, 0xc6) ||
                   is_in(op, 0xd0, 0xfe);
    if (!is_simd) return 0;
    if (op == 0xc3) return CPU_SET_SSE2;
    switch (i->pp) {
    case 1:
        return op == 0x7c || op == 0x7d || op == 0xd0 ? CPU_SET_SSE3
                                                      : CPU_SET_SSE2;
    case 2:
        if (op == 0x12 || op == 0x16) return CPU_SET_SSE3;
        return op == 0x5a || op == 0x5b || op >= 0x60
                   ? op == 0xc2 ? CPU_SET_SSE : CPU_SET_SSE2
                   : CPU_SET_SSE;
    default:
        return op == 0x12 || op == 0x7c || op == 0x7d || op == 0xd0 ||
                       op == 0xf0
                   ? CPU_SET_SSE3
                   : CPU_SET_SSE2;
    }
}

static uint32_t set_0f(const struct insn *i)
{
    if ((i->op & 0xf0) == 0x40) return CPU_SET_CMOV;
    if (i->op == 0xae) return group15_set(i);
    if (i->op == 0xb8) return CPU_SET_POPCNT;
    switch (i->op) {
    case 0x05:
    case 0x07: return CPU_SET_SYSCALL;
    case 0x30:
    case 0x32: return CPU_SET_MSR;
    case 0x31: return CPU_SET_TSC;
    case 0x34:
    case 0x35: return CPU_SET_SEP;
    case 0xc7:
        if (i->mod == 3 || (i->reg & 7) != 1) return 0;
        return i->osize == 8 ? CPU_SET_CX16 : CPU_SET_CX8;
    default: break;
    }
    return i->pp ? set_0f_simd(i) : set_0f_plain(i);
}

static uint32_t set_0f38(const struct insn *i)
{
    unsigned op = i->op;
    if (op <= 0x0b || is_in(op, 0x1c, 0x1e)) return CPU_SET_SSSE3;
    if (op == 0x37) return CPU_SET_SSE42;
    if (is_in(op, 0x10, 0x41)) return CPU_SET_SSE41;
    if (is_in(op, 0xc8, 0xcd)) return CPU_SET_SHA;
    if (op == 0xcf) return CPU_SET_GFNI;
    return is_in(op, 0xdb, 0xdf) ? CPU_SET_AES : 0;
}

static uint32_t set_0f3a(const struct insn *i)
{
    unsigned op = i->op;
    if (op == 0x0f) return CPU_SET_SSSE3;
    if (op == 0x44) return CPU_SET_PCLMUL;
    if (is_in(op, 0x08, 0x42)) return CPU_SET_SSE41;
    if (is_in(op, 0x60, 0x63)) return CPU_SET_SSE42;
    if (op == 0xcc) return CPU_SET_SHA;
    if (op == 0xce || op == 0xcf) return CPU_SET_GFNI;
    return op == 0xdf ? CPU_SET_AES : 0;
}

/* Integer operations on 32 octets are AVX2, those on 16 are AVX. */
static uint32_t vex_0f(const struct insn *i)
{
    unsigned op = i->op;
    bool is_move = op == 0x6e || op == 0x6f || op == 0x7e || op == 0x7f ||
                   op == 0xe6 || op == 0xe7 || op == 0xf0 || op == 0xd0 ||
                   op == 0xd6;
    bool is_integer = is_in(op, 0x60, 0x76) || is_in(op, 0xd1, 0xfe);
    return i->vl && is_integer && !is_move ? CPU_SET_AVX2 : CPU_SET_AVX;
}

static uint32_t vex_0f38(const struct insn *i)
{
    unsigned op = i->op;
    if (op >= 0xf0) return 0; /* BMI */
    if (op == 0x13) return CPU_SET_F16C;
    if (op >= 0x96 && op <= 0xbf) return CPU_SET_FMA;
    if (op == 0xcf) return CPU_SET_GFNI | CPU_SET_AVX;
    if (op == 0xdb) return CPU_SET_AES | CPU_SET_AVX;
    if (is_in(op, 0xdc, 0xdf)) return i->vl ? CPU_SET_VAES : CPU_SET_AES;
    if (op == 0x18 || op == 0x19) {
        return i->mod == 3 ? CPU_SET_AVX2 : CPU_SET_AVX;
    }
    if (op == 0x16 || op == 0x36 || is_in(op, 0x45, 0x47) ||
        is_in(op, 0x58, 0x93)) {
        return CPU_SET_AVX2;
    }
    bool is_integer = op <= 0x0b || is_in(op, 0x1c, 0x2b) || op >= 0x30;
    return i->vl && is_integer ? CPU_SET_AVX2 : CPU_SET_AVX;
}

static uint32_t vex_0f3a(const struct insn *i)
{
    unsigned op = i->op;
    if (op >= 0xf0) return 0; /* RORX */
    switch (op) {
    case 0x00:
    case 0x01:
    case 0x02:
    case 0x38:
    case 0x39:
    case 0x46: return CPU_SET_AVX2;
    case 0x0e:
    case 0x0f:
    case 0x42:
    case 0x4c: return i->vl ? CPU_SET_AVX2 : CPU_SET_AVX;
    case 0x1d: return CPU_SET_F16C;
    case 0x44: return i->vl ? CPU_SET_VPCLMUL : CPU_SET_PCLMUL;
    case 0xce:
    case 0xcf: return CPU_SET_GFNI | CPU_SET_AVX;
    case 0xdf: return CPU_SET_AES | CPU_SET_AVX;
    default: return CPU_SET_AVX;
    }
}

/* FCMOVcc, FCOMI and FUCOMI; FISTTP. */
static uint32_t x87_set(const struct insn *i)
{
    unsigned n = i->reg & 7;
    if (i->mod != 3) {
        bool is_fisttp = n == 1 && (i->op == 0xdb || (i->op & 0xfd) == 0xdd);
        return is_fisttp ? CPU_SET_SSE3 : 0;
    }
    if (i->op == 0xda) return n < 4 ? CPU_SET_CMOV : 0;
    if (i->op == 0xdb) return n < 4 || n == 5 || n == 6 ? CPU_SET_CMOV : 0;
    return i->op == 0xdf && (n == 5 || n == 6) ? CPU_SET_CMOV : 0;
}

static uint32_t set_of(const struct insn *i)
{
    switch (i->map) {
    case MAP_ONE:
        if (i->op == 0x9e || i->op == 0x9f) {
            return i->mode == 8 ? CPU_SET_LAHF : 0;
        }
        return (i->op & 0xf8) == 0xd8 ? x87_set(i) : 0;
    case MAP_0F: return i->has_vex ? vex_0f(i) : set_0f(i);
    case MAP_0F38: return i->has_vex ? vex_0f38(i) : set_0f38(i);
    default: return i->has_vex ? vex_0f3a(i) : set_0f3a(i);
    }
}

bool insn_is_offered(const struct cpu_model *m, const struct insn *i)
{
    uint32_t off = m ? ~m->sets & CPU_SETS_ALL : 0;
    return off == 0 || (set_of(i) & off) == 0;
}

bool cpu_offers_bytes(const struct cpu_model *m, const uint8_t *bytes,
                      unsigned count, unsigned mode, bool no_vex)
{
    struct insn i;
    if (!m || m->sets == CPU_SETS_ALL) return true;
    if (count > INSN_MAX_BYTES) return false;
    for (unsigned n = 0; n < count; n++) {
        i.bytes[n] = bytes[n];
    }
    return insn_decode(&i, count, mode, no_vex) == INSN_OK &&
           insn_is_offered(m, &i);
}
