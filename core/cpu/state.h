/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_CPU_STATE_H
#define ORRERY_CPU_STATE_H

#include "core/base/err.h"
#include "core/cpu/cpu.h"
#include "core/vm/state.h"

/* State rows of struct cpu, shared by both accelerators. */
extern const struct field cpu_state[];

/*
 * After state_load() into c (ops, model and the like set): refuse what no
 * CPU of this model can be in, make the vector image fit for XRSTOR.
 * Outside guest context.  0, or -EINVAL naming the register.
 */
int cpu_state_check(struct cpu *c, struct err *e);

#endif
