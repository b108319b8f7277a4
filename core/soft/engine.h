/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_SOFT_ENGINE_H
#define ORRERY_SOFT_ENGINE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/cpu/cpu.h"
#include "core/cpu/emulate.h"
#include "core/soft/context.h"
#include "core/soft/mode.h"
#include "core/soft/ring_state.h"
#include "core/soft/site.h"
#include "core/soft/soft.h"
#include "core/soft/watch.h"
#include "core/vm/debug.h"
#include "core/vm/vcpu.h"

/*
 * Private structures of the software CPU.
 *
 * While guest code runs, the host's GS base points at struct engine, so
 * translated code reaches all of it by gs: displacements; the layout below is
 * fixed for that reason and asserted in layout.c.
 *
 * Host registers inside translated code: RSP host stack, R12 guest RSP, R15
 * guest R12, R13 and R14 scratch, guest R13-R15 in cpu.gpr[]; the others hold
 * the guest's register of the same name.  Arithmetic flags live in the host's
 * RFLAGS (DF is clear: it is part of the block mode); all other flags in
 * cpu.rflags.
 *
 * Threads: an engine belongs to its vCPU's thread; others touch attn only,
 * and everything in an exclusive section.
 */
enum {
    PAGE_SHIFT = 12,
    PAGE_BYTES = 4096,
    TLB_ENTRIES = 8192,
    TLB_SPAN = 0x40000, /* bytes of one table */
    IBT_ENTRIES = 1 << 16,
    IBT_AT = 0xc0000,
    IBT_SPAN = 0x80000,
    IBT_USED_MAX = 4096,
    FIELDS_AT = 0x240000,
    FETCH_ENTRIES = 256,
    LOCAL_WORDS = TLB_ENTRIES / 64,
    PHYS_ENTRIES = 64,
    FILTER_BITS = 1 << 15,
    GROUP_MAX = 32,
};

/* Address spaces that may be reached: user mode, supervisor mode, supervisor
 * mode with EFLAGS.AC set while SMAP is on. */
enum { SPACE_USER, SPACE_SUPER, SPACE_SUPER_AC, SPACE_COUNT };

/*
 * Data TLB.  A linear address hits when (lin ^ tag) <= 4096 - bytes; then
 * host address = lin + addend (kept here as addend to the page offset: host
 * page itself).  A tag that must not match has a page number belonging to
 * another slot.
 */
struct tlb_entry {
    uint64_t rtag, wtag;
    uint64_t rpage, wpage; /* host address of the page */
};

/*
 * The page the stack is in, checked for writing, is cached apart: its check
 * is shorter.  NO_STACK_PAGE is no address of RAM; should a guest use it as one
 * the access goes to host address 0 and faults.
 */
#define NO_STACK_PAGE (1ull << 63)

/* Instruction fetch: linear page -> host page. */
struct fetch_entry {
    uint64_t tag; /* linear page, or 1 */
    uint8_t *page;
    bool is_global;
};

/* Base and limits of a segment as translated code checks them: an access of
 * n bytes at off is plain when off + n <= rend (wend). */
struct flat_segment {
    uint64_t base;
    uint64_t rend, wend;
};

/* Slot of a target in the indirect-branch table; generated code extracts the
 * same bits with pext.  Bit 0 would be wasted on aligned functions. */
static inline unsigned ibt_slot(uint64_t rip)
{
    return rip >> 1 & (IBT_ENTRIES - 1);
}

/* Hot code that begins so close to the end of its page goes on in the next. */
enum { SPAN_BYTES = 512 };

struct block;

/*
 * An indirect jump, call or return that may lead to where no code can be leaves
 * the number of its block and this bit below the host's stack, a call the old
 * value of its stack slot in temp[2]: then it is undone (soft_exit_miss puts
 * the number into temp[0]).  The flags of soft_enter_code lack the bit.
 */
#define BRANCH_MARK 0x80000000u

/* Low bits of the address of a patchable jump. */
enum {
    LINK_POLLED = 1,    /* it skips the look at engine.attn */
    LINK_UNGROUPED = 2, /* it leads to a block without groups: of all, or if
                         * not polled, of the stack */
    LINK_BITS = 3,
};

/* Why translated code came back. */
enum leave_cause {
    LEAVE_LOOKUP,  /* rip is where to go on; link names the jump to patch */
    LEAVE_EMULATE, /* the instruction at rip must be emulated */
    LEAVE_ATTEND,  /* attn is set; rip is where to go on */
    LEAVE_SLOW,    /* as LEAVE_EMULATE; link is the struct slow_site */
    LEAVE_IRET,    /* the IRETQ at rip, by ring_iret */
};

