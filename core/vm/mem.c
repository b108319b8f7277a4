/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Region tree and accesses.  The tree is compiled to a flat view by
 * mem_flat.c; accesses look fragments up by binary search.
 */
#include "core/vm/mem.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "core/base/trace.h"
#include "core/vm/mem_flat.h"
#include "core/vm/vm_private.h"

struct mem_region *mem_root(struct vm *vm)
{
    return &vm->root;
}

struct mem_region *mem_smm_root(struct vm *vm)
{
    return &vm->smm_root;
}

struct mem_region *vm_ram(struct vm *vm)
{
    return &vm->ram;
}

/* ---- making regions ---- */

void mem_init_container(struct mem_region *r, const char *name, uint64_t bytes)
{
    *r = (struct mem_region){
        .name = name, .kind = MEM_CONTAINER, .size = bytes, .is_enabled = true
    };
}

void mem_init_mmio(struct mem_region *r, const char *name, uint64_t bytes,
                   const struct mem_ops *ops, void *arg)
{
    *r = (struct mem_region){ .name = name,
                              .kind = MEM_MMIO,
                              .size = bytes,
                              .is_enabled = true,
                              .ops = ops,
                              .arg = arg };
}

void mem_init_alias(struct mem_region *r, const char *name,
                    struct mem_region *target, uint64_t target_offset,
                    uint64_t bytes)
{
    *r = (struct mem_region){ .name = name,
                              .kind = MEM_ALIAS,
                              .size = bytes,
                              .is_enabled = true,
                              .target = target,
                              .target_offset = target_offset };
}

enum { HUGE_MIN = 32 << 20 };

