/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qcow2: other options for an image that exists, and another backing file. */
#include <errno.h>
#include <stdlib.h>

#include "block/luks.h"
#include "block/qcow2_ops.h"

static int write_header_locked(struct qcow2 *s)
{
    int rc = qcow2_header_update_locked(s);

    return rc == 0 ? node_flush(s->file) : rc;
}

/* -------------------------------------------------------- backing file */

static int set_backing_locked(struct qcow2 *s, const char *file,
                              const char *format)
{
    struct node *n = s->n;
    char *old_file = n->backing_file, *old_format = n->backing_format;
    int rc = qcow2_begin_tables_locked(s);

    if (rc < 0) return rc;
    n->backing_file = file != NULL ? strdup(file) : NULL;
    n->backing_format = file != NULL && format != NULL ? strdup(format) : NULL;
    if ((file != NULL && n->backing_file == NULL) ||
        (file != NULL && format != NULL && n->backing_format == NULL))
        rc = -ENOMEM;
    if (rc == 0) rc = write_header_locked(s);
    if (rc < 0) {
        free(n->backing_file);
        free(n->backing_format);
        n->backing_file = old_file;
        n->backing_format = old_format;
        return rc;
    }
    free(old_file);
    free(old_format);
    return 0;
}

int qcow2_change_backing(struct node *n, const char *file, const char *format,
                         struct err *e)
{
    struct qcow2 *s = n->s;
    int rc;

    if (file != NULL && file[0] == '\0') file = NULL;
    if (file != NULL && strlen(file) > QCOW2_MAX_BACKING_NAME)
        return err_set(e, -ENAMETOOLONG, "backing file name is too long");
    pthread_mutex_lock(&s->lock);
    rc = set_backing_locked(s, file, format);
    pthread_mutex_unlock(&s->lock);
    if (rc == -ENOSPC)
        return err_set(e, rc,
                       "%s: no room for the backing file's name in the "
                       "header",
                       n->name);
    if (rc < 0) return err_set(e, rc, "%s: %s", n->name, strerror(-rc));
    return 0;
}

/* ------------------------------------------------------------- version */

static int upgrade_locked(struct qcow2 *s)
{
    uint8_t names[512];
    uint32_t bytes = qcow2_feature_names(names);
    struct qcow2_header old = s->h;
    int rc;

    s->h.version = 3;
    s->h.header_bytes = QCOW2_HEADER_BYTES;
    if (qcow2_ext_find(s, QCOW2_EXT_FEATURES) == NULL) {
        rc = qcow2_ext_set(s, QCOW2_EXT_FEATURES, names, bytes);
        if (rc < 0) return rc;
    }
    rc = write_header_locked(s);
    if (rc < 0) s->h = old;
    return rc;
}

static int check_downgrade(const struct qcow2 *s, struct err *e)
{
    const char *what = NULL;

    if (s->h.refcount_order != 4) what = "refcount_bits other than 16";
    if (s->has_subclusters) what = "extended L2 entries";
    if (s->h.compression_type != QCOW2_ZLIB) what = "zstd compression";
    if (s->bitmaps != NULL) what = "bitmaps";
    if (s->h.crypt_method == QCOW2_CRYPT_LUKS) what = "LUKS encryption";
    if (what == NULL) return 0;
    return err_set(e, -ENOTSUP, "%s: compat=0.10 cannot have %s", s->n->name,
                   what);
}

/* 1: an entry of the table at offset is a zero cluster. */
static int has_zeros(struct qcow2 *s, uint64_t offset, struct err *e)
{
    uint64_t *l2 = NULL;
    uint32_t entries = s->cluster_bytes / 8;
    int rc = qcow2_check_range(s, offset, s->cluster_bytes, "L2 table", e);

    if (rc == 0) rc = qcow2_table_read(s, offset, entries, &l2);
    for (uint32_t i = 0; i < entries && rc == 0; i++)
        rc = (l2[i] & QCOW2_COMPRESSED) == 0 && (l2[i] & QCOW2_ZERO) != 0;
    free(l2);
    return rc;
}

/* What a version 2 entry of the snapshot table, and the tables it leads to,
 * can hold. */
static int check_snapshot(struct qcow2 *s, const struct qcow2_snapshot *sn,
                          struct err *e)
{
    uint64_t *l1 = NULL;
    int rc = 0;

