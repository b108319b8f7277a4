/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/support/soft_gen.h"

#include <Zydis/Zydis.h>
#include <string.h>

#include "tests/unit/support/amd.h"
#include "tests/unit/support/insn_forms.h"

enum { SP = 4, TRIES = 40 };

struct opcodes {
    uint8_t map, first, last; /* map 0: one byte, 1: 0F, 2: 0F38, 3: 0F3A */
};

static const struct opcodes integer_opcodes[] = {
    { 0, 0x00, 0x05 }, { 0, 0x08, 0x0d }, { 0, 0x10, 0x15 }, { 0, 0x18, 0x1d },
    { 0, 0x20, 0x25 }, { 0, 0x28, 0x2d }, { 0, 0x30, 0x35 }, { 0, 0x38, 0x3d },
    { 0, 0x40, 0x4f }, { 0, 0x50, 0x5f }, { 0, 0x63, 0x63 }, { 0, 0x68, 0x6b },
    { 0, 0x80, 0x8b }, { 0, 0x8d, 0x8d }, { 0, 0x8f, 0x99 }, { 0, 0x9e, 0xa3 },
    { 0, 0xa8, 0xa9 }, { 0, 0xb0, 0xc1 }, { 0, 0xc6, 0xc7 }, { 0, 0xd0, 0xd3 },
    { 0, 0xf5, 0xf9 }, { 0, 0xfe, 0xff }, { 1, 0x40, 0x4f }, { 1, 0x90, 0x9f },
    { 1, 0xa3, 0xa5 }, { 1, 0xab, 0xad }, { 1, 0xaf, 0xb1 }, { 1, 0xb3, 0xb3 },
    { 1, 0xb6, 0xc1 }, { 1, 0xc7, 0xcf }, { 1, 0x18, 0x1f }, { 2, 0xf0, 0xf1 },
    { 2, 0xf6, 0xf6 },
};

static const struct opcodes vector_opcodes[] = {
    { 1, 0x10, 0x17 }, { 1, 0x28, 0x2f }, { 1, 0x50, 0x7f }, { 1, 0xc2, 0xc6 },
    { 1, 0xd0, 0xfe }, { 2, 0x00, 0x0b }, { 2, 0x10, 0x2f }, { 2, 0x30, 0x47 },
    { 2, 0x58, 0x5a }, { 2, 0x78, 0x79 }, { 2, 0x96, 0x9f }, { 2, 0xa6, 0xaf },
    { 2, 0xb6, 0xbf }, { 2, 0xdb, 0xdf }, { 2, 0xf2, 0xf7 }, { 3, 0x00, 0x22 },
    { 3, 0x38, 0x4c }, { 3, 0x60, 0x63 }, { 3, 0xdf, 0xf0 }, { 0, 0xd8, 0xdf },
};

uint64_t gen_random(struct gen *g)
{
    uint64_t x = g->random; /* xorshift64 */

    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return g->random = x;
}

static unsigned pick(struct gen *g, unsigned n)
{
    return (unsigned)(gen_random(g) >> 33) % n;
}

static void put(struct gen *g, const void *p, unsigned n)
{
    memcpy(g->code + g->bytes, p, n);
    g->bytes += n;
}

/* mov reg, v in the widest size there is */
static void put_mov(struct gen *g, unsigned reg, uint64_t v)
{
    uint8_t b[12];
    unsigned n = 0;

    if (g->bits == 64) b[n++] = 0x48 | (reg >> 3);
    if (g->bits == 16) b[n++] = 0x66;
    b[n++] = (uint8_t)(0xb8 | (reg & 7));
    memcpy(b + n, &v, 8);
    put(g, b, n + (g->bits == 64 ? 8 : 4));
}

/* ---- candidates */

static unsigned put_vex(struct gen *g, uint8_t *b, unsigned map)
{
    unsigned r = pick(g, 256), w = pick(g, 4) == 0;

    b[0] = 0xc4;
    b[1] = (uint8_t)((r & 0xe0) | map);
    if (g->bits != 64) b[1] |= 0xe0;
    b[2] = (uint8_t)(w << 7 | pick(g, 16) << 3 | pick(g, 2) << 2 | pick(g, 4));
    if (g->bits != 64) b[2] |= 0x40;
    return 3;
}

