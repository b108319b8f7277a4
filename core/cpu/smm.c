/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * System management mode: SDM volume 3C chapter 31, AMD APM volume 2 chapter
 * 10.  The save area has the form of AMD64 (table 10-1), which is that of all
 * processors with 64-bit registers that this one could be taken for: revision
 * 0x20064, with SMBASE relocation.
 *
 * Entry and RSM reach the area through the view of memory the CPU has in SMM.
 * Nothing here throws but RSM outside SMM: what RSM finds is checked as a
 * whole before any of it is believed, and what no CPU can be in shuts it down.
 */
#include <stdatomic.h>

#include "core/cpu/emu.h"
#include "core/vm/vcpu.h"

/* Offsets from SMBASE */
enum {
    SMM_ENTRY = 0x8000,
    SMM_AREA = 0xfe00,
    SMM_SEGMENT = 0xfe00, /* 16 bytes each, in the order of enum cpu_seg */
    SMM_GDTR = 0xfe60,
    SMM_LDTR = 0xfe70,
    SMM_IDTR = 0xfe80,
    SMM_TR = 0xfe90,
    SMM_IO_REGS = 0xfea0, /* RIP, RCX, RSI, RDI */
    SMM_IO_TRAP = 0xfec0,
    SMM_IO_RESTART = 0xfec8,
    SMM_HALT_RESTART = 0xfec9,
    SMM_NMI_MASK = 0xfeca,
    SMM_EFER = 0xfed0,
    SMM_REVISION = 0xfefc,
    SMM_BASE = 0xff00,
    SMM_CR4 = 0xff48,
    SMM_CR3 = 0xff50,
    SMM_CR0 = 0xff58,
    SMM_DR7 = 0xff60,
    SMM_DR6 = 0xff68,
    SMM_RFLAGS = 0xff70,
    SMM_RIP = 0xff78,
    SMM_RAX = 0xfff8, /* the others below it, in the order of enum cpu_reg */
    SMM_AREA_BYTES = 0x200,
};

enum {
    REVISION = 0x20064,
    SEGMENT_ATTR = 0x8093, /* G, present, writable, accessed; CS too */
    DESCRIPTOR_ATTR = 0xf0ff,
    FLAGS_KNOWN = 0x3f7fd7,
};

/* SMM_IO_TRAP: port in 31:16 */
enum {
    IO_IN = 1 << 0,
    IO_VALID = 1 << 1,
    IO_STRING = 1 << 2,
    IO_REP = 1 << 3,
    IO_BYTES_SHIFT = 4, /* 1, 2 or 4 */
    IO_TF = 1 << 11,
};

struct area {
    uint8_t b[SMM_AREA_BYTES];
};

static void put(struct area *a, unsigned at, unsigned bytes, uint64_t v)
{
    cpu_put(a->b + (at - SMM_AREA), bytes, v);
}

static uint64_t get(const struct area *a, unsigned at, unsigned bytes)
{
    return cpu_get(a->b + (at - SMM_AREA), bytes);
}

static uint64_t area_address(const struct cpu *c)
{
    return (uint32_t)(c->smbase + SMM_AREA);
}

static void change_view(struct cpu *c, bool is_smm)
{
    c->is_smm = is_smm;
    if (c->ops->view_changed) c->ops->view_changed(c);
}

/* ---- I/O instructions */

static bool has_smi(const struct cpu *c)
{
    return c->vcpu && (atomic_load(&c->vcpu->events) & VCPU_SMI);
}

static void note_io(struct cpu *c, const struct insn *i, unsigned port,
                    unsigned bytes, bool is_in)
{
    bool is_string = (i->op & 0xfc) == 0x6c;
    c->smi_io = port << 16 | bytes << IO_BYTES_SHIFT | IO_VALID;
    if (is_in) c->smi_io |= IO_IN;
    if (is_string) c->smi_io |= IO_STRING;
    if (is_string && i->rep) c->smi_io |= IO_REP;
    if (c->rflags & FLAG_TF) c->smi_io |= IO_TF;
    c->smi_io_regs[0] = c->rip;
    c->smi_io_regs[1] = c->gpr[GPR_CX];
    c->smi_io_regs[2] = c->gpr[GPR_SI];
    c->smi_io_regs[3] = c->gpr[GPR_DI];
    c->smi_io_next = i->next;
}

uint32_t port_in(struct cpu *c, const struct insn *i, unsigned port,
                 unsigned bytes)
{
    bool was = has_smi(c);
    uint32_t v = c->ops->in(c, port, bytes);
    if (!was && !c->is_smm && has_smi(c)) note_io(c, i, port, bytes, true);
    return v;
}

void port_out(struct cpu *c, const struct insn *i, unsigned port,
              unsigned bytes, uint32_t v)
{
    bool was = has_smi(c);
    c->ops->out(c, port, bytes, v);
    if (!was && !c->is_smm && has_smi(c)) note_io(c, i, port, bytes, false);
}

