/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/soft/translate.h"

/*
 * Instructions that run as they are: the encoding is taken apart, registers
 * are renamed and a memory operand is replaced by (S1).  No encoder is needed.
 */

/* Guest registers without a host register that an instruction uses, each in
 * a scratch register for its duration. */
struct borrowed {
    int g, h;
    bool is_read, is_written;
};

struct rewrite {
    struct translator *t;
    struct guest_insn *n;
    struct enc c;
    int reg, rm, opreg; /* host registers; opreg -1: none */
    bool has_modrm, has_memory, has_high;
    uint8_t is4;
    struct mem_form m;
    struct borrowed b[2];
    unsigned borrowed_count;
};

/* ---- taking the encoding apart */

/* Conversions from and moves of an integer in a register or memory, string
 * instructions with lengths in EAX and EDX. */
static bool has_integer_operand(const struct enc *c)
{
    if (c->map == 3) {
        return c->op == 0x16 || c->op == 0x22 || c->op == 0x60 || c->op == 0x61;
    }
    if (c->map != 1) return false;
    return c->op == 0x2a || c->op == 0x2c || c->op == 0x2d || c->op == 0x6e ||
           c->op == 0x7e;
}

/* Outside 64-bit code VEX.W means nothing for an integer operand, and there
 * are eight registers. */
static void split_vex(struct rewrite *r, int *reg_high, int *rm_high)
{
    const ZydisDecodedInstruction *d = &r->n->d;
    const uint8_t *v = r->n->bytes + d->raw.vex.offset;
    bool is_short = v[0] == 0xc5;
    uint8_t last = is_short ? v[1] : v[2];

    r->c.is_vex = true;
    r->c.map = is_short ? 1 : v[1] & 31;
    r->c.w = is_short ? 0 : last >> 7;
    r->c.v = ~last >> 3 & 15;
    r->c.l = last >> 2 & 1;
    r->c.pp = last & 3;
    *reg_high = ~v[1] >> 7 & 1;
    *rm_high = is_short ? 0 : ~v[1] >> 5 & 1;
    if (!(r->t->mode.bits & BM_CODE64)) {
        r->c.v &= 7;
        *rm_high = 0;
        if (has_integer_operand(&r->c)) r->c.w = 0;
    }
}

/* Does the operand-size prefix select 16-bit operands of this instruction?
 * Vector and x87 instructions have none. */
static bool has_operand_size(const struct guest_insn *n)
{
    for (unsigned i = 0; i < n->d.operand_count; i++) {
        const ZydisDecodedOperand *o = &n->o[i];
        if (o->type != ZYDIS_OPERAND_TYPE_REGISTER) continue;
        switch (ZydisRegisterGetClass(o->reg.value)) {
        case ZYDIS_REGCLASS_X87:
        case ZYDIS_REGCLASS_MMX:
        case ZYDIS_REGCLASS_XMM:
        case ZYDIS_REGCLASS_YMM: return false;
        default: break;
        }
    }
    if (n->d.opcode_map == ZYDIS_OPCODE_MAP_0F) {
        /* Fences, MXCSR, MOVNTI, CMPXCHG8B */
        if (n->d.opcode == 0xae || n->d.opcode == 0xc3) return false;
        if (n->d.opcode == 0xc7 && n->mem >= 0) return false;
    }
    switch (n->d.meta.category) {
    case ZYDIS_CATEGORY_X87_ALU:
    case ZYDIS_CATEGORY_MMX: return false;
    default: return true;
    }
}

static void add_prefix(struct enc *c, uint8_t p)
{
    if (c->prefix_count < sizeof(c->prefix)) c->prefix[c->prefix_count++] = p;
}

static bool is_mandatory(const ZydisDecodedInstruction *d, uint8_t value)
{
    for (unsigned i = 0; i < d->raw.prefix_count; i++) {
        if (d->raw.prefixes[i].value == value &&
            d->raw.prefixes[i].type == ZYDIS_PREFIX_TYPE_MANDATORY) {
            return true;
        }
    }
    return false;
}

static bool has_prefix(const ZydisDecodedInstruction *d, uint8_t value)
{
    for (unsigned i = 0; i < d->raw.prefix_count; i++) {
        if (d->raw.prefixes[i].value == value) return true;
    }
    return false;
}