static unsigned candidate(struct gen *g, uint8_t b[32])
{
    static const uint8_t simd_prefix[4] = { 0, 0x66, 0xf3, 0xf2 };
    bool is_vector = g->has_vector && pick(g, 2);
    const struct opcodes *o =
        is_vector
            ? &vector_opcodes[pick(g, sizeof(vector_opcodes) / sizeof(*o))]
            : &integer_opcodes[pick(g, sizeof(integer_opcodes) / sizeof(*o))];
    unsigned n = 0, op = o->first + pick(g, o->last - o->first + 1u);

    if (o->map && g->bits != 16 && is_vector && pick(g, 2)) {
        n = put_vex(g, b, o->map);
    } else {
        uint8_t p = simd_prefix[pick(g, 4)];
        if (!o->map && !is_vector && p > 0x66) p = 0;
        if (p) b[n++] = p;
        if (!is_vector && g->bits != 16 && pick(g, 30) == 0) b[n++] = 0x67;
        if (g->bits == 64 && pick(g, 2)) b[n++] = (uint8_t)(0x40 | pick(g, 16));
        if (o->map) b[n++] = 0x0f;
        if (o->map == 2) b[n++] = 0x38;
        if (o->map == 3) b[n++] = 0x3a;
    }
    b[n++] = (uint8_t)op;
    for (unsigned i = n; i < 32; i++)
        b[i] = (uint8_t)gen_random(g);
    return n;
}

/* The next form in order; false: there is none left. */
static bool walk(struct gen *g, uint8_t b[32])
{
    unsigned mode = g->bits / 8;
    struct form f;
    struct form_at at;

    if (g->next_form >= forms_count(mode)) return false;
    form_get(mode, g->next_form, &f);
    if (form_is_prefix(&f)) {
        g->tries = TRIES;
        memset(b, 0xd6, 32); /* nothing to anybody */
        return true;
    }
    for (unsigned i = 0; i < 32; i++)
        b[i] = (uint8_t)(gen_random(g) >> 40);
    f.rm = (uint8_t)pick(g, 8);
    form_put(&f, gen_random(g) >> 20, b, &at);
    if (f.is_mem) b[at.modrm] |= (uint8_t)(pick(g, 3) << 6 | pick(g, 8));
    return true;
}

static bool is_wanted_category(ZydisInstructionCategory c)
{
    switch (c) {
    case ZYDIS_CATEGORY_ADOX_ADCX:
    case ZYDIS_CATEGORY_AES:
    case ZYDIS_CATEGORY_AVX:
    case ZYDIS_CATEGORY_AVX2:
    case ZYDIS_CATEGORY_BINARY:
    case ZYDIS_CATEGORY_BITBYTE:
    case ZYDIS_CATEGORY_BMI1:
    case ZYDIS_CATEGORY_BMI2:
    case ZYDIS_CATEGORY_BROADCAST:
    case ZYDIS_CATEGORY_CMOV:
    case ZYDIS_CATEGORY_CONVERT:
    case ZYDIS_CATEGORY_DATAXFER:
    case ZYDIS_CATEGORY_FCMOV:
    case ZYDIS_CATEGORY_FLAGOP:
    case ZYDIS_CATEGORY_LOGICAL:
    case ZYDIS_CATEGORY_LOGICAL_FP:
    case ZYDIS_CATEGORY_LZCNT:
    case ZYDIS_CATEGORY_MISC:
    case ZYDIS_CATEGORY_MMX:
    case ZYDIS_CATEGORY_NOP:
    case ZYDIS_CATEGORY_PCLMULQDQ:
    case ZYDIS_CATEGORY_POP:
    case ZYDIS_CATEGORY_PREFETCH:
    case ZYDIS_CATEGORY_PUSH:
    case ZYDIS_CATEGORY_ROTATE:
    case ZYDIS_CATEGORY_SEMAPHORE:
    case ZYDIS_CATEGORY_SETCC:
    case ZYDIS_CATEGORY_SHA:
    case ZYDIS_CATEGORY_SHIFT:
    case ZYDIS_CATEGORY_SSE:
    case ZYDIS_CATEGORY_STRINGOP:
    case ZYDIS_CATEGORY_STTNI:
    case ZYDIS_CATEGORY_VFMA:
    case ZYDIS_CATEGORY_WIDENOP:
    case ZYDIS_CATEGORY_X87_ALU: return true;
    default: return false;
    }
}

/* Left out: what faults by design, what differs between processors or runs,
 * and results the manuals leave undefined. */
