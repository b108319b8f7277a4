/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From the options of -blockdev to nodes.  A level of the tree is one node:
 * common options here, all others go to the driver as key and value, which
 * refuses what it does not know.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "block/chain.h"
#include "block/map.h"
#include "block/nbd.h"
#include "block/nodes_priv.h"

enum { MAX_LEVELS = 32, MAX_KV = 64 };

enum { NEEDS_FILE = 1, HAS_BACKING = 2 };
static const struct kind {
    const char *name;
    const struct block_driver *drv;
    unsigned flags;
} kinds[] = {
    /* clang-format off */
    { "faulty",      &block_faulty,   NEEDS_FILE },
    { "file",        &block_file,     0 },
    { "host_device", &block_file,     0 },
    { "luks",        &block_luks,     NEEDS_FILE },
    { "nbd",         &block_nbd,      0 },
    { "null-aio",    &block_null,     0 },
    { "null-co",     &block_null,     0 },
    { "qcow",        &block_qcow1,    NEEDS_FILE | HAS_BACKING },
    { "qcow2",       &block_qcow2,    NEEDS_FILE | HAS_BACKING },
    { "raw",         &block_raw,      NEEDS_FILE },
    { "throttle",    &block_throttle, NEEDS_FILE },
    { "vdi",         &block_vdi,      NEEDS_FILE },
    { "vhdx",        &block_vhdx,     NEEDS_FILE },
    { "vmdk",        &block_vmdk,     NEEDS_FILE },
    { "vpc",         &block_vpc,      NEEDS_FILE },
    /* clang-format on */
};

/* Options of every node; a child given inside inherits those it lacks. */
struct common {
    const char *name;
    bool is_readonly, is_auto_readonly;
    bool is_direct, is_unsafe, is_unlocked;
    bool passes_discard;
    enum blk_detect detect;
};

struct level {
    struct build *b;
    const struct kind *kind;
    struct opts o;
    struct common c;
    unsigned depth;
    char name[600]; /* what nbd is called */
    const char *file_name;
    struct node_kv kv[MAX_KV];
    char *values[MAX_KV]; /* owned, with the keys */
    char *keys[MAX_KV];
    unsigned kv_count;
};

static int build_level(struct build *b, const struct opts *o,
                       const struct common *from, unsigned depth,
                       struct node_behaviour *how, struct node **out,
                       struct err *e);

/* ---------------------------------------------------------------- common */

static int find_kind(struct level *l, struct err *e)
{
    const char *driver = NULL;
    int rc = opts_text(&l->o, "driver", &driver, e);

    if (rc < 0) return rc;
    if (driver == NULL) return opts_missing(&l->o, "driver", e);
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (strcmp(kinds[i].name, driver) != 0) continue;
        l->kind = &kinds[i];
        return 0;
    }
    return err_set(e, -EINVAL,
                   "Parameter '%sdriver' does not accept value '%s'", l->o.path,
                   driver);
}

static int check_name(struct level *l, struct err *e)
{
    struct build *b = l->b;
    const char *name = l->c.name;

    if (name == NULL) return 0;
    if (strlen(name) > NODE_NAME_MAX)
        return err_set(e, -EINVAL, "Node name too long");
    if (!opts_is_id(name))
        return err_set(e, -EINVAL, "Invalid node-name: '%.60s'", name);
    for (struct named_node *x = b->made; x != NULL; x = x->next) {
        if (strcmp(x->n->node_name, name) == 0) goto taken;
    }
    if (named_find(b->t, name) != NULL) goto taken;
    for (struct drive *d = b->t->first; d != NULL; d = d->next) {
        if (!d->is_node && strcmp(d->id, name) == 0)
            return err_set(e, -EEXIST,
                           "node-name=%s is conflicting with a device id",
                           name);
    }
    return 0;
taken:
    return err_set(e, -EEXIST, "Duplicate nodes with node-name='%s'", name);
}

static int read_cache(struct level *l, struct err *e)
{
    static const char *const keys[] = { "direct", "no-flush", NULL };
    struct opts cache;
    int rc = opts_child(&l->o, "cache", &cache, e);

    if (rc < 0 || cache.j == NULL) return rc;
    rc = opts_bool(&cache, "direct", &l->c.is_direct, e);
    if (rc == 0) rc = opts_bool(&cache, "no-flush", &l->c.is_unsafe, e);
    return rc < 0 ? rc : opts_only(&cache, keys, e);
}

static int read_common(struct level *l, const struct common *from,
                       struct err *e)
{
    static const char *const discards[] = { "ignore", "unmap", "off", "on",
                                            NULL };
    static const char *const detects[] = { "off", "on", "unmap", NULL };
    unsigned discard = from->passes_discard, detect = BLK_DETECT_OFF;
    bool has_auto = json_get(l->o.j, "auto-read-only") != NULL;
    int rc;