struct engine {
    struct tlb_entry tlb[SPACE_COUNT][TLB_ENTRIES];
    uint64_t ibt[SPACE_COUNT][IBT_ENTRIES];

    /* FIELDS_AT: what translated code and entry.S use */
    _Atomic uint32_t attn; /* something to attend to */
    uint32_t cause;        /* enum leave_cause */
    uint64_t host_rsp;     /* C stack while guest code runs */
    uint64_t host_flags;   /* arithmetic flags on the way in and out */
    uint64_t link;         /* patchable jump that was taken, or 0; LINK_* */
    uint64_t temp[4];
    uint64_t saved_flags; /* AX after lahf, seto */
    uint64_t ibt_mask;
    uint64_t arith_mask, bit_mask[3]; /* 15, 31, 63: for pext */
    uint64_t tsc_offset;              /* to the host's, times tsc_ratio */
    uint32_t if_flag;     /* EFLAGS.IF while guest code runs: 0 or 0x200 */
    uint32_t is_waiting;  /* an event waits for IF or the like */
    uint64_t other_flags; /* all but arithmetic, IF, RF, VM */
    struct stack_page {
        uint64_t page; /* linear; NO_STACK_PAGE: none */
        uint64_t host;
        uint64_t delta; /* host - page */
    } stack[SPACE_COUNT];
    struct flat_segment segment[SEG_COUNT];
    struct ring ring;
    uint8_t is_mode_stale;     /* mode must be computed again */
    struct cpu cpu;            /* at a fixed place by its alignment */
    uint64_t stash[GROUP_MAX]; /* host addresses, within a block */
    uint64_t loop_limit;       /* of a register, when a page ends */
    struct site_set sites[2];  /* loads, stores */

    /* Not used by generated code */
    struct soft_vm *soft;
    struct vcpu *v;
    struct mode_key mode;
    bool is_outside;    /* vector state saved, vcpu_leave done */
    bool is_bus_locked; /* outside, with the VM lock and alone */
    bool is_ahead;      /* the emulator runs ahead: verify.h */
    bool is_single;     /* every instruction goes through the emulator */
    unsigned log;       /* log_items() since soft_run() */
    bool has_fault;     /* LEAVE_SLOW: it is this page fault */
    uint64_t fault_lin;
    uint32_t fault_error;
    struct mode_key ibt_mode[SPACE_COUNT];
    uint16_t ibt_used[SPACE_COUNT][IBT_USED_MAX]; /* slots filled */
    unsigned ibt_used_count[SPACE_COUNT];
    bool ibt_has_nonglobal[SPACE_COUNT], ibt_has_global[SPACE_COUNT];
    bool fetch_has_nonglobal[SPACE_COUNT];
    uint64_t fetched_pages[SPACE_COUNT][FILTER_BITS / 64]; /* filters */
    uint64_t large_regions[FILTER_BITS / 64];
    struct fetch_entry fetch[SPACE_COUNT][FETCH_ENTRIES];
    uint64_t ibt_miss; /* what an empty ibt slot holds */
    /* Slots of tlb that hold a page that is not global: for loads, stores */
    uint64_t local[SPACE_COUNT][2][LOCAL_WORDS];
    /* Slots that may hold anything */
    uint64_t filled[SPACE_COUNT][LOCAL_WORDS];
    struct tlb_context context[CONTEXTS];
    uint64_t context_stamp;
    struct {
        uint64_t gpa; /* page, or 1 */
        uint8_t *page;
    } phys[PHYS_ENTRIES];
    uint64_t tsc_ratio;    /* guest's to host's, 16.48; 0: they are the same */
    uint32_t site_flushes; /* since a place was reconsidered last */
    uint8_t bounce[128] __attribute__((aligned(64)));
    struct verify *verify; /* verify=on, or NULL */
    void *signal_stack;
    struct soft_watch watch[WATCH_MAX];
    unsigned watch_count;
    uint64_t watched_dr[4], watched_dr7; /* the guest's in watch[] */
    uint32_t watch_hits;                 /* by the instruction just emulated */
    uint64_t watch_at;   /* start of the range, WATCH_DEBUGGER's */
    struct vm_stop stop; /* for SOFT_EXIT_DEBUG */

    struct {
        uint64_t fills, emulated, lookups, entries, flushes, page_flushes,
            switches, restored, interrupts, signals, code_stores;
    } stat;
    char error[200];
};

/*
 * Guest registers R13, R14, R15 whose value is in the place of another one's
 * and the reverse: the other's number in bits 3:0, 7:4, 11:8; 15: none.
 */
