/* SPDX-License-Identifier: GPL-2.0-or-later */
/* img info: text and JSON of one image or of a chain. */
#include "block/img/info.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "block/img/img.h"
#include "core/base/json.h"

/* ------------------------------------------------- format specific, text */

struct text_sink {
    unsigned depth;
    bool is_list[16];
    unsigned index[16];
};

static void text_key(struct text_sink *t, const char *key)
{
    printf("%*s", (int)(4 * t->depth), "");
    if (key == NULL) {
        unsigned i = t->depth < 16 ? t->index[t->depth]++ : 0;

        printf("[%u]:", i);
        return;
    }
    for (; *key != '\0'; key++)
        putchar(*key == '-' ? ' ' : *key);
    putchar(':');
}

static void text_begin(void *arg, const char *key, bool is_list)
{
    struct text_sink *t = arg;

    text_key(t, key);
    putchar('\n');
    t->depth++;
    if (t->depth < 16) t->index[t->depth] = 0;
    (void)is_list;
}

static void text_end(void *arg)
{
    struct text_sink *t = arg;

    if (t->depth > 0) t->depth--;
}

static void text_text(void *arg, const char *key, const char *value)
{
    text_key(arg, key);
    printf(" %s\n", value);
}

static void text_number(void *arg, const char *key, uint64_t value)
{
    text_key(arg, key);
    printf(" %llu\n", (unsigned long long)value);
}

static void text_truth(void *arg, const char *key, bool value)
{
    text_key(arg, key);
    printf(" %s\n", value ? "true" : "false");
}

/* ------------------------------------------------- format specific, JSON */

struct json_sink {
    struct json_out *o;
    unsigned depth;
    char closing[32];
};

static void sink_begin(void *arg, const char *key, bool is_list)
{
    struct json_sink *s = arg;

    json_open(s->o, key, is_list ? '[' : '{');
    if (s->depth < sizeof(s->closing))
        s->closing[s->depth] = is_list ? ']' : '}';
    s->depth++;
}

static void sink_end(void *arg)
{
    struct json_sink *s = arg;

    if (s->depth == 0) return;
    s->depth--;
    json_close(s->o,
               s->depth < sizeof(s->closing) ? s->closing[s->depth] : '}');
}

static void sink_text(void *arg, const char *key, const char *value)
{
    json_str(((struct json_sink *)arg)->o, key, value);
}

static void sink_number(void *arg, const char *key, uint64_t value)
{
    json_uint(((struct json_sink *)arg)->o, key, value);
}

static void sink_truth(void *arg, const char *key, bool value)
{
    json_bool(((struct json_sink *)arg)->o, key, value);
}

/* ------------------------------------------------------------ snapshots */

void img_print_snapshot(const struct image_snapshot *s)
{
    char size[32], date[32], clock[32], icount[32] = "";
    time_t t = (time_t)s->date_sec;
    uint64_t ms = s->vm_clock_ns / 1000000, sec = ms / 1000;
    struct tm tm;

    img_size_text(s->vm_state_bytes, size, sizeof(size));
    if (localtime_r(&t, &tm) == NULL ||
        strftime(date, sizeof(date), "%Y-%m-%d %H:%M:%S", &tm) == 0)
        snprintf(date, sizeof(date), "?");
    snprintf(clock, sizeof(clock), "%02u:%02u:%02u.%03u",
             (unsigned)(sec / 3600), (unsigned)(sec / 60 % 60),
             (unsigned)(sec % 60), (unsigned)(ms % 1000));
    if (s->icount != UINT64_MAX)
        snprintf(icount, sizeof(icount), "%llu", (unsigned long long)s->icount);
    printf("%-9s %-16s %8s%20s%13s%11s\n", s->id, s->name, size, date, clock,
           icount);
}

void img_print_snapshot_head(void)
{
    printf("Snapshot list:\n%-9s %-16s %8s%20s%13s%11s\n", "ID", "TAG",
           "VM SIZE", "DATE", "VM CLOCK", "ICOUNT");
}

