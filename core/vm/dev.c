/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/vm/dev.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/size.h"
#include "core/vm/vm_private.h"

/* ---- properties ---- */

static void *prop_ptr(const struct dev *d, const struct prop *p)
{
    return (uint8_t *)d->s + p->offset;
}

static const struct prop *find_prop(const struct dev_class *cls,
                                    const char *name)
{
    const struct prop *p = cls->props;

    if (p == NULL) return NULL;
    while (p->type != P_END && strcmp(p->name, name) != 0)
        p++;
    return p->type != P_END ? p : NULL;
}

static int set_bool(bool *to, const char *v)
{
    static const char *const yes[] = { "on", "yes", "true", "y", "1" };
    static const char *const no[] = { "off", "no", "false", "n", "0" };

    for (unsigned i = 0; i < 5; i++) {
        if (strcmp(v, yes[i]) == 0) *to = true;
        if (strcmp(v, no[i]) == 0) *to = false;
        if (strcmp(v, yes[i]) == 0 || strcmp(v, no[i]) == 0) return 0;
    }
    return -EINVAL;
}

static int set_number(struct dev *d, const struct prop *p, const char *value,
                      struct err *e)
{
    uint64_t v = 0;
    int rc =
        p->type == P_SIZE ? size_parse(value, 1, &v) : uint_parse(value, &v);

    /* -1 is how users of signed properties say "none". */
    if (rc < 0 && p->type == P_U32 && p->max == UINT32_MAX &&
        strcmp(value, "-1") == 0) {
        v = UINT32_MAX;
        rc = 0;
    }
    if (rc == -EINVAL) {
        return err_set(e, rc, "property %s=%s is not a number", p->name, value);
    }
    if (rc < 0 || v < p->min || v > p->max) {
        return err_set(e, -ERANGE, "property %s=%s is outside %llu..%llu",
                       p->name, value, (unsigned long long)p->min,
                       (unsigned long long)p->max);
    }
    if (p->type == P_U32) {
        *(uint32_t *)prop_ptr(d, p) = (uint32_t)v;
    } else {
        *(uint64_t *)prop_ptr(d, p) = v;
    }
    return 0;
}

static int set_prop(struct dev *d, const struct prop *p, const char *value,
                    struct err *e)
{
    char **text;

    switch (p->type) {
    case P_BOOL:
        if (set_bool(prop_ptr(d, p), value) < 0) {
            return err_set(e, -EINVAL, "property %s=%s must be on or off",
                           p->name, value);
        }
        return 0;
    case P_U32:
    case P_U64:
    case P_SIZE: return set_number(d, p, value, e);
    default:
        text = prop_ptr(d, p);
        free(*text);
        *text = strdup(value);
        return *text != NULL ? 0 : err_set(e, -ENOMEM, "out of memory");
    }
}

int dev_set(struct dev *d, const char *name, const char *value, struct err *e)
{
    const struct prop *p = find_prop(d->cls, name);

    if (p == NULL) {
        return err_set(e, -ENOENT,
                       "%s has no property %s (see -device "
                       "%s,help)",
                       d->cls->name, name, d->cls->name);
    }
    return set_prop(d, p, value, e);
}

const char *dev_prop_text(const struct dev *d, const struct prop *p, char *buf,
                          size_t cap)
{
    const void *at = prop_ptr(d, p);

    switch (p->type) {
    case P_BOOL:
        snprintf(buf, cap, "%s", *(const bool *)at ? "true" : "false");
        break;
    case P_U32:
        snprintf(buf, cap, "%u (0x%x)", *(const uint32_t *)at,
                 *(const uint32_t *)at);
        break;
    case P_U64:
    case P_SIZE:
        snprintf(buf, cap, "%llu (0x%llx)",
                 (unsigned long long)*(const uint64_t *)at,
                 (unsigned long long)*(const uint64_t *)at);
        break;
    default:
        snprintf(buf, cap, "\"%s\"",
                 *(char *const *)at != NULL ? *(char *const *)at : "");
    }
    return buf;
}

