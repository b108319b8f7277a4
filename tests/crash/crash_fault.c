/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * I/O errors: the nth read, write, flush or discard of the image file
 * fails, once or from then on.  Nothing crashes; what was flushed before is
 * there; the image is consistent but for leaks.
 * usage: crash_fault [SEED]
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/crash/rig.h"

enum { OPS = 120 };

static const struct fault {
    const char *name, *rule; /* %u: which one */
    unsigned last;
} faults[] = {
    { "a write fails", "write:%u:EIO", 60 },
    { "all writes fail from then on", "write:%u:EIO:sticky", 30 },
    { "the disk is full at a write", "write:%u:ENOSPC", 60 },
    { "the disk stays full", "write:%u:ENOSPC:sticky", 30 },
    { "half of a write is done", "write:%u:short", 60 },
    { "a read fails", "read:%u:EIO", 60 },
    { "a flush fails", "flush:%u:EIO", 30 },
    { "all flushes fail from then on", "flush:%u:EIO:sticky", 20 },
    { "a discard fails", "discard:%u:EIO", 20 },
};
enum { FAULTS = sizeof(faults) / sizeof(faults[0]) };

/* How many operations the guest was told have failed. */
static unsigned run_once(const char *dir, const struct flavour *f,
                         const char *rule, unsigned seed, struct verdict *v)
{
    struct op ops[OPS];
    struct model *m = model_new(f);
    struct err e = ERR_INIT;
    struct node *n;
    unsigned failed = 0;

    v->is_bad = false;
    rig_create(dir, f);
    ops_make(ops, OPS, seed, f);
    n = rig_open(dir, rule, NULL, &e);
    if (n == NULL) { /* refused with a text: fine, if there is one */
        v->is_bad = e.text[0] == '\0';
        strcpy(v->why, "refused without a word");
        model_free(m);
        return 1;
    }
    for (unsigned i = 0; i < OPS; i++) {
        model_begin(m, &ops[i]);
        if (op_run(n, &ops[i]) == 0) {
            model_done(m, &ops[i]);
            continue;
        }
        failed++;
        model_failed(m, &ops[i]);
    }
    node_unref(n);
    judge(dir, m, v);
    model_free(m);
    return failed;
}

int main(int argc, char **argv)
{
    unsigned seed = argc > 1 ? (unsigned)atoi(argv[1]) : (unsigned)time(NULL);
    char dir[] = "/tmp/orrery-fault-XXXXXX";
    unsigned all_bad = 0;

    if (rig_system("command -v qemu-img >/dev/null") != 0) {
        printf("1..0 # SKIP qemu-img is missing\n");
        return 0;
    }
    if (mkdtemp(dir) == NULL) return 1;
    printf("# seed %u\n1..%u\n", seed, FAULTS);
    for (unsigned i = 0; i < FAULTS; i++) {
        unsigned bad = 0, met = 0;

        for (unsigned nth = 1; nth <= faults[i].last; nth++) {
            const struct flavour *f = &flavours[nth % flavour_count];
            struct verdict v;
            char rule[60];

            snprintf(rule, sizeof(rule), faults[i].rule, nth);
            met += run_once(dir, f, rule, seed + nth, &v) > 0;
            if (!v.is_bad) continue;
            bad++;
            printf("# %s, %s, seed %u: %s\n", rule, f->name, seed + nth, v.why);
        }
        printf("%sok %u - %s: %u runs, an error seen in %u\n",
               bad ? "not " : "", i + 1, faults[i].name, faults[i].last, met);
        fflush(stdout);
        all_bad += bad;
    }
    rig_system("rm -r %s", dir);
    return all_bad > 0;
}
