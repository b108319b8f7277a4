/* SPDX-License-Identifier: GPL-2.0-or-later */
/* info snapshots: a list as QEMU prints it, a tree, all about one. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/base/size.h"
#include "core/vm/vm.h"
#include "monitor/commands.h"
#include "monitor/savevm.h"
#include "monitor/snapshot_about.h"

/* Columns as QEMU has them. */
#define ROW "%-9s %-16s %8s %19s %12s %10s\n"

enum { MAX_DEPTH = 64, TREE_NAME_COLS = 32 };

static const char *clock_text(uint64_t ns, char *buf, size_t cap)
{
    uint64_t ms = ns / 1000000;

    snprintf(buf, cap, "%02u:%02u:%02u.%03u", (unsigned)(ms / 3600000),
             (unsigned)(ms / 60000 % 60), (unsigned)(ms / 1000 % 60),
             (unsigned)(ms % 1000));
    return buf;
}

static const char *date_text(const struct snapshot_info *s, char *buf,
                             size_t cap)
{
    time_t date = (time_t)s->date_sec;
    struct tm tm;

    localtime_r(&date, &tm);
    strftime(buf, cap, "%Y-%m-%d %H:%M:%S", &tm);
    return buf;
}

static void print_row(const struct snapshot_info *s, FILE *out)
{
    char when[40], clock[40], size[40];

    fprintf(out, ROW, "--", s->name,
            size_text(s->vm_state_bytes, size, sizeof(size)),
            date_text(s, when, sizeof(when)),
            clock_text(s->vm_clock_ns, clock, sizeof(clock)), "");
}

static void print_list(const struct snapshot_entries *all, FILE *out)
{
    fputs("List of snapshots present on all disks:\n", out);
    fprintf(out, ROW, "ID", "TAG", "VM SIZE", "DATE", "VM CLOCK", "ICOUNT");
    for (unsigned i = 0; i < all->count; i++)
        print_row(&all->v[i].info, out);
}

/* ------------------------------------------------------------- the tree */

static bool has_next(const struct snapshot_entries *all, unsigned i)
{
    for (unsigned k = i + 1; k < all->count; k++)
        if (all->v[k].parent == all->v[i].parent) return true;
    return false;
}

/* Columns a line of UTF-8 takes, as good as one can tell. */
static int columns(const char *text)
{
    int n = 0;

    for (; *text != '\0'; text++)
        n += (*text & 0xc0) != 0x80;
    return n;
}

static void print_node(const struct snapshot_entries *all, unsigned i,
                       char *prefix, size_t len, FILE *out)
{
    const struct snapshot_entry *s = &all->v[i];
    char when[40], clock[40];
    bool is_root = s->parent < 0;
    int cols = (int)len + (is_root ? 0 : 4) + columns(s->info.name) + 2;

    fprintf(out, "%s%s%s%s", prefix,
            is_root            ? ""
            : has_next(all, i) ? "|-- "
                               : "`-- ",
            s->info.name, all->current == (int)i ? " *" : "  ");
    fprintf(out, "%*s %s %s", cols < TREE_NAME_COLS ? TREE_NAME_COLS - cols : 0,
            "", date_text(&s->info, when, sizeof(when)),
            clock_text(s->info.vm_clock_ns, clock, sizeof(clock)));
    if (s->about.note[0] != '\0')
        fprintf(out, "  %.*s", (int)strcspn(s->about.note, "\n"),
                s->about.note);
    fputc('\n', out);
    if (len / 4 >= MAX_DEPTH) return;
    if (!is_root) {
        strcpy(prefix + len, has_next(all, i) ? "|   " : "    ");
        len += 4;
    }
    for (unsigned k = 0; k < all->count; k++)
        if (all->v[k].parent == (int)i) print_node(all, k, prefix, len, out);
    prefix[is_root ? len : len - 4] = '\0';
}

