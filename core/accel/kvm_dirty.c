/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Written pages as the kernel knows them.  Where it offers dirty rings
 * (api.rst 8.29) each vCPU's thread finds its writes in a ring of its own that
 * costs nothing per page of the machine; the kernel then has no bitmaps.
 * Otherwise a bitmap per slot (4.8), which with manual protection (7.18) is
 * made clean in a second call, after it was read.
 *
 * Rings are emptied by whoever holds the VM lock: collect, or a vCPU whose
 * ring ran full (KVM_EXIT_DIRTY_RING_FULL).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "core/accel/kvm.h"
#include "core/vm/dirty.h"

enum { CLEAR_PAGES = 1 << 18 };

/* Before the first vCPU. */
void kvm_dirty_init(struct kvm_accel *a, unsigned ring_max, bool is_acq_rel,
                    bool has_manual)
{
    struct kvm_enable_cap ring = {
        .cap = is_acq_rel ? KVM_CAP_DIRTY_LOG_RING_ACQ_REL
                          : KVM_CAP_DIRTY_LOG_RING,
        .args = { a->ring_entries * sizeof(struct kvm_dirty_gfn) },
    };
    struct kvm_enable_cap manual = {
        .cap = KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2,
        .args = { KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE },
    };

    if (ring.args[0] != 0 && ring_max >= ring.args[0] &&
        kvm_call(a->vm_fd, KVM_ENABLE_CAP, &ring) >= 0) {
        return;
    }
    a->ring_entries = 0;
    a->is_manual_protect =
        has_manual && kvm_call(a->vm_fd, KVM_ENABLE_CAP, &manual) >= 0;
}

int kvm_dirty_open_vcpu(struct kvm_vcpu *k, struct err *e)
{
    size_t bytes = k->a->ring_entries * sizeof(*k->ring);
    void *p;

    if (bytes == 0) return 0;
    p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, k->fd,
             KVM_DIRTY_LOG_PAGE_OFFSET * 4096);
    if (p == MAP_FAILED) {
        return err_set(e, -errno, "KVM: cannot map the dirty ring of CPU %u",
                       k->v->index);
    }
    k->ring = p;
    return 0;
}

void kvm_dirty_close_vcpu(struct kvm_vcpu *k)
{
    if (k->ring == NULL) return;
    munmap(k->ring, k->a->ring_entries * sizeof(*k->ring));
    k->ring = NULL;
}

/* ---- rings ---- */

enum { EMPTY_FULLS_MAX = 100 };

static void mark_gfn(struct kvm_accel *a, const struct kvm_dirty_gfn *g)
{
    unsigned slot = g->slot & 0xffff; /* the upper half: address space, SMM */
    struct vm_dirty *d = vm_dirty(a->vm);
    const struct kvm_slot *s = slot < a->slot_max ? &a->slot[slot] : NULL;

    if (d == NULL || s == NULL || s->host == NULL) return;
    if (g->offset >= s->bytes / 4096) return;
    vm_dirty_mark_page(d, s->host + g->offset * 4096);
}

static unsigned harvest(struct kvm_vcpu *k)
{
    unsigned n = 0;

    while (n < k->a->ring_entries) {
        struct kvm_dirty_gfn *g =
            &k->ring[k->ring_at & (k->a->ring_entries - 1)];
        uint32_t flags = __atomic_load_n(&g->flags, __ATOMIC_ACQUIRE);

        if ((flags & (KVM_DIRTY_GFN_F_DIRTY | KVM_DIRTY_GFN_F_RESET)) !=
            KVM_DIRTY_GFN_F_DIRTY) {
            break;
        }
        mark_gfn(k->a, g);
        __atomic_store_n(&g->flags, KVM_DIRTY_GFN_F_RESET, __ATOMIC_RELEASE);
        k->ring_at++;
        n++;
    }
    return n;
}

static unsigned harvest_rings(struct kvm_accel *a)
{
    unsigned n = 0;

    for (unsigned i = 0; i < vm_vcpu_count(a->vm); i++) {
        struct kvm_vcpu *k = vm_vcpu(a->vm, i)->engine;

        if (k->ring != NULL) n += harvest(k);
    }
    if (n > 0) ioctl(a->vm_fd, KVM_RESET_DIRTY_RINGS, 0);
    return n;
}

