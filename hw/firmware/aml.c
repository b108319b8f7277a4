/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "hw/firmware/aml.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ACPI 6.4, 20.3 "AML Byte Stream Byte Values" */
enum {
    OP_NAME = 0x08,
    OP_BYTE = 0x0a,
    OP_WORD = 0x0b,
    OP_DWORD = 0x0c,
    OP_STRING = 0x0d,
    OP_QWORD = 0x0e,
    OP_SCOPE = 0x10,
    OP_BUFFER = 0x11,
    OP_PACKAGE = 0x12,
    OP_METHOD = 0x14,
    OP_DUAL_NAME = 0x2e,
    OP_MULTI_NAME = 0x2f,
    OP_EXT = 0x5b,
    OP_EXT_REGION = 0x80,
    OP_EXT_FIELD = 0x81,
    OP_EXT_DEVICE = 0x82,
    OP_IF = 0xa0,
};

void aml_free(struct aml *a)
{
    free(a->data);
    *a = (struct aml){ 0 };
}

static bool grow(struct aml *a, size_t bytes)
{
    size_t cap = (a->bytes + bytes) * 2 + 256;
    uint8_t *p;

    if (a->status < 0) return false;
    if (a->bytes + bytes <= a->cap) return true;
    p = realloc(a->data, cap);
    if (p == NULL) {
        a->status = -ENOMEM;
        return false;
    }
    a->data = p;
    a->cap = cap;
    return true;
}

void aml_put(struct aml *a, const void *data, size_t bytes)
{
    if (!grow(a, bytes)) return;
    memcpy(a->data + a->bytes, data, bytes);
    a->bytes += bytes;
}

static void insert(struct aml *a, size_t at, const void *data, size_t bytes)
{
    if (!grow(a, bytes)) return;
    memmove(a->data + at + bytes, a->data + at, a->bytes - at);
    memcpy(a->data + at, data, bytes);
    a->bytes += bytes;
}

void aml_u8(struct aml *a, uint8_t v)
{
    aml_put(a, &v, sizeof(v));
}

void aml_u16(struct aml *a, uint16_t v)
{
    aml_put(a, &v, sizeof(v)); /* x86-64 hosts only: little-endian */
}

void aml_u32(struct aml *a, uint32_t v)
{
    aml_put(a, &v, sizeof(v));
}

void aml_u64(struct aml *a, uint64_t v)
{
    aml_put(a, &v, sizeof(v));
}

/* ---- names and data ---- */

static void put_segment(struct aml *a, const char *seg, size_t len)
{
    char name[4] = { '_', '_', '_', '_' };

    if (len == 0 || len > 4) {
        if (a->status == 0) a->status = -EINVAL;
        return;
    }
    memcpy(name, seg, len);
    aml_put(a, name, 4);
}

void aml_path(struct aml *a, const char *path)
{
    unsigned segments = 1;

    while (*path == '\\' || *path == '^') {
        aml_u8(a, (uint8_t)*path++);
    }
    if (*path == '\0') {
        aml_u8(a, 0);
        return;
    }
    for (const char *p = path; *p != '\0'; p++) {
        segments += *p == '.';
    }
    if (segments == 2) aml_u8(a, OP_DUAL_NAME);
    if (segments > 2) {
        aml_u8(a, OP_MULTI_NAME);
        aml_u8(a, (uint8_t)segments);
    }
    for (;;) {
        size_t len = strcspn(path, ".");

        put_segment(a, path, len);
        if (path[len] == '\0') break;
        path += len + 1;
    }
}

void aml_int(struct aml *a, uint64_t v)
{
    if (v <= 1) {
        aml_u8(a, (uint8_t)v); /* ZeroOp, OneOp */
    } else if (v <= UINT8_MAX) {
        aml_u8(a, OP_BYTE);
        aml_u8(a, (uint8_t)v);
    } else if (v <= UINT16_MAX) {
        aml_u8(a, OP_WORD);
        aml_u16(a, (uint16_t)v);
    } else if (v <= UINT32_MAX) {
        aml_u8(a, OP_DWORD);
        aml_u32(a, (uint32_t)v);
    } else {
        aml_u8(a, OP_QWORD);
        aml_u64(a, v);
    }
}

