/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Backup and mirror.
 *
 * A backup is the disk as it was when the job began: before the guest changes
 * a chunk that is not copied yet, the old octets go to the target.  A mirror
 * follows the guest: what it changes is copied again, until the user says
 * complete; then the drive goes on with the copy.
 */
#include "block/job_priv.h"

#include <errno.h>
#include <stdlib.h>

#include "block/chain.h"
#include "block/gate.h"

static uint64_t chunk_length(const struct job *j, uint64_t chunk)
{
    uint64_t left = j->source->size_bytes - chunk * j->chunk_bytes;

    return left < j->chunk_bytes ? left : j->chunk_bytes;
}

/* -------------------------------------------------------------- backup */

static int copy_chunk(struct job *j, uint64_t chunk, uint8_t *buf)
{
    uint64_t at = chunk * j->chunk_bytes, bytes = chunk_length(j, chunk);
    struct iovec iov = { buf, bytes };
    int rc;

    if (!j->is_compressed)
        return chain_copy(j->source, j->target, at, bytes, buf);
    rc = node_read_padded(j->source, at, buf, bytes);
    if (rc == 0 && !buf_is_zero(buf, bytes))
        rc = node_write(j->target, at, &iov, 1, NODE_REQ_COMPRESSED);
    return rc;
}

/* A chunk that nobody waited for. */
static void count_chunk(struct job *j)
{
    pthread_mutex_lock(&j->lock);
    j->done += j->chunk_bytes;
    pthread_mutex_unlock(&j->lock);
}

/* A chunk that cannot be saved fails the job, never the guest's write. */
static int backup_before(void *arg, uint64_t offset, uint64_t bytes)
{
    struct job *j = arg;
    uint8_t *buf = NULL;
    int rc = 0;

    if (bytes == 0) return 0;
    pthread_mutex_lock(&j->copy_lock);
    for (uint64_t i = offset / j->chunk_bytes;
         rc == 0 && i <= (offset + bytes - 1) / j->chunk_bytes; i++) {
        if (!job_bit_test_and_clear(j, i)) continue;
        if (buf == NULL) buf = aligned_alloc(4096, j->chunk_bytes);
        rc = buf == NULL ? -ENOMEM : copy_chunk(j, i, buf);
        if (rc == 0) count_chunk(j);
    }
    free(buf);
    pthread_mutex_unlock(&j->copy_lock);
    if (rc < 0) {
        pthread_mutex_lock(&j->lock);
        if (j->rc == 0) j->rc = rc;
        pthread_mutex_unlock(&j->lock);
    }
    return 0;
}

static int backup_start(struct job *j, const struct job_args *a, struct err *e)
{
    const struct gate_hooks hooks = { .before = backup_before, .arg = j };
    int rc = job_open_target(j, a, e);

    j->is_compressed = a->is_compressed;
    if (rc == 0) rc = job_make_bits(j, j->source->size_bytes, e);
    if (rc < 0) return rc;
    rc = job_fill_bits(j, a->sync);
    if (rc < 0) return err_set(e, rc, "the disk cannot be read");
    return job_gate(j, &hooks, e);
}

static int saved_error(struct job *j)
{
    int rc;

    pthread_mutex_lock(&j->lock);
    rc = j->rc;
    pthread_mutex_unlock(&j->lock);
    return rc;
}

static int backup_run(struct job *j)
{
    uint64_t chunk = 0;
    int rc = 0;

    while (rc == 0) {
        bool is_more;

        pthread_mutex_lock(&j->copy_lock);
        is_more = job_bit_take(j, &chunk);
        if (is_more) rc = copy_chunk(j, chunk, j->buf);
        pthread_mutex_unlock(&j->copy_lock);
        if (!is_more) break;
        if (rc == 0) rc = saved_error(j);
        if (rc == 0) rc = job_breathe(j, j->chunk_bytes);
    }
    if (rc == 0) rc = saved_error(j);
    return rc == 0 ? node_flush(j->target) : rc;
}

const struct job_ops job_backup_ops = { .start = backup_start,
                                        .run = backup_run };

/* -------------------------------------------------------------- mirror */

