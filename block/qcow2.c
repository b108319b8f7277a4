/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Format "qcow2", versions 2 and 3: opening, closing, and the record.  See
 * block/qcow2.h for how the parts work together.
 */
#include "block/qcow2.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "block/qcow2_io.h"
#include "block/qcow2_ops.h"
#include "core/base/log.h"

#define KNOWN_INCOMPATIBLE                                   \
    (QCOW2_INCOMPAT_DIRTY | QCOW2_INCOMPAT_CORRUPT |         \
     QCOW2_INCOMPAT_DATA_FILE | QCOW2_INCOMPAT_COMPRESSION | \
     QCOW2_INCOMPAT_EXTENDED_L2)
#define DEFAULT_L2_BYTES ((uint64_t)32 << 20) /* at most */
#define MAX_CACHE_BYTES  ((uint64_t)16 << 30)

enum {
    SLICE_BYTES = 16384, /* of an L2 table in the cache */
    MIN_REFCOUNT_BYTES = 256 << 10,
    FEATURE_BYTES = 48, /* "Feature name table" */
};

/* --------------------------------------------------------------- faults */

int qcow2_corrupt_locked(struct qcow2 *s, const char *fmt, ...)
{
    char why[200];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(why, sizeof(why), fmt, ap);
    va_end(ap);
    if (!s->is_corrupt) {
        log_warn("%s: image is corrupt: %s; %s", s->n->name, why,
                 s->n->is_readonly ? "repair it before writing to it"
                                   : "it takes no more writes");
        s->is_corrupt = true;
        if (s->h.version >= 3 && !s->n->is_readonly && !s->is_check &&
            !s->has_data_file) {
            s->h.incompatible |= QCOW2_INCOMPAT_CORRUPT;
            if (qcow2_header_update_locked(s) == 0) node_flush(s->file);
        }
    }
    return -EIO;
}

static uint64_t known_autoclear(const struct qcow2 *s)
{
    return s->bitmaps != NULL ? QCOW2_AUTOCLEAR_BITMAPS : 0;
}

int qcow2_begin_locked(struct qcow2 *s)
{
    int rc = qcow2_begin_tables_locked(s);

    if (rc < 0 || s->before_write == NULL) return rc;
    rc = s->before_write(s);
    if (rc == 0) s->before_write = NULL;
    return rc;
}

int qcow2_begin_tables_locked(struct qcow2 *s)
{
    struct qcow2_header old = s->h;
    int rc = 0;

    if (s->is_corrupt) return -EIO;
    if (s->is_begun) return 0;
    if (s->n->is_readonly || s->has_data_file) return -EROFS;
    s->h.autoclear &= known_autoclear(s);
    if (s->is_lazy) s->h.incompatible |= QCOW2_INCOMPAT_DIRTY;
    if (s->h.autoclear != old.autoclear ||
        s->h.incompatible != old.incompatible) {
        rc = qcow2_header_update_locked(s);
        if (rc == 0) rc = node_flush(s->file);
    }
    if (rc < 0) {
        s->h = old;
        return rc;
    }
    s->is_begun = true;
    return 0;
}

/* --------------------------------------------------------- header extras */

static int take_ext(struct qcow2 *s, uint32_t type, const uint8_t *data,
                    uint32_t bytes, struct err *e)
{
    struct node *n = s->n;

    if (type != QCOW2_EXT_BACKING_FORMAT) {
        if (qcow2_ext_set(s, type, data, bytes) < 0)
            return err_set(e, -ENOMEM, "out of memory");
        return 0;
    }
    if (bytes > QCOW2_MAX_BACKING_NAME)
        return err_set(e, -EINVAL, "%s: backing format name is too long",
                       n->name);
    free(n->backing_format);
    n->backing_format = strndup((const char *)data, bytes);
    return n->backing_format == NULL ? err_set(e, -ENOMEM, "out of memory") : 0;
}

static int parse_exts(struct qcow2 *s, const uint8_t *b, uint64_t end,
                      struct err *e)
{
    uint64_t at = s->h.header_bytes;

