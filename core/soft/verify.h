/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_SOFT_VERIFY_H
#define ORRERY_SOFT_VERIFY_H

#include "core/soft/engine.h"

/*
 * verify=on: translated code against the emulator, in lock-step.
 *
 * Before a block is entered the emulator runs ahead, one instruction at a
 * time, through the block's instructions (a loop: round and round), and keeps
 * the registers before each.  It stops before whatever has an effect outside
 * the CPU and plain memory: devices, exceptions, flushes, stores that drop
 * code.  Then all is undone and the block is entered for real.  The state in
 * which it leaves must be one the emulator has passed through: registers,
 * flags that are live there and defined, segments, vector state, and memory
 * wherever the emulator stored at any time.
 *
 * Nothing else differs from how it is without verify=on, but for this:
 * - Blocks are not linked and the indirect-branch table stays empty: each comes
 *   back here.  A loop is entered behind its look at engine.attn, which is
 *   set, so that it comes back after the rounds it has reckoned.
 * - A block is compared the first VERIFY_TIMES times it runs, then each
 *   VERIFY_EVERY-th; a page is hot after fewer samples.
 * - What is random and the time stamp counter are left to the emulator,
 *   exceptions to core/cpu.
 *
 * Running ahead fills no TLB and its marks in page tables are undone, too.
 *
 * Several vCPUs take turns: one runs guest code at a time, and a block ends
 * before PAUSE, so that a lock freed just before it is seen free.  A device may
 * write to memory meanwhile, so a difference is believed if the emulator, run
 * once more from the same state, does as it did the first time.
 *
 * Not compared: blocks while data is watched, stores to where the emulator has
 * not stored.
 */
enum verify_result {
    VERIFY_DONE,
    VERIFY_EMULATE, /* as translated code left: engine.cause, has_fault */
    VERIFY_FAILED,  /* text in engine.error, both states in the log */
};

enum {
    VERIFY_TIMES = 20,
    VERIFY_EVERY = 32,
    VERIFY_SAMPLE = 16,     /* of so many blocks one is found running */
    VERIFY_PAGES = 64,      /* that may be stored to */
    VERIFY_STEPS = 1 << 18, /* instructions ahead */
    VERIFY_SLICE = 256,     /* blocks at most until another's turn */
    VERIFY_SLOTS = 256,
};

struct verify_step {
    uint64_t gpr[16], rip, rflags;
};

/* A host page the emulator has stored to, or whose page-table entries it may
 * have marked. */
struct verify_page {
    uint8_t *host;
    uint64_t lines;       /* with any byte in touched */
    uint64_t touched[64]; /* by line, bytes whose old value is in before */
    uint64_t stored[64];  /* those of stores */
    uint8_t before[PAGE_BYTES];
    uint8_t emulated[PAGE_BYTES];
    uint8_t translated[PAGE_BYTES];
};

struct verify {
    /* Running ahead */
    const struct block *block;
    void *env[5];
    unsigned count;    /* steps; the last is where the emulator stands */
    unsigned done;     /* instructions: REP has a step for each element */
    unsigned expected; /* number of the block's instruction there, or so */
    bool is_stopped;   /* by verify_stop */
    bool is_cut;       /* by a limit of ours */
    bool is_again;     /* the steps are there: compare */
    bool is_changed;   /* it did otherwise */
    unsigned page_count;
    uint8_t slot[VERIFY_SLOTS]; /* hash of pages: number + 1 */
    struct verify_page *last;
    struct verify_page page[VERIFY_PAGES];
    struct verify_step *step;

    struct cpu start, emulated, translated;
    uint32_t flags_differ; /* those that matter */
    unsigned at;           /* step that was compared */

    /* Where to go on without groups */
    uint64_t ungrouped_rip;
    uint32_t ungrouped_bit; /* BM_*, 0: nowhere */

    unsigned runs, slice;
    uint64_t random;
    struct {
        uint64_t blocks, supers, loops;       /* compared at least once */
        uint64_t runs, super_runs, loop_runs; /* comparisons */
        uint64_t steps, long_runs, doubtful;
    } stat;
};

/* ---- verify.c */

enum verify_result verify_block(struct engine *eng);

/* ---- verify_memory.c */

/* Running ahead: bytes at host are about to be changed by a store, or may be
 * by a walk.  All in one page. */
void verify_touch(struct engine *eng, uint8_t *host, unsigned bytes,
                  bool is_store);
/* End it before the instruction at hand. */
_Noreturn void verify_stop(struct engine *eng);
void verify_forget(struct verify *l);
/* What the emulator has made goes to emulated[], the old bytes come back. */
void verify_undo(struct verify *l);
/* What is there goes to translated[], the old bytes come back; the reverse. */
void verify_set_aside(struct verify *l);
void verify_put_back(struct verify *l);
/* Where the emulator stored: first byte at which emulated[] and, is_aside:
 * translated[] (else memory) differ; NULL: they agree. */
const struct verify_page *verify_memory_differs(const struct verify *l,
                                                bool is_aside, unsigned *at);

/* ---- host_verify.c */

struct verify *verify_new(void); /* NULL: no memory */
void verify_free(struct verify *l);

/* Turns of the vCPUs; around all that runs guest code. */
struct verify_turn *verify_turn_new(void);
void verify_turn_free(struct verify_turn *t);
void verify_turn_begin(struct verify_turn *t);
void verify_turn_end(struct verify_turn *t);
bool verify_turn_is_wanted(const struct verify_turn *t);

/* Vector state saved: of the flags in mask, those that may be used from
 * translated's rip on and are defined after the first `steps` steps. */
uint32_t verify_flags_that_matter(struct engine *eng, unsigned steps,
                                  uint32_t mask);
/* First byte of the xsave areas that differs, -1: none that counts. */
int verify_vector_differs(uint8_t *a, uint8_t *b);
/* Print both states, set engine.error. */
void verify_report(struct engine *eng);
size_t verify_print_stats(const struct engine *eng, char *text, size_t cap);

#endif
