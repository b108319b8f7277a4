/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/soft/code.h"
#include "core/soft/engine.h"

#include "core/base/log.h"
#include "core/cpu/copy.h"
#include "core/cpu/emulate.h"
#include "core/cpu/host_print.h"
#include "core/cpu/mmu.h"
#include "core/soft/verify.h"
#include "core/vm/dirty.h"
#include "core/vm/ferr.h"
#include "core/vm/intr.h"
#include "core/vm/mem.h"
#include "core/vm/port.h"
#include "core/vm/vm.h"

/*
 * struct cpu_ops: memory, ports and interrupt controller as one-instruction
 * emulation sees them.  Memory goes through the same TLB as translated code.
 * Whatever belongs to the machine is called outside (soft_leave), with the VM
 * lock.
 */

static struct engine *engine_of(struct cpu *c)
{
    return c->engine;
}

static unsigned left_in_page(uint64_t lin)
{
    return PAGE_BYTES - (unsigned)(lin & (PAGE_BYTES - 1));
}

static void copy_small(void *to, const void *from, unsigned bytes)
{
    switch (bytes) {
    case 1: cpu_put(to, 1, cpu_get(from, 1)); break;
    case 2: cpu_put(to, 2, cpu_get(from, 2)); break;
    case 4: cpu_put(to, 4, cpu_get(from, 4)); break;
    case 8: cpu_put(to, 8, cpu_get(from, 8)); break;
    default: cpu_copy(to, from, bytes); break;
    }
}

/* Another vCPU runs no guest code, and no device anything, in between. */
static void ops_bus_lock(struct cpu *c, bool on)
{
    struct engine *eng = engine_of(c);
    struct vm *vm = eng->soft->vm;

    if (eng->is_ahead) return; /* nobody else runs */
    if (on) {
        soft_leave(eng);
        vm_lock(vm);
        vm_exclusive_begin_locked(vm);
        eng->is_bus_locked = true;
    } else {
        eng->is_bus_locked = false;
        vm_exclusive_end_locked(vm);
        vm_unlock(vm);
        soft_enter(eng);
    }
}

/* Around a device access; within a bus lock we are there already. */
static void begin_device(struct engine *eng)
{
    if (eng->is_bus_locked) return;
    soft_leave(eng);
    vm_lock(eng->soft->vm);
}

static void end_device(struct engine *eng)
{
    if (eng->is_bus_locked) return;
    vm_unlock(eng->soft->vm);
    soft_enter(eng);
}

/* Linear addresses outside long mode wrap at 4 GiB. */
static uint64_t wrap(const struct cpu *c, uint64_t lin)
{
    return cpu_is_long(c) ? lin : (uint32_t)lin;
}

static void resolve(struct engine *eng, uint64_t lin, unsigned access,
                    struct page_ref *r)
{
    if (tlb_resolve(eng, lin, access, r) != PAGE_FAULT) return;
    if (eng->is_bus_locked) ops_bus_lock(&eng->cpu, false);
    eng->cpu.cr2 = lin;
    cpu_throw_code(&eng->cpu, EXC_PF, r->error);
}

static void device_read(struct engine *eng, uint64_t gpa, void *buf,
                        unsigned bytes)
{
    begin_device(eng);
    mem_read_in_locked(eng->soft->vm, cpu_mem_view(&eng->cpu), gpa, buf, bytes);
    end_device(eng);
}

static void device_write(struct engine *eng, uint64_t gpa, const void *buf,
                         unsigned bytes)
{
    begin_device(eng);
    mem_write_in_locked(eng->soft->vm, cpu_mem_view(&eng->cpu), gpa, buf,
                        bytes);
    end_device(eng);
}

static void load_slow(struct engine *eng, uint64_t lin, uint8_t *buf,
                      unsigned bytes, unsigned access)
{
    uint64_t first = lin;
    unsigned all = bytes;
    struct page_ref r;

    while (bytes > 0) {
        unsigned n = left_in_page(lin);
        if (n > bytes) n = bytes;
        resolve(eng, lin, access, &r);
        if (r.kind == PAGE_DEVICE) {
            device_read(eng, r.gpa, buf, n);
        } else {
            copy_small(buf, r.host, n);
        }
        lin = wrap(&eng->cpu, lin + n);
        buf += n;
        bytes -= n;
    }
    if (eng->watch_count && !(access & ACC_EXEC)) {
        soft_watch_note(eng, first, all, ACC_READ);
    }
}