    if (s->h.backing_offset != 0 && s->h.backing_offset < end)
        end = s->h.backing_offset;
    while (at + 8 <= end) {
        uint32_t type = qcow2_be32(b + at), bytes = qcow2_be32(b + at + 4);
        int rc;

        if (type == QCOW2_EXT_END) break;
        at += 8;
        if (bytes > end - at)
            return err_set(e, -EINVAL,
                           "%s: header extension %#x does not fit the header",
                           s->n->name, type);
        rc = take_ext(s, type, b + at, bytes, e);
        if (rc < 0) return rc;
        at += ((uint64_t)bytes + 7) & ~UINT64_C(7);
    }
    return 0;
}

static int read_header_cluster(struct qcow2 *s, struct err *e)
{
    uint64_t bytes = s->file->size_bytes;
    struct node *n = s->n;
    uint8_t *b = calloc(1, s->cluster_bytes);
    int rc;

    if (b == NULL) return err_set(e, -ENOMEM, "out of memory");
    if (bytes > s->cluster_bytes) bytes = s->cluster_bytes;
    rc = node_pread(s->file, 0, b, bytes);
    if (rc < 0) {
        err_set(e, rc, "%s: header cannot be read: %s", n->name, strerror(-rc));
        goto free_buffer;
    }
    rc = parse_exts(s, b, bytes, e);
    if (rc < 0 || s->h.backing_offset == 0) goto free_buffer;
    if (s->h.backing_offset + s->h.backing_bytes > bytes) {
        rc = err_set(e, -EINVAL, "%s: backing file name is missing", n->name);
        goto free_buffer;
    }
    if (s->h.backing_bytes == 0) goto free_buffer;
    n->backing_file =
        strndup((const char *)b + s->h.backing_offset, s->h.backing_bytes);
    if (n->backing_file == NULL) rc = err_set(e, -ENOMEM, "out of memory");
free_buffer:
    free(b);
    return rc;
}

/* The image's own name for an incompatible feature. */
static void feature_name(const struct qcow2 *s, unsigned bit, char *out,
                         size_t cap)
{
    const struct qcow2_ext *x = qcow2_ext_find(s, QCOW2_EXT_FEATURES);

    snprintf(out, cap, "bit %u", bit);
    if (x == NULL) return;
    for (uint32_t at = 0; at + FEATURE_BYTES <= x->bytes; at += FEATURE_BYTES) {
        const uint8_t *f = x->data + at;

        if (f[0] == 0 && f[1] == bit)
            snprintf(out, cap, "'%.46s'", (const char *)f + 2);
    }
}

static int check_features(struct qcow2 *s, struct err *e)
{
    uint64_t unknown = s->h.incompatible & ~KNOWN_INCOMPATIBLE;
    char text[300] = "", name[64];
    size_t at = 0;

    if (unknown != 0) {
        for (unsigned bit = 0; bit < 64 && at + sizeof(name) < sizeof(text);
             bit++) {
            if (!(unknown >> bit & 1)) continue;
            feature_name(s, bit, name, sizeof(name));
            at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%s",
                                   at > 0 ? ", " : "", name);
        }
        return err_set(e, -ENOTSUP,
                       "%s: the image uses features that are not supported: "
                       "%s",
                       s->n->name, text);
    }
    if (!(s->h.incompatible & QCOW2_INCOMPAT_CORRUPT)) return 0;
    if (!s->n->is_readonly && !s->is_check)
        return err_set(e, -EACCES,
                       "%s: image is corrupt; cannot be opened read/write, "
                       "repair it with check -r all",
                       s->n->name);
    snprintf(s->n->warning, sizeof(s->n->warning),
             "the image is marked corrupt");
    return 0;
}

/* --------------------------------------------------------------- opening */