static void json_snapshots(struct json_out *o, const struct image_snapshot *s,
                           unsigned count)
{
    json_open(o, "snapshots", '[');
    for (; count > 0; s++, count--) {
        json_open(o, NULL, '{');
        if (s->icount != UINT64_MAX) json_uint(o, "icount", s->icount);
        json_uint(o, "vm-clock-nsec", s->vm_clock_ns % 1000000000);
        json_str(o, "name", s->name);
        json_uint(o, "date-sec", s->date_sec);
        json_uint(o, "date-nsec", s->date_nsec);
        json_uint(o, "vm-clock-sec", s->vm_clock_ns / 1000000000);
        json_str(o, "id", s->id);
        json_uint(o, "vm-state-size", s->vm_state_bytes);
        json_close(o, '}');
    }
    json_close(o, ']');
}

/* ------------------------------------------------------------ one image */

struct facts {
    struct image_info i;
    struct image_snapshot *snapshots;
    unsigned snapshot_count;
    char *backing_path;       /* NULL: no backing file */
    uint64_t allocated_bytes; /* UINT64_MAX: not known */
};

static int facts_get(struct node *n, struct facts *f)
{
    struct err e = ERR_INIT;
    int rc = 0;

    *f = (struct facts){ .allocated_bytes = image_allocated_bytes(n) };
    if (n->drv->info != NULL) rc = n->drv->info(n, &f->i);
    if (rc == 0 && n->drv->snapshot_list != NULL)
        rc = n->drv->snapshot_list(n, &f->snapshots, &f->snapshot_count, &e);
    if (rc == 0 && n->backing_file != NULL) {
        f->backing_path = node_backing_path(n);
        if (f->backing_path == NULL) rc = -ENOMEM;
    }
    if (rc < 0)
        img_error("%s: %s", n->name, e.text[0] ? e.text : strerror(-rc));
    return rc;
}

static void facts_free(struct facts *f)
{
    free(f->snapshots);
    free(f->backing_path);
}

static void print_text(struct node *n, const struct facts *f)
{
    char size[32], disk[32] = "unavailable";
    uint64_t bytes = n->size_bytes;

    img_size_text(bytes, size, sizeof(size));
    if (f->allocated_bytes != UINT64_MAX)
        img_size_text(f->allocated_bytes, disk, sizeof(disk));
    printf("image: %s\nfile format: %s\nvirtual size: %s (%llu bytes)\n"
           "disk size: %s\n",
           n->name, n->drv->name, size, (unsigned long long)bytes, disk);
    if (n->is_encrypted) puts("encrypted: yes");
    if (f->i.cluster_bytes != 0)
        printf("cluster_size: %u\n", f->i.cluster_bytes);
    if (f->i.is_dirty) puts("cleanly shut down: no");
    if (f->backing_path != NULL) {
        printf("backing file: %s", n->backing_file);
        if (strcmp(f->backing_path, n->backing_file) != 0)
            printf(" (actual path: %s)", f->backing_path);
        putchar('\n');
        if (n->backing_format != NULL)
            printf("backing file format: %s\n", n->backing_format);
    }
    if (f->snapshot_count > 0) img_print_snapshot_head();
    for (unsigned i = 0; i < f->snapshot_count; i++)
        img_print_snapshot(&f->snapshots[i]);
    if (f->i.has_specific && n->drv->info_specific != NULL) {
        struct text_sink t = { .depth = 1 };
        struct info_sink sink = { text_begin,  text_end,   text_text,
                                  text_number, text_truth, &t };

        puts("Format specific information:");
        n->drv->info_specific(n, &sink);
    }
}

