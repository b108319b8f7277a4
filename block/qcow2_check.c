/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Check of qcow2 images: all references to clusters are counted anew and
 * compared with the refcounts in the file.  Two octets per cluster of the file,
 * mapped, so that what a sparse file does not use costs nothing.
 *
 * Repairs are made in an order that a crash cannot hurt: refcounts go up before
 * flags that rely on them are set; when refcounts are missing, a whole new set
 * is written beside the old one and the header points to it at the end
 * (qcow2_repair.c).
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "block/qcow2_ops.h"

typedef unsigned long long ull; /* for printf */

#define L1_RESERVED UINT64_C(0x7f000000000001ff)
#define L2_RESERVED UINT64_C(0x3f000000000001fe)

void qcow2_check_line(const struct qcow2_count *k, const char *fmt, ...)
{
    char text[300];
    va_list args;

    if (k->c->line == NULL) return;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    k->c->line(k->c->arg, text);
}

/* ------------------------------------------------------------- counting */

void qcow2_count_range(struct qcow2_count *k, uint64_t offset, uint64_t bytes)
{
    unsigned bits = k->s->cluster_bits;
    uint64_t first = offset >> bits, last;

    if (bytes == 0) return;
    last = (offset + bytes - 1) >> bits;
    if (last >= k->clusters || offset + bytes < offset) {
        qcow2_check_line(k,
                         "ERROR: counting reference for region exceeding the "
                         "end of the file by one cluster or more: offset "
                         "0x%llx size 0x%llx",
                         (ull)offset, (ull)bytes);
        k->c->corruptions++;
        if (k->outside_count < QCOW2_MAX_OUTSIDE)
            k->outside[k->outside_count++] = (struct qcow2_span){ first, last };
        return;
    }
    for (; first <= last; first++) {
        if (k->refs[first] < UINT16_MAX) k->refs[first]++;
    }
}

static bool is_misaligned(const struct qcow2_count *k, uint64_t offset)
{
    return (offset & (k->s->cluster_bytes - 1)) != 0;
}

int qcow2_check_read_l2(struct qcow2_count *k, uint64_t offset, uint8_t *buf)
{
    int rc = node_pread(k->s->file, offset, buf, k->s->cluster_bytes);

    if (rc == 0) return 0;
    qcow2_check_line(k, "ERROR: L2 table at 0x%llx cannot be read: %s",
                     (ull)offset, strerror(-rc));
    k->c->check_errors++;
    return rc;
}

/* Where the next cluster would lie in a file without fragments. */
struct walk {
    bool is_active;
    uint64_t next;
};

static void count_compressed(struct qcow2_count *k, struct walk *w,
                             uint64_t entry, uint64_t bitmap)
{
    uint64_t offset, bytes;

    if (entry & QCOW2_COPIED) {
        qcow2_check_line(k,
                         "ERROR: coffset=0x%llx: copied flag must never be "
                         "set for compressed clusters",
                         (ull)(entry & ~(QCOW2_COPIED | QCOW2_COMPRESSED)));
        k->c->corruptions++;
    }
    if (k->s->has_subclusters && bitmap != 0) {
        qcow2_check_line(k,
                         "ERROR compressed cluster with non-zero subcluster "
                         "allocation bitmap, entry=0x%llx",
                         (ull)entry);
        k->c->corruptions++;
        return;
    }
    qcow2_compressed_range(k->s->cluster_bits, entry, &offset, &bytes);
    /* The last sector need not be there whole. */
    if (offset < k->s->file->size_bytes &&
        bytes > k->s->file->size_bytes - offset)
        bytes = k->s->file->size_bytes - offset;
    qcow2_count_range(k, offset, bytes);
    if (!w->is_active) return;
    k->c->allocated_clusters++;
    k->c->compressed_clusters++;
    k->c->fragmented_clusters++; /* by nature */
}

