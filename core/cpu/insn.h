/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_CPU_INSN_H
#define ORRERY_CPU_INSN_H

#include <stdbool.h>
#include <stdint.h>

/*
 * One decoded instruction: fields of the encoding (SDM volume 2, chapter 2),
 * register numbers with their REX/VEX bits applied.
 */
enum { INSN_MAX_BYTES = 15 };
enum insn_map { MAP_ONE, MAP_0F, MAP_0F38, MAP_0F3A };
enum insn_base { INSN_NO_REG = 16, INSN_RIP = 17 };

#define REX_W       8u
#define REX_PRESENT 0x40u

struct insn {
    uint8_t bytes[16];
    uint8_t len;
    uint8_t mode; /* code size in bytes: 2, 4 or 8 */
    uint8_t map;  /* enum insn_map */
    uint8_t op;
    uint8_t osize, asize; /* operand and address size in bytes */
    uint8_t rex;          /* W R X B in bits 3..0, REX_PRESENT */
    uint8_t rep;          /* last of F2 and F3, or 0 */
    uint8_t pp;           /* mandatory prefix: 0 none, 1 66, 2 F3, 3 F2 */
    uint8_t seg;          /* segment of the memory operand */
    bool has_66, has_lock, has_seg, has_vex, has_modrm;
    uint8_t modrm, mod, reg, rm;
    uint8_t base, index, scale; /* of a memory operand; enum insn_base */
    uint8_t vvvv;               /* not inverted */
    uint8_t vl;                 /* VEX.L */
    uint8_t modrm_at, imm_at;   /* offsets in bytes[] */
    uint8_t disp_bytes;
    int64_t disp;
    uint64_t imm;  /* zero extended as encoded */
    uint16_t imm2; /* selector of a far pointer, level of ENTER */

    /* Filled by the emulator */
    uint64_t next; /* rip after the instruction */
    bool shadows;  /* sets the interrupt shadow */
    bool no_trap;  /* no single-step trap after it */
    bool keeps_rf; /* IRET has set RF itself */
    bool goes_on;  /* a REP form with iterations left: next is its own rip */
};

enum insn_result {
    INSN_OK = 0,
    INSN_INVALID = -1, /* #UD */
    INSN_SHORT = -2,   /* more than the given bytes are needed */
    INSN_LONG = -3,    /* over 15 bytes: #GP */
};

/*
 * Decode the instruction at i->bytes, of which have (at most 15) are valid,
 * for code of the given size (mode 2, 4 or 8; no_vex in real and VM86 mode).
 * Tells the length and fields; whether the opcode means something is the
 * emulator's business (INSN_INVALID only where the length is unknown).
 */
enum insn_result insn_decode(struct insn *i, unsigned have, unsigned mode,
                             bool no_vex);

#endif