static void print_tree(const struct snapshot_entries *all, FILE *out)
{
    char prefix[4 * MAX_DEPTH + 8] = "";

    for (unsigned i = 0; i < all->count; i++)
        if (all->v[i].parent < 0) print_node(all, i, prefix, 0, out);
    if (all->current >= 0) fputs("* what the machine goes on from\n", out);
}

/* -------------------------------------------------------- all about one */

/* Each line with something in it, and those between. */
static void print_text(const char *text, FILE *out)
{
    size_t end = strlen(text);

    while (end > 0 && (text[end - 1] == '\n' || text[end - 1] == ' '))
        end--;
    for (size_t at = 0; at < end;) {
        size_t n = strcspn(text + at, "\n");

        if (n > end - at) n = end - at;
        fprintf(out, "  | %.*s\n", (int)n, text + at);
        at += n + 1;
    }
}

static void print_about(const struct snapshot_entries *all, unsigned i,
                        FILE *out)
{
    const struct snapshot_entry *s = &all->v[i];
    const struct vmstate_about *a = &s->about;
    char when[40], clock[40], size[40], ram[40];

    fprintf(out, "Snapshot '%s' (ID %s)%s\n", s->info.name, s->info.id,
            all->current == (int)i ? ", which the machine goes on from" : "");
    fprintf(out, "Taken:   %s, guest clock %s\nSize:    %s\n",
            date_text(&s->info, when, sizeof(when)),
            clock_text(s->info.vm_clock_ns, clock, sizeof(clock)),
            size_text(s->info.vm_state_bytes, size, sizeof(size)));
    if (!s->has_about) {
        fputs(s->info.vm_state_bytes == 0
                  ? "Machine: none, disks alone\n"
                  : "Machine: not in a form this program knows\n",
              out);
        return;
    }
    fprintf(out, "Machine: %s, memory %s, CPUs %u (%s), accelerator %s\n",
            a->machine, size_text(a->ram_bytes, ram, sizeof(ram)), a->cpus,
            a->cpu, a->accel);
    if (s->parent >= 0)
        fprintf(out, "Parent:  %s\n", all->v[s->parent].info.name);
    else if (a->parent[0] != '\0')
        fprintf(out, "Parent:  %s, which is deleted\n", a->parent);
    if (a->note[0] != '\0') fprintf(out, "Note:    %s\n", a->note);
    if (a->width_px == 0) return;
    fprintf(out, "Screen:  %ux%u, %s\n", a->width_px, a->height_px,
            a->text != NULL && a->text[0] != '\0' ? "text" : "graphics");
    if (a->text != NULL) print_text(a->text, out);
}

static int print_one(const struct snapshot_entries *all, const char *tag,
                     FILE *out, struct err *e)
{
    for (unsigned i = 0; i < all->count; i++) {
        const struct snapshot_info *s = &all->v[i].info;

        if (strcmp(s->name, tag) != 0 && strcmp(s->id, tag) != 0) continue;
        print_about(all, i, out);
        return 0;
    }
    return err_set(e, -ENOENT, "there is no snapshot '%s'", tag);
}

/* -t -v tag */
int info_snapshots(struct cmd *c, struct err *e)
{
    struct snapshot_entries all;
    int rc;

    savevm_progress_locked(c->vm, c->out);
    rc = snapshot_entries_load_locked(c->vm, NULL, &all, e);
    if (rc < 0) {
        /* nothing to show */
    } else if (c->arg[2].is_given) {
        rc = print_one(&all, c->arg[2].text, c->out, e);
    } else if (all.count == 0) {
        fputs("There is no snapshot available.\n", c->out);
    } else if (c->arg[1].is_given) {
        for (unsigned i = 0; i < all.count; i++) {
            if (i > 0) fputc('\n', c->out);
            print_about(&all, i, c->out);
        }
    } else if (c->arg[0].is_given) {
        print_tree(&all, c->out);
    } else {
        print_list(&all, c->out);
    }
    snapshot_entries_free(&all);
    return rc;
}
