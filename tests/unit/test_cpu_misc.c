/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What neither the host oracle nor the mode tests reach: decimal arithmetic,
 * REP with faults and events, save areas, CPU models, saved state.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/cpu/host_cpuid.h"
#include "core/cpu/state.h"
#include "core/vm/vcpu.h"
#include "tests/unit/support/cpu_rig.h"

enum { CODE = 0x8000 };

static enum cpu_step run(struct cpu_rig *r, const char *bytes, unsigned count)
{
    memcpy(r->ram + r->c.rip + r->c.seg[SEG_CS].base -
               (r->is_flat ? RIG_BASE : 0),
           bytes, count);
    return cpu_emulate(&r->c);
}
#define RUN(r, bytes) run(r, bytes, sizeof(bytes) - 1)

static struct cpu_rig *open_real(void)
{
    struct cpu_rig *r = rig_open(false, "max");
    r->c.seg[SEG_CS].sel = 0;
    r->c.seg[SEG_CS].base = 0;
    r->c.rip = CODE;
    r->c.gpr[GPR_SP] = 0x7000;
    return r;
}

/* Examples of the SDM's instruction pages and of binary-coded arithmetic
 * done by hand: op, immediate, AX and flags in, AX and flags out. */
struct bcd_case {
    char code[2];
    uint16_t ax;
    uint32_t flags;
    uint16_t result;
    uint32_t out, mask;
};

static void decimal_arithmetic(void **unused)
{
    static const struct bcd_case t[] = {
        /* DAA, SDM: ADD AL=79H, BL=35H gives AEH, then 14H with CF and AF */
        { "\x27", 0x00ae, 0, 0x0014, FLAG_CF | FLAG_AF | FLAG_PF, 0xd5 },
        { "\x27", 0x002e, 0, 0x0034, FLAG_AF, 0x55 },
        { "\x27", 0x0099, 0, 0x0099, FLAG_SF | FLAG_PF, 0xd5 },
        { "\x27", 0x009a, 0, 0x0000, FLAG_CF | FLAG_AF | FLAG_ZF | FLAG_PF,
          0xd5 },
        /* DAS, SDM: SUB AL=35H, BL=47H gives EEH with borrow, then 88H */
        { "\x2f", 0x00ee, FLAG_CF | FLAG_AF, 0x0088,
          FLAG_CF | FLAG_AF | FLAG_SF | FLAG_PF, 0xd5 },
        { "\x2f", 0x0043, 0, 0x0043, 0, 0x91 },
        /* AAA: 8 + 7 = 0F: 5 carried into AH */
        { "\x37", 0x000f, 0, 0x0105, FLAG_CF | FLAG_AF, 0x11 },
        { "\x37", 0x0105, 0, 0x0105, 0, 0x11 },
        /* AAS: 3 - 7 = FC with adjust: 6, borrowed from AH */
        { "\x3f", 0x02fc, FLAG_AF | FLAG_CF, 0x0106, FLAG_CF | FLAG_AF, 0x11 },
        { "\xd4\x0a", 0x0035, 0, 0x0503, FLAG_PF, 0xc4 }, /* AAM: 53 */
        { "\xd5\x0a", 0x0503, 0, 0x0035, FLAG_PF, 0xc4 }, /* AAD */
        { "\xd4\x10", 0x00ab, 0, 0x0a0b, 0, 0xc0 },
    };
    (void)unused;
    for (unsigned n = 0; n < sizeof(t) / sizeof(t[0]); n++) {
        struct cpu_rig *r = open_real();
        r->c.gpr[GPR_AX] = t[n].ax;
        r->c.rflags = 2 | t[n].flags;
        assert_int_equal(run(r, t[n].code, 2), STEP_OK);
        uint16_t ax = (uint16_t)r->c.gpr[GPR_AX];
        if (ax != t[n].result || ((r->c.rflags ^ t[n].out) & t[n].mask)) {
            fail_msg("case %u: AX %04x, flags %llx", n, ax,
                     (unsigned long long)r->c.rflags);
        }
        rig_close(r);
    }
}

static void aam_by_zero_is_a_divide_error(void **unused)
{
    struct cpu_rig *r = open_real();
    (void)unused;
    r->ram[0] = 0x34;
    r->ram[1] = 0x12;
    assert_int_equal(RUN(r, "\xd4\x00"), STEP_FAULT);
    assert_int_equal(r->c.rip, 0x1234);
    rig_close(r);
}

static void string_moves_wrap_at_64_kib(void **unused)
{
    struct cpu_rig *r = open_real();
    (void)unused;
    r->ram[0x1ffff] = 0xaa;
    r->ram[0x10000] = 0xbb;
    r->c.seg[SEG_DS].base = 0x10000;
    r->c.seg[SEG_ES].base = 0x20000;
    r->c.gpr[GPR_SI] = 0xffff;
    r->c.gpr[GPR_DI] = 0x10;
    r->c.gpr[GPR_CX] = 2;
    assert_int_equal(RUN(r, "\xf3\xa4"), STEP_OK);
    assert_int_equal(r->ram[0x20010], 0xaa);
    assert_int_equal(r->ram[0x20011], 0xbb);
    assert_int_equal(r->c.gpr[GPR_SI], 1);
    assert_int_equal(r->c.gpr[GPR_CX], 0);
    rig_close(r);
}

