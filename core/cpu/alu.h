/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_CPU_ALU_H
#define ORRERY_CPU_ALU_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Arithmetic on values, by the host's own instructions, so that flags are
 * exact, undefined ones too.  flags: arithmetic flags in and out; bytes: 1, 2,
 * 4 or 8.  Any thread.
 */
enum alu_op {
    ALU_ADD,
    ALU_OR,
    ALU_ADC,
    ALU_SBB,
    ALU_AND,
    ALU_SUB,
    ALU_XOR,
    ALU_CMP,
    ALU_TEST,
};
enum shift_op {
    SH_ROL,
    SH_ROR,
    SH_RCL,
    SH_RCR,
    SH_SHL,
    SH_SHR,
    SH_SAL,
    SH_SAR
};
enum unary_op { UN_INC, UN_DEC, UN_NOT, UN_NEG };
enum scan_op { SCAN_BSF, SCAN_BSR, SCAN_TZCNT, SCAN_LZCNT, SCAN_POPCNT };

uint64_t alu_binary(enum alu_op op, unsigned bytes, uint64_t a, uint64_t b,
                    uint64_t *flags);
uint64_t alu_shift(enum shift_op op, unsigned bytes, uint64_t a, uint8_t count,
                   uint64_t *flags);
uint64_t alu_double_shift(bool is_right, unsigned bytes, uint64_t a, uint64_t b,
                          uint8_t count, uint64_t *flags);
uint64_t alu_unary(enum unary_op op, unsigned bytes, uint64_t a,
                   uint64_t *flags);
uint64_t alu_scan(enum scan_op op, unsigned bytes, uint64_t old, uint64_t a,
                  uint64_t *flags);
/* MUL/IMUL one operand: a * b into *lo, *hi. */
void alu_multiply(bool is_signed, unsigned bytes, uint64_t a, uint64_t b,
                  uint64_t *lo, uint64_t *hi, uint64_t *flags);
uint64_t alu_imul(unsigned bytes, uint64_t a, uint64_t b, uint64_t *flags);
/* false: #DE.  Flags as the host leaves them. */
bool alu_divide(bool is_signed, unsigned bytes, uint64_t *lo, uint64_t *hi,
                uint64_t divisor, uint64_t *flags);
bool alu_condition(unsigned cc, uint64_t flags);

#endif
