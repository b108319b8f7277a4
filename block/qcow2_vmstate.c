/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qcow2: the VM state of snapshots.  It lies where QEMU has it, behind the end
 * of the snapshot's disk, but is reached by the snapshot's L1 table alone: it
 * can be written while the guest goes on writing to the active disk.
 *
 * Until vmstate_end the clusters are known in memory only; then L2 tables, a
 * new L1 table for the snapshot and a new snapshot table are written and
 * flushed, and the header points to the latter.  A crash before that leaks the
 * clusters, nothing more.
 */
#include <errno.h>
#include <stdlib.h>

#include "block/qcow2_ops.h"

enum { MAX_VMSTATE_CLUSTERS = 1 << 28, MAX_WRITE_CLUSTERS = 64 };

/* One that is being written or was read last; s->lock guards the list. */
struct vmstate {
    struct vmstate *next;
    char *id;
    bool is_building;
    uint64_t *host; /* being written: of each cluster, 0: none */
    size_t count;
    /* being read */
    uint64_t bytes;
    uint32_t first; /* L1 entry where the VM state begins */
    uint32_t entries;
    uint64_t *l1;
    uint64_t l2_at; /* offset of the L2 table in l2, 0: none */
    uint8_t *l2;
};

static void free_state(struct qcow2 *s, struct vmstate *v)
{
    for (size_t i = 0; i < v->count; i++) {
        if (v->host[i] != 0)
            qcow2_unalloc_locked(s, v->host[i], s->cluster_bytes);
    }
    free(v->host);
    free(v->l1);
    free(v->l2);
    free(v->id);
    free(v);
}

void qcow2_vmstate_close(struct qcow2 *s)
{
    struct vmstate *v;

    while ((v = s->vmstates) != NULL) {
        s->vmstates = v->next;
        free_state(s, v);
    }
}

static void forget(struct qcow2 *s, const char *id, bool is_building)
{
    struct vmstate **at = (struct vmstate **)&s->vmstates;

    while (*at != NULL) {
        struct vmstate *v = *at;

        if (v->is_building != is_building || strcmp(v->id, id) != 0) {
            at = &v->next;
            continue;
        }
        *at = v->next;
        free_state(s, v);
    }
}

static struct vmstate *find(struct qcow2 *s, const char *id, bool is_building)
{
    struct vmstate *v = s->vmstates;

    while (v != NULL &&
           (v->is_building != is_building || strcmp(v->id, id) != 0))
        v = v->next;
    return v;
}

static int add(struct qcow2 *s, const char *id, bool is_building,
               struct vmstate **out)
{
    struct vmstate *v = calloc(1, sizeof(*v));

    if (v != NULL) v->id = strdup(id);
    if (v == NULL || v->id == NULL) {
        free(v);
        return -ENOMEM;
    }
    v->is_building = is_building;
    v->next = s->vmstates;
    s->vmstates = v;
    *out = v;
    return 0;
}

/* -------------------------------------------------------------- writing */

static int start(struct qcow2 *s, const char *id, struct vmstate **out)
{
    struct qcow2_snapshots all;
    struct err e = ERR_INIT;
    bool is_there;
    int rc;

    *out = find(s, id, true);
    if (*out != NULL) return 0;
    rc = qcow2_snapshots_load(s, &all, &e);
    if (rc < 0) return rc;
    is_there = qcow2_snapshots_find(&all, id) != NULL;
    qcow2_snapshots_free(&all);
    return is_there ? add(s, id, true, out) : -ENOENT;
}

static int grow(struct vmstate *v, uint64_t count)
{
    uint64_t *host;
    size_t want;

    if (count <= v->count) return 0;
    if (count > MAX_VMSTATE_CLUSTERS) return -EFBIG;
    want = v->count + v->count / 2;
    if (want < count) want = (size_t)count;
    host = realloc(v->host, want * sizeof(*host));
    if (host == NULL) return -ENOMEM;
    memset(host + v->count, 0, (want - v->count) * sizeof(*host));
    v->host = host;
    v->count = want;
    return 0;
}