static void split_legacy(struct rewrite *r, int *reg_high, int *rm_high)
{
    const ZydisDecodedInstruction *d = &r->n->d;
    bool is_16 = d->operand_width == 16 && has_operand_size(r->n);

    if (has_prefix(d, 0xf0)) add_prefix(&r->c, 0xf0);
    if (is_mandatory(d, 0x66) || is_16) add_prefix(&r->c, 0x66);
    if (is_mandatory(d, 0xf2)) add_prefix(&r->c, 0xf2);
    if (is_mandatory(d, 0xf3)) add_prefix(&r->c, 0xf3);
    if (d->attributes & ZYDIS_ATTRIB_HAS_REX) {
        r->c.w = d->raw.rex.W;
        r->c.force_rex = true;
        *reg_high = d->raw.rex.R;
        *rm_high = d->raw.rex.B;
    }
    switch (d->opcode_map) {
    case ZYDIS_OPCODE_MAP_0F: r->c.map = 1; break;
    case ZYDIS_OPCODE_MAP_0F38: r->c.map = 2; break;
    case ZYDIS_OPCODE_MAP_0F3A: r->c.map = 3; break;
    default: r->c.map = 0; break;
    }
}

static void split_immediate(struct rewrite *r)
{
    const ZydisDecodedInstruction *d = &r->n->d;

    for (unsigned i = 0; i < d->operand_count; i++) {
        if (r->n->o[i].encoding != ZYDIS_OPERAND_ENCODING_IS4) continue;
        r->is4 = r->n->bytes[d->length - 1];
        /* Bit 7 of a register number is ignored outside 64-bit mode. */
        if (!(r->t->mode.bits & BM_CODE64)) r->is4 &= 0x7f;
        r->c.tail = &r->is4;
        r->c.tail_bytes = 1;
        return;
    }
    if (d->raw.imm[0].size) {
        r->c.tail = r->n->bytes + d->raw.imm[0].offset;
        r->c.tail_bytes = (uint8_t)(d->length - d->raw.imm[0].offset);
    }
}

static void split(struct rewrite *r)
{
    const ZydisDecodedInstruction *d = &r->n->d;
    int reg_high = 0, rm_high = 0;

    r->c.op = d->opcode;
    if (d->opcode == 0x82 && d->opcode_map == ZYDIS_OPCODE_MAP_DEFAULT) {
        r->c.op = 0x80; /* its alias, gone in 64-bit mode */
    }
    r->opreg = -1;
    r->has_modrm = d->attributes & ZYDIS_ATTRIB_HAS_MODRM;
    if (d->encoding == ZYDIS_INSTRUCTION_ENCODING_VEX) {
        split_vex(r, &reg_high, &rm_high);
    } else {
        split_legacy(r, &reg_high, &rm_high);
    }
    split_immediate(r);
    if (r->has_modrm) {
        r->reg = d->raw.modrm.reg | reg_high << 3;
        r->rm = d->raw.modrm.rm | rm_high << 3;
    } else {
        r->rm = (d->opcode & 7) | rm_high << 3;
    }
}

/* ---- renaming */

static struct borrowed *borrow(struct rewrite *r, int g, bool is_read)
{
    unsigned limit = r->has_memory ? 1 : 2;
    struct borrowed *b;

    for (unsigned i = 0; i < r->borrowed_count; i++) {
        if (r->b[i].g == g) return &r->b[i];
    }
    if (r->borrowed_count == limit) {
        (void)is_read;
        return NULL;
    }
    b = &r->b[r->borrowed_count];
    *b = (struct borrowed){ g, r->borrowed_count == 0 ? S2 : S1, false, false };
    r->borrowed_count++;
    if (b->h == S1) r->t->in_s1 = -1;
    return b;
}

/* With a zero source these leave the destination alone, on every processor
 * that matters (APM 3 says so, SDM 2A "undefined"); the decoder's tables call
 * it written. */
static bool keeps_destination(ZydisMnemonic m)
{
    return m == ZYDIS_MNEMONIC_BSF || m == ZYDIS_MNEMONIC_BSR;
}

