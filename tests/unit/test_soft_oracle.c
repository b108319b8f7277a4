/* SPDX-License-Identifier: GPL-2.0-or-later */
/* link: core support */
/*
 * Random instruction streams three ways: natively in this process, translated,
 * and in the emulator (verify=on compares the latter two block by block).
 * Registers, flags, vector state and memory must agree.
 *
 * ORACLE_SEED and ORACLE_SECONDS repeat a run or make it longer, ORACLE_TEST
 * selects tests, ORACLE_DUMP keeps the last stream in oracle.bin.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "core/soft/code.h"
#include "core/soft/engine.h"
#include "tests/unit/support/insn_forms.h"
#include "tests/unit/support/soft_gen.h"
#include "tests/unit/support/soft_rig.h"

/* At a low address, so that it can be reached without a register. */
enum { AREA = 0x5fc000, AREA_BYTES = 0x3000 };

struct native {
    uint64_t host_sp, target;
    uint64_t gpr[16], flags;
    uint8_t xsave[CPU_XSAVE_BYTES] __attribute__((aligned(64)));
};

#define N ((struct native *)AREA)

void native_go(void);
void native_exit(void);
__asm__(".text\n"
        "native_go:\n"
        " push %rbx\n push %rbp\n push %r12\n push %r13\n push %r14\n"
        " push %r15\n"
        " mov %rsp, 0x5fc000\n"
        " mov $7, %eax\n xor %edx, %edx\n xrstor64 0x5fc0c0\n"
        " pushq 0x5fc090\n popfq\n"
        " mov 0x5fc010, %rax\n mov 0x5fc018, %rcx\n mov 0x5fc020, %rdx\n"
        " mov 0x5fc028, %rbx\n mov 0x5fc030, %rsp\n mov 0x5fc038, %rbp\n"
        " mov 0x5fc040, %rsi\n mov 0x5fc048, %rdi\n mov 0x5fc050, %r8\n"
        " mov 0x5fc058, %r9\n mov 0x5fc060, %r10\n mov 0x5fc068, %r11\n"
        " mov 0x5fc070, %r12\n mov 0x5fc078, %r13\n mov 0x5fc080, %r14\n"
        " mov 0x5fc088, %r15\n"
        " jmp *0x5fc008\n"
        "native_exit:\n"
        " mov %rax, 0x5fc010\n mov %rcx, 0x5fc018\n mov %rdx, 0x5fc020\n"
        " mov %rbx, 0x5fc028\n mov %rsp, 0x5fc030\n mov %rbp, 0x5fc038\n"
        " mov %rsi, 0x5fc040\n mov %rdi, 0x5fc048\n mov %r8, 0x5fc050\n"
        " mov %r9, 0x5fc058\n mov %r10, 0x5fc060\n mov %r11, 0x5fc068\n"
        " mov %r12, 0x5fc070\n mov %r13, 0x5fc078\n mov %r14, 0x5fc080\n"
        " mov %r15, 0x5fc088\n"
        " mov 0x5fc000, %rsp\n"
        " pushfq\n popq 0x5fc090\n"
        " mov $7, %eax\n xor %edx, %edx\n xsave64 0x5fc0c0\n"
        " fninit\n vzeroupper\n"
        " pop %r15\n pop %r14\n pop %r13\n pop %r12\n pop %rbp\n pop %rbx\n"
        " ret\n");

_Static_assert(offsetof(struct native, gpr) == 0x10, "asm");
_Static_assert(offsetof(struct native, flags) == 0x90, "asm");
_Static_assert(offsetof(struct native, xsave) == 0xc0, "asm");

