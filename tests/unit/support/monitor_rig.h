/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_TESTS_MONITOR_RIG_H
#define ORRERY_TESTS_MONITOR_RIG_H

#include <stdint.h>

#include "core/cpu/cpu.h"
#include "core/vm/vm.h"
#include "monitor/monitor.h"

/* A VM with 2 MiB and one CPU that does nothing, and a monitor's session. */
enum { RIG_RAM_BYTES = 2 << 20 };

struct monitor_rig {
    struct vm_config cfg;
    struct loop *loop;
    struct vm *vm;
    struct mem_region *ram;
    struct cpu *cpu;
    struct monitor_session s;
};

/* cmocka's set-up and tear-down; *state is the rig. */
int monitor_rig_setup(void **state);
int monitor_rig_teardown(void **state);

/* What a line prints; free() it. */
char *monitor_rig_answer(struct monitor_rig *r, const char *line);
/* Fails the test unless a line prints want. */
void monitor_rig_expect(struct monitor_rig *r, const char *line,
                        const char *want);

#endif
