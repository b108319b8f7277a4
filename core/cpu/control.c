/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Control and debug registers, descriptor-table registers, groups 6 and 7:
 * SDM volume 3A 2.5, 4.1, 9.8, volume 3B 17.2, and the instruction pages.
 */
#include "core/cpu/emu.h"

void mode_changed(struct cpu *c)
{
    if (c->ops->mode_changed) c->ops->mode_changed(c);
}

void require_cpl0(struct cpu *c)
{
    if (cpu_cpl(c)) throw_gp(c, 0);
}

uint64_t phys_reserved(const struct cpu *c)
{
    unsigned bits = c->model && c->model->phys_bits ? c->model->phys_bits : 40;
    return ~(((uint64_t)1 << bits) - 1);
}

/* Read the four PDPTEs cr3 points to; false when one has reserved bits set
 * (SDM volume 3A 4.4.1). */
static bool read_pdptes(struct cpu *c, uint64_t cr3, uint64_t to[4])
{
    for (unsigned n = 0; n < 4; n++) {
        void *p = c->ops->phys_ptr(c, (cr3 & 0xffffffe0) + 8 * n);
        to[n] = p ? cpu_get(p, 8) : 0;
        if ((to[n] & 1) && (to[n] & (phys_reserved(c) | 0x1e6))) return false;
    }
    return true;
}

bool reload_pdptes(struct cpu *c, uint64_t cr3)
{
    uint64_t v[4];
    if (!read_pdptes(c, cr3, v)) return false;
    for (unsigned n = 0; n < 4; n++) {
        c->pdpte[n] = v[n];
    }
    return true;
}

static void load_pdptes(struct cpu *c, uint64_t cr3)
{
    if (!reload_pdptes(c, cr3)) throw_gp(c, 0);
}

static bool is_tss16(const struct cpu *c)
{
    return (SEG_ATTR_TYPE(c->tr.attr) & 8) == 0 && (c->tr.attr & SEG_ATTR_P);
}

/* CR0.PG goes from 0 to 1. */
static void check_paging_on(struct cpu *c)
{
    if (c->efer & EFER_LME) {
        bool is_bad = !(c->cr4 & CR4_PAE) || is_tss16(c) ||
                      (c->seg[SEG_CS].attr & SEG_ATTR_L);
        if (is_bad) throw_gp(c, 0);
    } else if (c->cr4 & CR4_PAE) {
        load_pdptes(c, c->cr3);
    }
}

void set_cr0(struct cpu *c, uint64_t v)
{
    const uint64_t known = CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_ET | CR0_NE |
                           CR0_WP | CR0_AM | CR0_NW | CR0_CD | CR0_PG;
    if (v >> 32) throw_gp(c, 0);
    if ((v & CR0_PG) && !(v & CR0_PE)) throw_gp(c, 0);
    if ((v & CR0_NW) && !(v & CR0_CD)) throw_gp(c, 0);
    v = (v & known) | CR0_ET;
    uint64_t changed = v ^ c->cr0;
    if ((changed & CR0_PG) && (v & CR0_PG)) {
        check_paging_on(c);
        if (c->efer & EFER_LME) c->efer |= EFER_LMA;
    } else if (changed & CR0_PG) {
        if (cpu_is_code64(c) || (c->cr4 & CR4_PCIDE)) throw_gp(c, 0);
        c->efer &= ~(uint64_t)EFER_LMA;
    }
    c->cr0 = v;
    if (changed & (CR0_PG | CR0_WP | CR0_PE)) {
        c->ops->flush(c, CPU_FLUSH_ALL, 0);
    }
    mode_changed(c);
}

static void set_cr3(struct cpu *c, uint64_t v)
{
    uint64_t from = c->cr3;
    bool is_kept = false;
    if (cpu_is_long(c)) {
        if (c->cr4 & CR4_PCIDE) {
            is_kept = v >> 63;
            v &= ~((uint64_t)1 << 63);
        }
        if (v & phys_reserved(c)) throw_gp(c, 0);
    } else {
        v = (uint32_t)v;
        if ((c->cr4 & CR4_PAE) && (c->cr0 & CR0_PG)) load_pdptes(c, v);
    }
    if (c->cr4 & CR4_PCIDE) {
        if (!is_kept) c->ops->flush(c, CPU_FLUSH_PCID, v & CR3_PCID);
        c->cr3 = v;
        c->ops->flush(c, CPU_FLUSH_SWITCH, from);
    } else {
        c->cr3 = v;
        c->ops->flush(c, CPU_FLUSH_NONGLOBAL, 0);
    }
    mode_changed(c);
}