/* Clusters for [first, end) that have none; *new_from: the first such. */
static int allocate(struct qcow2 *s, struct vmstate *v, uint64_t first,
                    uint64_t end)
{
    int rc = grow(v, end);

    while (first < end && rc == 0) {
        uint64_t run = 1, offset;

        if (v->host[first] != 0) {
            first++;
            continue;
        }
        while (first + run < end && v->host[first + run] == 0)
            run++;
        rc = qcow2_alloc_locked(s, run, &offset, NULL);
        for (uint64_t i = 0; i < run && rc == 0; i++)
            v->host[first + i] = offset + (i << s->cluster_bits);
        if (rc == 0) first += run;
    }
    return rc;
}

/* Part of a request: within one cluster, or whole ones that follow each other
 * in the file. */
struct piece {
    uint64_t host;
    uint32_t in; /* in the first cluster */
    size_t bytes;
    size_t skip; /* in the iov */
    bool is_new;
};

/* Whole cluster by way of a buffer: encrypted, or the first to touch it. */
static int write_bounced(struct qcow2 *s, const struct piece *p,
                         const struct iovec *iov, int iovcnt)
{
    bool is_whole = p->bytes == s->cluster_bytes;
    uint8_t *buf = calloc(1, s->cluster_bytes);
    int rc = buf == NULL ? -ENOMEM : 0;

    if (rc == 0 && !is_whole && !p->is_new) {
        rc = node_pread(s->file, p->host, buf, s->cluster_bytes);
        if (rc == 0 && s->crypt != NULL)
            rc = s->crypt(s->crypt_arg, p->host, buf, s->cluster_bytes, false);
    }
    if (rc == 0) {
        iov_to_buf(iov, iovcnt, p->skip, buf + p->in, p->bytes);
        if (s->crypt != NULL)
            rc = s->crypt(s->crypt_arg, p->host, buf, s->cluster_bytes, true);
    }
    if (rc == 0) rc = node_pwrite(s->file, p->host, buf, s->cluster_bytes);
    free(buf);
    return rc;
}

static int write_piece(struct qcow2 *s, const struct piece *p,
                       const struct iovec *iov, int iovcnt)
{
    struct iovec part[BLOCK_MAX_IOV];
    int parts;

    if (s->crypt != NULL || (p->is_new && p->bytes < s->cluster_bytes))
        return write_bounced(s, p, iov, iovcnt);
    parts = iov_slice(iov, iovcnt, p->skip, p->bytes, part);
    return node_write(s->file, p->host + p->in, part, parts, 0);
}

static bool has_cluster(const struct vmstate *v, uint64_t index)
{
    return index < v->count && v->host[index] != 0;
}

/* Place of the cluster at index; is_new: nothing was written there yet.  Up to
 * want of them, if they are alike and follow each other: how many. */
static int place(struct qcow2 *s, const char *id, uint64_t index, uint64_t want,
                 struct piece *p)
{
    struct vmstate *v;
    uint64_t run = 1;
    int rc;

    pthread_mutex_lock(&s->lock);
    rc = qcow2_begin_tables_locked(s);
    if (rc == 0) rc = start(s, id, &v);
    if (rc == 0) {
        p->is_new = !has_cluster(v, index);
        while (run < want && has_cluster(v, index + run) != p->is_new)
            run++;
        rc = allocate(s, v, index, index + run);
    }
    if (rc == 0) {
        p->host = v->host[index];
        want = run;
        run = 1;
        while (run < want &&
               v->host[index + run] == p->host + (run << s->cluster_bits))
            run++;
    }
    pthread_mutex_unlock(&s->lock);
    return rc < 0 ? rc : (int)run;
}

