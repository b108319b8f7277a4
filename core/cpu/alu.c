/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Arithmetic on values by the host's own instructions: results and flags,
 * the undefined ones too, are those of the host CPU by construction.
 * The stack pointer is moved past the red zone around pushf and popf.
 */
#include "core/cpu/alu.h"

#include "core/cpu/emu.h"

#define FLAGS_IN  "lea -128(%%rsp), %%rsp\n\tpush %[f]\n\tpopf\n\t"
#define FLAGS_OUT "\n\tpushf\n\tpop %[f]\n\tlea 128(%%rsp), %%rsp"

static uint64_t flags_begin(uint64_t flags)
{
    return (flags & FLAGS_ARITH) | 2;
}

#define BINARY(insn, type)                                     \
    do {                                                       \
        type r_ = (type)a, s_ = (type)b;                       \
        __asm__ volatile(FLAGS_IN insn " %[s], %[r]" FLAGS_OUT \
                         : [r] "+r"(r_), [f] "+r"(f)           \
                         : [s] "r"(s_)                         \
                         : "cc", "memory");                    \
        r = r_;                                                \
    } while (0)

#define BINARY_SIZES(insn)                      \
    switch (bytes) {                            \
    case 1: BINARY(insn "b", uint8_t); break;   \
    case 2: BINARY(insn "w", uint16_t); break;  \
    case 4: BINARY(insn "l", uint32_t); break;  \
    default: BINARY(insn "q", uint64_t); break; \
    }

uint64_t alu_binary(enum alu_op op, unsigned bytes, uint64_t a, uint64_t b,
                    uint64_t *flags)
{
    uint64_t f = flags_begin(*flags), r = 0;
    switch (op) {
    case ALU_ADD: BINARY_SIZES("add"); break;
    case ALU_OR: BINARY_SIZES("or"); break;
    case ALU_ADC: BINARY_SIZES("adc"); break;
    case ALU_SBB: BINARY_SIZES("sbb"); break;
    case ALU_AND: BINARY_SIZES("and"); break;
    case ALU_SUB: BINARY_SIZES("sub"); break;
    case ALU_XOR: BINARY_SIZES("xor"); break;
    case ALU_CMP: BINARY_SIZES("cmp"); break;
    case ALU_TEST: BINARY_SIZES("test"); break;
    }
    *flags = f & FLAGS_ARITH;
    return r;
}

#define SHIFT(insn, type)                                      \
    do {                                                       \
        type r_ = (type)a;                                     \
        __asm__ volatile(FLAGS_IN insn " %%cl, %[r]" FLAGS_OUT \
                         : [r] "+r"(r_), [f] "+r"(f)           \
                         : "c"(count)                          \
                         : "cc", "memory");                    \
        r = r_;                                                \
    } while (0)

#define SHIFT_SIZES(insn)                      \
    switch (bytes) {                           \
    case 1: SHIFT(insn "b", uint8_t); break;   \
    case 2: SHIFT(insn "w", uint16_t); break;  \
    case 4: SHIFT(insn "l", uint32_t); break;  \
    default: SHIFT(insn "q", uint64_t); break; \
    }

uint64_t alu_shift(enum shift_op op, unsigned bytes, uint64_t a, uint8_t count,
                   uint64_t *flags)
{
    uint64_t f = flags_begin(*flags), r = 0;
    switch (op) {
    case SH_ROL: SHIFT_SIZES("rol"); break;
    case SH_ROR: SHIFT_SIZES("ror"); break;
    case SH_RCL: SHIFT_SIZES("rcl"); break;
    case SH_RCR: SHIFT_SIZES("rcr"); break;
    case SH_SHL:
    case SH_SAL: SHIFT_SIZES("shl"); break;
    case SH_SHR: SHIFT_SIZES("shr"); break;
    case SH_SAR: SHIFT_SIZES("sar"); break;
    }
    *flags = f & FLAGS_ARITH;
    return r;
}

#define DOUBLE_SHIFT(insn, type)                                     \
    do {                                                             \
        type r_ = (type)a, s_ = (type)b;                             \
        __asm__ volatile(FLAGS_IN insn " %%cl, %[s], %[r]" FLAGS_OUT \
                         : [r] "+r"(r_), [f] "+r"(f)                 \
                         : "c"(count), [s] "r"(s_)                   \
                         : "cc", "memory");                          \
        r = r_;                                                      \
    } while (0)