/* An SMI that was held back is not that instruction's any more. */
static bool is_io_trap(const struct cpu *c)
{
    return c->smi_io &&
           (c->rip == c->smi_io_next || c->rip == c->smi_io_regs[0]);
}

/* ---- entry */

static void save_segment(struct area *a, unsigned at,
                         const struct cpu_segment *s)
{
    put(a, at, 2, s->sel);
    put(a, at + 2, 2, s->attr & DESCRIPTOR_ATTR);
    put(a, at + 4, 4, s->limit);
    put(a, at + 8, 8, s->base);
}

static void save(const struct cpu *c, struct area *a)
{
    for (unsigned n = 0; n < 16; n++) {
        put(a, SMM_RAX - 8 * n, 8, c->gpr[n]);
    }
    for (unsigned n = 0; n < SEG_COUNT; n++) {
        save_segment(a, SMM_SEGMENT + 16 * n, &c->seg[n]);
    }
    save_segment(a, SMM_LDTR, &c->ldt);
    save_segment(a, SMM_TR, &c->tr);
    put(a, SMM_GDTR + 4, 4, c->gdt.limit);
    put(a, SMM_GDTR + 8, 8, c->gdt.base);
    put(a, SMM_IDTR + 4, 4, c->idt.limit);
    put(a, SMM_IDTR + 8, 8, c->idt.base);
    put(a, SMM_EFER, 8, c->efer);
    put(a, SMM_REVISION, 4, REVISION);
    put(a, SMM_BASE, 4, c->smbase);
    put(a, SMM_CR4, 8, c->cr4);
    put(a, SMM_CR3, 8, c->cr3);
    put(a, SMM_CR0, 8, c->cr0);
    put(a, SMM_DR7, 8, c->dr[7]);
    put(a, SMM_DR6, 8, c->dr[6]);
    put(a, SMM_RFLAGS, 8, c->rflags);
    put(a, SMM_RIP, 8, c->rip);
}

static void save_restarts(const struct cpu *c, struct area *a)
{
    bool is_io = is_io_trap(c);
    for (unsigned n = 0; n < 4; n++) {
        put(a, SMM_IO_REGS + 8 * n, 8, is_io ? c->smi_io_regs[n] : 0);
    }
    put(a, SMM_IO_TRAP, 4, is_io ? c->smi_io : 0);
    put(a, SMM_IO_RESTART, 1, 0);
    put(a, SMM_HALT_RESTART, 1, c->activity == CPU_HALTED);
    put(a, SMM_NMI_MASK, 1, c->is_nmi_blocked);
}

static void set_entry_state(struct cpu *c)
{
    for (unsigned n = 0; n < SEG_COUNT; n++) {
        c->seg[n].sel = 0;
        c->seg[n].attr = SEGMENT_ATTR;
        c->seg[n].limit = UINT32_MAX;
        c->seg[n].base = 0;
    }
    c->seg[SEG_CS].sel = (uint16_t)(c->smbase >> 4);
    c->seg[SEG_CS].base = c->smbase;
    c->rip = SMM_ENTRY;
    c->rflags = 2;
    c->cr0 &= ~(uint64_t)(CR0_PE | CR0_EM | CR0_TS | CR0_PG);
    c->cr4 = 0;
    c->efer = 0;
    c->dr[7] = 0x400;
}

void cpu_deliver_smi(struct cpu *c)
{
    struct area a;
    change_view(c, true);
    c->ops->phys_load(c, area_address(c), a.b, SMM_AREA_BYTES);
    save(c, &a);
    save_restarts(c, &a);
    c->ops->phys_store(c, area_address(c), a.b, SMM_AREA_BYTES);
    set_entry_state(c);
    c->is_nmi_blocked_outside = c->is_nmi_blocked;
    c->is_nmi_blocked = true;
    c->has_intr_shadow = false;
    c->activity = CPU_ACTIVE;
    c->smi_io = 0;
    mode_changed(c);
}

/* ---- RSM */

static struct cpu_segment saved_segment(const struct area *a, unsigned at)
{
    return (struct cpu_segment){
        .sel = (uint16_t)get(a, at, 2),
        .attr = (uint16_t)(get(a, at + 2, 2) & DESCRIPTOR_ATTR),
        .limit = (uint32_t)get(a, at + 4, 4),
        .base = get(a, at + 8, 8),
    };
}

static uint64_t efer_allowed(const struct cpu *c)
{
    const struct cpu_model *m = c->model;
    uint64_t v = EFER_SCE | EFER_LMA;
    if (!m || m->has_long) v |= EFER_LME;
    if (!m || m->has_nx) v |= EFER_NXE;
    return v;
}

/* LMA is what the other bits make of it. */
static bool is_saved_long(const struct area *a)
{
    return (get(a, SMM_EFER, 8) & EFER_LME) && (get(a, SMM_CR0, 8) & CR0_PG);
}