static void overlapping_moves_replicate(void **unused)
{
    struct cpu_rig *r = open_real();
    (void)unused;
    memcpy(r->ram + 0x5000, "abcd", 4);
    r->c.gpr[GPR_SI] = 0x5000;
    r->c.gpr[GPR_DI] = 0x5002;
    r->c.gpr[GPR_CX] = 6;
    assert_int_equal(RUN(r, "\xf3\xa4"), STEP_OK);
    assert_memory_equal(r->ram + 0x5000, "abababab", 8);
    /* backwards */
    memcpy(r->ram + 0x5000, "abcdef", 6);
    r->c.rflags |= FLAG_DF;
    r->c.gpr[GPR_SI] = 0x5003;
    r->c.gpr[GPR_DI] = 0x5005;
    r->c.gpr[GPR_CX] = 4;
    assert_int_equal(RUN(r, "\xf3\xa4"), STEP_OK);
    assert_memory_equal(r->ram + 0x5000, "ababcd", 6);
    assert_int_equal(r->c.gpr[GPR_SI], 0x4fff);
    rig_close(r);
}

/* The flat rig ends at RIG_BASE + RIG_BYTES: the store after it faults. */
static void rep_stops_at_a_fault_with_exact_registers(void **unused)
{
    struct cpu_rig *r = rig_open(true, "max");
    struct cpu *c = &r->c;
    (void)unused;
    c->gpr[GPR_DI] = RIG_BASE + RIG_BYTES - 5000;
    c->gpr[GPR_CX] = 6000;
    c->gpr[GPR_AX] = 0x5a;
    assert_int_equal(RUN(r, "\xf3\xaa"), STEP_FAULT);
    assert_int_equal(c->rip, RIG_BASE + RIG_HANDLERS + 16 * EXC_PF);
    assert_int_equal(c->gpr[GPR_DI], RIG_BASE + RIG_BYTES);
    assert_int_equal(c->gpr[GPR_CX], 1000);
    assert_int_equal(c->cr2, RIG_BASE + RIG_BYTES);
    assert_int_equal(r->ram[RIG_BYTES - 1], 0x5a);
    rig_close(r);
}

static void rep_stops_for_an_event_between_pages(void **unused)
{
    struct cpu_rig *r = rig_open(true, "max");
    struct cpu *c = &r->c;
    struct vcpu v;
    (void)unused;
    memset(&v, 0, sizeof(v));
    v.events = VCPU_INTR;
    c->vcpu = &v;
    c->gpr[GPR_DI] = RIG_BASE + RIG_DATA;
    c->gpr[GPR_CX] = 0x3000;
    assert_int_equal(RUN(r, "\xf3\xaa"), STEP_OK);
    assert_int_equal(c->rip, RIG_BASE + RIG_CODE); /* not done */
    assert_int_equal(c->gpr[GPR_CX], 0x2000);
    v.events = 0;
    assert_int_equal(cpu_emulate(c), STEP_OK);
    assert_int_equal(c->rip, RIG_BASE + RIG_CODE + 2);
    assert_int_equal(c->gpr[GPR_CX], 0);
    assert_int_equal(c->gpr[GPR_DI], RIG_BASE + RIG_DATA + 0x3000);
    rig_close(r);
}

static void repe_cmps_stops_after_the_difference(void **unused)
{
    struct cpu_rig *r = open_real();
    (void)unused;
    memcpy(r->ram + 0x5000, "abcXef", 6);
    memcpy(r->ram + 0x6000, "abcYef", 6);
    r->c.gpr[GPR_SI] = 0x5000;
    r->c.gpr[GPR_DI] = 0x6000;
    r->c.gpr[GPR_CX] = 6;
    assert_int_equal(RUN(r, "\xf3\xa6"), STEP_OK);
    assert_int_equal(r->c.gpr[GPR_CX], 2);
    assert_int_equal(r->c.gpr[GPR_SI], 0x5004);
    assert_false(r->c.rflags & FLAG_ZF);
    assert_true(r->c.rflags & FLAG_CF); /* X < Y */
    rig_close(r);
}

