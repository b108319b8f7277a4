/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_TESTS_SUPPORT_CHIPS_RIG_H
#define ORRERY_TESTS_SUPPORT_CHIPS_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/vm/dev.h"
#include "core/vm/irq.h"

/* A VM without CPU for device tests; the lock is held all the time but
 * inside rig_advance. */
enum { RIG_LINES = 32 };

struct rig {
    struct loop *loop;
    struct vm *vm;
    bool level[RIG_LINES];
    unsigned rises[RIG_LINES];
};

int rig_setup(void **state); /* *state = struct rig */
int rig_teardown(void **state);

struct dev *rig_add(struct rig *r, const struct dev_class *cls);
/* With "name=value" properties, ending in NULL. */
struct dev *rig_add_with(struct rig *r, const struct dev_class *cls, ...);
/* A line that r->level[n] and r->rises[n] record. */
struct irq_line rig_line(struct rig *r, unsigned n);

uint8_t rig_in(struct rig *r, unsigned port);
void rig_out(struct rig *r, unsigned port, unsigned v);
uint32_t rig_read32(struct rig *r, uint64_t gpa);
void rig_write32(struct rig *r, uint64_t gpa, uint32_t v);

/* Guest time goes on by ns; timers due on the way run at their time. */
void rig_advance(struct rig *r, uint64_t ns);

/* Save all devices, reset them, load again; the second save must be equal. */
void rig_round_trip(struct rig *r);
/* Loading the state of all devices with octets flipped must not crash. */
void rig_load_garbage(struct rig *r);

#endif