static void count_plain(struct qcow2_count *k, struct walk *w, uint64_t entry,
                        uint64_t bitmap)
{
    uint64_t offset = entry & QCOW2_OFFSET_MASK;
    uint64_t reserved = L2_RESERVED;

    if (k->s->has_subclusters || k->s->h.version < 3) reserved |= QCOW2_ZERO;
    if (entry & reserved) {
        qcow2_check_line(k, "ERROR found l2 entry with reserved bits set: %llx",
                         (ull)entry);
        k->c->corruptions++;
    }
    if (k->s->has_subclusters && ((bitmap >> 32) & bitmap & UINT32_MAX) != 0) {
        qcow2_check_line(k,
                         "ERROR subclusters both allocated and zero, "
                         "bitmap=0x%llx",
                         (ull)bitmap);
        k->c->corruptions++;
    }
    if (offset == 0 && !(k->s->has_data_file && (entry & QCOW2_COPIED))) {
        if (k->s->has_subclusters && (bitmap & UINT32_MAX) != 0) {
            qcow2_check_line(k,
                             "ERROR subclusters allocated without a cluster");
            k->c->corruptions++;
        }
        return;
    }
    if (is_misaligned(k, offset)) {
        qcow2_check_line(k,
                         "ERROR offset=%llx: Cluster is not properly aligned; "
                         "L2 entry corrupted.",
                         (ull)offset);
        k->c->corruptions++;
    }
    if (w->is_active) {
        k->c->allocated_clusters++;
        if (w->next != 0 && offset != w->next) k->c->fragmented_clusters++;
        w->next = offset + k->s->cluster_bytes;
    }
    /* The clusters of a data file are not counted. */
    if (!k->s->has_data_file) qcow2_count_range(k, offset, k->s->cluster_bytes);
}

static int count_l2(struct qcow2_count *k, uint64_t offset, bool is_active,
                    uint8_t *buf)
{
    const struct qcow2 *s = k->s;
    struct walk w = { is_active, 0 };
    int rc = qcow2_check_read_l2(k, offset, buf);

    if (rc < 0) return rc;
    for (uint32_t at = 0; at < s->cluster_bytes; at += s->l2_entry_bytes) {
        uint64_t entry = qcow2_be64(buf + at), bitmap = 0;

        if (s->has_subclusters) bitmap = qcow2_be64(buf + at + 8);
        if ((entry | bitmap) == 0) continue;
        if (entry & QCOW2_COMPRESSED)
            count_compressed(k, &w, entry, bitmap);
        else
            count_plain(k, &w, entry, bitmap);
    }
    return 0;
}

/*
 * No two tables share a cluster, and an L1 table names each L2 table once.  An
 * image that says otherwise would keep us busy for days.
 */
static bool is_too_much(struct qcow2_count *k, uint64_t clusters)
{
    if (clusters <= k->clusters) return false;
    if (!k->is_hopeless)
        qcow2_check_line(k, "ERROR tables have more entries than the file has "
                            "clusters; not all were checked");
    k->c->corruptions++;
    k->is_hopeless = true;
    return true;
}

static int count_l1(struct qcow2_count *k, uint64_t l1_offset,
                    uint32_t l1_entries, bool is_active, uint8_t *buf)
{
    uint64_t *l1, reads = 0;
    int rc;

    k->table_clusters += qcow2_clusters(k->s, (uint64_t)l1_entries * 8);
    if (is_too_much(k, k->table_clusters)) return 0;
    rc = qcow2_table_read(k->s, l1_offset, l1_entries, &l1);
    if (rc < 0) {
        qcow2_check_line(k, "ERROR: L1 table at 0x%llx cannot be read: %s",
                         (ull)l1_offset, strerror(-rc));
        k->c->check_errors++;
        return 0;
    }
    qcow2_count_range(k, l1_offset, (uint64_t)l1_entries * 8);
    for (uint32_t i = 0; i < l1_entries; i++) {
        uint64_t offset = l1[i] & QCOW2_OFFSET_MASK;

        rc = image_progress(k->c->progress, k->work_done++, k->work_total);
        if (rc < 0) break;
        if (l1[i] == 0) continue;
        if (l1[i] & L1_RESERVED) {
            qcow2_check_line(k,
                             "ERROR found L1 entry with reserved bits set: "
                             "%llx",
                             (ull)l1[i]);
            k->c->corruptions++;
        }
        if (offset == 0) continue;
        if (is_too_much(k, ++reads)) break;
        qcow2_count_range(k, offset, k->s->cluster_bytes);
        if (is_misaligned(k, offset)) {
            qcow2_check_line(k,
                             "ERROR l2_offset=%llx: Table is not cluster "
                             "aligned; L1 entry corrupted",
                             (ull)offset);
            k->c->corruptions++;
        }
        /* What lies outside of the file was counted as an error. */
        if (offset + k->s->cluster_bytes <= k->s->file->size_bytes)
            count_l2(k, offset, is_active, buf);
    }
    free(l1);
    return rc;
}