    l->c = *from;
    l->c.name = NULL;
    rc = opts_text(&l->o, "node-name", &l->c.name, e);
    if (rc == 0) rc = opts_bool(&l->o, "read-only", &l->c.is_readonly, e);
    if (rc == 0 && !has_auto && json_get(l->o.j, "read-only") != NULL)
        l->c.is_auto_readonly = false;
    if (rc == 0)
        rc = opts_bool(&l->o, "auto-read-only", &l->c.is_auto_readonly, e);
    if (rc == 0) rc = opts_bool(&l->o, "force-share", &l->c.is_unlocked, e);
    if (rc == 0) rc = opts_word(&l->o, "discard", discards, &discard, e);
    if (rc == 0) rc = opts_word(&l->o, "detect-zeroes", detects, &detect, e);
    if (rc == 0) rc = read_cache(l, e);
    if (rc < 0) return rc;
    l->c.passes_discard = discard & 1;
    l->c.detect = (enum blk_detect)detect;
    if (l->c.detect == BLK_DETECT_UNMAP && !l->c.passes_discard)
        return err_set(e, -EINVAL,
                       "setting detect-zeroes to unmap is not allowed without "
                       "setting discard operation to unmap");
    if (l->c.is_unlocked && !l->c.is_readonly)
        return err_set(e, -EINVAL,
                       "force-share=on can only be used with read-only images");
    return check_name(l, e);
}

/* ------------------------------------------------- what the driver takes */

static const char *const common_keys[] = {
    "driver",  "node-name",     "read-only", "auto-read-only",
    "discard", "detect-zeroes", "cache",     "force-share",
    "file",    "backing",       NULL,
};

static bool is_common(const char *key)
{
    for (unsigned i = 0; common_keys[i] != NULL; i++) {
        if (strcmp(common_keys[i], key) == 0) return true;
    }
    return false;
}

static int add_kv(struct level *l, const char *key, const char *value,
                  struct err *e)
{
    unsigned i = l->kv_count;

    if (i == MAX_KV) return err_set(e, -E2BIG, "more than %d options", MAX_KV);
    l->keys[i] = strdup(key);
    l->values[i] = strdup(value);
    if (l->keys[i] == NULL || l->values[i] == NULL) {
        free(l->keys[i]);
        free(l->values[i]);
        return err_set(e, -ENOMEM, "out of memory");
    }
    l->kv[i] = (struct node_kv){ l->keys[i], l->values[i], false };
    l->kv_count++;
    return 0;
}

/* Members of j, "a.b" for those of members. */
static int flatten(struct level *l, const struct json *j, const char *prefix,
                   unsigned depth, struct err *e)
{
    int rc = 0;

    for (const struct json *x = j->first; x != NULL && rc == 0; x = x->next) {
        char key[128], number[32];

        if (depth == 0 && is_common(x->name)) continue;
        if (snprintf(key, sizeof(key), "%s%s", prefix, x->name) >=
            (int)sizeof(key))
            return err_set(e, -EINVAL, "Parameter '%s' is unexpected", x->name);
        switch (x->type) {
        case JSON_STRING: rc = add_kv(l, key, x->text, e); break;
        case JSON_BOOL:
            rc = add_kv(l, key, x->is_true ? "on" : "off", e);
            break;
        case JSON_INT:
            snprintf(number, sizeof(number), "%lld", (long long)x->i);
            rc = add_kv(l, key, number, e);
            break;
        case JSON_OBJECT:
            strncat(key, ".", sizeof(key) - strlen(key) - 1);
            rc = depth < 4 ? flatten(l, x, key, depth + 1, e)
                           : err_set(e, -E2BIG, "'%s' is too deep", x->name);
            break;
        default: rc = err_set(e, -EINVAL, "Parameter '%s' is unexpected", key);
        }
    }
    return rc;
}

static const char *take(struct level *l, const char *key)
{
    const struct node_options o = { .kv = l->kv, .kv_count = l->kv_count };

    return node_option(&o, key);
}

static int need(struct level *l, const char *key, const char **out,
                struct err *e)
{
    *out = take(l, key);
    return *out != NULL ? 0 : opts_missing(&l->o, key, e);
}

/* Accepted with QEMU's words; where it matters we decide ourselves. */
static int take_word(struct level *l, const char *key, const char *a,
                     const char *b, const char *c, struct err *e)
{
    const char *text = take(l, key);

    if (text == NULL || strcmp(text, a) == 0 || strcmp(text, b) == 0 ||
        strcmp(text, c) == 0)
        return 0;
    return err_set(e, -EINVAL, "Parameter '%s%s' does not accept value '%s'",
                   l->o.path, key, text);
}

