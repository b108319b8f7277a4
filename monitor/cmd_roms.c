/* SPDX-License-Identifier: GPL-2.0-or-later */
/* info roms, info ramblock. */
#include <string.h>

#include "core/vm/vm.h"
#include "monitor/commands.h"

typedef void region_fn(struct cmd *c, const struct mem_region *r,
                       uint64_t base);

static void walk(struct cmd *c, const struct mem_region *r, uint64_t base,
                 unsigned depth, region_fn *fn)
{
    fn(c, r, base);
    if (depth > 16) return;
    for (const struct mem_region *x = r->first_child; x != NULL;
         x = x->next_sibling)
        walk(c, x, base + x->offset, depth + 1, fn);
}

static void print_rom(struct cmd *c, const struct mem_region *r, uint64_t base)
{
    if (r->kind != MEM_ROM) return;
    fprintf(c->out, "addr=%016llx size=0x%06llx mem=rom name=\"%s\"\n",
            (unsigned long long)base, (unsigned long long)r->size, r->name);
}

int info_roms(struct cmd *c, struct err *e)
{
    (void)e;
    walk(c, mem_root(c->vm), 0, 0, print_rom);
    return 0;
}

static void print_block(struct cmd *c, const struct mem_region *r,
                        uint64_t base)
{
    bool is_ram = r == vm_ram(c->vm);

    if (r->host == NULL || r->kind == MEM_ALIAS) return;
    if (is_ram && base != UINT64_MAX) return; /* was printed first */
    if (is_ram) base = 0;
    fprintf(c->out, "%24.24s    4 KiB  0x%016llx 0x%016llx 0x%016llx\n",
            r->name, (unsigned long long)base, (unsigned long long)r->size,
            (unsigned long long)r->size);
}

/* RAM comes first: the tree may hold nothing but aliases of it. */
int info_ramblock(struct cmd *c, struct err *e)
{
    (void)e;
    fprintf(c->out, "%24s %8s  %18s %18s %18s\n", "Block Name", "PSize",
            "Offset", "Used", "Total");
    print_block(c, vm_ram(c->vm), UINT64_MAX);
    walk(c, mem_root(c->vm), 0, 0, print_block);
    return 0;
}
