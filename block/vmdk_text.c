/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Descriptors of VMDK images: key=value lines and lines of extents. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "block/vmdk.h"

struct extent_line {
    uint64_t sectors, offset_sectors;
    enum vmdk_kind kind;
    char name[256];
};

static bool is_key(const char *line, const char *key, const char **value)
{
    size_t bytes = strlen(key);

    if (strncasecmp(line, key, bytes) != 0) return false;
    line += bytes;
    while (*line == ' ' || *line == '\t')
        line++;
    if (*line != '=') return false;
    line++;
    while (*line == ' ' || *line == '\t')
        line++;
    *value = line;
    return true;
}

/* "text" without its quotes. */
static void copy_quoted(char *out, size_t cap, const char *value)
{
    size_t used = 0;

    if (*value == '"') value++;
    while (*value != '\0' && *value != '"' && used + 1 < cap)
        out[used++] = *value++;
    out[used] = '\0';
}

/* The word at *p; moves on behind it and blanks. */
static size_t next_word(const char **p, const char **word)
{
    size_t bytes;

    *word = *p;
    bytes = strcspn(*p, " \t");
    *p += bytes;
    *p += strspn(*p, " \t");
    return bytes;
}

static bool is_word(const char *word, size_t bytes, const char *text)
{
    return strlen(text) == bytes && strncmp(word, text, bytes) == 0;
}

static bool is_access(const char *word, size_t bytes)
{
    return is_word(word, bytes, "RW") || is_word(word, bytes, "RDONLY") ||
           is_word(word, bytes, "NOACCESS");
}

/* RW 4192256 SPARSE "disk-s001.vmdk" [0].  1: no extent line, 0, -EINVAL. */
static int parse_extent(const char *line, struct extent_line *x)
{
    const char *p = line, *word;
    size_t bytes = next_word(&p, &word);
    char *end;

    *x = (struct extent_line){ .sectors = 0 };
    if (!is_access(word, bytes)) return 1;
    if (!isdigit((unsigned char)*p)) return -EINVAL;
    errno = 0;
    x->sectors = strtoull(p, &end, 10);
    if (errno != 0 || x->sectors > (uint64_t)INT64_MAX / 512 / 4)
        return -EINVAL;
    p = end + strspn(end, " \t");
    bytes = next_word(&p, &word);
    if (is_word(word, bytes, "ZERO")) {
        x->kind = VMDK_ZERO;
        return 0;
    }
    if (is_word(word, bytes, "SPARSE"))
        x->kind = VMDK_SPARSE;
    else if (is_word(word, bytes, "FLAT") || is_word(word, bytes, "VMFS"))
        x->kind = VMDK_FLAT;
    else
        return -ENOTSUP;
    if (*p++ != '"') return -EINVAL;
    bytes = strcspn(p, "\"");
    if (p[bytes] != '"' || bytes == 0 || bytes >= sizeof(x->name))
        return -EINVAL;
    memcpy(x->name, p, bytes);
    x->name[bytes] = '\0';
    p += bytes + 1;
    if (x->kind != VMDK_FLAT) return 0;
    x->offset_sectors = strtoull(p, NULL, 10);
    return x->offset_sectors > (uint64_t)INT64_MAX / 512 / 4 ? -EINVAL : 0;
}

/* The file of an extent, in the descriptor's folder. */
static int open_extent_file(const struct node *n, const char *name,
                            const struct node_options *o, struct node **out,
                            char *path, size_t cap, struct err *e)
{
    struct node_options here = { .is_readonly = true,
                                 .is_direct = o->is_direct,
                                 .is_unlocked = o->is_unlocked };
    const char *slash = strrchr(n->name, '/');
    int folder = slash != NULL ? (int)(slash - n->name) + 1 : 0;

    if (strchr(name, '/') != NULL || strcmp(name, "..") == 0)
        return err_set(e, -EPERM,
                       "%s: extent '%s' is not a file in the same folder",
                       n->name, name);
    if ((size_t)snprintf(path, cap, "%.*s%s", folder, n->name, name) >= cap)
        return err_set(e, -ENAMETOOLONG, "%s: name of extent is too long",
                       n->name);
    *out = NULL;
    if (o->is_no_backing) return 0;
    return node_open(&block_file, path, NULL, &here, out, e);
}

static int check_flat(const struct node *n, const struct vmdk_extent *x,
                      struct err *e)
{
    uint64_t size;

    if (x->file == NULL) return 0;
    size = x->file->size_bytes;
    if (x->flat_at <= size && x->bytes <= size - x->flat_at) return 0;
    return err_set(e, -EINVAL,
                   "%s: extent %s is shorter than the descriptor "
                   "says (truncated?)",
                   n->name, x->name);
}

