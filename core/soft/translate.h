/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_SOFT_TRANSLATE_H
#define ORRERY_SOFT_TRANSLATE_H

#include <Zydis/Zydis.h>

#include "core/soft/code.h"
#include "core/soft/emit.h"

/*
 * The translator: decodes a block of guest instructions (host_decode.c), finds
 * out which flags are live (host_flags.c), and writes host code (host_block.c
 * drives host_operand.c, host_address.c, host_stack.c, host_branch.c,
 * host_string.c).  One per machine, used under the code cache's lock.
 *
 * An emitter function for an instruction returns false when it can not
 * rewrite it; whatever it wrote is then taken back and the block ends with a
 * call to the emulator instead.
 */
enum { BLOCK_INSNS = 192, PLAIN_INSNS = 64, BLOCK_FIXUPS = 512 };
/* Stash slots are GROUP_MAX, too (engine.h). */

enum insn_kind {
    INSN_GENERIC, /* registers renamed, memory operand replaced */
    INSN_NOP,
    INSN_LEA,
    INSN_MOFFS,  /* A0..A3 */
    INSN_INCDEC, /* one-byte form of 32- and 16-bit code */
    INSN_PUSH,
    INSN_POP,
    INSN_LEAVE,
    INSN_SYSTEM,   /* flags, segment and time stamp reading: host_system.c */
    INSN_BIT_TEST, /* BT and the like, memory operand, bit from a register */
    INSN_STRING,   /* one step of MOVS, STOS, LODS */
    INSN_JMP,
    INSN_JCC,
    INSN_LOOP, /* LOOP, LOOPcc, JCXZ */
    INSN_CALL,
    INSN_RET,
    INSN_JMP_INDIRECT,
    INSN_CALL_INDIRECT,
    INSN_EMULATE, /* the block ends before it */
};

struct guest_insn {
    ZydisDecodedInstruction d;
    ZydisDecodedOperand o[ZYDIS_MAX_OPERAND_COUNT];
    const uint8_t *bytes;
    uint64_t rip, next;
    uint64_t target; /* of a direct branch */
    enum insn_kind kind;
    int mem; /* index of the explicit memory operand, -1 */
    /* Arithmetic flags */
    uint32_t use, kill, undefined;
    uint32_t in;     /* live before it */
    uint32_t writes; /* guest registers, by number */
    /* Group of the explicit operand and of the stack slot, -1: none; where
     * the access is in its group's coordinates. */
    int8_t group[2];
    int64_t offset[2];
};

/* A guest memory access. */
struct access {
    int base, index; /* guest register numbers, -1 */
    uint8_t scale;   /* shift */
    int64_t disp;
    uint8_t asize; /* bytes */
    int seg;       /* enum cpu_seg */
    unsigned bytes;
    bool is_write;
    bool is_rip; /* off RIP: disp moves with the code */
};

/* Accesses that share a check: host_group.c. */
struct group {
    struct access a;   /* registers, is_write */
    int64_t from, end; /* displacements off the registers at block entry */
    unsigned first;    /* instruction of the first member */
    int64_t delta;     /* added to the base before it */
    unsigned at;       /* the check stands before this instruction */
    int64_t at_delta;
    unsigned members;   /* 0: not a group */
    int64_t first_from; /* displacement of the first member */
    bool has_split;     /* it never spans this displacement */
    int64_t split;
    bool is_stack;
    bool is_indexed; /* all that a bounded index may reach: host_index.c */
    /* Checked once for many rounds of a loop: host_loop.c */
    bool is_hoisted;
    int64_t index_delta; /* added to the index before it */
    int64_t stride;
    bool base_varies, index_varies;
    int pin; /* host register that holds its address, or H_NONE */
};

/* Where guest registers are: host register or H_NONE, number of the slot in
 * cpu.gpr[]. */
struct reg_map {
    int8_t host[16], home[16];
};

/* A block that is a loop: host_loop.c. */
struct loop {
    bool is_on;
    bool is_setup, is_body; /* being emitted */
    uint8_t *jump;          /* end of the rel32 that leads to it */
    const uint8_t *plain;   /* the block's own entry */
    uint8_t *top;
    int counter;       /* guest register that ends a run, -1: none */
    bool is_known[16]; /* registers: changes by step each round */
    int64_t step[16];
    uint32_t written;
    int8_t victim[3]; /* swapped with R13.., -1: none */
};

/* Out-of-line code to be written when the main path is done. */
enum fixup_kind {
    FIX_SLOW,    /* TLB miss: slow path, back; a group: else without it */
    FIX_EMULATE, /* emulate insn */
    FIX_LINK,    /* direct jump within the page, patchable */
    FIX_TABLE,   /* direct jump through the table */
    FIX_ATTEND,
    FIX_LOOP_EXIT, /* registers swapped back, then as FIX_LINK */
};

