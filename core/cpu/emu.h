/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_CPU_EMU_H
#define ORRERY_CPU_EMU_H

#include "core/cpu/alu.h"
#include "core/cpu/copy.h"
#include "core/cpu/cpu.h"
#include "core/cpu/cpuid.h"
#include "core/cpu/emulate.h"
#include "core/cpu/insn.h"
#include "core/cpu/mmu.h"

/*
 * What the files of one-instruction emulation share.  Rule for all of them:
 * everything that can throw comes before the first change of architectural
 * state; stack pointers are worked on in a struct stack and committed last.
 */

static inline _Noreturn void throw_ud(struct cpu *c)
{
    cpu_throw(c, EXC_UD);
}

static inline _Noreturn void throw_gp(struct cpu *c, uint32_t code)
{
    cpu_throw_code(c, EXC_GP, code);
}

static inline uint64_t size_mask(unsigned bytes)
{
    return bytes >= 8 ? UINT64_MAX : ((uint64_t)1 << 8 * bytes) - 1;
}

static inline int64_t sign_extend(uint64_t v, unsigned bytes)
{
    unsigned shift = 64 - 8 * bytes;
    return (int64_t)(v << shift) >> shift;
}

static inline bool is_protected(const struct cpu *c)
{
    return c->cr0 & CR0_PE;
}

/* Real mode or VM86: segment registers hold paragraph numbers. */
static inline bool is_real_style(const struct cpu *c)
{
    return !(c->cr0 & CR0_PE) || (c->rflags & FLAG_VM);
}

static inline bool is_canonical(uint64_t lin)
{
    return (int64_t)(lin << 16) >> 16 == (int64_t)lin;
}

static inline unsigned iopl(const struct cpu *c)
{
    return c->rflags >> 12 & 3;
}

/* ---- registers */

static inline uint64_t reg_get(const struct cpu *c, unsigned n, unsigned bytes)
{
    return c->gpr[n & 15] & size_mask(bytes);
}

/* 8 and 16 bits keep the rest of the register, 32 bits zero it. */
static inline void reg_set(struct cpu *c, unsigned n, unsigned bytes,
                           uint64_t v)
{
    uint64_t *r = &c->gpr[n & 15];
    if (bytes >= 4) {
        *r = v & size_mask(bytes);
    } else {
        *r = (*r & ~size_mask(bytes)) | (v & size_mask(bytes));
    }
}

/* A ModRM/opcode register number of an operand of the given size: without
 * REX, byte registers 4..7 are AH, CH, DH, BH. */
uint64_t op_reg_get(const struct cpu *c, const struct insn *i, unsigned n,
                    unsigned bytes);
void op_reg_set(struct cpu *c, const struct insn *i, unsigned n, unsigned bytes,
                uint64_t v);

/* ---- memory: linear addresses (memory.c) */

uint64_t lin_read(struct cpu *c, uint64_t lin, unsigned bytes, unsigned access);
void lin_write(struct cpu *c, uint64_t lin, unsigned bytes, uint64_t v,
               unsigned access);
/* Throw now if a store of the range would. */
void lin_probe_write(struct cpu *c, uint64_t lin, unsigned bytes,
                     unsigned access);

/* ---- memory: logical addresses */

/* Checked linear address of an access through a descriptor (limit, type,
 * canonical form); #SS instead of #GP when is_ss. */
uint64_t seg_check(struct cpu *c, const struct cpu_segment *s, unsigned seg,
                   uint64_t off, unsigned bytes, unsigned access);
uint64_t seg_linear(struct cpu *c, unsigned seg, uint64_t off, unsigned bytes,
                    unsigned access);
uint64_t mem_read(struct cpu *c, unsigned seg, uint64_t off, unsigned bytes);
void mem_write(struct cpu *c, unsigned seg, uint64_t off, unsigned bytes,
               uint64_t v);
void mem_load(struct cpu *c, unsigned seg, uint64_t off, void *buf,
              unsigned bytes);
void mem_store(struct cpu *c, unsigned seg, uint64_t off, const void *buf,
               unsigned bytes);

/* Offset of the instruction's memory operand. */
uint64_t insn_ea(const struct cpu *c, const struct insn *i);

/* ---- ModRM operands */

uint64_t rm_read(struct cpu *c, const struct insn *i, unsigned bytes);
void rm_write(struct cpu *c, const struct insn *i, unsigned bytes, uint64_t v);

/*
 * Read-modify-write of the ModRM operand (or of another memory place):
 *     struct rmw m;
 *     rmw_open(c, i, &m, bytes);
 *     do { new = f(m.old); } while (!rmw_close(c, &m, new));
 * With LOCK the pair is atomic; f may run several times.
 */
struct rmw {
    void *host; /* memory reachable directly, or NULL */
    uint64_t lin;
    uint64_t old;
    uint8_t bytes;
    bool is_reg, is_locked, is_bus_locked;
    const struct insn *i;
};
void rmw_open(struct cpu *c, const struct insn *i, struct rmw *m,
              unsigned bytes);