/* Full again and again although there is nothing in it: the kernel wrote past
 * its end, pages are lost, and the CPU would never run again. */
bool kvm_dirty_ring_full(struct kvm_vcpu *k)
{
    unsigned n;

    vm_lock(k->a->vm);
    n = harvest_rings(k->a);
    vm_unlock(k->a->vm);
    k->empty_fulls = n > 0 ? 0 : k->empty_fulls + 1;
    if (k->empty_fulls < EMPTY_FULLS_MAX) return true;
    k->empty_fulls = 0;
    vm_internal_error(k->a->vm,
                      "KVM: the ring of written pages of CPU %u has overflowed;"
                      " -accel kvm,dirty-ring-size=0 does without",
                      k->v->index);
    return false;
}

/* ---- bitmaps ---- */

static void clear_slot(struct kvm_accel *a, unsigned i, uint64_t *bitmap)
{
    uint64_t pages = a->slot[i].bytes / 4096;

    for (uint64_t at = 0; at < pages; at += CLEAR_PAGES) {
        uint64_t n = pages - at < CLEAR_PAGES ? pages - at : CLEAR_PAGES;
        struct kvm_clear_dirty_log c = {
            .slot = i,
            .first_page = at,
            .num_pages = (uint32_t)n,
            .dirty_bitmap = bitmap + at / 64,
        };

        kvm_call(a->vm_fd, KVM_CLEAR_DIRTY_LOG, &c);
    }
}

static void mark_slot(struct kvm_accel *a, unsigned i, const uint64_t *bitmap)
{
    const struct kvm_slot *s = &a->slot[i];
    struct vm_dirty *d = vm_dirty(a->vm);

    for (uint64_t w = 0; d != NULL && w < (s->bytes / 4096 + 63) / 64; w++) {
        uint64_t bits = bitmap[w];

        for (; bits != 0; bits &= bits - 1) {
            uint64_t page = w * 64 + (unsigned)__builtin_ctzll(bits);

            vm_dirty_mark_page(d, s->host + page * 4096);
        }
    }
}

/* The kernel's view of one slot into the tracker. */
static void read_slot(struct kvm_accel *a, unsigned i)
{
    const struct kvm_slot *s = &a->slot[i];
    uint64_t *bitmap = calloc((s->bytes / 4096 + 63) / 64, sizeof(*bitmap));
    struct kvm_dirty_log log = { .slot = i, .dirty_bitmap = bitmap };

    if (bitmap == NULL || kvm_call(a->vm_fd, KVM_GET_DIRTY_LOG, &log) < 0) {
        /* Better all than none. */
        vm_dirty_mark(a->vm, s->host, s->bytes);
    } else {
        mark_slot(a, i, bitmap);
        if (a->is_manual_protect) clear_slot(a, i, bitmap);
    }
    free(bitmap);
}

/* ---- the three operations ---- */

int kvm_dirty_start(struct vm *vm, struct err *e)
{
    struct kvm_accel *a = kvm_of(vm);
    int rc;

    a->is_logging = true;
    rc = kvm_slots_set_logging(a);
    if (rc == 0) return 0;
    kvm_dirty_stop(vm);
    return err_set(e, rc, "KVM cannot log written pages: %s", strerror(-rc));
}

void kvm_dirty_collect(struct vm *vm)
{
    struct kvm_accel *a = kvm_of(vm);

    if (a->ring_entries != 0) {
        harvest_rings(a);
        return;
    }
    for (unsigned i = 0; i < a->slot_max; i++) {
        if (a->slot[i].flags & KVM_MEM_LOG_DIRTY_PAGES) read_slot(a, i);
    }
}

void kvm_dirty_stop(struct vm *vm)
{
    struct kvm_accel *a = kvm_of(vm);

    a->is_logging = false;
    kvm_slots_set_logging(a);
    /* What is left in the rings must not be found by the next start. */
    if (a->ring_entries != 0) harvest_rings(a);
}
