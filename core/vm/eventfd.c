/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/vm/eventfd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/loop/loop.h"
#include "core/vm/vm_private.h"

/* ---- doorbells ---- */

enum { IOEVENTS_MAX = 4096 };

static bool is_width(const struct vm_ioevent *ev)
{
    switch (ev->bytes) {
    case 0: return !ev->has_match;
    case 1:
    case 2:
    case 4: return true;
    case 8: return !ev->is_port;
    default: return false;
    }
}

static bool is_same_place(const struct vm_ioevent *a,
                          const struct vm_ioevent *b)
{
    return a->is_port == b->is_port && a->addr == b->addr;
}

/* Would some write signal both? */
static bool collides(const struct vm_ioevent *a, const struct vm_ioevent *b)
{
    if (!is_same_place(a, b)) return false;
    if (a->bytes != 0 && b->bytes != 0 && a->bytes != b->bytes) return false;
    return !a->has_match || !b->has_match || a->match == b->match;
}

int vm_ioevent_add_locked(struct vm *vm, const struct vm_ioevent *ev,
                          struct err *e)
{
    struct vm_ioevent *p;

    if (!is_width(ev) || (ev->is_port && ev->addr > 0xffff)) {
        return err_set(e, -EINVAL, "no eventfd for %u bytes at 0x%llx",
                       ev->bytes, (unsigned long long)ev->addr);
    }
    for (unsigned i = 0; i < vm->ioevent_count; i++) {
        if (!collides(&vm->ioevent[i], ev)) continue;
        return err_set(e, -EEXIST, "0x%llx has an eventfd already",
                       (unsigned long long)ev->addr);
    }
    p = vm->ioevent_count < IOEVENTS_MAX
            ? realloc(vm->ioevent, (vm->ioevent_count + 1) * sizeof(*p))
            : NULL;
    if (p == NULL) return err_set(e, -ENOMEM, "too many eventfds");
    vm->ioevent = p;
    p[vm->ioevent_count++] = *ev;
    /* Refused (no room in the kernel): its exits come to the dispatch. */
    if (vm->accel != NULL && vm->accel->ioevent != NULL) {
        vm->accel->ioevent(vm, ev, true);
    }
    return 0;
}

int vm_ioevent_del_locked(struct vm *vm, const struct vm_ioevent *ev)
{
    for (unsigned i = 0; i < vm->ioevent_count; i++) {
        struct vm_ioevent *p = &vm->ioevent[i];

        if (!is_same_place(p, ev) || p->bytes != ev->bytes ||
            p->has_match != ev->has_match || p->match != ev->match ||
            p->fd != ev->fd) {
            continue;
        }
        if (vm->accel != NULL && vm->accel->ioevent != NULL) {
            vm->accel->ioevent(vm, p, false);
        }
        memmove(p, p + 1, (--vm->ioevent_count - i) * sizeof(*p));
        return 0;
    }
    return -ENOENT;
}

bool vm_ioevent_hit_locked(struct vm *vm, bool is_port, uint64_t addr,
                           unsigned bytes, uint64_t v)
{
    static const uint64_t one = 1;

    if (bytes < 8) v &= (1ull << 8 * bytes) - 1;
    for (unsigned i = 0; i < vm->ioevent_count; i++) {
        const struct vm_ioevent *p = &vm->ioevent[i];

        if (p->is_port != is_port || p->addr != addr) continue;
        if (p->bytes != 0 && p->bytes != bytes) continue;
        if (p->has_match && p->match != v) continue;
        /* A full counter is signalled as it is. */
        if (write(p->fd, &one, sizeof(one)) < 0) return true;
        return true;
    }
    return false;
}

/* ---- interrupts ---- */

/*
 * Additions and removals may come from a vCPU's thread, but the loop's watches
 * belong to its own: both are posted, in order, and the struct is freed by the
 * last of them.
 */
struct vm_irqfd {
    struct vm *vm;
    struct loop *loop;
    unsigned slot; /* in vm->irqfd[] */
    int fd;        /* our duplicate */
    struct vm_irq_target to;
    bool is_in_kernel;
    bool is_watched; /* loop thread's */
    _Atomic bool is_dead;
};

static void on_signalled(void *arg, unsigned ready)
{
    struct vm_irqfd *f = arg;
    uint64_t count;

    (void)ready;
    if (atomic_load(&f->is_dead)) return;
    if (read(f->fd, &count, sizeof(count)) != sizeof(count)) return;
    vm_lock(f->vm);
    if (!atomic_load(&f->is_dead)) {
        if (f->to.is_msi) {
            intr_msi_locked(f->vm, f->to.msi_addr, f->to.msi_data);
        } else {
            irq_set(&f->to.line, true);
        }
    }
    vm_unlock(f->vm);
}

static void watch_it(void *arg)
{
    struct vm_irqfd *f = arg;
    struct err e = ERR_INIT;

    if (atomic_load(&f->is_dead)) return;
    f->is_watched =
        loop_add_fd(f->loop, f->fd, LOOP_READ, on_signalled, f, &e) == 0;
}

static void free_it(void *arg)
{
    struct vm_irqfd *f = arg;

    if (f->is_watched) loop_del_fd(f->loop, f->fd);
    close(f->fd);
    free(f);
}

/* In the kernel if it will have it; true if so. */
static bool give_to_kernel(struct vm_irqfd *f)
{
    const struct vm_accel_ops *a = f->vm->accel;

    return f->to.is_msi && a != NULL && a->irqfd != NULL &&
           a->irqfd(f->vm, f->slot, f->fd, &f->to) == 0;
}

int vm_irqfd_add_locked(struct vm *vm, int fd, const struct vm_irq_target *to,
                        struct vm_irqfd **out, struct err *e)
{
    struct vm_irqfd *f;
    unsigned slot = 0;

    while (slot < VM_IRQFD_MAX && vm->irqfd[slot] != NULL)
        slot++;
    if (slot == VM_IRQFD_MAX) {
        return err_set(e, -ENOSPC, "more than %d interrupt eventfds",
                       VM_IRQFD_MAX);
    }
    f = calloc(1, sizeof(*f));
    if (f == NULL) return err_set(e, -ENOMEM, "out of memory");
    f->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (f->fd < 0) {
        int rc = -errno;

        free(f);
        return err_set(e, rc, "eventfd: %s", strerror(-rc));
    }
    fcntl(f->fd, F_SETFL, fcntl(f->fd, F_GETFL) | O_NONBLOCK);
    f->vm = vm;
    f->loop = vm->loop;
    f->slot = slot;
    f->to = *to;
    vm->irqfd[slot] = f;
    f->is_in_kernel = give_to_kernel(f);
    if (!f->is_in_kernel) loop_post(f->loop, watch_it, f);
    *out = f;
    return 0;
}

void vm_irqfd_retarget_locked(struct vm_irqfd *f,
                              const struct vm_irq_target *to)
{
    const struct vm_accel_ops *a = f->vm->accel;
    bool was_in_kernel = f->is_in_kernel;

    f->to = *to;
    if (!was_in_kernel) return;
    if (give_to_kernel(f)) return;
    a->irqfd(f->vm, f->slot, f->fd, NULL);
    f->is_in_kernel = false;
    loop_post(f->loop, watch_it, f);
}

void vm_irqfd_del_locked(struct vm_irqfd *f)
{
    atomic_store(&f->is_dead, true);
    f->vm->irqfd[f->slot] = NULL;
    if (f->is_in_kernel) f->vm->accel->irqfd(f->vm, f->slot, f->fd, NULL);
    loop_post(f->loop, free_it, f);
}