/* ---- tree ---- */

static void free_dev(struct dev *d)
{
    const struct prop *p = d->cls->props;

    for (; p != NULL && p->type != P_END; p++) {
        if (p->type >= P_STR) free(*(char **)prop_ptr(d, p));
    }
    free(d->s);
    free(d);
}

static int set_defaults(struct dev *d, struct err *e)
{
    const struct prop *p = d->cls->props;

    for (; p != NULL && p->type != P_END; p++) {
        int rc = p->def != NULL ? set_prop(d, p, p->def, e) : 0;

        if (rc < 0) return rc;
    }
    return 0;
}

static void make_id(struct vm *vm, struct dev *d)
{
    unsigned n = 0;

    do {
        snprintf(d->id, sizeof(d->id), n == 0 ? "%.40s" : "%.40s#%u",
                 d->cls->name, n);
        n++;
    } while (vm->root_dev != NULL && dev_find(vm, d->id) != NULL);
}

int dev_new(struct vm *vm, struct dev *parent, const struct dev_class *cls,
            const char *id, struct dev **out, struct err *e)
{
    struct dev *d = calloc(1, sizeof(*d));
    struct dev **p;
    int rc;

    if (d == NULL) return err_set(e, -ENOMEM, "out of memory");
    d->cls = cls;
    d->vm = vm;
    d->s = aligned_alloc(64, (cls->size + 64) & ~(size_t)63);
    if (d->s == NULL) {
        free(d);
        return err_set(e, -ENOMEM, "out of memory");
    }
    memset(d->s, 0, cls->size);
    if (id != NULL && vm->root_dev != NULL && dev_find(vm, id) != NULL) {
        free_dev(d);
        return err_set(e, -EEXIST, "there is a device %s already", id);
    }
    if (id != NULL) {
        snprintf(d->id, sizeof(d->id), "%s", id);
    } else {
        make_id(vm, d);
    }
    rc = set_defaults(d, e);
    if (rc < 0) {
        free_dev(d);
        return rc;
    }
    d->parent = parent != NULL ? parent : vm->root_dev;
    if (d->parent != NULL) {
        for (p = &d->parent->first_child; *p != NULL;) {
            p = &(*p)->next_sibling;
        }
        *p = d;
    }
    *out = d;
    return 0;
}

static void unlink_dev(struct dev *d)
{
    struct dev **p;

    if (d->parent == NULL) return;
    for (p = &d->parent->first_child; *p != NULL; p = &(*p)->next_sibling) {
        if (*p == d) {
            *p = d->next_sibling;
            return;
        }
    }
}

int dev_create(struct dev *d, struct err *e)
{
    int rc = d->cls->create != NULL ? d->cls->create(d, e) : 0;

    if (rc < 0) {
        err_prefix(e, "%s", d->id);
        while (d->first_child != NULL)
            dev_remove(d->first_child);
        unlink_dev(d);
        free_dev(d);
        return rc;
    }
    d->is_created = true;
    return 0;
}

int dev_add(struct vm *vm, struct dev *parent, const struct dev_class *cls,
            const char *id, struct dev **out, struct err *e)
{
    struct dev *d;
    int rc = dev_new(vm, parent, cls, id, &d, e);

    if (rc < 0) return rc;
    rc = dev_create(d, e);
    if (rc == 0 && out != NULL) *out = d;
    return rc;
}

/* Last child first: the order opposite to creation. */
static struct dev *last_child(struct dev *d)
{
    struct dev *c = d->first_child;

    while (c != NULL && c->next_sibling != NULL)
        c = c->next_sibling;
    return c;
}

void dev_remove(struct dev *d)
{
    struct dev *c;

    while ((c = last_child(d)) != NULL)
        dev_remove(c);
    if (d->is_created && d->cls->destroy != NULL) d->cls->destroy(d);
    unlink_dev(d);
    free_dev(d);
}

