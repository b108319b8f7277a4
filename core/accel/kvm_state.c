/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Architecture state between KVM and struct cpu, so that monitor, snapshots
 * and the software CPU see the same thing.
 */
#include <errno.h>
#include <string.h>

#include "core/accel/kvm.h"

/* MSRs that have a field in struct cpu. */
static const struct {
    uint32_t index;
    size_t offset;
} msr_field[] = {
#define M(i, f)                    \
    {                              \
        i, offsetof(struct cpu, f) \
    }
    M(0x174, sysenter_cs),
    M(0x175, sysenter_esp),
    M(0x176, sysenter_eip),
    M(0x1a0, misc_enable),
    M(0x277, pat),
    M(0x2ff, mtrr_def_type),
    M(0x3b, tsc_adjust),
    M(0x3a, feature_control),
    M(0xc0000081, star),
    M(0xc0000082, lstar),
    M(0xc0000083, cstar),
    M(0xc0000084, fmask),
    M(0xc0000102, kernel_gs_base),
    M(0xc0000103, tsc_aux),
    M(0x48, spec_ctrl),
    M(0x17a, mcg_status),
    M(0x250, mtrr_fixed[0]),
    M(0x258, mtrr_fixed[1]),
    M(0x259, mtrr_fixed[2]),
    M(0x268, mtrr_fixed[3]),
    M(0x269, mtrr_fixed[4]),
    M(0x26a, mtrr_fixed[5]),
    M(0x26b, mtrr_fixed[6]),
    M(0x26c, mtrr_fixed[7]),
    M(0x26d, mtrr_fixed[8]),
    M(0x26e, mtrr_fixed[9]),
    M(0x26f, mtrr_fixed[10]),
#undef M
};
enum { MSR_FIELDS = sizeof(msr_field) / sizeof(msr_field[0]) };

enum { MSR_TSC_DEADLINE = 0x6e0 };

struct msr_list {
    struct kvm_msrs head;
    struct kvm_msr_entry entry[KVM_MAX_MSRS];
};

static bool has_msr(const struct kvm_accel *a, uint32_t index)
{
    for (unsigned i = 0; i < a->msr_count; i++) {
        if (a->msr[i] == index) return true;
    }
    return false;
}

static uint64_t *msr_at(struct cpu *c, unsigned i)
{
    return (uint64_t *)(void *)((uint8_t *)c + msr_field[i].offset);
}

static void add_mtrrs(const struct kvm_accel *a, struct msr_list *l)
{
    for (uint32_t i = 0; i < 2 * CPU_MTRR_COUNT; i++) {
        if (has_msr(a, 0x200 + i)) {
            l->entry[l->head.nmsrs++].index = 0x200 + i;
        }
    }
}

static void get_msrs(struct kvm_vcpu *k)
{
    struct cpu *c = &k->cpu;
    struct msr_list l;

    memset(&l, 0, sizeof(l));
    for (unsigned i = 0; i < MSR_FIELDS; i++) {
        if (has_msr(k->a, msr_field[i].index)) {
            l.entry[l.head.nmsrs++].index = msr_field[i].index;
        }
    }
    add_mtrrs(k->a, &l);
    if (has_msr(k->a, MSR_TSC_DEADLINE)) {
        l.entry[l.head.nmsrs++].index = MSR_TSC_DEADLINE;
    }
    kvm_call(k->fd, KVM_GET_MSRS, &l);
    for (uint32_t n = 0; n < l.head.nmsrs; n++) {
        uint32_t index = l.entry[n].index;

        for (unsigned i = 0; i < MSR_FIELDS; i++) {
            if (msr_field[i].index == index) *msr_at(c, i) = l.entry[n].data;
        }
        if (index >= 0x200 && index < 0x200 + 2 * CPU_MTRR_COUNT) {
            uint64_t *m = index & 1 ? c->mtrr_mask : c->mtrr_base;

            m[(index - 0x200) / 2] = l.entry[n].data;
        }
        if (index == MSR_TSC_DEADLINE) c->tsc_deadline = l.entry[n].data;
    }
}

/* One at a time: a single refused MSR must not lose the others. */
static void put_msr(struct kvm_vcpu *k, uint32_t index, uint64_t v)
{
    struct {
        struct kvm_msrs head;
        struct kvm_msr_entry entry;
    } one;

    if (!has_msr(k->a, index)) return;
    memset(&one, 0, sizeof(one));
    one.head.nmsrs = 1;
    one.entry.index = index;
    one.entry.data = v;
    kvm_call(k->fd, KVM_SET_MSRS, &one);
}

