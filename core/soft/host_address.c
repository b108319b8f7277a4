/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/soft/translate.h"

#include <string.h>

/*
 * Guest addresses: effective address, segment, TLB probe.
 *
 * The probe (S1 = linear address; GS base = TLB of space 0):
 *     mov  S2d, S1d
 *     shr  S2d, 7
 *     and  S2d, 0x3ffe0         entry
 *     xor  S1, gs:tag(S2)       offset in the page, or far more
 *     cmp  S1, 4096 - bytes
 *     ja   out of line
 *     add  S1, gs:page(S2)
 * One compare covers tag, invalid entries and page crossing.  It destroys the
 * flags; where the guest's are live they are kept in engine.saved_flags
 * meanwhile (lahf, seto: cheaper than pushf).
 */

int32_t slot_of_gpr(int g)
{
    return (int32_t)(offsetof(struct engine, cpu.gpr) + 8 * (size_t)g);
}

int host_of_gpr(int g)
{
    static const int8_t map[16] = {
        H_AX, H_CX, H_DX,  H_BX,  H_GUEST_SP,  H_BP,   H_SI,   H_DI,
        H_R8, H_R9, H_R10, H_R11, H_GUEST_R12, H_NONE, H_NONE, H_NONE,
    };

    return map[g];
}

int gpr_in(struct emitter *e, int g, int scratch)
{
    int h = host_of_gpr(g);

    if (h != H_NONE) return h;
    emit_load(e, scratch, slot_of_gpr(g));
    return scratch;
}

int32_t home_of(const struct translator *t, int g)
{
    return slot_of_gpr(t->regs.home[g]);
}

int host_in(const struct translator *t, int g)
{
    return t->regs.host[g];
}

int reg_in(struct translator *t, int g, int scratch)
{
    int h = host_in(t, g);

    if (h != H_NONE) return h;
    if (t->in_s2 != g) {
        emit_load(&t->hot, scratch, home_of(t, g));
        if (scratch == S2) t->in_s2 = g;
    } else if (scratch != S2) {
        emit_move(&t->hot, scratch, S2);
    }
    return scratch;
}

static uint8_t scale_shift(uint8_t scale)
{
    return scale == 8 ? 3 : scale == 4 ? 2 : scale == 2 ? 1 : 0;
}

static int segment_number(ZydisRegister r)
{
    switch (r) {
    case ZYDIS_REGISTER_ES: return SEG_ES;
    case ZYDIS_REGISTER_CS: return SEG_CS;
    case ZYDIS_REGISTER_SS: return SEG_SS;
    case ZYDIS_REGISTER_FS: return SEG_FS;
    case ZYDIS_REGISTER_GS: return SEG_GS;
    default: return SEG_DS;
    }
}