static bool is_left_out(const ZydisDecodedInstruction *d)
{
    switch (d->meta.isa_set) { /* AMD's own */
    case ZYDIS_ISA_SET_SSE4A:
    case ZYDIS_ISA_SET_FMA4:
    case ZYDIS_ISA_SET_XOP:
    case ZYDIS_ISA_SET_TBM: return true;
    default: break;
    }
    switch (d->mnemonic) {
    case ZYDIS_MNEMONIC_AAM:
    case ZYDIS_MNEMONIC_BOUND:
    case ZYDIS_MNEMONIC_CLI:
    case ZYDIS_MNEMONIC_STI:
    case ZYDIS_MNEMONIC_STD:
    case ZYDIS_MNEMONIC_CLD:
    case ZYDIS_MNEMONIC_CPUID:
    case ZYDIS_MNEMONIC_ENTER:
    case ZYDIS_MNEMONIC_POPF:
    case ZYDIS_MNEMONIC_POPFD:
    case ZYDIS_MNEMONIC_POPFQ:
    case ZYDIS_MNEMONIC_PUSHF:
    case ZYDIS_MNEMONIC_PUSHFD:
    case ZYDIS_MNEMONIC_PUSHFQ:
    case ZYDIS_MNEMONIC_FNSTENV:
    case ZYDIS_MNEMONIC_FLDENV:
    case ZYDIS_MNEMONIC_FNSAVE:
    case ZYDIS_MNEMONIC_FRSTOR:
    case ZYDIS_MNEMONIC_FLDCW:
    case ZYDIS_MNEMONIC_LDMXCSR:
    case ZYDIS_MNEMONIC_VLDMXCSR:
    case ZYDIS_MNEMONIC_MASKMOVQ:
    case ZYDIS_MNEMONIC_MASKMOVDQU:
    case ZYDIS_MNEMONIC_VMASKMOVDQU:
    case ZYDIS_MNEMONIC_XLAT:
    case ZYDIS_MNEMONIC_FEMMS:
    case ZYDIS_MNEMONIC_INVPCID:
    case ZYDIS_MNEMONIC_UD0:
    case ZYDIS_MNEMONIC_UD1:
    case ZYDIS_MNEMONIC_UD2:
    case ZYDIS_MNEMONIC_PAUSE:
    case ZYDIS_MNEMONIC_MONITOR:
    case ZYDIS_MNEMONIC_MWAIT: return true;
    case ZYDIS_MNEMONIC_BSWAP:
    case ZYDIS_MNEMONIC_SHLD:
    case ZYDIS_MNEMONIC_SHRD: return d->operand_width == 16;
    default: return false;
    }
}

static int gpr_number(ZydisRegister r)
{
    switch (ZydisRegisterGetClass(r)) {
    case ZYDIS_REGCLASS_GPR8:
    case ZYDIS_REGCLASS_GPR16:
    case ZYDIS_REGCLASS_GPR32:
    case ZYDIS_REGCLASS_GPR64:
        r = ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, r);
        return r - ZYDIS_REGISTER_RAX;
    default: return -1;
    }
}

/* SIB with base 101 and no displacement: Zydis 4.0 does not always say that
 * this is no base. */
static void mend_base(const ZydisDecodedInstruction *d, ZydisDecodedOperand *o)
{
    if (!(d->attributes & ZYDIS_ATTRIB_HAS_SIB) || d->raw.modrm.mod != 0 ||
        d->raw.sib.base != 5) {
        return;
    }
    for (unsigned i = 0; i < d->operand_count; i++) {
        if (o[i].type != ZYDIS_OPERAND_TYPE_MEMORY ||
            o[i].visibility == ZYDIS_OPERAND_VISIBILITY_HIDDEN) {
            continue;
        }
        o[i].mem.base = ZYDIS_REGISTER_NONE;
        o[i].mem.disp.value = d->raw.disp.value;
    }
}

static bool can_use(const struct gen *g, const ZydisDecodedInstruction *d,
                    const ZydisDecodedOperand *o)
{
    if (!is_wanted_category(d->meta.category) || is_left_out(d)) return false;
    if (!isa_feature(d->meta.isa_set)) return false;
    if (d->attributes & ZYDIS_ATTRIB_IS_PRIVILEGED) return false;
    if (d->encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY &&
        d->encoding != ZYDIS_INSTRUCTION_ENCODING_VEX) {
        return false;
    }
    if (d->attributes & ZYDIS_ATTRIB_HAS_SEGMENT) return false;
    for (unsigned i = 0; i < d->operand_count; i++) {
        if (o[i].type == ZYDIS_OPERAND_TYPE_REGISTER) {
            switch (ZydisRegisterGetClass(o[i].reg.value)) {
            case ZYDIS_REGCLASS_SEGMENT:
            case ZYDIS_REGCLASS_CONTROL:
            case ZYDIS_REGCLASS_DEBUG:
            case ZYDIS_REGCLASS_TEST: return false;
            default: break;
            }
        }
        if (o[i].type != ZYDIS_OPERAND_TYPE_MEMORY) continue;
        if (o[i].mem.type == ZYDIS_MEMOP_TYPE_VSIB) return false;
        if (o[i].mem.base == ZYDIS_REGISTER_EIP) return false;
        /* 16-bit addresses cannot reach the data area */
        if (d->address_width == 16 && g->bits != 16) return false;
        if (o[i].size > 512) return false;
    }
    return true;
}

