/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * VGA text modes: the text screen told to the display, and its dots.  Source:
 * FreeVGA ("VGA Text Mode Operation").
 */
#include <string.h>

#include "hw/video/vga_draw.h"

int vga_char_width(const struct vga *v)
{
    return v->sr[1] & SR1_8_DOTS ? 8 : 9;
}

/* SR3: fonts A (attribute bit 3 set) and B; offset in plane 2 */
static uint32_t font_offset(const struct vga *v, bool is_a)
{
    unsigned s = v->sr[3];
    unsigned n = is_a ? (s >> 2 & 3) | (s >> 3 & 4) : (s & 3) | (s >> 2 & 4);

    return (n & 3) * 0x4000 + (n >> 2) * 0x2000;
}

bool vga_fonts_changed(struct vga *v)
{
    bool changed = false;
    uint8_t *old = v->cache.fonts;

    for (unsigned font = 0; font < 2; font++) {
        uint32_t offset = font_offset(v, font != 0);
        for (uint32_t i = 0; i < 256 * 32; i++, old++) {
            uint8_t x = *vga_vram(v, (offset + i) * 4 + 2);
            changed |= *old != x;
            *old = x;
        }
    }
    return changed;
}

static uint64_t hash_bytes(uint64_t h, const void *p, size_t bytes)
{
    const uint8_t *b = p;

    for (size_t i = 0; i < bytes; i++)
        h = (h ^ b[i]) * 0x100000001b3u;
    return h;
}

bool vga_registers_changed(struct vga *v, unsigned phase)
{
    uint64_t h = hash_bytes(0xcbf29ce484222325u, v->cr, sizeof(v->cr));

    h = hash_bytes(h, v->sr, sizeof(v->sr));
    h = hash_bytes(h, v->ar, sizeof(v->ar));
    h = hash_bytes(h, v->colour, sizeof(v->colour));
    h = hash_bytes(h, &phase, sizeof(phase));
    if (h == v->cache.hash) return false;
    v->cache.hash = h;
    return true;
}

static bool is_cursor_on(const struct vga *v)
{
    unsigned first = v->cr[0x0a] & 0x1f, last = v->cr[0x0b] & 0x1f;

    return (v->cr[0x0a] & CR0A_CURSOR_OFF) == 0 && first <= last &&
           first <= (v->cr[9] & 0x1fu);
}

static uint32_t cursor_address(const struct vga *v)
{
    return (uint32_t)v->cr[0x0e] << 8 | v->cr[0x0f];
}

/* One row into the text screen; true if anything changed. */
static bool read_text_row(struct vga *v, struct text_screen *t, int row,
                          uint32_t base)
{
    uint32_t cursor = cursor_address(v);
    bool changed = false;

    for (int col = 0; col < t->cols; col++) {
        uint32_t counter = (base + (uint32_t)col) & 0xffff;
        const uint8_t *m = vga_vram(v, vga_plane_offset(v, counter, 0) * 4);
        changed |= t->ch[row][col] != m[0] || t->attr[row][col] != m[1];
        t->ch[row][col] = m[0];
        t->attr[row][col] = m[1];
        if (counter == cursor && is_cursor_on(v)) {
            t->cursor_col = col;
            t->cursor_row = row;
        }
    }
    return changed;
}

bool vga_read_text(struct vga *v, struct text_screen *t)
{
    int lines = vga_shown_lines(v), rows = 0, cols = vga_shown_columns(v);
    bool changed = !t->is_text || t->cols != cols;
    struct vga_scan n;

    t->is_text = true;
    t->cols = cols < TEXT_MAX_COLS ? cols : TEXT_MAX_COLS;
    t->cursor_col = t->cursor_row = -1;
    t->has_blink = (v->ar[0x10] & AR10_BLINK) != 0;
    memcpy(t->palette, v->colour, sizeof(t->palette));
    vga_scan_init(v, &n);
    for (int y = 0; y < lines; y++) {
        if (n.is_new_row && rows < TEXT_MAX_ROWS)
            changed |= read_text_row(v, t, rows, n.base);
        if (n.is_new_row) rows++;
        vga_scan_next(&n, (unsigned)y);
    }
    if (rows > TEXT_MAX_ROWS) {
        rows = TEXT_MAX_ROWS;
        changed = true; /* there are rows we did not look at */
    }
    changed |= t->rows != rows;
    t->rows = rows;
    return changed;
}

void vga_clear_text(struct text_screen *t, int cols, int rows)
{
    t->is_text = true;
    t->cols = cols < TEXT_MAX_COLS ? cols : TEXT_MAX_COLS;
    t->rows = rows < TEXT_MAX_ROWS ? rows : TEXT_MAX_ROWS;
    t->cursor_col = t->cursor_row = -1;
    memset(t->ch, ' ', sizeof(t->ch));
    memset(t->attr, 0, sizeof(t->attr));
}

/* The dots of one line of one character. */
static void draw_cell(const struct vga *v, uint32_t *px, const uint8_t cell[2],
                      unsigned row_scan, bool has_cursor, bool is_blink_off)
{
    uint8_t ch = cell[0], attr = cell[1];
    uint32_t glyph = font_offset(v, (attr & 8) != 0) + ch * 32u + row_scan;
    uint8_t bits = *vga_vram((struct vga *)v, glyph * 4 + 2);
    uint32_t fg = v->colour[attr & 15], bg;

    if (v->ar[0x10] & AR10_BLINK) {
        bg = v->colour[attr >> 4 & 7];
        if ((attr & 0x80) != 0 && is_blink_off) fg = bg;
    } else {
        bg = v->colour[attr >> 4];
    }
    if ((attr & 0x77) == 0x01 && row_scan == (v->cr[0x14] & 0x1fu))
        bits = 0xff; /* underline */
    if (has_cursor) bits = 0xff;
    for (unsigned i = 0; i < 8; i++)
        px[i] = bits << i & 0x80 ? fg : bg;
    if (vga_char_width(v) == 8) return;
    if (has_cursor ||
        ((v->ar[0x10] & AR10_LINE_CHARS) != 0 && (ch & 0xe0) == 0xc0))
        px[8] = px[7];
    else
        px[8] = bg;
}

void vga_draw_text_line(struct vga *v, const struct vga_scan *n, unsigned phase)
{
    int cols = vga_shown_columns(v), cw = vga_char_width(v);
    uint32_t cursor = cursor_address(v);
    bool in_cursor = is_cursor_on(v) && (phase & 1) == 0 &&
                     n->row_scan >= (v->cr[0x0a] & 0x1fu) &&
                     n->row_scan <= (v->cr[0x0b] & 0x1fu);

    for (int i = 0; i <= cols; i++) {
        uint32_t counter = (n->base + (uint32_t)i) & 0xffff;
        uint32_t a = vga_plane_offset(v, counter, n->row_scan);
        draw_cell(v, v->line + i * cw, vga_vram(v, a * 4), n->row_scan,
                  in_cursor && counter == cursor, (phase & 2) != 0);
    }
}

/* Dots the picture is moved to the left, AR13 */
unsigned vga_text_pan(const struct vga *v)
{
    unsigned pan = v->ar[0x13];

    if (vga_char_width(v) == 8) return pan & 7;
    return pan >= 8 ? 0 : pan + 1;
}