static bool is_l1_sound(struct qcow2_count *k, const struct qcow2_snapshot *sn,
                        unsigned index)
{
    if (sn->l1_entries == 0) return true; /* of a disk without octets */
    if (!is_misaligned(k, sn->l1_offset) && sn->l1_offset != 0 &&
        sn->l1_entries <= QCOW2_MAX_L1_BYTES / 8)
        return true;
    qcow2_check_line(k, "ERROR snapshot %u: L1 table offset=%#llx entries=%u",
                     index, (ull)sn->l1_offset, sn->l1_entries);
    k->c->corruptions++;
    return false;
}

static int count_snapshots(struct qcow2_count *k, uint8_t *buf)
{
    struct qcow2_snapshots all;
    struct err e = ERR_INIT;
    int rc = qcow2_snapshots_load(k->s, &all, &e);

    if (rc < 0) {
        qcow2_check_line(k, "ERROR snapshot table: %s", e.text);
        k->c->corruptions++;
        return rc == -ENOMEM ? rc : 0;
    }
    for (unsigned i = 0; i < all.count; i++)
        k->work_total += all.v[i].l1_entries;
    for (unsigned i = 0; i < all.count && rc == 0; i++) {
        if (is_l1_sound(k, &all.v[i], i))
            rc = count_l1(k, all.v[i].l1_offset, all.v[i].l1_entries, false,
                          buf);
    }
    qcow2_count_range(k, k->s->h.snapshot_offset, all.bytes);
    qcow2_snapshots_free(&all);
    return rc;
}

static void count_crypto(struct qcow2_count *k)
{
    uint64_t offset, bytes;
    struct err e = ERR_INIT;

    if (k->s->h.crypt_method != QCOW2_CRYPT_LUKS) return;
    if (qcow2_luks_range(k->s, &offset, &bytes, &e) == 0) {
        qcow2_count_range(k, offset, bytes);
        return;
    }
    qcow2_check_line(k, "ERROR: %s", e.text);
    k->c->corruptions++;
}

/* Table of a bitmap and the clusters it names. */
static void count_bitmap(struct qcow2_count *k, const struct qcow2_bitmap *b)
{
    uint64_t *table;
    int rc;

    if (is_misaligned(k, b->table_offset) || b->table_offset == 0) {
        qcow2_check_line(k, "ERROR bitmap table offset=%#llx",
                         (ull)b->table_offset);
        k->c->corruptions++;
        return;
    }
    qcow2_count_range(k, b->table_offset, (uint64_t)b->table_entries * 8);
    k->table_clusters += qcow2_clusters(k->s, (uint64_t)b->table_entries * 8);
    if (is_too_much(k, k->table_clusters)) return;
    rc = qcow2_table_read(k->s, b->table_offset, b->table_entries, &table);
    if (rc < 0) {
        qcow2_check_line(k, "ERROR bitmap table at 0x%llx cannot be read: %s",
                         (ull)b->table_offset, strerror(-rc));
        k->c->check_errors++;
        return;
    }
    for (uint32_t i = 0; i < b->table_entries; i++) {
        uint64_t offset = table[i] & QCOW2_OFFSET_MASK;

        if (is_misaligned(k, offset)) {
            qcow2_check_line(k, "ERROR bitmap table entry=%llx", (ull)table[i]);
            k->c->corruptions++;
        } else if (offset != 0) {
            qcow2_count_range(k, offset, k->s->cluster_bytes);
        }
    }
    free(table);
}

