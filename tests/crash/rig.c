/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/crash/rig.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define BASE_VALUE 0x80000001u /* the backing file's first half */

const struct flavour flavours[] = {
    { .name = "plain", .has_snapshots = true, .can_compress = true },
    { .name = "backing file",
      .pairs = { "backing_file", "base.raw", "backing_fmt", "raw" },
      .has_backing = true,
      .has_snapshots = true },
    { .name = "4k clusters",
      .pairs = { "cluster_size", "4k" },
      .has_snapshots = true },
    { .name = "512 octet clusters, 1 bit refcounts",
      .pairs = { "cluster_size", "512", "refcount_bits", "1" } },
    /* A refcount table that grows: a block of it covers 32 KiB. */
    { .name = "512 octet clusters, 64 bit refcounts",
      .pairs = { "cluster_size", "512", "refcount_bits", "64" } },
    { .name = "subclusters",
      .pairs = { "extended_l2", "on", "cluster_size", "64k" },
      .has_snapshots = true,
      .can_compress = true },
    /* Flushes that find no metadata to write. */
    { .name = "preallocated, overwritten",
      .pairs = { "preallocation", "metadata" },
      .only_writes = true },
    { .name = "version 2, backing file",
      .pairs = { "compat", "0.10", "backing_file", "base.raw", "backing_fmt",
                 "raw" },
      .has_backing = true },
};
const unsigned flavour_count = sizeof(flavours) / sizeof(flavours[0]);

uint64_t rig_now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

int rig_system(const char *fmt, ...)
{
    char line[1000];
    va_list ap;
    int status;

    va_start(ap, fmt);
    vsnprintf(line, sizeof(line), fmt, ap);
    va_end(ap);
    status = system(line);
    return status < 0 || (status & 0x7f) != 0 ? 255 : status >> 8 & 0xff;
}

/* ---------------------------------------------------------- operations */

static enum op_kind choose(unsigned *seed, const struct flavour *f)
{
    unsigned r = (unsigned)rand_r(seed) % 100;

    if (f->only_writes) return r < 70 ? OP_WRITE : OP_FLUSH;
    if (r < 60) return OP_WRITE;
    if (r < 64) return f->can_compress ? OP_COMPRESSED : OP_WRITE;
    if (r < 71) return OP_ZERO;
    if (r < 79) return OP_DISCARD;
    if (r < 96 || !f->has_snapshots) return OP_FLUSH;
    return r < 98 ? OP_SNAPSHOT : OP_DELETE;
}

void ops_make(struct op *ops, unsigned count, unsigned seed,
              const struct flavour *f)
{
    uint32_t taken[RIG_MAX_SNAPSHOTS] = { 0 };

    for (unsigned i = 0; i < count; i++) {
        struct op *o = &ops[i];
        unsigned slot = (unsigned)rand_r(&seed) % RIG_MAX_SNAPSHOTS;

        o->kind = choose(&seed, f);
        o->value = i + 1;
        if (o->kind == OP_SNAPSHOT || o->kind == OP_DELETE) {
            o->kind = taken[slot] ? OP_DELETE : OP_SNAPSHOT;
            o->first = slot;
            o->sectors = taken[slot];
            taken[slot] = taken[slot] ? 0 : o->value;
            continue;
        }
        o->sectors =
            1 + (unsigned)rand_r(&seed) % (rand_r(&seed) % 4 ? 16 : 512);
        o->first = (unsigned)rand_r(&seed) % (RIG_SECTORS - o->sectors);
        if (o->kind == OP_COMPRESSED) { /* a whole cluster */
            o->sectors = 128;
            o->first = o->first / 128 * 128;
        }
    }
}

/* Each sector says what was written and where it belongs. */
static void stamp(uint32_t *sector, uint32_t value, uint32_t where)
{
    for (unsigned i = 0; i < RIG_SECTOR / 4; i += 2) {
        sector[i] = value;
        sector[i + 1] = where;
    }
}

static int write_op(struct node *n, const struct op *o)
{
    size_t bytes = (size_t)o->sectors * RIG_SECTOR;
    uint8_t *buf = malloc(bytes);
    struct iovec iov = { buf, bytes };
    int rc;

    if (buf == NULL) return -ENOMEM;
    for (uint32_t i = 0; i < o->sectors; i++)
        stamp((uint32_t *)(void *)(buf + (size_t)i * RIG_SECTOR), o->value,
              o->first + i);
    rc = node_write(n, (uint64_t)o->first * RIG_SECTOR, &iov, 1,
                    o->kind == OP_COMPRESSED ? NODE_REQ_COMPRESSED : 0);
    /* As callers do: where a cluster cannot be packed it is written. */
    if (o->kind == OP_COMPRESSED && rc < 0 && rc != -EIO && rc != -ENOSPC)
        rc = node_write(n, (uint64_t)o->first * RIG_SECTOR, &iov, 1, 0);
    free(buf);
    return rc;
}