/* ---- registers of memory operands */

static uint64_t data_address(struct gen *g, const ZydisDecodedInstruction *d,
                             const ZydisDecodedOperand *o, bool is_vex)
{
    uint64_t base = g->bits == 16 ? 0x2000 : GEN_DATA;
    unsigned span = GEN_DATA_BYTES - 128;
    uint64_t at = base + 64 + pick(g, span);

    if (pick(g, 3) == 0) at = base + 0x1000 * (1 + pick(g, 2)) - pick(g, 16);
    /* Legacy SSE operands must be aligned; VEX ones often are. */
    if (o->size >= 128 && (!is_vex || pick(g, 4))) at &= ~31ull;
    /* A host may take its time over a locked access that is not aligned. */
    if (d->attributes & ZYDIS_ATTRIB_HAS_LOCK) at &= ~15ull;
    if (d->mnemonic == ZYDIS_MNEMONIC_CMPXCHG16B) at &= ~15ull;
    if (d->mnemonic == ZYDIS_MNEMONIC_XCHG) at &= ~15ull;
    return at;
}

static bool must_be_aligned(const ZydisDecodedInstruction *d)
{
    switch (d->mnemonic) {
    case ZYDIS_MNEMONIC_VMOVAPS:
    case ZYDIS_MNEMONIC_VMOVAPD:
    case ZYDIS_MNEMONIC_VMOVDQA:
    case ZYDIS_MNEMONIC_VMOVNTPS:
    case ZYDIS_MNEMONIC_VMOVNTPD:
    case ZYDIS_MNEMONIC_VMOVNTDQ:
    case ZYDIS_MNEMONIC_VMOVNTDQA: return true;
    default: return false;
    }
}

/* An address alone, or off RIP: put_address() will fill it in. */
static bool has_address(const ZydisDecodedInstruction *d,
                        const ZydisDecodedOperand *o)
{
    return o->visibility == ZYDIS_OPERAND_VISIBILITY_EXPLICIT &&
           d->raw.disp.size >= 16;
}

static void put_address(struct gen *g, const ZydisDecodedInstruction *d,
                        const ZydisDecodedOperand *o, uint8_t *b)
{
    bool is_vex =
        d->encoding == ZYDIS_INSTRUCTION_ENCODING_VEX && !must_be_aligned(d);
    uint64_t at = data_address(g, d, o, is_vex);

    if (gpr_number(o->mem.base) >= 0 || gpr_number(o->mem.index) >= 0) return;
    if (o->mem.base == ZYDIS_REGISTER_RIP)
        at -= GEN_CODE + g->bytes + d->length;
    memcpy(b + d->raw.disp.offset, &at, d->raw.disp.size / 8);
}

static bool is_in_address(const ZydisDecodedOperand *o, int reg)
{
    return gpr_number(o->mem.base) == reg || gpr_number(o->mem.index) == reg;
}

/* Registers that must have certain values, before those of addresses; false:
 * that cannot be. */
static bool prepare(struct gen *g, const ZydisDecodedInstruction *d,
                    const ZydisDecodedOperand *o)
{
    int reg;

    switch (d->mnemonic) {
    case ZYDIS_MNEMONIC_DIV:
    case ZYDIS_MNEMONIC_IDIV:
        if (o[0].type != ZYDIS_OPERAND_TYPE_REGISTER) return false;
        reg = gpr_number(o[0].reg.value);
        if (reg == 0 || reg == 2 || reg == SP) return false;
        put_mov(g, (unsigned)reg, gen_random(g) >> pick(g, 48) | 0x0101);
        put_mov(g, 0, pick(g, 100));
        put_mov(g, 2, 0);
        return true;
    case ZYDIS_MNEMONIC_BT:
    case ZYDIS_MNEMONIC_BTS:
    case ZYDIS_MNEMONIC_BTR:
    case ZYDIS_MNEMONIC_BTC:
        if (o[0].type != ZYDIS_OPERAND_TYPE_MEMORY ||
            o[1].type != ZYDIS_OPERAND_TYPE_REGISTER) {
            return true;
        }
        reg = gpr_number(o[1].reg.value);
        if (reg == SP || is_in_address(&o[0], reg)) return false;
        put_mov(g, (unsigned)reg, pick(g, 1024) - 512ull);
        return true;
    default: break;
    }
    if (d->meta.category == ZYDIS_CATEGORY_STRINGOP &&
        (d->attributes & (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE |
                          ZYDIS_ATTRIB_HAS_REPNE))) {
        put_mov(g, 1, pick(g, 8));
    }
    return true;
}

