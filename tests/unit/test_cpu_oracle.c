/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The host CPU as oracle: random instructions run natively and through
 * cpu_emulate() with the same registers, flags, vector state and memory;
 * everything must agree but what the manuals leave undefined.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <Zydis/Zydis.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/unit/support/cpu_oracle.h"

static uint64_t cases(const char *what, uint64_t wanted)
{
    const char *n = getenv("ORRERY_TEST_CASES");
    (void)what;
    return n ? strtoull(n, NULL, 0) : wanted;
}

static void run(enum oracle_class class, uint64_t wanted)
{
    const char *given = getenv("ORRERY_TEST_SEED");
    uint64_t seed = given ? strtoull(given, NULL, 0) : (uint64_t)time(NULL);
    struct oracle_report rep;

#ifdef __SANITIZE_ADDRESS__
    /* Random operands fault natively unless something is mapped there, and
     * the sanitizer maps terabytes. */
    print_message("skipped: AddressSanitizer's shadow memory lies where the "
                  "host should fault\n");
    skip();
#endif
    print_message("seed %llu\n", (unsigned long long)seed);
    oracle_run(class, seed, cases("", wanted), &rep);
    print_message("%llu compared, %llu faulted alike, %llu left out\n",
                  (unsigned long long)rep.compared,
                  (unsigned long long)rep.faulted,
                  (unsigned long long)rep.skipped);
    if (rep.text[0]) fail_msg("%s", rep.text);
    assert_true(rep.compared > wanted / 20);
}

static void integer_instructions_equal_the_host(void **unused)
{
    (void)unused;
    run(ORACLE_INTEGER, 300000);
}

static void vector_instructions_equal_the_host(void **unused)
{
    (void)unused;
    run(ORACLE_VECTOR, 200000);
}

static void x87_instructions_equal_the_host(void **unused)
{
    (void)unused;
    run(ORACLE_X87, 60000);
}

static void instructions_of_32_bit_code_equal_the_host(void **unused)
{
    (void)unused;
    run(ORACLE_32, 300000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integer_instructions_equal_the_host),
        cmocka_unit_test(vector_instructions_equal_the_host),
        cmocka_unit_test(instructions_of_32_bit_code_equal_the_host),
        cmocka_unit_test(x87_instructions_equal_the_host),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
