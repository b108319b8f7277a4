/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Every form of every instruction that CPUID announces, once or more against
 * the host's CPU, in 64-, 32- and 16-bit code: registers, flags, segments,
 * memory, vector state and the exception raised.  Encodings that mean nothing
 * must raise #UD as they do there.
 *
 * This is an audit as well: a form that is announced and was not compared must
 * stand in the table below with the reason and with the test that proves it.
 *
 * ORRERY_TEST_SEED repeats a run, ORRERY_TEST_ROUNDS makes it longer.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/unit/support/amd.h"
#include "tests/unit/support/form_oracle.h"

/* ---- what is not compared, and why */

enum why {
    NOT_HERE, /* would leave user mode, or tells about the host */
    FAULTS,   /* raises its exception in user mode, both ways alike */
};

static const struct excepted {
    ZydisMnemonic mnemonic;
    enum why why;
    const char *file, *word; /* the test that proves it, and how it says so */
} excepted[] = {
#define M(name) ZYDIS_MNEMONIC_##name
#include "tests/unit/support/form_exceptions.def"
#undef M
};

static const struct excepted *exception_of(const struct form_oracle *o)
{
    for (unsigned n = 0; n < sizeof(excepted) / sizeof(excepted[0]); n++) {
        if (excepted[n].mnemonic == o->zi.mnemonic) return &excepted[n];
    }
    return NULL;
}

/* MOV of control and debug registers has its mnemonic with plain moves, far
 * branches theirs with near ones. */
static bool is_privileged_move(const struct form_oracle *o)
{
    return o->zi.opcode_map == ZYDIS_OPCODE_MAP_0F && o->zi.opcode >= 0x20 &&
           o->zi.opcode <= 0x23;
}

static bool is_far(const struct form_oracle *o)
{
    return o->zi.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR;
}

/* ---- one mode */

struct tally {
    uint32_t defined[ZYDIS_MNEMONIC_MAX_VALUE + 1];
    uint32_t compared[ZYDIS_MNEMONIC_MAX_VALUE + 1];
    uint32_t total_defined, total_compared, total_faulted, undefined, hidden,
        others;
    char open[3000]; /* announced forms not compared */
    char wrong[6000];
    unsigned wrongs, opens;
    bool is_told[ZYDIS_MNEMONIC_MAX_VALUE + 1];
};

static void note(char *text, size_t cap, unsigned *count, const char *line)
{
    size_t at = strlen(text);

    if ((*count)++ < 400 && at + strlen(line) + 4 < cap) {
        sprintf(text + at, "\n  %s", line);
    }
}

/* One line for each mnemonic. */
static void note_wrong(const struct form_oracle *o, struct tally *t,
                       const char *line)
{
    ZydisMnemonic m = o->is_decoded ? o->zi.mnemonic : 0;

    t->wrongs++;
    if (m && t->is_told[m]) return;
    t->is_told[m] = true;
    if (strlen(t->wrong) + strlen(line) + 4 > sizeof(t->wrong)) return;
    strcat(strcat(t->wrong, "\n  "), line);
}

static void note_open(struct form_oracle *o, struct tally *t)
{
    char line[120];
    size_t at = (size_t)snprintf(line, sizeof(line), "%u-bit %s", 8 * o->mode,
                                 ZydisMnemonicGetString(o->zi.mnemonic));

    for (unsigned n = 0; n < o->count; n++)
        at += (size_t)snprintf(line + at, sizeof(line) - at, " %02x",
                               o->bytes[n]);
    note(t->open, sizeof(t->open), &t->opens, line);
}

/* Does the encoding select by ModRM.rm as well? */
static bool has_rm_forms(const struct form *f)
{
    if (f->is_vex || f->is_mem) return false;
    if (f->map == 0) return f->op >= 0xd8 && f->op <= 0xdf;
    return f->map == 1 && (f->op == 0x01 || f->op == 0xae || f->op == 0x1e);
}

/* Hints, and what newer processors make of them: no operation elsewhere. */
static bool is_hint(const struct form *f)
{
    return !f->is_vex && f->map == 1 &&
           (f->op == 0x0d || (f->op >= 0x18 && f->op <= 0x1f));
}

/* Divisors that are the upper half of what is divided leave no quotient that
 * fits; a stack at the code is none. */
