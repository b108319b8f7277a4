/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/support/insn_forms.h"

enum {
    LEGACY_PREFIXES = 6,
    VARIANTS = 3,
    MAPS = 4,
    LEGACY = 8 * 2 * LEGACY_PREFIXES * VARIANTS * 256 * MAPS,
    VEX = 8 * 2 * 4 * 2 * 2 * 2 * 256 * (MAPS - 1),
};

uint32_t forms_count(unsigned mode)
{
    return (mode == 8 ? 2 : 1) * LEGACY + VEX;
}

static unsigned digit(uint32_t *n, unsigned base)
{
    unsigned d = *n % base;

    *n /= base;
    return d;
}

void form_get(unsigned mode, uint32_t n, struct form *f)
{
    uint32_t legacy = (mode == 8 ? 2 : 1) * LEGACY;

    *f = (struct form){ .mode = (uint8_t)mode };
    f->is_vex = n >= legacy;
    if (f->is_vex) n -= legacy;
    f->reg = (uint8_t)digit(&n, 8);
    f->is_mem = digit(&n, 2);
    if (f->is_vex) {
        f->pp = (uint8_t)digit(&n, 4);
        f->w = digit(&n, 2);
        f->l = digit(&n, 2);
        f->has_vvvv = digit(&n, 2);
        f->op = (uint8_t)digit(&n, 256);
        f->map = (uint8_t)(1 + n);
    } else {
        f->pp = (uint8_t)digit(&n, LEGACY_PREFIXES);
        f->variant = (uint8_t)digit(&n, VARIANTS);
        if (mode == 8) f->w = digit(&n, 2);
        f->op = (uint8_t)digit(&n, 256);
        f->map = (uint8_t)n;
    }
}

bool form_is_prefix(const struct form *f)
{
    if (f->is_vex) return false;
    if (f->map == 1) return f->op == 0x38 || f->op == 0x3a;
    if (f->map != 0) return false;
    switch (f->op) {
    case 0x0f:
    case 0x26:
    case 0x2e:
    case 0x36:
    case 0x3e:
    case 0x64:
    case 0x65:
    case 0x66:
    case 0x67:
    case 0xf0:
    case 0xf2:
    case 0xf3: return true;
    case 0x62: /* EVEX */
    case 0xc4:
    case 0xc5: return f->mode == 8 || !f->is_mem;           /* VEX */
    default: return f->mode == 8 && (f->op & 0xf0) == 0x40; /* REX */
    }
}

static void put_vex(const struct form *f, uint64_t random, uint8_t *to,
                    struct form_at *at)
{
    uint8_t inverted = (uint8_t)(random & 7); /* R X B */
    uint8_t vvvv = 0;

    if (f->has_vvvv) vvvv = 1 + (random >> 3) % (f->mode == 8 ? 15 : 7);
    if (f->mode != 8) inverted = 0;
    at->rex = (uint8_t)(f->w << 3 | inverted);
    to[0] = 0xc4;
    to[1] = (uint8_t)((~inverted & 7) << 5 | f->map);
    to[2] = (uint8_t)(f->w << 7 | (~vvvv & 15) << 3 | f->l << 2 | f->pp);
    at->count = 3;
}

static void put_legacy(const struct form *f, uint64_t random, uint8_t *to,
                       struct form_at *at)
{
    unsigned n = 0;

    if (f->variant == FORM_LOCK) to[n++] = 0xf0;
    if (f->variant == FORM_ADDRESS_SIZE) to[n++] = 0x67;
    if (f->pp == 1 || f->pp > 3) to[n++] = 0x66;
    if (f->pp == 2 || f->pp == 4) to[n++] = 0xf3;
    if (f->pp == 3 || f->pp == 5) to[n++] = 0xf2;
    if (f->mode == 8 && (f->w || (random & 1))) {
        at->rex = (uint8_t)(f->w << 3 | (random >> 1 & 7));
        to[n++] = 0x40 | at->rex;
    }
    if (f->map) to[n++] = 0x0f;
    if (f->map == 2) to[n++] = 0x38;
    if (f->map == 3) to[n++] = 0x3a;
    at->count = n;
}

void form_put(const struct form *f, uint64_t random, uint8_t *to,
              struct form_at *at)
{
    *at = (struct form_at){ .count = 0 };
    if (f->is_vex) {
        put_vex(f, random, to, at);
    } else {
        put_legacy(f, random, to, at);
    }
    at->opcode = at->count;
    to[at->count++] = f->op;
    at->modrm = at->count;
    to[at->count++] =
        (uint8_t)(f->reg << 3 | (f->is_mem ? 0 : 0xc0 | (f->rm & 7)));
}