static void put_msrs(struct kvm_vcpu *k)
{
    struct cpu *c = &k->cpu;

    for (unsigned i = 0; i < MSR_FIELDS; i++) {
        put_msr(k, msr_field[i].index, *msr_at(c, i));
    }
    for (uint32_t i = 0; i < CPU_MTRR_COUNT; i++) {
        put_msr(k, 0x200 + 2 * i, c->mtrr_base[i]);
        put_msr(k, 0x201 + 2 * i, c->mtrr_mask[i]);
    }
    put_msr(k, MSR_TSC_DEADLINE, c->tsc_deadline);
}

/* ---- segments ---- */

static struct cpu_segment from_kvm(const struct kvm_segment *s)
{
    unsigned attr = s->type | s->s << 4 | s->dpl << 5 | s->avl << 12 |
                    s->l << 13 | s->db << 14 | s->g << 15;

    if (s->present && !s->unusable) attr |= SEG_ATTR_P;
    return (struct cpu_segment){ s->selector, (uint16_t)attr, s->limit,
                                 s->base };
}

static struct kvm_segment to_kvm(const struct cpu_segment *s)
{
    bool present = s->attr & SEG_ATTR_P;

    return (struct kvm_segment){
        .base = s->base,
        .limit = s->limit,
        .selector = s->sel,
        .type = SEG_ATTR_TYPE(s->attr),
        .present = present,
        .unusable = !present,
        .dpl = SEG_ATTR_DPL(s->attr),
        .db = s->attr >> 14 & 1,
        .s = s->attr >> 4 & 1,
        .l = s->attr >> 13 & 1,
        .g = s->attr >> 15 & 1,
        .avl = s->attr >> 12 & 1,
    };
}

/* kvm_sregs names its segments; ours are numbered. */
static struct kvm_segment *sreg(struct kvm_sregs *s, unsigned i)
{
    struct kvm_segment *const at[SEG_COUNT] = {
        [SEG_ES] = &s->es, [SEG_CS] = &s->cs, [SEG_SS] = &s->ss,
        [SEG_DS] = &s->ds, [SEG_FS] = &s->fs, [SEG_GS] = &s->gs,
    };

    return at[i];
}

/* With PAE paging the CPU holds four entries (SDM 3A 4.4.1); what CR3 points
 * at is what they were loaded from. */
static void load_pdptes(struct vm *vm, struct cpu *c)
{
    gpa_t at = c->cr3 & 0xffffffe0;
    const struct mem_frag *f = mem_find(vm, at);

    if (!(c->cr0 & CR0_PG) || !(c->cr4 & CR4_PAE) || cpu_is_long(c)) return;
    memset(c->pdpte, 0, sizeof(c->pdpte));
    if (f == NULL || f->host == NULL) return;
    at &= mem_address_mask(vm, MEM_VIEW_NORMAL);
    memcpy(c->pdpte, f->host + (at - f->start), sizeof(c->pdpte));
}

static void get_sregs(struct kvm_vcpu *k)
{
    struct cpu *c = &k->cpu;
    struct kvm_sregs s;

    if (kvm_call(k->fd, KVM_GET_SREGS, &s) < 0) return;
    for (unsigned i = 0; i < SEG_COUNT; i++)
        c->seg[i] = from_kvm(sreg(&s, i));
    c->ldt = from_kvm(&s.ldt);
    c->tr = from_kvm(&s.tr);
    c->gdt = (struct cpu_table){ s.gdt.base, s.gdt.limit };
    c->idt = (struct cpu_table){ s.idt.base, s.idt.limit };
    c->cr0 = s.cr0;
    c->cr2 = s.cr2;
    c->cr3 = s.cr3;
    c->cr4 = s.cr4;
    c->efer = s.efer;
    c->apic_base = s.apic_base;
    load_pdptes(k->a->vm, c);
}

