/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qcow2 whose data are in a file of their own (incompatible bit 2): read, so
 * that nobody is cut off from them; writing is left to others.  Host offsets of
 * data are those of that file, nothing is compressed, its clusters have no
 * refcounts.  Its name is a path, beside the image if it is relative, whatever
 * it looks like; never that of a protocol.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "block/qcow2_ops.h"

enum { MAX_NAME = 1023, AUTOCLEAR_RAW = 2 };

static int name_of(const struct qcow2 *s, char name[MAX_NAME + 1])
{
    const struct qcow2_ext *x = qcow2_ext_find(s, QCOW2_EXT_DATA_FILE);

    if (x == NULL || x->bytes == 0 || x->bytes > MAX_NAME ||
        memchr(x->data, '\0', x->bytes) != NULL)
        return -EINVAL;
    memcpy(name, x->data, x->bytes);
    name[x->bytes] = '\0';
    return 0;
}

int qcow2_data_file_open(struct qcow2 *s, const struct node_options *o,
                         struct err *e)
{
    struct node_options below = { .is_readonly = true,
                                  .is_direct = o->is_direct,
                                  .is_unlocked = o->is_unlocked };
    char name[MAX_NAME + 1], *path;
    int rc;

    s->has_data_file = (s->h.incompatible & QCOW2_INCOMPAT_DATA_FILE) != 0;
    if (!s->has_data_file) return 0;
    if (!s->n->is_readonly)
        return err_set(e, -EROFS,
                       "%s: the data are in a file of their own: it can only "
                       "be read here; make it one file with img convert",
                       s->n->name);
    if (o->is_no_backing) return 0;
    if (name_of(s, name) < 0)
        return err_set(e, -EINVAL, "%s: the data file has no valid name",
                       s->n->name);
    path = node_path_beside(s->n, name);
    if (path == NULL) return err_set(e, -ENOMEM, "out of memory");
    rc = node_open(&block_file, path, NULL, &below, &s->data, e);
    free(path);
    if (rc < 0) return err_prefix(e, "%s: data file", s->n->name);
    s->n->data_name = s->data->name;
    return 0;
}

void qcow2_data_file_describe(const struct qcow2 *s, struct info_sink *out)
{
    char name[MAX_NAME + 1];

    if (!s->has_data_file) return;
    if (name_of(s, name) == 0) out->text(out->arg, "data-file", name);
    out->truth(out->arg, "data-file-raw",
               (s->h.autoclear & AUTOCLEAR_RAW) != 0);
}
