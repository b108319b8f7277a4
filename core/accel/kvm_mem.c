/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Flat view to KVM memory slots.  A slot is kept when nothing about it
 * changed, so that a PAM or BAR write costs only the slots it touches: first
 * all slots that are gone or different are deleted, then the new ones made
 * (slots may not overlap, api.rst 4.35).
 */
#include <string.h>

#include "core/accel/kvm.h"
#include "core/vm/dirty.h"

static int set_slot(struct kvm_accel *a, unsigned i, const struct kvm_slot *s)
{
    struct kvm_userspace_memory_region r = {
        .slot = i,
        .flags = s->flags,
        .guest_phys_addr = s->gpa,
        .memory_size = s->bytes,
        .userspace_addr = (uintptr_t)s->host,
    };

    return kvm_call(a->vm_fd, KVM_SET_USER_MEMORY_REGION, &r);
}

/* The slot a fragment asks for; bytes 0 if it has none (MMIO, sub-page). */
static struct kvm_slot slot_for(const struct kvm_accel *a,
                                const struct mem_frag *f)
{
    uint64_t start = (f->start + 4095) & ~4095ull;
    uint64_t end = (f->start + f->size) & ~4095ull;
    struct kvm_slot s = { 0 };

    if (f->host == NULL || start >= end) return s;
    /* Without read-only slots a ROM is served by MMIO exits: slow, right. */
    if (!f->can_write && !a->has_readonly_mem) return s;
    s.gpa = start;
    s.bytes = end - start;
    s.host = f->host + (start - f->start);
    if (!f->can_write) {
        s.flags = KVM_MEM_READONLY;
    } else if (a->is_logging) {
        s.flags = KVM_MEM_LOG_DIRTY_PAGES;
    }
    return s;
}

static bool same(const struct kvm_slot *x, const struct kvm_slot *y)
{
    return x->gpa == y->gpa && x->bytes == y->bytes && x->host == y->host &&
           x->flags == y->flags;
}

static bool is_wanted(const struct kvm_accel *a, const struct mem_frag *f,
                      size_t count, const struct kvm_slot *s)
{
    for (size_t i = 0; i < count; i++) {
        struct kvm_slot w = slot_for(a, &f[i]);

        if (w.bytes != 0 && same(&w, s)) return true;
    }
    return false;
}

static bool is_there(const struct kvm_accel *a, const struct kvm_slot *s)
{
    for (unsigned i = 0; i < a->slot_max; i++) {
        if (a->slot[i].host != NULL && same(&a->slot[i], s)) return true;
    }
    return false;
}

static void add_slot(struct kvm_accel *a, const struct kvm_slot *s)
{
    for (unsigned i = 0; i < a->slot_max; i++) {
        int rc;

        if (a->slot[i].host != NULL) continue;
        rc = set_slot(a, i, s);
        if (rc < 0) {
            vm_internal_error(a->vm, "KVM refuses memory 0x%llx+0x%llx: %s",
                              (unsigned long long)s->gpa,
                              (unsigned long long)s->bytes, strerror(-rc));
            return;
        }
        a->slot[i] = *s;
        return;
    }
    vm_internal_error(a->vm, "KVM has no memory slot left");
}

void kvm_memory_changed(void *arg)
{
    struct kvm_accel *a = arg;
    size_t count;
    const struct mem_frag *f = mem_frags_locked(a->vm, &count);

    for (unsigned i = 0; i < a->slot_max; i++) {
        struct kvm_slot *s = &a->slot[i];

        if (s->host == NULL || is_wanted(a, f, count, s)) continue;
        /* What was found in it is lost, and CPUs may write until it is gone. */
        if (s->flags & KVM_MEM_LOG_DIRTY_PAGES) {
            vm_dirty_mark(a->vm, s->host, s->bytes);
        }
        s->bytes = 0;
        set_slot(a, i, s);
        *s = (struct kvm_slot){ 0 };
    }
    for (size_t i = 0; i < count; i++) {
        struct kvm_slot s = slot_for(a, &f[i]);

        if (s.bytes != 0 && !is_there(a, &s)) add_slot(a, &s);
    }
}

int kvm_slots_set_logging(struct kvm_accel *a)
{
    for (unsigned i = 0; i < a->slot_max; i++) {
        struct kvm_slot *s = &a->slot[i], was = *s;
        int rc;

        if (s->host == NULL || (s->flags & KVM_MEM_READONLY)) continue;
        s->flags = a->is_logging ? KVM_MEM_LOG_DIRTY_PAGES : 0;
        if (s->flags == was.flags) continue;
        rc = set_slot(a, i, s);
        if (rc < 0) {
            *s = was;
            return rc;
        }
    }
    return 0;
}