static void faulting_instructions_change_nothing(void **unused)
{
    static const struct {
        char bytes[8];
        uint8_t count;
    } t[] = {
        { "\x48\x87\x03", 3 },         /* xchg [rbx], rax */
        { "\x48\x01\x03", 3 },         /* add [rbx], rax */
        { "\xf0\x48\x0f\xc1\x03", 5 }, /* lock xadd [rbx], rax */
        { "\x8f\x03", 2 },             /* pop [rbx] */
        { "\xff\x33", 2 },             /* push [rbx] */
        { "\x48\x0f\xb1\x0b", 4 },     /* cmpxchg [rbx], rcx */
        { "\xa5", 1 },                 /* movsd to [rdi] */
        { "\xff\x13", 2 },             /* call [rbx] */
    };
    (void)unused;
    for (unsigned n = 0; n < sizeof(t) / sizeof(t[0]); n++) {
        struct cpu_rig *r = rig_open(true, "max");
        uint64_t before[16];
        for (unsigned k = 0; k < 16; k++) {
            r->c.gpr[k] = RIG_BASE + RIG_DATA + 64 * k;
        }
        /* The last byte lies past the RAM. */
        r->c.gpr[GPR_BX] = r->c.gpr[GPR_DI] = RIG_BASE + RIG_BYTES - 1;
        r->ram[RIG_BYTES - 1] = 0x77;
        memcpy(before, r->c.gpr, sizeof(before));
        r->c.rflags = 2;
        assert_int_equal(run(r, t[n].bytes, t[n].count), STEP_FAULT);
        assert_int_equal(r->c.rip, RIG_BASE + RIG_HANDLERS + 16 * EXC_PF);
        before[GPR_SP] = r->c.gpr[GPR_SP]; /* the handler's stack */
        assert_memory_equal(before, r->c.gpr, sizeof(before));
        assert_int_equal(r->ram[RIG_BYTES - 1], 0x77);
        assert_int_equal(r->c.rflags & FLAGS_ARITH, 0);
        rig_close(r);
    }
}

/* XSAVE and XSAVEC areas written by emulation load on the host CPU. */
static void save_areas_are_the_hosts(void **unused)
{
    static const char xsave[] = "\x48\x0f\xae\x23";  /* xsave64 [rbx] */
    static const char xrstor[] = "\x48\x0f\xae\x2b"; /* xrstor64 [rbx] */
    static const char fxsave[] = "\x48\x0f\xae\x03";
    struct cpu_rig *r = rig_open(true, "max");
    struct cpu *c = &r->c;
    uint8_t image[VECTOR_BYTES] __attribute__((aligned(64))) = { 0 };
    uint8_t *area = r->ram + RIG_DATA;
    uint16_t fcw = 0x27f;
    uint32_t mxcsr = 0x1fa0;
    (void)unused;
    memcpy(image, &fcw, 2);
    memcpy(image + 24, &mxcsr, 4);
    for (unsigned n = 160; n < 416; n++) {
        image[n] = (uint8_t)(n * 7);
    }
    for (unsigned n = 576; n < 832; n++) {
        image[n] = (uint8_t)(n * 11);
    }
    image[512] = 7;
    uint8_t wanted[VECTOR_BYTES];
    memcpy(wanted, image, sizeof(wanted));
    c->gpr[GPR_BX] = RIG_BASE + RIG_DATA;
    c->gpr[GPR_AX] = 7;
    memcpy(r->ram + RIG_CODE, xsave, 4);
    memset(area, 0, 1024);
    assert_int_equal(emulate_vector_state(r, image), STEP_OK);
    assert_memory_equal(area + 160, wanted + 160, 256);
    if (r->model.xcr0_mask & 4) {
        assert_memory_equal(area + 576, wanted + 576, 256);
    }
    assert_memory_equal(area, &fcw, 2);
    assert_memory_equal(area + 24, &mxcsr, 4);
    assert_int_equal(area[8] | area[9] | area[16], 0); /* no host pointers */
    /* and back, changed */
    area[200] ^= 0xff;
    c->rip = RIG_BASE + RIG_CODE;
    memcpy(r->ram + RIG_CODE, xrstor, 4);
    assert_int_equal(emulate_vector_state(r, image), STEP_OK);
    assert_int_equal(image[200], area[200]);
    /* A bad header is #GP. */
    area[512 + 16] = 1;
    c->rip = RIG_BASE + RIG_CODE;
    assert_int_equal(emulate_vector_state(r, image), STEP_FAULT);
    assert_int_equal(c->rip, RIG_BASE + RIG_HANDLERS + 16 * EXC_GP);
    /* FXSAVE wants 16-byte alignment. */
    rig_flat_state(r);
    c->gpr[GPR_BX] = RIG_BASE + RIG_DATA + 8;
    memcpy(r->ram + RIG_CODE, fxsave, 4);
    assert_int_equal(emulate_vector_state(r, image), STEP_FAULT);
    assert_int_equal(c->rip, RIG_BASE + RIG_HANDLERS + 16 * EXC_GP);
    rig_close(r);
}

/* Of every header: the same fault, or the same state, as on the host CPU; with
 * an MXCSR that may not be loaded.  XSAVEC does not write one that is initial,
 * so that anything may be there. */
