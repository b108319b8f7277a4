/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_TESTS_STORAGE_RIG_H
#define ORRERY_TESTS_STORAGE_RIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "block/block.h"
#include "core/loop/loop.h"
#include "core/vm/port.h"
#include "core/vm/vm.h"

/*
 * A machine without CPU for storage tests: 4 MiB of memory at 0, a PCI bus, an
 * interrupt line that is watched, drives on temporary files.  The VM lock is
 * held by the test except inside srig_wait.
 */
enum { SRIG_RAM_BYTES = 4 << 20, SRIG_LINES = 16 };

struct srig {
    struct loop *loop;
    struct vm *vm;
    struct vm_config cfg;
    struct drive_table *drives;
    struct mem_region ram;
    bool line[SRIG_LINES];
    unsigned rises[SRIG_LINES];
    char dir[64];
    unsigned files;
};

void srig_open(struct srig *r); /* fails the test */
void srig_close(struct srig *r);

struct irq_line srig_line(struct srig *r, unsigned n);

/* Path of a new file with these octets; grown with zeros to size. */
const char *srig_file(struct srig *r, const void *data, size_t bytes,
                      uint64_t size, char *path, size_t cap);
struct drive *srig_drive(struct srig *r, const char *id, const char *file,
                         bool is_removable, bool is_cdrom);

/* Deterministic contents: octet i of sector n is made from both. */
uint8_t srig_pattern(uint64_t at);
void srig_fill(uint8_t *buf, uint64_t at, size_t bytes);

uint32_t srig_in(struct srig *r, unsigned port, unsigned bytes);
void srig_out(struct srig *r, unsigned port, unsigned bytes, uint32_t v);

/* Let the loop run until test(arg) is true; fails the test after 10 s. */
void srig_wait(struct srig *r, bool (*test)(void *arg), void *arg);
/* Handle what is ready now. */
void srig_poll(struct srig *r);
/* Give threads and loop 20 ms, to show that something does not happen. */
void srig_settle(struct srig *r);

#endif
