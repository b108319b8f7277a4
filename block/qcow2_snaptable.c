/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qcow2: the snapshot table in the file ("Snapshots" of the specification). */
#include <errno.h>
#include <stdlib.h>

#include "block/qcow2_ops.h"

enum {
    FIXED_BYTES = 40,
    KNOWN_EXTRA = 24,
    MAX_EXTRA = 1024,
    /* fields of an entry */
    AT_L1_OFFSET = 0,
    AT_L1_ENTRIES = 8,
    AT_ID_BYTES = 12,
    AT_NAME_BYTES = 14,
    AT_DATE_SEC = 16,
    AT_DATE_NSEC = 20,
    AT_CLOCK = 24,
    AT_VM_STATE = 32,
    AT_EXTRA_BYTES = 36,
    /* of the extra data */
    EXTRA_VM_STATE = 0,
    EXTRA_DISK_BYTES = 8,
    EXTRA_ICOUNT = 16,
};

static void free_one(struct qcow2_snapshot *sn)
{
    free(sn->id);
    free(sn->name);
    free(sn->extra);
}

void qcow2_snapshots_free(struct qcow2_snapshots *all)
{
    for (unsigned i = 0; i < all->count; i++)
        free_one(&all->v[i]);
    free(all->v);
    *all = (struct qcow2_snapshots){ .v = NULL };
}

static uint64_t entry_bytes(uint64_t extra, uint64_t id, uint64_t name)
{
    return (FIXED_BYTES + extra + id + name + 7) & ~UINT64_C(7);
}

static void take_extra(const struct qcow2 *s, struct qcow2_snapshot *sn,
                       const uint8_t *extra)
{
    sn->disk_bytes = s->h.size_bytes;
    sn->icount = UINT64_MAX;
    if (sn->extra_bytes >= EXTRA_VM_STATE + 8)
        sn->vm_state_bytes = qcow2_be64(extra + EXTRA_VM_STATE);
    if (sn->extra_bytes >= EXTRA_DISK_BYTES + 8)
        sn->disk_bytes = qcow2_be64(extra + EXTRA_DISK_BYTES);
    if (sn->extra_bytes >= EXTRA_ICOUNT + 8)
        sn->icount = qcow2_be64(extra + EXTRA_ICOUNT);
}

/* Extra data, id and name, one behind the other. */
static int take_tail(const struct qcow2 *s, struct qcow2_snapshot *sn,
                     const uint8_t *b, uint32_t id, uint32_t name)
{
    const char *text = (const char *)b + sn->extra_bytes;

    take_extra(s, sn, b);
    sn->id = strndup(text, id);
    sn->name = strndup(text + id, name);
    if (sn->id == NULL || sn->name == NULL) return -ENOMEM;
    if (sn->extra_bytes <= KNOWN_EXTRA) return 0;
    sn->extra = malloc(sn->extra_bytes - KNOWN_EXTRA);
    if (sn->extra == NULL) return -ENOMEM;
    memcpy(sn->extra, b + KNOWN_EXTRA, sn->extra_bytes - KNOWN_EXTRA);
    return 0;
}

/* One entry at *at, which moves behind it. */
static int load_one(struct qcow2 *s, struct qcow2_snapshot *sn, uint64_t *at,
                    uint8_t *buf, struct err *e)
{
    uint32_t id, name;
    uint64_t tail;
    int rc = node_pread(s->file, *at, buf, FIXED_BYTES);

    if (rc < 0) goto unreadable;
    sn->l1_offset = qcow2_be64(buf + AT_L1_OFFSET);
    sn->l1_entries = qcow2_be32(buf + AT_L1_ENTRIES);
    sn->date_sec = qcow2_be32(buf + AT_DATE_SEC);
    sn->date_nsec = qcow2_be32(buf + AT_DATE_NSEC);
    sn->vm_clock_ns = qcow2_be64(buf + AT_CLOCK);
    sn->vm_state_bytes = qcow2_be32(buf + AT_VM_STATE);
    sn->extra_bytes = qcow2_be32(buf + AT_EXTRA_BYTES);
    id = qcow2_be16(buf + AT_ID_BYTES);
    name = qcow2_be16(buf + AT_NAME_BYTES);
    if (sn->extra_bytes > MAX_EXTRA)
        return err_set(e, -EINVAL, "snapshot with %u octets of extra data",
                       sn->extra_bytes);
    tail = (uint64_t)sn->extra_bytes + id + name;
    rc = tail > 0 ? node_pread(s->file, *at + FIXED_BYTES, buf, tail) : 0;
    if (rc < 0) goto unreadable;
    rc = take_tail(s, sn, buf, id, name);
    if (rc < 0) return err_set(e, rc, "out of memory");
    *at += entry_bytes(sn->extra_bytes, id, name);
    if (*at - s->h.snapshot_offset > QCOW2_MAX_SNAPSHOT_TABLE_BYTES)
        return err_set(e, -EFBIG, "snapshot table is too large");
    return 0;
unreadable:
    return err_set(e, rc, "snapshot table cannot be read: %s", strerror(-rc));
}

int qcow2_snapshots_load(struct qcow2 *s, struct qcow2_snapshots *out,
                         struct err *e)
{
    uint32_t count = s->h.snapshot_count;
    uint64_t at = s->h.snapshot_offset;
    uint8_t *buf;
    int rc = 0;