static void areas_are_restored_as_by_the_host(void **unused)
{
    static const char xrstor[] = "\x48\x0f\xae\x2b"; /* xrstor64 [rbx] */
    struct cpu_rig *r = rig_open(true, "max");
    uint64_t mask = r->model.xcr0_mask & 7;
    uint8_t *area = r->ram + RIG_DATA, start[VECTOR_BYTES] = { 0 };
    uint8_t image[2][VECTOR_BYTES] __attribute__((aligned(64)));
    unsigned faults = 0, loads = 0;

    (void)unused;
    start[0] = 0x7f; /* the control word and MXCSR a program may have */
    start[1] = 2;
    start[24] = 0xa0;
    start[25] = 0x1f;
    start[512] = (uint8_t)mask;
    memset(start + 160, 0x5a, 256);
    for (unsigned n = 0; n < 8 * 8 * 8 * 4; n++) {
        unsigned what = n & 7, bv = n >> 3 & 7, comp = n >> 6 & 7;
        bool is_compact = n >> 9 & 1, is_bad = n >> 10 & 1;
        struct native_state s = { .flags = 2 };

        if ((what | bv | comp) & ~mask) continue;
        memcpy(area, start, VECTOR_BYTES);
        memset(area + 160, 0xa5, 256);
        if (is_bad) memset(area + 24, 0xff, 4);
        area[512] = (uint8_t)bv;
        area[520] = (uint8_t)comp;
        area[527] = is_compact ? 0x80 : 0;
        memcpy(image[0], start, VECTOR_BYTES);
        memcpy(image[1], start, VECTOR_BYTES);
        s.gpr[GPR_BX] = RIG_BASE + RIG_DATA;
        s.gpr[GPR_AX] = what;
        rig_flat_state(r);
        memcpy(r->c.gpr, s.gpr, sizeof(s.gpr));
        int sig =
            native_insn_vector(r, &s, (const uint8_t *)xrstor, 4, image[0]);
        enum cpu_step step = emulate_vector_state(r, image[1]);
        if ((step == STEP_FAULT) != (sig != 0))
            fail_msg("form %x, components %x of %x: signal %d, step %d",
                     n >> 6 & 15, bv, what, sig, step);
        if (sig) {
            faults++;
            assert_int_equal(r->c.rip, RIG_BASE + RIG_HANDLERS + 16 * EXC_GP);
            continue;
        }
        loads++;
        assert_memory_equal(image[0], image[1], VECTOR_BYTES);
    }
    assert_true(faults > 100 && loads > 100);
    rig_close(r);
}

static void units_that_are_switched_off_fault(void **unused)
{
    static const struct {
        const char *bytes;
        uint8_t count;
        uint64_t cr0, cr4_clear;
        unsigned vector;
    } t[] = {
        { "\xd9\xe8", 2, CR0_TS, 0, EXC_NM }, /* fld1 */
        { "\xd9\xe8", 2, CR0_EM, 0, EXC_NM },
        { "\x0f\x58\xc1", 3, CR0_TS, 0, EXC_NM }, /* addps */
        { "\x0f\x58\xc1", 3, CR0_EM, 0, EXC_UD },
        { "\x0f\x58\xc1", 3, 0, CR4_OSFXSR, EXC_UD },
        { "\x0f\xfc\xc1", 3, CR0_EM, 0, EXC_UD },          /* paddb mm */
        { "\xc5\xf4\x58\xc1", 4, 0, CR4_OSXSAVE, EXC_UD }, /* vaddps */
        { "\x9b", 1, CR0_TS | CR0_MP, 0, EXC_NM },         /* fwait */
        { "\x62\xf1\x7c\x48\x58\xc1", 6, 0, 0, EXC_UD },   /* EVEX */
        /* NP in the manual: no prefix 66, F2 or F3 */
        { "\x66\x0f\x01\xd0", 4, 0, 0, EXC_UD }, /* xgetbv */
        { "\xf3\x0f\x01\xd1", 4, 0, 0, EXC_UD }, /* xsetbv */
        { "\xf2\x0f\x01\xca", 4, 0, 0, EXC_UD }, /* clac */
        { "\x66\x0f\x01\xcb", 4, 0, 0, EXC_UD }, /* stac */
    };
    (void)unused;
    for (unsigned n = 0; n < sizeof(t) / sizeof(t[0]); n++) {
        struct cpu_rig *r = rig_open(true, "max");
        uint64_t image[VECTOR_BYTES / 8]
            __attribute__((aligned(64))) = { 0x37f, 0, 0, 0x1f80 };
        image[64] = 7;
        r->c.cr0 |= t[n].cr0;
        r->c.cr4 &= ~t[n].cr4_clear;
        memcpy(r->ram + RIG_CODE, t[n].bytes, t[n].count);
        assert_int_equal(emulate_vector_state(r, image), STEP_FAULT);
        unsigned vector = (unsigned)(r->c.rip - RIG_BASE - RIG_HANDLERS) / 16;
        if (vector != t[n].vector) fail_msg("case %u: vector %u", n, vector);
        rig_close(r);
    }
}

/* ---- CPU models */

static void cpuid(const struct cpu_model *m, uint32_t leaf, uint32_t v[4])
{
    static struct cpu c;
    memset(&c, 0, sizeof(c));
    c.model = m;
    c.apic_base = 0xfee00900;
    cpu_cpuid(&c, leaf, 0, v);
}