static void ops_load(struct cpu *c, uint64_t lin, void *buf, unsigned bytes,
                     unsigned access)
{
    struct engine *eng = engine_of(c);
    const struct tlb_entry *t =
        &eng->tlb[soft_space(c, access)][lin >> PAGE_SHIFT & (TLB_ENTRIES - 1)];
    uint64_t off = lin ^ t->rtag;

    if (!(access & ACC_EXEC) && off <= PAGE_BYTES - bytes) {
        copy_small(buf, (void *)(t->rpage + off), bytes);
    } else {
        load_slow(eng, lin, buf, bytes, access);
    }
}

/* Running ahead. */
static void before_store(struct engine *eng, const struct page_ref *r,
                         unsigned bytes)
{
    if (r->kind == PAGE_CODE && code_would_drop(eng->soft, r->host, bytes)) {
        verify_stop(eng);
    }
    verify_touch(eng, r->host, bytes, true);
}

static void store_slow(struct engine *eng, uint64_t lin, const uint8_t *buf,
                       unsigned bytes, unsigned access)
{
    struct page_ref r;
    uint64_t last = wrap(&eng->cpu, lin + bytes - 1), first = lin;
    unsigned all = bytes;

    /* Both pages are checked before the first byte changes. */
    if ((lin ^ last) >> PAGE_SHIFT) {
        resolve(eng, lin, access, &r);
        resolve(eng, last & ~(uint64_t)(PAGE_BYTES - 1), access, &r);
    }
    while (bytes > 0) {
        unsigned n = left_in_page(lin);
        if (n > bytes) n = bytes;
        resolve(eng, lin, access, &r);
        if (r.kind == PAGE_DEVICE) {
            device_write(eng, r.gpa, buf, n);
        } else {
            if (eng->is_ahead) before_store(eng, &r, n);
            copy_small(r.host, buf, n);
            if (r.kind == PAGE_CODE && !eng->is_ahead) {
                eng->stat.code_stores++;
                code_written(eng->soft, r.host, n);
            }
        }
        lin = wrap(&eng->cpu, lin + n);
        buf += n;
        bytes -= n;
    }
    if (eng->watch_count) soft_watch_note(eng, first, all, ACC_WRITE);
}

static void ops_store(struct cpu *c, uint64_t lin, const void *buf,
                      unsigned bytes, unsigned access)
{
    struct engine *eng = engine_of(c);
    const struct tlb_entry *t =
        &eng->tlb[soft_space(c, access)][lin >> PAGE_SHIFT & (TLB_ENTRIES - 1)];
    uint64_t off = lin ^ t->wtag;

    if (off <= PAGE_BYTES - bytes) {
        if (eng->is_ahead) {
            verify_touch(eng, (void *)(t->wpage + off), bytes, true);
        }
        copy_small((void *)(t->wpage + off), buf, bytes);
    } else {
        store_slow(eng, lin, buf, bytes, access);
    }
}

/*
 * May the pointer to lin be handed out although its page is watched?  Who
 * takes one for reading or writing alone may use all of the page and is sent
 * to load and store.  A read-modify-write may be locked and must stay one
 * host access among several vCPUs: it is noted here, as if of 8 bytes.
 */
static bool may_point(struct engine *eng, uint64_t lin, unsigned access)
{
    access &= ACC_READ | ACC_WRITE;
    if (access != (ACC_READ | ACC_WRITE)) {
        return !(soft_watched_kinds(eng, lin) & access);
    }
    if (!soft_is_watched(eng, lin, 8, access)) return true;
    if (eng->soft->engine_count == 1) return false;
    soft_watch_note(eng, lin, 8, access);
    return true;
}

/* Running ahead: who only writes uses store, others change one operand. */
static void *pointer_ahead(struct engine *eng, uint64_t lin, unsigned access)
{
    unsigned bytes = left_in_page(lin);
    struct page_ref r;

    resolve(eng, lin, access, &r);
    if (r.kind != PAGE_DIRECT || !(access & ACC_READ)) return NULL;
    verify_touch(eng, r.host, bytes < 16 ? bytes : 16, true);
    return r.host;
}