#define DOUBLE_SHIFT_SIZES(insn)                      \
    switch (bytes) {                                  \
    case 2: DOUBLE_SHIFT(insn "w", uint16_t); break;  \
    case 4: DOUBLE_SHIFT(insn "l", uint32_t); break;  \
    default: DOUBLE_SHIFT(insn "q", uint64_t); break; \
    }

uint64_t alu_double_shift(bool is_right, unsigned bytes, uint64_t a, uint64_t b,
                          uint8_t count, uint64_t *flags)
{
    uint64_t f = flags_begin(*flags), r = 0;
    if (is_right) {
        DOUBLE_SHIFT_SIZES("shrd");
    } else {
        DOUBLE_SHIFT_SIZES("shld");
    }
    *flags = f & FLAGS_ARITH;
    return r;
}

#define UNARY(insn, type)                                \
    do {                                                 \
        type r_ = (type)a;                               \
        __asm__ volatile(FLAGS_IN insn " %[r]" FLAGS_OUT \
                         : [r] "+r"(r_), [f] "+r"(f)     \
                         :                               \
                         : "cc", "memory");              \
        r = r_;                                          \
    } while (0)

#define UNARY_SIZES(insn)                      \
    switch (bytes) {                           \
    case 1: UNARY(insn "b", uint8_t); break;   \
    case 2: UNARY(insn "w", uint16_t); break;  \
    case 4: UNARY(insn "l", uint32_t); break;  \
    default: UNARY(insn "q", uint64_t); break; \
    }

uint64_t alu_unary(enum unary_op op, unsigned bytes, uint64_t a,
                   uint64_t *flags)
{
    uint64_t f = flags_begin(*flags), r = 0;
    switch (op) {
    case UN_INC: UNARY_SIZES("inc"); break;
    case UN_DEC: UNARY_SIZES("dec"); break;
    case UN_NOT: UNARY_SIZES("not"); break;
    case UN_NEG: UNARY_SIZES("neg"); break;
    }
    *flags = f & FLAGS_ARITH;
    return r;
}

/* The destination comes in as well: BSF and BSR leave it for a zero source. */
#define SCAN(insn, type)                                       \
    do {                                                       \
        type r_ = (type)old, s_ = (type)a;                     \
        __asm__ volatile(FLAGS_IN insn " %[s], %[r]" FLAGS_OUT \
                         : [r] "+r"(r_), [f] "+r"(f)           \
                         : [s] "r"(s_)                         \
                         : "cc", "memory");                    \
        r = r_;                                                \
    } while (0)

#define SCAN_SIZES(insn)                      \
    switch (bytes) {                          \
    case 2: SCAN(insn "w", uint16_t); break;  \
    case 4: SCAN(insn "l", uint32_t); break;  \
    default: SCAN(insn "q", uint64_t); break; \
    }

uint64_t alu_scan(enum scan_op op, unsigned bytes, uint64_t old, uint64_t a,
                  uint64_t *flags)
{
    uint64_t f = flags_begin(*flags), r = 0;
    switch (op) {
    case SCAN_BSF: SCAN_SIZES("bsf"); break;
    case SCAN_BSR: SCAN_SIZES("bsr"); break;
    case SCAN_TZCNT: SCAN_SIZES("tzcnt"); break;
    case SCAN_LZCNT: SCAN_SIZES("lzcnt"); break;
    case SCAN_POPCNT: SCAN_SIZES("popcnt"); break;
    }
    *flags = f & FLAGS_ARITH;
    return r;
}

#define WIDE(insn, type)                                   \
    do {                                                   \
        type l_ = (type)*lo, h_ = (type)*hi, s_ = (type)b; \
        __asm__ volatile(FLAGS_IN insn " %[s]" FLAGS_OUT   \
                         : "+a"(l_), "+d"(h_), [f] "+r"(f) \
                         : [s] "r"(s_)                     \
                         : "cc", "memory");                \
        *lo = l_;                                          \
        *hi = h_;                                          \
    } while (0)