/* SDM volume 1, chapters 5 and 20: what CPUID announces. */
static const struct {
    ZydisISASet set;
    const char *feature;
} features[] = {
    { ZYDIS_ISA_SET_ADOX_ADCX, "adx" },
    { ZYDIS_ISA_SET_AES, "aes" },
    { ZYDIS_ISA_SET_AMD3DNOW, "" }, /* only PREFETCHx, hints */
    { ZYDIS_ISA_SET_AVX, "avx" },
    { ZYDIS_ISA_SET_AVX2, "avx2" },
    { ZYDIS_ISA_SET_AVX2GATHER, "avx2" },
    { ZYDIS_ISA_SET_AVXAES, "aes" },
    { ZYDIS_ISA_SET_AVX_GFNI, "gfni" },
    { ZYDIS_ISA_SET_BMI1, "bmi1" },
    { ZYDIS_ISA_SET_BMI2, "bmi2" },
    { ZYDIS_ISA_SET_CLFLUSHOPT, "clflushopt" },
    { ZYDIS_ISA_SET_CLFSH, "clflush" },
    { ZYDIS_ISA_SET_CLWB, "clwb" },
    { ZYDIS_ISA_SET_CMOV, "cmov" },
    { ZYDIS_ISA_SET_CMPXCHG16B, "cx16" },
    { ZYDIS_ISA_SET_F16C, "f16c" },
    { ZYDIS_ISA_SET_FAT_NOP, "" },
    { ZYDIS_ISA_SET_FCMOV, "cmov" },
    { ZYDIS_ISA_SET_FMA, "fma" },
    { ZYDIS_ISA_SET_FXSAVE, "fxsr" },
    { ZYDIS_ISA_SET_FXSAVE64, "fxsr" },
    { ZYDIS_ISA_SET_GFNI, "gfni" },
    { ZYDIS_ISA_SET_I186, "" },
    { ZYDIS_ISA_SET_I286PROTECTED, "" },
    { ZYDIS_ISA_SET_I286REAL, "" },
    { ZYDIS_ISA_SET_I386, "" },
    { ZYDIS_ISA_SET_I486, "" },
    { ZYDIS_ISA_SET_I486REAL, "" },
    { ZYDIS_ISA_SET_I86, "" },
    { ZYDIS_ISA_SET_INVPCID, "invpcid" },
    { ZYDIS_ISA_SET_LAHF, "" },
    { ZYDIS_ISA_SET_LONGMODE, "" },
    { ZYDIS_ISA_SET_LZCNT, "" }, /* without it BSR */
    { ZYDIS_ISA_SET_MOVBE, "movbe" },
    { ZYDIS_ISA_SET_PAUSE, "" },
    { ZYDIS_ISA_SET_PCLMULQDQ, "pclmulqdq" },
    { ZYDIS_ISA_SET_PENTIUMMMX, "mmx" },
    { ZYDIS_ISA_SET_PENTIUMREAL, "" },
    { ZYDIS_ISA_SET_POPCNT, "popcnt" },
    { ZYDIS_ISA_SET_PPRO, "" },
    { ZYDIS_ISA_SET_PREFETCH_NOP, "" },
    { ZYDIS_ISA_SET_PREFETCHWT1, "" }, /* a hint */
    { ZYDIS_ISA_SET_RDPID, "rdpid" },
    { ZYDIS_ISA_SET_RDPMC, "" },
    { ZYDIS_ISA_SET_RDRAND, "rdrand" },
    { ZYDIS_ISA_SET_RDSEED, "rdseed" },
    { ZYDIS_ISA_SET_RDTSCP, "rdtscp" },
    { ZYDIS_ISA_SET_RDWRFSGS, "fsgsbase" },
    { ZYDIS_ISA_SET_SHA, "sha-ni" },
    { ZYDIS_ISA_SET_SMAP, "smap" },
    { ZYDIS_ISA_SET_SSE, "sse" },
    { ZYDIS_ISA_SET_SSE2, "sse2" },
    { ZYDIS_ISA_SET_SSE2MMX, "sse2" },
    { ZYDIS_ISA_SET_SSE3, "pni" },
    { ZYDIS_ISA_SET_SSE3X87, "pni" },
    { ZYDIS_ISA_SET_SSE4, "sse4.1" },
    { ZYDIS_ISA_SET_SSE42, "sse4.2" },
    { ZYDIS_ISA_SET_SSEMXCSR, "sse" },
    { ZYDIS_ISA_SET_SSE_PREFETCH, "" },
    { ZYDIS_ISA_SET_SSSE3, "ssse3" },
    { ZYDIS_ISA_SET_SSSE3MMX, "ssse3" },
    { ZYDIS_ISA_SET_VAES, "vaes" },
    { ZYDIS_ISA_SET_VPCLMULQDQ, "vpclmulqdq" },
    { ZYDIS_ISA_SET_X87, "fpu" },
    { ZYDIS_ISA_SET_XSAVE, "xsave" },
    { ZYDIS_ISA_SET_XSAVEC, "xsavec" },
    { ZYDIS_ISA_SET_XSAVEOPT, "xsaveopt" },
};

const char *isa_feature(ZydisISASet set)
{
    for (unsigned n = 0; n < sizeof(features) / sizeof(features[0]); n++) {
        if (features[n].set == set) return features[n].feature;
    }
    return NULL;
}