void aml_string(struct aml *a, const char *text)
{
    aml_u8(a, OP_STRING);
    aml_put(a, text, strlen(text) + 1);
}

/* 19.3.4: three letters of five bits, four hexadecimal digits, big-endian */
void aml_eisa_id(struct aml *a, const char *id)
{
    unsigned letters = (unsigned)(id[0] - 0x40) << 10 |
                       (unsigned)(id[1] - 0x40) << 5 | (unsigned)(id[2] - 0x40);
    unsigned product = (unsigned)strtoul(id + 3, NULL, 16);

    aml_u8(a, OP_DWORD);
    aml_u8(a, (uint8_t)(letters >> 8));
    aml_u8(a, (uint8_t)letters);
    aml_u8(a, (uint8_t)(product >> 8));
    aml_u8(a, (uint8_t)product);
}

void aml_name(struct aml *a, const char *path)
{
    aml_u8(a, OP_NAME);
    aml_path(a, path);
}

void aml_name_int(struct aml *a, const char *path, uint64_t v)
{
    aml_name(a, path);
    aml_int(a, v);
}

void aml_name_eisa(struct aml *a, const char *path, const char *id)
{
    aml_name(a, path);
    aml_eisa_id(a, id);
}

/* ---- packages ---- */

static void push(struct aml *a, bool is_buffer)
{
    if (a->depth == AML_MAX_DEPTH) {
        if (a->status == 0) a->status = -EINVAL;
        return;
    }
    a->open[a->depth].start = a->bytes;
    a->open[a->depth++].is_buffer = is_buffer;
}

/* 20.2.4: the length counts itself; one octet up to 63, else the low nibble
 * comes first and bits 7:6 tell how many octets follow. */
static unsigned package_length(size_t content, uint8_t out[4])
{
    unsigned more = 0;
    size_t total = content + 1;

    if (total > 63) {
        more = 1;
        while (content + 1 + more > ((size_t)1 << (4 + 8 * more)) - 1) {
            more++;
        }
        total = content + 1 + more;
        out[0] = (uint8_t)(more << 6 | (total & 0x0f));
        for (unsigned i = 0; i < more; i++) {
            out[1 + i] = (uint8_t)(total >> (4 + 8 * i));
        }
    } else {
        out[0] = (uint8_t)total;
    }
    return 1 + more;
}

void aml_close(struct aml *a)
{
    uint8_t length[4];
    size_t start;

    if (a->depth == 0) {
        if (a->status == 0) a->status = -EINVAL;
        return;
    }
    start = a->open[--a->depth].start;
    if (a->open[a->depth].is_buffer) {
        size_t n = a->bytes - start;
        uint8_t size[3] = { OP_WORD, (uint8_t)n, (uint8_t)(n >> 8) };

        insert(a, start, size, sizeof(size));
    }
    insert(a, start, length, package_length(a->bytes - start, length));
}

void aml_open_scope(struct aml *a, const char *path)
{
    aml_u8(a, OP_SCOPE);
    push(a, false);
    aml_path(a, path);
}

void aml_open_device(struct aml *a, const char *path)
{
    aml_u8(a, OP_EXT);
    aml_u8(a, OP_EXT_DEVICE);
    push(a, false);
    aml_path(a, path);
}

void aml_open_method(struct aml *a, const char *path, unsigned args,
                     bool is_serialized)
{
    aml_u8(a, OP_METHOD);
    push(a, false);
    aml_path(a, path);
    aml_u8(a, (uint8_t)((args & 7) | is_serialized << 3));
}

void aml_open_package(struct aml *a, unsigned elements)
{
    aml_u8(a, OP_PACKAGE);
    push(a, false);
    aml_u8(a, (uint8_t)elements);
}

void aml_open_if(struct aml *a)
{
    aml_u8(a, OP_IF);
    push(a, false);
}

void aml_open_template(struct aml *a)
{
    aml_u8(a, OP_BUFFER);
    push(a, true);
}

void aml_close_template(struct aml *a)
{
    aml_u16(a, 0x0079); /* end tag, checksum 0: none */
    aml_close(a);
}

