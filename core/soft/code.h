/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_SOFT_CODE_H
#define ORRERY_SOFT_CODE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/soft/engine.h"
#include "core/soft/move.h"

/*
 * Translated code of a machine: the cache it lies in, its blocks, and which
 * host pages of guest memory they were made from.
 *
 * The cache is one memfd mapped twice: executable, and writable for the
 * translator; the distance is constant.  It fills from the front with main
 * paths and in its upper part with out-of-line code, and is only ever emptied
 * as a whole, in an exclusive section.
 *
 * cache->lock guards everything except code_page.is_live, which may be read
 * at any time; it is a spin lock as it is taken with the guest's vector
 * registers live.  Nobody waits for anything else while holding it.
 */

/* One jump that was patched to lead to a block. */
struct link {
    struct link *next;
    uint8_t *at;   /* its rel32, executable address */
    uint8_t *stub; /* where it led before */
};

/* Guest memory page that holds translated code. */
struct code_page {
    struct code_page *next;  /* hash chain */
    const uint8_t *page;     /* host address */
    _Atomic bool is_live;    /* stores must be checked */
    _Atomic uint64_t lines;  /* 64-byte lines that blocks depend on */
    _Atomic uint32_t stores; /* to other lines, since blocks were dropped */
    uint8_t samples;         /* times it was found running, up to HOT_SAMPLES */
    struct block *blocks;
};

struct block {
    /* All that a search and what follows it look at, in one cache line */
    const uint8_t *start; /* host address of its first byte */
    uint64_t lin;
    struct mode_key mode;
    uint8_t *pad;    /* entry that compares R13 with rip; executable address */
    uint8_t *body;   /* entry of direct jumps */
    uint16_t polled; /* entry without the look at engine.attn: */
                     /* so many bytes behind body */
    uint16_t way_in; /* entry through the table: so many bytes */
                     /* before pad, for links from other blocks */
    bool is_dead;
    bool is_spanning; /* it has a second page */

    struct code_page *page[2]; /* second: if it goes on in the next page */
    struct block *page_next[2];
    struct block **page_at[2]; /* what leads to it in the pages' lists */
    uint64_t lines[2];         /* of each page */
    struct link *links;
    uint8_t *cold; /* what is out of line; executable address */
    uint32_t cold_bytes;
    uint32_t bytes; /* of the main path, from pad on */
    uint32_t first_map;
    uint32_t first_move; /* move.h */
    uint16_t move_count; /* 0: it cannot be moved */
    uint16_t map_count, insn_count;
    uint16_t loop_from; /* offset of code with swapped registers */
    uint16_t swaps;     /* there */
    int32_t sp_change;  /* by the indirect branch it ends with, if that may */
                        /* lead to where no code can be */
    uint8_t flags_in;   /* arithmetic flags live at entry, non-zero if any */
    uint8_t verified;   /* verify=on: times compared, up to VERIFY_TIMES */
    bool has_loop;      /* may go round without a link, */
    bool is_counted;    /* a number of times that is known before */
    bool is_super;      /* goes on behind jumps */
} __attribute__((aligned(64)));

/* Host offset of an instruction in its block, guest offset. */
struct insn_map {
    uint16_t host;
    int16_t guest; /* within the page */
};

enum code_entry {
    CODE_EXIT_LINK,
    CODE_EXIT_EMULATE,
    CODE_EXIT_ATTEND,
    CODE_EXIT_MISS,
    CODE_SLOW,
    CODE_REP_STOS,
    CODE_REP_MOVS,
    CODE_SYSCALL,
    CODE_SYSRET,
    CODE_EXIT_IRET,
    CODE_ENTRY_COUNT,
};

enum { HOT_SAMPLES = 3, NO_SITE_BITS = 4096 };

/* Where a group off a register spans two pages, from its first access on. */
struct code_split {
    uint64_t rip; /* of that */
    int16_t at;
    uint16_t count; /* times seen; SPLIT_SEEN and more: it is split */
    uint16_t changes;
};

enum { SPLITS = 1024, SPLIT_SEEN = 16, SPLIT_CHANGES = 32, SPLIT_DROPS = 8 };

/* Blocks are found by way of sets of numbers with tags: a cache line each. */
enum { SET_WAYS = 16, NUMBER_BITS = 22 };

enum { PAGE_HASH = 1 << 13, NEWEST_HASH = 1 << 17 };

struct code_cache {
    atomic_flag lock;
    uint8_t *exec, *write; /* the two views */
    size_t bytes;
    uint8_t *hot, *hot_end; /* writable addresses */
    uint8_t *cold, *cold_end;
    uint8_t *hot_start, *cold_start;
    uint8_t *hot_tidied;              /* up to here code_tidy has gone */
    uint8_t *entry[CODE_ENTRY_COUNT]; /* executable addresses */