    *out = (struct qcow2_snapshots){ .v = NULL };
    if (count == 0) return 0;
    if (count > QCOW2_MAX_SNAPSHOTS)
        return err_set(e, -EFBIG, "%u snapshots are too many", count);
    rc = qcow2_check_range(s, at, FIXED_BYTES, "snapshot table", e);
    if (rc < 0) return rc;
    buf = malloc(MAX_EXTRA + 2 * UINT16_MAX);
    out->v = calloc(count, sizeof(*out->v));
    if (buf == NULL || out->v == NULL)
        rc = err_set(e, -ENOMEM, "out of memory");
    for (uint32_t i = 0; i < count && rc == 0; i++) {
        out->count = i + 1;
        rc = load_one(s, &out->v[i], &at, buf, e);
    }
    free(buf);
    if (rc < 0)
        qcow2_snapshots_free(out);
    else
        out->bytes = at - s->h.snapshot_offset;
    return rc;
}

/* -------------------------------------------------------------- writing */

static uint32_t extra_bytes(const struct qcow2_snapshot *sn)
{
    return sn->extra_bytes > KNOWN_EXTRA ? sn->extra_bytes : KNOWN_EXTRA;
}

uint64_t qcow2_snapshots_bytes(const struct qcow2_snapshots *all)
{
    uint64_t bytes = 0;

    for (unsigned i = 0; i < all->count; i++) {
        const struct qcow2_snapshot *sn = &all->v[i];

        bytes += entry_bytes(extra_bytes(sn), strlen(sn->id), strlen(sn->name));
    }
    return bytes;
}

static uint64_t encode(const struct qcow2_snapshot *sn, uint8_t *b)
{
    size_t id = strlen(sn->id), name = strlen(sn->name);
    uint32_t extra = extra_bytes(sn);
    uint8_t *at = b + FIXED_BYTES;

    qcow2_put64(b + AT_L1_OFFSET, sn->l1_offset);
    qcow2_put32(b + AT_L1_ENTRIES, sn->l1_entries);
    qcow2_put16(b + AT_ID_BYTES, (uint16_t)id);
    qcow2_put16(b + AT_NAME_BYTES, (uint16_t)name);
    qcow2_put32(b + AT_DATE_SEC, sn->date_sec);
    qcow2_put32(b + AT_DATE_NSEC, sn->date_nsec);
    qcow2_put64(b + AT_CLOCK, sn->vm_clock_ns);
    qcow2_put32(b + AT_VM_STATE, sn->vm_state_bytes > UINT32_MAX
                                     ? 0
                                     : (uint32_t)sn->vm_state_bytes);
    qcow2_put32(b + AT_EXTRA_BYTES, extra);
    qcow2_put64(at + EXTRA_VM_STATE, sn->vm_state_bytes);
    qcow2_put64(at + EXTRA_DISK_BYTES, sn->disk_bytes);
    qcow2_put64(at + EXTRA_ICOUNT, sn->icount);
    if (sn->extra != NULL)
        memcpy(at + KNOWN_EXTRA, sn->extra, extra - KNOWN_EXTRA);
    at += extra;
    memcpy(at, sn->id, id);
    memcpy(at + id, sn->name, name);
    return entry_bytes(extra, id, name);
}

int qcow2_snapshots_write(struct qcow2 *s, const struct qcow2_snapshots *all,
                          uint64_t offset)
{
    uint64_t bytes = qcow2_snapshots_bytes(all), at = 0;
    uint8_t *b;
    int rc;

    if (bytes == 0) return 0;
    b = calloc(1, bytes);
    if (b == NULL) return -ENOMEM;
    for (unsigned i = 0; i < all->count; i++)
        at += encode(&all->v[i], b + at);
    rc = node_pwrite(s->file, offset, b, bytes);
    free(b);
    return rc;
}

/* -------------------------------------------------------------- looking */

struct qcow2_snapshot *qcow2_snapshots_find(const struct qcow2_snapshots *all,
                                            const char *id)
{
    for (unsigned i = 0; i < all->count; i++) {
        if (strcmp(all->v[i].id, id) == 0) return &all->v[i];
    }
    return NULL;
}

int qcow2_no_snapshot(const struct qcow2 *s, const char *id, struct err *e)
{
    return err_set(e, -ENOENT, "%s: no snapshot '%s'", s->n->name, id);
}

int qcow2_snapshot_l1(struct qcow2 *s, const struct qcow2_snapshot *sn,
                      uint64_t **l1, struct err *e)
{
    uint64_t bytes = (uint64_t)sn->l1_entries * 8;
    int rc;

    if (bytes > QCOW2_MAX_L1_BYTES ||
        sn->l1_entries < qcow2_l1_need(s, sn->disk_bytes))
        return err_set(e, -EINVAL, "%s: snapshot '%s': L1 table of %u entries",
                       s->n->name, sn->id, sn->l1_entries);
    rc = bytes == 0
             ? 0
             : qcow2_check_range(s, sn->l1_offset, bytes, "snapshot's L1", e);
    if (rc < 0) return rc;
    rc = qcow2_table_read(s, sn->l1_offset, sn->l1_entries, l1);
    if (rc < 0)
        return err_set(e, rc, "%s: snapshot '%s' cannot be read: %s",
                       s->n->name, sn->id, strerror(-rc));
    return 0;
}