static bool always_faults(const struct form_oracle *o)
{
    ZydisRegister r = o->op[0].reg.value;

    if (o->op[0].type != ZYDIS_OPERAND_TYPE_REGISTER) return false;
    switch (o->zi.mnemonic) {
    case ZYDIS_MNEMONIC_DIV:
    case ZYDIS_MNEMONIC_IDIV:
        return r == ZYDIS_REGISTER_AH ||
               (r != ZYDIS_REGISTER_DH && r != ZYDIS_REGISTER_DL &&
                ZydisRegisterGetId(r) == GPR_DX);
    case ZYDIS_MNEMONIC_CALL:
        return o->mode != 8 && ZydisRegisterGetId(r) == GPR_SP;
    default: return false;
    }
}

static bool is_announced(const struct form_oracle *o)
{
    return o->zi.encoding != ZYDIS_INSTRUCTION_ENCODING_EVEX &&
           o->zi.encoding != ZYDIS_INSTRUCTION_ENCODING_MVEX &&
           o->zi.encoding != ZYDIS_INSTRUCTION_ENCODING_XOP &&
           isa_feature(o->zi.meta.isa_set) != NULL;
}

/* A selector is good for SS in 5 cases of 16: with 24 tries one run in 20 had a
 * form of MOV SS that was never compared. */
enum { TRIES = 256 };

/* A defined, announced form: compare it once. */
static void run_announced(struct form_oracle *o, const struct form *f,
                          struct tally *t)
{
    ZydisMnemonic m = o->zi.mnemonic;
    const struct excepted *x = exception_of(o);
    bool is_fault_expected =
        (x && x->why == FAULTS) || is_privileged_move(o) || always_faults(o);

    if (is_far(o) || (x && x->why == NOT_HERE)) return;
    t->defined[m]++;
    t->total_defined++;
    for (unsigned n = 0; n < TRIES; n++) {
        if (n) form_oracle_make(o, f, false);
        if (!o->is_decoded || o->zi.mnemonic != m) continue;
        switch (form_oracle_run(o)) {
        case FORM_DIFFERS: note_wrong(o, t, o->text); return;
        case FORM_COMPARED:
            t->compared[m]++;
            t->total_compared++;
            return;
        case FORM_FAULTED:
            t->total_faulted++;
            if (is_fault_expected) return;
            break;
        case FORM_OTHER: t->others++; return;
        case FORM_UNDEFINED:
            /* What Zydis takes for an instruction the host does not. */
            t->undefined++;
            return;
        }
    }
    note_open(o, t);
}

static void run_form(struct form_oracle *o, const struct form *f,
                     struct tally *t)
{
    form_oracle_make(o, f, false);
    if (o->is_decoded && !is_announced(o) && !is_hint(f)) {
        if (amd_differs(o->bytes, &o->zi, o->mode)) return;
        t->hidden++;
        if (form_oracle_emulate(o) != EXC_UD) {
            char line[300];
            ZydisFormatter z;
            ZydisFormatterInit(&z, ZYDIS_FORMATTER_STYLE_INTEL);
            strcpy(line, "not announced, yet no #UD: ");
            ZydisFormatterFormatInstruction(&z, &o->zi, o->op,
                                            o->zi.operand_count,
                                            line + strlen(line), 200, 0, NULL);
            note_wrong(o, t, line);
        }
    } else if (o->is_decoded) {
        run_announced(o, f, t);
    } else {
        if (f->reg != (f->op & 7)) return; /* one of the eight will do */
        if (form_oracle_run(o) == FORM_DIFFERS) note_wrong(o, t, o->text);
        t->undefined++;
    }
}

static uint64_t first_seed(void)
{
    const char *given = getenv("ORRERY_TEST_SEED");
    uint64_t seed = given ? strtoull(given, NULL, 0) : (uint64_t)time(NULL);

    print_message("seed %llu\n", (unsigned long long)seed);
    return seed;
}

static struct form_oracle *open_oracle(unsigned mode, uint64_t seed)
{
    struct form_oracle *o;

#ifdef __SANITIZE_ADDRESS__
    print_message("skipped: AddressSanitizer's shadow memory lies where the "
                  "host should fault\n");
    skip();
#endif
    o = form_oracle_open(mode, seed);
    if (!o) {
        print_message("skipped: no modify_ldt or RDFSBASE on this host\n");
        skip();
    }
    return o;
}

