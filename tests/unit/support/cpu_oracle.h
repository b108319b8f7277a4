/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_TESTS_CPU_ORACLE_H
#define ORRERY_TESTS_CPU_ORACLE_H

#include <stdint.h>

enum oracle_class { ORACLE_INTEGER, ORACLE_VECTOR, ORACLE_X87, ORACLE_32 };

struct oracle_report {
    uint64_t compared, faulted, skipped;
    char text[2000]; /* first disagreements; empty: none */
};

/* Compare count random instructions of a class. */
void oracle_run(enum oracle_class class, uint64_t seed, uint64_t count,
                struct oracle_report *rep);

#endif