int qcow2_vmstate_write(struct node *n, const char *id, uint64_t pos,
                        const struct iovec *iov, int iovcnt, size_t bytes)
{
    struct qcow2 *s = n->s;
    size_t done = 0;
    int rc = 0;

    if (pos > INT64_MAX - bytes) return -EFBIG;
    while (done < bytes && rc == 0) {
        uint64_t at = pos + done, want = 1;
        struct piece p = { .in = (uint32_t)(at & (s->cluster_bytes - 1)),
                           .skip = done };

        if (p.in == 0 && s->crypt == NULL)
            want = (bytes - done) >> s->cluster_bits;
        if (want > MAX_WRITE_CLUSTERS) want = MAX_WRITE_CLUSTERS;
        rc = place(s, id, at >> s->cluster_bits, want, &p);
        if (rc < 0) break;
        p.bytes = ((size_t)rc << s->cluster_bits) - p.in;
        if (p.bytes > bytes - done) p.bytes = bytes - done;
        rc = write_piece(s, &p, iov, iovcnt);
        done += p.bytes;
    }
    return rc;
}

/* ---------------------------------------------------------------- ending */

/* What vmstate_end makes; all allocated, undone on failure. */
struct ending {
    struct vmstate *v;
    struct qcow2_snapshots all;
    struct qcow2_snapshot *sn;
    uint64_t *l1;
    uint32_t entries, first, tables;
    uint64_t l1_offset, table_offset, table_bytes;
};

static int write_l2(struct qcow2 *s, const struct vmstate *v, uint64_t first,
                    uint64_t clusters, uint64_t offset)
{
    uint64_t count = UINT64_C(1) << s->l2_bits;
    uint8_t *b = calloc(1, s->cluster_bytes);
    int rc;

    if (b == NULL) return -ENOMEM;
    for (uint64_t i = 0; i < count && first + i < clusters; i++) {
        uint64_t host = v->host[first + i];

        if (host == 0) continue;
        qcow2_put64(b + i * s->l2_entry_bytes, host | QCOW2_COPIED);
        if (s->has_subclusters)
            qcow2_put64(b + i * s->l2_entry_bytes + 8, UINT32_MAX);
    }
    rc = node_pwrite(s->file, offset, b, s->cluster_bytes);
    free(b);
    return rc;
}

static int write_l2_tables(struct qcow2 *s, struct ending *x, uint64_t clusters)
{
    uint64_t offset;
    int rc = 0;

    for (uint64_t at = 0; at < clusters && rc == 0;
         at += UINT64_C(1) << s->l2_bits) {
        rc = qcow2_alloc_locked(s, 1, &offset, NULL);
        if (rc < 0) break;
        x->l1[x->first + x->tables++] = offset;
        rc = write_l2(s, x->v, at, clusters, offset);
    }
    return rc;
}

/* The snapshot's L1 table with room for the VM state. */
static int prepare(struct qcow2 *s, struct ending *x, uint64_t clusters,
                   struct err *e)
{
    uint64_t *old, need, l2 = UINT64_C(1) << s->l2_bits;
    int rc = qcow2_snapshot_l1(s, x->sn, &old, e);

    if (rc < 0) return rc;
    need = qcow2_l1_need(s, x->sn->disk_bytes);
    x->first = (uint32_t)need;
    need += (clusters + l2 - 1) / l2;
    for (uint32_t i = x->first; i < x->sn->l1_entries && rc == 0; i++) {
        if (old[i] != 0) rc = -EEXIST;
    }
    if (rc == 0 && need > QCOW2_MAX_L1_BYTES / 8) rc = -EFBIG;
    x->entries = need > x->sn->l1_entries ? (uint32_t)need : x->sn->l1_entries;
    if (rc == 0) x->l1 = calloc((size_t)x->entries + 1, sizeof(*x->l1));
    if (rc == 0 && x->l1 == NULL) rc = -ENOMEM;
    if (rc == 0 && x->sn->l1_entries > 0)
        memcpy(x->l1, old, x->sn->l1_entries * sizeof(*old));
    free(old);
    return rc;
}

