/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/host/vt.h"

#include <string.h>

#include "core/host/display.h"

enum { PLAIN_COLOUR = 7, TAB = 8 };

static void clear(struct vt *t, int row, int from, int to)
{
    for (int c = from; c < to; c++) {
        t->ch[row][c] = ' ';
        t->attr[row][c] = t->colour;
    }
}

void vt_reset(struct vt *t)
{
    *t = (struct vt){ .colour = PLAIN_COLOUR };
    for (int r = 0; r < VT_ROWS; r++)
        clear(t, r, 0, VT_COLS);
}

static void line_feed(struct vt *t)
{
    if (t->row + 1 < VT_ROWS) {
        t->row++;
        return;
    }
    memmove(t->ch[0], t->ch[1], sizeof(t->ch) - sizeof(t->ch[0]));
    memmove(t->attr[0], t->attr[1], sizeof(t->attr) - sizeof(t->attr[0]));
    clear(t, VT_ROWS - 1, 0, VT_COLS);
}

static void put(struct vt *t, uint8_t ch)
{
    if (t->col >= VT_COLS) {
        t->col = 0;
        line_feed(t);
    }
    t->ch[t->row][t->col] = ch;
    t->attr[t->row][t->col] = t->colour;
    t->col++;
}

/* Code page 437 has it, or a question mark. */
static uint8_t from_unicode(uint32_t c)
{
    for (unsigned i = 128; i < 256; i++) {
        if (display_cp437_to_unicode((uint8_t)i) == c) return (uint8_t)i;
    }
    return '?';
}

static void text(struct vt *t, uint8_t ch)
{
    if (t->utf8_left > 0 && (ch & 0xc0) == 0x80) {
        t->utf8 = t->utf8 << 6 | (ch & 63);
        if (--t->utf8_left == 0) put(t, from_unicode(t->utf8));
        return;
    }
    t->utf8_left = 0;
    if (ch < 0x80) {
        put(t, ch);
    } else if (ch >= 0xc2 && ch < 0xf5) {
        t->utf8_left = ch < 0xe0 ? 1 : ch < 0xf0 ? 2 : 3;
        t->utf8 = ch & (0x3fu >> t->utf8_left);
    } else {
        put(t, ch);
    }
}

/* ECMA-48 8.3.117: colours in its order, which is not VGA's. */
static void select_graphics(struct vt *t)
{
    static const uint8_t vga[8] = { 0, 4, 2, 6, 1, 5, 3, 7 };

    for (unsigned i = 0; i < t->args; i++) {
        unsigned a = t->arg[i];

        if (a == 0) t->colour = PLAIN_COLOUR;
        if (a == 1) t->colour |= 8;
        if (a == 22) t->colour &= 0xf7;
        if (a == 7) t->colour = (uint8_t)(t->colour << 4 | t->colour >> 4);
        if (a >= 30 && a <= 37) t->colour = (t->colour & 0xf8) | vga[a - 30];
        if (a >= 40 && a <= 47)
            t->colour = (t->colour & 0x0f) | (uint8_t)(vga[a - 40] << 4);
        if (a == 39) t->colour = (t->colour & 0xf8) | PLAIN_COLOUR;
        if (a == 49) t->colour &= 0x0f;
    }
}

static int limit(int v, int max)
{
    return v < 0 ? 0 : v > max ? max : v;
}

static void erase_line(struct vt *t, unsigned how)
{
    int col = limit(t->col, VT_COLS - 1);

    clear(t, t->row, how == 0 ? col : 0, how == 1 ? col + 1 : VT_COLS);
}

static void erase_screen(struct vt *t, unsigned how)
{
    erase_line(t, how);
    for (int r = 0; r < VT_ROWS; r++) {
        if (how >= 2 || (how == 0 ? r > t->row : r < t->row))
            clear(t, r, 0, VT_COLS);
    }
}

static void csi_end(struct vt *t, uint8_t ch)
{
    unsigned a0 = t->args > 0 ? t->arg[0] : 0;
    int n = a0 > 0 ? (int)a0 : 1;

    switch (ch) {
    case 'A': t->row = limit(t->row - n, VT_ROWS - 1); break;
    case 'B': t->row = limit(t->row + n, VT_ROWS - 1); break;
    case 'C': t->col = limit(t->col + n, VT_COLS - 1); break;
    case 'D': t->col = limit(t->col - n, VT_COLS - 1); break;
    case 'G': t->col = limit(n - 1, VT_COLS - 1); break;
    case 'H':
    case 'f':
        t->row = limit(n - 1, VT_ROWS - 1);
        n = t->args > 1 && t->arg[1] > 0 ? (int)t->arg[1] : 1;
        t->col = limit(n - 1, VT_COLS - 1);
        break;
    case 'J': erase_screen(t, a0); break;
    case 'K': erase_line(t, a0); break;
    case 'm': select_graphics(t); break;
    default: break;
    }
}

static void csi(struct vt *t, uint8_t ch)
{
    if (ch >= '0' && ch <= '9') {
        unsigned *a = &t->arg[t->args - 1];
        *a = *a > 999 ? 999 : *a * 10 + ch - '0';
    } else if (ch == ';') {
        if (t->args < VT_ARGS) t->arg[t->args++] = 0;
    } else if (ch >= 0x40 && ch <= 0x7e) {
        t->state = VT_PLAIN;
        csi_end(t, ch);
    } else if (ch < 32) {
        t->state = VT_PLAIN;
    }
}

static void control(struct vt *t, uint8_t ch)
{
    switch (ch) {
    case '\r': t->col = 0; break;
    case '\n':
    case '\v':
    case '\f': line_feed(t); break;
    case '\b':
        if (t->col > 0) t->col = limit(t->col, VT_COLS) - 1;
        break;
    case '\t': t->col = limit((t->col / TAB + 1) * TAB, VT_COLS - 1); break;
    case 27: t->state = VT_ESCAPE; break;
    default: break;
    }
}

static void one(struct vt *t, uint8_t ch)
{
    switch (t->state) {
    case VT_ESCAPE:
        t->state = ch == '['                             ? VT_CSI
                   : ch == '(' || ch == ')' || ch == '#' ? VT_SKIP
                                                         : VT_PLAIN;
        t->args = 1;
        t->arg[0] = 0;
        if (ch == 'c') vt_reset(t);
        break;
    case VT_SKIP: t->state = VT_PLAIN; break;
    case VT_CSI: csi(t, ch); break;
    default:
        if (ch < 32 || ch == 127) {
            control(t, ch);
        } else {
            text(t, ch);
        }
    }
}

void vt_write(struct vt *t, const uint8_t *buf, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        one(t, buf[i]);
}
