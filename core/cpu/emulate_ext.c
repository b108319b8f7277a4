/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Integer instructions of the 0F38 and 0F3A maps (MOVBE, CRC32, ADX, BMI1,
 * BMI2) and decimal arithmetic.
 */
#include "core/cpu/emu.h"

/* ---- decimal arithmetic; SDM volume 2, DAA, DAS, AAA, AAS, AAM, AAD */

static uint64_t flags_szp(uint8_t v)
{
    uint64_t f = 0;
    alu_binary(ALU_TEST, 1, v, v, &f);
    return f & (FLAG_SF | FLAG_ZF | FLAG_PF);
}

static void op_daa(struct cpu *c, bool is_das)
{
    uint8_t old = (uint8_t)c->gpr[GPR_AX], al = old;
    bool had_carry = c->rflags & FLAG_CF, carry = false;
    bool adjust = (al & 15) > 9 || (c->rflags & FLAG_AF);
    if (adjust) {
        carry = had_carry || (is_das ? al < 6 : al > 0xf9);
        al = (uint8_t)(is_das ? al - 6 : al + 6);
    }
    if (old > 0x99 || had_carry) {
        al = (uint8_t)(is_das ? al - 0x60 : al + 0x60);
        carry = true;
    }
    reg_set(c, GPR_AX, 1, al);
    flags_set(c, FLAGS_ARITH,
              flags_szp(al) | (adjust ? FLAG_AF : 0) | (carry ? FLAG_CF : 0));
}

static void op_aaa(struct cpu *c, bool is_aas)
{
    uint16_t ax = (uint16_t)c->gpr[GPR_AX];
    bool adjust = (ax & 15) > 9 || (c->rflags & FLAG_AF);
    if (adjust) ax = (uint16_t)(is_aas ? ax - 0x106 : ax + 0x106);
    ax &= 0xff0f;
    reg_set(c, GPR_AX, 2, ax);
    flags_set(c, FLAGS_ARITH,
              flags_szp((uint8_t)ax) | (adjust ? FLAG_AF | FLAG_CF : 0));
}

void op_bcd(struct cpu *c, const struct insn *i)
{
    uint8_t al = (uint8_t)c->gpr[GPR_AX], ah = (uint8_t)(c->gpr[GPR_AX] >> 8);
    uint8_t base = (uint8_t)i->imm;
    switch (i->op) {
    case 0x27: op_daa(c, false); break;
    case 0x2f: op_daa(c, true); break;
    case 0x37: op_aaa(c, false); break;
    case 0x3f: op_aaa(c, true); break;
    case 0xd4: /* AAM */
        if (!base) cpu_throw(c, EXC_DE);
        reg_set(c, GPR_AX, 2, (uint64_t)(al / base) << 8 | al % base);
        flags_set(c, FLAGS_ARITH, flags_szp(al % base));
        break;
    case 0xd5: /* AAD */
        al = (uint8_t)(al + ah * base);
        reg_set(c, GPR_AX, 2, al);
        flags_set(c, FLAGS_ARITH, flags_szp(al));
        break;
    default: throw_ud(c);
    }
}

/* ---- 0F38 F0, F1, F6 */

static uint64_t byte_swap(uint64_t v, unsigned bytes)
{
    return __builtin_bswap64(v) >> (64 - 8 * bytes);
}

/* Castagnoli polynomial, reflected (SDM volume 2, CRC32). */
static uint32_t crc32c(uint32_t crc, uint64_t v, unsigned bytes)
{
    for (unsigned n = 0; n < bytes; n++) {
        crc ^= v >> 8 * n & 0xff;
        for (unsigned bit = 0; bit < 8; bit++) {
            crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0);
        }
    }
    return crc;
}

static void op_movbe_crc32(struct cpu *c, const struct insn *i)
{
    unsigned bytes = i->osize;
    if (i->rep == 0xf2) {
        if (!model_bit(c, 1, 2, 20)) throw_ud(c);
        if (!(i->op & 1)) bytes = 1;
        uint64_t v = rm_read(c, i, bytes);
        reg_set(c, i->reg, i->osize == 8 ? 8 : 4,
                crc32c((uint32_t)c->gpr[i->reg], v, bytes));
    } else if (i->mod == 3 || i->rep || !model_bit(c, 1, 2, 22)) {
        throw_ud(c);
    } else if (i->op == 0xf0) {
        reg_set(c, i->reg, bytes, byte_swap(rm_read(c, i, bytes), bytes));
    } else {
        rm_write(c, i, bytes, byte_swap(reg_get(c, i->reg, bytes), bytes));
    }
}

/* ADCX carries through CF, ADOX through OF. */
static void op_adx(struct cpu *c, const struct insn *i)
{
    uint64_t flag = i->rep == 0xf3 ? FLAG_OF : FLAG_CF;
    unsigned bytes = i->osize == 8 ? 8 : 4;
    if ((!i->has_66 && i->rep != 0xf3) || i->rep == 0xf2 ||
        !model_bit(c, 7, 1, 19)) {
        throw_ud(c);
    }
    uint64_t a = reg_get(c, i->reg, bytes), b = rm_read(c, i, bytes);
    uint64_t f = c->rflags & flag ? FLAG_CF : 0;
    uint64_t r = alu_binary(ALU_ADC, bytes, a, b, &f);
    reg_set(c, i->reg, bytes, r);
    flags_set(c, flag, f & FLAG_CF ? flag : 0);
}

void emulate_0f38(struct cpu *c, struct insn *i)
{
    if (!i->has_vex) {
        switch (i->op) {
        case 0x82:
            if (i->pp != 1) break;
            op_invpcid(c, i);
            return;
        case 0xf0:
        case 0xf1: op_movbe_crc32(c, i); return;
        case 0xf6: op_adx(c, i); return;
        default: break;
        }
    }
    if (!emulate_vector(c, i)) throw_ud(c);
}

void emulate_0f3a(struct cpu *c, struct insn *i)
{
    if (!emulate_vector(c, i)) throw_ud(c);
}