static int write_all(struct qcow2 *s, struct ending *x, uint64_t bytes,
                     struct err *e)
{
    uint64_t clusters = qcow2_clusters(s, bytes);
    int rc = grow(x->v, clusters);

    if (rc == 0) rc = prepare(s, x, clusters, e);
    if (rc == 0) rc = write_l2_tables(s, x, clusters);
    if (rc == 0)
        rc = qcow2_alloc_locked(s, qcow2_clusters(s, (uint64_t)x->entries * 8),
                                &x->l1_offset, NULL);
    if (rc == 0) rc = qcow2_table_write(s, x->l1_offset, x->l1, 0, x->entries);
    x->sn->l1_offset = x->l1_offset;
    x->sn->l1_entries = x->entries;
    x->sn->vm_state_bytes = bytes;
    x->table_bytes = qcow2_snapshots_bytes(&x->all);
    if (rc == 0)
        rc = qcow2_alloc_locked(s, qcow2_clusters(s, x->table_bytes),
                                &x->table_offset, NULL);
    if (rc == 0) rc = qcow2_snapshots_write(s, &x->all, x->table_offset);
    return rc == 0 ? qcow2_flush_locked(s, false) : rc;
}

static int switch_table(struct qcow2 *s, const struct ending *x)
{
    uint64_t old = s->h.snapshot_offset;
    int rc;

    s->h.snapshot_offset = x->table_offset;
    rc = qcow2_header_update_locked(s);
    if (rc == 0) rc = node_flush(s->file);
    if (rc < 0) {
        s->h.snapshot_offset = old;
        s->is_dead = s->is_corrupt =
            true; /* which one the disk has is not known */
    }
    return rc;
}

static void undo(struct qcow2 *s, const struct ending *x)
{
    for (uint32_t i = 0; i < x->tables; i++)
        qcow2_unalloc_locked(s, x->l1[x->first + i], s->cluster_bytes);
    if (x->l1_offset != 0)
        qcow2_unalloc_locked(s, x->l1_offset, (uint64_t)x->entries * 8);
    if (x->table_offset != 0)
        qcow2_unalloc_locked(s, x->table_offset, x->table_bytes);
}

/* Clusters behind the end are given back, the others are the snapshot's. */
static void settle_clusters(struct qcow2 *s, struct vmstate *v, uint64_t bytes)
{
    uint64_t clusters = qcow2_clusters(s, bytes);

    for (uint64_t i = 0; i < clusters && i < v->count; i++)
        v->host[i] = 0;
}

static int end_locked(struct qcow2 *s, const char *id, uint64_t bytes,
                      struct err *e)
{
    struct ending x = { .v = NULL };
    uint64_t old_l1, old_l1_bytes, old_table = s->h.snapshot_offset;
    int rc = qcow2_snapshots_load(s, &x.all, e);

    if (rc < 0) return rc;
    x.sn = qcow2_snapshots_find(&x.all, id);
    if (x.sn == NULL) {
        qcow2_snapshots_free(&x.all);
        return qcow2_no_snapshot(s, id, e);
    }
    old_l1 = x.sn->l1_offset;
    old_l1_bytes = (uint64_t)x.sn->l1_entries * 8;
    rc = qcow2_begin_tables_locked(s);
    if (rc == 0) rc = start(s, id, &x.v);
    if (rc == 0) rc = write_all(s, &x, bytes, e);
    if (rc < 0)
        undo(s, &x);
    else
        rc = switch_table(s, &x);
    if (rc == 0) {
        settle_clusters(s, x.v, bytes);
        qcow2_free_locked(s, old_l1, old_l1_bytes);
        qcow2_free_locked(s, old_table, x.all.bytes);
        forget(s, id, true);
        forget(s, id, false);
    }
    free(x.l1);
    qcow2_snapshots_free(&x.all);
    return rc;
}