    if (sn->disk_bytes != s->n->size_bytes || sn->vm_state_bytes > UINT32_MAX)
        return err_set(e, -ENOTSUP,
                       "%s: compat=0.10 cannot have snapshots of another size "
                       "than the image or with 4 GiB of state ('%s')",
                       s->n->name, sn->name);
    rc = qcow2_snapshot_l1(s, sn, &l1, e);
    for (uint32_t i = 0; i < sn->l1_entries && rc == 0; i++) {
        uint64_t l2 = l1[i] & QCOW2_OFFSET_MASK;

        if (l2 != 0) rc = has_zeros(s, l2, e);
    }
    free(l1);
    if (rc <= 0) return rc;
    return err_set(e, -ENOTSUP,
                   "%s: compat=0.10 cannot have snapshots with zero clusters "
                   "('%s')",
                   s->n->name, sn->name);
}

static int check_snapshots(struct qcow2 *s, struct err *e)
{
    struct qcow2_snapshots all;
    int rc = qcow2_snapshots_load(s, &all, e);

    if (rc < 0) return rc;
    for (unsigned i = 0; i < all.count && rc == 0; i++)
        rc = check_snapshot(s, &all.v[i], e);
    qcow2_snapshots_free(&all);
    return rc;
}

/* Version 2 knows no zero clusters: where nothing is below, nothing will do,
 * else zeros are written. */
static int expand_zeros(struct node *n, const struct image_progress *p)
{
    struct qcow2 *s = n->s;
    uint64_t at = 0, size = n->size_bytes;
    int rc = 0;

    while (at < size && rc == 0) {
        struct qcow2_extent x;

        pthread_mutex_lock(&s->lock);
        rc = qcow2_map_locked(s, at, size - at, false, &x);
        if (rc == 0 && x.bytes > size - at) x.bytes = size - at;
        if (rc == 0 && x.bytes > 1 << 20) x.bytes = 1 << 20;
        if (rc == 0 && n->backing_file == NULL &&
            (x.kind == QCOW2_KIND_ZERO || x.kind == QCOW2_KIND_ZERO_ALLOC))
            rc = qcow2_clear_locked(s, at, qcow2_round_up(s, x.bytes), false,
                                    true);
        pthread_mutex_unlock(&s->lock);
        if (rc == 0 && n->backing_file != NULL &&
            (x.kind == QCOW2_KIND_ZERO || x.kind == QCOW2_KIND_ZERO_ALLOC)) {
            uint8_t *zeros = calloc(1, x.bytes);

            rc = zeros == NULL ? -ENOMEM : node_pwrite(n, at, zeros, x.bytes);
            free(zeros);
        }
        if (rc == 0) rc = image_progress(p, at, size);
        at += x.bytes;
    }
    return rc;
}

static int downgrade(struct node *n, const struct image_progress *p,
                     struct err *e)
{
    struct qcow2 *s = n->s;
    struct qcow2_header old;
    int rc = check_downgrade(s, e);

    if (rc == 0 && s->h.snapshot_count > 0) {
        pthread_mutex_lock(&s->lock);
        rc = check_snapshots(s, e);
        pthread_mutex_unlock(&s->lock);
    }
    if (rc == 0) rc = expand_zeros(n, p);
    if (rc < 0) return rc;
    pthread_mutex_lock(&s->lock);
    s->is_lazy = false;
    rc = qcow2_settle_locked(s);
    old = s->h;
    if (rc == 0) {
        s->h.version = 2;
        s->h.header_bytes = QCOW2_HEADER_V2_BYTES;
        s->h.incompatible = s->h.compatible = s->h.autoclear = 0;
        qcow2_ext_set(s, QCOW2_EXT_FEATURES, NULL, 0);
        rc = write_header_locked(s);
        if (rc < 0) s->h = old;
    }
    pthread_mutex_unlock(&s->lock);
    return rc;
}

static int set_version(struct node *n, const struct image_create *c,
                       struct err *e)
{
    struct qcow2 *s = n->s;
    const char *compat = image_opt_text(c, "compat");
    bool is_v2 = compat != NULL &&
                 (strcmp(compat, "0.10") == 0 || strcmp(compat, "v2") == 0);
    int rc = 0;

