/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Flat view: regions are visited from the highest priority down, and each leaf
 * gets only those addresses of its window that nobody has taken yet.
 */
#include "core/vm/mem_flat.h"

#include <stdlib.h>
#include <string.h>

#include "core/vm/vm_private.h"

enum { MAX_DEPTH = 16 };

struct builder {
    struct mem_frag *frag; /* sorted by start */
    size_t count, cap;
    bool is_failed;
};

/* Window of guest-physical addresses, end exclusive. */
struct window {
    uint64_t start, end;
};

static void insert(struct builder *b, size_t at, const struct mem_frag *f)
{
    if (b->count == b->cap) {
        size_t cap = b->cap * 2 + 16;
        struct mem_frag *p = realloc(b->frag, cap * sizeof(*p));

        if (p == NULL) {
            b->is_failed = true;
            return;
        }
        b->frag = p;
        b->cap = cap;
    }
    memmove(&b->frag[at + 1], &b->frag[at],
            (b->count - at) * sizeof(b->frag[0]));
    b->frag[at] = *f;
    b->count++;
}

static struct mem_frag piece_of(const struct mem_region *r, uint64_t base,
                                struct window w, bool is_readonly)
{
    uint64_t off = w.start - base;

    return (struct mem_frag){
        .start = w.start,
        .size = w.end - w.start,
        .host = r->host != NULL ? r->host + off : NULL,
        .can_write = r->kind == MEM_RAM && !is_readonly && !r->is_readonly,
        .ops = r->ops,
        .arg = r->arg,
        .region_offset = off,
        .region = (struct mem_region *)r,
    };
}

/* Give leaf r, whose offset 0 is at base, the free parts of w. */
static void add_leaf(struct builder *b, const struct mem_region *r,
                     uint64_t base, struct window w, bool is_readonly)
{
    size_t i = 0;

    while (w.start < w.end && !b->is_failed) {
        struct window gap = w;
        struct mem_frag f;

        while (i < b->count && b->frag[i].start + b->frag[i].size <= w.start) {
            i++;
        }
        if (i < b->count && b->frag[i].start <= w.start) {
            w.start = b->frag[i].start + b->frag[i].size;
            continue;
        }
        if (i < b->count && b->frag[i].start < gap.end) {
            gap.end = b->frag[i].start;
        }
        f = piece_of(r, base, gap, is_readonly);
        insert(b, i, &f);
        w.start = gap.end;
    }
}

static void render(struct builder *b, const struct mem_region *r, uint64_t base,
                   struct window w, bool is_readonly, unsigned depth)
{
    uint64_t end = base + r->size;

    if (!r->is_enabled || depth > MAX_DEPTH) return;
    if (w.start < base) w.start = base;
    if (w.end > end) w.end = end;
    if (w.start >= w.end) return;
    is_readonly |= r->is_readonly;
    switch (r->kind) {
    case MEM_CONTAINER:
        for (const struct mem_region *c = r->first_child; c != NULL;
             c = c->next_sibling) {
            render(b, c, base + c->offset, w, is_readonly, depth + 1);
        }
        break;
    case MEM_ALIAS:
        /* Wraps below zero for windows into the middle: the unsigned sums
         * inside come out right, only the clip above would not. */
        if (r->target->kind == MEM_CONTAINER) {
            if (base < r->target_offset) return;
            render(b, r->target, base - r->target_offset, w, is_readonly,
                   depth + 1);
        } else {
            uint64_t room = r->target->size - r->target_offset;

            if (r->target_offset >= r->target->size) return;
            if (w.end - base > room) w.end = base + room;
            if (w.start >= w.end) return;
            add_leaf(b, r->target, base - r->target_offset, w, is_readonly);
        }
        break;
    default: add_leaf(b, r, base, w, is_readonly);
    }
}

/* Join neighbours that continue each other. */
static void merge(struct builder *b)
{
    size_t n = 0;

    for (size_t i = 0; i < b->count; i++) {
        struct mem_frag *f = &b->frag[i];
        struct mem_frag *p = n > 0 ? &b->frag[n - 1] : NULL;

        if (p != NULL && p->region == f->region &&
            p->start + p->size == f->start && p->can_write == f->can_write &&
            p->region_offset + p->size == f->region_offset) {
            p->size += f->size;
        } else {
            b->frag[n++] = *f;
        }
    }
    b->count = n;
}

struct flat_view *flat_build(const struct mem_region *root)
{
    struct builder b = { 0 };
    struct flat_view *v = calloc(1, sizeof(*v));

    if (v == NULL) return NULL;
    render(&b, root, 0, (struct window){ 0, root->size }, false, 0);
    if (b.is_failed) {
        free(b.frag);
        free(v);
        return NULL;
    }
    merge(&b);
    v->frag = b.frag;
    v->count = b.count;
    return v;
}

void flat_free(struct flat_view *v)
{
    if (v == NULL) return;
    free(v->frag);
    free(v);
}