int qcow2_vmstate_end(struct node *n, const char *id, uint64_t bytes,
                      struct err *e)
{
    struct qcow2 *s = n->s;
    int rc;

    pthread_mutex_lock(&s->lock);
    rc = end_locked(s, id, bytes, e);
    pthread_mutex_unlock(&s->lock);
    if (rc < 0 && e->code == 0)
        err_set(e, rc, "%s: VM state: %s", n->name, strerror(-rc));
    return rc;
}

/* -------------------------------------------------------------- reading */

static int open_read(struct qcow2 *s, const char *id, struct vmstate **out)
{
    struct qcow2_snapshots all;
    struct err e = ERR_INIT;
    const struct qcow2_snapshot *sn;
    struct vmstate *v;
    int rc;

    *out = find(s, id, false);
    if (*out != NULL) return 0;
    rc = qcow2_snapshots_load(s, &all, &e);
    if (rc < 0) return rc;
    sn = qcow2_snapshots_find(&all, id);
    rc = sn == NULL ? -ENOENT : add(s, id, false, &v);
    if (rc == 0) {
        v->bytes = sn->vm_state_bytes;
        v->entries = sn->l1_entries;
        v->first = (uint32_t)qcow2_l1_need(s, sn->disk_bytes);
        v->l2 = malloc(s->cluster_bytes);
        rc = v->l2 == NULL ? -ENOMEM : qcow2_snapshot_l1(s, sn, &v->l1, &e);
        if (rc < 0) forget(s, id, false);
    }
    qcow2_snapshots_free(&all);
    if (rc == 0) *out = v;
    return rc;
}

/* Place of a cluster; 0: zeros. */
static int look_up(struct qcow2 *s, struct vmstate *v, uint64_t index,
                   uint64_t *host)
{
    uint64_t table = v->first + (index >> s->l2_bits);
    uint64_t in = index & ((UINT64_C(1) << s->l2_bits) - 1);
    uint64_t offset, entry;
    struct err e = ERR_INIT;
    int rc;

    *host = 0;
    if (table >= v->entries) return -EIO;
    offset = v->l1[table] & QCOW2_OFFSET_MASK;
    if (offset == 0) return 0;
    if (v->l2_at != offset) {
        v->l2_at = 0;
        rc = qcow2_check_range(s, offset, s->cluster_bytes, "L2 table", &e);
        if (rc == 0) rc = node_pread(s->file, offset, v->l2, s->cluster_bytes);
        if (rc < 0) return rc;
        v->l2_at = offset;
    }
    entry = qcow2_be64(v->l2 + in * s->l2_entry_bytes);
    if (entry & QCOW2_COMPRESSED) return -ENOTSUP;
    if (!s->has_subclusters && (entry & QCOW2_ZERO)) return 0;
    *host = entry & QCOW2_OFFSET_MASK;
    if (*host == 0) return 0;
    return qcow2_check_range(s, *host, 1, "VM state", &e);
}

static int find_cluster(struct qcow2 *s, const char *id, uint64_t at,
                        uint32_t bytes, uint64_t *host)
{
    struct vmstate *v;
    int rc;

    pthread_mutex_lock(&s->lock);
    rc = open_read(s, id, &v);
    if (rc == 0 && (at > v->bytes || bytes > v->bytes - at)) rc = -EIO;
    if (rc == 0) rc = look_up(s, v, at >> s->cluster_bits, host);
    pthread_mutex_unlock(&s->lock);
    return rc;
}

