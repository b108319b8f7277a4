/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qcow2: what `info` tells of an image. */
#include "block/qcow2_ops.h"

int qcow2_info(struct node *n, struct image_info *out)
{
    struct qcow2 *s = n->s;

    pthread_mutex_lock(&s->lock);
    *out = (struct image_info){
        .cluster_bytes = s->cluster_bytes,
        .vm_state_offset = qcow2_l1_need(s, s->h.size_bytes)
                           << (s->cluster_bits + s->l2_bits),
        .is_dirty = (s->h.incompatible & QCOW2_INCOMPAT_DIRTY) != 0,
        .has_specific = true,
    };
    pthread_mutex_unlock(&s->lock);
    return 0;
}

static void describe_crypto(struct qcow2 *s, struct info_sink *out)
{
    struct luks_info info;
    uint64_t offset, bytes;
    struct err e = ERR_INIT;

    if (s->h.crypt_method != QCOW2_CRYPT_LUKS) return;
    if (qcow2_luks_range(s, &offset, &bytes, &e) < 0 ||
        luks_read_info(s->file, offset, bytes, &info, &e) < 0)
        return;
    out->begin(out->arg, "encrypt", false);
    luks_describe(&info, "luks", out);
    out->end(out->arg);
}

void qcow2_info_specific(struct node *n, struct info_sink *out)
{
    struct qcow2 *s = n->s;
    const struct qcow2_header *h = &s->h;
    bool is_v3 = h->version >= 3;

    pthread_mutex_lock(&s->lock);
    out->text(out->arg, "compat", is_v3 ? "1.1" : "0.10");
    out->text(out->arg, "compression-type",
              h->compression_type == QCOW2_ZSTD ? "zstd" : "zlib");
    if (is_v3)
        out->truth(out->arg, "lazy-refcounts",
                   (h->compatible & QCOW2_COMPAT_LAZY) != 0);
    qcow2_bitmaps_describe(s, out);
    out->number(out->arg, "refcount-bits", UINT64_C(1) << h->refcount_order);
    describe_crypto(s, out);
    qcow2_data_file_describe(s, out);
    if (is_v3) {
        out->truth(out->arg, "corrupt",
                   (h->incompatible & QCOW2_INCOMPAT_CORRUPT) != 0);
        out->truth(out->arg, "extended-l2", s->has_subclusters);
    }
    pthread_mutex_unlock(&s->lock);
}