/* The operand at offset off from the ModRM effective address. */
void rmw_open_at(struct cpu *c, const struct insn *i, struct rmw *m,
                 unsigned bytes, uint64_t off);
bool rmw_close(struct cpu *c, struct rmw *m, uint64_t v);

/* ---- stack */

struct stack {
    struct cpu_segment ss;
    uint64_t sp, mask;
    unsigned access; /* ACC_SYSTEM for the stack of an inner ring */
    bool is_ts;      /* faults are #TS/#SS of a ring switch */
};
void stack_open(const struct cpu *c, struct stack *s);
void stack_push(struct cpu *c, struct stack *s, unsigned bytes, uint64_t v);
uint64_t stack_pop(struct cpu *c, struct stack *s, unsigned bytes);
/* Throw if a write at the top would. */
void stack_probe(struct cpu *c, const struct stack *s, unsigned bytes);
void stack_commit(struct cpu *c, const struct stack *s); /* SP alone */
/* Operand size of PUSH, POP, near CALL, RET. */
unsigned stack_bytes(const struct insn *i);

/* ---- flags */

static inline void flags_set(struct cpu *c, uint64_t mask, uint64_t v)
{
    c->rflags = (c->rflags & ~mask) | (v & mask);
}

/* ---- segments (segment.c) */

struct desc {
    uint32_t lo, hi;
    uint64_t lin; /* where it was read */
};
#define DESC_DPL(d)  ((d)->hi >> 13 & 3)
#define DESC_TYPE(d) ((d)->hi >> 8 & 15)
#define DESC_S       (1u << 12)
#define DESC_P       (1u << 15)
#define DESC_L       (1u << 21)
#define DESC_DB      (1u << 22)

enum desc_type {
    DESC_TSS16 = 1,
    DESC_LDT = 2,
    DESC_TSS16_BUSY = 3,
    DESC_CALL16 = 4,
    DESC_TASK = 5,
    DESC_INT16 = 6,
    DESC_TRAP16 = 7,
    DESC_TSS32 = 9,
    DESC_TSS32_BUSY = 11,
    DESC_CALL32 = 12,
    DESC_INT32 = 14,
    DESC_TRAP32 = 15,
};

static inline bool desc_is_code(const struct desc *d)
{
    return (d->hi & DESC_S) && (d->hi & 1u << 11);
}
static inline bool desc_is_conforming(const struct desc *d)
{
    return d->hi & 1u << 10;
}
/* Writable data segment. */
static inline bool desc_is_stack(const struct desc *d)
{
    return (d->hi & DESC_S) && (d->hi & (1u << 11 | 1u << 9)) == 1u << 9;
}
/* Data or readable code. */
static inline bool desc_is_readable(const struct desc *d)
{
    return (d->hi & DESC_S) && ((d->hi & 1u << 11) == 0 || (d->hi & 1u << 9));
}

/* Read the descriptor of sel; false when sel is null or outside its table. */
bool desc_read(struct cpu *c, unsigned sel, struct desc *d);
/* Upper half of a 16-byte system descriptor; false when outside. */
bool desc_read_high(struct cpu *c, unsigned sel, uint32_t *base_high);
struct cpu_segment desc_segment(const struct desc *d, unsigned sel);
/* Set the accessed bit in memory and in d. */
void desc_set_accessed(struct cpu *c, struct desc *d);
/* Write type (busy bit) back to memory. */
void desc_set_busy(struct cpu *c, const struct desc *d, bool busy);
/* Check a stack segment for privilege cpl; throws vector with sel (#SS when
 * not present); ext is or-ed into the error code. */
struct cpu_segment load_stack_segment(struct cpu *c, unsigned sel, unsigned cpl,
                                      unsigned vector, uint32_t ext);
/* MOV/POP/Lxx to a segment register other than CS. */
void load_segment(struct cpu *c, unsigned seg, unsigned sel);
/* A segment register of real mode or VM86. */
void set_real_segment(struct cpu *c, unsigned seg, unsigned sel);
void load_ldt(struct cpu *c, unsigned sel);
void load_tr(struct cpu *c, unsigned sel);
/* Set a data segment null if its DPL is below the CPL, and a null selector to
 * 0 (outer return). */
void drop_inner_segments(struct cpu *c, unsigned cpl);

/* ---- control transfer (far.c, task.c, event.c) */

/* Where rip may go: truncates, checks limit or canonical form of target. */
uint64_t check_target(struct cpu *c, const struct cpu_segment *cs,
                      uint64_t rip);
void jump_near(struct cpu *c, struct insn *i, uint64_t rip);
void far_jump(struct cpu *c, struct insn *i, unsigned sel, uint64_t off);
void far_call(struct cpu *c, struct insn *i, unsigned sel, uint64_t off,
              unsigned bytes);
void far_return(struct cpu *c, struct insn *i, unsigned bytes, unsigned extra);
void interrupt_return(struct cpu *c, struct insn *i, unsigned bytes);

enum task_cause { TASK_JUMP, TASK_CALL, TASK_IRET, TASK_EVENT };
/* Switch to the TSS named sel (d read already); next_rip goes into the old
 * TSS; rip is that of the new task afterwards. */
