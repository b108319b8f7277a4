/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Opening images from names or lists of options, and -o options. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "block/block.h"
#include "block/img/img.h"
#include "block/passphrase.h"
#include "core/base/json.h"

/* --------------------------------------------------------------- pairs */

int img_pairs_add(struct img_pairs *p, const char *key, const char *value)
{
    char **kv = realloc(p->kv, (p->count + 3) * sizeof(*kv));

    if (kv == NULL) return -ENOMEM;
    p->kv = kv;
    kv[p->count] = strdup(key);
    kv[p->count + 1] = strdup(value);
    kv[p->count + 2] = NULL;
    p->count += 2;
    return kv[p->count - 2] == NULL || kv[p->count - 1] == NULL ? -ENOMEM : 0;
}

void img_pairs_free(struct img_pairs *p)
{
    for (unsigned i = 0; i < p->count; i++)
        free(p->kv[i]);
    free(p->kv);
    *p = (struct img_pairs){ NULL, 0 };
}

const char *img_pairs_get(const struct img_pairs *p, const char *key)
{
    for (unsigned i = p->count; i > 0; i -= 2) {
        if (strcmp(p->kv[i - 2], key) == 0) return p->kv[i - 1];
    }
    return NULL;
}

/* The last one counts, so all go. */
char *img_pairs_take(struct img_pairs *p, const char *key)
{
    char *value = NULL;
    unsigned kept = 0;

    for (unsigned i = 0; i < p->count; i += 2) {
        if (strcmp(p->kv[i], key) == 0) {
            free(p->kv[i]);
            free(value);
            value = p->kv[i + 1];
            continue;
        }
        p->kv[kept] = p->kv[i];
        p->kv[kept + 1] = p->kv[i + 1];
        kept += 2;
    }
    if (p->kv != NULL) p->kv[kept] = NULL;
    p->count = kept;
    return value;
}

/* One "key=value" whose commas are plain; "key" is on, "nokey" is off. */
static int add_word(struct img_pairs *p, char *word)
{
    char *equal = strchr(word, '=');

    if (word[0] == '\0') return 0;
    if (equal != NULL) {
        *equal = '\0';
        return img_pairs_add(p, word, equal + 1);
    }
    if (strncmp(word, "no", 2) == 0 && word[2] != '\0')
        return img_pairs_add(p, word + 2, "off");
    return img_pairs_add(p, word, "on");
}

int img_pairs_parse(struct img_pairs *p, const char *text)
{
    char *word = malloc(strlen(text) + 1), *to = word;
    int rc = 0;

    if (word == NULL) return -ENOMEM;
    for (; rc == 0; text++) {
        if (text[0] == ',' && text[1] == ',') {
            *to++ = ',';
            text++;
        } else if (*text == ',' || *text == '\0') {
            *to = '\0';
            rc = add_word(p, word);
            to = word;
            if (*text == '\0') break;
        } else {
            *to++ = *text;
        }
    }
    free(word);
    return rc;
}

int img_pairs_from_o(const struct img *m, struct img_pairs *p)
{
    for (unsigned i = 0; i < m->given_count; i++) {
        if (m->given[i].id != 'o') continue;
        if (img_pairs_parse(p, m->given[i].value) < 0) {
            img_error("out of memory");
            return -1;
        }
    }
    return 0;
}

static bool is_help(const char *word)
{
    return word != NULL && (strcmp(word, "help") == 0 || *word == '?');
}

static const char *type_text(enum image_opt_type type)
{
    switch (type) {
    case IMAGE_SIZE: return "size";
    case IMAGE_NUMBER: return "num";
    case IMAGE_BOOL: return "bool (on/off)";
    default: return "str";
    }
}

static void print_options(const struct image_create_opt *o, bool is_amend)
{
    for (; o->key != NULL; o++) {
        char text[80];

        if (is_amend && !o->can_amend) continue;
        snprintf(text, sizeof(text), "%s=<%s>", o->key, type_text(o->type));
        printf("  %-22s - %s\n", text, o->help);
    }
}

