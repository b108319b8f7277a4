/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Commit and stream: jobs that make a chain of backing files shorter.
 *
 * Commit writes what the images from top down to base have into base; when top
 * is the active image the job follows the guest like a mirror.  Stream copies
 * what lies between the active image and base up into the active image.
 */
#include "block/job_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "block/chain.h"
#include "block/gate.h"

static int find_in_chain(struct job *j, const char *file, struct node **out,
                         struct err *e)
{
    *out = chain_find(j->source, file);
    if (*out != NULL) return 0;
    return err_set(e, -ENOENT, "'%s' is not in the backing file chain", file);
}

static int keep_text(struct job *j, const char *text, struct err *e)
{
    if (text == NULL) return 0;
    j->backing_file = strdup(text);
    return j->backing_file == NULL ? err_set(e, -ENOMEM, "out of memory") : 0;
}

/* -------------------------------------------------------------- commit */

static int find_commit_nodes(struct job *j, const struct job_args *a,
                             struct err *e)
{
    int rc = 0;

    j->top = j->source;
    if (a->top != NULL) rc = find_in_chain(j, a->top, &j->top, e);
    if (rc < 0) return rc;
    j->base = j->source;
    if (a->base != NULL) {
        rc = find_in_chain(j, a->base, &j->base, e);
    } else {
        while (j->base->backing != NULL)
            j->base = j->base->backing;
    }
    if (rc < 0) return rc;
    if (j->base == j->top || !chain_contains(j->top->backing, j->base))
        return err_set(e, -EINVAL, "'%s' is not a backing file of '%s'",
                       j->base->name, j->top->name);
    for (j->above = j->source; j->above != NULL && j->above->backing != j->top;
         j->above = j->above->backing)
        continue;
    return 0;
}

static int commit_start(struct job *j, const struct job_args *a, struct err *e)
{
    int rc = find_commit_nodes(j, a, e);

    if (rc == 0) rc = keep_text(j, a->backing_file, e);
    if (rc < 0) return rc;
    if (j->top == j->source) return job_active_commit_start(j, e);
    rc = chain_open_writable(j->base, &j->target, e);
    if (rc == 0 && j->target->size_bytes < j->top->size_bytes)
        rc = node_truncate(j->target, j->top->size_bytes, "off", false, e);
    j->total = j->top->size_bytes;
    return rc;
}

static int commit_run(struct job *j)
{
    uint64_t at = 0, end;
    int rc = 0;

    if (j->top == j->source) return job_follow(j);
    end = j->top->size_bytes;
    while (rc == 0 && at < end) {
        enum chain_kind kind;
        uint64_t run;

        rc = chain_status(j->top, j->base, at, end - at, &kind, &run);
        if (rc < 0) break;
        if (kind == CHAIN_DATA && run > JOB_CHUNK_BYTES) run = JOB_CHUNK_BYTES;
        if (kind == CHAIN_ZERO) rc = node_zero(j->target, at, run, 0);
        if (kind == CHAIN_DATA)
            rc = chain_copy(j->top, j->target, at, run, j->buf);
        at += run;
        if (rc == 0) rc = job_breathe(j, run);
    }
    return rc == 0 ? node_flush(j->target) : rc;
}

/* The image above top stands on the new base; top and what was between are
 * not used any more. */
static int commit_finish(struct job *j, int rc)
{
    const struct node_options o = { .is_readonly = true };
    struct err e = ERR_INIT;
    struct node *old;

    if (j->top == j->source) return job_active_commit_finish(j, rc);
    if (rc < 0) return rc;
    rc = j->above->drv->change_backing == NULL
             ? err_set(&e, -ENOTSUP, "%s: cannot change its backing file",
                       j->above->name)
             : j->above->drv->change_backing(
                   j->above, j->backing_file ? j->backing_file : j->base->name,
                   j->base->drv->name, &e);
    if (rc < 0) {
        j->error = e;
        return rc;
    }
    node_unref(j->target);
    j->target = NULL;
    old = j->above->backing;
    j->above->backing = NULL;
    node_unref(old);
    rc = node_open_backing(j->above, &o, &e);
    if (rc < 0) j->error = e;
    return rc;
}

const struct job_ops job_commit_ops = { .start = commit_start,
                                        .run = commit_run,
                                        .finish = commit_finish };

/* -------------------------------------------------------------- stream */

static int stream_start(struct job *j, const struct job_args *a, struct err *e)
{
    const struct gate_hooks hooks = { .arg = j };
    int rc = 0;

    if (a->base != NULL) rc = find_in_chain(j, a->base, &j->base, e);
    if (rc == 0 && j->base == j->source)
        rc = err_set(e, -EINVAL, "'%s' is the active image itself", a->base);
    if (rc == 0 && j->source->drv->change_backing == NULL)
        rc = err_set(e, -ENOTSUP, "format %s has no backing files",
                     j->source->drv->name);
    if (rc == 0 && blk_is_readonly(drive_blk(j->drive)))
        rc = err_set(e, -EROFS, "'%s' is read-only", drive_id(j->drive));
    if (rc == 0) rc = keep_text(j, a->backing_file, e);
    if (rc < 0) return rc;
    j->total = j->source->size_bytes;
    return job_gate(j, &hooks, e);
}