static void models_show_their_features(void **unused)
{
    struct cpu_model m;
    struct err e = ERR_INIT;
    uint32_t v[4];
    (void)unused;
    assert_int_equal(cpu_model_build(&m, "max", 2, &e), 0);
    assert_true(m.has_long && m.has_nx && m.has_x2apic);
    cpuid(&m, 1, v);
    assert_true(v[3] & 1u << 26); /* SSE2 */
    assert_true(v[2] & 1u << 31); /* hypervisor */
    cpuid(&m, 7, v);
    assert_int_equal(v[1] & 1u << 16, 0); /* AVX-512F is never offered */
    assert_int_equal(cpu_model_build(&m, "pentium2", 1, &e), 0);
    assert_false(m.has_long);
    cpuid(&m, 1, v);
    assert_int_equal(v[0] >> 4 & 0xff, 0x65); /* family 6, model 5 */
    assert_int_equal(v[3] & (1u << 15 | 1u << 25), 1u << 15); /* CMOV, SSE */
    assert_int_equal(v[2], 0);
    assert_int_equal(cpu_model_build(&m, "qemu64,-nx,+popcnt", 1, &e), 0);
    assert_false(m.has_nx);
    cpuid(&m, 1, v);
    assert_true(v[2] & 1u << 23);
}

/* Models of family 6 with AVX-512 (SDM volume 4, table 2-1): libgcc's
 * __builtin_cpu_is() and with it target_clones("arch=...") go by these alone. */
static void max_is_no_model_that_has_more_than_max(void **unused)
{
    static const uint8_t with_avx512[] = { 0x55, 0x57, 0x66, 0x6a, 0x6c,
                                           0x7d, 0x7e, 0x85, 0x8c, 0x8d,
                                           0x8f, 0xa7, 0xad, 0xae, 0xcf };
    static const char *const spec[] = { "max", "host", "max,-avx2" };
    struct cpu_model m;
    uint32_t v[4];

    (void)unused;
    for (unsigned n = 0; n < 3; n++) {
        assert_int_equal(cpu_model_build(&m, spec[n], 1, NULL), 0);
        cpuid(&m, 1, v);
        uint32_t family = (v[0] >> 8 & 15) + (v[0] >> 20 & 0xff);
        uint32_t model = (v[0] >> 4 & 15) | (v[0] >> 12 & 0xf0);
        if (m.is_amd) {
            assert_true(family < 26);                     /* Zen 5 */
            assert_false(family == 25 && model >= 0x10 && /* Zen 4 */
                         (model < 0x20 || model >= 0x60));
            continue;
        }
        assert_int_equal(family, 6);
        for (unsigned k = 0; k < sizeof(with_avx512); k++)
            assert_int_not_equal(model, with_avx512[k]);
        if (n == 2) assert_int_equal(model, 26); /* Haswell has AVX2 */
    }
}

/* What Linux does against flaws of speculation costs time and is of no use in
 * rewritten code. */
static void max_is_safe_unless_told_otherwise(void **unused)
{
    struct cpu_model m;
    uint32_t v[4];

    (void)unused;
    for (unsigned n = 0; n < 2; n++) {
        const char *spec = n ? "max,-arch-capabilities" : "max";
        assert_int_equal(cpu_model_build(&m, spec, 1, NULL), 0);
        assert_int_equal(m.arch_capabilities & 1, n ? 0 : 1); /* RDCL_NO */
        cpuid(&m, 0x80000021, v);
        if (!m.is_amd) continue;
        assert_int_equal(v[0] >> 29 & 1, n ? 0 : 1); /* SRSO_NO */
        assert_int_equal(v[0] >> 6 & 1, 1);    /* NullSelectorClearsBase */
        assert_int_equal(v[2] & 6, n ? 0 : 6); /* TSA_SQ_NO, TSA_L1_NO */
        cpuid(&m, 0x80000008, v);
        assert_int_equal(v[1] >> 29 & 1, n ? 0 : 1); /* BTC_NO */
    }
}

static void wrong_models_are_refused_by_name(void **unused)
{
    struct cpu_model m;
    struct err e = ERR_INIT;
    (void)unused;
    assert_int_equal(cpu_model_build(&m, "i9000", 1, &e), -EINVAL);
    assert_non_null(strstr(e.text, "i9000"));
    assert_int_equal(cpu_model_build(&m, "max,+warp", 1, &e), -EINVAL);
    assert_non_null(strstr(e.text, "warp"));
    assert_null(strstr(e.text, "did you mean"));
    assert_int_equal(cpu_model_build(&m, "max,ssse4.2=on", 1, &e), -EINVAL);
    assert_non_null(strstr(e.text, "'ssse4.2' is not known"));
    assert_non_null(strstr(e.text, "did you mean 'sse4.2'?"));
    assert_int_equal(cpu_model_build(&m, "qemu46", 1, &e), -EINVAL);
    assert_non_null(strstr(e.text, "did you mean 'qemu64'?"));
    const char *title;
    for (unsigned n = 0; cpu_model_list(n, &title); n++) {
        assert_int_equal(cpu_model_build(&m, cpu_model_list(n, &title), 64, &e),
                         0);
        assert_true(m.leaf_count < 64);
    }
}