bool img_options_help(const struct img *m, const char *format)
{
    const struct block_driver *d = block_driver_find(format);
    bool is_asked = false, is_amend = strcmp(m->cmd->name, "amend") == 0;

    for (unsigned i = 0; i < m->given_count; i++) {
        const char *v = m->given[i].value;
        size_t bytes = strlen(v);

        if (m->given[i].id != 'o') continue;
        is_asked |= is_help(v) || strncmp(v, "help,", 5) == 0 ||
                    (bytes > 5 && strcmp(v + bytes - 5, ",help") == 0);
    }
    if (!is_asked) return false;
    if (d == NULL || d->create_opts == NULL) {
        img_error("Format '%s' has no options", format);
        return true;
    }
    if (is_amend && d->amend == NULL)
        img_error("Format driver '%s' does not support option amendment",
                  format);
    else if (is_amend)
        printf("Amend options for '%s':\n", format);
    else
        printf("Supported %s options:\n", format);
    if (!is_amend || d->amend != NULL) print_options(d->create_opts, is_amend);
    if (is_amend && d->amend_opts != NULL) print_options(d->amend_opts, true);
    return true;
}

/* ------------------------------------------------------------- opening */

unsigned img_flags(const struct img *m)
{
    return (img_has(m, IMG_IMAGE_OPTS) ? IMG_DESCRIBED : 0) |
           (img_has(m, 'U') ? IMG_UNLOCKED : 0);
}

int img_check_cache(const char *cache, unsigned flags)
{
    static const char *const names[] = { "none",       "off",
                                         "writeback",  "writethrough",
                                         "directsync", "unsafe" };

    for (unsigned i = 0; cache != NULL && i < 6; i++) {
        if (strcmp(cache, names[i]) == 0) return 0;
    }
    if (cache == NULL) return 0;
    img_error("Invalid %scache option: %s",
              flags & IMG_SOURCE_CACHE ? "source " : "", cache);
    return -1;
}

const char *img_reason(const struct err *e, const char *file)
{
    size_t bytes = strlen(file);

    if (strncmp(e->text, file, bytes) == 0 &&
        strncmp(e->text + bytes, ": ", 2) == 0)
        return e->text + bytes + 2;
    return e->text;
}

/* {"file": {"filename": "x"}} becomes file.filename=x. */
static int flatten(struct img_pairs *p, const struct json *j,
                   const char *prefix)
{
    int rc = 0;

    for (const struct json *k = j->first; k != NULL && rc == 0; k = k->next) {
        char name[256], number[32];

        snprintf(name, sizeof(name), "%s%s%s", prefix, *prefix ? "." : "",
                 k->name != NULL ? k->name : "");
        snprintf(number, sizeof(number), "%lld", (long long)k->i);
        if (k->type == JSON_OBJECT)
            rc = flatten(p, k, name);
        else if (k->type == JSON_STRING)
            rc = img_pairs_add(p, name, k->text);
        else if (k->type == JSON_BOOL)
            rc = img_pairs_add(p, name, k->is_true ? "on" : "off");
        else if (k->type == JSON_INT)
            rc = img_pairs_add(p, name, number);
    }
    return rc;
}

struct description {
    struct img_pairs pairs;
    char *file, *format;
    struct node_kv *kv;
};

static void description_free(struct description *d)
{
    img_pairs_free(&d->pairs);
    free(d->file);
    free(d->format);
    free(d->kv);
}

static bool take_is(struct description *d, const char *key, const char *value)
{
    char *text = img_pairs_take(&d->pairs, key);
    bool is = text != NULL && strcmp(text, value) == 0;

    free(text);
    return is;
}