void dev_reset_tree(struct dev *root)
{
    for (struct dev *c = root->first_child; c != NULL; c = c->next_sibling) {
        dev_reset_tree(c);
    }
    if (root->is_created && root->cls->reset != NULL) root->cls->reset(root);
}

int dev_for_each(struct dev *root, int (*fn)(struct dev *d, void *arg),
                 void *arg)
{
    int rc = fn(root, arg);

    for (struct dev *c = root->first_child; rc == 0 && c != NULL;
         c = c->next_sibling) {
        rc = dev_for_each(c, fn, arg);
    }
    return rc;
}

struct find_arg {
    const char *id;
    struct dev *found;
};

static int match_id(struct dev *d, void *arg)
{
    struct find_arg *a = arg;

    if (strcmp(d->id, a->id) != 0) return 0;
    a->found = d;
    return 1;
}

struct dev *dev_find(struct vm *vm, const char *id)
{
    struct find_arg a = { .id = id };

    dev_for_each(vm->root_dev, match_id, &a);
    return a.found;
}

/* ---- saving and loading: u8 id length, id, u32 version, u32 octets, record
 * ---- */

struct save_arg {
    struct state_out *out;
};

static int save_one(struct dev *d, void *arg)
{
    struct state_out *out = ((struct save_arg *)arg)->out;
    struct state_out rec = { 0 };
    uint32_t head[2];
    uint8_t n = (uint8_t)strlen(d->id);

    if (d->cls->state == NULL || !d->is_created) return 0;
    if (d->cls->saving != NULL) d->cls->saving(d);
    state_save(&rec, d->cls->state, d->s);
    head[0] = d->cls->version;
    head[1] = (uint32_t)rec.bytes;
    if (rec.status < 0) out->status = rec.status;
    state_append(out, &n, 1);
    state_append(out, d->id, n);
    state_append(out, head, sizeof(head));
    state_append(out, rec.data, rec.bytes);
    state_out_free(&rec);
    return out->status;
}

int dev_save_tree(struct dev *root, struct state_out *out, struct err *e)
{
    struct save_arg a = { .out = out };
    int rc = dev_for_each(root, save_one, &a);

    return rc < 0 ? err_set(e, rc, "out of memory for the device state") : 0;
}

static int load_one(struct dev *root, const char *id, uint32_t version,
                    const uint8_t *data, size_t bytes, struct err *e)
{
    struct dev *d = dev_find(root->vm, id);
    int rc;

    if (d == NULL || d->cls->state == NULL) {
        return err_set(e, -EINVAL, "this machine has no device %s", id);
    }
    if (version > d->cls->version) {
        return err_set(e, -EINVAL, "%s: saved by a newer version (%u, here %u)",
                       id, version, d->cls->version);
    }
    rc = state_load(data, bytes, d->cls->state, d->s, e);
    if (rc == 0 && d->cls->loaded != NULL) {
        rc = d->cls->loaded(d, version, e);
    }
    return rc < 0 ? (err_prefix(e, "%s", id), rc) : 0;
}

int dev_load_tree(struct dev *root, const uint8_t *data, size_t bytes,
                  struct err *e)
{
    while (bytes > 0) {
        size_t n = data[0];
        uint32_t head[2];
        char id[256];
        int rc;

        if (bytes < 1 + n + sizeof(head)) goto cut;
        memcpy(id, data + 1, n);
        id[n] = '\0';
        memcpy(head, data + 1 + n, sizeof(head));
        data += 1 + n + sizeof(head);
        bytes -= 1 + n + sizeof(head);
        if (head[1] > bytes) goto cut;
        rc = load_one(root, id, head[0], data, head[1], e);
        if (rc < 0) return rc;
        data += head[1];
        bytes -= head[1];
    }
    return 0;
cut:
    return err_set(e, -EINVAL, "device state is cut short");
}