    if (compat == NULL || is_v2 == (s->h.version == 2)) return 0;
    if (is_v2) return downgrade(n, c->progress, e);
    pthread_mutex_lock(&s->lock);
    rc = qcow2_begin_tables_locked(s);
    if (rc == 0) rc = upgrade_locked(s);
    pthread_mutex_unlock(&s->lock);
    return rc;
}

/* ----------------------------------------------------------- refcounts */

static int set_lazy_locked(struct qcow2 *s, bool is_lazy)
{
    struct qcow2_header old = s->h;
    int rc = qcow2_begin_tables_locked(s);

    if (rc == 0) rc = qcow2_settle_locked(s);
    if (rc < 0) return rc;
    s->h.compatible &= ~QCOW2_COMPAT_LAZY;
    s->h.incompatible &= ~QCOW2_INCOMPAT_DIRTY;
    if (is_lazy) {
        s->h.compatible |= QCOW2_COMPAT_LAZY;
        s->h.incompatible |= QCOW2_INCOMPAT_DIRTY;
    }
    rc = write_header_locked(s);
    if (rc < 0)
        s->h = old;
    else
        s->is_lazy = is_lazy;
    return rc;
}

static int set_lazy(struct node *n, const struct image_create *c, struct err *e)
{
    struct qcow2 *s = n->s;
    bool now = (s->h.compatible & QCOW2_COMPAT_LAZY) != 0;
    bool is_lazy = image_opt_bool(c, "lazy_refcounts", now);
    int rc;

    if (is_lazy == now) return 0;
    if (s->h.version < 3)
        return err_set(e, -EINVAL,
                       "lazy_refcounts=on needs compat=1.1 or "
                       "later");
    pthread_mutex_lock(&s->lock);
    rc = set_lazy_locked(s, is_lazy);
    pthread_mutex_unlock(&s->lock);
    return rc;
}

/* Refcounts of another width: all blocks and the table anew. */
static void set_order(struct qcow2 *s, uint32_t order)
{
    s->h.refcount_order = order;
    s->refblock_bits = s->cluster_bits + 3 - order;
    s->max_refcount = UINT64_MAX >> (64 - (1u << order));
}

static int drop_refblocks(struct qcow2_shadow *sh)
{
    struct qcow2 *s = sh->s;
    int rc = 0;

    for (uint32_t i = 0; i < s->reftable_entries && rc == 0; i++) {
        if (s->reftable[i] != 0)
            rc = qcow2_shadow_ref(sh, s->reftable[i], s->cluster_bytes, -1);
    }
    return rc;
}

static int check_fit(const struct qcow2_shadow *sh, uint32_t order)
{
    uint64_t max = UINT64_MAX >> (64 - (1u << order));

    for (uint64_t i = 0; i < sh->top; i++) {
        if (sh->now[i] > max) return -ERANGE;
    }
    return 0;
}

static int change_order_locked(struct qcow2 *s, uint32_t order, struct err *e)
{
    uint32_t old = s->h.refcount_order, entries = s->reftable_entries;
    struct qcow2_shadow sh;
    int rc = qcow2_shadow_open_locked(
        s, &sh, qcow2_clusters(s, s->file->size_bytes) / 64, e);

    if (rc < 0) return rc;
    rc = check_fit(&sh, order);
    if (rc == 0) rc = drop_refblocks(&sh);
    if (rc < 0) {
        qcow2_shadow_close(&sh);
        return rc == -ERANGE ? err_set(e, rc,
                                       "%s: there are refcounts that %u bits "
                                       "cannot hold",
                                       s->n->name, 1u << order)
                             : rc;
    }
    set_order(s, order);
    sh.h.refcount_order = order;
    sh.is_all_new = true;
    s->reftable_entries = 0; /* no block stays */
    rc = qcow2_shadow_commit(&sh, e);
    if (rc < 0) {
        set_order(s, old);
        s->reftable_entries = entries;
    }
    qcow2_shadow_close(&sh);
    return rc;
}

static int set_refcount_bits(struct node *n, const struct image_create *c,
                             struct err *e)
{
    struct qcow2 *s = n->s;
    uint64_t now = UINT64_C(1) << s->h.refcount_order;
    uint64_t bits = image_opt_u64(c, "refcount_bits", now);
    int rc;