/* SDM volume 3A 2.5: bits of CR4 with the bit of CPUID.1:EDX they are there
 * with. */
static const struct {
    uint32_t cr4;
    uint8_t bit;
} cr4_of_leaf_1[] = {
    { CR4_VME | CR4_PVI, 1 }, { CR4_DE, 2 },      { CR4_PSE, 3 },
    { CR4_TSD, 4 },           { CR4_PAE, 6 },     { CR4_MCE, 7 },
    { CR4_PGE, 13 },          { CR4_OSFXSR, 24 }, { CR4_OSXMMEXCPT, 25 },
    { CR4_PCE, 23 }, /* RDPMC came with MMX */
};

uint64_t cr4_allowed(const struct cpu *c)
{
    const struct cpu_model *m = c->model;
    uint64_t v = 0;
    for (unsigned n = 0; n < sizeof(cr4_of_leaf_1) / sizeof(cr4_of_leaf_1[0]);
         n++) {
        if (model_bit(c, 1, 3, cr4_of_leaf_1[n].bit)) {
            v |= cr4_of_leaf_1[n].cr4;
        }
    }
    if (!m || m->has_umip) v |= CR4_UMIP;
    if (!m || m->has_fsgsbase) v |= CR4_FSGSBASE;
    if (!m || m->has_pcid) v |= CR4_PCIDE;
    if (!m || m->has_xsave) v |= CR4_OSXSAVE;
    if (!m || m->has_smep) v |= CR4_SMEP;
    if (!m || m->has_smap) v |= CR4_SMAP;
    return v;
}

static void set_cr4(struct cpu *c, uint64_t v)
{
    const uint64_t flushing =
        CR4_PSE | CR4_PAE | CR4_PGE | CR4_PCIDE | CR4_SMEP | CR4_SMAP;
    if (v & ~cr4_allowed(c)) throw_gp(c, 0);
    uint64_t changed = v ^ c->cr4;
    if (cpu_is_long(c) && !(v & CR4_PAE)) throw_gp(c, 0);
    if ((changed & v & CR4_PCIDE) && (!cpu_is_long(c) || (c->cr3 & 0xfff))) {
        throw_gp(c, 0);
    }
    if ((c->cr0 & CR0_PG) && !cpu_is_long(c) && (v & CR4_PAE) &&
        (changed & (CR4_PAE | CR4_PGE | CR4_PSE | CR4_SMEP))) {
        load_pdptes(c, c->cr3);
    }
    c->cr4 = v;
    if (changed & flushing) c->ops->flush(c, CPU_FLUSH_ALL, 0);
    mode_changed(c);
}

void control_read(struct cpu *c, const struct insn *i)
{
    uint64_t v;
    switch (i->reg) {
    case 0: v = c->cr0; break;
    case 2: v = c->cr2; break;
    case 3: v = c->cr3; break;
    case 4: v = c->cr4; break;
    case 8: v = c->ops->get_tpr ? c->ops->get_tpr(c) >> 4 : 0; break;
    default: throw_ud(c);
    }
    require_cpl0(c);
    reg_set(c, i->rm, i->mode == 8 ? 8 : 4, v);
}

void control_write(struct cpu *c, struct insn *i)
{
    uint64_t v = reg_get(c, i->rm, i->mode == 8 ? 8 : 4);
    if (i->reg != 0 && i->reg != 2 && i->reg != 3 && i->reg != 4 &&
        i->reg != 8) {
        throw_ud(c);
    }
    require_cpl0(c);
    switch (i->reg) {
    case 0: set_cr0(c, v); break;
    case 2: c->cr2 = v; break;
    case 3: set_cr3(c, v); break;
    case 4: set_cr4(c, v); break;
    default:
        if (v >> 4) throw_gp(c, 0);
        if (c->ops->set_tpr) c->ops->set_tpr(c, (uint8_t)(v << 4));
        mode_changed(c);
        break;
    }
}

