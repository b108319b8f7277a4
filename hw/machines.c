/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "hw/machine.h"

#include <errno.h>
#include <string.h>

#include "hw/pc/pc.h"

const struct machine machine_table[] = {
    {
        .name = "pc-i440fx-7.2",
        .alias = "pc",
        .title = "Standard PC (i440FX + PIIX, 1996)",
        .init = pc_init,
    },
    { .name = NULL },
};

const struct machine *machine_find(const char *name)
{
    if (name == NULL) return &machine_table[0];
    for (const struct machine *m = machine_table; m->name != NULL; m++) {
        if (strcmp(m->name, name) == 0 ||
            (m->alias != NULL && strcmp(m->alias, name) == 0)) {
            return m;
        }
    }
    return NULL;
}

int machine_select(const char *name, const struct machine **out, struct err *e)
{
    *out = machine_find(name);
    if (*out != NULL) return 0;
    return err_set(e, -EINVAL,
                   "unsupported machine type '%s' (-M help lists them)", name);
}

void machine_print_help(FILE *out)
{
    fprintf(out, "Supported machines are:\n");
    for (const struct machine *m = machine_table; m->name != NULL; m++) {
        if (m->alias != NULL) {
            fprintf(out, "%-20s %s (alias of %s)\n", m->alias, m->title,
                    m->name);
        }
        fprintf(out, "%-20s %s%s\n", m->name, m->title,
                m == &machine_table[0] ? " (default)" : "");
    }
}