static void derive(struct qcow2 *s)
{
    const struct qcow2_header *h = &s->h;

    s->cluster_bits = h->cluster_bits;
    s->cluster_bytes = UINT32_C(1) << h->cluster_bits;
    s->has_subclusters = (h->incompatible & QCOW2_INCOMPAT_EXTENDED_L2) != 0;
    s->l2_entry_bytes = s->has_subclusters ? 16 : 8;
    s->l2_bits = h->cluster_bits - (s->has_subclusters ? 4 : 3);
    s->subcluster_bits = h->cluster_bits - (s->has_subclusters ? 5 : 0);
    s->refblock_bits = h->cluster_bits + 3 - h->refcount_order;
    s->max_refcount = UINT64_MAX >> (64 - (1u << h->refcount_order));
    s->is_lazy = (h->compatible & QCOW2_COMPAT_LAZY) != 0;
}

static int load_tables(struct qcow2 *s, struct err *e)
{
    struct qcow2_header *h = &s->h;
    uint64_t table_bytes = (uint64_t)h->reftable_clusters << s->cluster_bits;
    int rc = 0;

    if (h->l1_entries > 0)
        rc = qcow2_check_range(s, h->l1_offset, (uint64_t)h->l1_entries * 8,
                               "L1 table", e);
    if (rc == 0)
        rc = qcow2_check_range(s, h->reftable_offset, table_bytes,
                               "refcount table", e);
    if (rc < 0) return rc;
    rc = qcow2_table_read(s, h->l1_offset, h->l1_entries, &s->l1);
    s->reftable_entries = (uint32_t)(table_bytes / 8);
    if (rc == 0)
        rc = qcow2_table_read(s, h->reftable_offset, s->reftable_entries,
                              &s->reftable);
    if (rc == 0) rc = qcow2_meta_rebuild_locked(s);
    if (rc < 0)
        return err_set(e, rc, "%s: tables cannot be read: %s", s->n->name,
                       strerror(-rc));
    s->fresh_from = qcow2_round_up(s, s->file->size_bytes);
    return 0;
}

/* The last cluster that is in use by the refcounts; 0: cannot tell. -errno: the
 * refcounts are not in the file. */
static int last_in_use(struct qcow2 *s, uint64_t *cluster)
{
    uint64_t i = s->reftable_entries, index = UINT64_C(1) << s->refblock_bits;
    struct qcow2_table *t;
    int rc;

    *cluster = 0;
    while (i > 0 && s->reftable[i - 1] == 0)
        i--;
    if (i-- == 0) return 0;
    rc = qcow2_cache_get_locked(s, &s->refcount_cache,
                                s->reftable[i] & QCOW2_REFTABLE_MASK, &t);
    if (rc < 0) return rc;
    while (index > 0 &&
           qcow2_refcount_entry(t->data, s->h.refcount_order, index - 1) == 0)
        index--;
    qcow2_cache_put_locked(t);
    if (index > 0) *cluster = (i << s->refblock_bits) + index - 1;
    return 0;
}

/* Somebody cut the file: reading tells only when it comes there. */
static void warn_if_short(struct qcow2 *s)
{
    uint64_t last, end = qcow2_clusters(s, s->file->size_bytes);

    if (s->n->warning[0] != '\0') return;
    if (last_in_use(s, &last) == 0 && last < end) return;
    snprintf(s->n->warning, sizeof(s->n->warning),
             "the file is shorter than its tables say: data may be missing, "
             "check the image");
}

/* Enough for all L2 tables of the disk, up to a limit. */
static int open_caches(struct qcow2 *s, const struct node_options *o,
                       struct err *e)
{
    uint32_t slice =
        s->cluster_bytes < SLICE_BYTES ? s->cluster_bytes : SLICE_BYTES;
    uint64_t l2 = qcow2_l1_need(s, s->h.size_bytes) << s->cluster_bits;
    uint64_t refcount, total = 0;
    int rc;