/* Host register for guest register g as operand o; -1: cannot. */
static int rename_gpr(struct rewrite *r, const ZydisDecodedOperand *o, int g)
{
    bool is_read = (o->actions & (ZYDIS_OPERAND_ACTION_MASK_READ |
                                  ZYDIS_OPERAND_ACTION_CONDWRITE)) ||
                   o->size < 32 || keeps_destination(r->n->d.mnemonic);
    bool is_written = o->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE;
    struct borrowed *b;
    int h = host_in(r->t, g);

    if (h != H_NONE) return h;
    b = borrow(r, g, is_read);
    if (!b) return -1;
    if (is_read && !b->is_read) {
        if (b->h == S2) {
            reg_in(r->t, g, S2);
        } else {
            emit_load(&r->t->hot, b->h, home_of(r->t, g));
        }
        b->is_read = true;
    }
    if (is_written) b->is_written = true;
    return b->h;
}

static bool place(struct rewrite *r, const ZydisDecodedOperand *o, int h)
{
    switch (o->encoding) {
    case ZYDIS_OPERAND_ENCODING_MODRM_REG: r->reg = h; break;
    case ZYDIS_OPERAND_ENCODING_MODRM_RM: r->rm = h; break;
    case ZYDIS_OPERAND_ENCODING_NDSNDD: r->c.v = (uint8_t)h; break;
    case ZYDIS_OPERAND_ENCODING_OPCODE: r->opreg = h; break;
    default: return false;
    }
    return true;
}

static bool rename_operands(struct rewrite *r)
{
    const ZydisDecodedInstruction *d = &r->n->d;

    for (unsigned i = 0; i < d->operand_count; i++) {
        const ZydisDecodedOperand *o = &r->n->o[i];
        int g, h;

        if (o->type != ZYDIS_OPERAND_TYPE_REGISTER) continue;
        g = guest_gpr(o->reg.value);
        if (g < 0) {
            if (o->encoding == ZYDIS_OPERAND_ENCODING_OPCODE) r->opreg = r->rm;
            continue;
        }
        if (o->encoding == ZYDIS_OPERAND_ENCODING_NONE) {
            /* Implicit: only those that keep their host register. */
            if (!(g & 0x100) && host_in(r->t, g) != g) return false;
            continue;
        }
        if (r->c.is_vex && !(r->t->mode.bits & BM_CODE64)) r->c.w = 0;
        if (g & 0x100) {
            r->has_high = true;
            if (o->encoding == ZYDIS_OPERAND_ENCODING_OPCODE) r->opreg = r->rm;
            continue;
        }
        h = rename_gpr(r, o, g);
        if (h < 0 || !place(r, o, h)) return false;
        if (o->size == 8 && h > 3) r->c.force_rex = true;
    }
    return true;
}

/* AH..BH cannot be encoded beside R13: the address borrows RSI. */
static void emit_high_with_memory(struct rewrite *r)
{
    struct emitter *e = &r->t->hot;
    struct mem_form m = r->m;

    r->c.force_rex = false;
    r->c.w = 0;
    emit_op_rr(e, 0x87, true, H_SI, S1);
    m.base = H_SI;
    if (m.index == H_SI) m.index = S1; /* they have changed places */
    if (m.index != H_NONE) emit_lea(e, true, H_SI, m);
    if (m.index != H_NONE) m = mem_at(H_SI, 0);
    r->t->in_s1 = -1;
    emit_rm(e, &r->c, r->reg, m);
    emit_op_rr(e, 0x87, true, H_SI, S1);
}

static bool emit_rewritten(struct rewrite *r)
{
    struct emitter *e = &r->t->hot;

    if (r->has_high && !r->has_memory) {
        int reg = r->has_modrm ? r->reg : 0;
        int rm = r->opreg >= 0 ? r->opreg : r->rm;
        if (reg > 7 || rm > 7) return false;
        r->c.force_rex = false;
    }
    if (r->has_high && r->has_memory) {
        emit_high_with_memory(r);
    } else if (r->has_memory) {
        emit_rm(e, &r->c, r->reg, r->m);
    } else if (r->has_modrm) {
        emit_rr(e, &r->c, r->reg, r->rm);
    } else if (r->opreg >= 0) {
        emit_opreg(e, &r->c, r->opreg);
    } else {
        /* No operand field: the opcode alone. */
        for (unsigned i = 0; i < r->c.prefix_count; i++) {
            emit8(e, r->c.prefix[i]);
        }
        if (r->c.is_vex) {
            emit8(e, 0xc5);
            emit8(e, 0xf8 | (unsigned)r->c.l << 2 | r->c.pp);
            emit8(e, r->c.op);
            return true;
        }
        if (r->c.w) emit8(e, 0x48);
        if (r->c.map) emit8(e, 0x0f);
        if (r->c.map == 2 || r->c.map == 3) return false;
        emit8(e, r->c.op);
        for (unsigned i = 0; i < r->c.tail_bytes; i++)
            emit8(e, r->c.tail[i]);
    }
    return true;
}

