/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/vm/dirty.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/vm/vm_private.h"

static uint64_t words(const struct vm_dirty_block *b)
{
    return (b->pages + 63) / 64;
}

static void free_tracker(struct vm_dirty *d)
{
    if (d == NULL) return;
    for (unsigned i = 0; i < d->count; i++) {
        free(d->block[i].bits);
        free(d->block[i].now);
    }
    free(d);
}

static bool has_block(const struct vm_dirty *d, const struct mem_region *r)
{
    for (unsigned i = 0; i < d->count; i++) {
        if (d->block[i].region == r && d->block[i].host == r->host) return true;
    }
    return false;
}

static int add_block(struct vm_dirty *d, struct mem_region *r, bool is_dirty)
{
    struct vm_dirty_block *b = &d->block[d->count];

    if (d->count == VM_DIRTY_BLOCKS) return -ENOSPC;
    b->region = r;
    b->host = r->host;
    b->pages = (r->size + VM_DIRTY_PAGE - 1) / VM_DIRTY_PAGE;
    b->bits = calloc(words(b), sizeof(uint64_t));
    b->now = calloc(words(b), sizeof(uint64_t));
    if (b->bits == NULL || b->now == NULL) {
        free(b->bits);
        free(b->now);
        return -ENOMEM;
    }
    for (uint64_t p = 0; is_dirty && p < b->pages; p++) {
        b->bits[p / 64] |= 1ull << (p & 63);
    }
    d->count++;
    return 0;
}

/* Every RAM region of the flat view gets a block. */
static int add_blocks(struct vm *vm, struct vm_dirty *d, bool are_dirty)
{
    size_t count;
    const struct mem_frag *f = mem_frags_locked(vm, &count);

    for (size_t i = 0; i < count; i++) {
        int rc;

        if (f[i].host == NULL || f[i].region->kind != MEM_RAM ||
            has_block(d, f[i].region)) {
            continue;
        }
        rc = add_block(d, f[i].region, are_dirty);
        if (rc < 0) return rc;
    }
    return 0;
}

/* Regions that are gone: their memory may be somebody else's by now. */
static void drop_blocks(struct vm *vm, struct vm_dirty *d)
{
    size_t count;
    const struct mem_frag *f = mem_frags_locked(vm, &count);
    unsigned n = 0;

    for (unsigned i = 0; i < d->count; i++) {
        struct vm_dirty_block *b = &d->block[i];
        bool is_there = b->region == &vm->ram;

        for (size_t k = 0; k < count && !is_there; k++) {
            is_there = f[k].region == b->region;
        }
        if (is_there) {
            d->block[n++] = *b;
        } else {
            free(b->bits);
            free(b->now);
        }
    }
    d->count = n;
}

int vm_dirty_start_locked(struct vm *vm, struct err *e)
{
    struct vm_dirty *d;
    int rc;

    if (atomic_load(&vm->dirty) != NULL) {
        return err_set(e, -EBUSY, "written pages are being tracked already");
    }
    d = calloc(1, sizeof(*d));
    rc = d != NULL ? add_blocks(vm, d, false) : -ENOMEM;
    if (rc < 0) {
        free_tracker(d);
        return err_set(e, rc, "cannot track written pages: %s", strerror(-rc));
    }
    vm_exclusive_begin_locked(vm);
    atomic_store(&vm->dirty, d);
    if (vm->accel != NULL && vm->accel->dirty_start != NULL) {
        rc = vm->accel->dirty_start(vm, e);
    }
    if (rc < 0) atomic_store(&vm->dirty, NULL);
    vm_exclusive_end_locked(vm);
    if (rc < 0) free_tracker(d);
    return rc;
}

int vm_dirty_collect_locked(struct vm *vm,
                            void (*fn)(void *arg,
                                       const struct vm_dirty_block *b),
                            void *arg)
{
    struct vm_dirty *d = atomic_load(&vm->dirty);
    int rc;

    if (d == NULL) return -EINVAL;
    vm_exclusive_begin_locked(vm);
    drop_blocks(vm, d);
    rc = add_blocks(vm, d, true);
    if (vm->accel != NULL && vm->accel->dirty_collect != NULL) {
        vm->accel->dirty_collect(vm);
    }
    for (unsigned i = 0; i < d->count; i++) {
        struct vm_dirty_block *b = &d->block[i];

        for (uint64_t w = 0; w < words(b); w++) {
            b->now[w] = __atomic_exchange_n(&b->bits[w], 0, __ATOMIC_SEQ_CST);
        }
    }
    vm_exclusive_end_locked(vm);
    for (unsigned i = 0; fn != NULL && i < d->count; i++) {
        fn(arg, &d->block[i]);
    }
    return rc;
}

void vm_dirty_stop_locked(struct vm *vm)
{
    struct vm_dirty *d = atomic_load(&vm->dirty);

    if (d == NULL) return;
    vm_exclusive_begin_locked(vm);
    if (vm->accel != NULL && vm->accel->dirty_stop != NULL) {
        vm->accel->dirty_stop(vm);
    }
    atomic_store(&vm->dirty, NULL);
    vm_exclusive_end_locked(vm);
    free_tracker(d);
}

bool vm_dirty_is_on(struct vm *vm)
{
    return atomic_load(&vm->dirty) != NULL;
}

struct vm_dirty *vm_dirty(struct vm *vm)
{
    return atomic_load(&vm->dirty);
}

void vm_dirty_mark(struct vm *vm, const uint8_t *host, uint64_t bytes)
{
    struct vm_dirty *d = atomic_load_explicit(&vm->dirty, memory_order_acquire);
    uint64_t off = (uint64_t)host & (VM_DIRTY_PAGE - 1);

    if (d == NULL || bytes == 0) return;
    host -= off;
    bytes += off;
    for (uint64_t at = 0; at < bytes; at += VM_DIRTY_PAGE) {
        vm_dirty_mark_page(d, host + at);
    }
}
