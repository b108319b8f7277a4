/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Key slots of a LUKS header that exists: `amend' with state=active fills one,
 * state=inactive erases.  Key material is on the disk before the header says
 * that a slot is used, and is overwritten after the header says that it is
 * not, so a crash leaves a slot that works or one that is unused.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "block/image.h"
#include "block/luks_int.h"

struct amend {
    struct node *file;
    uint64_t offset;
    struct luks *l;
    const struct crypto_hash *h;
    const struct secret_table *secrets;
    const char *new_secret, *old_secret; /* ids, or NULL */
    int slot;                            /* -1: not given */
    uint64_t iter_ms;
    bool is_forced;
};

static int used_slots(const struct luks_info *info)
{
    int count = 0;

    for (unsigned i = 0; i < LUKS_KEY_SLOTS; i++)
        count += info->slot[i].is_active;
    return count;
}

/* What the header says of one slot, on the disk. */
static int write_entry(struct amend *a, unsigned i, struct err *e)
{
    uint8_t entry[LUKS_SLOT_BYTES];
    int rc;

    luks_encode_slot(&a->l->info.slot[i], entry);
    rc = node_flush(a->file);
    if (rc == 0)
        rc = node_pwrite(a->file,
                         a->offset + LUKS_AT_SLOTS + LUKS_SLOT_BYTES * i, entry,
                         sizeof(entry));
    if (rc == 0) rc = node_flush(a->file);
    if (rc < 0)
        err_set(e, rc, "LUKS header cannot be written: %s", strerror(-rc));
    return rc;
}

/* ----------------------------------------------------------------- fill */

static int find_free(struct amend *a, unsigned *out, struct err *e)
{
    for (unsigned i = 0; i < LUKS_KEY_SLOTS; i++) {
        if (a->l->info.slot[i].is_active) continue;
        *out = i;
        return 0;
    }
    return err_set(e, -ENOSPC, "Can't add a keyslot - all keyslots are in use");
}

static int fill_slot(struct amend *a, unsigned i, const uint8_t *secret,
                     size_t bytes, struct err *e)
{
    struct luks_info *info = &a->l->info;
    struct luks_slot old = info->slot[i], *s = &info->slot[i];
    int rc = crypto_random(s->salt, sizeof(s->salt));

    s->stripes = LUKS_STRIPES;
    if (rc == 0)
        rc = luks_measure(a->h, info->key_bytes,
                          a->iter_ms != 0 ? a->iter_ms : LUKS_DEFAULT_ITER_MS,
                          &s->iterations);
    if (rc < 0) err_set(e, rc, "LUKS key slot: %s", strerror(-rc));
    if (rc == 0)
        rc = luks_write_slot(a->file, a->offset, info, i, a->h, secret, bytes,
                             a->l->key, e);
    if (rc < 0) {
        *s = old;
        return rc;
    }
    s->is_active = true;
    return write_entry(a, i, e);
}

static int activate(struct amend *a, struct err *e)
{
    const uint8_t *secret;
    size_t bytes;
    unsigned i = (unsigned)a->slot;
    int rc;

    if (a->new_secret == NULL)
        return err_set(e, -EINVAL,
                       "'new-secret' is required to activate a keyslot");
    if (a->old_secret != NULL)
        return err_set(e, -EINVAL,
                       "'old-secret' must not be given when activating "
                       "keyslots");
    if (a->slot < 0) {
        rc = find_free(a, &i, e);
        if (rc < 0) return rc;
    } else if (a->l->info.slot[i].is_active && !a->is_forced) {
        return err_set(e, -EEXIST,
                       "Refusing to overwrite active keyslot %u - please "
                       "erase it first",
                       i);
    }
    rc = secret_find(a->secrets, a->new_secret, &secret, &bytes, e);
    return rc < 0 ? rc : fill_slot(a, i, secret, bytes, e);
}

/* ---------------------------------------------------------------- erase */

static int erase_slot(struct amend *a, unsigned i, struct err *e)
{
    struct luks_info *info = &a->l->info;
    struct luks_slot *s = &info->slot[i];
    size_t bytes = (size_t)luks_slot_bytes(info, s);
    uint8_t *noise = malloc(bytes);
    int rc;

    if (noise == NULL) return err_set(e, -ENOMEM, "out of memory");
    s->is_active = false;
    s->iterations = 0;
    memset(s->salt, 0, sizeof(s->salt));
    rc = write_entry(a, i, e);
    if (rc == 0) {
        rc = crypto_random(noise, bytes);
        if (rc == 0)
            rc = node_pwrite(a->file, a->offset + s->offset, noise, bytes);
        if (rc == 0) rc = node_flush(a->file);
        if (rc < 0)
            err_set(e, rc, "LUKS key slot cannot be erased: %s", strerror(-rc));
    }
    free(noise);
    return rc;
}

/* Bits of the slots that the secret opens, or an error. */
static int matching(struct amend *a, const char *id, struct err *e)
{
    uint8_t key[CRYPTO_MAX_KEY];
    const uint8_t *secret;
    size_t bytes;
    int found = 0, rc = secret_find(a->secrets, id, &secret, &bytes, e);

    for (unsigned i = 0; i < LUKS_KEY_SLOTS && rc >= 0; i++) {
        if (!a->l->info.slot[i].is_active) continue;
        rc = luks_try_slot(a->file, a->offset, &a->l->info, i, a->h, secret,
                           bytes, key, e);
        if (rc > 0) found |= 1 << i;
    }
    explicit_bzero(key, sizeof(key));
    return rc < 0 ? rc : found;
}

static int erase_one(struct amend *a, struct err *e)
{
    unsigned i = (unsigned)a->slot;
    int found;

    if (a->old_secret != NULL) {
        found = matching(a, a->old_secret, e);
        if (found < 0) return found;
        if (!(found >> i & 1))
            return err_set(e, -EINVAL,
                           "Given keyslot %u doesn't contain the given (old) "
                           "password / erase it by its number alone",
                           i);
    }
    if (!a->l->info.slot[i].is_active && !a->is_forced)
        return err_set(e, -EINVAL,
                       "Given keyslot %u is already erased (inactive) ", i);
    if (used_slots(&a->l->info) == 1 && a->l->info.slot[i].is_active &&
        !a->is_forced)
        return err_set(e, -EINVAL,
                       "Attempt to erase the only active keyslot %u which will "
                       "erase all the data in the image irreversibly - "
                       "refusing operation",
                       i);
    return erase_slot(a, i, e);
}

static int erase_matching(struct amend *a, struct err *e)
{
    int found = matching(a, a->old_secret, e), rc = 0, count = 0;

    if (found < 0) return found;
    for (unsigned i = 0; i < LUKS_KEY_SLOTS; i++)
        count += found >> i & 1;
    if (count == 0)
        return err_set(e, -EINVAL,
                       "No keyslots match given (old) password for erase "
                       "operation");
    if (count == used_slots(&a->l->info) && !a->is_forced)
        return err_set(e, -EINVAL,
                       "All the active keyslots match the (old) password that "
                       "was given and erasing them will erase all the data in "
                       "the image irreversibly - refusing operation");
    for (unsigned i = 0; i < LUKS_KEY_SLOTS && rc == 0; i++) {
        if (found >> i & 1) rc = erase_slot(a, i, e);
    }
    return rc;
}

static int deactivate(struct amend *a, struct err *e)
{
    if (a->new_secret != NULL)
        return err_set(e, -EINVAL,
                       "'new-secret' must not be given when erasing keyslots");
    if (a->slot >= 0) return erase_one(a, e);
    if (a->old_secret != NULL) return erase_matching(a, e);
    return err_set(e, -EINVAL,
                   "To erase keyslot(s), either explicit keyslot index or the "
                   "password currently contained in them must be given");
}

/* ------------------------------------------------------------------ all */

static const char *option(const struct image_create *c, const char *prefix,
                          const char *key)
{
    char name[64];

    snprintf(name, sizeof(name), "%s%s", prefix, key);
    return image_opt_text(c, name);
}

static uint64_t number(const struct image_create *c, const char *prefix,
                       const char *key, uint64_t without)
{
    char name[64];

    snprintf(name, sizeof(name), "%s%s", prefix, key);
    return image_opt_u64(c, name, without);
}

int luks_amend(struct node *file, uint64_t offset, struct luks *l,
               const struct image_create *c, const char *prefix, struct err *e)
{
    const char *state = option(c, prefix, "state");
    uint64_t slot = number(c, prefix, "keyslot", UINT64_MAX);
    struct amend a = { .file = file,
                       .offset = offset,
                       .l = l,
                       .secrets = c->secrets,
                       .new_secret = option(c, prefix, "new-secret"),
                       .old_secret = option(c, prefix, "old-secret"),
                       .slot = -1,
                       .iter_ms = number(c, prefix, "iter-time", 0),
                       .is_forced = c->is_forced };
    int rc;

    if (l == NULL)
        return err_set(e, -ENOKEY, "the image was opened without its secret");
    rc = crypto_hash_find(l->info.hash, &a.h, e);
    if (rc < 0) return rc;
    if (slot != UINT64_MAX && slot >= LUKS_KEY_SLOTS)
        return err_set(e, -EINVAL,
                       "Invalid keyslot %llu specified, must be between 0 and "
                       "%d",
                       (unsigned long long)slot, LUKS_KEY_SLOTS - 1);
    if (slot != UINT64_MAX) a.slot = (int)slot;
    if (state == NULL)
        return err_set(e, -EINVAL, "Parameter '%sstate' is missing", prefix);
    if (strcmp(state, "active") == 0) return activate(&a, e);
    if (strcmp(state, "inactive") == 0) return deactivate(&a, e);
    return err_set(e, -EINVAL, "Parameter 'state' does not accept value '%s'",
                   state);
}