static void run_mode(unsigned mode)
{
    static struct tally t;
    struct form_oracle *o = open_oracle(mode, first_seed());
    uint32_t count = forms_count(mode);

    memset(&t, 0, sizeof(t));
    for (uint32_t n = 0; n < count; n++) {
        struct form f;
        form_get(mode, n, &f);
        if (form_is_prefix(&f)) continue;
        for (unsigned rm = 0; rm < (has_rm_forms(&f) ? 8 : 1); rm++) {
            f.rm = (uint8_t)(has_rm_forms(&f) ? rm : o->random >> 61);
            run_form(o, &f, &t);
        }
    }
    form_oracle_close(o);
    print_message("%u-bit: %u forms announced, %u compared, %u times the same "
                  "exception; %u undefined, %u not announced, %u otherwise on "
                  "AMD\n",
                  8 * mode, t.total_defined, t.total_compared, t.total_faulted,
                  t.undefined, t.hidden, t.others);
    if (t.wrongs) print_message("%u differ:%s\n", t.wrongs, t.wrong);
    if (t.opens) print_message("%u not compared:%s\n", t.opens, t.open);
    assert_int_equal(t.wrongs, 0);
    assert_int_equal(t.opens, 0);
}

static void every_form_of_64_bit_code_equals_the_host(void **unused)
{
    (void)unused;
    run_mode(8);
}

static void every_form_of_32_bit_code_equals_the_host(void **unused)
{
    (void)unused;
    run_mode(4);
}

static void every_form_of_16_bit_code_equals_the_host(void **unused)
{
    (void)unused;
    run_mode(2);
}

/* ---- prefixes in odd orders and numbers */

static void run_odd(unsigned mode, unsigned cases)
{
    struct form_oracle *o = open_oracle(mode, first_seed());
    uint32_t count = forms_count(mode);
    static struct tally t;
    unsigned longs = 0, done = 0;

    memset(&t, 0, sizeof(t));
    while (cases > 0) {
        const struct excepted *x;
        struct form f;

        form_get(mode, (uint32_t)((o->random >> 20) % count), &f);
        f.rm = (uint8_t)(o->random >> 61);
        form_oracle_make(o, &f, false);
        if (form_is_prefix(&f) || !o->is_decoded || is_far(o)) continue;
        x = exception_of(o);
        if ((x && x->why == NOT_HERE) || !is_announced(o)) continue;
        form_oracle_make(o, &f, true);
        cases--;
        if (o->is_decoded && (is_far(o) || !is_announced(o))) continue;
        x = exception_of(o);
        if (o->is_decoded && x && x->why == NOT_HERE) continue;
        switch (form_oracle_run(o)) {
        case FORM_DIFFERS: note_wrong(o, &t, o->text); break;
        case FORM_COMPARED: done++; break;
        default: longs += o->native.vector == EXC_GP; break;
        }
    }
    form_oracle_close(o);
    print_message("%u-bit: %u compared, %u times #GP\n", 8 * mode, done, longs);
    if (t.wrongs) print_message("%u differ:%s\n", t.wrongs, t.wrong);
    assert_int_equal(t.wrongs, 0);
    assert_true(done > 1000 && longs > 100);
}

static void odd_prefixes_do_what_they_do_on_the_host(void **unused)
{
    (void)unused;
    run_odd(8, 60000);
    run_odd(4, 30000);
    run_odd(2, 30000);
}

/* ---- features taken away */

/* Sets whose instructions are other ones without the feature, or hints. */
static bool keeps_its_meaning(const struct form_oracle *o)
{
    switch (o->zi.mnemonic) {
    case ZYDIS_MNEMONIC_TZCNT: /* BSF */
    case ZYDIS_MNEMONIC_LFENCE:
    case ZYDIS_MNEMONIC_MFENCE:
    case ZYDIS_MNEMONIC_SFENCE: return true;
    default: return false;
    }
}