/* Offered whether the host has it or not, and not unless asked for. */
static void fast_short_moves_can_be_asked_for(void **unused)
{
    struct cpu_rig *r = rig_open(false, "max,+fsrm");
    uint32_t v[4];
    (void)unused;
    cpu_cpuid(&r->c, 7, 0, v);
    assert_true(v[3] & 1u << 4);
    rig_close(r);
    r = rig_open(false, "max");
    cpu_cpuid(&r->c, 7, 0, v);
    assert_false(v[3] & 1u << 4);
    rig_close(r);
}

/* +name either works or says that this host lacks it; -name, name=off and, for
 * what works, name and name=on always do. */
static void every_feature_can_be_switched_both_ways(void **unused)
{
    static const char *const off[] = { "max,-%s", "max,%s=off", "qemu64,-%s",
                                       "qemu64,%s=off" };
    static const char *const on[] = { "max,%s=on", "max,%s", "qemu64,+%s",
                                      "486,+%s" };
    const char *name;
    char spec[64];
    struct cpu_model m;
    (void)unused;
    for (unsigned n = 0; (name = cpu_feature_list(n)) != NULL; n++) {
        struct err e = ERR_INIT;
        for (unsigned k = 0; k < 4; k++) {
            snprintf(spec, sizeof(spec), off[k], name);
            assert_int_equal(cpu_model_build(&m, spec, 1, &e), 0);
        }
        snprintf(spec, sizeof(spec), "max,+%s", name);
        int rc = cpu_model_build(&m, spec, 1, &e);
        if (rc < 0)
            assert_non_null(strstr(e.text, "is not there on this host"));
        if (rc < 0) assert_non_null(strstr(e.text, name));
        for (unsigned k = 0; k < 4; k++) {
            snprintf(spec, sizeof(spec), on[k], name);
            assert_int_equal(cpu_model_build(&m, spec, 1, &e), rc);
        }
    }
}

/* ---- what CPUID does not show is not there */

/* The vector one instruction raises, or -1. */
static int raises(struct cpu_rig *r, const char *code, size_t bytes)
{
    uint64_t handlers = RIG_BASE + RIG_HANDLERS;

    memcpy(r->ram + RIG_CODE, code, bytes);
    r->c.rip = RIG_BASE + RIG_CODE;
    r->c.gpr[GPR_SP] = RIG_BASE + RIG_DATA + 0x800;
    cpu_emulate(&r->c);
    if (r->c.rip - handlers >= 16 * 256) return -1;
    return (int)((r->c.rip - handlers) / 16);
}

/* In ring 0, flat as rig_flat_state() has it. */
static struct cpu_rig *open_kernel(const char *feature, bool has_it)
{
    char spec[64];
    struct cpu_rig *r;

    snprintf(spec, sizeof(spec), has_it ? "max" : "max,-%s", feature);
    r = rig_open(true, spec);
    for (unsigned n = 0; n < SEG_COUNT; n++)
        r->c.seg[n].attr &= (uint16_t) ~(3u << 5);
    return r;
}

static void instructions_without_their_feature_are_undefined(void **unused)
{
    static const struct {
        const char *feature, *code;
        unsigned bytes;
    } table[] = {
        { "tsc", "\x0f\x31", 2 },         /* rdtsc */
        { "msr", "\x0f\x32", 2 },         /* rdmsr */
        { "msr", "\x0f\x30", 2 },         /* wrmsr */
        { "cx8", "\x0f\xc7\x0c\x24", 4 }, /* cmpxchg8b [rsp] */
        { "sep", "\x0f\x34", 2 },         /* sysenter */
        { "sep", "\x0f\x35", 2 },         /* sysexit */
        { "syscall", "\x0f\x05", 2 },
        { "syscall", "\x0f\x07", 2 }, /* sysret */
        { "lahf-lm", "\x9e", 1 },
        { "lahf-lm", "\x9f", 1 },
    };

    (void)unused;
    for (unsigned n = 0; n < sizeof(table) / sizeof(table[0]); n++) {
        for (unsigned has = 0; has < 2; has++) {
            struct cpu_rig *r = open_kernel(table[n].feature, has);
            int vector = raises(r, table[n].code, table[n].bytes);
            /* AMD: not in long mode, whatever CPUID says. */
            bool is_there =
                has && !(r->model.is_amd && !strcmp(table[n].feature, "sep"));
            if ((vector == EXC_UD) == is_there) {
                fail_msg("%s: %s: vector %d", r->model.name, table[n].feature,
                         vector);
            }
            rig_close(r);
        }
    }
}

