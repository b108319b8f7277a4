/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Record layout, little-endian: for each field u8 key length, key, u8 type,
 * u32 payload octets, payload.  Arrays of integers are stored element after
 * element; a struct field's payload is, per element, u32 octets and a nested
 * record.  Of memory behind a pointer only what is not zero is there: runs of
 * u32 offset, u32 octets, octets, in order.  Nothing in the stream is a pointer
 * or an offset into the host's memory.
 */
#include "core/vm/state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_DEPTH = 8, BLOCK_BYTES = 4096 };

void state_append(struct state_out *o, const void *data, size_t bytes)
{
    if (o->status < 0 || bytes == 0) return;
    if (o->bytes + bytes > o->cap) {
        size_t cap = (o->bytes + bytes) * 2 + 256;
        uint8_t *p = realloc(o->data, cap);

        if (p == NULL) {
            o->status = -ENOMEM;
            return;
        }
        o->data = p;
        o->cap = cap;
    }
    memcpy(o->data + o->bytes, data, bytes);
    o->bytes += bytes;
}

static void put_u32(struct state_out *o, uint32_t v)
{
    state_append(o, &v, sizeof(v)); /* x86-64 hosts only: little-endian */
}

static void set_u32(struct state_out *o, size_t at, uint32_t v)
{
    if (o->status == 0) memcpy(o->data + at, &v, sizeof(v));
}

static const uint8_t *field_data(const struct field *f, const void *obj)
{
    const uint8_t *p = (const uint8_t *)obj + f->offset;

    return f->type == FIELD_PTR ? *(uint8_t *const *)(const void *)p : p;
}

static bool is_zero(const uint8_t *p, size_t bytes)
{
    return bytes == 0 || (p[0] == 0 && memcmp(p, p + 1, bytes - 1) == 0);
}

static size_t block_at(size_t at, size_t bytes)
{
    return bytes - at < BLOCK_BYTES ? bytes - at : BLOCK_BYTES;
}

static void save_sparse(struct state_out *o, const uint8_t *p, size_t bytes)
{
    for (size_t at = 0, end; at < bytes; at = end) {
        uint32_t head[2];

        end = at + block_at(at, bytes);
        if (is_zero(p + at, end - at)) continue;
        while (end < bytes && !is_zero(p + end, block_at(end, bytes)))
            end += block_at(end, bytes);
        head[0] = (uint32_t)at;
        head[1] = (uint32_t)(end - at);
        state_append(o, head, sizeof(head));
        state_append(o, p + at, end - at);
    }
}

int state_save(struct state_out *o, const struct field *table, const void *obj)
{
    for (const struct field *f = table; f->type != FIELD_END; f++) {
        const uint8_t *p = field_data(f, obj);
        uint8_t klen = (uint8_t)strlen(f->key), type = (uint8_t)f->type;
        size_t at;

        state_append(o, &klen, 1);
        state_append(o, f->key, klen);
        state_append(o, &type, 1);
        at = o->bytes;
        put_u32(o, 0);
        if (f->type == FIELD_PTR) {
            save_sparse(o, p, f->bytes);
        } else if (f->type != FIELD_STRUCT) {
            state_append(o, p, (size_t)f->bytes * f->count);
        } else {
            for (uint32_t i = 0; i < f->count; i++) {
                size_t sub = o->bytes;

                put_u32(o, 0);
                state_save(o, f->sub, p + (size_t)i * f->bytes);
                set_u32(o, sub, (uint32_t)(o->bytes - sub - 4));
            }
        }
        set_u32(o, at, (uint32_t)(o->bytes - at - 4));
    }
    return o->status;
}

void state_out_free(struct state_out *o)
{
    free(o->data);
    *o = (struct state_out){ 0 };
}

static uint64_t get_uint(const uint8_t *p, uint32_t bytes)
{
    uint64_t v = 0;

    memcpy(&v, p, bytes <= 8 ? bytes : 8);
    return v;
}

static int load_record(const uint8_t *data, size_t bytes,
                       const struct field *table, void *obj, unsigned depth,
                       struct err *e);

static int load_structs(const uint8_t *p, size_t bytes, const struct field *f,
                        uint8_t *to, unsigned depth, struct err *e)
{
    for (uint32_t i = 0; i < f->count; i++) {
        uint32_t n;
        int rc;

        if (bytes < 4) goto cut;
        memcpy(&n, p, 4);
        if (n > bytes - 4) goto cut;
        rc = load_record(p + 4, n, f->sub, to + (size_t)i * f->bytes, depth + 1,
                         e);
        if (rc < 0) return rc;
        p += 4 + n;
        bytes -= 4 + n;
    }
    if (bytes == 0) return 0;
cut:
    return err_set(e, -EINVAL, "field %s has the wrong length", f->key);
}