static const char *const removable[] = {
    "adx",    "aes",     "avx",   "avx2",       "bmi1",     "bmi2",
    "clwb",   "clflush", "cmov",  "clflushopt", "cx16",     "f16c",
    "fma",    "fxsr",    "gfni",  "invpcid",    "mmx",      "movbe",
    "pni",    "popcnt",  "rdpid", "pclmulqdq",  "rdrand",   "rdseed",
    "rdtscp", "sha-ni",  "smap",  "fsgsbase",   "sse",      "sse2",
    "sse4.1", "sse4.2",  "ssse3", "vaes",       "xsaveopt", "vpclmulqdq",
    "xsave",  "xsavec",
};
enum { REMOVABLE = sizeof(removable) / sizeof(removable[0]) };

static int removable_index(const char *name)
{
    for (int n = 0; n < REMOVABLE; n++) {
        if (strcmp(removable[n], name) == 0) return n;
    }
    return -1;
}

/* The form with the model that lacks its feature. */
static void run_missing(struct form_oracle *o, const struct form *f,
                        const struct cpu_model *models, unsigned *forms,
                        struct tally *t)
{
    char line[200];
    int missing;

    form_oracle_make(o, f, false);
    if (!o->is_decoded || !is_announced(o) || keeps_its_meaning(o)) return;
    missing = removable_index(isa_feature(o->zi.meta.isa_set));
    if (missing < 0) return;
    forms[missing]++;
    o->rig->model = models[missing];
    if (form_oracle_emulate(o) == EXC_UD) return;
    snprintf(line, sizeof(line), "%u-bit %s without %s", 8 * o->mode,
             ZydisMnemonicGetString(o->zi.mnemonic), removable[missing]);
    note_wrong(o, t, line);
}

static void run_without(unsigned mode)
{
    static struct cpu_model models[REMOVABLE];
    static struct tally t;
    unsigned forms[REMOVABLE] = { 0 };
    struct form_oracle *o = open_oracle(mode, 1);

    memset(&t, 0, sizeof(t));
    for (unsigned n = 0; n < REMOVABLE; n++) {
        struct err e = { .code = 0 };
        char spec[64];
        snprintf(spec, sizeof(spec), "max,-%s", removable[n]);
        assert_int_equal(cpu_model_build(&models[n], spec, 1, &e), 0);
    }
    for (uint32_t n = 0; n < forms_count(mode); n++) {
        struct form f;

        form_get(mode, n, &f);
        if (form_is_prefix(&f) || f.variant == FORM_LOCK) continue;
        if (!f.is_vex && f.map == 0 && (f.op & 0xf8) != 0xd8) continue;
        for (unsigned rm = 0; rm < (has_rm_forms(&f) ? 8 : 1); rm++) {
            f.rm = (uint8_t)(has_rm_forms(&f) ? rm : o->random >> 61);
            run_missing(o, &f, models, forms, &t);
        }
    }
    form_oracle_close(o);
    for (unsigned n = 0; n < REMOVABLE; n++) {
        if (mode == 8 && !forms[n]) fail_msg("no form for %s", removable[n]);
    }
    if (t.wrongs) print_message("%u:%s\n", t.wrongs, t.wrong);
    assert_int_equal(t.wrongs, 0);
}

static void instructions_of_a_missing_feature_are_undefined(void **unused)
{
    (void)unused;
    run_without(8);
    run_without(4);
}

/* ---- the table of exceptions */

static bool has_word(const char *file, const char *word)
{
    char line[512];
    FILE *f = fopen(file, "r");
    bool is_found = false;

    while (f && !is_found && fgets(line, sizeof(line), f))
        is_found = strstr(line, word) != NULL;
    if (f) fclose(f);
    return is_found;
}

static void every_exception_has_its_test(void **unused)
{
    (void)unused;
    for (unsigned n = 0; n < sizeof(excepted) / sizeof(excepted[0]); n++) {
        const struct excepted *x = &excepted[n];
        if (has_word(x->file, x->word)) continue;
        fail_msg("%s: no '%s' in %s", ZydisMnemonicGetString(x->mnemonic),
                 x->word, x->file);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_form_of_64_bit_code_equals_the_host),
        cmocka_unit_test(every_form_of_32_bit_code_equals_the_host),
        cmocka_unit_test(every_form_of_16_bit_code_equals_the_host),
        cmocka_unit_test(odd_prefixes_do_what_they_do_on_the_host),
        cmocka_unit_test(every_exception_has_its_test),
        cmocka_unit_test(instructions_of_a_missing_feature_are_undefined),
    };
    cmocka_set_test_filter(getenv("ORRERY_TEST"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
