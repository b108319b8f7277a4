/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Encrypted qcow2 images: each 512-octet sector of a data cluster, numbered by
 * its place in the file, is encrypted as the LUKS header inside says. */
#include <errno.h>
#include <stdlib.h>

#include "block/qcow2_io.h"
#include "block/qcow2_ops.h"

/* The payload is elsewhere: the header area ends where QEMU says it does. */
int qcow2_luks_range(const struct qcow2 *s, uint64_t *offset, uint64_t *bytes,
                     struct err *e)
{
    const struct qcow2_ext *x = qcow2_ext_find(s, QCOW2_EXT_CRYPTO);

    if (x == NULL || x->bytes < 16)
        return err_set(e, -EINVAL, "encrypted, but there is no LUKS header");
    *offset = qcow2_be64(x->data);
    *bytes = qcow2_be64(x->data + 8);
    if (*bytes == 0 || *bytes > QCOW2_MAX_L1_BYTES)
        return err_set(e, -EINVAL, "LUKS header of %llu octets",
                       (unsigned long long)*bytes);
    return qcow2_check_range(s, *offset, *bytes, "LUKS header", e);
}

static int crypt(void *arg, uint64_t host_offset, void *buf, size_t bytes,
                 bool is_encrypt)
{
    const struct luks *l = arg;
    uint64_t sector = host_offset / BLOCK_SECTOR_BYTES;

    if (is_encrypt)
        luks_encrypt(l, sector, buf, bytes);
    else
        luks_decrypt(l, sector, buf, bytes);
    return 0;
}

static void crypt_free(void *arg)
{
    luks_close(arg);
}

/* Without the secret an image can be described and checked, not read. */
static int crypt_refuse(void *arg, uint64_t host_offset, void *buf,
                        size_t bytes, bool is_encrypt)
{
    (void)arg, (void)host_offset, (void)buf, (void)bytes, (void)is_encrypt;
    return -EACCES;
}

static void crypt_free_nothing(void *arg)
{
    (void)arg;
}

struct luks *qcow2_luks_of(const struct qcow2 *s)
{
    return s->crypt == crypt ? s->crypt_arg : NULL;
}

int qcow2_luks_open(struct qcow2 *s, const struct node_options *o,
                    struct err *e)
{
    const char *id = node_option(o, "encrypt.key-secret");
    const char *format = node_option(o, "encrypt.format");
    uint64_t offset, bytes;
    struct luks *luks;
    int rc;

    if (s->h.crypt_method == QCOW2_CRYPT_NONE && format == NULL && id == NULL)
        return 0;
    if (s->h.crypt_method == QCOW2_CRYPT_NONE)
        return err_set(e, -EINVAL,
                       "%s: no encryption here, but encrypt.* was "
                       "given",
                       s->n->name);
    if (s->h.crypt_method != QCOW2_CRYPT_LUKS)
        return err_set(e, -ENOTSUP,
                       "%s: encryption format 'aes' is not "
                       "supported, only luks",
                       s->n->name);
    if (format != NULL && strcmp(format, "luks") != 0)
        return err_set(e, -EINVAL, "%s: encrypt.format=%s: the image has luks",
                       s->n->name, format);
    s->n->is_encrypted = true;
    rc = qcow2_luks_range(s, &offset, &bytes, e);
    if (rc == 0 && id == NULL && (o->is_no_backing || o->is_check)) {
        s->crypt = crypt_refuse;
        s->crypt_free = crypt_free_nothing;
        return 0;
    }
    if (rc == 0)
        rc = luks_open(s->file, offset, bytes, o->secrets, id,
                       "encrypt.key-secret", &luks, e);
    if (rc < 0) {
        err_prefix(e, "%s", s->n->name);
        return rc;
    }
    s->crypt = crypt;
    s->crypt_free = crypt_free;
    s->crypt_arg = luks;
    return 0;
}