static int add_extent(struct node *n, struct vmdk *v,
                      const struct extent_line *line,
                      const struct node_options *o, struct err *e)
{
    struct vmdk_extent *x;
    uint8_t h[512];
    int rc = 0;

    if (line->sectors == 0) return 0;
    if (v->count == VMDK_MAX_EXTENTS)
        return err_set(e, -E2BIG, "%s: more than %d extents", n->name,
                       VMDK_MAX_EXTENTS);
    x = realloc(v->extents, (v->count + 1) * sizeof(*x));
    if (x == NULL) return err_set(e, -ENOMEM, "out of memory");
    v->extents = x;
    x += v->count;
    *x = (struct vmdk_extent){ .kind = line->kind };
    if (line->kind != VMDK_ZERO)
        rc = open_extent_file(n, line->name, o, &x->file, x->name,
                              sizeof(x->name), e);
    if (rc < 0) return rc;
    v->count++; /* from here on the file is closed with the others */
    if (line->kind == VMDK_SPARSE && x->file != NULL)
        rc = vmdk_open_sparse(x->file, x, h, e);
    if (rc == 0 && line->kind == VMDK_SPARSE && x->file != NULL &&
        x->bytes < line->sectors * 512)
        rc = err_set(e, -EINVAL,
                     "%s: extent %s is smaller than the descriptor says",
                     n->name, x->name);
    x->start = n->size_bytes;
    x->bytes = line->sectors * 512;
    x->flat_at = line->offset_sectors * 512;
    if (rc == 0 && line->kind == VMDK_FLAT) rc = check_flat(n, x, e);
    if (rc == 0 && x->bytes > (uint64_t)INT64_MAX / 2 - n->size_bytes)
        rc = err_set(e, -EFBIG, "%s: VMDK disk is out of range", n->name);
    if (rc == 0) n->size_bytes += x->bytes;
    return rc;
}

static int set_parent(struct node *n, const char *value, struct err *e)
{
    char name[1024];

    copy_quoted(name, sizeof(name), value);
    if (name[0] == '\0') return 0;
    free(n->backing_file);
    free(n->backing_format);
    n->backing_file = strdup(name);
    n->backing_format = strdup("vmdk");
    if (n->backing_file == NULL || n->backing_format == NULL)
        return err_set(e, -ENOMEM, "out of memory");
    return 0;
}

static int parse_line(struct node *n, struct vmdk *v, const char *line,
                      bool is_inside, const struct node_options *o,
                      struct err *e)
{
    struct extent_line x;
    const char *value;
    int rc;

    if (is_key(line, "CID", &value)) {
        v->cid = (uint32_t)strtoul(value, NULL, 16);
    } else if (is_key(line, "parentCID", &value)) {
        v->parent_cid = (uint32_t)strtoul(value, NULL, 16);
    } else if (is_key(line, "createType", &value)) {
        copy_quoted(v->create_type, sizeof(v->create_type), value);
    } else if (is_key(line, "parentFileNameHint", &value)) {
        return set_parent(n, value, e);
    } else if (!is_inside) {
        rc = parse_extent(line, &x);
        if (rc < 0)
            return err_set(e, rc, "%s: VMDK extent not understood: %.80s",
                           n->name, line);
        if (rc == 0) return add_extent(n, v, &x, o, e);
    }
    return 0;
}

static int parse_text(struct node *n, struct vmdk *v, char *text,
                      bool is_inside, const struct node_options *o,
                      struct err *e)
{
    char *rest = text, *line;

    v->parent_cid = UINT32_MAX;
    while ((line = strsep(&rest, "\r\n")) != NULL) {
        int rc;

        line += strspn(line, " \t");
        if (*line == '#' || *line == '\0') continue;
        rc = parse_line(n, v, line, is_inside, o, e);
        if (rc < 0) return rc;
    }
    if (v->parent_cid == UINT32_MAX) { /* has no parent, whatever it hints */
        free(n->backing_file);
        free(n->backing_format);
        n->backing_file = n->backing_format = NULL;
    }
    if (v->count > 0) return 0;
    return err_set(e, -EINVAL, "%s: VMDK descriptor names no extents", n->name);
}

int vmdk_read_descriptor(struct node *n, struct vmdk *v, uint64_t at,
                         size_t bytes, bool is_inside,
                         const struct node_options *o, struct err *e)
{
    static const char magic[] = "# Disk DescriptorFile";
    char *text = calloc(1, bytes + 1);
    int rc;

    if (text == NULL) return err_set(e, -ENOMEM, "out of memory");
    rc = node_pread(n->child, at, text, bytes);
    v->is_described = !is_inside;
    if (rc < 0)
        err_set(e, rc, "%s: VMDK descriptor cannot be read: %s", n->name,
                strerror(-rc));
    else if (strncmp(text, magic, sizeof(magic) - 1) != 0)
        rc = err_set(e, -EINVAL, "%s: no VMDK image", n->name);
    else
        rc = parse_text(n, v, text, is_inside, o, e);
    free(text);
    return rc;
}