    if (bits == now) return 0;
    if (bits == 0 || bits > 64 || (bits & (bits - 1)) != 0)
        return err_set(e, -EINVAL,
                       "refcount_bits must be a power of two and "
                       "at most 64");
    if (s->h.version < 3)
        return err_set(e, -EINVAL,
                       "refcount_bits other than 16 needs "
                       "compat=1.1 or later");
    pthread_mutex_lock(&s->lock);
    rc = change_order_locked(s, (uint32_t)__builtin_ctzll(bits), e);
    pthread_mutex_unlock(&s->lock);
    return rc;
}

/* ---------------------------------------------------------------- amend */

static bool is_key_slot_option(const char *key)
{
    const struct image_create_opt *o = luks_qcow2_amend_opts;

    while (o->key != NULL && strcmp(o->key, key) != 0)
        o++;
    return o->key != NULL;
}

static int refuse_fixed(const struct image_create *c, struct err *e)
{
    for (const char *const *p = c->pairs; p != NULL && p[0] != NULL; p += 2) {
        const struct image_create_opt *o = qcow2_create_opts;

        if (is_key_slot_option(p[0])) continue;
        while (o->key != NULL && strcmp(o->key, p[0]) != 0)
            o++;
        if (o->key == NULL)
            return err_set(e, -EINVAL, "format qcow2 has no option '%s'", p[0]);
        if (!o->can_amend)
            return err_set(e, -ENOTSUP,
                           "option '%s' cannot be changed "
                           "afterwards",
                           p[0]);
    }
    return 0;
}

static bool is_same(const char *a, const char *b)
{
    return b != NULL && strcmp(a, b) == 0;
}

/* It is not changed here: rebase keeps what the guest sees. */
static int check_backing(struct node *n, const struct image_create *c,
                         struct err *e)
{
    const char *file = image_opt_text(c, "backing_file");
    const char *format = image_opt_text(c, "backing_fmt");

    if ((file == NULL || is_same(file, n->backing_file)) &&
        (format == NULL || is_same(format, n->backing_format)))
        return 0;
    return err_set(e, -EINVAL,
                   "Cannot amend the backing file; use 'orrery img rebase' "
                   "instead");
}

static int set_size(struct node *n, const struct image_create *c, struct err *e)
{
    uint64_t size = image_opt_u64(c, "size", n->size_bytes);

    if (c->has_size) size = c->size_bytes;
    if (size == 0) return 0; /* as if it were not given */
    return size == n->size_bytes ? 0 : node_truncate(n, size, "off", true, e);
}

/* encrypt.state and what belongs to it. */
static int set_key_slots(struct node *n, const struct image_create *c,
                         struct err *e)
{
    struct qcow2 *s = n->s;
    uint64_t offset, bytes;
    bool is_asked = false;
    int rc;

    for (const struct image_create_opt *o = luks_qcow2_amend_opts;
         o->key != NULL; o++)
        is_asked |= image_opt_text(c, o->key) != NULL;
    if (!is_asked) return 0;
    if (s->h.crypt_method != QCOW2_CRYPT_LUKS)
        return err_set(e, -ENOTSUP,
                       "Only LUKS encryption options can be amended for qcow2 "
                       "with LUKS encryption");
    rc = qcow2_luks_range(s, &offset, &bytes, e);
    if (rc < 0) return rc;
    return luks_amend(s->file, offset, qcow2_luks_of(s), c, "encrypt.", e);
}

int qcow2_amend(struct node *n, const struct image_create *c, struct err *e)
{
    const char *compat = image_opt_text(c, "compat");
    bool is_down = compat != NULL &&
                   (strcmp(compat, "0.10") == 0 || strcmp(compat, "v2") == 0);
    int rc = refuse_fixed(c, e);

    if (rc == 0 && n->is_readonly)
        rc = err_set(e, -EROFS, "%s: opened read-only", n->name);
    if (rc == 0) rc = check_backing(n, c, e);
    /* What only version 3 has comes after the way up, before that down. */
    if (rc == 0 && !is_down) rc = set_version(n, c, e);
    if (rc == 0) rc = set_refcount_bits(n, c, e);
    if (rc == 0) rc = set_lazy(n, c, e);
    if (rc == 0) rc = set_key_slots(n, c, e);
    if (rc == 0) rc = set_size(n, c, e);
    if (rc == 0 && is_down) rc = set_version(n, c, e);
    if (rc < 0 && e->code == 0)
        err_set(e, rc, "%s: %s", n->name, strerror(-rc));
    return rc;
}