static void *ops_lin_ptr(struct cpu *c, uint64_t lin, unsigned access)
{
    struct engine *eng = engine_of(c);
    const struct tlb_entry *t =
        &eng->tlb[soft_space(c, access)][lin >> PAGE_SHIFT & (TLB_ENTRIES - 1)];
    struct page_ref r;
    uint64_t off;

    if (eng->is_ahead && (access & ACC_WRITE)) {
        return pointer_ahead(eng, lin, access);
    }
    if (access == ACC_EXEC) {
        uint8_t *p = eng->is_mode_stale ? NULL : tlb_fetch(eng, lin);
        if (p) return p;
    } else if (access & ACC_WRITE) {
        off = lin ^ t->wtag;
        if (off < PAGE_BYTES) return (void *)(t->wpage + off);
    } else {
        off = lin ^ t->rtag;
        if (off < PAGE_BYTES) return (void *)(t->rpage + off);
    }
    resolve(eng, lin, access, &r);
    if (r.kind != PAGE_DIRECT) return NULL;
    if (eng->watch_count && !(access & ACC_EXEC) &&
        !may_point(eng, lin, access)) {
        return NULL;
    }
    return r.host;
}

static void *ops_phys_ptr(struct cpu *c, uint64_t gpa)
{
    struct engine *eng = engine_of(c);
    uint8_t *page = tlb_phys_page(eng, gpa);

    /* An entry that the walk may mark as used. */
    if (eng->is_ahead && page) {
        verify_touch(eng, page + (gpa & (PAGE_BYTES - 8)), 8, false);
    }
    return page ? page + (gpa & (PAGE_BYTES - 1)) : NULL;
}

static void ops_phys_load(struct cpu *c, uint64_t gpa, void *buf,
                          unsigned bytes)
{
    device_read(engine_of(c), gpa, buf, bytes);
}

static void ops_phys_store(struct cpu *c, uint64_t gpa, const void *buf,
                           unsigned bytes)
{
    device_write(engine_of(c), gpa, buf, bytes);
}

static void ops_view_changed(struct cpu *c)
{
    struct engine *eng = engine_of(c);

    if (eng->is_ahead) verify_stop(eng);
    tlb_view_changed(eng);
    if (!(eng->log & LOG_INT)) return;
    soft_vector_save(c);
    cpu_log_smm(c);
    soft_vector_load(c);
}

/* A page walk has set accessed or dirty bits. */
static void ops_phys_written(struct cpu *c, const void *host)
{
    struct vm_dirty *d = vm_dirty(engine_of(c)->soft->vm);

    if (d) vm_dirty_mark_page(d, host);
}

static uint64_t ops_guest_rip(struct cpu *c, uint64_t host)
{
    struct code_cache *cache = engine_of(c)->soft->cache;
    uint8_t *pc = (uint8_t *)host;
    uint64_t rip = 0;
    struct block *b;

    if (!cache) return host;
    if (host == (uint32_t)host) {
        pc = cache->exec + (uint32_t)(host - (uint64_t)cache->exec);
    }
    if (pc < cache->exec || pc >= cache->exec + cache->bytes) return host;
    code_lock(cache);
    b = code_block_at(cache, pc);
    if (b) rip = code_guest_rip(cache, b, pc);
    code_unlock(cache);
    return rip;
}

static uint64_t ops_guest_lin(struct cpu *c, uint64_t host)
{
    return tlb_find_host(engine_of(c), host);
}

static bool ops_ferr(struct cpu *c, bool on)
{
    struct engine *eng = engine_of(c);
    struct vm *vm = eng->soft->vm;
    const struct vm_ferr *f;
    bool is_ignored;

    soft_leave(eng);
    vm_lock(vm);
    f = vm_service(vm, "ferr");
    is_ignored = !f || f->change(f->arg, on);
    vm_unlock(vm);
    soft_enter(eng);
    return is_ignored;
}

static uint32_t ops_in(struct cpu *c, unsigned port, unsigned bytes)
{
    struct engine *eng = engine_of(c);
    struct vm *vm = eng->soft->vm;
    uint32_t v;

    soft_leave(eng);
    vm_lock(vm);
    v = port_read_locked(vm, port, bytes);
    vm_unlock(vm);
    soft_enter(eng);
    return v;
}

static void ops_out(struct cpu *c, unsigned port, unsigned bytes, uint32_t v)
{
    struct engine *eng = engine_of(c);
    struct vm *vm = eng->soft->vm;

    soft_leave(eng);
    vm_lock(vm);
    port_write_locked(vm, port, bytes, v);
    vm_unlock(vm);
    soft_enter(eng);
}

static void ops_flush(struct cpu *c, enum cpu_flush what, uint64_t lin)
{
    struct engine *eng = engine_of(c);

    if (eng->is_ahead) verify_stop(eng);
    tlb_flush(eng, what, lin);
}