    if (l2 > DEFAULT_L2_BYTES) l2 = DEFAULT_L2_BYTES;
    refcount = l2 / 4 > MIN_REFCOUNT_BYTES ? l2 / 4 : MIN_REFCOUNT_BYTES;
    rc = node_option_size(o, "cache-size", 0, MAX_CACHE_BYTES, &total, e);
    if (rc == 0 && total > 0) {
        if (l2 > total) l2 = total;
        refcount = total - l2;
    }
    if (rc == 0)
        rc = node_option_size(o, "l2-cache-size", 0, MAX_CACHE_BYTES, &l2, e);
    if (rc == 0)
        rc = node_option_size(o, "refcount-cache-size", 0, MAX_CACHE_BYTES,
                              &refcount, e);
    if (rc == 0) rc = node_option_bool(o, "lazy-refcounts", &s->is_lazy, e);
    if (rc < 0) return rc;
    if (s->h.version < 3) s->is_lazy = false;
    rc = qcow2_cache_open(&s->l2_cache, slice, l2);
    if (rc == 0)
        rc = qcow2_cache_open(&s->refcount_cache, s->cluster_bytes, refcount);
    if (rc == 0) rc = qcow2_plain_open(s);
    return rc < 0 ? err_set(e, rc, "out of memory") : 0;
}

/* Refcounts of a lazy image that was not closed are wrong. */
static int repair_dirty(struct qcow2 *s, struct err *e)
{
    struct image_check c = { .fix = IMAGE_FIX_ERRORS | IMAGE_FIX_LEAKS };
    int rc;

    if (!(s->h.incompatible & QCOW2_INCOMPAT_DIRTY) || s->n->is_readonly ||
        s->is_check)
        return 0;
    if (s->n->drv->check == NULL)
        return err_set(e, -ENOTSUP, "%s: image was not closed", s->n->name);
    rc = s->n->drv->check(s->n, &c, e);
    if (rc < 0) {
        err_prefix(e, "%s: image was not closed and cannot be repaired",
                   s->n->name);
        return rc;
    }
    if (c.check_errors > 0 || c.corruptions > c.corruptions_fixed)
        return err_set(e, -EIO,
                       "%s: image was not closed and cannot be repaired",
                       s->n->name);
    s->h.incompatible &= ~QCOW2_INCOMPAT_DIRTY;
    rc = qcow2_header_update_locked(s);
    if (rc == 0) rc = node_flush(s->file);
    if (rc < 0) err_set(e, rc, "%s: %s", s->n->name, strerror(-rc));
    return rc;
}

static void destroy(struct qcow2 *s)
{
    qcow2_bitmaps_close(s);
    if (s->crypt_free != NULL) s->crypt_free(s->crypt_arg);
    node_unref(s->data);
    qcow2_plain_close(s);
    if (s->l2_cache.bucket != NULL) qcow2_cache_close(&s->l2_cache);
    if (s->refcount_cache.bucket != NULL) qcow2_cache_close(&s->refcount_cache);
    for (unsigned i = 0; i < s->ext_count; i++)
        free(s->ext[i].data);
    free(s->ext);
    free(s->freed.v);
    free(s->written.v);
    free(s->waiting.v);
    free(s->metadata.slot);
    free(s->l1);
    free(s->reftable);
    pthread_cond_destroy(&s->changed);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

static int open_parts(struct qcow2 *s, const struct node_options *o,
                      struct err *e)
{
    int rc = read_header_cluster(s, e);

    if (rc == 0) rc = check_features(s, e);
    if (rc == 0) rc = qcow2_data_file_open(s, o, e);
    if (rc == 0) rc = load_tables(s, e);
    if (rc == 0) rc = open_caches(s, o, e);
    if (rc == 0) rc = qcow2_luks_open(s, o, e);
    if (rc == 0) rc = qcow2_bitmaps_open(s, e);
    if (rc == 0) rc = repair_dirty(s, e);
    if (rc == 0) warn_if_short(s);
    return rc;
}

static void forget_names(struct node *n)
{
    free(n->backing_file);
    free(n->backing_format);
    n->backing_file = n->backing_format = NULL;
}

static int qcow2_open(struct node *n, const struct node_options *o,
                      struct err *e)
{
    struct qcow2_header h;
    struct qcow2 *s;
    int rc = qcow2_header_read(n->child, &h, e);

    if (rc == 0) rc = qcow2_header_check(&h, n->name, e);
    if (rc < 0) return rc;
    s = calloc(1, sizeof(*s));
    if (s == NULL) return err_set(e, -ENOMEM, "out of memory");
    s->n = n;
    s->file = n->child;
    s->h = h;
    s->is_check = o->is_check;
    s->passes_discard = o->is_discard;
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->changed, NULL);
    derive(s);
    n->s = s;
    n->size_bytes = h.size_bytes;
    n->is_readonly = n->child->is_readonly;
    n->align_bytes = s->cluster_bytes;
    rc = open_parts(s, o, e);
    if (rc < 0) {
        destroy(s);
        n->s = NULL;
        forget_names(n);
    }
    return rc;
}

