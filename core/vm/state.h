/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_VM_STATE_H
#define ORRERY_VM_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/err.h"

/*
 * State tables: named fields with ranges.  The key goes into the stream, so
 * order does not matter; unknown keys fail; missing keys keep their reset
 * values; max is enforced on load because a snapshot is hostile input.
 *
 *   static const struct field uart_state[] = {
 *       U8(uart, lcr),
 *       U8_MAX(uart, ier, 0x0f),
 *       U8_ARRAY(uart, rx),
 *       STRUCT_ARRAY(pit, ch, pit_channel_state),
 *       STATE_END
 *   };
 */
enum field_type {
    FIELD_END,
    FIELD_UINT, /* bytes = 1, 2, 4, 8 */
    FIELD_BOOL,
    FIELD_BYTES,  /* raw octets */
    FIELD_STRUCT, /* sub table */
    FIELD_PTR,    /* octets behind a pointer field (VRAM) */
};

struct field {
    const char *key;
    enum field_type type;
    uint32_t offset;
    uint32_t bytes; /* of one element */
    uint32_t count; /* elements, 1 if not an array */
    uint64_t max;   /* UINT: largest value accepted */
    unsigned since; /* version that introduced it */
    const struct field *sub;
};

#define FIELD_(t, f, ty, n, mx, sv, sb)                                       \
    {                                                                         \
        .key = #f, .type = ty, .offset = offsetof(struct t, f),               \
        .bytes = sizeof(((struct t *)0)->f) / (n), .count = (n), .max = (mx), \
        .since = (sv), .sub = (sb)                                            \
    }
#define FIELD_LEN_(t, f) \
    (sizeof(((struct t *)0)->f) / sizeof(((struct t *)0)->f[0]))
#define U8(t, f)           FIELD_(t, f, FIELD_UINT, 1, UINT8_MAX, 0, NULL)
#define U16(t, f)          FIELD_(t, f, FIELD_UINT, 1, UINT16_MAX, 0, NULL)
#define U32(t, f)          FIELD_(t, f, FIELD_UINT, 1, UINT32_MAX, 0, NULL)
#define U64(t, f)          FIELD_(t, f, FIELD_UINT, 1, UINT64_MAX, 0, NULL)
#define U8_MAX(t, f, m)    FIELD_(t, f, FIELD_UINT, 1, m, 0, NULL)
#define U16_MAX(t, f, m)   FIELD_(t, f, FIELD_UINT, 1, m, 0, NULL)
#define U32_MAX(t, f, m)   FIELD_(t, f, FIELD_UINT, 1, m, 0, NULL)
#define U64_MAX(t, f, m)   FIELD_(t, f, FIELD_UINT, 1, m, 0, NULL)
#define BOOL(t, f)         FIELD_(t, f, FIELD_BOOL, 1, 1, 0, NULL)
#define U64_SINCE(t, f, v) FIELD_(t, f, FIELD_UINT, 1, UINT64_MAX, v, NULL)
/* Arrays of unsigned integers; m = largest element. */
#define UINT_ARRAY(t, f, m) \
    FIELD_(t, f, FIELD_UINT, FIELD_LEN_(t, f), m, 0, NULL)
#define BOOL_ARRAY(t, f)    FIELD_(t, f, FIELD_BOOL, FIELD_LEN_(t, f), 1, 0, NULL)
#define BYTES(t, f)         FIELD_(t, f, FIELD_BYTES, 1, 0, 0, NULL)
#define STRUCT(t, f, table) FIELD_(t, f, FIELD_STRUCT, 1, 0, 0, table)
#define STRUCT_ARRAY(t, f, table) \
    FIELD_(t, f, FIELD_STRUCT, FIELD_LEN_(t, f), 0, 0, table)
/* n octets behind pointer field f. */
#define PTR_BYTES(t, f, n)                                             \
    {                                                                  \
        .key = #f, .type = FIELD_PTR, .offset = offsetof(struct t, f), \
        .bytes = (n), .count = 1                                       \
    }
#define STATE_END                      \
    {                                  \
        .key = NULL, .type = FIELD_END \
    }

/* Growing byte buffer for saving. */
struct state_out {
    uint8_t *data;
    size_t bytes, cap;
    int status; /* sticky: 0 or -ENOMEM */
};

/* Append raw octets; errors stick in status. */
void state_append(struct state_out *out, const void *data, size_t bytes);

/* Append the fields of object o to out as one record. */
int state_save(struct state_out *out, const struct field *table, const void *o);
void state_out_free(struct state_out *out);

/* Load a record made by state_save into o.  Checks everything before storing
 * each field.  Errors: -EINVAL naming the key. */
int state_load(const uint8_t *data, size_t bytes, const struct field *table,
               void *o, struct err *e);

#endif