    struct block *blocks;
    unsigned block_count, block_max;
    struct insn_map *maps;
    unsigned map_count, map_max;
    struct code_move *moves;
    unsigned move_count, move_max;
    struct link *links;
    unsigned link_count, link_max;
    struct code_page *pages;
    unsigned page_count, page_max;
    uint32_t (*sets)[SET_WAYS];   /* number + 1, above it the tag; 0: free */
    unsigned set_count;           /* a power of two */
    uint32_t newest[NEWEST_HASH]; /* number + 1 of the block made last of
                                   * some code, by its host address */
    _Atomic(struct code_page *) page_hash[PAGE_HASH];

    struct code_split split[SPLITS];
    uint16_t next_site[2][SITE_CLASSES];
    uint64_t no_site[NO_SITE_BITS / 64]; /* accesses that missed too often */
    struct soft_vm *soft;
    struct translator *translator;
    struct {
        uint64_t blocks, moved, insns, guest_bytes, host_bytes, cold_bytes,
            flushes, dropped, links, emulated_ends, ns;
    } stat;
};

/* ---- host_cache.c */

int code_open(struct soft_vm *s, struct err *e);
void code_close(struct soft_vm *s);
/* Address an empty indirect-branch slot holds. */
uint64_t code_miss_address(struct soft_vm *s);
size_t code_print_stats(struct soft_vm *s, char *text, size_t cap);
/* Give back the page tables of the writable view, now and then: what is
 * mapped twice is counted twice.  Lock held. */
void code_tidy(struct code_cache *c);
/* Translate the block at start; NULL: no room, or it cannot be done.  Lock
 * held, guest vector state saved.  next: host page behind a page crossing,
 * may be NULL. */
struct block *code_translate(struct soft_vm *s, const struct engine *eng,
                             const uint8_t *start, uint64_t lin,
                             const uint8_t *next);

/* ---- blocks.c */

void code_lock(struct code_cache *c);
void code_unlock(struct code_cache *c);

/* Does the page (host address of guest memory) hold translated code?  Any
 * thread. */
bool code_page_is_live(struct soft_vm *s, const uint8_t *page);
/* Is code of the page made as hot code?  Any thread. */
bool code_is_hot(struct soft_vm *s, const uint8_t *page);

/* The record of a page, made if need be; NULL: no room.  Lock held. */
struct code_page *code_page_get_locked(struct code_cache *c,
                                       const uint8_t *page);

/* Bytes of guest memory at host have changed: drop the blocks made from
 * their lines.  Any thread.  True if there were any. */
bool code_written(struct soft_vm *s, const uint8_t *host, uint64_t bytes);
/* Would a store there drop blocks?  Any thread. */
bool code_would_drop(struct soft_vm *s, const uint8_t *host, uint64_t bytes);

/* Drop the blocks that contain an instruction at the linear address.  No vCPU
 * runs. */
void code_drop_at(struct soft_vm *s, uint64_t lin);

/* Code of the page was found running.  When it is hot its blocks are made
 * again. */
void code_note_running(struct soft_vm *s, const uint8_t *host);
/* The access of the block's instruction at rip shall use the table. */
void code_drop_site(struct soft_vm *s, unsigned block, uint64_t rip);
bool code_has_no_site(const struct code_cache *c, uint64_t rip);

/* The group of the block whose first access is at rip spans two pages, at bytes
 * behind that access: when that is so again and again, it is split. */
void code_note_split(struct soft_vm *s, unsigned block, uint64_t rip, int at);
bool code_split_of(const struct code_cache *c, uint64_t rip, int16_t *at);

/* A store to a page with code has hit none: should this happen often, the
 * blocks are dropped, and the page is plain until it is executed again. */
void code_note_store(struct soft_vm *s, const uint8_t *host);

struct block *code_find_locked(struct code_cache *c, const uint8_t *start,
                               uint64_t lin, const struct mode_key *mode,
                               const uint8_t *next);
void code_insert_locked(struct code_cache *c, struct block *b);
/* May hot code at the linear address go on in the next page?  Not where it must
 * be linked to directly. */
bool code_may_span(const struct mode_key *mode, uint64_t lin);
/* Make the jump whose rel32 is at the executable address (a multiple of 4;
 * plus LINK_*) lead to b. */
void code_link_locked(struct code_cache *c, uint8_t *at, struct block *b);
/* ---- move.c */

/* Can a block of the mode at the linear address be moved? */
bool code_may_move(const struct mode_key *mode, uint64_t lin);
/* Block for start at lin, made of one for another linear address; NULL: there
 * is none, or no room. */
struct block *code_move_locked(struct code_cache *c, const uint8_t *start,
                               uint64_t lin, const struct mode_key *mode);
/* What is made next of the same code may be made of this one. */
void code_set_newest_locked(struct code_cache *c, const struct block *b);
/* The next is to be translated. */
void code_drop_newest_locked(struct code_cache *c, const uint8_t *start);

/* ---- blocks.c */

/* Drop everything.  Exclusive section. */
void code_reset(struct soft_vm *s);
/* The block whose main path holds the executable address. */
struct block *code_block_at(struct code_cache *c, const uint8_t *pc);
/* Guest rip of the instruction at pc in b. */
uint64_t code_guest_rip(const struct code_cache *c, const struct block *b,
                        const uint8_t *pc);

#endif