/* ---- debug registers */

static unsigned debug_number(struct cpu *c, const struct insn *i)
{
    unsigned n = i->reg;
    if (n > 7) throw_ud(c);
    if (n == 4 || n == 5) {
        if (c->cr4 & CR4_DE) throw_ud(c);
        n += 2;
    }
    require_cpl0(c);
    if (c->dr[7] & (1u << 13)) { /* GD: general detect */
        c->dr[6] |= 1u << 13;
        cpu_throw(c, EXC_DB);
    }
    return n;
}

void debug_read(struct cpu *c, const struct insn *i)
{
    unsigned n = debug_number(c, i);
    reg_set(c, i->rm, i->mode == 8 ? 8 : 4, c->dr[n]);
}

void debug_write(struct cpu *c, const struct insn *i)
{
    unsigned n = debug_number(c, i);
    uint64_t v = reg_get(c, i->rm, i->mode == 8 ? 8 : 4);
    if (n >= 6 && v >> 32) throw_gp(c, 0);
    if (n == 6) v = (v & 0xe00f) | 0xffff0ff0;
    if (n == 7) v = (v & 0xffff2bff) | 0x400;
    c->dr[n] = v;
    mode_changed(c);
}

/* ---- group 6: 0F 00 */

static void require_umip(struct cpu *c)
{
    if ((c->cr4 & CR4_UMIP) && is_protected(c) && cpu_cpl(c)) throw_gp(c, 0);
}

static void verify_segment(struct cpu *c, unsigned sel, bool is_write)
{
    struct desc d;
    bool is_ok = desc_read(c, sel, &d) && (d.hi & DESC_S);
    if (is_ok) {
        is_ok = is_write ? desc_is_stack(&d) : desc_is_readable(&d);
        if (!desc_is_code(&d) || !desc_is_conforming(&d)) {
            unsigned dpl = DESC_DPL(&d);
            if (cpu_cpl(c) > dpl || (sel & 3) > dpl) is_ok = false;
        }
    }
    flags_set(c, FLAG_ZF, is_ok ? FLAG_ZF : 0);
}

/* SLDT and STR: 16 bits to memory, operand size to a register. */
static void store_selector(struct cpu *c, const struct insn *i, unsigned sel)
{
    require_umip(c);
    rm_write(c, i, i->mod == 3 ? i->osize : 2, sel);
}

void op_group6(struct cpu *c, const struct insn *i)
{
    if (is_real_style(c)) throw_ud(c);
    switch (i->reg & 7) {
    case 0: store_selector(c, i, c->ldt.sel); break;
    case 1: store_selector(c, i, c->tr.sel); break;
    case 2:
        require_cpl0(c);
        load_ldt(c, (unsigned)rm_read(c, i, 2));
        break;
    case 3:
        require_cpl0(c);
        load_tr(c, (unsigned)rm_read(c, i, 2));
        break;
    case 4: verify_segment(c, (unsigned)rm_read(c, i, 2), false); break;
    case 5: verify_segment(c, (unsigned)rm_read(c, i, 2), true); break;
    default: throw_ud(c);
    }
}

/* ---- group 7: 0F 01 */

static void store_table(struct cpu *c, const struct insn *i,
                        const struct cpu_table *t)
{
    uint64_t off = insn_ea(c, i);
    unsigned width = i->mode == 8 ? 8 : 4;
    uint8_t image[10];
    require_umip(c);
    cpu_put(image, 2, t->limit);
    cpu_put(image + 2, width, t->base);
    mem_store(c, i->seg, off, image, 2 + width);
}

static void load_table(struct cpu *c, const struct insn *i, struct cpu_table *t)
{
    uint64_t off = insn_ea(c, i);
    unsigned width = i->mode == 8 ? 8 : 4;
    uint8_t image[10];
    require_cpl0(c);
    mem_load(c, i->seg, off, image, 2 + width);
    uint64_t base = cpu_get(image + 2, width);
    if (width == 4 && i->osize == 2) base &= 0xffffff;
    if (!is_canonical(base)) throw_gp(c, 0);
    t->limit = (uint16_t)cpu_get(image, 2);
    t->base = base;
}

