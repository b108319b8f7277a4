/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/support/soft_rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/cpu/emulate.h"
#include "core/loop/loop.h"
#include "core/vm/port.h"

static void out_text(void *arg, unsigned port, unsigned bytes, uint32_t v)
{
    struct soft_rig *r = arg;

    (void)port, (void)bytes;
    if (r->text_bytes < sizeof(r->text) - 1) {
        r->text[r->text_bytes++] = (char)v;
    }
}

static uint32_t in_text(void *arg, unsigned port, unsigned bytes)
{
    (void)arg, (void)port, (void)bytes;
    return 0xe9;
}

static const struct port_ops text_ops = { in_text, out_text, 1 };

static void out_exit(void *arg, unsigned port, unsigned bytes, uint32_t v)
{
    struct soft_rig *r = arg;

    (void)port, (void)bytes;
    r->exit_value = v;
    r->exits++;
    vcpu_raise(&r->v, VCPU_EXIT);
}

static const struct port_ops exit_ops = { in_text, out_exit, 4 };

static uint64_t mmio_read(void *arg, uint64_t offset, unsigned bytes)
{
    struct soft_rig *r = arg;

    (void)offset, (void)bytes;
    return ~r->mmio_value;
}

static void mmio_write(void *arg, uint64_t offset, unsigned bytes, uint64_t v)
{
    struct soft_rig *r = arg;

    (void)offset, (void)bytes;
    r->mmio_value = (uint32_t)v;
}

static const struct mem_ops mmio_ops = { mmio_read, mmio_write, 4, 4 };

static void changed(void *arg)
{
    soft_view_changed(arg);
}

static void written(void *arg, gpa_t gpa, uint64_t bytes)
{
    soft_code_written(arg, gpa, bytes);
}

static void host_written(void *arg, const uint8_t *host, uint64_t bytes)
{
    soft_host_written(arg, host, bytes);
}

static void die(const char *what, const struct err *e)
{
    fprintf(stderr, "rig: %s: %s\n", what, e->text);
    abort();
}

struct soft_rig *rig_new(const struct soft_options *o)
{
    struct soft_rig *r = aligned_alloc(64, (sizeof(*r) + 63) & ~63ul);
    struct soft_options none = { .is_interpreted = false };
    struct err e = ERR_INIT;
    struct mem_listener l = { .changed = changed,
                              .written = written,
                              .host_written = host_written };

    memset(r, 0, sizeof(*r));
    r->cfg.ram_bytes = RIG_RAM;
    r->cfg.cpus = 1;
    if (loop_create(&r->loop, &e) < 0) die("loop", &e);
    if (vm_create(&r->cfg, r->loop, &r->vm, &e) < 0) die("vm", &e);
    if (cpu_model_build(&r->model, "max", 1, &e) < 0) die("model", &e);
    if (mem_init_ram(&r->ram, "ram", RIG_RAM, &e) < 0) die("ram", &e);
    if (soft_vm_open(r->vm, o ? o : &none, &r->soft, &e) < 0) die("soft", &e);
    l.arg = r->soft;
    vm_lock(r->vm);
    mem_set_listener_locked(r->vm, &l);
    mem_add_locked(r->vm, mem_root(r->vm), 0, &r->ram, 0);
    mem_init_mmio(&r->mmio, "mmio", 4096, &mmio_ops, r);
    mem_add_locked(r->vm, mem_root(r->vm), 0xf0000000, &r->mmio, 0);
    port_map_locked(r->vm, 0xe9, 1, &text_ops, r, "text", &e);
    port_map_locked(r->vm, 0xf4, 1, &exit_ops, r, "exit", &e);
    vm_unlock(r->vm);
    r->v.vm = r->vm;
    pthread_mutex_init(&r->v.wait_lock, NULL);
    pthread_cond_init(&r->v.wait_cond, NULL);
    if (soft_vcpu_open(r->soft, &r->v, &r->model, &r->eng, &e) < 0) {
        die("vcpu", &e);
    }
    r->c = r->v.cpu;
    return r;
}

void rig_free(struct soft_rig *r)
{
    soft_vcpu_close(r->eng);
    vm_lock(r->vm);
    mem_set_listener_locked(r->vm, &(struct mem_listener){ .arg = NULL });
    mem_del_locked(r->vm, &r->ram);
    mem_del_locked(r->vm, &r->mmio);
    port_unmap_locked(r->vm, 0xe9, 1, r);
    port_unmap_locked(r->vm, 0xf4, 1, r);
    vm_unlock(r->vm);
    soft_vm_close(r->soft);
    vm_destroy(r->vm);
    mem_free(&r->ram);
    loop_destroy(r->loop);
    free(r);
}

void rig_put(struct soft_rig *r, uint64_t gpa, const void *bytes, size_t n)
{
    memcpy(r->ram.host + gpa, bytes, n);
    vm_lock(r->vm);
    soft_code_written(r->soft, gpa, n);
    vm_unlock(r->vm);
}