void task_switch(struct cpu *c, unsigned sel, struct desc *d,
                 enum task_cause cause, uint64_t next_rip, bool has_error,
                 uint32_t error, uint32_t ext);
/* SS:SP of a ring from the TSS in use. */
void tss_stack(struct cpu *c, unsigned cpl, uint16_t *ss, uint64_t *sp,
               uint32_t ext);

enum event_kind { EVENT_EXTERNAL, EVENT_EXCEPTION, EVENT_SOFT, EVENT_INT1 };
/* One attempt at delivery; throws on faults. */
void event_enter(struct cpu *c, unsigned vector, enum event_kind kind,
                 bool has_error, uint32_t error, uint64_t return_rip);
void soft_interrupt(struct cpu *c, struct insn *i, unsigned vector);

/* ---- modes (control.c, msr.c) */

void mode_changed(struct cpu *c);
/* breakpoint.c; to be called while DR7 enables anything */
void check_breakpoints(struct cpu *c); /* of rip; throws #DB */
void note_data_access(struct cpu *c, uint64_t lin, unsigned bytes,
                      unsigned access);
void note_io_access(struct cpu *c, unsigned port, unsigned bytes);
static inline bool has_breakpoints(const struct cpu *c)
{
    return c->dr[7] & DR7_ENABLES;
}
void control_read(struct cpu *c, const struct insn *i);
void control_write(struct cpu *c, struct insn *i);
void debug_read(struct cpu *c, const struct insn *i);
void debug_write(struct cpu *c, const struct insn *i);
void set_cr0(struct cpu *c, uint64_t v);
/* CR4 bits the CPU has, bits no physical address has. */
uint64_t cr4_allowed(const struct cpu *c);
uint64_t phys_reserved(const struct cpu *c);
/* The PDPTEs cr3 points to, for PAE paging; false: reserved bits are set. */
bool reload_pdptes(struct cpu *c, uint64_t cr3);
void op_group7(struct cpu *c, struct insn *i);
void op_group6(struct cpu *c, const struct insn *i);
void op_invpcid(struct cpu *c, const struct insn *i);
void op_syscall(struct cpu *c, struct insn *i);
void op_sysret(struct cpu *c, struct insn *i);
void op_sysenter(struct cpu *c, struct insn *i);
void op_sysexit(struct cpu *c, struct insn *i);
void op_pushf(struct cpu *c, const struct insn *i);
void op_popf(struct cpu *c, struct insn *i);
void op_cli(struct cpu *c);
void op_sti(struct cpu *c, struct insn *i);
void op_rdmsr(struct cpu *c);
void op_wrmsr(struct cpu *c);
void op_rdtsc(struct cpu *c, bool is_rdtscp);
void op_fsgsbase(struct cpu *c, const struct insn *i);
void op_rsm(struct cpu *c, struct insn *i);
void require_cpl0(struct cpu *c);
uint64_t guest_tsc(struct cpu *c);

/* ---- groups of instructions; each throws #UD for what is not defined */

void emulate_one_byte(struct cpu *c, struct insn *i);
void emulate_0f(struct cpu *c, struct insn *i);
void emulate_0f38(struct cpu *c, struct insn *i);
void emulate_0f3a(struct cpu *c, struct insn *i);
void op_push_sreg(struct cpu *c, const struct insn *i, unsigned seg);
void op_pop_sreg(struct cpu *c, struct insn *i, unsigned seg);
void op_load_far(struct cpu *c, struct insn *i, unsigned seg);
void op_jcc_near(struct cpu *c, struct insn *i);
/* Bit of EAX, EBX, ECX or EDX (reg 0..3) of a CPUID leaf. */
bool model_bit(const struct cpu *c, uint32_t leaf, unsigned reg, unsigned bit);
bool model_bit_sub(const struct cpu *c, uint32_t leaf, uint32_t subleaf,
                   unsigned reg, unsigned bit);
void emulate_string(struct cpu *c, struct insn *i);
void emulate_io(struct cpu *c, struct insn *i);
void check_io(struct cpu *c, unsigned port, unsigned bytes);
/* The port itself, no checks. */
uint32_t port_in(struct cpu *c, const struct insn *i, unsigned port,
                 unsigned bytes);
void port_out(struct cpu *c, const struct insn *i, unsigned port,
              unsigned bytes, uint32_t v);
void op_bit_test(struct cpu *c, const struct insn *i);
void op_bcd(struct cpu *c, const struct insn *i);

/* Vector and x87 instructions; false when i is none. */
bool emulate_fpu(struct cpu *c, struct insn *i);
bool emulate_vector(struct cpu *c, struct insn *i);
void op_group15(struct cpu *c, struct insn *i);
void op_xsavec(struct cpu *c, const struct insn *i);
bool op_vex_mxcsr(struct cpu *c, const struct insn *i);
void op_xgetbv(struct cpu *c);
void op_xsetbv(struct cpu *c);
void fwait_check(struct cpu *c, bool is_wait);

#endif