bool access_of(const struct translator *t, const struct guest_insn *n,
               const ZydisDecodedOperand *o, struct access *a)
{
    (void)t;
    *a = (struct access){
        .base = guest_gpr(o->mem.base),
        .index = guest_gpr(o->mem.index),
        .scale = scale_shift(o->mem.scale),
        .disp = o->mem.disp.value,
        .asize = n->d.address_width / 8,
        .seg = segment_number(o->mem.segment),
        .bytes = o->size / 8,
        .is_write = (o->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0,
    };
    if (o->mem.base == ZYDIS_REGISTER_RIP ||
        o->mem.base == ZYDIS_REGISTER_EIP) {
        a->disp += (int64_t)n->next;
        a->is_rip = true;
    }
    return a->bytes >= 1 && a->bytes <= 64;
}

/* ---- flags around inserted code */

static int32_t field(size_t offset)
{
    return (int32_t)offset;
}

void save_flags(struct translator *t)
{
    struct emitter *e = &t->hot;

    t->are_flags_saved = t->now->in != 0;
    if (!t->are_flags_saved) return;
    t->in_s2 = -1;
    emit_move(e, S2, H_AX);
    emit8(e, 0x9f); /* lahf */
    emit8(e, 0x0f); /* seto al */
    emit8(e, 0x90);
    emit8(e, 0xc0);
    emit_store(e, H_AX, field(offsetof(struct engine, saved_flags)));
    emit_move(e, H_AX, S2);
}

void restore_flags(struct translator *t)
{
    struct emitter *e = &t->hot;

    if (!t->are_flags_saved) return;
    t->in_s2 = -1;
    emit_move(e, S2, H_AX);
    emit_load(e, H_AX, field(offsetof(struct engine, saved_flags)));
    emit8(e, 0x04); /* add al, 0x7f: OF */
    emit8(e, 0x7f);
    emit8(e, 0x9e); /* sahf */
    emit_move(e, H_AX, S2);
    t->are_flags_saved = false;
}

/* ---- effective and linear address */

static bool is_constant(const struct access *a)
{
    return a->base < 0 && a->index < 0;
}

static uint64_t constant_ea(const struct access *a)
{
    switch (a->asize) {
    case 2: return (uint16_t)a->disp;
    case 4: return (uint32_t)a->disp;
    default: return (uint64_t)a->disp;
    }
}

void emit_ea(struct translator *t, const struct access *a, int to)
{
    struct emitter *e = &t->hot;
    struct mem_form m = { H_NONE, H_NONE, a->scale, false, (int32_t)a->disp };

    if (is_constant(a)) {
        (a->is_rip ? emit_rip_const : emit_const)(e, to, constant_ea(a));
        return;
    }
    if (a->base >= 0) m.base = reg_in(t, a->base, S1);
    if (a->index >= 0) m.index = reg_in(t, a->index, S2);
    emit_lea(e, a->asize == 8, to, m);
    if (a->asize == 2) {
        struct enc movzx = { .map = 1, .op = 0xb7 };
        emit_rr(e, &movzx, to, to);
    }
}

static bool is_flat_segment(const struct translator *t, int seg)
{
    uint32_t bits = t->mode.bits;

    switch (seg) {
    case SEG_DS: return bits & BM_FLAT_DS;
    case SEG_ES: return bits & BM_FLAT_ES;
    case SEG_SS: return bits & BM_FLAT_SS;
    default: return false;
    }
}

static size_t segment_field(int seg)
{
    return offsetof(struct engine, segment) +
           (size_t)seg * sizeof(struct flat_segment);
}

static void describe_group(const struct translator *t, struct fixup *f,
                           const struct group *g)
{
    int64_t from = g->from - g->first_from;

    f->first = (int16_t)(t->insn[g->first].rip - f->rip);
    f->from = (int16_t)from;
    f->group_kind = GROUP_PLAIN;
    if (g->is_indexed) {
        f->group_kind = GROUP_TABLE;
    } else if (t->is_hot && !g->stride && from == f->from) {
        f->group_kind = GROUP_FRAME;
    }
}

struct fixup *add_fixup(struct translator *t, enum fixup_kind kind)
{
    static struct fixup none; /* written to only when the block is given up */
    struct fixup *f;

    if (t->fix_count == BLOCK_FIXUPS) {
        t->hot.status = -ENOSPC;
        return &none;
    }
    t->in_s2 = -1; /* out of line it is used */
    f = &t->fix[t->fix_count++];
    memset(f, 0, sizeof(*f));
    f->kind = kind;
    f->end = t->hot.at;
    f->rip = t->now ? t->now->rip : t->rip;
    f->has_saved_flags = t->are_flags_saved;
    f->is_group = t->checked_group != NULL;
    if (t->checked_group) describe_group(t, f, t->checked_group);
    f->is_swapped = t->loop.is_body && !t->loop.is_setup;
    f->fail_to = t->loop.is_setup ? t->loop.plain : NULL;
    return f;
}

/* S1 = offset -> linear address; leaves for the emulator at the limit. */
static void emit_segment(struct translator *t, const struct access *a)
{
    struct emitter *e = &t->hot;
    size_t s = segment_field(a->seg);
    size_t end = a->is_write ? offsetof(struct flat_segment, wend)
                             : offsetof(struct flat_segment, rend);

    if (t->mode.bits & BM_CODE64) {
        if (a->seg != SEG_FS && a->seg != SEG_GS) return;
        s = offsetof(struct engine, cpu.seg) +
            (size_t)a->seg * sizeof(struct cpu_segment) +
            offsetof(struct cpu_segment, base);
        emit_op_rm(e, 0x03, true, S1, mem_gs(field(s)));
        return;
    }
    if (is_flat_segment(t, a->seg)) return;
    emit_op_rm(e, 0x8d, true, S2, mem_at(S1, (int32_t)a->bytes));
    emit_op_rm(e, 0x3b, true, S2, mem_gs(field(s + end)));
    emit_jcc(e, 7, emit_pc(e)); /* ja */
    add_fixup(t, FIX_EMULATE);
    emit_op_rm(e, 0x03, false, S1, mem_gs(field(s)));
}

/* ---- the probe */

/*
 * In hot code the range last accessed here is compared first, which takes half
 * as long (S1 = linear address):
 *     sub  S1, gs:base
 *     cmp  S1, gs:limit
 *     jae  out of line
 *     add  S1, gs:host
 */
static void emit_site(struct translator *t, const struct access *a)
{
    struct emitter *e = &t->hot;
    unsigned place = site_choose(t->cache->next_site[a->is_write], a->bytes);
    int32_t at = (int32_t)(offsetof(struct engine, sites) +
                           a->is_write * sizeof(struct site_set) + 8 * place);
    struct fixup *f;

    emit_op_rm(e, 0x2b, true, S1,
               mem_gs(at + (int32_t)offsetof(struct site_set, base)));
    emit_op_rm(e, 0x3b, true, S1,
               mem_gs(at + (int32_t)offsetof(struct site_set, limit)));
    emit_jcc(e, 3, emit_pc(e)); /* jae */
    f = add_fixup(t, FIX_SLOW);
    emit_op_rm(e, 0x03, true, S1,
               mem_gs(at + (int32_t)offsetof(struct site_set, host)));
    f->back = emit_pc(e);
    f->place = (uint16_t)(place + 1);
    f->bytes = (uint16_t)a->bytes;
    f->is_write = a->is_write;
}

static bool has_site(const struct translator *t, const struct access *a)
{
    return t->is_hot && !t->loop.is_setup && a->bytes <= SITE_BYTES_MAX &&
           !code_has_no_site(t->cache, t->now->rip);
}

static void emit_probe(struct translator *t, const struct access *a)
{
    struct emitter *e = &t->hot;
    int32_t table = (int32_t)t->space * TLB_SPAN;
    int32_t tag = table + (a->is_write ? 8 : 0);
    struct fixup *f;

    emit_op_rr(e, 0x89, false, S1, S2);
    emit_op_rr(e, 0xc1, false, 5, S2); /* shr */
    emit8(e, 7);
    emit_op_rr(e, 0x81, false, 4, S2); /* and */
    emit32(e, (TLB_ENTRIES - 1) * 32);
    emit_op_rm(e, 0x33, true, S1,
               (struct mem_form){ S2, H_NONE, 0, true, tag });
    emit_op_rr(e, 0x81, true, 7, S1); /* cmp */
    emit32(e, PAGE_BYTES - a->bytes);
    emit_jcc(e, 7, emit_pc(e)); /* ja */
    f = add_fixup(t, FIX_SLOW);
    emit_op_rm(e, 0x03, true, S1,
               (struct mem_form){ S2, H_NONE, 0, true, tag + 16 });
    f->back = emit_pc(e);
    f->tag_at = (uint32_t)tag;
    f->bytes = (uint16_t)a->bytes;
    f->is_write = a->is_write;
}

/* Stack accesses: one cached page instead of the table. */
static void emit_stack_probe(struct translator *t, const struct access *a)
{
    struct emitter *e = &t->hot;
    int32_t at = (int32_t)(offsetof(struct engine, stack) +
                           t->space * sizeof(struct stack_page));
    struct fixup *f;

    emit_op_rm(e, 0x33, true, S1, mem_gs(at));
    emit_op_rr(e, 0x81, true, 7, S1); /* cmp */
    emit32(e, PAGE_BYTES - a->bytes);
    emit_jcc(e, 7, emit_pc(e)); /* ja */
    f = add_fixup(t, FIX_SLOW);
    if (t->checked_group) {
        /* Members add it themselves; the slow path has set it. */
        f->back = emit_pc(e);
        emit_load(e, S1, at + (int32_t)offsetof(struct stack_page, delta));
    } else {
        emit_op_rm(e, 0x03, true, S1, mem_gs(at + 8));
        f->back = emit_pc(e);
    }
    f->tag_at = (uint32_t)at;
    f->is_stack = true;
    f->bytes = (uint16_t)a->bytes;
    f->is_write = a->is_write;
}

/* Address known now: its entry is, too. */
static void emit_constant_probe(struct translator *t, const struct access *a,
                                uint64_t lin)
{
    struct emitter *e = &t->hot;
    uint64_t page = lin & ~(uint64_t)(PAGE_BYTES - 1);
    int32_t entry = (int32_t)(t->space * TLB_SPAN +
                              (lin >> PAGE_SHIFT & (TLB_ENTRIES - 1)) * 32 +
                              (a->is_write ? 8 : 0));
    struct fixup *f;

    if ((int64_t)page == (int32_t)page) {
        emit_op_rm(e, 0x81, true, 7, mem_gs(entry));
        emit32(e, (uint32_t)page);
        if (a->is_rip) e->is_fixed = true;
    } else {
        (a->is_rip ? emit_rip_const : emit_const)(e, S1, page);
        emit_op_rm(e, 0x3b, true, S1, mem_gs(entry));
        if (a->is_rip) emit_note(e, MOVE_TLB, 4);
    }
    emit_jcc(e, 5, emit_pc(e)); /* jne */
    f = add_fixup(t, FIX_SLOW);
    emit_load(e, S1, entry + 16);
    if (a->is_rip) emit_note(e, MOVE_TLB, 4);
    if (lin & (PAGE_BYTES - 1)) {
        emit_lea(e, true, S1, mem_at(S1, (int32_t)(lin & (PAGE_BYTES - 1))));
    }
    f->back = emit_pc(e);
    f->is_const = true;
    f->is_rip = a->is_rip;
    f->address = lin;
    f->bytes = (uint16_t)a->bytes;
    f->is_write = a->is_write;
}

static bool is_linear(const struct translator *t, const struct access *a)
{
    if (t->mode.bits & BM_CODE64) {
        return a->seg != SEG_FS && a->seg != SEG_GS;
    }
    return is_flat_segment(t, a->seg);
}

void emit_checked(struct translator *t, const struct access *a)
{
    emit_segment(t, a);
    if (a->base == GPR_SP && a->index < 0 && a->asize > 2 &&
        !(t->mode.bits & (BM_UNGROUPED | BM_SPLIT_STACK)) &&
        !t->loop.is_setup && !(t->has_stack_group && !t->checked_group) &&
        !(t->checked_group &&
          (t->checked_group->has_split || t->checked_group->is_indexed))) {
        emit_stack_probe(t, a);
    } else if (has_site(t, a)) {
        emit_site(t, a);
    } else {
        emit_probe(t, a);
    }
    restore_flags(t);
}

void emit_ungrouped_access(struct translator *t, const struct access *a)
{
    t->in_s1 = -1;
    save_flags(t);
    if (is_constant(a) && is_linear(t, a) &&
        (constant_ea(a) & (PAGE_BYTES - 1)) + a->bytes <= PAGE_BYTES) {
        emit_constant_probe(t, a, constant_ea(a));
        restore_flags(t);
    } else {
        emit_ea(t, a, S1);
        emit_checked(t, a);
    }
}

struct mem_form emit_operand(struct translator *t, const struct access *a)
{
    struct mem_form m = mem_at(S1, 0);

    if (!group_access(t, false, a, &m)) emit_ungrouped_access(t, a);
    return m;
}

void emit_access(struct translator *t, const struct access *a)
{
    struct mem_form m = emit_operand(t, a);

    t->in_s1 = -1;
    if (m.index != H_NONE || m.disp) emit_lea(&t->hot, true, S1, m);
}