/* What the list says about the node options; the rest is the driver's. */
static int description_read(struct description *d, struct node_options *o)
{
    char *protocol = img_pairs_take(&d->pairs, "file.driver");
    bool is_file = protocol == NULL || strcmp(protocol, "file") == 0 ||
                   strcmp(protocol, "host_device") == 0;

    if (!is_file) img_error("Unknown driver '%s'", protocol);
    free(protocol);
    if (!is_file) return -1;
    d->file = img_pairs_take(&d->pairs, "file.filename");
    d->format = img_pairs_take(&d->pairs, "driver");
    if (d->file == NULL) d->file = img_pairs_take(&d->pairs, "filename");
    if (d->file == NULL) d->file = img_pairs_take(&d->pairs, "file");
    if (d->format != NULL && (strcmp(d->format, "file") == 0 ||
                              strcmp(d->format, "host_device") == 0)) {
        free(d->format);
        d->format = strdup("raw");
    }
    if (take_is(d, "read-only", "on") | take_is(d, "file.read-only", "on"))
        o->is_readonly = true;
    if (take_is(d, "cache.direct", "on") |
        take_is(d, "file.cache.direct", "on"))
        o->is_direct = true;
    if (take_is(d, "file.locking", "off") | take_is(d, "force-share", "on"))
        o->is_unlocked = true;
    free(img_pairs_take(&d->pairs, "file.aio"));
    free(img_pairs_take(&d->pairs, "cache.no-flush"));
    free(img_pairs_take(&d->pairs, "node-name"));
    if (d->file != NULL) return 0;
    img_error("A file name is missing: file.filename=NAME");
    return -1;
}

/* Names, "file:NAME", "json:{...}" and lists of options. */
static int describe(const char *file, const char *format, unsigned flags,
                    struct description *d, struct node_options *o)
{
    struct err e = ERR_INIT;
    struct json *j = NULL;

    if ((flags & IMG_DESCRIBED) && format != NULL) {
        img_error("--image-opts and --format are mutually exclusive");
        return -1;
    }
    if (flags & IMG_DESCRIBED) {
        if (img_pairs_parse(&d->pairs, file) < 0) return -1;
        return description_read(d, o);
    }
    if (strncmp(file, "json:", 5) == 0) {
        int rc = json_parse(file + 5, strlen(file + 5), &j, &e);

        if (rc < 0) {
            img_error("Could not open '%s': %s", file, e.text);
            return -1;
        }
        rc = flatten(&d->pairs, j, "");
        json_free(j);
        return rc < 0 ? -1 : description_read(d, o);
    }
    d->file = strdup(strncmp(file, "file:", 5) == 0 ? file + 5 : file);
    if (format != NULL) d->format = strdup(format);
    return d->file == NULL ? -1 : 0;
}

static void warn(const struct node *n, unsigned flags, bool is_guessed)
{
    if (is_guessed && (flags & IMG_WRITE) && !(flags & IMG_QUIET) &&
        strcmp(n->drv->name, "raw") == 0)
        fprintf(stderr,
                "WARNING: Image format was not specified for '%s' and probing "
                "guessed raw.\n"
                "         Automatically detecting the format is dangerous for "
                "raw images, write operations on block 0 will be restricted.\n"
                "         Specify the 'raw' format explicitly to remove the "
                "restrictions.\n",
                n->name);
    for (; n != NULL; n = n->backing) {
        if (n->warning[0] != '\0')
            fprintf(stderr, "orrery img: warning: %s: %s\n", n->name,
                    n->warning);
    }
}

/* An encrypted image, and no secret was given: ask for it, open once more. */
static int ask(const struct img *m, const struct description *d,
               struct node_options *o, struct node **out, struct err *e)
{
    const struct blk_options bo = { .format = d->format };
    const char *key = blk_secret_key(d->file, &bo);
    struct node_kv *kv = calloc(o->kv_count + 1, sizeof(*kv));
    char text[PASSPHRASE_MAX_BYTES], id[32];
    int rc;

    if (kv == NULL || key == NULL) {
        free(kv);
        return -ENOKEY;
    }
    rc = passphrase_ask(d->file, text, sizeof(text), e);
    for (unsigned i = 0;; i++) { /* one for each image */
        snprintf(id, sizeof(id), "#ask%u", i);
        if (!secret_has(m->secrets, id)) break;
    }
    if (rc == 0) rc = secret_add(m->secrets, id, text, strlen(text), e);
    explicit_bzero(text, sizeof(text));
    for (unsigned i = 0; i < o->kv_count; i++)
        kv[i] = (struct node_kv){ o->kv[i].key, o->kv[i].value, false };
    kv[o->kv_count] = (struct node_kv){ key, id, false };
    if (rc == 0) {
        o->kv = kv;
        o->kv_count++;
        rc = node_open_image(d->file, d->format, true, false, o, out, e);
    }
    free(kv);
    return rc;
}

