/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which chunks a backup or mirror still has to copy, and its target. */
#include "block/job_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "block/chain.h"
#include "block/image.h"
#include "block/nodes.h"

enum { MIN_CHUNK = 65536 };

int job_make_bits(struct job *j, uint64_t disk_bytes, struct err *e)
{
    j->chunk_bytes = j->target->align_bytes;
    if (j->chunk_bytes < MIN_CHUNK) j->chunk_bytes = MIN_CHUNK;
    if (j->chunk_bytes > JOB_CHUNK_BYTES)
        return err_set(e, -EINVAL, "%s: clusters too large for a job",
                       j->target->name);
    j->chunks = (disk_bytes + j->chunk_bytes - 1) / j->chunk_bytes;
    j->bits = calloc(1, j->chunks / 8 + 1);
    return j->bits == NULL ? err_set(e, -ENOMEM, "out of memory") : 0;
}

static void change_locked(struct job *j, uint64_t chunk, bool value)
{
    uint8_t bit = (uint8_t)(1u << (chunk % 8));

    if (value)
        j->bits[chunk / 8] |= bit;
    else
        j->bits[chunk / 8] &= (uint8_t)~bit;
}

static bool get_locked(const struct job *j, uint64_t chunk)
{
    return j->bits[chunk / 8] >> (chunk % 8) & 1;
}

bool job_bit_take(struct job *j, uint64_t *chunk)
{
    bool is_found = false;

    pthread_mutex_lock(&j->lock);
    for (uint64_t i = *chunk, left = j->chunks; left > 0; left--, i++) {
        if (i >= j->chunks) i = 0;
        if (i % 8 == 0 && left > 8 && j->bits[i / 8] == 0) {
            i += 7;
            left -= 7;
            continue;
        }
        if (!get_locked(j, i)) continue;
        change_locked(j, i, false);
        *chunk = i;
        is_found = true;
        break;
    }
    pthread_mutex_unlock(&j->lock);
    return is_found;
}

bool job_bit_test_and_clear(struct job *j, uint64_t chunk)
{
    bool was;

    pthread_mutex_lock(&j->lock);
    was = get_locked(j, chunk);
    change_locked(j, chunk, false);
    pthread_mutex_unlock(&j->lock);
    return was;
}

void job_bits_set(struct job *j, uint64_t offset, uint64_t bytes)
{
    uint64_t last = (offset + bytes - 1) / j->chunk_bytes;

    if (bytes == 0) return;
    pthread_mutex_lock(&j->lock);
    for (uint64_t i = offset / j->chunk_bytes; i <= last && i < j->chunks;
         i++) {
        if (!get_locked(j, i)) j->total += j->chunk_bytes;
        change_locked(j, i, true);
    }
    pthread_mutex_unlock(&j->lock);
}

int job_fill_bits(struct job *j, enum job_sync sync)
{
    const struct node *base = sync == JOB_SYNC_TOP ? j->source->backing : NULL;
    uint64_t at = 0, end = j->source->size_bytes;

    while (sync != JOB_SYNC_NONE && at < end) {
        enum chain_kind kind;
        uint64_t run;
        int rc = chain_status(j->source, base, at, end - at, &kind, &run);

        if (rc < 0) return rc;
        /* What is below a new target is there already, or is zero. */
        if (kind == CHAIN_DATA || (kind == CHAIN_ZERO && base != NULL))
            job_bits_set(j, at, run);
        at += run;
    }
    return 0;
}

static int create_target(struct job *j, const struct job_args *a,
                         const char *format, struct err *e)
{
    const struct node *backing = a->sync == JOB_SYNC_FULL  ? NULL
                                 : a->sync == JOB_SYNC_TOP ? j->source->backing
                                                           : j->source;
    const char *pairs[5] = { NULL };
    struct image_create c = { .file = a->target,
                              .size_bytes = j->source->size_bytes,
                              .has_size = true,
                              .pairs = pairs };

    if (backing != NULL) {
        pairs[0] = "backing_file";
        pairs[1] = backing->name;
        pairs[2] = "backing_fmt";
        pairs[3] = backing->drv->name;
    }
    return image_create(format, &c, e);
}

static int use_target_node(struct job *j, const struct job_args *a,
                           struct err *e)
{
    struct node *n = nodes_find(j->drive->table, a->target_node);

    if (n == NULL)
        return err_set(e, -ENODEV, "Cannot find device='%s' nor node-name='%s'",
                       a->target_node, a->target_node);
    if (chain_contains(j->source, n) ||
        nodes_is_child(j->drive->table, a->target_node))
        return err_set(e, -EBUSY, "Node '%s' is in use", a->target_node);
    if (n->is_readonly)
        return err_set(e, -EROFS, "Block node '%s' is read-only",
                       a->target_node);
    if (n->size_bytes != j->source->size_bytes)
        return err_set(e, -EINVAL,
                       "Source and target image have different sizes");
    j->target = node_ref(n);
    return 0;
}

int job_open_target(struct job *j, const struct job_args *a, struct err *e)
{
    const struct node_options o = { .is_no_backing = true };
    const char *format = a->format;
    int rc = 0;

    if (a->target_node != NULL) return use_target_node(j, a, e);
    if (a->target == NULL || a->target[0] == '\0')
        return err_set(e, -EINVAL, "no target file");
    if (format == NULL && !a->is_target_existing) format = j->source->drv->name;
    if (!a->is_target_existing) rc = create_target(j, a, format, e);
    if (rc == 0)
        rc = node_open_image(a->target, format, true, false, &o, &j->target, e);
    if (rc < 0) return rc;
    if (j->target->size_bytes < j->source->size_bytes)
        return err_set(e, -ENOSPC, "%s: smaller than the disk", a->target);
    return 0;
}