static int init_host(struct mem_region *r, const char *name, enum mem_kind kind,
                     uint64_t bytes, struct err *e)
{
    uint64_t host_bytes = (bytes + 4095) & ~4095ull;
    void *p = MAP_FAILED;

    if (host_bytes >= bytes && host_bytes != 0) {
        p = mmap(NULL, host_bytes, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    }
    if (p == MAP_FAILED) {
        return err_set(e, -ENOMEM, "%s: cannot allocate %llu bytes", name,
                       (unsigned long long)bytes);
    }
    /* A device uses little of its memory. */
    if (host_bytes >= HUGE_MIN) madvise(p, host_bytes, MADV_HUGEPAGE);
    *r = (struct mem_region){ .name = name,
                              .kind = kind,
                              .size = bytes,
                              .is_enabled = true,
                              .host = p,
                              .owns_host = true };
    return 0;
}

int mem_init_ram(struct mem_region *r, const char *name, uint64_t bytes,
                 struct err *e)
{
    return init_host(r, name, MEM_RAM, bytes, e);
}

int mem_init_rom(struct mem_region *r, const char *name, uint64_t bytes,
                 struct err *e)
{
    return init_host(r, name, MEM_ROM, bytes, e);
}

void mem_free(struct mem_region *r)
{
    if (r->owns_host && r->host != NULL) {
        munmap(r->host, (r->size + 4095) & ~4095ull);
    }
    r->host = NULL;
    r->owns_host = false;
}

int vm_mem_init(struct vm *vm, struct err *e)
{
    struct flat_view *view = calloc(1, sizeof(*view));

    if (view == NULL) return err_set(e, -ENOMEM, "out of memory");
    atomic_store(&vm->view, view);
    atomic_store(&vm->a20_mask, UINT64_MAX);
    mem_init_container(&vm->root, "system", 1ull << 52);
    mem_init_container(&vm->smm_root, "smm", 1ull << 52);
    mem_init_alias(&vm->smm_rest, "smm-rest", &vm->root, 0, 1ull << 52);
    vm->smm_rest.parent = &vm->smm_root;
    vm->smm_root.first_child = &vm->smm_rest;
    return mem_init_ram(&vm->ram, "pc.ram", vm->cfg->ram_bytes, e);
}

void vm_mem_exit(struct vm *vm)
{
    flat_free(atomic_load(&vm->view));
    flat_free(atomic_load(&vm->smm_view));
    atomic_store(&vm->view, NULL);
    atomic_store(&vm->smm_view, NULL);
    mem_free(&vm->ram);
}

/* ---- changing the tree ---- */

void mem_begin_locked(struct vm *vm)
{
    vm->mem_depth++;
}

static bool has_smm_regions(const struct vm *vm)
{
    for (const struct mem_region *r = vm->smm_root.first_child; r != NULL;
         r = r->next_sibling) {
        if (r != &vm->smm_rest && r->is_enabled) return true;
    }
    return false;
}

void mem_commit_locked(struct vm *vm)
{
    struct flat_view *view, *smm = NULL, *old, *old_smm;

    if (--vm->mem_depth > 0 || !vm->is_mem_dirty) return;
    vm->is_mem_dirty = false;
    view = flat_build(&vm->root);
    if (view != NULL && has_smm_regions(vm)) smm = flat_build(&vm->smm_root);
    if (view == NULL || (smm == NULL && has_smm_regions(vm))) {
        flat_free(view);
        vm_internal_error(vm, "out of memory for the memory map");
        return;
    }
    vm_exclusive_begin_locked(vm);
    old = atomic_exchange(&vm->view, view);
    old_smm = atomic_exchange(&vm->smm_view, smm);
    if (vm->mem_listener.changed != NULL) {
        vm->mem_listener.changed(vm->mem_listener.arg);
    }
    vm_exclusive_end_locked(vm);
    flat_free(old);
    flat_free(old_smm);
}

static void touch(struct vm *vm)
{
    vm->is_mem_dirty = true;
}

void mem_add_locked(struct vm *vm, struct mem_region *parent, uint64_t offset,
                    struct mem_region *r, int priority)
{
    struct mem_region **p = &parent->first_child;

    mem_begin_locked(vm);
    r->parent = parent;
    r->offset = offset;
    r->priority = priority;
    /* Sorted by falling priority, later ones first among equals: the order
     * in which they get addresses. */
    while (*p != NULL && (*p)->priority > priority)
        p = &(*p)->next_sibling;
    r->next_sibling = *p;
    *p = r;
    touch(vm);
    mem_commit_locked(vm);
}

void mem_del_locked(struct vm *vm, struct mem_region *r)
{
    struct mem_region **p;

    if (r->parent == NULL) return;
    mem_begin_locked(vm);
    p = &r->parent->first_child;
    while (*p != NULL && *p != r)
        p = &(*p)->next_sibling;
    if (*p != NULL) *p = r->next_sibling;
    r->parent = NULL;
    r->next_sibling = NULL;
    touch(vm);
    mem_commit_locked(vm);
}

void mem_set_enabled_locked(struct vm *vm, struct mem_region *r, bool on)
{
    if (r->is_enabled == on) return;
    mem_begin_locked(vm);
    r->is_enabled = on;
    touch(vm);
    mem_commit_locked(vm);
}

void mem_set_readonly_locked(struct vm *vm, struct mem_region *r, bool on)
{
    if (r->is_readonly == on) return;
    mem_begin_locked(vm);
    r->is_readonly = on;
    touch(vm);
    mem_commit_locked(vm);
}

void mem_set_offset_locked(struct vm *vm, struct mem_region *r, uint64_t offset)
{
    if (r->offset == offset) return;
    mem_begin_locked(vm);
    r->offset = offset;
    touch(vm);
    mem_commit_locked(vm);
}

void mem_set_a20_locked(struct vm *vm, bool on)
{
    uint64_t mask = on ? UINT64_MAX : ~(1ull << 20);

    if (atomic_load(&vm->a20_mask) == mask) return;
    vm_exclusive_begin_locked(vm);
    atomic_store(&vm->a20_mask, mask);
    if (vm->mem_listener.changed != NULL) {
        vm->mem_listener.changed(vm->mem_listener.arg);
    }
    vm_exclusive_end_locked(vm);
}

bool mem_a20(struct vm *vm)
{
    return atomic_load(&vm->a20_mask) == UINT64_MAX;
}

void mem_replaced_locked(struct vm *vm)
{
    const struct mem_listener *l = &vm->mem_listener;
    const struct flat_view *smm = atomic_load(&vm->smm_view);
    size_t count;
    const struct mem_frag *f = mem_frags_locked(vm, &count);

    for (size_t i = 0; i < count; i++) {
        if (f[i].host == NULL) continue;
        vm_dirty_mark(vm, f[i].host, f[i].size);
        if (l->written != NULL) l->written(l->arg, f[i].start, f[i].size);
    }
    for (size_t i = 0; smm != NULL && i < smm->count; i++) {
        f = &smm->frag[i];
        if (f->host == NULL) continue;
        vm_dirty_mark(vm, f->host, f->size);
        if (l->host_written != NULL) {
            l->host_written(l->arg, f->host, f->size);
        }
    }
}

void mem_set_listener_locked(struct vm *vm, const struct mem_listener *l)
{
    vm->mem_listener = *l;
}

/* ---- looking up ---- */

uint64_t mem_address_mask(struct vm *vm, enum mem_view view)
{
    return view == MEM_VIEW_SMM ? UINT64_MAX : atomic_load(&vm->a20_mask);
}

const struct mem_frag *mem_find_in(struct vm *vm, enum mem_view in, gpa_t gpa)
{
    const struct flat_view *view =
        in == MEM_VIEW_SMM ? atomic_load(&vm->smm_view) : NULL;
    size_t lo = 0, hi;

    if (view == NULL) view = atomic_load(&vm->view);
    hi = view->count;
    gpa &= mem_address_mask(vm, in);
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        const struct mem_frag *f = &view->frag[mid];

        if (gpa < f->start) {
            hi = mid;
        } else if (gpa - f->start >= f->size) {
            lo = mid + 1;
        } else {
            return f;
        }
    }
    return NULL;
}