void aml_open_field(struct aml *a, const char *region, unsigned flags)
{
    aml_u8(a, OP_EXT);
    aml_u8(a, OP_EXT_FIELD);
    push(a, false);
    aml_path(a, region);
    aml_u8(a, (uint8_t)flags);
}

void aml_field(struct aml *a, const char *name, unsigned bits)
{
    put_segment(a, name, strlen(name));
    aml_u8(a, (uint8_t)(bits & 0x3f));
}

void aml_region(struct aml *a, const char *name, unsigned space,
                uint64_t offset, uint64_t bytes)
{
    aml_u8(a, OP_EXT);
    aml_u8(a, OP_EXT_REGION);
    aml_path(a, name);
    aml_u8(a, (uint8_t)space);
    aml_int(a, offset);
    aml_int(a, bytes);
}

void aml_op(struct aml *a, enum aml_op op)
{
    aml_u8(a, (uint8_t)op);
}

/* ---- resource descriptors ---- */

void aml_res_io(struct aml *a, uint16_t port, uint8_t align, uint8_t ports)
{
    aml_u8(a, 0x47);
    aml_u8(a, 1); /* decodes 16 bits */
    aml_u16(a, port);
    aml_u16(a, port);
    aml_u8(a, align);
    aml_u8(a, ports);
}

void aml_res_irq(struct aml *a, unsigned irq)
{
    aml_u8(a, 0x22);
    aml_u16(a, (uint16_t)(1u << irq));
}

void aml_res_dma(struct aml *a, unsigned channel)
{
    aml_u8(a, 0x2a);
    aml_u8(a, (uint8_t)(1u << channel));
    aml_u8(a, 0); /* compatibility, no bus master, 8 bits */
}

void aml_res_interrupts(struct aml *a, const uint32_t *irq, unsigned count)
{
    aml_u8(a, 0x89);
    aml_u16(a, (uint16_t)(2 + 4 * count));
    aml_u8(a, 0x09); /* consumer, level, active high, shared */
    aml_u8(a, (uint8_t)count);
    for (unsigned i = 0; i < count; i++) {
        aml_u32(a, irq[i]);
    }
}

void aml_res_memory32(struct aml *a, uint32_t base, uint32_t bytes,
                      bool is_writable)
{
    aml_u8(a, 0x86);
    aml_u16(a, 9);
    aml_u8(a, is_writable);
    aml_u32(a, base);
    aml_u32(a, bytes);
}

enum { WINDOW_MEMORY = 0, WINDOW_IO = 1, WINDOW_BUS = 2, WINDOW_FIXED = 0x0c };

static void word_window(struct aml *a, unsigned type, unsigned flags,
                        unsigned first, unsigned last)
{
    aml_u8(a, 0x88);
    aml_u16(a, 13);
    aml_u8(a, (uint8_t)type);
    aml_u8(a, WINDOW_FIXED);
    aml_u8(a, (uint8_t)flags);
    aml_u16(a, 0);
    aml_u16(a, (uint16_t)first);
    aml_u16(a, (uint16_t)last);
    aml_u16(a, 0);
    aml_u16(a, (uint16_t)(last - first + 1));
}

void aml_res_bus_numbers(struct aml *a, unsigned first, unsigned last)
{
    word_window(a, WINDOW_BUS, 0, first, last);
}

void aml_res_io_window(struct aml *a, unsigned first, unsigned last)
{
    word_window(a, WINDOW_IO, 3, first, last); /* entire range */
}

void aml_res_memory_window(struct aml *a, uint64_t first, uint64_t last,
                           bool is_cacheable)
{
    bool is_64 = last > UINT32_MAX;
    uint64_t v[5] = { 0, first, last, 0, last - first + 1 };

    aml_u8(a, is_64 ? 0x8a : 0x87);
    aml_u16(a, is_64 ? 43 : 23);
    aml_u8(a, WINDOW_MEMORY);
    aml_u8(a, WINDOW_FIXED);
    aml_u8(a, (uint8_t)(1 | is_cacheable << 1)); /* read and write */
    for (unsigned i = 0; i < 5; i++) {
        if (is_64) {
            aml_u64(a, v[i]);
        } else {
            aml_u32(a, (uint32_t)v[i]);
        }
    }
}
