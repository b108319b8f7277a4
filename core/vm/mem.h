/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_VM_MEM_H
#define ORRERY_VM_MEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/err.h"

/*
 * Guest-physical memory: a tree of regions (RAM, ROM, MMIO, alias, container)
 * with priorities, compiled to a flat view of non-overlapping fragments.
 * Devices change the tree with the VM lock held; the flat view is replaced in
 * an exclusive section, so a vCPU inside vcpu_enter/vcpu_leave may keep using
 * what mem_find() gave it.
 */
struct vm;
typedef uint64_t gpa_t;

enum mem_kind {
    MEM_CONTAINER, /* only holds others */
    MEM_RAM,
    MEM_ROM, /* reads are memory, writes are dropped */
    MEM_MMIO,
    MEM_ALIAS, /* window onto part of another region */
};

struct mem_ops {
    /* offset is relative to the region; bytes is 1, 2, 4 or 8 and within
     * min..max; value little-endian in the low bytes. */
    uint64_t (*read)(void *arg, uint64_t offset, unsigned bytes);
    void (*write)(void *arg, uint64_t offset, unsigned bytes, uint64_t v);
    unsigned min_bytes, max_bytes; /* 0 means 1 and 4: wider accesses split,
                                      narrower ones widened by reading */
};

struct mem_region {
    const char *name;
    enum mem_kind kind;
    uint64_t size;   /* bytes */
    uint64_t offset; /* in the parent */
    int priority;    /* higher wins */
    bool is_enabled;
    bool is_readonly; /* RAM or alias of RAM that drops writes (PAM) */
    uint8_t *host;    /* RAM, ROM */
    const struct mem_ops *ops;
    void *arg;
    struct mem_region *target; /* alias */
    uint64_t target_offset;
    struct mem_region *parent, *first_child, *next_sibling;
    bool owns_host;
};

/* The regions of a machine: vm_mem_root(vm) is 2^52 bytes of nothing. */
struct mem_region *mem_root(struct vm *vm);

/*
 * A CPU in system management mode sees the regions added here with a priority
 * above 0 in front of all others, and all 64 address lines whatever the A20
 * gate says.  Devices never see any of it.
 */
struct mem_region *mem_smm_root(struct vm *vm);

enum mem_view { MEM_VIEW_NORMAL, MEM_VIEW_SMM };

/* Initialise a region embedded in a device; it is enabled and has no parent.
 * name must stay valid. */
void mem_init_container(struct mem_region *r, const char *name, uint64_t bytes);
void mem_init_mmio(struct mem_region *r, const char *name, uint64_t bytes,
                   const struct mem_ops *ops, void *arg);
void mem_init_alias(struct mem_region *r, const char *name,
                    struct mem_region *target, uint64_t target_offset,
                    uint64_t bytes);
/* Anonymous private memory, huge pages advised.  -ENOMEM. */
int mem_init_ram(struct mem_region *r, const char *name, uint64_t bytes,
                 struct err *e);
int mem_init_rom(struct mem_region *r, const char *name, uint64_t bytes,
                 struct err *e);
void mem_free(struct mem_region *r); /* unparented; frees host memory */

/* Changes.  Several changes between begin and commit cost one rebuild; each
 * of the others does begin/commit itself if none is open.  VM lock held. */
void mem_begin_locked(struct vm *vm);
void mem_commit_locked(struct vm *vm);
void mem_add_locked(struct vm *vm, struct mem_region *parent, uint64_t offset,
                    struct mem_region *r, int priority);
void mem_del_locked(struct vm *vm, struct mem_region *r);
void mem_set_enabled_locked(struct vm *vm, struct mem_region *r, bool on);
void mem_set_readonly_locked(struct vm *vm, struct mem_region *r, bool on);
void mem_set_offset_locked(struct vm *vm, struct mem_region *r,
                           uint64_t offset);

/* Flat view */
struct mem_frag {
    gpa_t start;
    uint64_t size;             /* bytes */
    uint8_t *host;             /* of start; NULL: MMIO */
    bool can_write;            /* host memory may be written */
    const struct mem_ops *ops; /* MMIO */
    void *arg;
    uint64_t region_offset; /* of start, for ops */
    struct mem_region *region;
};

/* Fragment that holds gpa, NULL for a hole.  VM lock held, or inside
 * vcpu_enter/vcpu_leave.  A20 is applied here. */
const struct mem_frag *mem_find(struct vm *vm, gpa_t gpa);
const struct mem_frag *mem_find_in(struct vm *vm, enum mem_view view,
                                   gpa_t gpa);

/* All fragments in order.  VM lock held. */
const struct mem_frag *mem_frags_locked(struct vm *vm, size_t *count);

/* A20 gate: when off, address bit 20 reads as zero.  VM lock held. */
void mem_set_a20_locked(struct vm *vm, bool on);
bool mem_a20(struct vm *vm);
/* The bits of an address that count in a view. */
uint64_t mem_address_mask(struct vm *vm, enum mem_view view);

/*
 * Access as a CPU makes it: RAM, ROM and MMIO, holes read ones, any length.
 * VM lock held.
 */
void mem_read_locked(struct vm *vm, gpa_t gpa, void *buf, size_t bytes);
void mem_write_locked(struct vm *vm, gpa_t gpa, const void *buf, size_t bytes);
void mem_read_in_locked(struct vm *vm, enum mem_view view, gpa_t gpa, void *buf,
                        size_t bytes);
void mem_write_in_locked(struct vm *vm, enum mem_view view, gpa_t gpa,
                         const void *buf, size_t bytes);

/* Told about every new flat view, in the exclusive section (accelerator), and
 * about RAM written behind the CPU's back (DMA, monitor, loaders), so that
 * translated code can be dropped. */
struct mem_listener {
    void (*changed)(void *arg);
    void (*written)(void *arg, gpa_t gpa, uint64_t bytes);
    void *arg;
    /* As written(), of what only the view of SMM may have. */
    void (*host_written)(void *arg, const uint8_t *host, uint64_t bytes);
};
/* Main memory was replaced as a whole (loadvm); machine stopped. */
void mem_replaced_locked(struct vm *vm);
void mem_set_listener_locked(struct vm *vm, const struct mem_listener *l);

#endif