static void map_low(uint64_t at, size_t bytes, int prot)
{
    void *p = mmap((void *)at, bytes, prot,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

    assert_ptr_equal(p, (void *)at);
}

static int map_areas(void **state)
{
    (void)state;
    map_low(GEN_CODE, GEN_MAX_BYTES, PROT_READ | PROT_WRITE | PROT_EXEC);
    map_low(AREA, AREA_BYTES, PROT_READ | PROT_WRITE);
    map_low(GEN_EXIT, 0x1000, PROT_READ | PROT_WRITE);
    map_low(GEN_DATA, GEN_DATA_BYTES + 0x1000, PROT_READ | PROT_WRITE);
    map_low(GEN_STACK - 0x1000, 0x2000, PROT_READ | PROT_WRITE);
    return 0;
}

/* ---- one stream */

struct start {
    uint64_t gpr[16], flags;
    uint8_t vector[416 - 160], data[GEN_DATA_BYTES];
};

static void make_start(struct gen *g, struct start *s)
{
    for (int i = 0; i < 16; i++) {
        s->gpr[i] = gen_random(g) >> (gen_random(g) & 63);
        if (g->bits != 64) s->gpr[i] &= UINT32_MAX;
    }
    s->gpr[GPR_SP] = g->bits == 16 ? 0x7800 : GEN_STACK - 64;
    s->flags = (gen_random(g) & FLAGS_ARITH) | 2;
    for (unsigned i = 0; i < sizeof(s->data); i += 8) {
        uint64_t v = gen_random(g);
        memcpy(s->data + i, &v, 8);
    }
    for (unsigned i = 0; i < sizeof(s->vector); i += 8) {
        uint64_t v = gen_random(g);
        memcpy(s->vector + i, &v, 8);
    }
}

static void set_xsave(uint8_t *x, const struct start *s)
{
    uint32_t mxcsr = 0x1f80;
    uint64_t bv = 3;

    memset(x, 0, CPU_XSAVE_BYTES);
    x[0] = 0x7f;
    x[1] = 0x03;
    memcpy(x + 24, &mxcsr, 4);
    memcpy(x + 160, s->vector, sizeof(s->vector));
    memcpy(x + 512, &bv, 8);
}

static void run_native(const struct gen *g, const struct start *s)
{
    uint64_t exit_at = (uint64_t)native_exit;

    memcpy((void *)GEN_CODE, g->code, g->bytes);
    memcpy((void *)GEN_DATA, s->data, sizeof(s->data));
    memset((void *)(GEN_STACK - 0x1000), 0, 0x1000);
    memcpy((void *)GEN_EXIT, &exit_at, 8);
    memcpy(N->gpr, s->gpr, sizeof(s->gpr));
    set_xsave(N->xsave, s);
    N->flags = s->flags | FLAG_IF;
    N->target = GEN_CODE;
    native_go();
}

/* In the 64-bit guest neighbouring pages of the data are no neighbours in
 * memory, so an access that runs over the end of a page goes astray. */
enum { DATA_PAGES = GEN_DATA_BYTES / 4096, DATA_TABLE = 0x12000 };

static uint64_t data_page(const struct gen *g, unsigned page)
{
    static const uint8_t order[DATA_PAGES] = { 0, 2, 1 };

    return GEN_DATA + (g->bits == 64 ? order[page] : page) * 4096ull;
}

static uint64_t *table_entry(struct soft_rig *r, uint64_t table, unsigned i)
{
    return (uint64_t *)(void *)(r->ram.host + (table & ~0xfffull) + 8 * i);
}

static void map_data(struct soft_rig *r, const struct gen *g)
{
    uint64_t p = *table_entry(r, RIG_TABLES, 0);
    uint64_t *pde;

    p = *table_entry(r, p, 0);
    pde = table_entry(r, p, GEN_DATA >> 21);
    for (unsigned i = 0; i < 512; i++) {
        uint64_t at = (GEN_DATA & ~0x1fffffull) + 4096 * i;
        unsigned page = (unsigned)((at - GEN_DATA) >> 12);
        if (page < DATA_PAGES) at = data_page(g, page);
        *table_entry(r, DATA_TABLE, i) = at | 7;
    }
    *pde = DATA_TABLE | 7;
}

/* Where 64-bit code is, if not where it is in memory: 0. */
static void run_guest(struct soft_rig *r, const struct gen *g,
                      const struct start *s, uint64_t lin)
{
    static const uint8_t stop[] = { 0xe6, 0xf4, 0xeb, 0xfe };
    uint64_t code = g->bits == 16 ? 0x9000 : GEN_CODE;
    uint64_t data = g->bits == 16 ? 0x2000 : GEN_DATA;
    uint64_t stub = 0x10000;

    rig_mode(r, g->bits, code);
    if (r->soft->options.is_all_hot || lin) rig_user(r);
    if (memcmp(r->ram.host + code, g->code, g->bytes) != 0) {
        rig_put(r, code, g->code, g->bytes);
    }
    if (g->bits == 64) map_data(r, g);
    if (lin) {
        rig_map(r, lin, code, GEN_MAX_BYTES / 4096);
        for (unsigned i = 0; i < DATA_PAGES; i++) {
            rig_map(r, lin + GEN_DATA - code + 4096 * i, data_page(g, i), 1);
        }
        r->c->rip = lin;
    }
    for (unsigned i = 0; i < DATA_PAGES; i++) {
        uint64_t to = g->bits == 16 ? data + 4096 * i : data_page(g, i);
        memcpy(r->ram.host + to, s->data + 4096 * i, 4096);
    }
    memset(r->ram.host + GEN_STACK - 0x1000, 0, 0x1000);
    rig_put(r, stub, stop, sizeof(stop));
    memcpy(r->ram.host + GEN_EXIT, &stub, 8);
    memcpy(r->c->gpr, s->gpr, sizeof(s->gpr));
    r->c->rflags = s->flags | (r->c->rflags & FLAG_IOPL);
    set_xsave(r->c->xsave, s);
    soft_state_changed(r->eng);
    if (rig_run(r) == SOFT_EXIT_EVENT) return;
    fail_msg("stopped at rip 0x%llx, vector %u: %s",
             (unsigned long long)r->c->rip, r->c->exc_vector,
             soft_error(r->eng));
}

static void dump(const struct gen *g)
{
    FILE *f = fopen("oracle.bin", "wb");

    if (!f) return;
    fwrite(g->code, 1, g->bytes, f);
    fclose(f);
}

static void compare_with_native(struct soft_rig *r, const struct gen *g)
{
    uint8_t *a = N->xsave, *b = r->c->xsave;

    for (int i = 0; i < 16; i++) {
        if (N->gpr[i] == r->c->gpr[i]) continue;
        dump(g);
        fail_msg("register %d: native 0x%llx, guest 0x%llx", i,
                 (unsigned long long)N->gpr[i],
                 (unsigned long long)r->c->gpr[i]);
    }
    assert_int_equal(N->flags & FLAGS_ARITH, r->c->rflags & FLAGS_ARITH);
    for (unsigned i = 0; i < DATA_PAGES; i++) {
        assert_memory_equal((void *)(GEN_DATA + 4096ull * i),
                            r->ram.host + data_page(g, i), 4096);
    }
    assert_memory_equal((void *)(GEN_STACK - 0x1000),
                        r->ram.host + GEN_STACK - 0x1000, 0x1000);
    for (int i = 160; i < 416; i++) {
        if (a[i] == b[i]) continue;
        dump(g);
        fail_msg("xmm%d byte %d differs from native", (i - 160) / 16, i & 15);
    }
    if ((a[512] & 4) || (b[512] & 4)) {
        static const uint8_t zero[256];
        assert_memory_equal(a[512] & 4 ? a + 576 : zero,
                            b[512] & 4 ? b + 576 : zero, 256);
    }
    assert_memory_equal(a + 24, b + 24, 4);
    for (int i = 0; i < 8; i++) {
        assert_memory_equal(a + 32 + 16 * i, b + 32 + 16 * i, 10);
    }
}

static double seconds(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}

static double time_share(double share)
{
    const char *s = getenv("ORACLE_SECONDS");

    return share * (s ? atof(s) : 15.0);
}

static uint64_t first_seed(void)
{
    const char *s = getenv("ORACLE_SEED");

    return s ? strtoull(s, NULL, 0) : (uint64_t)time(NULL) * 2654435761u | 1;
}

static void run_streams(unsigned bits, bool has_vector,
                        const struct soft_options *o, double limit)
{
    struct soft_rig *r = rig_new(o);
    static struct gen g;
    static struct start s;
    double end = seconds() + limit;
    uint64_t seed = first_seed();
    unsigned n = 0;

    do {
        g = (struct gen){ .random = seed + n,
                          .bits = bits,
                          .has_vector = has_vector };
        for (int i = 0; i < 4; i++)
            gen_random(&g);
        gen_stream(&g, 40);
        make_start(&g, &s);
        printf("\r%u-bit seed 0x%llx ", bits, (unsigned long long)(seed + n));
        fflush(stdout);
        if (getenv("ORACLE_DUMP")) dump(&g);
        if (bits == 64) run_native(&g, &s);
        run_guest(r, &g, &s, 0);
        if (bits == 64) compare_with_native(r, &g);
        n++;
    } while (seconds() < end);
    printf("\n%u streams\n", n);
    rig_free(r);
}

static void compare_with_other(const struct soft_rig *a,
                               const struct soft_rig *b)
{
    for (int i = 0; i < 16; i++)
        assert_int_equal(a->c->gpr[i], b->c->gpr[i]);
    assert_int_equal(a->c->rflags & FLAGS_ARITH, b->c->rflags & FLAGS_ARITH);
    assert_memory_equal(a->c->xsave + 24, b->c->xsave + 24, 416 - 24);
    assert_memory_equal(a->ram.host + GEN_DATA, b->ram.host + GEN_DATA,
                        GEN_DATA_BYTES);
    assert_memory_equal(a->ram.host + GEN_STACK - 0x1000,
                        b->ram.host + GEN_STACK - 0x1000, 0x1000);
}

/* Each stream at several places, where it is not translated again; it may ask
 * where it is, so the emulator tells what comes out. */
static void run_moved_streams(const struct soft_options *o, double limit)
{
    static const uint64_t places[] = { 0x555555554000, 0x7f12345ff000,
                                       0x555555557000, 0x400000000000 };
    struct soft_options slow = { .is_interpreted = true };
    struct soft_rig *r = rig_new(o), *other = rig_new(&slow);
    static struct gen g;
    static struct start s;
    double end = seconds() + limit;
    uint64_t seed = first_seed(), moved = 0;
    unsigned n = 0;

    do {
        g = (struct gen){ .random = seed + n, .bits = 64, .has_vector = true };
        for (int i = 0; i < 4; i++)
            gen_random(&g);
        gen_stream(&g, 40);
        make_start(&g, &s);
        printf("\rmoved, seed 0x%llx ", (unsigned long long)(seed + n));
        fflush(stdout);
        if (getenv("ORACLE_DUMP")) dump(&g);
        for (unsigned i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
            run_guest(r, &g, &s, places[i]);
            run_guest(other, &g, &s, places[i]);
            compare_with_other(r, other);
        }
        n++;
    } while (seconds() < end);
    moved = r->soft->cache->stat.moved;
    printf("\n%u streams, %llu blocks moved\n", n, (unsigned long long)moved);
    assert_true(moved >= n);
    rig_free(r);
    rig_free(other);
}

/* ---- every form */

/* Why a form that is announced is in no stream. */
enum why {
    BRANCH,   /* test_soft_run.c and test_cpu_forms.c */
    VALUES,   /* changes how the following ones behave, or tells flags of the
                 system: test_cpu_forms.c, and tests/guests/cputest */
    IN_PART,  /* segment registers, results that are not defined, #DE */
    EMULATED, /* not rewritten: test_cpu_forms.c has all there is to it */
};

static const struct {
    ZydisMnemonic mnemonic;
    enum why why;
} excepted[] = {
#define M(name) ZYDIS_MNEMONIC_##name
#include "tests/unit/support/stream_exceptions.def"
#undef M
};

static bool is_excepted(unsigned mnemonic)
{
    for (unsigned n = 0; n < sizeof(excepted) / sizeof(excepted[0]); n++) {
        if (excepted[n].mnemonic == mnemonic) return true;
    }
    return false;
}

struct audit {
    uint32_t made, open;
    uint32_t of[ZYDIS_MNEMONIC_MAX_VALUE + 1][2];
};

static void count_form(struct gen *g, const ZydisDecodedInstruction *d,
                       const uint8_t *bytes, bool is_made)
{
    struct audit *a = g->arg;

    (void)bytes;
    /* 16-bit addresses in 32-bit code cannot reach the data. */
    if (!is_made && g->bits == 32 && d->address_width == 16) return;
    if (!is_made && !isa_feature(d->meta.isa_set)) return;
    a->of[d->mnemonic][is_made]++;
    if (is_made) {
        a->made++;
    } else {
        a->open++;
    }
}

static void walk_forms(unsigned bits, const struct soft_options *o)
{
    static struct gen g;
    static struct start s;
    static struct audit a;
    struct soft_rig *r = rig_new(o);
    uint64_t seed = first_seed();

    memset(&a, 0, sizeof(a));
    g = (struct gen){ .random = seed, .bits = bits, .has_vector = true };
    g.walks = true;
    g.told = count_form;
    g.arg = &a;
    while (g.next_form < forms_count(bits / 8)) {
        gen_stream(&g, 60);
        make_start(&g, &s);
        if (getenv("ORACLE_DUMP")) dump(&g);
        if (bits == 64) run_native(&g, &s);
        run_guest(r, &g, &s, 0);
        if (bits == 64) compare_with_native(r, &g);
    }
    rig_free(r);
    print_message("%u-bit, seed 0x%llx: %u forms run, %u not\n", bits,
                  (unsigned long long)seed, a.made, a.open);
    assert_true(a.made > 50000);
    for (unsigned m = 0; m <= ZYDIS_MNEMONIC_MAX_VALUE; m++) {
        uint32_t open = a.of[m][0], all = open + a.of[m][1];
        /* Now and then no operand is found that can be used. */
        bool is_chance = open <= 2 && a.of[m][1] > 0;
        if (open * 20 > all && !is_chance && !is_excepted(m))
            fail_msg("%s: %u of %u not run\n", ZydisMnemonicGetString(m),
                     a.of[m][0], a.of[m][0] + a.of[m][1]);
    }
}

static const struct soft_options plain, hot = { .is_all_hot = true },
                                        ungrouped = { .is_ungrouped = true },
                                        verified = { .is_verified = true };

static void integer_streams_agree_with_the_host(void **state)
{
    (void)state;
    run_streams(64, false, &plain, time_share(0.2));
}

static void vector_streams_agree_with_the_host(void **state)
{
    (void)state;
    run_streams(64, true, &plain, time_share(0.2));
}

static void streams_of_hot_user_code_agree_with_the_host(void **state)
{
    (void)state;
    run_streams(64, true, &hot, time_share(0.2));
}

static void streams_that_are_moved_agree_with_the_emulator(void **state)
{
    (void)state;
    run_moved_streams(&(struct soft_options){ .is_all_hot = false },
                      time_share(0.1));
    run_moved_streams(&(struct soft_options){ .is_all_hot = true },
                      time_share(0.1));
}

static void streams_without_groups_agree_with_the_host(void **state)
{
    (void)state;
    run_streams(64, true, &ungrouped, time_share(0.1));
}

static void translated_64_bit_streams_agree_with_the_emulator(void **state)
{
    (void)state;
    run_streams(64, true, &verified, time_share(0.2));
}

static void translated_32_bit_streams_agree_with_the_emulator(void **state)
{
    (void)state;
    run_streams(32, true, &verified, time_share(0.2));
}

static void translated_16_bit_streams_agree_with_the_emulator(void **state)
{
    (void)state;
    run_streams(16, true, &verified, time_share(0.1));
}

/* What the CPU model lacks is undefined in translated code, too: PSHUFB and
 * VPADDB ymm between others that are rewritten. */
static void what_the_model_lacks_is_undefined_in_translated_code(void **state)
{
    static const struct {
        uint32_t set;
        uint8_t code[8], bytes;
    } t[] = {
        { CPU_SET_SSSE3, { 0x90, 0x66, 0x0f, 0x38, 0x00, 0xc1 }, 6 },
        { CPU_SET_AVX2, { 0x90, 0xc5, 0xf5, 0xfc, 0xc2 }, 5 },
        { CPU_SET_POPCNT, { 0x90, 0xf3, 0x0f, 0xb8, 0xc1 }, 5 },
        { CPU_SET_CMOV, { 0x90, 0x0f, 0x44, 0xc1 }, 4 },
    };
    static const uint8_t stop[] = { 0xe6, 0xf4, 0xeb, 0xfe };

    (void)state;
    for (unsigned n = 0; n < 2 * sizeof(t) / sizeof(t[0]); n++) {
        struct soft_rig *r = rig_new(&plain);
        unsigned k = n / 2;

        rig_mode(r, 64, GEN_CODE);
        rig_put(r, GEN_CODE, t[k].code, t[k].bytes);
        rig_put(r, GEN_CODE + t[k].bytes, stop, sizeof(stop));
        if (n & 1) r->model.sets &= ~t[k].set;
        rig_run(r);
        /* No handler is there: a triple fault, in the place of the OUT. */
        assert_int_equal(r->exits, n & 1 ? 0 : 1);
        if (n & 1) assert_int_equal(r->c->rip, GEN_CODE + 1);
        rig_free(r);
    }
}

static void every_form_of_64_bit_code_agrees_with_the_host(void **state)
{
    (void)state;
    walk_forms(64, &plain);
}

static void every_form_of_32_bit_code_agrees_with_the_emulator(void **state)
{
    (void)state;
    walk_forms(32, &verified);
}

static void every_form_of_16_bit_code_agrees_with_the_emulator(void **state)
{
    (void)state;
    walk_forms(16, &verified);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_the_model_lacks_is_undefined_in_translated_code),
        cmocka_unit_test(every_form_of_64_bit_code_agrees_with_the_host),
        cmocka_unit_test(every_form_of_32_bit_code_agrees_with_the_emulator),
        cmocka_unit_test(every_form_of_16_bit_code_agrees_with_the_emulator),
        cmocka_unit_test(integer_streams_agree_with_the_host),
        cmocka_unit_test(vector_streams_agree_with_the_host),
        cmocka_unit_test(streams_of_hot_user_code_agree_with_the_host),
        cmocka_unit_test(streams_that_are_moved_agree_with_the_emulator),
        cmocka_unit_test(streams_without_groups_agree_with_the_host),
        cmocka_unit_test(translated_64_bit_streams_agree_with_the_emulator),
        cmocka_unit_test(translated_32_bit_streams_agree_with_the_emulator),
        cmocka_unit_test(translated_16_bit_streams_agree_with_the_emulator),
    };
    cmocka_set_test_filter(getenv("ORACLE_TEST"));
    return cmocka_run_group_tests(tests, map_areas, NULL);
}