static int read_piece(struct qcow2 *s, const struct piece *p,
                      const struct iovec *iov, int iovcnt)
{
    uint32_t from = p->in & ~(uint32_t)(BLOCK_SECTOR_BYTES - 1);
    uint32_t to = (p->in + (uint32_t)p->bytes + BLOCK_SECTOR_BYTES - 1) &
                  ~(uint32_t)(BLOCK_SECTOR_BYTES - 1);
    uint8_t *buf = calloc(1, s->cluster_bytes);
    int rc = 0;

    if (buf == NULL) return -ENOMEM;
    if (p->host != 0) {
        rc = node_pread(s->file, p->host + from, buf + from, to - from);
        if (rc == 0 && s->crypt != NULL)
            rc = s->crypt(s->crypt_arg, p->host + from, buf + from, to - from,
                          false);
    }
    if (rc == 0) iov_from_buf(iov, iovcnt, p->skip, buf + p->in, p->bytes);
    free(buf);
    return rc;
}

int qcow2_vmstate_read(struct node *n, const char *id, uint64_t pos,
                       const struct iovec *iov, int iovcnt, size_t bytes)
{
    struct qcow2 *s = n->s;
    size_t done = 0;
    int rc = 0;

    if (pos > INT64_MAX - bytes) return -EFBIG;
    while (done < bytes && rc == 0) {
        uint64_t at = pos + done;
        struct piece p = { .in = (uint32_t)(at & (s->cluster_bytes - 1)),
                           .skip = done };

        p.bytes = s->cluster_bytes - p.in;
        if (p.bytes > bytes - done) p.bytes = bytes - done;
        rc = find_cluster(s, id, at, (uint32_t)p.bytes, &p.host);
        if (rc == 0) rc = read_piece(s, &p, iov, iovcnt);
        done += p.bytes;
    }
    return rc;
}

/* ------------------------------------------------------------- patching */

/* Encrypted sectors are written whole; the host writes each at once. */
static int patch_sectors(struct qcow2 *s, uint64_t host, uint32_t in,
                         const void *data, size_t bytes)
{
    uint32_t from = in & ~(uint32_t)(BLOCK_SECTOR_BYTES - 1);
    size_t all = (in - from + bytes + BLOCK_SECTOR_BYTES - 1) &
                 ~(size_t)(BLOCK_SECTOR_BYTES - 1);
    uint8_t *buf = malloc(all);
    int rc = buf == NULL ? -ENOMEM : 0;

    if (rc == 0) rc = node_pread(s->file, host + from, buf, all);
    if (rc == 0) rc = s->crypt(s->crypt_arg, host + from, buf, all, false);
    if (rc == 0) {
        memcpy(buf + (in - from), data, bytes);
        rc = s->crypt(s->crypt_arg, host + from, buf, all, true);
    }
    if (rc == 0) rc = node_pwrite(s->file, host + from, buf, all);
    free(buf);
    return rc;
}

int qcow2_vmstate_patch(struct node *n, const char *id, uint64_t pos,
                        const void *buf, size_t bytes)
{
    struct qcow2 *s = n->s;
    size_t done = 0;
    int rc = 0;

    if (n->is_readonly) return -EROFS;
    if (pos > INT64_MAX - bytes) return -EFBIG;
    pthread_mutex_lock(&s->lock);
    rc = qcow2_begin_tables_locked(s);
    pthread_mutex_unlock(&s->lock);
    while (done < bytes && rc == 0) {
        uint64_t at = pos + done, host = 0;
        uint32_t in = (uint32_t)(at & (s->cluster_bytes - 1));
        size_t part = s->cluster_bytes - in;

        if (part > bytes - done) part = bytes - done;
        rc = find_cluster(s, id, at, (uint32_t)part, &host);
        if (rc == 0 && host == 0) rc = -EIO;
        if (rc == 0 && s->crypt != NULL)
            rc = patch_sectors(s, host, in, (const uint8_t *)buf + done, part);
        else if (rc == 0)
            rc = node_pwrite(s->file, host + in, (const uint8_t *)buf + done,
                             part);
        done += part;
    }
    return rc == 0 ? node_flush(s->file) : rc;
}