static void op_smsw(struct cpu *c, const struct insn *i)
{
    require_umip(c);
    rm_write(c, i, i->mod == 3 ? i->osize : 2, c->cr0);
}

static void op_lmsw(struct cpu *c, const struct insn *i)
{
    require_cpl0(c);
    uint64_t v = rm_read(c, i, 2) & 15;
    set_cr0(c, (c->cr0 & ~(uint64_t)14) | v);
}

static void op_swapgs(struct cpu *c)
{
    uint64_t base = c->seg[SEG_GS].base;
    c->seg[SEG_GS].base = c->kernel_gs_base;
    c->kernel_gs_base = base;
    mode_changed(c);
}

/* Register forms of 0F 01. */
static bool group7_register(struct cpu *c, struct insn *i)
{
    switch (i->modrm) {
    case 0xca: /* CLAC, STAC */
    case 0xcb:
        if (i->pp || (c->model && !c->model->has_smap)) return false;
        if (cpu_cpl(c) || (c->rflags & FLAG_VM)) throw_ud(c);
        flags_set(c, FLAG_AC, i->modrm == 0xcb ? FLAG_AC : 0);
        mode_changed(c);
        return true;
    case 0xd0: /* XGETBV, XSETBV: NP in the manual, no 66, F2 or F3 */
    case 0xd1:
        if (i->pp) return false;
        i->modrm == 0xd0 ? op_xgetbv(c) : op_xsetbv(c);
        return true;
    case 0xf8:
        if (i->mode != 8) return false;
        require_cpl0(c);
        op_swapgs(c);
        return true;
    case 0xf9:
        if (c->model && !c->model->has_rdtscp) return false;
        op_rdtsc(c, true);
        return true;
    default: return false;
    }
}

void op_group7(struct cpu *c, struct insn *i)
{
    unsigned op = i->reg & 7;
    if (op == 4) {
        op_smsw(c, i);
    } else if (op == 6) {
        op_lmsw(c, i);
    } else if (i->mod == 3) {
        if (!group7_register(c, i)) throw_ud(c);
    } else if (op == 7) {
        require_cpl0(c);
        uint64_t lin = insn_ea(c, i);
        if (i->mode != 8 || i->seg >= SEG_FS) lin += c->seg[i->seg].base;
        if (i->mode != 8) lin = (uint32_t)lin;
        if (is_canonical(lin)) c->ops->flush(c, CPU_FLUSH_PAGE, lin);
    } else if (op < 2) {
        store_table(c, i, op ? &c->idt : &c->gdt);
    } else if (op < 4) {
        load_table(c, i, op == 3 ? &c->idt : &c->gdt);
    } else {
        throw_ud(c);
    }
}

/* SDM volume 2, INVPCID. */
void op_invpcid(struct cpu *c, const struct insn *i)
{
    if (i->mod == 3 || (c->model && !c->model->has_invpcid)) throw_ud(c);
    require_cpl0(c);
    uint64_t type = reg_get(c, i->reg, i->mode == 8 ? 8 : 4), d[2];
    mem_load(c, i->seg, insn_ea(c, i), d, 16);
    if (type > 3 || (type < 2 && (d[0] >> 12))) throw_gp(c, 0);
    if (type < 2 && d[0] && !(c->cr4 & CR4_PCIDE)) throw_gp(c, 0);
    uint64_t pcid = d[0], present = c->cr4 & CR4_PCIDE ? c->cr3 & CR3_PCID : 0;
    switch (type) {
    case 0:
        if (!is_canonical(d[1])) throw_gp(c, 0);
        /* Of another PCID all go. */
        if (pcid == present) {
            c->ops->flush(c, CPU_FLUSH_PAGE, d[1]);
        } else {
            c->ops->flush(c, CPU_FLUSH_PCID, pcid);
        }
        break;
    case 1: c->ops->flush(c, CPU_FLUSH_PCID, pcid); break;
    case 2: c->ops->flush(c, CPU_FLUSH_ALL, 0); break;
    default: c->ops->flush(c, CPU_FLUSH_NONGLOBAL, 0);
    }
}