static int prepare_file(struct level *l, struct err *e)
{
    struct stat st;
    int rc = need(l, "filename", &l->file_name, e);
    const char *locking = take(l, "locking");

    if (rc == 0) rc = take_word(l, "aio", "threads", "native", "io_uring", e);
    if (rc == 0) rc = take_word(l, "locking", "on", "off", "auto", e);
    if (rc < 0) return rc;
    if (locking != NULL && strcmp(locking, "off") == 0) l->c.is_unlocked = true;
    if (strcmp(l->kind->name, "host_device") == 0 &&
        stat(l->file_name, &st) == 0 && !S_ISBLK(st.st_mode))
        return err_set(e, -EINVAL,
                       "'host_device' driver requires '%s' to be a block "
                       "device",
                       l->file_name);
    return 0;
}

static int prepare_nbd(struct level *l, struct err *e)
{
    const char *type, *export = take(l, "export"), *path, *host, *port;
    int rc = need(l, "server.type", &type, e), n;

    if (rc < 0) return rc;
    if (export == NULL) export = "";
    if (strcmp(type, "unix") == 0) {
        rc = need(l, "server.path", &path, e);
        if (rc < 0) return rc;
        n = snprintf(l->name, sizeof(l->name), "nbd:unix:%s:exportname=%s",
                     path, export);
    } else if (strcmp(type, "inet") == 0) {
        rc = need(l, "server.host", &host, e);
        if (rc == 0) rc = need(l, "server.port", &port, e);
        if (rc < 0) return rc;
        n = snprintf(l->name, sizeof(l->name),
                     strchr(host, ':') ? "nbd:[%s]:%s:exportname=%s"
                                       : "nbd:%s:%s:exportname=%s",
                     host, port, export);
    } else {
        return err_set(e, -EINVAL,
                       "Parameter '%sserver.type' does not accept value '%s'",
                       l->o.path, type);
    }
    l->file_name = l->name;
    return n < (int)sizeof(l->name)
               ? 0
               : err_set(e, -ENAMETOOLONG, "name of the server is too long");
}

static int prepare(struct level *l, struct err *e)
{
    if (l->kind->drv == &block_file) return prepare_file(l, e);
    if (l->kind->drv == &block_nbd) return prepare_nbd(l, e);
    l->file_name = "null-co://";
    return 0;
}

/* -------------------------------------------------------------- children */

static int reference(struct level *l, const char *name, struct node **out,
                     struct err *e)
{
    struct node *n = nodes_find(l->b->t, name);

    if (n == NULL)
        return err_set(e, -ENOENT, "Cannot find device='' nor node-name='%s'",
                       name);
    *out = node_ref(n);
    return 0;
}

/* Member key: a name or options. */
static int open_child(struct level *l, const char *key, bool is_backing,
                      struct node **out, struct err *e)
{
    const struct json *j = json_get(l->o.j, key);
    struct common from = l->c;
    struct node_behaviour how;
    struct opts o;
    int rc;

    if (j->type == JSON_STRING) return reference(l, j->text, out, e);
    rc = opts_child(&l->o, key, &o, e);
    if (rc < 0) return rc;
    if (is_backing) {
        from.is_readonly = true;
        from.is_auto_readonly = false;
    }
    return build_level(l->b, &o, &from, l->depth + 1, &how, out, e);
}

/* A writable node needs a child that can be written, or may give way. */
static int settle_readonly(struct level *l, const struct node *child,
                           struct err *e)
{
    if (!child->is_readonly || l->c.is_readonly) return 0;
    if (!l->c.is_auto_readonly)
        return err_set(e, -EROFS, "Block node '%s' is read-only",
                       child->node_name != NULL ? child->node_name
                                                : child->name);
    l->c.is_readonly = true;
    return 0;
}

static int open_backing(struct level *l, struct node *n,
                        const struct node_options *no, struct err *e)
{
    const struct json *j = json_get(l->o.j, "backing");

    if (j == NULL) return node_open_backing(n, no, e);
    if (j->type == JSON_NULL || (j->type == JSON_STRING && *j->text == '\0'))
        return 0;
    return open_child(l, "backing", true, &n->backing, e);
}

/* ----------------------------------------------------------------- nodes */

static int remember(struct level *l, struct node *n, struct err *e)
{
    struct named_node *x;

    if (l->c.name == NULL) return 0;
    x = calloc(1, sizeof(*x));
    if (x != NULL) n->node_name = strdup(l->c.name);
    if (x == NULL || n->node_name == NULL) {
        free(x);
        return err_set(e, -ENOMEM, "out of memory");
    }
    x->n = node_ref(n);
    x->how = (struct node_behaviour){ .is_direct = l->c.is_direct,
                                      .is_unsafe = l->c.is_unsafe,
                                      .passes_discard = l->c.passes_discard,
                                      .detect = l->c.detect };
    x->next = l->b->made;
    l->b->made = x;
    return 0;
}