static bool are_controls_valid(const struct cpu *c, const struct area *a)
{
    uint64_t cr0 = get(a, SMM_CR0, 8), cr4 = get(a, SMM_CR4, 8);
    uint64_t flags = get(a, SMM_RFLAGS, 8);
    bool is_long = is_saved_long(a);
    if (cr0 >> 32 || ((cr0 & CR0_PG) && !(cr0 & CR0_PE))) return false;
    if ((cr0 & CR0_NW) && !(cr0 & CR0_CD)) return false;
    if (cr4 & ~cr4_allowed(c)) return false;
    if (is_long ? !(cr4 & CR4_PAE) : (cr4 & CR4_PCIDE) != 0) return false;
    if (is_long && (get(a, SMM_CR3, 8) & phys_reserved(c))) return false;
    if (get(a, SMM_EFER, 8) & ~efer_allowed(c)) return false;
    if (get(a, SMM_DR6, 8) >> 32 || get(a, SMM_DR7, 8) >> 32) return false;
    return !(flags & FLAG_VM) || ((cr0 & CR0_PE) && !is_long);
}

static bool are_addresses_valid(const struct area *a)
{
    for (unsigned n = 0; n < 10; n++) { /* segments and tables */
        if (!is_canonical(get(a, SMM_SEGMENT + 16 * n + 8, 8))) return false;
    }
    return is_canonical(get(a, SMM_RIP, 8));
}

static void load_controls(struct cpu *c, const struct area *a)
{
    bool is_long = is_saved_long(a);
    uint64_t cr3 = get(a, SMM_CR3, 8);
    c->cr0 = get(a, SMM_CR0, 8) | CR0_ET;
    c->cr3 = is_long ? cr3 : (uint32_t)cr3;
    c->cr4 = get(a, SMM_CR4, 8);
    c->efer = get(a, SMM_EFER, 8) & ~(uint64_t)EFER_LMA;
    if (is_long) c->efer |= EFER_LMA;
    c->dr[6] = (get(a, SMM_DR6, 8) & 0xe00f) | 0xffff0ff0;
    c->dr[7] = (get(a, SMM_DR7, 8) & 0xffff2bff) | 0x400;
    c->rflags = (get(a, SMM_RFLAGS, 8) & FLAGS_KNOWN) | 2;
    c->smbase = get(a, SMM_BASE, 4);
}

static void load_rest(struct cpu *c, const struct area *a)
{
    for (unsigned n = 0; n < 16; n++) {
        c->gpr[n] = get(a, SMM_RAX - 8 * n, 8);
    }
    for (unsigned n = 0; n < SEG_COUNT; n++) {
        c->seg[n] = saved_segment(a, SMM_SEGMENT + 16 * n);
    }
    c->ldt = saved_segment(a, SMM_LDTR);
    c->tr = saved_segment(a, SMM_TR);
    c->gdt.limit = (uint16_t)get(a, SMM_GDTR + 4, 2);
    c->gdt.base = get(a, SMM_GDTR + 8, 8);
    c->idt.limit = (uint16_t)get(a, SMM_IDTR + 4, 2);
    c->idt.base = get(a, SMM_IDTR + 8, 8);
    c->rip = get(a, SMM_RIP, 8);
}

/* The handler wants the I/O instruction done again: APM 10.3.9. */
static void restart_io(struct cpu *c, const struct area *a)
{
    c->rip = get(a, SMM_IO_REGS, 8);
    c->gpr[GPR_CX] = get(a, SMM_IO_REGS + 8, 8);
    c->gpr[GPR_SI] = get(a, SMM_IO_REGS + 16, 8);
    c->gpr[GPR_DI] = get(a, SMM_IO_REGS + 24, 8);
}

static void shut_down(struct cpu *c, struct insn *i)
{
    c->activity = CPU_SHUTDOWN;
    i->no_trap = true;
}

void op_rsm(struct cpu *c, struct insn *i)
{
    struct area a;
    if (!c->is_smm) throw_ud(c);
    c->ops->phys_load(c, area_address(c), a.b, SMM_AREA_BYTES);
    c->debug_hits = 0;
    if (!are_controls_valid(c, &a) || !are_addresses_valid(&a)) {
        shut_down(c, i);
        return;
    }
    change_view(c, false);
    load_controls(c, &a);
    load_rest(c, &a);
    if (get(&a, SMM_IO_RESTART, 1) == 0xff &&
        (get(&a, SMM_IO_TRAP, 4) & IO_VALID)) {
        restart_io(c, &a);
    } else if (get(&a, SMM_HALT_RESTART, 1) & 1) {
        c->activity = CPU_HALTED;
    }
    if (!cpu_is_code64(c)) c->rip = (uint32_t)c->rip;
    c->is_nmi_blocked = c->is_nmi_blocked_outside;
    c->is_nmi_blocked_outside = false;
    i->next = c->rip;
    i->no_trap = i->keeps_rf = true;
    mode_changed(c);
    if ((c->cr0 & CR0_PG) && (c->cr4 & CR4_PAE) && !cpu_is_long(c) &&
        !reload_pdptes(c, c->cr3)) {
        shut_down(c, i);
    }
}