static int put_sregs(struct kvm_vcpu *k)
{
    struct cpu *c = &k->cpu;
    struct kvm_sregs s;
    int rc = kvm_call(k->fd, KVM_GET_SREGS, &s);

    if (rc < 0) return rc;
    for (unsigned i = 0; i < SEG_COUNT; i++)
        *sreg(&s, i) = to_kvm(&c->seg[i]);
    s.ldt = to_kvm(&c->ldt);
    s.tr = to_kvm(&c->tr);
    s.gdt.base = c->gdt.base;
    s.gdt.limit = c->gdt.limit;
    s.idt.base = c->idt.base;
    s.idt.limit = c->idt.limit;
    s.cr0 = c->cr0;
    s.cr2 = c->cr2;
    s.cr3 = c->cr3;
    s.cr4 = c->cr4;
    s.efer = c->efer;
    s.apic_base = c->apic_base;
    memset(s.interrupt_bitmap, 0, sizeof(s.interrupt_bitmap));
    return kvm_call(k->fd, KVM_SET_SREGS, &s);
}

/* ---- general registers ---- */

static void copy_regs(struct kvm_regs *r, struct cpu *c, bool to_cpu)
{
    __u64 *const at[16] = { &r->rax, &r->rcx, &r->rdx, &r->rbx,
                            &r->rsp, &r->rbp, &r->rsi, &r->rdi,
                            &r->r8,  &r->r9,  &r->r10, &r->r11,
                            &r->r12, &r->r13, &r->r14, &r->r15 };

    for (unsigned i = 0; i < 16; i++) {
        if (to_cpu) {
            c->gpr[i] = *at[i];
        } else {
            *at[i] = c->gpr[i];
        }
    }
    if (to_cpu) {
        c->rip = r->rip;
        c->rflags = r->rflags;
    } else {
        r->rip = c->rip;
        r->rflags = c->rflags;
    }
}

/* ---- floating point, debug, events ---- */

static void get_extended(struct kvm_vcpu *k)
{
    struct kvm_xcrs x;
    struct kvm_debugregs d;

    if (k->a->has_xsave && kvm_call(k->fd, KVM_GET_XSAVE, k->xsave) >= 0) {
        memcpy(k->cpu.xsave, k->xsave, CPU_XSAVE_BYTES);
    }
    if (k->a->has_xcrs && kvm_call(k->fd, KVM_GET_XCRS, &x) >= 0) {
        k->cpu.xcr0 = x.nr_xcrs > 0 ? x.xcrs[0].value : 1;
    }
    if (k->a->has_debugregs && kvm_call(k->fd, KVM_GET_DEBUGREGS, &d) >= 0) {
        memcpy(k->cpu.dr, d.db, sizeof(d.db));
        k->cpu.dr[6] = d.dr6;
        k->cpu.dr[7] = d.dr7;
    }
}

static int put_extended(struct kvm_vcpu *k)
{
    struct kvm_xcrs x = { .nr_xcrs = 1 };
    struct kvm_debugregs d;
    int rc = 0;

    if (k->a->has_xcrs && k->cpu.xcr0 != 0) {
        x.xcrs[0].value = k->cpu.xcr0;
        rc = kvm_call(k->fd, KVM_SET_XCRS, &x);
    }
    if (rc >= 0 && k->a->has_xsave) {
        memcpy(k->xsave, k->cpu.xsave, CPU_XSAVE_BYTES);
        rc = kvm_call(k->fd, KVM_SET_XSAVE, k->xsave);
    }
    if (rc >= 0 && k->a->has_debugregs) {
        memset(&d, 0, sizeof(d));
        memcpy(d.db, k->cpu.dr, sizeof(d.db));
        d.dr6 = k->cpu.dr[6];
        d.dr7 = k->cpu.dr[7];
        rc = kvm_call(k->fd, KVM_SET_DEBUGREGS, &d);
    }
    return rc;
}