struct fixup {
    enum fixup_kind kind;
    uint8_t *end;  /* writable address behind the rel32 to be patched */
    uint8_t *back; /* executable address where the main path goes on */
    uint64_t rip;
    uint32_t tag_at;  /* FIX_SLOW: gs offset off the entry in S2, or 0 */
    uint64_t address; /* FIX_SLOW: constant address, if is_const */
    bool is_const, is_rip;
    bool has_saved_flags;
    uint16_t bytes;
    bool is_write, is_stack, is_group;
    enum group_kind group_kind;
    int16_t first, from;    /* as in struct slow_site */
    uint16_t place;         /* its number plus one, if it has a range cache */
    bool is_swapped;        /* in a loop: registers are to be swapped back */
    const uint8_t *fail_to; /* is_group: where it goes on if not NULL */
};

struct translator {
    ZydisDecoder decoder[4]; /* 16, 32, 64 bit, real mode */
    /* The block being made */
    const struct engine *eng;
    struct code_cache *cache;
    struct mode_key mode;
    unsigned osize_default; /* bytes */
    unsigned space;
    struct guest_insn insn[BLOCK_INSNS];
    unsigned count;
    const uint8_t *start; /* host address of the first byte */
    uint64_t lin, rip;    /* of the first instruction */
    const uint8_t *next;  /* the page behind, where hot code may go on */
    uint64_t lines[2];    /* depended on, of each page */
    uint32_t live_out;    /* flags live at the end */
    bool is_verified;     /* verify=on: nothing random */
    bool is_crossing;     /* one instruction in two pages */
    bool has_crossed;     /* among others is one in two pages */
    bool is_hot;          /* accesses have page caches */
    unsigned number;      /* of the block */
    uint8_t crossing[32]; /* its bytes */
    struct group group[GROUP_MAX];
    unsigned group_count;
    const struct group *checked_group; /* its check is being emitted */
    bool has_stack_group;
    int in_s1; /* group whose address S1 holds, -1 */
    int in_s2; /* guest register without one of the host's whose value S2
                * still holds, -1 */
    struct reg_map regs;
    struct loop loop;
    struct emitter hot, cold;
    struct code_move moves[2][MOVES_MAX];
    struct fixup fix[BLOCK_FIXUPS];
    unsigned fix_count;
    struct guest_insn *now; /* being emitted */
    int64_t sp_pending;     /* to be added to RSP: host_fold.c */
    bool folds;             /* now's change of RSP is added to it */
    bool are_flags_saved;   /* in engine.saved_flags, host's are garbage */
};

struct translator *translator_new(void);
void translator_free(struct translator *t);

/* ---- host_decode.c */

/* Fill t->insn[] from t->start on. */
void decode_block(struct translator *t);
/* Guest code at a linear address of the page or pages the block may be in, and
 * how much of it is there; NULL: elsewhere. */
const uint8_t *code_at(const struct translator *t, uint64_t lin,
                       unsigned *left);
/* The block depends on these bytes of guest code. */
void mark_lines(struct translator *t, uint64_t lin, unsigned bytes);
/* Guest number of a general register, -1 for others; AH..BH: number | 0x100. */
int guest_gpr(ZydisRegister r);
const ZydisDecoder *block_decoder(const struct translator *t);

/* ---- host_flags.c */

void insn_flags(const ZydisDecodedInstruction *d, uint32_t *use, uint32_t *kill,
                uint32_t *undefined);
void find_live_flags(struct translator *t);

/* ---- host_address.c */

/* gs: offset of a guest register that has no host register. */
int32_t slot_of_gpr(int g);
/* Host register of a guest register, H_NONE: in its slot. */
int host_of_gpr(int g);
/* The guest register's value: its host register, or loaded into scratch. */
int gpr_in(struct emitter *e, int g, int scratch);
/* The same where registers may be swapped (host_loop.c). */
int32_t home_of(const struct translator *t, int g);
int host_in(const struct translator *t, int g);
int reg_in(struct translator *t, int g, int scratch);
/* Access described by operand o of n. */
bool access_of(const struct translator *t, const struct guest_insn *n,
               const ZydisDecodedOperand *o, struct access *a);
/* Effective address (no segment base) into host register to, which may be S1;
 * S2 may be used. */
void emit_ea(struct translator *t, const struct access *a, int to);
/* Check the access of t->now's explicit operand; returns the host operand,
 * which lives in S1.  Uses S2.  The guest's flags survive. */
struct mem_form emit_operand(struct translator *t, const struct access *a);
/* The same with the host address itself in S1. */
void emit_access(struct translator *t, const struct access *a);
/* The same for what is in no group. */
void emit_ungrouped_access(struct translator *t, const struct access *a);
/* The same from the point where S1 holds the effective address and the flags
 * are saved. */
