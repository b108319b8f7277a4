/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Packets of the remote serial protocol: $data#cc, } escapes one octet
 * (xor 0x20), the checksum is over what was sent.  What lies between packets
 * is an acknowledgement, Ctrl-C, or nothing.
 */
#include "monitor/gdb_int.h"

static void take(struct gdb_reader *r, uint8_t b)
{
    if (r->bytes == GDB_PACKET_MAX) {
        r->is_bad = true;
        return;
    }
    r->data[r->bytes++] = b;
}

static enum gdb_event between(struct gdb_reader *r, uint8_t b)
{
    switch (b) {
    case '$':
        r->state = READ_DATA;
        r->bytes = 0;
        r->sum = 0;
        r->is_bad = false;
        return GDB_NOTHING;
    case 3: return GDB_BREAK;
    case '+': return GDB_ACK;
    case '-': return GDB_NAK;
    default: return GDB_NOTHING;
    }
}

static enum gdb_event finish(struct gdb_reader *r, uint8_t b)
{
    int low = gdb_hex_digit(b);

    r->state = READ_IDLE;
    if (low < 0 || r->is_bad || (uint8_t)(r->given << 4 | low) != r->sum) {
        return GDB_DAMAGED;
    }
    r->data[r->bytes] = '\0';
    return GDB_PACKET;
}

enum gdb_event gdb_reader_feed(struct gdb_reader *r, uint8_t b)
{
    int digit;

    switch (r->state) {
    case READ_IDLE: return between(r, b);
    case READ_SUM1:
        digit = gdb_hex_digit(b);
        if (digit < 0) r->is_bad = true;
        r->given = (uint8_t)(digit & 15);
        r->state = READ_SUM2;
        return GDB_NOTHING;
    case READ_SUM2: return finish(r, b);
    case READ_ESCAPED:
        r->sum += b;
        take(r, b ^ 0x20);
        r->state = READ_DATA;
        return GDB_NOTHING;
    case READ_DATA: break;
    }
    if (b == '$') return between(r, b); /* the one before was cut off */
    if (b == '#') {
        r->state = READ_SUM1;
        return GDB_NOTHING;
    }
    r->sum += b;
    if (b == '}') {
        r->state = READ_ESCAPED;
    } else {
        take(r, b);
    }
    return GDB_NOTHING;
}

void gdb_frame(FILE *out, const void *data, size_t bytes)
{
    const uint8_t *p = data;
    uint8_t sum = 0;

    fputc('$', out);
    for (size_t i = 0; i < bytes; i++) {
        uint8_t b = p[i];

        if (b == '$' || b == '#' || b == '}' || b == '*') {
            fputc('}', out);
            sum += '}';
            b ^= 0x20;
        }
        fputc(b, out);
        sum += b;
    }
    fprintf(out, "#%02x", sum);
}

int gdb_hex_digit(int c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

void gdb_put_hex(FILE *out, const void *data, size_t bytes)
{
    const uint8_t *p = data;

    for (size_t i = 0; i < bytes; i++)
        fprintf(out, "%02x", p[i]);
}

size_t gdb_get_hex(const char **at, uint8_t *out, size_t cap)
{
    size_t n = 0;

    while (n < cap) {
        int high = gdb_hex_digit((*at)[0]);
        int low = high < 0 ? -1 : gdb_hex_digit((*at)[1]);

        if (low < 0) break;
        out[n++] = (uint8_t)(high << 4 | low);
        *at += 2;
    }
    return n;
}

bool gdb_get_number(const char **at, uint64_t *out)
{
    uint64_t v = 0;
    unsigned n = 0;
    int digit;

    while ((digit = gdb_hex_digit((*at)[n])) >= 0) {
        if (v >> 60 != 0) return false;
        v = v << 4 | (unsigned)digit;
        n++;
    }
    *at += n;
    *out = v;
    return n > 0;
}
