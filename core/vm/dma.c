/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/vm/dma.h"

#include <errno.h>
#include <string.h>

#include "core/base/log.h"
#include "core/vm/dev.h"
#include "core/vm/vm_private.h"

/* Fragment of RAM (or ROM for reads) at gpa and how much of it is left. */
static const struct mem_frag *find(struct dev *d, gpa_t gpa, bool is_write)
{
    const struct mem_frag *f = mem_find(d->vm, gpa);

    if (f == NULL || f->host == NULL || (is_write && !f->can_write)) {
        log_guest(d->id, "DMA %s 0x%llx is not memory",
                  is_write ? "to" : "from", (unsigned long long)gpa);
        return NULL;
    }
    return f;
}

static size_t room(const struct mem_frag *f, gpa_t gpa, size_t bytes)
{
    uint64_t left = f->size - (gpa - f->start);

    return bytes < left ? bytes : (size_t)left;
}

int dma_read_locked(struct dev *d, gpa_t gpa, void *buf, size_t bytes)
{
    uint8_t *to = buf;

    if (gpa + bytes < gpa) return -EOVERFLOW;
    while (bytes > 0) {
        gpa_t at = gpa & atomic_load(&d->vm->a20_mask);
        const struct mem_frag *f = find(d, gpa, false);
        size_t n;

        if (f == NULL) return -EFAULT;
        n = room(f, at, bytes);
        memcpy(to, f->host + (at - f->start), n);
        to += n;
        gpa += n;
        bytes -= n;
    }
    return 0;
}

int dma_write_locked(struct dev *d, gpa_t gpa, const void *buf, size_t bytes)
{
    const struct mem_listener *l = &d->vm->mem_listener;
    const uint8_t *from = buf;

    if (gpa + bytes < gpa) return -EOVERFLOW;
    while (bytes > 0) {
        gpa_t at = gpa & atomic_load(&d->vm->a20_mask);
        const struct mem_frag *f = find(d, gpa, true);
        size_t n;

        if (f == NULL) return -EFAULT;
        n = room(f, at, bytes);
        memcpy(f->host + (at - f->start), from, n);
        vm_dirty_mark(d->vm, f->host + (at - f->start), n);
        if (l->written != NULL) l->written(l->arg, at, n);
        from += n;
        gpa += n;
        bytes -= n;
    }
    return 0;
}