static void give_back(struct rewrite *r)
{
    struct translator *t = r->t;

    for (unsigned i = 0; i < r->borrowed_count; i++) {
        const struct borrowed *b = &r->b[i];
        if (b->h == S2) {
            t->in_s2 = b->g;
        } else if (b->is_written && t->in_s2 == b->g) {
            t->in_s2 = -1;
        }
        if (b->is_written) emit_store(&t->hot, b->h, home_of(t, b->g));
    }
}

bool emit_generic(struct translator *t, struct guest_insn *n)
{
    struct rewrite r = { .t = t, .n = n };
    struct access a;

    if (n->d.mnemonic == ZYDIS_MNEMONIC_PAUSE) {
        emit8(&t->hot, 0xf3);
        emit8(&t->hot, 0x90);
        return true;
    }
    /* Outside 64-bit code of registers 0 to 7 alone: VMOVAPS xmm, xmm. */
    if (n->d.mnemonic == ZYDIS_MNEMONIC_VZEROUPPER &&
        !(t->mode.bits & BM_CODE64)) {
        for (unsigned i = 0; i < 8; i++) {
            emit8(&t->hot, 0xc5);
            emit8(&t->hot, 0xf8);
            emit8(&t->hot, 0x28);
            emit8(&t->hot, (uint8_t)(0xc0 | i << 3 | i));
        }
        return true;
    }
    split(&r);
    if (n->mem >= 0) {
        r.has_memory = true;
        if (!access_of(t, n, &n->o[n->mem], &a)) return false;
        r.m = emit_operand(t, &a);
    }
    if (!rename_operands(&r) || !emit_rewritten(&r)) return false;
    give_back(&r);
    return true;
}

/* ---- the few that change shape */

/* MOV between the accumulator and an absolute address. */
bool emit_moffs(struct translator *t, struct guest_insn *n)
{
    struct enc c = { .op = (uint8_t)(0x88 | (n->d.opcode & 1)) };
    struct access a;

    if (n->mem < 0 || !access_of(t, n, &n->o[n->mem], &a)) return false;
    if (!(n->d.opcode & 2)) c.op |= 2; /* load: 8A, 8B */
    if (n->d.opcode & 1) {
        if (n->d.operand_width == 16) c.prefix[c.prefix_count++] = 0x66;
        c.w = n->d.operand_width == 64;
    }
    emit_access(t, &a);
    emit_rm(&t->hot, &c, H_AX, mem_at(S1, 0));
    return true;
}

bool emit_incdec(struct translator *t, struct guest_insn *n)
{
    struct enc c = { .op = 0xff };
    int g = n->d.opcode & 7;

    if (n->d.operand_width == 16) c.prefix[c.prefix_count++] = 0x66;
    emit_rr(&t->hot, &c, n->d.opcode >> 3 & 1, host_of_gpr(g));
    return true;
}

bool emit_lea_insn(struct translator *t, struct guest_insn *n)
{
    struct enc mov16 = { .op = 0x89, .prefix = { 0x66 }, .prefix_count = 1 };
    struct emitter *e = &t->hot;
    int g = guest_gpr(n->o[0].reg.value), to, h;
    struct access a;

    access_of(t, n, &n->o[1], &a);
    if (g < 0) return false;
    to = host_in(t, g);
    if (n->d.operand_width == 16) {
        emit_ea(t, &a, S1);
        h = reg_in(t, g, S2);
        emit_rr(e, &mov16, S1, h);
        if (to == H_NONE) emit_store(e, h, home_of(t, g));
        return true;
    }
    if (n->d.operand_width == 32 && a.asize == 8) a.asize = 4;
    emit_ea(t, &a, to == H_NONE ? S1 : to);
    if (to == H_NONE) {
        if (t->in_s2 == g) t->in_s2 = -1;
        emit_store(e, S1, home_of(t, g));
    }
    return true;
}