/* One piece that the active image does not have itself. */
static int pull(struct job *j, uint64_t at, uint64_t *bytes)
{
    struct node_extent x;
    int rc;

    gate_lock(j->gate, at, *bytes);
    rc = node_status(j->source, at, *bytes, &x);
    if (rc == 0) {
        *bytes = x.bytes;
        if (!(x.flags & EXTENT_ALLOCATED)) {
            rc = node_read_padded(j->source, at, j->buf, x.bytes);
            if (rc == 0) rc = node_pwrite(j->source, at, j->buf, x.bytes);
        }
    }
    gate_unlock(j->gate);
    return rc;
}

static int stream_run(struct job *j)
{
    uint64_t at = 0, end = j->source->size_bytes;
    int rc = 0;

    while (rc == 0 && at < end) {
        enum chain_kind kind;
        uint64_t run;

        rc = chain_status(j->source->backing, j->base, at, end - at, &kind,
                          &run);
        if (rc < 0) break;
        if (kind != CHAIN_BELOW) {
            if (run > JOB_CHUNK_BYTES) run = JOB_CHUNK_BYTES;
            rc = pull(j, at, &run);
        }
        at += run;
        if (rc == 0) rc = job_breathe(j, run);
    }
    return rc == 0 ? node_flush(j->source) : rc;
}

static int stream_finish(struct job *j, int rc)
{
    const struct node_options o = { .is_readonly = true };
    struct err e = ERR_INIT;
    struct node *old = j->source->backing;
    const char *file = j->backing_file;

    if (rc < 0) return rc;
    if (file == NULL && j->base != NULL) file = j->base->name;
    rc = j->source->drv->change_backing(
        j->source, file, j->base != NULL ? j->base->drv->name : NULL, &e);
    if (rc == 0) {
        j->source->backing = NULL;
        node_unref(old);
        rc = node_open_backing(j->source, &o, &e);
    }
    if (rc < 0) j->error = e;
    return rc;
}

const struct job_ops job_stream_ops = { .start = stream_start,
                                        .run = stream_run,
                                        .finish = stream_finish };

/* -------------------------------------------------------- HMP `commit' */

static int copy_down(struct node *top, struct node *to, uint8_t *buf)
{
    uint64_t at = 0, end = top->size_bytes;
    int rc = 0;

    while (rc == 0 && at < end) {
        enum chain_kind kind;
        uint64_t run;

        rc = chain_status(top, top->backing, at, end - at, &kind, &run);
        if (rc < 0) break;
        if (kind == CHAIN_DATA && run > JOB_CHUNK_BYTES) run = JOB_CHUNK_BYTES;
        if (kind == CHAIN_ZERO) rc = node_zero(to, at, run, 0);
        if (kind == CHAIN_DATA) rc = chain_copy(top, to, at, run, buf);
        at += run;
    }
    return rc == 0 ? node_flush(to) : rc;
}

static int commit_now(struct node *top, struct err *e)
{
    const struct node_options o = { .is_readonly = true };
    uint8_t *buf = aligned_alloc(4096, JOB_CHUNK_BYTES);
    struct node *to = NULL, *old;
    int rc;

    if (buf == NULL) return err_set(e, -ENOMEM, "out of memory");
    rc = chain_open_writable(top->backing, &to, e);
    if (rc == 0 && to->size_bytes < top->size_bytes)
        rc = node_truncate(to, top->size_bytes, "off", false, e);
    if (rc == 0) {
        rc = copy_down(top, to, buf);
        if (rc < 0)
            err_set(e, rc, "%s: commit failed: %s", to->name, strerror(-rc));
    }
    node_unref(to);
    free(buf);
    if (rc < 0) return rc;
    /* The readers' view of the base is old now. */
    old = top->backing;
    top->backing = NULL;
    node_unref(old);
    rc = node_open_backing(top, &o, e);
    if (rc == 0 && top->drv->make_empty != NULL)
        rc = top->drv->make_empty(top, e);
    return rc;
}

int drive_commit(struct drive *d, struct err *e)
{
    struct blk *b = drive_blk(d);
    struct node *top;
    int rc;

    if (b == NULL)
        return err_set(e, -ENOMEDIUM, "Device '%s' has no medium", drive_id(d));
    top = blk_root(b);
    if (d->job != NULL)
        return err_set(e, -EBUSY, "Device '%s' is in use by job '%s'",
                       drive_id(d), d->job->id);
    if (top->backing == NULL)
        return err_set(e, -ENOTSUP, "Device '%s' has no backing file",
                       drive_id(d));
    if (blk_is_readonly(b))
        return err_set(e, -EROFS, "Device '%s' is read-only", drive_id(d));
    blk_quiesce(b);
    rc = commit_now(top, e);
    blk_resume(b);
    return rc;
}
