/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_CPU_NATIVE_H
#define ORRERY_CPU_NATIVE_H

#include "core/cpu/emu.h"

/*
 * Running one x87, MMX, SSE, AVX or BMI instruction natively on the guest's
 * registers.  The instruction is encoded anew with its memory operand at
 * [rsi], a GPR in ModRM.reg as r8, one in ModRM.rm as r9, one in VEX.vvvv as
 * r10; rax, rcx, rdx and the arithmetic flags are loaded from regs and stored
 * back.  A host signal inside it comes back as a guest exception
 * (cpu_native_fault() in emulate.h).
 */
struct native_regs {
    uint64_t ax, cx, dx, r8, r9, r10, flags;
    uint64_t host_sp; /* kept by the entry code */
};

/* Bytes of one instruction, built with code_add(). */
struct native_code {
    uint8_t bytes[16];
    unsigned count;
};
static inline void code_open(struct native_code *k)
{
    k->count = 0;
    cpu_put(k->bytes, 8, 0xcccccccccccccccc);
    cpu_put(k->bytes + 8, 8, 0xcccccccccccccccc);
}
static inline void code_add(struct native_code *k, unsigned byte)
{
    if (k->count < sizeof(k->bytes) - 1) {
        k->bytes[k->count++] = (uint8_t)byte;
    }
}

/* Scratch memory of this CPU, 64-byte aligned. */
enum { NATIVE_SCRATCH_BYTES = 2048 };
uint8_t *native_scratch(struct cpu *c);

/* Run the instruction in k with memory operand mem (64-byte aligned); throws
 * the guest exception when it faults. */
void native_run(struct cpu *c, struct native_code *k, struct native_regs *r,
                void *mem);

/* #UD if the host takes the instruction, which has a memory operand, for
 * undefined: that comes before any fault of the operand. */
void native_check(struct cpu *c, struct native_code *k);

/* The x87 instruction i, just run in a stub, is what FIP names; lin: address
 * of its memory operand, 0 if it has none. */
void native_note_x87(struct cpu *c, const struct insn *i, uint64_t lin);
/* FIP, FDP and FOP as the guest sees them, from the host's FXSAVE64 image.
 * FDP and FOP are those of unmasked exceptions alone: CPUID announces it. */
struct x87_pointers {
    uint64_t ip, dp;
    uint16_t op;
};
struct x87_pointers native_pointers(struct cpu *c, const uint8_t *image);
/* The same when only the lower half of the host's FIP is known. */
struct x87_pointers native_pointers_of(struct cpu *c, uint32_t host_ip);

/* Store vector register n (16 or 32 bytes) to buf; load it from buf. */
void native_vector_get(struct cpu *c, unsigned n, bool is_256, void *buf);
void native_vector_set(struct cpu *c, unsigned n, bool is_256, void *buf);

/* #NM, #UD, #MF as each class of instruction raises them first. */
void check_x87(struct cpu *c, bool is_waiting);
void check_mmx(struct cpu *c);
void check_sse(struct cpu *c);
void check_avx(struct cpu *c);

#endif