/* Byte forms work on AX alone. */
#define WIDE8(insn)                                      \
    do {                                                 \
        uint16_t l_ = (uint16_t)*lo;                     \
        uint8_t s_ = (uint8_t)b;                         \
        __asm__ volatile(FLAGS_IN insn " %[s]" FLAGS_OUT \
                         : "+a"(l_), [f] "+r"(f)         \
                         : [s] "r"(s_)                   \
                         : "cc", "memory");              \
        *lo = l_ & 0xff;                                 \
        *hi = l_ >> 8;                                   \
    } while (0)

#define WIDE_SIZES(insn)                      \
    switch (bytes) {                          \
    case 1: WIDE8(insn "b"); break;           \
    case 2: WIDE(insn "w", uint16_t); break;  \
    case 4: WIDE(insn "l", uint32_t); break;  \
    default: WIDE(insn "q", uint64_t); break; \
    }

void alu_multiply(bool is_signed, unsigned bytes, uint64_t a, uint64_t b,
                  uint64_t *lo, uint64_t *hi, uint64_t *flags)
{
    uint64_t f = flags_begin(*flags);
    *lo = a;
    *hi = 0;
    if (is_signed) {
        WIDE_SIZES("imul");
    } else {
        WIDE_SIZES("mul");
    }
    *flags = f & FLAGS_ARITH;
}

uint64_t alu_imul(unsigned bytes, uint64_t a, uint64_t b, uint64_t *flags)
{
    uint64_t f = flags_begin(*flags), r = 0;
    switch (bytes) {
    case 2: BINARY("imulw", uint16_t); break;
    case 4: BINARY("imull", uint32_t); break;
    default: BINARY("imulq", uint64_t); break;
    }
    *flags = f & FLAGS_ARITH;
    return r;
}

static uint64_t magnitude(uint64_t v, unsigned bytes)
{
    int64_t s = sign_extend(v, bytes);
    return s < 0 ? -(uint64_t)s : (uint64_t)s;
}

/* Does the quotient fit?  Decided beforehand, so that the host never traps. */
static bool can_divide(bool is_signed, unsigned bytes, uint64_t lo, uint64_t hi,
                       uint64_t divisor)
{
    uint64_t mask = size_mask(bytes), top = mask ^ (mask >> 1);
    if (!divisor) return false;
    if (!is_signed) return hi < divisor;
    bool is_negative = hi & top;
    uint64_t d = magnitude(divisor, bytes) & mask;
    if (is_negative) { /* two's complement of the double-width dividend */
        lo = -lo & mask;
        hi = (~hi + !lo) & mask;
    }
    if (hi >= d) return false;
    uint64_t q, rest;
    if (bytes == 8) {
        __asm__("divq %4"
                : "=a"(q), "=d"(rest)
                : "0"(lo), "1"(hi), "r"(d)
                : "cc");
    } else {
        q = (hi << 8 * bytes | lo) / d;
    }
    is_negative ^= (divisor & top) != 0;
    return q < top || (is_negative && q == top);
}

bool alu_divide(bool is_signed, unsigned bytes, uint64_t *lo, uint64_t *hi,
                uint64_t divisor, uint64_t *flags)
{
    uint64_t f = flags_begin(*flags), b = divisor;
    if (!can_divide(is_signed, bytes, *lo, *hi, divisor)) return false;
    if (bytes == 1) *lo |= *hi << 8;
    if (is_signed) {
        WIDE_SIZES("idiv");
    } else {
        WIDE_SIZES("div");
    }
    *flags = f & FLAGS_ARITH;
    return true;
}

bool alu_condition(unsigned cc, uint64_t flags)
{
    bool r = false;
    bool is_less = !(flags & FLAG_SF) != !(flags & FLAG_OF);
    switch (cc >> 1 & 7) {
    case 0: r = flags & FLAG_OF; break;
    case 1: r = flags & FLAG_CF; break;
    case 2: r = flags & FLAG_ZF; break;
    case 3: r = flags & (FLAG_CF | FLAG_ZF); break;
    case 4: r = flags & FLAG_SF; break;
    case 5: r = flags & FLAG_PF; break;
    case 6: r = is_less; break;
    case 7: r = is_less || (flags & FLAG_ZF); break;
    }
    return r != (cc & 1);
}
