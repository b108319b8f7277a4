/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/soft/watch.h"

#include "core/soft/code.h"
#include "core/soft/engine.h"
#include "core/vm/vm.h"

/*
 * Watched ranges of linear addresses, and breakpoints of a debugger.
 *
 * A page with a watched range never enters the TLB for that kind of access,
 * so translated code comes to the slow path with it; an access that touches
 * the range is refused there and its instruction emulated, and the emulator's
 * loads and stores note what they hit.  The run loop acts on it when the
 * instruction is complete.
 *
 * No block begins at a breakpoint or runs over one, so rip is at it when
 * translated code comes back for the block that does not exist.
 */

void soft_watch_clear(struct engine *eng, unsigned owner_mask)
{
    unsigned n = 0;

    for (unsigned i = 0; i < eng->watch_count; i++) {
        if (owner_mask >> eng->watch[i].owner & 1) continue;
        eng->watch[n++] = eng->watch[i];
    }
    eng->watch_count = n;
    tlb_flush(eng, CPU_FLUSH_ALL, 0);
}

bool soft_watch_add(struct engine *eng, uint64_t lin, uint64_t bytes,
                    unsigned access, unsigned owner)
{
    struct soft_watch *w = &eng->watch[eng->watch_count];

    if (eng->watch_count == WATCH_MAX) return false;
    w->first = lin;
    w->last = lin + bytes - 1;
    w->access = (uint8_t)access;
    w->owner = (uint8_t)owner;
    eng->watch_count++;
    tlb_flush(eng, CPU_FLUSH_ALL, 0);
    return true;
}

unsigned soft_watched_kinds(const struct engine *eng, uint64_t lin)
{
    uint64_t first = lin & ~(uint64_t)(PAGE_BYTES - 1);
    uint64_t last = first + PAGE_BYTES - 1;
    unsigned kinds = 0;

    for (unsigned i = 0; i < eng->watch_count; i++) {
        const struct soft_watch *w = &eng->watch[i];
        if (w->first <= last && w->last >= first) kinds |= w->access;
    }
    return kinds;
}

bool soft_is_watched(const struct engine *eng, uint64_t lin, unsigned bytes,
                     unsigned access)
{
    uint64_t last = lin + bytes - 1;

    for (unsigned i = 0; i < eng->watch_count; i++) {
        const struct soft_watch *w = &eng->watch[i];
        if ((w->access & access) && w->first <= last && w->last >= lin) {
            return true;
        }
    }
    return false;
}

void soft_watch_note(struct engine *eng, uint64_t lin, unsigned bytes,
                     unsigned access)
{
    uint64_t last = lin + bytes - 1;

    for (unsigned i = 0; i < eng->watch_count; i++) {
        const struct soft_watch *w = &eng->watch[i];
        if (!(w->access & access) || w->first > last || w->last < lin) {
            continue;
        }
        if (w->owner != WATCH_DEBUGGER) continue; /* core/cpu sees its own */
        eng->watch_hits |= 1u << w->owner;
        eng->watch_at = w->first;
    }
}

/* ---- breakpoints */

bool soft_is_break(const struct soft_vm *s, uint64_t lin)
{
    for (unsigned i = 0; i < s->break_count; i++) {
        if (s->breaks[i].lin == lin) return true;
    }
    return false;
}

static uint64_t linear_rip(const struct cpu *c)
{
    if (cpu_is_code64(c)) return c->rip;
    return (uint32_t)(c->seg[SEG_CS].base + c->rip);
}

bool soft_at_break(struct engine *eng)
{
    const struct soft_vm *s = eng->soft;
    uint64_t lin;

    if (s->break_count == 0) return false;
    lin = linear_rip(&eng->cpu);
    for (unsigned i = 0; i < s->break_count; i++) {
        const struct vm_point *p = &s->breaks[i];
        if (p->lin != lin) continue;
        eng->stop.why = p->kind == VM_BREAK_HARD ? VM_STOP_HARD : VM_STOP_BREAK;
        eng->stop.kind = p->kind;
        eng->stop.lin = lin;
        return true;
    }
    return false;
}

bool soft_met_watch(struct engine *eng)
{
    const struct vm *vm = eng->soft->vm;
    bool is_met = eng->watch_hits >> WATCH_DEBUGGER & 1;

    eng->watch_hits &= ~(1u << WATCH_DEBUGGER);
    if (!is_met) return false;
    eng->stop.why = VM_STOP_WATCH;
    eng->stop.lin = eng->watch_at;
    eng->stop.kind = VM_WATCH_ACCESS;
    for (unsigned i = 0; i < vm_point_count((struct vm *)vm); i++) {
        const struct vm_point *p = vm_point_at((struct vm *)vm, i);
        if (p->kind >= VM_WATCH_WRITE && p->lin == eng->watch_at) {
            eng->stop.kind = p->kind;
        }
    }
    return true;
}

static unsigned access_of(enum vm_point_kind kind)
{
    switch (kind) {
    case VM_WATCH_WRITE: return ACC_WRITE;
    case VM_WATCH_READ: return ACC_READ;
    case VM_WATCH_ACCESS: return ACC_READ | ACC_WRITE;
    default: return 0;
    }
}

bool soft_points_changed(struct soft_vm *s)
{
    bool is_all = true;

    s->break_count = 0;
    for (unsigned i = 0; i < s->engine_count; i++) {
        soft_watch_clear(s->engines[i], 1u << WATCH_DEBUGGER);
    }
    for (unsigned i = 0; i < vm_point_count(s->vm); i++) {
        const struct vm_point *p = vm_point_at(s->vm, i);
        unsigned access = access_of(p->kind);

        if (access == 0) {
            s->breaks[s->break_count++] = *p;
            code_drop_at(s, p->lin);
            continue;
        }
        for (unsigned k = 0; k < s->engine_count; k++) {
            is_all &= soft_watch_add(s->engines[k], p->lin, p->bytes, access,
                                     WATCH_DEBUGGER);
        }
    }
    return is_all;
}

/* ---- written pages */

void soft_dirty_begin(struct soft_vm *s)
{
    for (unsigned i = 0; i < s->engine_count; i++) {
        tlb_drop_writes(s->engines[i]);
    }
}