static int finish(struct qcow2 *s)
{
    int rc;

    if (s->n->is_readonly || !s->is_begun || s->is_dead || s->is_corrupt)
        return 0;
    rc = qcow2_settle_locked(s);
    if (rc < 0 || !(s->h.incompatible & QCOW2_INCOMPAT_DIRTY)) return rc;
    s->h.incompatible &= ~QCOW2_INCOMPAT_DIRTY;
    rc = qcow2_header_update_locked(s);
    return rc < 0 ? rc : node_flush(s->file);
}

static void qcow2_close(struct node *n)
{
    struct qcow2 *s = n->s;
    int rc;

    pthread_mutex_lock(&s->lock);
    qcow2_vmstate_close(s);
    rc = finish(s);
    pthread_mutex_unlock(&s->lock);
    if (rc < 0)
        log_warn("%s: could not be closed properly: %s", n->name,
                 strerror(-rc));
    destroy(s);
}

static int qcow2_probe(const uint8_t *head, size_t bytes)
{
    if (bytes < 8 || qcow2_be32(head) != QCOW2_MAGIC) return 0;
    return qcow2_be32(head + 4) >= 2 ? 100 : 0; /* 1 is another format */
}

static const char *const keys[] = {
    "l2-cache-size",      "refcount-cache-size", "cache-size", "lazy-refcounts",
    "encrypt.key-secret", "encrypt.format",      NULL
};

const struct block_driver block_qcow2 = {
    .name = "qcow2",
    .title = "QEMU's image format, versions 2 and 3",
    .has_backing = true,
    .keys = keys,
    .probe = qcow2_probe,
    .open = qcow2_open,
    .close = qcow2_close,
    .readv = qcow2_readv,
    .writev = qcow2_writev,
    .zero = qcow2_zero,
    .discard = qcow2_discard,
    .flush = qcow2_node_flush,
    .status = qcow2_status,
    .run = qcow2_run,
    .run_done = qcow2_run_done,
    .create_opts = qcow2_create_opts,
    .create = qcow2_create,
    .measure = qcow2_measure,
    .truncate = qcow2_truncate,
    .info = qcow2_info,
    .info_specific = qcow2_info_specific,
    .check = qcow2_check,
    .amend_opts = luks_qcow2_amend_opts,
    .amend = qcow2_amend,
    .change_backing = qcow2_change_backing,
    .make_empty = qcow2_make_empty,
    .bitmap = qcow2_bitmap_edit,
    .bitmap_nth = qcow2_bitmap_nth,
    .snapshot_list = qcow2_snapshot_list,
    .snapshot_create = qcow2_snapshot_create,
    .snapshot_apply = qcow2_snapshot_apply,
    .snapshot_delete = qcow2_snapshot_delete,
    .snapshot_show = qcow2_snapshot_show,
    .vmstate_write = qcow2_vmstate_write,
    .vmstate_end = qcow2_vmstate_end,
    .vmstate_patch = qcow2_vmstate_patch,
    .vmstate_read = qcow2_vmstate_read,
};
