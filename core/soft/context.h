/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_SOFT_CONTEXT_H
#define ORRERY_SOFT_CONTEXT_H

#include <stdbool.h>
#include <stdint.h>

/*
 * What was known of address spaces that CR3 has left, by PCID: entries of the
 * data TLB, of the fetch TLB and of user mode's indirect-branch table.  None
 * is of a global page.  Engine's thread, or exclusive.
 */
enum {
    CONTEXTS = 8, /* Linux uses six PCIDs */
    CONTEXT_HALVES = 384,
    CONTEXT_FETCHES = 96,
    CONTEXT_TARGETS = 2048,
};

struct tlb_context {
    bool is_valid;
    uint16_t pcid;
    uint64_t stamp; /* when it was left */
    uint16_t half_count, fetch_count, target_count;
    struct {
        uint64_t key; /* linear page, space << 1, 1 for writing */
        uint64_t page;
    } half[CONTEXT_HALVES];
    struct {
        uint64_t lin; /* page, space */
        uint8_t *page;
    } fetch[CONTEXT_FETCHES];
    uint32_t mode_bits;               /* of the targets; 64-bit code alone */
    uint64_t target[CONTEXT_TARGETS]; /* slot << 48, landing pad */
};

struct engine;

/* CR3 changes from one PCID to another and nothing is invalidated. */
void context_switch(struct engine *eng, unsigned from, unsigned to);
/* Forget what is kept: of one PCID, of all. */
void context_drop(struct engine *eng, unsigned pcid);
void context_drop_all(struct engine *eng);
/* Forget that pages may be written: page, or all if it is NULL. */
void context_protect(struct engine *eng, const uint8_t *page);
/* Forget targets of branches: the code cache is emptied. */
void context_drop_targets(struct engine *eng);

#endif