void emit_checked(struct translator *t, const struct access *a);
struct fixup *add_fixup(struct translator *t, enum fixup_kind kind);
/* Bracket around code that destroys flags which are live. */
void save_flags(struct translator *t);
void restore_flags(struct translator *t);

/* ---- host_group.c */

void plan_groups(struct translator *t);
/* Checks that stand before n. */
void emit_group_checks(struct translator *t, struct guest_insn *n);
/* The host operand, if the access of t->now is in a group. */
bool group_access(struct translator *t, bool is_slot, const struct access *a,
                  struct mem_form *m);

bool adds_constant(const struct guest_insn *n, int g, int64_t *by);
int32_t stash_of(int k);

/* ---- host_index.c */

/* If the index of n's access has a bound: a becomes all it may reach. */
bool index_reach(const struct translator *t, const struct guest_insn *n,
                 struct access *a);

/* ---- host_fold.c */

/* Before n's checks: can what is to be added to RSP wait longer? */
void begin_folding(struct translator *t, const struct guest_insn *n);
/* n only adds a constant to RSP: nothing is emitted. */
bool fold_adjustment(struct translator *t, const struct guest_insn *n);
/* Add to RSP what is pending; flags and scratch registers survive. */
void settle_sp(struct translator *t);

/* ---- host_loop.c */

/* Registers are where they usually are. */
void loop_reset_regs(struct translator *t);
/* Can the block be run as a loop? */
void plan_loop(struct translator *t);
/* Is the group one to be checked once for many rounds? */
bool loop_hoists(const struct translator *t, struct group *g);
/* Operand of its member a, t->now's. */
struct mem_form hoisted_operand(struct translator *t, int k,
                                const struct access *a);
/* The loop's second form, behind the block's main path. */
void emit_loop_body(struct translator *t, struct block *b);
void emit_swaps(struct translator *t, struct emitter *e);
/* Swapped pairs as struct slow_site and struct block hold them. */
uint16_t loop_swaps(const struct translator *t);

/* ---- host_block.c */

/* One instruction, with what belongs to it. */
bool emit_block_insn(struct translator *t, struct block *b,
                     struct guest_insn *n);

/* ---- host_operand.c */

bool emit_generic(struct translator *t, struct guest_insn *n);
bool emit_moffs(struct translator *t, struct guest_insn *n);
bool emit_incdec(struct translator *t, struct guest_insn *n);
bool emit_lea_insn(struct translator *t, struct guest_insn *n);

/* ---- host_stack.c */

unsigned stack_asize(const struct translator *t);
/* Check the slot at SP + offset; as emit_operand. */
struct mem_form emit_stack_access(struct translator *t, int offset,
                                  unsigned bytes, bool is_write);
void emit_stack_adjust(struct translator *t, int delta);
unsigned stack_slot_bytes(const struct guest_insn *n);
/* Of v, or of the guest address v (is_rip).  old_at: gs offset of where the
 * slot's old value goes, or 0. */
void emit_push_const(struct translator *t, unsigned bytes, uint64_t v,
                     bool is_rip, int32_t old_at);
void emit_store_sized(struct emitter *e, unsigned bytes, int reg,
                      struct mem_form m);
void emit_load_sized(struct emitter *e, unsigned bytes, int reg,
                     struct mem_form m);
bool emit_push(struct translator *t, struct guest_insn *n);
bool emit_pop(struct translator *t, struct guest_insn *n);
bool emit_leave(struct translator *t, struct guest_insn *n);

/* ---- host_branch.c */

bool emit_branch(struct translator *t, struct guest_insn *n);
/* To a guest address in another space, through its table. */
void emit_goto_space(struct translator *t, unsigned space, uint64_t rip);
/* Can a jump to rip be patched? */
bool is_link_in_page(const struct translator *t, uint64_t rip);
/* Unconditional jump to a guest address. */
void emit_goto(struct translator *t, uint64_t rip);
void emit_cold_table_jump(struct translator *t, uint64_t rip);
/* Compare S1 with the block's rip; the landing pad. */
void emit_pad(struct translator *t);

/* ---- host_system.c */

bool is_system(const struct translator *t, const struct guest_insn *n);
/* SYSCALL, SYSRET, IRETQ */
bool changes_ring(const struct guest_insn *n);
/* Does the block end behind the system instruction? */
bool ends_block_system(const struct guest_insn *n);
bool emit_system(struct translator *t, struct guest_insn *n);
bool emit_bit_test(struct translator *t, struct guest_insn *n);

/* ---- host_string.c */

bool emit_string(struct translator *t, struct guest_insn *n);

#endif
