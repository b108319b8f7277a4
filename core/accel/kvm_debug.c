/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Breakpoints, watchpoints and single steps of a debugger outside the guest
 * (api.rst 4.87, KVM_SET_GUEST_DEBUG).  The kernel takes over the debug
 * registers.  Those that no hardware breakpoint or watchpoint needs serve
 * software breakpoints; more of these are INT3 in guest memory, put there when
 * the machine starts and taken away when it stops, so that nobody who looks
 * at a stopped machine sees them.
 */
#include <errno.h>
#include <string.h>

#include "core/accel/kvm.h"
#include "core/cpu/mmu.h"
#include "core/vm/dirty.h"

enum { INT3 = 0xcc };

#define DR6_BS     (1u << 14) /* SDM 3B 17.2.3 */
#define DR6_CAUSES 0xe00fu    /* B0-B3, BD, BS, BT */

/* ---- INT3s ---- */

static void *phys_ptr(struct cpu *c, uint64_t gpa)
{
    const struct mem_frag *f = mem_find(c->vcpu->vm, gpa);

    if (f == NULL || f->host == NULL) return NULL;
    gpa &= mem_address_mask(c->vcpu->vm, MEM_VIEW_NORMAL);
    return f->host + (gpa - f->start);
}

/* Page walks of the debugger and the monitor; nothing else is emulated. */
const struct cpu_ops kvm_cpu_ops = { .phys_ptr = phys_ptr };

/* Host memory of the byte, in the address space of any CPU. */
static uint8_t *find_host(struct kvm_accel *a, uint64_t lin)
{
    for (unsigned i = 0; i < vm_vcpu_count(a->vm); i++) {
        struct kvm_vcpu *k = vm_vcpu(a->vm, i)->engine;
        const struct mem_frag *f;
        uint64_t gpa;

        kvm_get_state(k);
        if (cpu_walk_debug(&k->cpu, lin, &gpa) < 0) continue;
        f = mem_find(a->vm, gpa);
        if (f == NULL || f->host == NULL) continue;
        gpa &= mem_address_mask(a->vm, MEM_VIEW_NORMAL);
        return f->host + (gpa - f->start);
    }
    return NULL;
}

void kvm_debug_resumed(struct kvm_accel *a)
{
    for (unsigned i = 0; i < a->soft_break_count; i++) {
        struct kvm_soft_break *b = &a->soft_break[i];

        b->host = find_host(a, b->lin);
        if (b->host == NULL) continue;
        b->old = *b->host;
        *b->host = INT3;
        vm_dirty_mark(a->vm, b->host, 1);
    }
}

/* Backwards: two addresses may be the same memory. */
void kvm_debug_paused(struct kvm_accel *a)
{
    for (unsigned i = a->soft_break_count; i-- > 0;) {
        struct kvm_soft_break *b = &a->soft_break[i];

        if (b->host == NULL) continue;
        if (*b->host == INT3) *b->host = b->old;
        vm_dirty_mark(a->vm, b->host, 1);
        b->host = NULL;
    }
}

/* ---- points to debug registers ---- */

static bool fits_register(const struct vm_point *p)
{
    if (p->kind <= VM_BREAK_HARD) return true;
    if (p->kind == VM_WATCH_READ) return false;
    return (p->bytes == 1 || p->bytes == 2 || p->bytes == 4 || p->bytes == 8) &&
           (p->lin & (p->bytes - 1)) == 0;
}

static int add_hard(struct kvm_accel *a, const struct vm_point *p,
                    struct err *e)
{
    if (!(a->debug_flags & KVM_GUESTDBG_USE_HW_BP)) {
        return err_set(e, -ENOTSUP, "this KVM has no hardware breakpoints");
    }
    if (!fits_register(p)) {
        return err_set(e, -EINVAL,
                       "a debug register watches 1, 2, 4 or 8 aligned bytes, "
                       "writes or all accesses");
    }
    if (a->hw_count == KVM_HW_POINTS) {
        return err_set(e, -ENOSPC, "all four debug registers are in use");
    }
    a->hw[a->hw_count++] = *p;
    return 0;
}

static int add_soft(struct kvm_accel *a, const struct vm_point *p,
                    struct err *e)
{
    if (a->hw_count < KVM_HW_POINTS &&
        (a->debug_flags & KVM_GUESTDBG_USE_HW_BP)) {
        a->hw[a->hw_count++] = *p;
        return 0;
    }
    if (!(a->debug_flags & KVM_GUESTDBG_USE_SW_BP)) {
        return err_set(e, -ENOTSUP, "this KVM has no software breakpoints");
    }
    if (a->soft_break_count == KVM_SOFT_BREAKS) {
        return err_set(e, -ENOSPC, "too many breakpoints");
    }
    if (find_host(a, p->lin) == NULL) {
        return err_set(e, -EFAULT, "there is no memory at 0x%llx",
                       (unsigned long long)p->lin);
    }
    a->soft_break[a->soft_break_count++] =
        (struct kvm_soft_break){ .lin = p->lin };
    return 0;
}