static bool lead(struct gen *g, const ZydisDecodedInstruction *d,
                 const ZydisDecodedOperand *o)
{
    int base = gpr_number(o->mem.base), index = gpr_number(o->mem.index);
    bool is_vex =
        d->encoding == ZYDIS_INSTRUCTION_ENCODING_VEX && !must_be_aligned(d);
    uint64_t at = data_address(g, d, o, is_vex), x = pick(g, 256);
    uint64_t disp = (uint64_t)o->mem.disp.value;

    if (base < 0 && index < 0) return has_address(d, o);
    if (index == SP) return false;
    if (base == SP) return false;
    if (o->size >= 128 && !is_vex && (base < 0 || base == index)) return false;
    if (base < 0) {
        at = (at - disp) & ~(uint64_t)(o->mem.scale - 1);
        put_mov(g, (unsigned)index, at / o->mem.scale);
        return (at / o->mem.scale) * o->mem.scale + disp - GEN_DATA <
               GEN_DATA_BYTES - 64;
    }
    if (index == base) {
        at = (at - disp) / (o->mem.scale + 1u);
        put_mov(g, (unsigned)base, at);
        return at * (o->mem.scale + 1u) + disp - GEN_DATA < GEN_DATA_BYTES - 64;
    }
    if (index >= 0) {
        put_mov(g, (unsigned)index, x);
        at -= x * o->mem.scale;
    }
    put_mov(g, (unsigned)base, at - disp);
    return true;
}

/* Not this one; d NULL: it means nothing. */
static bool give_up(struct gen *g, const ZydisDecodedInstruction *d,
                    const uint8_t *b)
{
    if (++g->tries < TRIES) return false;
    if (d && g->told) g->told(g, d, b, false);
    g->next_form++;
    g->tries = 0;
    return false;
}

static bool add_one(struct gen *g)
{
    uint8_t b[32];
    unsigned start = g->bytes;
    ZydisDecoder dec;
    ZydisDecodedInstruction d;
    ZydisDecodedOperand o[ZYDIS_MAX_OPERAND_COUNT];
    bool writes_sp = false, is_stack = false;

    ZydisDecoderInit(&dec,
                     g->bits == 64   ? ZYDIS_MACHINE_MODE_LONG_64
                     : g->bits == 32 ? ZYDIS_MACHINE_MODE_LONG_COMPAT_32
                                     : ZYDIS_MACHINE_MODE_REAL_16,
                     g->bits == 64   ? ZYDIS_STACK_WIDTH_64
                     : g->bits == 32 ? ZYDIS_STACK_WIDTH_32
                                     : ZYDIS_STACK_WIDTH_16);
    if (!g->walks) {
        candidate(g, b);
    } else if (!walk(g, b)) {
        return false;
    }
    if (ZYAN_FAILED(ZydisDecoderDecodeFull(&dec, b, 15, &d, o))) {
        g->tries += TRIES / 2;
        return give_up(g, NULL, b);
    }
    mend_base(&d, o);
    if (!can_use(g, &d, o)) return give_up(g, &d, b);
    if (amd_differs(b, &d, g->bits / 8)) return give_up(g, NULL, b);
    if (!prepare(g, &d, o)) {
        g->bytes = start;
        return give_up(g, &d, b);
    }
    for (unsigned i = 0; i < d.operand_count; i++) {
        if (o[i].type == ZYDIS_OPERAND_TYPE_MEMORY &&
            o[i].mem.base != ZYDIS_REGISTER_NONE &&
            gpr_number(o[i].mem.base) == SP &&
            o[i].visibility == ZYDIS_OPERAND_VISIBILITY_HIDDEN) {
            is_stack = true;
            continue;
        }
        if (o[i].type == ZYDIS_OPERAND_TYPE_MEMORY &&
            o[i].mem.type != ZYDIS_MEMOP_TYPE_AGEN &&
            d.meta.category != ZYDIS_CATEGORY_WIDENOP && !lead(g, &d, &o[i])) {
            g->bytes = start;
            return give_up(g, &d, b);
        }
        if (o[i].type == ZYDIS_OPERAND_TYPE_REGISTER &&
            (o[i].actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) &&
            gpr_number(o[i].reg.value) == SP) {
            writes_sp = true;
        }
    }
    if (is_stack) {
        put_mov(g, SP, g->bits == 16 ? 0x7800 : GEN_STACK - 64 - pick(g, 64));
    }
    for (unsigned i = 0; i < d.operand_count; i++) {
        if (o[i].type == ZYDIS_OPERAND_TYPE_MEMORY && has_address(&d, &o[i]) &&
            o[i].mem.type != ZYDIS_MEMOP_TYPE_AGEN &&
            d.meta.category != ZYDIS_CATEGORY_WIDENOP) {
            put_address(g, &d, &o[i], b);
        }
    }
    put(g, b, d.length);
    if (g->told) g->told(g, &d, b, true);
    g->next_form++;
    g->tries = 0;
    if (writes_sp) put_mov(g, SP, g->bits == 16 ? 0x7800 : GEN_STACK - 64);
    if (d.cpu_flags && d.cpu_flags->undefined) {
        uint8_t cmp[2] = { 0x3c, (uint8_t)gen_random(g) };
        put(g, cmp, 2);
    }
    return true;
}