int img_open(const struct img *m, const char *file, const char *format,
             const char *cache, unsigned flags, struct node **out)
{
    struct node_options o = { .is_readonly = !(flags & IMG_WRITE),
                              .is_unlocked = flags & IMG_UNLOCKED,
                              .is_no_backing = flags & IMG_NO_BACKING,
                              .is_check = flags & IMG_CHECK,
                              .is_unsafe = flags & IMG_UNSAFE,
                              .is_discard = true,
                              .secrets = m->secrets };
    struct description d = { .file = NULL };
    struct err e = ERR_INIT;
    int rc = img_check_cache(cache, flags);

    if (cache != NULL &&
        (strcmp(cache, "none") == 0 || strcmp(cache, "off") == 0 ||
         strcmp(cache, "directsync") == 0))
        o.is_direct = true;
    if (cache != NULL && strcmp(cache, "unsafe") == 0) o.is_unsafe = true;
    if (rc == 0 && (flags & IMG_WRITE) && (flags & IMG_UNLOCKED)) {
        img_error("Could not open '%s': force-share=on can only be used with "
                  "read-only images",
                  file);
        rc = -1;
    }
    if (rc == 0) rc = describe(file, format, flags, &d, &o);
    if (rc < 0) goto out;
    d.kv = calloc(d.pairs.count / 2 + 1, sizeof(*d.kv));
    for (unsigned i = 0; d.kv != NULL && i < d.pairs.count; i += 2)
        d.kv[i / 2] =
            (struct node_kv){ d.pairs.kv[i], d.pairs.kv[i + 1], false };
    o.kv = d.kv;
    o.kv_count = d.kv != NULL ? d.pairs.count / 2 : 0;
    rc = node_open_image(d.file, d.format, true, false, &o, out, &e);
    if (rc == -ENOKEY && isatty(STDIN_FILENO)) rc = ask(m, &d, &o, out, &e);
    if (rc < 0)
        img_error("Could not open '%s': %s", file, img_reason(&e, d.file));
    else
        warn(*out, flags, d.format == NULL);
out:
    description_free(&d);
    return rc;
}

/* ------------------------------------------------------------ contents */

int img_status(struct node *n, const struct node *base, uint64_t offset,
               uint64_t bytes, struct img_extent *out)
{
    unsigned depth = 0;

    *out = (struct img_extent){ .node = n };
    for (; n != NULL && n != base; n = n->backing, depth++) {
        struct node_extent e;
        int rc;

        out->node = n;
        out->depth = depth;
        if (offset >= n->size_bytes) { /* the backing file is shorter */
            out->e =
                (struct node_extent){ .bytes = bytes, .flags = EXTENT_ZERO };
            return 0;
        }
        rc = node_status(n, offset, bytes, &e);
        if (rc < 0) return rc;
        if (e.bytes == 0 || e.bytes > bytes) return -EIO;
        bytes = e.bytes;
        out->e = e;
        out->is_present = e.flags & EXTENT_ALLOCATED;
        if (e.flags & (EXTENT_ALLOCATED | EXTENT_ZERO)) return 0;
    }
    out->e.flags = base != NULL ? 0 : EXTENT_ZERO;
    out->e.bytes = bytes;
    return 0;
}

int img_read_padded(struct node *n, uint64_t offset, void *buf, size_t bytes)
{
    size_t here = bytes;

    if (n == NULL || offset >= n->size_bytes)
        here = 0;
    else if (bytes > n->size_bytes - offset)
        here = (size_t)(n->size_bytes - offset);
    memset((uint8_t *)buf + here, 0, bytes - here);
    return here > 0 ? node_pread(n, offset, buf, here) : 0;
}

const char *img_size_text(uint64_t bytes, char *buf, size_t cap)
{
    static const char *const unit[] = {
        "", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"
    };
    double v = (double)bytes;
    unsigned i = 0;

    for (; v >= 1000 && i < 6; i++)
        v /= 1024;
    snprintf(buf, cap, "%0.3g %sB", v, unit[i]);
    return buf;
}