int kvm_set_debug(struct vm *vm, struct err *e)
{
    struct kvm_accel *a = kvm_of(vm);
    int rc = 0;

    kvm_debug_paused(a);
    a->soft_break_count = a->hw_count = 0;
    a->debug_serial++;
    for (unsigned i = 0; rc == 0 && i < vm_point_count(vm); i++) {
        const struct vm_point *p = vm_point_at(vm, i);

        if (p->kind != VM_BREAK_SOFT) rc = add_hard(a, p, e);
    }
    for (unsigned i = 0; rc == 0 && i < vm_point_count(vm); i++) {
        const struct vm_point *p = vm_point_at(vm, i);

        if (p->kind == VM_BREAK_SOFT) rc = add_soft(a, p, e);
    }
    if (vm_run_state(vm) == RUN_RUNNING) kvm_debug_resumed(a);
    return rc;
}

/* ---- entry and exit ---- */

static bool is_halted(const struct kvm_vcpu *k)
{
    struct kvm_mp_state mp;

    return kvm_call(k->fd, KVM_GET_MP_STATE, &mp) >= 0 &&
           mp.mp_state == KVM_MP_STATE_HALTED;
}

static uint32_t wanted_control(const struct kvm_vcpu *k)
{
    const struct kvm_accel *a = k->a;
    uint32_t c = 0;

    if (a->soft_break_count > 0) c |= KVM_GUESTDBG_USE_SW_BP;
    if (a->hw_count > 0) c |= KVM_GUESTDBG_USE_HW_BP;
    if (k->v->is_stepping) {
        c |= KVM_GUESTDBG_SINGLESTEP;
        if (!is_halted(k)) c |= a->debug_flags & KVM_GUESTDBG_BLOCKIRQ;
    }
    return c != 0 ? c | KVM_GUESTDBG_ENABLE : 0;
}

/* DR7: Gn, LEN and R/W of each, SDM 3B 17.2.4. */
static uint64_t dr7_of(const struct kvm_accel *a)
{
    static const uint8_t len[9] = { [1] = 0, [2] = 1, [4] = 3, [8] = 2 };
    uint64_t v = 0x600; /* GE, and the bit that reads 1 */

    for (unsigned i = 0; i < a->hw_count; i++) {
        const struct vm_point *p = &a->hw[i];
        uint64_t rw = p->kind <= VM_BREAK_HARD    ? 0
                      : p->kind == VM_WATCH_WRITE ? 1
                                                  : 3;
        uint64_t n = p->kind <= VM_BREAK_HARD ? 0 : len[p->bytes];

        v |= 2ull << 2 * i | rw << (16 + 4 * i) | n << (18 + 4 * i);
    }
    return v;
}

static void set_control(struct kvm_vcpu *k, uint32_t control)
{
    struct kvm_guest_debug g = { .control = control };

    for (unsigned i = 0; i < k->a->hw_count; i++) {
        g.arch.debugreg[i] = k->a->hw[i].lin;
    }
    g.arch.debugreg[7] = dr7_of(k->a);
    kvm_call(k->fd, KVM_SET_GUEST_DEBUG, &g);
    k->debug_control = control;
}

void kvm_debug_enter(struct kvm_vcpu *k)
{
    uint32_t control = wanted_control(k);

    if (control == k->debug_control &&
        (control == 0 || k->debug_serial == k->a->debug_serial)) {
        return;
    }
    set_control(k, control);
    k->debug_serial = k->a->debug_serial;
}

/* It was the guest's own: give it the exception. */
static void give_back(struct kvm_vcpu *k, unsigned vector, uint64_t dr6)
{
    struct kvm_debugregs d;
    uint32_t control = k->debug_control;

    if (vector == EXC_DB && kvm_call(k->fd, KVM_GET_DEBUGREGS, &d) >= 0) {
        d.dr6 |= dr6 & DR6_CAUSES;
        kvm_call(k->fd, KVM_SET_DEBUGREGS, &d);
    }
    set_control(k, control | KVM_GUESTDBG_ENABLE |
                       (vector == EXC_DB ? KVM_GUESTDBG_INJECT_DB
                                         : KVM_GUESTDBG_INJECT_BP));
    k->debug_control = control;
}

static enum vm_stop_why why_of(enum vm_point_kind kind)
{
    if (kind == VM_BREAK_SOFT) return VM_STOP_BREAK;
    return kind == VM_BREAK_HARD ? VM_STOP_HARD : VM_STOP_WATCH;
}

static struct vm_stop reason(const struct kvm_vcpu *k)
{
    const struct kvm_debug_exit_arch *d = &k->run->debug.arch;
    const struct kvm_accel *a = k->a;

    if (d->exception == EXC_BP) {
        for (unsigned i = 0; i < a->soft_break_count; i++) {
            if (a->soft_break[i].lin != d->pc) continue;
            return (struct vm_stop){ VM_STOP_BREAK, VM_BREAK_SOFT, d->pc };
        }
        return (struct vm_stop){ .why = VM_STOP_NONE };
    }
    for (unsigned i = 0; i < a->hw_count; i++) {
        const struct vm_point *p = &a->hw[i];

        if (!(d->dr6 >> i & 1)) continue;
        return (struct vm_stop){ why_of(p->kind), p->kind, p->lin };
    }
    if (k->v->is_stepping && (d->dr6 & DR6_BS)) {
        return (struct vm_stop){ .why = VM_STOP_STEP };
    }
    return (struct vm_stop){ .why = VM_STOP_NONE };
}

bool kvm_debug_exit(struct kvm_vcpu *k)
{
    struct vm_stop s = reason(k);

    if (s.why == VM_STOP_NONE) {
        give_back(k, k->run->debug.arch.exception, k->run->debug.arch.dr6);
        return true;
    }
    vcpu_debug_stop(k->v, &s);
    return false;
}