static void get_events(struct kvm_vcpu *k)
{
    struct cpu *c = &k->cpu;
    struct kvm_vcpu_events ev;
    struct kvm_mp_state mp;

    if (k->a->has_vcpu_events &&
        kvm_call(k->fd, KVM_GET_VCPU_EVENTS, &ev) >= 0) {
        c->has_intr_shadow = ev.interrupt.shadow != 0;
        c->is_nmi_blocked = ev.nmi.masked;
        c->has_pending_exception = ev.exception.injected;
        c->pending_vector = ev.exception.injected ? ev.exception.nr : 0;
        c->has_pending_error =
            ev.exception.injected && ev.exception.has_error_code;
        c->pending_error = c->has_pending_error ? ev.exception.error_code : 0;
        /* A software interrupt's instruction will be executed again. */
        if (!ev.exception.injected && ev.interrupt.injected &&
            !ev.interrupt.soft) {
            c->has_pending_exception = true;
            c->pending_vector = ev.interrupt.nr;
            c->pending_error = KVM_PENDING_INTERRUPT;
        } else if (!ev.exception.injected && ev.nmi.injected) {
            c->has_pending_exception = true;
            c->pending_vector = EXC_NMI;
        }
        k->has_pending_nmi = ev.nmi.pending;
        k->sipi_vector = (uint8_t)ev.sipi_vector;
        c->is_smm = ev.smi.smm;
    }
    if (kvm_call(k->fd, KVM_GET_MP_STATE, &mp) < 0) return;
    k->mp_state = (uint8_t)mp.mp_state;
    switch (mp.mp_state) {
    case KVM_MP_STATE_HALTED: c->activity = CPU_HALTED; break;
    case KVM_MP_STATE_UNINITIALIZED:
    case KVM_MP_STATE_INIT_RECEIVED:
    case KVM_MP_STATE_SIPI_RECEIVED: c->activity = CPU_WAIT_SIPI; break;
    default: c->activity = CPU_ACTIVE;
    }
}

static void put_pending(const struct cpu *c, struct kvm_vcpu_events *ev)
{
    if (!c->has_pending_exception) return;
    if (c->pending_error == KVM_PENDING_INTERRUPT && !c->has_pending_error) {
        ev->interrupt.injected = 1;
        ev->interrupt.nr = c->pending_vector;
    } else if (c->pending_vector == EXC_NMI) {
        ev->nmi.injected = 1;
    } else {
        ev->exception.injected = 1;
        ev->exception.nr = c->pending_vector;
        ev->exception.has_error_code = c->has_pending_error;
        ev->exception.error_code = c->pending_error;
    }
}

static int put_events(struct kvm_vcpu *k)
{
    const struct cpu *c = &k->cpu;
    struct kvm_vcpu_events ev = { 0 };
    struct kvm_mp_state mp = { .mp_state = KVM_MP_STATE_RUNNABLE };
    int rc = 0;

    if (k->a->has_vcpu_events) {
        ev.interrupt.shadow = c->has_intr_shadow ? KVM_X86_SHADOW_INT_STI : 0;
        ev.nmi.masked = c->is_nmi_blocked;
        put_pending(c, &ev);
        ev.flags = KVM_VCPUEVENT_VALID_SHADOW;
        if (k->has_new_extra) {
            ev.nmi.pending = k->has_pending_nmi;
            ev.sipi_vector = k->sipi_vector;
            ev.flags |= KVM_VCPUEVENT_VALID_NMI_PENDING |
                        KVM_VCPUEVENT_VALID_SIPI_VECTOR;
        }
        rc = kvm_call(k->fd, KVM_SET_VCPU_EVENTS, &ev);
    }
    if (c->activity == CPU_HALTED) mp.mp_state = KVM_MP_STATE_HALTED;
    if (c->activity == CPU_WAIT_SIPI) {
        mp.mp_state = KVM_MP_STATE_UNINITIALIZED;
    }
    if (k->has_new_extra && c->activity == CPU_WAIT_SIPI)
        mp.mp_state = k->mp_state;
    return rc < 0 ? rc : kvm_call(k->fd, KVM_SET_MP_STATE, &mp);
}

void kvm_get_state(struct kvm_vcpu *k)
{
    struct kvm_regs r;

    if (k->is_dirty) return; /* ours is newer */
    if (kvm_call(k->fd, KVM_GET_REGS, &r) >= 0) copy_regs(&r, &k->cpu, true);
    get_sregs(k);
    get_extended(k);
    get_msrs(k);
    get_events(k);
}

int kvm_put_state(struct kvm_vcpu *k)
{
    struct kvm_regs r = { 0 };
    int rc = put_sregs(k);

    if (rc < 0) return rc;
    copy_regs(&r, &k->cpu, false);
    rc = kvm_call(k->fd, KVM_SET_REGS, &r);
    if (rc >= 0) rc = put_extended(k);
    if (rc >= 0) {
        kvm_put_extra(k);
        put_msrs(k);
        rc = put_events(k);
        k->has_new_extra = false;
    }
    return rc;
}
