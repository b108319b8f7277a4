/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_SOFT_RING_H
#define ORRERY_SOFT_RING_H

#include "core/soft/engine.h"

/* System calls, exceptions and returns from them without the emulator, where
 * nothing is unusual: ring.c, and soft_syscall and soft_sysret of entry.S. */

/* Compute eng->ring; after each change of the block mode. */
void ring_update(struct engine *eng);

/* Enter the handler of an exception or interrupt by its gate; false: nothing
 * is done, use cpu_deliver_*. */
bool ring_deliver(struct engine *eng, unsigned vector, bool is_fault,
                  bool has_error, uint32_t error);

/* Deliver the page fault that soft_slow_access found (eng->has_fault). */
enum cpu_step ring_fault(struct engine *eng);

/* IRETQ at cpu.rip; false: emulate it. */
bool ring_iret(struct engine *eng);

#endif