/* ---- runs of accesses off one register */

/* op [base + disp8], reg with random width */
static void put_access(struct gen *g, unsigned base)
{
    static const uint8_t ops[] = {
        0x89, 0x8b, 0x01, 0x03, 0x11, 0x13, 0x19, 0x1b, 0x29,
        0x33, 0x39, 0x3b, 0x88, 0x8a, 0x00, 0x12, 0x38, 0x8b,
    };
    unsigned reg = pick(g, 16), n = 0;
    uint8_t op = ops[pick(g, sizeof(ops))], b[8];

    if (reg == SP || reg == base) reg = base == 0 ? 3 : 0;
    if (pick(g, 4) || reg > 7 || base > 7) {
        b[n++] =
            (uint8_t)(0x40 | pick(g, 2) << 3 | (reg >> 3) << 2 | base >> 3);
    } else if (!(op & 1) && (reg & 3) == (base & 3)) {
        reg ^= 1; /* AH..BH would be the base */
        if (reg == base) reg = 2;
    }
    b[n++] = op;
    b[n++] = (uint8_t)(0x40 | (reg & 7) << 3 | (base & 7));
    if ((base & 7) == SP) b[n++] = 0x24;
    b[n++] = (uint8_t)gen_random(g);
    put(g, b, n);
}

/* Something between: flags read, the base moved, a push, a pop. */
static void put_between(struct gen *g, unsigned base)
{
    uint8_t reg = (uint8_t)(pick(g, 2) ? 1 : 2), by = (uint8_t)pick(g, 32);

    if (base == reg) reg = 3;
    switch (pick(g, base == SP ? 6 : 4)) {
    case 0: /* setcc reg8 */
        put(g,
            (uint8_t[]){ 0x0f, (uint8_t)(0x90 | pick(g, 16)),
                         (uint8_t)(0xc0 | reg) },
            3);
        break;
    case 1: /* add or sub base, imm8 */
        put(g,
            (uint8_t[]){ (uint8_t)(0x48 | base >> 3), 0x83,
                         (uint8_t)((pick(g, 2) ? 0xc0 : 0xe8) | (base & 7)),
                         by },
            4);
        break;
    case 2: /* lea base, [base + disp8] */
        put(g,
            (uint8_t[]){ (uint8_t)(0x48 | (base >> 3) * 5), 0x8d,
                         (uint8_t)(0x40 | (base & 7) << 3 | (base & 7)) },
            3);
        if ((base & 7) == SP) put(g, "\x24", 1);
        put(g, &by, 1);
        break;
    case 3: /* mov reg, imm: no flags */ put_mov(g, reg, by); break;
    case 4: put(g, (uint8_t[]){ (uint8_t)(0x50 | pick(g, 8)) }, 1); break;
    default: put(g, (uint8_t[]){ (uint8_t)(0x58 | reg) }, 1); break;
    }
}

static void add_run(struct gen *g)
{
    unsigned base = pick(g, 3) ? pick(g, 16) : SP;
    unsigned room = 1024;
    uint64_t at = GEN_DATA + room + pick(g, GEN_DATA_BYTES - 2 * room);

    if (pick(g, 2)) { /* around the end of a page */
        at = GEN_DATA + 0x1000 * (1 + pick(g, 2)) + pick(g, 512) - 256;
    }
    put_mov(g, base, at);
    for (unsigned i = 0; i < 12; i++) {
        if (pick(g, 3)) {
            put_access(g, base);
        } else {
            put_between(g, base);
        }
    }
    if (base == SP) put_mov(g, SP, GEN_STACK - 64);
}