enum { NO_SWAPS = 0xfff };

static inline void soft_unswap(struct cpu *c, unsigned swaps)
{
    for (unsigned i = 0; i < 3; i++, swaps >>= 4) {
        uint64_t v = c->gpr[13 + i];
        if ((swaps & 15) == 15) continue;
        c->gpr[13 + i] = c->gpr[swaps & 15];
        c->gpr[swaps & 15] = v;
    }
}

struct soft_vm {
    struct vm *vm;
    struct soft_options options;
    unsigned engine_count;
    struct engine *engines[64];
    struct code_cache *cache; /* NULL when interpreted */
    struct verify_turn *turn; /* NULL: verify=off */
    struct vm_point breaks[VM_POINTS_MAX];
    unsigned break_count;
};

/* ---- space.c: which space an access belongs to, block mode */

unsigned soft_space(const struct cpu *c, unsigned access);
/* Recompute eng->mode and eng->segment from the CPU's state. */
void soft_update_mode(struct engine *eng);

/* ---- tlb.c */

enum page_kind {
    PAGE_DIRECT, /* host is good for the access, TLB filled */
    PAGE_CODE,   /* RAM that holds translated code: stores are checked */
    PAGE_DEVICE, /* MMIO, ROM being written, hole: by gpa */
    PAGE_FAULT,  /* error holds the page-fault code */
};

struct page_ref {
    enum page_kind kind;
    uint8_t *host; /* of the byte itself */
    uint64_t gpa;
    uint32_t error;
};

/* Resolve the byte at lin for access (ACC_*), filling the data TLB.  Returns
 * r->kind. */
enum page_kind tlb_resolve(struct engine *eng, uint64_t lin, unsigned access,
                           struct page_ref *r);
/* Host address of the instruction byte at lin, NULL when it cannot be fetched
 * directly (fault, MMIO). */
uint8_t *tlb_fetch(struct engine *eng, uint64_t lin);
/* Host page of guest-physical memory, NULL if it is not plain memory. */
uint8_t *tlb_phys_page(struct engine *eng, uint64_t gpa);
void tlb_init(struct engine *eng);
/* What is where in guest-physical memory is not as it was. */
void tlb_view_changed(struct engine *eng);
void tlb_flush(struct engine *eng, enum cpu_flush what, uint64_t lin);
/* What is of no global page goes; what is kept of other PCIDs stays. */
void tlb_drop_local(struct engine *eng);
/* The stack is in the page of lin from now on, if that may be written. */
void tlb_set_stack(struct engine *eng, uint64_t lin);
/* Linear address of host memory that is in the TLB, 0 if it is not. */
uint64_t tlb_find_host(const struct engine *eng, uint64_t host);
/* Each page's next store is seen by tlb_resolve. */
void tlb_drop_writes(struct engine *eng);
/* No store reaches the host page directly any more. */
void tlb_protect(struct engine *eng, const uint8_t *page);
void ibt_clear(struct engine *eng, unsigned space);
void ibt_set(struct engine *eng, unsigned space, uint64_t rip, uint8_t *pad);

/* ---- mem.c */

extern const struct cpu_ops soft_cpu_ops;

/* ---- run.c */

/* Save the guest's vector state and step out of vcpu_enter; and back.  Around
 * everything that is not compiled for general registers only. */
void soft_leave(struct engine *eng);
/* The vector state alone, still inside vcpu_enter. */
void soft_vector_save(struct cpu *c);
void soft_vector_load(struct cpu *c);
void soft_enter(struct engine *eng);

/* ---- attend.c: events and HLT */

/* Serve what is pending; true: leave soft_run with *why. */
bool soft_attend(struct engine *eng, enum soft_exit *why);
/* Is anything pending that could be served now? */
bool soft_has_event(const struct engine *eng);
/* The CPU is halted or waits for a start-up IPI: sleep until an event. */
void soft_idle(struct engine *eng);

/* ---- translated.c */

/* Run translated code from cpu.rip until it needs something else; may do
 * nothing but emulate one instruction. */
enum cpu_step soft_run_translated(struct engine *eng);
/* Block for the code at rip, made if need be; NULL: it must be emulated.
 * link: jump to lead to it, or NULL. */
struct block *soft_get_block(struct engine *eng, uint64_t rip, uint8_t *link);
/* What runs now is a sample of what runs mostly. */
void soft_note_running(struct engine *eng);
/* Run code at an entry that expects rip in R13, until it leaves. */
void soft_enter_block(struct engine *eng, const uint8_t *code);

/* ---- host_stats.c, host_open.c */

void soft_fail(struct engine *eng, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

#endif