/* SDM volume 3A 2.5. */
static void bits_of_cr4_without_their_feature_are_reserved(void **unused)
{
    static const struct {
        const char *feature;
        unsigned bit;
    } table[] = {
        { "vme", 0 },   { "vme", 1 },       { "tsc", 2 },   { "de", 3 },
        { "pse", 4 },   { "pae", 5 },       { "mce", 6 },   { "pge", 7 },
        { "mmx", 8 },   { "fxsr", 9 },      { "sse", 10 },  { "umip", 11 },
        { "smep", 20 }, { "fsgsbase", 16 }, { "pcid", 17 }, { "xsave", 18 },
        { "smap", 21 },
    };

    (void)unused;
    for (unsigned n = 0; n < sizeof(table) / sizeof(table[0]); n++) {
        for (unsigned has = 0; has < 2; has++) {
            struct cpu_rig *r = open_kernel(table[n].feature, has);
            r->c.gpr[GPR_AX] = r->c.cr4 | 1ull << table[n].bit;
            if (raises(r, "\x0f\x22\xe0", 3) != (has ? -1 : EXC_GP)) {
                fail_msg("%s %u", table[n].feature, has);
            }
            rig_close(r);
        }
    }
}

/* SDM volume 4. */
static void registers_without_their_feature_do_not_exist(void **unused)
{
    static const struct {
        const char *feature;
        uint32_t msr;
    } table[] = {
        { "tsc", 0x10 },
        { "tsc_adjust", 0x3b },
        { "spec-ctrl", 0x48 },
        { "mtrr", 0xfe },
        { "mtrr", 0x200 },
        { "mtrr", 0x250 },
        { "mtrr", 0x2ff },
        { "arch-capabilities", 0x10a },
        { "sep", 0x174 },
        { "sep", 0x175 },
        { "sep", 0x176 },
        { "mca", 0x179 },
        { "mca", 0x17a },
        { "pat", 0x277 },
        { "syscall", 0xc0000081 },
        { "syscall", 0xc0000082 },
        { "syscall", 0xc0000083 },
        { "syscall", 0xc0000084 },
        { "lm", 0xc0000100 },
        { "lm", 0xc0000101 },
        { "lm", 0xc0000102 },
        { "rdtscp,-rdpid", 0xc0000103 },
        { "nx,-lm,-syscall", 0xc0000080 },
    };

    (void)unused;
    for (unsigned n = 0; n < sizeof(table) / sizeof(table[0]); n++) {
        for (unsigned has = 0; has < 2; has++) {
            struct cpu_rig *r = open_kernel(table[n].feature, has);
            int vector;
            r->c.gpr[GPR_CX] = table[n].msr;
            vector = raises(r, "\x0f\x32", 2);
            if (vector == -1) vector = raises(r, "\x0f\x30", 2);
            if (table[n].msr == 0xfe || table[n].msr == 0x10a ||
                table[n].msr == 0x179) { /* these are not written */
                r->c.gpr[GPR_CX] = table[n].msr;
                vector = raises(r, "\x0f\x32", 2);
            }
            if (vector != (has ? -1 : EXC_GP)) {
                fail_msg("%s, MSR %x, %u: %d", table[n].feature, table[n].msr,
                         has, vector);
            }
            rig_close(r);
        }
    }
}

/* No counters: any number of one is wrong (SDM volume 2, RDPMC). */
static void rdpmc_is_a_general_protection_fault(void **unused)
{
    struct cpu_rig *r = rig_open(true, "max");
    (void)unused;
    memcpy(r->ram + RIG_CODE, "\x0f\x33", 2);
    assert_int_equal(cpu_emulate(&r->c), STEP_FAULT);
    assert_int_equal(r->c.rip, RIG_BASE + RIG_HANDLERS + 16 * EXC_GP);
    rig_close(r);
}

/* RDSEED r32: CF says whether there was a number; the upper half is cleared. */
static void rdseed_gives_numbers(void **unused)
{
    struct cpu_rig *r = rig_open(true, "max");
    uint64_t seen = 0;
    (void)unused;
    if (!__builtin_cpu_supports("rdseed")) {
        rig_close(r);
        print_message("skipped: this host has no RDSEED\n");
        skip();
    }
    memcpy(r->ram + RIG_CODE, "\x0f\xc7\xf8", 3);
    for (unsigned n = 0; n < 64; n++) {
        r->c.rip = RIG_BASE + RIG_CODE;
        r->c.gpr[GPR_AX] = UINT64_MAX;
        r->c.rflags |= FLAGS_ARITH;
        assert_int_equal(cpu_emulate(&r->c), STEP_OK);
        assert_int_equal(r->c.gpr[GPR_AX] >> 32, 0);
        assert_int_equal(r->c.rflags & FLAGS_ARITH & ~(uint64_t)FLAG_CF, 0);
        if (!(r->c.rflags & FLAG_CF)) assert_int_equal(r->c.gpr[GPR_AX], 0);
        seen |= r->c.gpr[GPR_AX];
    }
    assert_true(seen != 0);
    rig_close(r);
}

/* ---- state */

/* Every bit that these names stand for, as the host's CPUID has it. */
static bool has_host_v3(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") &&
           __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("fma") &&
           __builtin_cpu_supports("f16c") && __builtin_cpu_supports("lzcnt");
}