static void mirror_after(void *arg, uint64_t offset, uint64_t bytes)
{
    job_bits_set(arg, offset, bytes);
}

static int mirror_start(struct job *j, const struct job_args *a, struct err *e)
{
    const struct gate_hooks hooks = { .after = mirror_after, .arg = j };
    int rc = job_open_target(j, a, e);

    if (rc == 0) rc = job_make_bits(j, j->source->size_bytes, e);
    if (rc < 0) return rc;
    rc = job_fill_bits(j, a->sync);
    if (rc < 0) return err_set(e, rc, "the disk cannot be read");
    return job_gate(j, &hooks, e);
}

/* The bit is cleared before the chunk is read: a write meanwhile sets it
 * again. */
static int mirror_pass(struct job *j, bool may_stop)
{
    uint64_t chunk = 0;
    int rc = 0;

    while (rc == 0 && job_bit_take(j, &chunk)) {
        uint64_t at = chunk * j->chunk_bytes;

        rc = chain_copy(j->source, j->target, at, chunk_length(j, chunk),
                        j->buf);
        if (rc < 0) job_bits_set(j, at, 1);
        if (rc == 0 && may_stop)
            rc = job_breathe(j, j->chunk_bytes);
        else if (rc == 0)
            count_chunk(j);
    }
    return rc;
}

int job_follow(struct job *j)
{
    int rc = 0;

    while (rc == 0) {
        rc = mirror_pass(j, true);
        if (rc < 0) break;
        job_is_ready(j);
        if (job_is_completing(j)) break;
        job_nap(j);
        rc = job_breathe(j, 0);
    }
    return rc == 0 ? node_flush(j->target) : rc;
}

/* Nothing writes now: copy the rest, then the copy is the disk. */
static int mirror_finish(struct job *j, int rc)
{
    const struct node_options o = { .is_readonly = false };
    struct err e = ERR_INIT;

    /* As with QEMU: cancelling a mirror that is ready leaves a good copy. */
    if (rc == -ECANCELED && j->is_ready) {
        if (mirror_pass(j, false) == 0) node_flush(j->target);
        return rc;
    }
    if (rc == 0) rc = mirror_pass(j, false);
    if (rc == 0) rc = node_flush(j->target);
    if (rc == 0 && j->target->backing == NULL)
        rc = node_open_backing(j->target, &o, &e);
    if (rc < 0) {
        j->error = e;
        return rc;
    }
    job_ungate(j, node_ref(j->target));
    node_unref(j->source);
    return 0;
}

const struct job_ops job_mirror_ops = { .start = mirror_start,
                                        .run = job_follow,
                                        .finish = mirror_finish };

/* -------------------------------------------- commit of the active image */

/* The mirror's target is the base itself, opened for writing. */
int job_active_commit_start(struct job *j, struct err *e)
{
    const struct gate_hooks hooks = { .after = mirror_after, .arg = j };
    uint64_t at = 0, end = j->source->size_bytes;
    int rc = chain_open_writable(j->base, &j->target, e);

    if (rc == 0 && j->target->size_bytes < end)
        rc = node_truncate(j->target, end, "off", false, e);
    if (rc == 0) rc = job_make_bits(j, end, e);
    if (rc < 0) return rc;
    while (at < end) {
        enum chain_kind kind;
        uint64_t run;

        rc = chain_status(j->source, j->base, at, end - at, &kind, &run);
        if (rc < 0) return err_set(e, rc, "the disk cannot be read");
        if (kind != CHAIN_BELOW) job_bits_set(j, at, run);
        at += run;
    }
    return job_gate(j, &hooks, e);
}

int job_active_commit_finish(struct job *j, int rc)
{
    const struct node_options o = { .is_readonly = false };
    struct err e = ERR_INIT;

    if (rc == 0) rc = mirror_pass(j, false);
    if (rc == 0) rc = node_flush(j->target);
    if (rc == 0) rc = node_open_backing(j->target, &o, &e);
    if (rc < 0) {
        if (e.code != 0) j->error = e;
        return rc;
    }
    job_ungate(j, node_ref(j->target));
    node_unref(j->source); /* its readers let go of their locks */
    if (chain_lock(j->target, &e) < 0) j->error = e;
    return 0;
}