static int snapshot_op(struct node *n, const struct op *o)
{
    struct image_snapshot s = { .disk_bytes = RIG_DISK_BYTES,
                                .icount = UINT64_MAX };
    struct err e = ERR_INIT;
    char name[16];
    int rc;

    snprintf(name, sizeof(name), "snap%u",
             o->kind == OP_SNAPSHOT ? o->value : o->sectors);
    if (o->kind == OP_SNAPSHOT) {
        strcpy(s.name, name);
        return n->drv->snapshot_create(n, &s, &e);
    }
    rc = image_snapshot_find(n, name, &s, &e);
    return rc < 0 ? rc : n->drv->snapshot_delete(n, s.id, &e);
}

int op_run(struct node *n, const struct op *o)
{
    uint64_t at = (uint64_t)o->first * RIG_SECTOR;
    uint64_t bytes = (uint64_t)o->sectors * RIG_SECTOR;

    switch (o->kind) {
    case OP_WRITE:
    case OP_COMPRESSED: return write_op(n, o);
    case OP_ZERO:
        return node_zero(n, at, bytes, o->value % 2 ? NODE_REQ_UNMAP : 0);
    case OP_DISCARD: return node_discard(n, at, bytes);
    case OP_FLUSH: return node_flush(n);
    case OP_SNAPSHOT:
    case OP_DELETE: return snapshot_op(n, o);
    }
    return -EINVAL;
}

static void die(const char *what)
{
    printf("Bail out! %s\n", what);
    exit(1);
}

void rig_create(const char *dir, const struct flavour *f)
{
    char file[200], base[200];
    const struct image_create c = { .file = file,
                                    .size_bytes = RIG_DISK_BYTES,
                                    .has_size = true,
                                    .pairs = f->pairs };
    struct err e = ERR_INIT;
    uint32_t sector[RIG_SECTOR / 4];
    FILE *out;

    snprintf(file, sizeof(file), "%s/disk.qcow2", dir);
    snprintf(base, sizeof(base), "%s/base.raw", dir);
    remove(file);
    out = fopen(base, "wb");
    if (out == NULL) die(base);
    for (uint32_t i = 0; i < RIG_SECTORS; i++) {
        memset(sector, 0, sizeof(sector));
        if (i < RIG_SECTORS / 2) stamp(sector, BASE_VALUE, i);
        fwrite(sector, sizeof(sector), 1, out);
    }
    if (fclose(out) != 0) die(base);
    if (image_create("qcow2", &c, &e) < 0) die(e.text);
}

struct node *rig_open(const char *dir, const char *faults, const char *log,
                      struct err *e)
{
    const struct node_options o = { .is_discard = true,
                                    .faults = faults,
                                    .log_writes = log };
    struct node *n = NULL;
    char file[200];

    snprintf(file, sizeof(file), "%s/disk.qcow2", dir);
    if (node_open_image(file, "qcow2", true, false, &o, &n, e) < 0) return NULL;
    return n;
}

/* --------------------------------------------------------------- model */

static uint32_t base_value(const struct model *m, uint32_t sector)
{
    return m->f->has_backing && sector < RIG_SECTORS / 2 ? BASE_VALUE : 0;
}

static bool set_has(const struct value_set *s, uint32_t value)
{
    for (uint32_t i = 0; i < s->count; i++) {
        if (s->value[i] == value) return true;
    }
    return false;
}

static void set_add(struct value_set *s, uint32_t value)
{
    if (set_has(s, value)) return;
    if (s->count == MODEL_SET) die("too many values between flushes");
    s->value[s->count++] = value;
}

static struct value_set *sets_copy(const struct value_set *s)
{
    struct value_set *copy = malloc(sizeof(*s) * RIG_SECTORS);

    if (copy == NULL) die("out of memory");
    return memcpy(copy, s, sizeof(*s) * RIG_SECTORS);
}

struct model *model_new(const struct flavour *f)
{
    struct model *m = calloc(1, sizeof(*m));

    if (m == NULL) die("out of memory");
    m->f = f;
    m->now = calloc(RIG_SECTORS, sizeof(*m->now));
    if (m->now == NULL) die("out of memory");
    for (uint32_t i = 0; i < RIG_SECTORS; i++)
        set_add(&m->now[i], base_value(m, i));
    m->after = sets_copy(m->now);
    return m;
}

void model_free(struct model *m)
{
    for (unsigned i = 0; i < RIG_MAX_SNAPSHOTS; i++)
        free(m->snapshot[i].held);
    free(m->now);
    free(m->after);
    free(m);
}

/* What the op may leave in a sector, beside what is there. */
static void add_results(const struct model *m, struct value_set *s,
                        const struct op *o, uint32_t sector)
{
    if (o->kind == OP_WRITE || o->kind == OP_COMPRESSED) {
        set_add(s, o->value);
        return;
    }
    set_add(s, 0);
    /* The format may show the backing file again. */
    if (o->kind == OP_DISCARD) set_add(s, base_value(m, sector));
}

void model_begin(struct model *m, const struct op *o)
{
    if (o->kind == OP_DELETE) m->snapshot[o->first].may_be_gone = true;
    if (o->kind > OP_DISCARD) return;
    for (uint32_t i = o->first; i < o->first + o->sectors; i++)
        add_results(m, &m->after[i], o, i);
}