static void features_a_host_lacks_are_named(void **unused)
{
    struct cpu_model m;
    const char *title;
    char spec[64];

    (void)unused;
    for (unsigned n = 0; cpu_model_list(n, &title); n++) {
        struct err e = ERR_INIT;
        int rc;

        assert_int_equal(cpu_model_build(&m, cpu_model_list(n, &title), 1, &e),
                         0);
        snprintf(spec, sizeof(spec), "%s,enforce", m.name);
        if (has_host_v3()) assert_string_equal(m.missing, "");
        rc = cpu_model_build(&m, spec, 1, &e);
        assert_int_equal(rc, m.missing[0] ? -EINVAL : 0);
        if (rc < 0) assert_non_null(strstr(e.text, m.missing));
    }
    if (!__builtin_cpu_supports("avx2")) {
        assert_int_equal(cpu_model_build(&m, "x86-64-v3", 1, NULL), 0);
        assert_non_null(strstr(m.missing, "avx2"));
    }
}

static void state_survives_a_round_trip(void **unused)
{
    struct cpu_rig *r = rig_open(true, "max");
    struct cpu before;
    struct state_out out = { NULL, 0, 0, 0 };
    struct err e = ERR_INIT;
    (void)unused;
    for (unsigned n = 0; n < 16; n++) {
        r->c.gpr[n] = 0x1111111111111111u * n;
    }
    r->c.dr[3] = 77;
    r->c.mtrr_mask[5] = 0x800;
    r->c.activity = CPU_HALTED;
    memcpy(&before, &r->c, sizeof(before));
    assert_int_equal(state_save(&out, cpu_state, &r->c), 0);
    cpu_reset(&r->c);
    assert_int_equal(state_load(out.data, out.bytes, cpu_state, &r->c, &e), 0);
    assert_int_equal(cpu_state_check(&r->c, &e), 0);
    assert_memory_equal(before.gpr, r->c.gpr, sizeof(before.gpr));
    assert_memory_equal(before.seg, r->c.seg, sizeof(before.seg));
    assert_int_equal(before.efer, r->c.efer);
    assert_int_equal(before.rip, r->c.rip);
    assert_int_equal(r->c.dr[3], 77);
    assert_int_equal(r->c.mtrr_mask[5], 0x800);
    assert_int_equal(r->c.activity, CPU_HALTED);
    state_out_free(&out);
    rig_close(r);
}

static void impossible_states_are_refused(void **unused)
{
    struct cpu_rig *r = rig_open(true, "max");
    struct cpu *c = &r->c;
    struct err e = ERR_INIT;
    (void)unused;
    assert_int_equal(cpu_state_check(c, &e), 0);
    c->efer &= ~(uint64_t)EFER_LMA;
    assert_int_equal(cpu_state_check(c, &e), -EINVAL);
    rig_flat_state(r);
    c->cr4 |= 1u << 30;
    assert_int_equal(cpu_state_check(c, &e), -EINVAL);
    rig_flat_state(r);
    c->xcr0 = 0xe7;
    assert_int_equal(cpu_state_check(c, &e), -EINVAL);
    rig_flat_state(r);
    c->rip = 1ull << 60;
    assert_int_equal(cpu_state_check(c, &e), -EINVAL);
    rig_flat_state(r);
    memset(c->xsave, 0xff, sizeof(c->xsave)); /* made fit, not refused */
    assert_int_equal(cpu_state_check(c, &e), 0);
    assert_int_equal(c->xsave[520], 0);
    assert_int_equal(c->xsave[26], 0);
    rig_close(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(features_a_host_lacks_are_named),
        cmocka_unit_test(decimal_arithmetic),
        cmocka_unit_test(aam_by_zero_is_a_divide_error),
        cmocka_unit_test(string_moves_wrap_at_64_kib),
        cmocka_unit_test(overlapping_moves_replicate),
        cmocka_unit_test(rep_stops_at_a_fault_with_exact_registers),
        cmocka_unit_test(rep_stops_for_an_event_between_pages),
        cmocka_unit_test(repe_cmps_stops_after_the_difference),
        cmocka_unit_test(faulting_instructions_change_nothing),
        cmocka_unit_test(save_areas_are_the_hosts),
        cmocka_unit_test(areas_are_restored_as_by_the_host),
        cmocka_unit_test(units_that_are_switched_off_fault),
        cmocka_unit_test(models_show_their_features),
        cmocka_unit_test(max_is_no_model_that_has_more_than_max),
        cmocka_unit_test(max_is_safe_unless_told_otherwise),
        cmocka_unit_test(wrong_models_are_refused_by_name),
        cmocka_unit_test(fast_short_moves_can_be_asked_for),
        cmocka_unit_test(every_feature_can_be_switched_both_ways),
        cmocka_unit_test(rdpmc_is_a_general_protection_fault),
        cmocka_unit_test(instructions_without_their_feature_are_undefined),
        cmocka_unit_test(bits_of_cr4_without_their_feature_are_reserved),
        cmocka_unit_test(registers_without_their_feature_do_not_exist),
        cmocka_unit_test(rdseed_gives_numbers),
        cmocka_unit_test(state_survives_a_round_trip),
        cmocka_unit_test(impossible_states_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
