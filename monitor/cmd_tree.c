/* SPDX-License-Identifier: GPL-2.0-or-later */
/* info mtree, info qtree. */
#include <errno.h>
#include <string.h>

#include "core/vm/port.h"
#include "core/vm/vm.h"
#include "monitor/commands.h"

static const char *kind_name(const struct mem_region *r)
{
    const struct mem_region *t = r;

    for (unsigned i = 0; i < 16 && t->kind == MEM_ALIAS; i++)
        t = t->target;
    if (t->kind == MEM_RAM) return r->is_readonly ? "rom" : "ram";
    return t->kind == MEM_ROM ? "rom" : "i/o";
}

static void print_region(const struct mem_region *r, uint64_t base,
                         unsigned depth, FILE *out)
{
    fprintf(out, "%*s%016llx-%016llx (prio %d, %s): ", (int)(2 + 2 * depth), "",
            (unsigned long long)base, (unsigned long long)(base + r->size - 1),
            r->priority, kind_name(r));
    if (r->kind == MEM_ALIAS) {
        fprintf(out, "alias %s @%s %016llx-%016llx", r->name, r->target->name,
                (unsigned long long)r->target_offset,
                (unsigned long long)(r->target_offset + r->size - 1));
    } else {
        fputs(r->name, out);
    }
    fputs(r->is_enabled ? "\n" : " [disabled]\n", out);
    if (depth > 16) return;
    for (const struct mem_region *x = r->first_child; x != NULL;
         x = x->next_sibling)
        print_region(x, base + x->offset, depth + 1, out);
}

static void print_flat(struct vm *vm, FILE *out)
{
    size_t count = 0;
    const struct mem_frag *f = mem_frags_locked(vm, &count);

    fputs("FlatView #0\n AS \"memory\", root: system\n", out);
    for (size_t i = 0; i < count; i++) {
        fprintf(out, "  %016llx-%016llx (prio %d, %s): %s",
                (unsigned long long)f[i].start,
                (unsigned long long)(f[i].start + f[i].size - 1),
                f[i].region->priority,
                f[i].host == NULL ? "i/o"
                : f[i].can_write  ? "ram"
                                  : "rom",
                f[i].region->name);
        if (f[i].region_offset != 0)
            fprintf(out, " @%016llx", (unsigned long long)f[i].region_offset);
        fputc('\n', out);
    }
    fputc('\n', out);
}

static void print_port(void *arg, unsigned first, unsigned count,
                       const char *name)
{
    fprintf(arg, "    %016x-%016x (prio 0, i/o): %s\n", first,
            first + count - 1, name);
}

int info_mtree(struct cmd *c, struct err *e)
{
    (void)e;
    if (c->arg[0].is_given) {
        print_flat(c->vm, c->out);
        return 0;
    }
    fputs("address-space: memory\n", c->out);
    print_region(mem_root(c->vm), 0, 0, c->out);
    fputs("\naddress-space: I/O\n"
          "  0000000000000000-000000000000ffff (prio 0, i/o): io\n",
          c->out);
    port_for_each_locked(c->vm, print_port, c->out);
    fputc('\n', c->out);
    return 0;
}

static void print_dev(const struct dev *d, unsigned depth, FILE *out)
{
    const struct prop *p = d->cls->props;
    char text[256];
    int in = (int)(2 * depth);

    if (depth > 16) return;
    fprintf(out, "%*sdev: %s, id \"%s\"\n", in, "", d->cls->name, d->id);
    for (; p != NULL && p->name != NULL; p++)
        fprintf(out, "%*s%s = %s\n", in + 2, "", p->name,
                dev_prop_text(d, p, text, sizeof(text)));
    for (const struct dev *x = d->first_child; x != NULL; x = x->next_sibling)
        print_dev(x, depth + 1, out);
}

int info_qtree(struct cmd *c, struct err *e)
{
    const struct dev *x = vm_root(c->vm)->first_child;

    (void)e;
    fputs("bus: main-system-bus\n  type System\n", c->out);
    for (; x != NULL; x = x->next_sibling)
        print_dev(x, 1, c->out);
    return 0;
}