/* ---- tables */

/* An index of 0 to 255 into x: a byte, or something cut to a few bits. */
static void put_index(struct gen *g, unsigned x)
{
    unsigned from = pick(g, 16);

    if (pick(g, 4)) { /* movzx x, byte of from */
        put(g,
            (uint8_t[]){ (uint8_t)(0x40 | (x >> 3) << 2 | from >> 3), 0x0f,
                         0xb6, (uint8_t)(0xc0 | (x & 7) << 3 | (from & 7)) },
            4);
        return;
    }
    put_mov(g, x, gen_random(g));
    if (pick(g, 2)) { /* and x, imm8 */
        put(g,
            (uint8_t[]){ (uint8_t)(0x40 | pick(g, 2) << 3 | x >> 3), 0x83,
                         (uint8_t)(0xe0 | (x & 7)), (uint8_t)pick(g, 128) },
            4);
    } else { /* shr x, 56.. */
        put(g,
            (uint8_t[]){ (uint8_t)(0x48 | x >> 3), 0xc1,
                         (uint8_t)(0xe8 | (x & 7)),
                         (uint8_t)(56 + pick(g, 8)) },
            4);
    }
    put(g, (uint8_t[]){ 0x3c, (uint8_t)gen_random(g) }, 2); /* AF, OF */
}

/* op [base + x * 2^scale + disp], reg; base 16: none */
static void put_lookup(struct gen *g, unsigned base, unsigned x)
{
    static const uint8_t ops[] = { 0x89, 0x8b, 0x01, 0x13, 0x1b, 0x33,
                                   0x3b, 0x88, 0x8a, 0x00, 0x12, 0x8b };
    unsigned reg = pick(g, 16), scale = pick(g, 4), n = 0;
    uint32_t disp = pick(g, 0x800) + (base == 16 ? GEN_DATA : 0);
    uint8_t op = ops[pick(g, sizeof(ops))], b[12];

    if (reg == SP || reg == base) reg = base == 0 ? 3 : 0;
    if (pick(g, 3) || reg > 7 || x > 7 || (base & 15) > 7) {
        b[n++] = (uint8_t)(0x40 | pick(g, 2) << 3 | (reg >> 3) << 2 |
                           (x >> 3) << 1 | (base >> 3 & 1));
    } else if (!(op & 1) && reg > 3 && (reg & 3) == base) {
        reg ^= 1; /* AH..BH would be the base */
    }
    b[n++] = op;
    b[n++] = (uint8_t)((base == 16 ? 0x04 : 0x84) | (reg & 7) << 3);
    b[n++] = (uint8_t)(scale << 6 | (x & 7) << 3 | (base == 16 ? 5 : base & 7));
    memcpy(b + n, &disp, 4);
    put(g, b, n + 4);
}

/* Look-ups in tables at constant addresses and off a register. */
static void add_lookups(struct gen *g)
{
    unsigned base = pick(g, 2) ? 16 : pick(g, 16), x;

    if (base == SP) base = 16;
    if (base < 16) put_mov(g, base, GEN_DATA + pick(g, GEN_DATA_BYTES / 2));
    for (unsigned i = 0; i < 10; i++) {
        do {
            x = pick(g, 16);
        } while (x == SP || x == base);
        put_index(g, x);
        if (pick(g, 2)) put(g, (uint8_t[]){ 0x38, 0xc8 }, 2); /* cmp al, cl */
        put_lookup(g, base, x);
    }
}

/* ---- loops */

struct gen_loop {
    unsigned counter, base, index; /* registers */
    bool has_index;
};

static unsigned other_register(struct gen *g, const struct gen_loop *l)
{
    unsigned r;

    do {
        r = pick(g, 16);
    } while (r == SP || r == l->counter || r == l->base || r == l->index);
    return r;
}

/* op [base + index * 2^scale + disp8], reg */
static void put_loop_access(struct gen *g, const struct gen_loop *l)
{
    static const uint8_t ops[] = { 0x89, 0x8b, 0x01, 0x03, 0x33,
                                   0x3b, 0x88, 0x8a, 0x00, 0x8b };
    unsigned reg = other_register(g, l), x = l->index;
    uint8_t op = ops[pick(g, sizeof(ops))];

    put(g,
        (uint8_t[]){
            (uint8_t)(0x40 | pick(g, 2) << 3 | (reg >> 3) << 2 |
                      (l->has_index ? x >> 3 : 0) << 1 | l->base >> 3),
            op, (uint8_t)(0x44 | (reg & 7) << 3),
            (uint8_t)((l->has_index ? (x & 7) << 3 : 0x20) | (l->base & 7)),
            (uint8_t)gen_random(g) },
        5);
}

