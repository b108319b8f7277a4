/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * info mem, info tlb: the page tables of the chosen CPU as its MMU would walk
 * them (SDM volume 3, chapter 4).  Tables are guest memory, so the walk is
 * bounded by the size of the answer and by the number of entries a table has.
 */
#include <errno.h>
#include <string.h>

#include "core/cpu/cpu.h"
#include "core/vm/vm.h"
#include "monitor/commands.h"

enum { PTE_P = 1, PTE_W = 2, PTE_U = 4, PTE_PS = 128 };

struct walk {
    struct cmd *c;
    const struct cpu *cpu;
    unsigned entry_bytes;
    uint64_t entries; /* looked at so far */
    void (*leaf)(struct walk *w, uint64_t lin, uint64_t entry, unsigned shift,
                 unsigned prot);
    bool is_full;
    /* info mem: the run being collected */
    uint64_t start, end;
    unsigned prot;
};

static uint64_t entry_address(const struct walk *w, uint64_t entry,
                              unsigned shift)
{
    if (w->entry_bytes == 4 && shift == 22) /* PSE-36 */
        return (entry & 0xffc00000) | (entry >> 13 & 0xff) << 32;
    if (w->entry_bytes == 4) return entry & 0xfffff000;
    return entry & 0x000ffffffffff000 & ~((1ull << shift) - 1);
}

static bool is_leaf(const struct walk *w, uint64_t entry, unsigned shift)
{
    if (shift == 12) return true;
    if (!(entry & PTE_PS)) return false;
    if (w->entry_bytes == 4) return w->cpu->cr4 & CR4_PSE;
    return shift <= 30;
}

static void walk_table(struct walk *w, uint64_t table, uint64_t base,
                       unsigned shift, unsigned prot)
{
    unsigned bits = w->entry_bytes == 4 ? 10 : 9;
    uint8_t page[4096];

    mem_read_locked(w->c->vm, table, page, sizeof(page));
    for (unsigned i = 0; i < 1u << bits && !w->is_full; i++) {
        uint64_t entry = 0, lin = base | (uint64_t)i << shift;
        unsigned here;

        memcpy(&entry, page + i * w->entry_bytes, w->entry_bytes);
        /* A hostile table can point to itself: the budget ends it. */
        if (++w->entries > 64u << 20) w->is_full = true;
        if (!(entry & PTE_P)) continue;
        if (shift == 39 && (lin & 1ull << 47)) lin |= 0xffffull << 48;
        here = prot & (unsigned)entry & (PTE_W | PTE_U);
        if (is_leaf(w, entry, shift)) {
            w->leaf(w, lin, entry, shift, here | PTE_P);
        } else {
            walk_table(w, entry_address(w, entry, 12), lin, shift - bits, here);
        }
        if (ftell(w->c->out) > ANSWER_MAX_BYTES) w->is_full = true;
    }
}

static void walk_all(struct walk *w)
{
    const struct cpu *c = w->cpu;
    unsigned all = PTE_W | PTE_U;

    w->entry_bytes = c->cr4 & CR4_PAE ? 8 : 4;
    if (cpu_is_long(c)) {
        walk_table(w, c->cr3 & 0x000ffffffffff000, 0, 39, all);
    } else if (c->cr4 & CR4_PAE) {
        for (unsigned i = 0; i < 4; i++) {
            if (c->pdpte[i] & PTE_P)
                walk_table(w, entry_address(w, c->pdpte[i], 12),
                           (uint64_t)i << 30, 21, all);
        }
    } else {
        walk_table(w, c->cr3 & 0xfffff000, 0, 22, all);
    }
    if (w->is_full) fputs("... cut here\n", w->c->out);
}

static void tlb_leaf(struct walk *w, uint64_t lin, uint64_t entry,
                     unsigned shift, unsigned prot)
{
    static const char letters[] = "XGPDACTUW";
    static const uint64_t bits[] = {
        1ull << 63, 256, 128, 64, 32, 16, 8, 4, 2
    };

    (void)prot;
    fprintf(w->c->out, "%016llx: %016llx ", (unsigned long long)lin,
            (unsigned long long)entry_address(w, entry, shift));
    for (unsigned i = 0; i < 9; i++) {
        bool on = entry & bits[i];

        if (i == 2 && shift == 12) on = false; /* PAT there, not PS */
        fputc(on ? letters[i] : '-', w->c->out);
    }
    fputc('\n', w->c->out);
}

static void mem_flush(struct walk *w)
{
    if (w->prot == 0) return;
    fprintf(w->c->out, "%016llx-%016llx %016llx %c%c%c\n",
            (unsigned long long)w->start, (unsigned long long)w->end,
            (unsigned long long)(w->end - w->start),
            w->prot & PTE_U ? 'u' : '-', 'r', w->prot & PTE_W ? 'w' : '-');
}

static void mem_leaf(struct walk *w, uint64_t lin, uint64_t entry,
                     unsigned shift, unsigned prot)
{
    (void)entry;
    if (w->prot != prot || w->end != lin) {
        mem_flush(w);
        w->start = lin;
        w->prot = prot;
    }
    w->end = lin + (1ull << shift);
}

static int run_walk(struct cmd *c, bool is_mem, struct err *e)
{
    struct walk w = { .c = c, .leaf = is_mem ? mem_leaf : tlb_leaf };

    w.cpu = monitor_cpu_begin(c->s, c->s->cpu);
    if (w.cpu == NULL) return err_set(e, -ENODEV, "No CPU");
    if (!(w.cpu->cr0 & CR0_PG)) {
        fputs("PG disabled\n", c->out);
    } else {
        walk_all(&w);
        if (is_mem) mem_flush(&w);
    }
    monitor_cpu_end(c->s);
    return 0;
}

int info_mem(struct cmd *c, struct err *e)
{
    return run_walk(c, true, e);
}

int info_tlb(struct cmd *c, struct err *e)
{
    return run_walk(c, false, e);
}