static void count_bitmaps(struct qcow2_count *k)
{
    uint64_t offset, bytes, at = 0;
    struct qcow2_bitmap b;

    qcow2_bitmap_directory(k->s, &offset, &bytes);
    qcow2_count_range(k, offset, bytes);
    while (qcow2_bitmap_next(k->s, &at, &b))
        count_bitmap(k, &b);
}

/* The refcount table and its blocks; each block belongs to one entry. */
static void count_refblocks(struct qcow2_count *k)
{
    const struct qcow2 *s = k->s;

    qcow2_count_range(k, s->h.reftable_offset,
                      (uint64_t)s->h.reftable_clusters << s->cluster_bits);
    for (uint32_t i = 0; i < s->reftable_entries; i++) {
        uint64_t offset = s->reftable[i] & QCOW2_REFTABLE_MASK;
        uint64_t cluster = offset >> s->cluster_bits;
        const char *wrong = NULL;

        if (s->reftable[i] == 0) continue;
        if (s->reftable[i] != offset)
            wrong = "has reserved bits set";
        else if (is_misaligned(k, offset))
            wrong = "is not cluster aligned; refcount table entry corrupted";
        else if (cluster >= k->clusters)
            wrong = "is outside image";
        if (wrong != NULL) {
            qcow2_check_line(k, "ERROR refcount block %u %s", i, wrong);
            k->refblock_errors++;
            continue;
        }
        qcow2_count_range(k, offset, s->cluster_bytes);
        if (k->refs[cluster] != 1) {
            qcow2_check_line(k, "ERROR refcount block %u refcount=%u", i,
                             k->refs[cluster]);
            k->refblock_errors++;
        }
    }
    k->needs_rebuild = k->refblock_errors > 0;
}

static int count_all(struct qcow2_count *k)
{
    const struct qcow2 *s = k->s;
    uint8_t *buf = malloc(s->cluster_bytes);
    int rc;

    if (buf == NULL) return -ENOMEM;
    qcow2_count_range(k, 0, s->cluster_bytes);
    k->work_total = s->h.l1_entries;
    rc = count_l1(k, s->h.l1_offset, s->h.l1_entries, true, buf);
    if (rc == 0) rc = count_snapshots(k, buf);
    free(buf);
    if (rc < 0) return rc;
    count_crypto(k);
    count_bitmaps(k);
    count_refblocks(k);
    return 0;
}

/* ------------------------------------------------------------ comparing */

/* What is to be done with clusters that are alike. */
struct repair {
    uint64_t first, clusters;
    int64_t delta;
};

static int do_repair(struct qcow2_count *k, struct repair *r)
{
    int rc = 0;

    if (r->clusters > 0) {
        rc = qcow2_refcount_add_locked(k->s, r->first, r->clusters, r->delta);
        if (rc < 0) {
            qcow2_check_line(k, "ERROR: refcounts cannot be repaired: %s",
                             strerror(-rc));
            k->c->check_errors++;
        } else if (r->delta < 0) {
            k->c->leaks_fixed += r->clusters;
        } else {
            k->c->corruptions_fixed += r->clusters;
        }
    }
    r->clusters = 0;
    return rc;
}

static int add_repair(struct qcow2_count *k, struct repair *r, uint64_t cluster,
                      int64_t delta)
{
    int rc = 0;

    if (r->clusters > 0 && r->delta == delta &&
        r->first + r->clusters == cluster) {
        r->clusters++;
        return 0;
    }
    rc = do_repair(k, r);
    *r = (struct repair){ cluster, 1, delta };
    return rc;
}

static void set_one(struct qcow2_count *k, uint64_t cluster, bool is_one)
{
    uint64_t bit = UINT64_C(1) << cluster % 64;

    k->is_one[cluster / 64] &= ~bit;
    if (is_one) k->is_one[cluster / 64] |= bit;
}