/* op reg, reg */
static void put_loop_alu(struct gen *g, const struct gen_loop *l)
{
    unsigned to = other_register(g, l), from = pick(g, 16);

    put(g,
        (uint8_t[]){
            (uint8_t)(0x40 | pick(g, 2) << 3 | (from >> 3) << 2 | to >> 3),
            (uint8_t)(1 | pick(g, 8) << 3),
            (uint8_t)(0xc0 | (from & 7) << 3 | (to & 7)) },
        3);
}

static void put_step(struct gen *g, unsigned reg, int by)
{
    put(g,
        (uint8_t[]){ (uint8_t)(0x48 | reg >> 3), 0x83,
                     (uint8_t)(0xc0 | (reg & 7)), (uint8_t)by },
        4);
}

static void put_body(struct gen *g, const struct gen_loop *l)
{
    unsigned skip = 0;

    for (unsigned i = pick(g, 12) + 1; i > 0; i--) {
        if (skip == 0 && pick(g, 6) == 0) {
            /* jcc over what follows */
            put(g, (uint8_t[]){ (uint8_t)(0x70 | pick(g, 16)), 0 }, 2);
            skip = g->bytes;
        }
        if (pick(g, 2)) {
            put_loop_access(g, l);
        } else {
            put_loop_alu(g, l);
        }
        if (skip && pick(g, 2)) {
            g->code[skip - 1] = (uint8_t)(g->bytes - skip);
            skip = 0;
        }
    }
    if (skip) g->code[skip - 1] = (uint8_t)(g->bytes - skip);
}

/* A loop that steps through the data. */
static void add_loop(struct gen *g)
{
    static const int8_t steps[] = { 0, 1, 2, 4, 8, 8, 16, 24, 40, 100, -8, -3 };
    struct gen_loop l = { .counter = 16, .base = 16, .index = 16 };
    int by = steps[pick(g, sizeof(steps))];
    int index_by = steps[pick(g, 5)];
    unsigned rounds = 1 + pick(g, 60), start;

    l.counter = other_register(g, &l);
    l.base = other_register(g, &l);
    l.index = other_register(g, &l);
    l.has_index = pick(g, 2);
    put_mov(g, l.base,
            GEN_DATA + 2048 + pick(g, GEN_DATA_BYTES - 4096 - 60 * 8 - 512));
    if (by >= 40) rounds = 1 + pick(g, 20);
    put_mov(g, l.index, pick(g, 256));
    put_mov(g, l.counter, rounds);
    start = g->bytes;
    put_body(g, &l);
    if (by) put_step(g, l.base, by);
    if (l.has_index && index_by) put_step(g, l.index, index_by);
    if (pick(g, 2)) put_body(g, &l);
    if (pick(g, 3) == 0) {
        /* No register is free: add r, rsp with each */
        for (unsigned r = 0; r < 16; r++) {
            if (r == SP || r == l.counter || r == l.base || r == l.index) {
                continue;
            }
            put(g,
                (uint8_t[]){ (uint8_t)(0x48 | r >> 3), 1,
                             (uint8_t)(0xc0 | SP << 3 | (r & 7)) },
                3);
        }
        if (pick(g, 2)) put_loop_access(g, &l);
    }
    put_step(g, l.counter, -1);
    put(g, (uint8_t[]){ 0x0f, 0x85 }, 2); /* jnz */
    start = start - (g->bytes + 4);
    put(g, &start, 4);
}

void gen_stream(struct gen *g, unsigned count)
{
    uint32_t at = GEN_EXIT;

    g->bytes = 0;
    while (count > 0 && g->bytes < GEN_MAX_BYTES - 256) {
        if (g->walks && g->next_form >= forms_count(g->bits / 8)) break;
        if (!g->walks && g->bits == 64 && pick(g, 200) == 0) add_run(g);
        if (!g->walks && g->bits == 64 && pick(g, 100) == 0) add_loop(g);
        if (!g->walks && g->bits == 64 && pick(g, 100) == 0) add_lookups(g);
        if (add_one(g)) count--;
    }
    switch (g->bits) {
    case 64: put(g, "\xff\x24\x25", 3); break; /* jmp [abs] */
    case 32: put(g, "\xff\x25", 2); break;
    default: put(g, "\xe6\xf4\xeb\xfe", 4); return; /* out 0xf4, al */
    }
    put(g, &at, 4);
}