static void ops_mode_changed(struct cpu *c)
{
    engine_of(c)->is_mode_stale = true;
}

static uint64_t ops_tsc(struct cpu *c)
{
    return soft_tsc(engine_of(c));
}

/* The local APICs' functions with the lock held, called outside.  What each
 * of the callers below wants is in the struct. */
struct apic_call {
    enum {
        APIC_READ,
        APIC_WRITE,
        APIC_GET_TPR,
        APIC_SET_TPR,
        APIC_SET_BASE,
        APIC_DEADLINE
    } what;
    unsigned reg;
    bool is_set;
    uint64_t value;
};

static int apic_call(struct cpu *c, struct apic_call *a)
{
    struct engine *eng = engine_of(c);
    struct vm *vm = eng->soft->vm;
    const struct lapic_ops *l;
    void *lapics;
    unsigned n = c->index;
    int rc = 0;

    soft_leave(eng);
    vm_lock(vm);
    l = intr_lapic(vm, &lapics);
    if (!l) {
        rc = -1;
    } else {
        switch (a->what) {
        case APIC_READ: rc = l->msr_read(lapics, n, a->reg, &a->value); break;
        case APIC_WRITE: rc = l->msr_write(lapics, n, a->reg, a->value); break;
        case APIC_GET_TPR: a->value = l->get_tpr(lapics, n); break;
        case APIC_SET_TPR: l->set_tpr(lapics, n, (uint8_t)a->value); break;
        case APIC_SET_BASE: l->set_base(lapics, n, a->value); break;
        case APIC_DEADLINE:
            a->value = l->tsc_deadline(lapics, n, a->is_set, a->value);
            break;
        }
    }
    vm_unlock(vm);
    soft_enter(eng);
    return rc;
}

static int ops_apic_read(struct cpu *c, unsigned reg, uint64_t *v)
{
    struct apic_call a = { .what = APIC_READ, .reg = reg };
    int rc = apic_call(c, &a);

    *v = a.value;
    return rc;
}

static int ops_apic_write(struct cpu *c, unsigned reg, uint64_t v)
{
    struct apic_call a = { .what = APIC_WRITE, .reg = reg, .value = v };

    return apic_call(c, &a);
}

static uint8_t ops_get_tpr(struct cpu *c)
{
    struct apic_call a = { .what = APIC_GET_TPR };

    apic_call(c, &a);
    return (uint8_t)a.value;
}

static void ops_set_tpr(struct cpu *c, uint8_t tpr)
{
    struct apic_call a = { .what = APIC_SET_TPR, .value = tpr };

    apic_call(c, &a);
}

static void ops_apic_base_changed(struct cpu *c)
{
    struct apic_call a = { .what = APIC_SET_BASE, .value = c->apic_base };

    apic_call(c, &a);
}

static uint64_t ops_tsc_deadline(struct cpu *c, bool set, uint64_t v)
{
    struct apic_call a = {
        .what = APIC_DEADLINE,
        .is_set = set,
        .value = v,
    };

    apic_call(c, &a);
    return a.value;
}

static void ops_event(struct cpu *c, unsigned vector, const char *kind,
                      bool has_error, uint32_t error)
{
    if (engine_of(c)->is_ahead) verify_stop(engine_of(c));
    if (!(engine_of(c)->log & LOG_INT)) return;
    soft_vector_save(c);
    cpu_log_event(c, kind, vector, has_error, error);
    soft_vector_load(c);
}

const struct cpu_ops soft_cpu_ops = {
    .load = ops_load,
    .store = ops_store,
    .lin_ptr = ops_lin_ptr,
    .phys_ptr = ops_phys_ptr,
    .phys_load = ops_phys_load,
    .phys_store = ops_phys_store,
    .view_changed = ops_view_changed,
    .phys_written = ops_phys_written,
    .bus_lock = ops_bus_lock,
    .guest_rip = ops_guest_rip,
    .guest_lin = ops_guest_lin,
    .ferr = ops_ferr,
    .in = ops_in,
    .out = ops_out,
    .flush = ops_flush,
    .mode_changed = ops_mode_changed,
    .tsc = ops_tsc,
    .apic_read = ops_apic_read,
    .apic_write = ops_apic_write,
    .get_tpr = ops_get_tpr,
    .set_tpr = ops_set_tpr,
    .apic_base_changed = ops_apic_base_changed,
    .tsc_deadline = ops_tsc_deadline,
    .event = ops_event,
};