static int compare_one(struct qcow2_count *k, uint64_t cluster, uint64_t stored,
                       unsigned fix, struct repair *r)
{
    uint64_t refs = k->refs[cluster];
    bool is_leak = stored > refs;
    bool is_fixed = false;

    if (stored == refs) return 0;
    if (stored == 0) k->needs_rebuild = true;
    if (!k->needs_rebuild && is_leak && (fix & IMAGE_FIX_LEAKS))
        is_fixed = stored - refs <= INT64_MAX;
    if (!k->needs_rebuild && !is_leak && (fix & IMAGE_FIX_ERRORS))
        is_fixed = refs <= k->s->max_refcount;
    qcow2_check_line(k, "%s cluster %llu refcount=%llu reference=%llu",
                     is_fixed  ? "Repairing"
                     : is_leak ? "Leaked"
                               : "ERROR",
                     (ull)cluster, (ull)stored, (ull)refs);
    if (is_fixed) {
        set_one(k, cluster, refs == 1);
        return add_repair(k, r, cluster, (int64_t)(refs - stored));
    }
    if (cluster > k->highest) k->highest = cluster;
    if (is_leak)
        k->c->leaks++;
    else
        k->c->corruptions++;
    return 0;
}

/* A refcount block of the file; NULL in *out where there is none. */
static int read_refblock(struct qcow2_count *k, uint64_t index, uint8_t *buf,
                         const uint8_t **out)
{
    const struct qcow2 *s = k->s;
    uint64_t offset;
    int rc;

    *out = NULL;
    if (index >= s->reftable_entries) return 0;
    offset = s->reftable[index] & QCOW2_REFTABLE_MASK;
    if (offset == 0 || is_misaligned(k, offset) ||
        offset >> s->cluster_bits >= k->clusters)
        return 0;
    rc = node_pread(s->file, offset, buf, s->cluster_bytes);
    if (rc < 0) {
        qcow2_check_line(k, "ERROR: refcount block %llu cannot be read: %s",
                         (ull)index, strerror(-rc));
        k->c->check_errors++;
        return rc;
    }
    *out = buf;
    return 0;
}

/* Everything in the file against what was counted. */
static int compare(struct qcow2_count *k, unsigned fix)
{
    const struct qcow2 *s = k->s;
    uint64_t per_block = UINT64_C(1) << s->refblock_bits;
    struct repair r = { 0, 0, 0 };
    uint8_t *buf = malloc(s->cluster_bytes);
    int rc = 0;

    if (buf == NULL) return -ENOMEM;
    k->highest = 0;
    memset(k->is_one, 0, k->is_one_bytes);
    for (uint64_t at = 0; at < k->clusters; at += per_block) {
        const uint8_t *block;
        uint64_t end =
            k->clusters - at < per_block ? k->clusters : at + per_block;

        /* What cannot be read counts as 0. */
        read_refblock(k, at >> s->refblock_bits, buf, &block);
        for (uint64_t i = at; i < end && rc == 0; i++) {
            uint64_t stored =
                block == NULL
                    ? 0
                    : qcow2_refcount_entry(block, s->h.refcount_order, i - at);

            if ((stored | k->refs[i]) == 0) continue;
            if (k->refs[i] > 0) k->highest = i;
            set_one(k, i, stored == 1);
            if (stored != k->refs[i]) rc = compare_one(k, i, stored, fix, &r);
        }
        if (rc < 0) break;
    }
    if (rc == 0) rc = do_repair(k, &r);
    free(buf);
    return rc;
}

/* ---------------------------------------------------------------- check */

static void *map_zeros(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    return p == MAP_FAILED ? NULL : p;
}

static int open_count(struct qcow2_count *k)
{
    k->clusters = qcow2_clusters(k->s, k->s->file->size_bytes);
    if (k->clusters > SIZE_MAX / 4) return -EFBIG;
    k->refs_bytes = (size_t)k->clusters * sizeof(k->refs[0]);
    k->is_one_bytes = ((size_t)k->clusters / 64 + 1) * 8;
    k->refs = map_zeros(k->refs_bytes);
    k->is_one = map_zeros(k->is_one_bytes);
    k->outside = calloc(QCOW2_MAX_OUTSIDE, sizeof(*k->outside));
    return k->refs == NULL || k->is_one == NULL || k->outside == NULL ? -ENOMEM
                                                                      : 0;
}