void model_done(struct model *m, const struct op *o)
{
    switch (o->kind) {
    case OP_FLUSH:
        free(m->after);
        m->after = sets_copy(m->now);
        return;
    case OP_SNAPSHOT:
        m->snapshot[o->first].held = sets_copy(m->now);
        m->snapshot[o->first].value = o->value;
        m->snapshot[o->first].may_be_gone = false;
        return;
    case OP_DELETE:
        free(m->snapshot[o->first].held);
        m->snapshot[o->first].held = NULL;
        return;
    default: break;
    }
    for (uint32_t i = o->first; i < o->first + o->sectors; i++) {
        if (o->kind != OP_DISCARD) m->now[i].count = 0;
        add_results(m, &m->now[i], o, i);
    }
}

void model_failed(struct model *m, const struct op *o)
{
    if (o->kind == OP_DELETE) m->snapshot[o->first].may_be_gone = true;
    if (o->kind > OP_DISCARD) return;
    for (uint32_t i = o->first; i < o->first + o->sectors; i++)
        add_results(m, &m->now[i], o, i);
}

/* -------------------------------------------------------------- judging */

static void bad(struct verdict *v, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
static void bad(struct verdict *v, const char *fmt, ...)
{
    va_list ap;

    if (v->is_bad) return;
    v->is_bad = true;
    va_start(ap, fmt);
    vsnprintf(v->why, sizeof(v->why), fmt, ap);
    va_end(ap);
}

/* The whole disk as qemu-img reads it, in dir/got. */
static void compare(const char *dir, const struct value_set *sets,
                    const char *what, struct verdict *v)
{
    uint32_t sector[RIG_SECTOR / 4], expected[RIG_SECTOR / 4];
    char file[200];
    FILE *in;

    snprintf(file, sizeof(file), "%s/got", dir);
    in = fopen(file, "rb");
    if (in == NULL) {
        bad(v, "%s: nothing was read", what);
        return;
    }
    for (uint32_t i = 0; i < RIG_SECTORS && !v->is_bad; i++) {
        if (fread(sector, sizeof(sector), 1, in) != 1) {
            bad(v, "%s: only %u sectors", what, i);
            break;
        }
        memset(expected, 0, sizeof(expected));
        if (sector[0] != 0) stamp(expected, sector[0], i);
        if (memcmp(sector, expected, sizeof(sector)) != 0)
            bad(v, "%s: sector %u holds rubbish (%x %x)", what, i, sector[0],
                sector[1]);
        else if (!set_has(&sets[i], sector[0]))
            bad(v, "%s: sector %u holds %u, which it may not (%u, ...)", what,
                i, sector[0], sets[i].value[0]);
    }
    fclose(in);
}

static int own_check(const char *dir, struct verdict *v)
{
    const struct node_options o = { .is_check = true, .is_no_backing = true };
    struct image_check c = { .fix = 0 };
    struct err e = ERR_INIT;
    struct node *n = NULL;
    char file[200];
    int rc;

    snprintf(file, sizeof(file), "%s/disk.qcow2", dir);
    if (node_open_image(file, "qcow2", true, false, &o, &n, &e) < 0) {
        bad(v, "our check cannot open it: %s", e.text);
        return 1;
    }
    rc = n->drv->check(n, &c, &e);
    node_unref(n);
    if (rc < 0 || c.check_errors > 0) {
        bad(v, "our check fails: %s", e.text);
        return 1;
    }
    return c.corruptions > 0 ? 2 : c.leaks > 0 ? 3 : 0;
}

static void judge_snapshots(const char *dir, const struct model *m,
                            struct verdict *v)
{
    for (unsigned i = 0; i < RIG_MAX_SNAPSHOTS && !v->is_bad; i++) {
        char what[20];

        if (m->snapshot[i].held == NULL || m->snapshot[i].may_be_gone) continue;
        snprintf(what, sizeof(what), "snapshot %u", m->snapshot[i].value);
        if (rig_system("cd %s && qemu-img convert -f qcow2 -O raw -l "
                       "snapshot.name=snap%u disk.qcow2 got 2>err",
                       dir, m->snapshot[i].value) != 0)
            bad(v, "%s is lost", what);
        else
            compare(dir, m->snapshot[i].held, what, v);
    }
}

void judge(const char *dir, const struct model *m, struct verdict *v)
{
    int theirs, ours;

    v->is_bad = false;
    theirs = rig_system("cd %s && qemu-img check -q -f qcow2 disk.qcow2 "
                        ">check 2>&1",
                        dir);
    if (theirs != 0 && theirs != 3)
        bad(v, "qemu-img check: exit status %d", theirs);
    ours = own_check(dir, v);
    if (ours != theirs)
        bad(v, "qemu-img check says %d, our check %d", theirs, ours);
    if (rig_system("cd %s && qemu-img convert -f qcow2 -O raw disk.qcow2 got "
                   "2>err",
                   dir) != 0)
        bad(v, "qemu-img cannot read it");
    else
        compare(dir, m->after, "disk", v);
    judge_snapshots(dir, m, v);
}