/* The members stand in the order qemu-img prints them in. */
static void print_json(struct node *n, const struct facts *f,
                       struct json_out *o)
{
    json_open(o, NULL, '{');
    if (f->snapshot_count > 0)
        json_snapshots(o, f->snapshots, f->snapshot_count);
    if (f->backing_path != NULL && n->backing_format != NULL)
        json_str(o, "backing-filename-format", n->backing_format);
    json_uint(o, "virtual-size", n->size_bytes);
    json_str(o, "filename", n->name);
    if (f->i.cluster_bytes != 0)
        json_uint(o, "cluster-size", f->i.cluster_bytes);
    json_str(o, "format", n->drv->name);
    if (f->allocated_bytes != UINT64_MAX)
        json_uint(o, "actual-size", f->allocated_bytes);
    if (f->i.has_specific && n->drv->info_specific != NULL) {
        struct json_sink s = { .o = o };
        struct info_sink sink = { sink_begin,  sink_end,   sink_text,
                                  sink_number, sink_truth, &s };

        json_open(o, "format-specific", '{');
        json_str(o, "type", n->drv->name);
        json_open(o, "data", '{');
        n->drv->info_specific(n, &sink);
        json_close(o, '}');
        json_close(o, '}');
    }
    if (f->backing_path != NULL) {
        json_str(o, "full-backing-filename", f->backing_path);
        json_str(o, "backing-filename", n->backing_file);
    }
    if (n->is_encrypted) json_bool(o, "encrypted", true);
    if (f->allocated_bytes != UINT64_MAX || f->i.cluster_bytes != 0)
        json_bool(o, "dirty-flag", f->i.is_dirty);
    json_close(o, '}');
}

/* ------------------------------------------------------------ the chain */

struct seen {
    dev_t dev;
    ino_t ino;
};

static bool is_loop(struct seen *seen, unsigned count, const char *file)
{
    struct stat st;

    if (stat(file, &st) < 0) return false;
    for (unsigned i = 0; i < count; i++) {
        if (seen[i].dev == st.st_dev && seen[i].ino == st.st_ino) return true;
    }
    seen[count] = (struct seen){ st.st_dev, st.st_ino };
    return false;
}

/* Nothing but the named file is opened, unless the chain was asked for. */
static int print_chain(struct img *m, struct json_out *o, bool is_silent)
{
    struct seen seen[BLOCK_MAX_CHAIN + 1];
    const char *format = img_get(m, 'f');
    char *file = strdup(m->operands[0]), *next_format = NULL;
    unsigned flags = img_flags(m) | IMG_NO_BACKING | IMG_CHECK;
    bool is_more = true;
    int rc = file == NULL ? -ENOMEM : 0;

    for (unsigned i = 0; rc == 0 && is_more; i++) {
        struct facts f = { .snapshots = NULL };
        struct node *n = NULL;

        if (i == BLOCK_MAX_CHAIN || is_loop(seen, i, file)) {
            img_error("Backing file '%s' creates an infinite loop.", file);
            rc = -ELOOP;
            break;
        }
        rc = img_open(m, file, format, NULL, flags, &n);
        if (rc == 0) rc = facts_get(n, &f);
        if (rc == 0) {
            if (o == NULL && i > 0 && !is_silent) putchar('\n');
            if (o != NULL)
                print_json(n, &f, o);
            else if (!is_silent)
                print_text(n, &f);
            is_more = f.backing_path != NULL && img_has(m, IMG_BACKING_CHAIN);
        }
        if (rc == 0 && is_more) {
            free(file);
            free(next_format);
            file = f.backing_path;
            f.backing_path = NULL;
            next_format =
                n->backing_format != NULL ? strdup(n->backing_format) : NULL;
            format = next_format;
            flags &= ~(unsigned)IMG_DESCRIBED;
        }
        facts_free(&f);
        node_unref(n);
    }
    free(next_format);
    free(file);
    return rc;
}

int img_info(struct img *m)
{
    struct json_out o = { .is_pretty = true };
    char *text = NULL;
    size_t bytes = 0;
    bool is_json, is_chain = img_has(m, IMG_BACKING_CHAIN);
    int rc;

    if (img_get_output(m, &is_json) < 0) return 1;
    if (m->operand_count != 1)
        return img_usage_error("Expecting one image file name");
    /* All or nothing: see first whether the whole chain can be described. */
    if (!is_json && is_chain && print_chain(m, NULL, true) < 0) return 1;
    if (!is_json) return print_chain(m, NULL, false) < 0 ? 1 : 0;
    o.f = open_memstream(&text, &bytes);
    if (o.f == NULL) return 1;
    if (is_chain) json_open(&o, NULL, '[');
    rc = print_chain(m, &o, false);
    if (is_chain) json_close(&o, ']');
    fclose(o.f);
    if (rc == 0) puts(text);
    free(text);
    return rc < 0 ? 1 : 0;
}