static void close_count(struct qcow2_count *k)
{
    if (k->refs != NULL) munmap(k->refs, k->refs_bytes);
    if (k->is_one != NULL) munmap(k->is_one, k->is_one_bytes);
    free(k->outside);
}

/* Refcounts as found; a rebuild makes all of them right. */
static int compare_and_fix(struct qcow2_count *k)
{
    struct image_check *c = k->c;
    uint64_t walk_errors = c->corruptions;
    int rc = compare(k, c->fix);

    c->corruptions += k->refblock_errors;
    if (rc == 0 && (c->leaks_fixed | c->corruptions_fixed) != 0)
        rc = qcow2_settle_locked(k->s);
    if (rc < 0 || !k->needs_rebuild || !(c->fix & IMAGE_FIX_ERRORS)) return rc;
    qcow2_check_line(k, "Rebuilding refcount structure");
    rc = qcow2_rebuild_refcounts(k);
    if (rc < 0) {
        qcow2_check_line(k, "ERROR: refcounts cannot be rebuilt: %s",
                         strerror(-rc));
        c->check_errors++;
        return rc;
    }
    for (uint64_t i = 0; i < k->clusters; i++)
        set_one(k, i, k->refs[i] == 1);
    c->corruptions_fixed += c->corruptions - walk_errors;
    c->corruptions = walk_errors;
    c->leaks_fixed += c->leaks;
    c->leaks = 0;
    return 0;
}

/* All is well now: the marks of trouble in the header go. */
static int clear_marks(struct qcow2_count *k)
{
    struct qcow2 *s = k->s;
    uint64_t marks = QCOW2_INCOMPAT_DIRTY | QCOW2_INCOMPAT_CORRUPT;
    int rc;

    if (!(s->h.incompatible & marks)) return 0;
    rc = node_flush(s->file);
    if (rc < 0) return rc;
    s->h.incompatible &= ~marks;
    rc = qcow2_header_update_locked(s);
    if (rc == 0) rc = node_flush(s->file);
    if (rc == 0) s->is_corrupt = false;
    return rc;
}

static int check_locked(struct qcow2_count *k)
{
    struct image_check *c = k->c;
    int rc = count_all(k);

    if (rc < 0) return rc;
    /* What unread tables point to was not counted. */
    if (c->check_errors > 0 || k->is_hopeless) c->fix = 0;
    rc = compare_and_fix(k);
    if (rc == 0) rc = qcow2_check_copied(k);
    if (rc < 0) return rc;
    c->image_end_offset = (k->highest + 1) << k->s->cluster_bits;
    c->total_clusters = qcow2_clusters(k->s, k->s->h.size_bytes);
    if ((c->fix & IMAGE_FIX_ERRORS) && c->corruptions == 0 &&
        c->check_errors == 0)
        rc = clear_marks(k);
    return rc;
}

int qcow2_check(struct node *n, struct image_check *c, struct err *e)
{
    struct qcow2 *s = n->s;
    struct qcow2_count k = { .s = s, .c = c };
    bool was_corrupt;
    int rc;

    if (c->fix != 0 && n->is_readonly)
        return err_set(e, -EROFS, "%s: opened read-only, cannot be repaired",
                       n->name);
    pthread_mutex_lock(&s->lock);
    was_corrupt = s->is_corrupt;
    if (c->fix != 0) s->is_corrupt = false;
    rc = n->is_readonly ? 0 : qcow2_settle_locked(s);
    if (rc == 0) rc = open_count(&k);
    if (rc == 0) rc = check_locked(&k);
    if (s->h.incompatible & QCOW2_INCOMPAT_CORRUPT)
        s->is_corrupt = was_corrupt || s->is_corrupt;
    close_count(&k);
    pthread_mutex_unlock(&s->lock);
    if (rc < 0) return err_set(e, rc, "%s: check: %s", n->name, strerror(-rc));
    return 0;
}