const struct mem_frag *mem_find(struct vm *vm, gpa_t gpa)
{
    return mem_find_in(vm, MEM_VIEW_NORMAL, gpa);
}

const struct mem_frag *mem_frags_locked(struct vm *vm, size_t *count)
{
    const struct flat_view *view = atomic_load(&vm->view);

    *count = view->count;
    return view->frag;
}

/* ---- accesses ---- */

static uint64_t mmio_read(const struct mem_frag *f, uint64_t at, unsigned bytes)
{
    unsigned min = f->ops->min_bytes != 0 ? f->ops->min_bytes : 1;
    unsigned max = f->ops->max_bytes != 0 ? f->ops->max_bytes : 4;
    uint64_t v = 0;

    if (f->ops->read == NULL) return UINT64_MAX;
    if (bytes < min) {
        unsigned shift = (unsigned)(at & (min - 1)) * 8;

        return f->ops->read(f->arg, at & ~(uint64_t)(min - 1), min) >> shift;
    }
    for (unsigned done = 0; done < bytes;) {
        unsigned n = bytes - done < max ? bytes - done : max;
        uint64_t part = f->ops->read(f->arg, at + done, n);

        if (n < 8) part &= (1ull << 8 * n) - 1;
        v |= part << 8 * done;
        done += n;
    }
    return v;
}

static void mmio_write(const struct mem_frag *f, uint64_t at, unsigned bytes,
                       uint64_t v)
{
    unsigned min = f->ops->min_bytes != 0 ? f->ops->min_bytes : 1;
    unsigned max = f->ops->max_bytes != 0 ? f->ops->max_bytes : 4;

    if (f->ops->write == NULL) return;
    if (bytes < min) {
        uint64_t base = at & ~(uint64_t)(min - 1);
        unsigned shift = (unsigned)(at - base) * 8;
        uint64_t mask = ((1ull << 8 * bytes) - 1) << shift;
        uint64_t old = f->ops->read ? f->ops->read(f->arg, base, min) : 0;

        f->ops->write(f->arg, base, min, (old & ~mask) | (v << shift & mask));
        return;
    }
    for (unsigned done = 0; done < bytes;) {
        unsigned n = bytes - done < max ? bytes - done : max;
        uint64_t part = v >> 8 * done;

        if (n < 8) part &= (1ull << 8 * n) - 1;
        f->ops->write(f->arg, at + done, n, part);
        done += n;
    }
}

/* Octets of the access that lie in one fragment (or one hole: byte-wise) and,
 * for MMIO, form one aligned power-of-two access. */