static int refuse_rest(struct level *l, struct err *e)
{
    for (unsigned i = 0; i < l->kv_count; i++) {
        if (!l->kv[i].is_taken)
            return err_set(e, -EINVAL, "Parameter '%s%s' is unexpected",
                           l->o.path, l->kv[i].key);
    }
    return 0;
}

static int check_members(struct level *l, struct err *e)
{
    bool has_file = json_get(l->o.j, "file") != NULL;

    if ((l->kind->flags & NEEDS_FILE) && !has_file)
        return opts_missing(&l->o, "file", e);
    if (!(l->kind->flags & NEEDS_FILE) && has_file)
        return err_set(e, -EINVAL, "Parameter '%sfile' is unexpected",
                       l->o.path);
    if (!(l->kind->flags & HAS_BACKING) && json_get(l->o.j, "backing") != NULL)
        return err_set(e, -EINVAL, "Parameter '%sbacking' is unexpected",
                       l->o.path);
    return 0;
}

/* QEMU says of every format the same when the image is another's. */
static int check_image(struct level *l, struct node *child, struct err *e)
{
    uint8_t head[BLOCK_PROBE_BYTES] = { 0 };
    size_t bytes = sizeof(head);

    if (l->kind->drv->probe == NULL || l->kind->drv == &block_raw) return 0;
    if (child->size_bytes < bytes) bytes = (size_t)child->size_bytes;
    if (node_pread(child, 0, head, bytes) < 0 ||
        l->kind->drv->probe(head, bytes) > 0)
        return 0;
    return err_set(e, -EINVAL, "Image is not in %s format", l->kind->name);
}

static int open_node(struct level *l, struct node **out, struct err *e)
{
    struct node_options no = { .secrets = l->b->t->secrets,
                               .groups = &l->b->t->groups,
                               .is_discard = l->c.passes_discard,
                               .is_direct = l->c.is_direct,
                               .is_unsafe = l->c.is_unsafe,
                               .is_unlocked = l->c.is_unlocked,
                               .is_auto_readonly = l->c.is_auto_readonly,
                               .kv = l->kv,
                               .kv_count = l->kv_count };
    struct node *child = NULL, *n;
    int rc = check_members(l, e);

    if (rc == 0 && (l->kind->flags & NEEDS_FILE)) {
        rc = open_child(l, "file", false, &child, e);
        if (rc == 0) {
            rc = check_image(l, child, e);
            if (rc == 0) rc = settle_readonly(l, child, e);
            if (rc < 0) node_unref(child);
        }
        l->file_name = child != NULL ? child->name : "";
    } else if (rc == 0) {
        rc = prepare(l, e);
        if (rc == 0 && l->kind->drv == &block_file) rc = refuse_rest(l, e);
    }
    if (rc < 0) return rc;
    no.is_readonly = l->c.is_readonly;
    rc = node_open(l->kind->drv, l->file_name, child, &no, &n, e);
    if (rc < 0) return rc;
    if (l->c.is_readonly) n->is_readonly = true;
    rc = refuse_rest(l, e);
    if (rc == 0 && (l->kind->flags & HAS_BACKING))
        rc = open_backing(l, n, &no, e);
    if (rc == 0) rc = remember(l, n, e);
    if (rc < 0) {
        node_unref(n);
        return rc;
    }
    *out = n;
    return 0;
}

static int build_level(struct build *b, const struct opts *o,
                       const struct common *from, unsigned depth,
                       struct node_behaviour *how, struct node **out,
                       struct err *e)
{
    struct level *l;
    int rc;

    if (depth == MAX_LEVELS)
        return err_set(e, -E2BIG, "more than %d nodes below each other",
                       MAX_LEVELS);
    l = calloc(1, sizeof(*l));
    if (l == NULL) return err_set(e, -ENOMEM, "out of memory");
    l->b = b;
    l->o = *o;
    l->depth = depth;
    rc = find_kind(l, e);
    if (rc == 0) rc = read_common(l, from, e);
    if (rc == 0) rc = flatten(l, o->j, "", 0, e);
    if (rc == 0) rc = open_node(l, out, e);
    *how = (struct node_behaviour){ .is_direct = l->c.is_direct,
                                    .is_unsafe = l->c.is_unsafe,
                                    .passes_discard = l->c.passes_discard,
                                    .detect = l->c.detect };
    for (unsigned i = 0; i < l->kv_count; i++) {
        free(l->keys[i]);
        free(l->values[i]);
    }
    free(l);
    return rc;
}

int build_node(struct build *b, const struct json *options,
               struct node_behaviour *how, struct node **out, struct err *e)
{
    const struct common none = { .is_auto_readonly = false };
    const struct opts o = { .j = options, .is_text = b->is_text };

    return build_level(b, &o, &none, 0, how, out, e);
}
