/* SPDX-License-Identifier: GPL-2.0-or-later */
/* img map: where the data of an image lie. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "block/img/img.h"

struct row {
    uint64_t start, bytes, file_offset;
    unsigned depth;
    bool is_present, is_zero, is_data, has_offset;
    const struct node *node;
};

struct map {
    bool is_json, is_first;
    struct row held; /* grows while what follows is alike; bytes 0: none */
};

static struct row row_of(uint64_t start, const struct img_extent *x)
{
    bool is_data = x->e.flags & EXTENT_DATA;

    return (struct row){
        .start = start,
        .bytes = x->e.bytes,
        .file_offset = x->e.file_offset,
        .depth = x->depth,
        .is_present = x->is_present,
        .is_zero = x->e.flags & EXTENT_ZERO,
        .is_data = is_data,
        .has_offset = x->e.flags & EXTENT_OFFSET,
        .node = x->node,
    };
}

static bool is_same(const struct row *a, const struct row *b)
{
    return a->depth == b->depth && a->is_present == b->is_present &&
           a->is_zero == b->is_zero && a->is_data == b->is_data &&
           a->has_offset == b->has_offset && a->node == b->node &&
           (!a->has_offset || a->file_offset + a->bytes == b->file_offset);
}

/* Two text columns of hexadecimal numbers look like C's "%#x", zero bare. */
static int print_text(const struct row *r)
{
    if (!r->is_data || r->is_zero) return 0;
    if (!r->has_offset) {
        img_error("File contains external, encrypted or compressed clusters.");
        return -1;
    }
    printf("%#-16llx%#-16llx%#-16llx%s\n", (unsigned long long)r->start,
           (unsigned long long)r->bytes, (unsigned long long)r->file_offset,
           r->node->data_name != NULL ? r->node->data_name : r->node->name);
    return 0;
}

static int print_json(struct map *p, const struct row *r)
{
    fputs(p->is_first ? "[" : ",\n", stdout);
    p->is_first = false;
    printf("{ \"start\": %llu, \"length\": %llu, \"depth\": %u, \"present\": "
           "%s, \"zero\": %s, \"data\": %s",
           (unsigned long long)r->start, (unsigned long long)r->bytes, r->depth,
           r->is_present ? "true" : "false", r->is_zero ? "true" : "false",
           r->is_data ? "true" : "false");
    if (r->has_offset)
        printf(", \"offset\": %llu", (unsigned long long)r->file_offset);
    putchar('}');
    return 0;
}

static int flush_row(struct map *p)
{
    if (p->held.bytes == 0) return 0;
    return p->is_json ? print_json(p, &p->held) : print_text(&p->held);
}

static int walk(struct node *n, struct map *p, uint64_t at, uint64_t end)
{
    while (at < end) {
        struct img_extent x;
        struct row r;
        int rc = img_status(n, NULL, at, end - at, &x);

        if (rc < 0) {
            img_error("Failed to read image metadata: %s", strerror(-rc));
            return rc;
        }
        r = row_of(at, &x);
        if (p->held.bytes != 0 && is_same(&p->held, &r)) {
            p->held.bytes += r.bytes;
        } else {
            if (flush_row(p) < 0) return -EINVAL;
            p->held = r;
        }
        at += x.e.bytes;
    }
    return flush_row(p) < 0 ? -EINVAL : 0;
}

int img_map(struct img *m)
{
    struct map p = { .is_first = true };
    uint64_t start, length, end;
    struct node *n;
    int rc;

    if (img_get_output(m, &p.is_json) < 0 ||
        img_get_size(m, 's', "start offset", 0, &start) < 0 ||
        img_get_size(m, 'l', "max length", INT64_MAX, &length) < 0)
        return 1;
    if (m->operand_count != 1)
        return img_usage_error("Expecting one image file name");
    if (img_open(m, m->operands[0], img_get(m, 'f'), NULL, img_flags(m), &n) <
        0)
        return 1;
    end = n->size_bytes;
    if (start < end && length < end - start) end = start + length;
    if (!p.is_json)
        printf("%-16s%-16s%-16s%s\n", "Offset", "Length", "Mapped to", "File");
    p.held.start = start;
    if (p.is_json && start >= end) print_json(&p, &p.held);
    rc = walk(n, &p, start, end);
    if (p.is_json && rc == 0) puts("]");
    node_unref(n);
    return rc < 0 ? 1 : 0;
}