static size_t chunk(const struct mem_frag *f, gpa_t gpa, size_t bytes)
{
    uint64_t room;
    size_t n;

    if (f == NULL) return 1;
    room = f->size - (gpa - f->start);
    if (bytes > room) bytes = room;
    if (f->host != NULL) return bytes;
    for (n = 8; n > bytes || (gpa & (n - 1)) != 0;)
        n >>= 1;
    return n;
}

void mem_read_in_locked(struct vm *vm, enum mem_view view, gpa_t gpa, void *buf,
                        size_t bytes)
{
    uint8_t *to = buf;

    while (bytes > 0) {
        gpa_t at = gpa & mem_address_mask(vm, view);
        const struct mem_frag *f = mem_find_in(vm, view, gpa);
        size_t n = chunk(f, at, bytes);

        if (f == NULL) {
            *to = 0xff;
            log_guest("memory", "read at 0x%llx, where nothing is",
                      (unsigned long long)at);
        } else if (f->host != NULL) {
            memcpy(to, f->host + (at - f->start), n);
        } else {
            uint64_t v =
                mmio_read(f, f->region_offset + (at - f->start), (unsigned)n);

            memcpy(to, &v, n);
            trace(TRACE_MMIO_READ, "addr 0x%llx size %zu value 0x%llx",
                  (unsigned long long)at, n, (unsigned long long)v);
        }
        to += n;
        gpa += n;
        bytes -= n;
    }
}

void mem_read_locked(struct vm *vm, gpa_t gpa, void *buf, size_t bytes)
{
    mem_read_in_locked(vm, MEM_VIEW_NORMAL, gpa, buf, bytes);
}

/* Writes that reach memory signal nothing. */
static bool is_doorbell(struct vm *vm, enum mem_view view, gpa_t gpa,
                        const void *buf, size_t bytes)
{
    const struct mem_frag *f;
    uint64_t v = 0;

    if (vm->ioevent_count == 0 || bytes > sizeof(v)) return false;
    f = mem_find_in(vm, view, gpa);
    if (f != NULL && f->host != NULL && f->can_write) return false;
    memcpy(&v, buf, bytes);
    return vm_ioevent_hit_locked(vm, false, gpa & mem_address_mask(vm, view),
                                 (unsigned)bytes, v);
}

static void tell_written(struct vm *vm, enum mem_view view, gpa_t at,
                         const uint8_t *host, size_t bytes)
{
    const struct mem_listener *l = &vm->mem_listener;

    vm_dirty_mark(vm, host, bytes);
    if (view == MEM_VIEW_SMM) {
        if (l->host_written != NULL) l->host_written(l->arg, host, bytes);
    } else if (l->written != NULL) {
        l->written(l->arg, at, bytes);
    }
}

void mem_write_in_locked(struct vm *vm, enum mem_view view, gpa_t gpa,
                         const void *buf, size_t bytes)
{
    const uint8_t *from = buf;

    if (is_doorbell(vm, view, gpa, buf, bytes)) return;
    while (bytes > 0) {
        gpa_t at = gpa & mem_address_mask(vm, view);
        const struct mem_frag *f = mem_find_in(vm, view, gpa);
        size_t n = chunk(f, at, bytes);

        if (f != NULL && f->host != NULL && f->can_write) {
            memcpy(f->host + (at - f->start), from, n);
            tell_written(vm, view, at, f->host + (at - f->start), n);
        } else if (f != NULL && f->host == NULL) {
            uint64_t v = 0;

            memcpy(&v, from, n);
            trace(TRACE_MMIO_WRITE, "addr 0x%llx size %zu value 0x%llx",
                  (unsigned long long)at, n, (unsigned long long)v);
            mmio_write(f, f->region_offset + (at - f->start), (unsigned)n, v);
        } else if (f == NULL) {
            log_guest("memory", "write at 0x%llx, where nothing is",
                      (unsigned long long)at);
        }
        from += n;
        gpa += n;
        bytes -= n;
    }
}

void mem_write_locked(struct vm *vm, gpa_t gpa, const void *buf, size_t bytes)
{
    mem_write_in_locked(vm, MEM_VIEW_NORMAL, gpa, buf, bytes);
}