/* Memory nobody used stays unused. */
static void clear(uint8_t *to, size_t bytes)
{
    for (size_t at = 0; at < bytes; at += block_at(at, bytes)) {
        if (!is_zero(to + at, block_at(at, bytes)))
            memset(to + at, 0, block_at(at, bytes));
    }
}

/* The next run at p: its octets are behind it and come after those before. */
static bool run_at(const uint8_t *p, size_t left, size_t min, size_t max,
                   uint32_t run[2])
{
    if (left < 2 * sizeof(*run)) return false;
    memcpy(run, p, 2 * sizeof(*run));
    return run[1] <= left - 2 * sizeof(*run) && run[0] >= min &&
           run[0] <= max && run[1] <= max - run[0];
}

static int load_sparse(const uint8_t *p, size_t bytes, const struct field *f,
                       uint8_t *to, struct err *e)
{
    const uint8_t *end = p + bytes;
    size_t at = 0;
    uint32_t run[2];

    for (const uint8_t *q = p; q < end; q += sizeof(run) + run[1]) {
        if (!run_at(q, (size_t)(end - q), at, f->bytes, run))
            return err_set(e, -EINVAL, "field %s has the wrong length", f->key);
        at = run[0] + (size_t)run[1];
    }
    for (at = 0; p < end; p += sizeof(run) + run[1]) {
        memcpy(run, p, sizeof(run));
        clear(to + at, run[0] - at);
        memcpy(to + run[0], p + sizeof(run), run[1]);
        at = run[0] + (size_t)run[1];
    }
    clear(to + at, f->bytes - at);
    return 0;
}

static int load_field(const uint8_t *p, size_t bytes, const struct field *f,
                      void *obj, unsigned depth, struct err *e)
{
    uint8_t *to = (uint8_t *)obj + f->offset;

    if (f->type == FIELD_STRUCT) {
        return load_structs(p, bytes, f, to, depth, e);
    }
    if (f->type == FIELD_PTR)
        return load_sparse(p, bytes, f, *(uint8_t **)(void *)to, e);
    if (bytes != (size_t)f->bytes * f->count) {
        return err_set(e, -EINVAL, "field %s has the wrong length", f->key);
    }
    if (f->type == FIELD_UINT || f->type == FIELD_BOOL) {
        for (uint32_t i = 0; i < f->count; i++) {
            uint64_t v = get_uint(p + (size_t)i * f->bytes, f->bytes);

            if (v > f->max) {
                return err_set(e, -EINVAL, "field %s is %llu, more than %llu",
                               f->key, (unsigned long long)v,
                               (unsigned long long)f->max);
            }
        }
    }
    memcpy(to, p, bytes);
    return 0;
}

static const struct field *find_field(const struct field *table,
                                      const uint8_t *key, size_t len)
{
    for (const struct field *f = table; f->type != FIELD_END; f++) {
        if (strlen(f->key) == len && memcmp(f->key, key, len) == 0) return f;
    }
    return NULL;
}

static int load_record(const uint8_t *data, size_t bytes,
                       const struct field *table, void *obj, unsigned depth,
                       struct err *e)
{
    if (depth > MAX_DEPTH) return err_set(e, -EINVAL, "nested too deep");
    while (bytes > 0) {
        size_t klen = data[0];
        const struct field *f;
        uint32_t n;
        int rc;

        if (bytes < 1 + klen + 5) goto cut;
        memcpy(&n, data + 1 + klen + 1, 4);
        if (n > bytes - klen - 6) goto cut;
        f = find_field(table, data + 1, klen);
        if (f == NULL || data[1 + klen] != (uint8_t)f->type) {
            return err_set(e, -EINVAL, "unknown field %.*s", (int)klen,
                           (const char *)data + 1);
        }
        rc = load_field(data + klen + 6, n, f, obj, depth, e);
        if (rc < 0) return rc;
        data += klen + 6 + n;
        bytes -= klen + 6 + n;
    }
    return 0;
cut:
    return err_set(e, -EINVAL, "state record is cut short");
}

int state_load(const uint8_t *data, size_t bytes, const struct field *table,
               void *obj, struct err *e)
{
    return load_record(data, bytes, table, obj, 0, e);
}