static void put64(struct soft_rig *r, uint64_t gpa, uint64_t v)
{
    rig_put(r, gpa, &v, sizeof(v));
}

/* 4 GiB identity-mapped with 2 MiB pages, reachable from all rings. */
static void make_tables(struct soft_rig *r)
{
    put64(r, RIG_TABLES, (RIG_TABLES + 0x1000) | 7);
    for (unsigned i = 0; i < 4; i++) {
        put64(r, RIG_TABLES + 0x1000 + 8 * i,
              (RIG_TABLES + 0x2000 + 0x1000 * i) | 7);
        for (uint64_t k = 0; k < 512; k++) {
            put64(r, RIG_TABLES + 0x2000 + 0x1000 * i + 8 * k,
                  ((uint64_t)i << 30 | k << 21) | 0x87);
        }
    }
}

/* The table that entry i of the table leads to, made if there is none. */
static uint64_t next_table(struct soft_rig *r, uint64_t table, unsigned i)
{
    static const uint8_t none[4096];
    uint64_t entry;

    memcpy(&entry, r->ram.host + table + 8 * i, 8);
    if (entry & 1) return entry & ~0xfffull;
    entry = RIG_MAPS + 0x1000ull * r->map_tables++;
    rig_put(r, entry, none, sizeof(none));
    put64(r, table + 8 * i, entry | 7);
    return entry;
}

void rig_map(struct soft_rig *r, uint64_t lin, uint64_t gpa, unsigned pages)
{
    for (unsigned n = 0; n < pages; n++, lin += 0x1000, gpa += 0x1000) {
        uint64_t table = RIG_TABLES;

        for (unsigned shift = 39; shift > 12; shift -= 9) {
            table = next_table(r, table, lin >> shift & 511);
        }
        put64(r, table + 8 * (lin >> 12 & 511), gpa | 7);
    }
}

static void set_flat(struct cpu *c, unsigned bits)
{
    /* type, S, DPL 0, P, L, D/B, G */
    uint16_t code = 0xb | 1 << 4 | 1 << 7 | 1 << 15;
    uint16_t data = 0x3 | 1 << 4 | 1 << 7 | 1 << 14 | 1 << 15;

    code |= bits == 64 ? 1 << 13 : 1 << 14;
    for (int i = 0; i < SEG_COUNT; i++) {
        c->seg[i] = (struct cpu_segment){ 0x10, data, UINT32_MAX, 0 };
    }
    c->seg[SEG_CS] = (struct cpu_segment){ 0x08, code, UINT32_MAX, 0 };
}

void rig_mode(struct soft_rig *r, unsigned bits, uint64_t rip)
{
    /* null, code 0x08, data 0x10, as set_flat() has loaded them */
    uint64_t gdt[3] = { 0, 0x00cf9b000000ffff, 0x00cf93000000ffff };
    struct cpu *c = r->c;

    cpu_reset(c);
    c->cr4 |= CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_OSXSAVE;
    c->cr0 = (c->cr0 & ~(uint64_t)(CR0_CD | CR0_NW)) | CR0_NE | CR0_MP;
    c->xcr0 = 7;
    if (bits == 16) {
        for (int i = 0; i < SEG_COUNT; i++) {
            c->seg[i].sel = 0;
            c->seg[i].base = 0;
        }
    } else {
        if (bits == 64) gdt[1] = 0x00af9b000000ffff;
        rig_put(r, RIG_GDT, gdt, sizeof(gdt));
        c->gdt = (struct cpu_table){ RIG_GDT, sizeof(gdt) - 1 };
        c->idt = (struct cpu_table){ RIG_IDT, 0xfff };
        c->cr0 |= CR0_PE;
        set_flat(c, bits);
    }
    if (bits == 64) {
        for (unsigned i = 0; i < 512; i++)
            put64(r, RIG_TABLES + 8 * i, 0);
        r->map_tables = 0;
        make_tables(r);
        c->cr3 = RIG_TABLES;
        c->cr4 |= CR4_PAE;
        c->efer = EFER_LME | EFER_LMA | EFER_NXE | EFER_SCE;
        c->cr0 |= CR0_PG | CR0_WP;
    }
    c->rip = rip;
    c->gpr[GPR_SP] = bits == 16 ? 0x7c00 : RIG_STACK;
    soft_state_changed(r->eng);
}

void rig_user(struct soft_rig *r)
{
    struct cpu *c = r->c;

    for (int i = 0; i < SEG_COUNT; i++) {
        c->seg[i].sel |= 3;
        c->seg[i].attr |= 3 << 5; /* DPL */
    }
    c->rflags |= 3 << 12; /* IOPL */
    soft_state_changed(r->eng);
}

enum soft_exit rig_run(struct soft_rig *r)
{
    unsigned before = r->exits;
    enum soft_exit why;

    do {
        why = soft_run(r->eng);
    } while (why == SOFT_EXIT_EVENT && r->exits == before);
    return why;
}
