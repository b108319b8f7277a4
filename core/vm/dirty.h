/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_VM_DIRTY_H
#define ORRERY_VM_DIRTY_H

#include <stdbool.h>
#include <stdint.h>

#include "core/base/err.h"

/*
 * Which pages of guest memory were written: for live migration.  A block is
 * the memory of one RAM region that the memory map shows (main memory, video
 * memory); pages are 4 KiB.  Writes by vCPUs, by DMA and by the monitor count;
 * a device that draws into its own memory saves it with its state.
 */
struct vm;
struct mem_region;

enum { VM_DIRTY_BLOCKS = 32, VM_DIRTY_PAGE = 4096 };

struct vm_dirty_block {
    struct mem_region *region;
    uint8_t *host;
    uint64_t pages;
    uint64_t *bits; /* one per page; set from any thread, atomically */
    uint64_t *now;  /* what collect hands out */
};

struct vm_dirty {
    struct vm_dirty_block block[VM_DIRTY_BLOCKS];
    unsigned count;
};

/*
 * Begin: all pages are clean.  VM lock held, machine running or not, as for
 * the next two.  -EBUSY when it is on already, -ENOMEM.
 */
int vm_dirty_start_locked(struct vm *vm, struct err *e);

/*
 * Call fn with each block's bitmap (block->now, valid until the next call) of
 * the pages written since start or the last collect, and begin anew.  A page
 * that is read after collect and written meanwhile is in the next one.  While
 * vCPUs run a write may still sit in the processor's own log and come in the
 * next collect; with the machine stopped nothing is missing.  A region that
 * appeared meanwhile is wholly dirty.  fn may be NULL.  -EINVAL: not on.
 */
int vm_dirty_collect_locked(struct vm *vm,
                            void (*fn)(void *arg,
                                       const struct vm_dirty_block *b),
                            void *arg);
void vm_dirty_stop_locked(struct vm *vm);
bool vm_dirty_is_on(struct vm *vm);

/* The tracker of a machine, NULL when off; changes in exclusive sections. */
struct vm_dirty *vm_dirty(struct vm *vm);

/*
 * Memory at host was written.  Any thread that may look at guest memory; one
 * page at a time.  Inline because the software CPU calls it while the guest's
 * vector registers are live.
 */
static inline void vm_dirty_mark_page(struct vm_dirty *d, const uint8_t *host)
{
    for (unsigned i = 0; i < d->count; i++) {
        struct vm_dirty_block *b = &d->block[i];
        uint64_t page = (uint64_t)(host - b->host) / VM_DIRTY_PAGE;

        if (host < b->host || page >= b->pages) continue;
        __atomic_fetch_or(&b->bits[page / 64], 1ull << (page & 63),
                          __ATOMIC_SEQ_CST);
        return;
    }
}

/* The same for any number of bytes; nothing when tracking is off. */
void vm_dirty_mark(struct vm *vm, const uint8_t *host, uint64_t bytes);

#endif
