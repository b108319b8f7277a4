/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Video memory to picture.
 *
 * Every refresh draws each scan line the way the hardware would (address
 * counter, row scan counter, shift registers, attribute controller, DAC)
 * into a line buffer and compares it with the surface; only what differs is
 * copied and reported.  So no write to video memory has to be tracked, and
 * no combination of registers can leave the picture stale.  A text screen is
 * drawn only when a character, attribute, glyph, register or blink phase
 * changed.
 *
 * All sizes come from 8- to 10-bit registers or from vbe_get_mode(); all
 * addresses are masked in vga_vram().  Source: FreeVGA ("VGA Display
 * Generation") and IBM's register descriptions.
 */
#include <string.h>

#include "core/host/display.h"
#include "core/vm/clock.h"
#include "core/vm/vm.h"
#include "hw/video/vga_int.h"

#define AR_DISPLAY_ENABLE 0x20 /* in the index register */
#define SR1_8_DOTS        0x01
#define SR1_HALF_CLOCK    0x08
#define SR1_SCREEN_OFF    0x20
#define SR4_CHAIN4        0x08
#define GR5_INTERLEAVE    0x20
#define GR5_256           0x40
#define GR6_GRAPHICS      0x01
#define AR10_LINE_CHARS   0x04
#define AR10_BLINK        0x08
#define AR10_PAN_COMPAT   0x20
#define AR10_SELECT       0x80
#define CR9_DOUBLE        0x80
#define CR0A_CURSOR_OFF   0x20
#define CR14_DWORD        0x40
#define CR14_COUNT_BY_4   0x20
#define CR17_ROW_BIT13    0x01 /* 0: address bit 13 is row scan bit 0 */
#define CR17_ROW_BIT14    0x02
#define CR17_COUNT_BY_2   0x08
#define CR17_WRAP_15      0x20
#define CR17_BYTE         0x40
#define CR17_RUN          0x80

/* Blink periods: 16 and 32 frames at 70 Hz */
enum { CURSOR_HALF_NS = 228571429, CHAR_HALF_NS = 457142857 };

struct frame {
    struct vga *v;
    struct surface *s;
    struct rect dirty; /* run of changed lines not yet reported */
    bool is_full;
};

/* The CRTC's counters at the start of a scan line. */
struct scan {
    uint32_t base;     /* address counter of the first character */
    uint32_t pitch;    /* added from row to row */
    unsigned row_scan; /* line within the row of characters */
    unsigned max_row_scan;
    unsigned split_line; /* after this line the address restarts at 0 */
    bool is_doubled, is_repeat, is_split, is_new_row;
};

/* -------------------------------------------------------------- the surface */

static void flush_dirty(struct frame *f)
{
    if (f->dirty.h > 0) display_damage(f->v->display, f->dirty);
    f->dirty = (struct rect){ 0, 0, 0, 0 };
}

static void put_line(struct frame *f, int y, const uint32_t *px)
{
    uint32_t *dst = f->s->px + (size_t)y * (size_t)f->s->stride_px;
    int x0 = 0, x1 = f->s->width_px, right;

    if (f->is_full) {
        memcpy(dst, px, (size_t)x1 * sizeof(*px));
        return; /* the hub reports the whole surface */
    }
    if (memcmp(dst, px, (size_t)x1 * sizeof(*px)) == 0) {
        flush_dirty(f);
        return;
    }
    while (dst[x0] == px[x0])
        x0++;
    while (dst[x1 - 1] == px[x1 - 1])
        x1--;
    memcpy(dst + x0, px + x0, (size_t)(x1 - x0) * sizeof(*px));
    if (f->dirty.h == 0) {
        f->dirty = (struct rect){ x0, y, x1 - x0, 1 };
        return;
    }
    right = f->dirty.x + f->dirty.w;
    if (x1 > right) right = x1;
    if (x0 < f->dirty.x) f->dirty.x = x0;
    f->dirty.w = right - f->dirty.x;
    f->dirty.h++;
}

static bool set_size(struct frame *f, int width_px, int height_px)
{
    if (f->s->width_px == width_px && f->s->height_px == height_px) return true;
    if (display_resize(f->v->display, width_px, height_px) < 0) return false;
    f->s = display_surface(f->v->display);
    f->is_full = true;
    return true;
}

static void put_black(struct frame *f)
{
    memset(f->v->line, 0, (size_t)f->s->width_px * sizeof(uint32_t));
    for (int y = 0; y < f->s->height_px; y++)
        put_line(f, y, f->v->line);
    flush_dirty(f);
}

/* ------------------------------------------------------------------ colours */

static void make_palette(struct vga *v)
{
    for (unsigned i = 0; i < 256; i++) {
        const uint8_t *c = &v->dac[(i & v->dac_mask) * 3];
        v->palette[i] = (uint32_t)c[0] << 16 | (uint32_t)c[1] << 8 | c[2];
    }
    for (unsigned i = 0; i < 16; i++) {
        unsigned c = v->ar[i & v->ar[0x12]];
        if (v->ar[0x10] & AR10_SELECT)
            c = (c & 0x0f) | (v->ar[0x14] & 0x03u) << 4;
        c |= (v->ar[0x14] & 0x0cu) << 4;
        v->colour[i] = v->palette[c & 0xff];
    }
}

/* --------------------------------------------------------------- addresses */

static uint32_t start_address(const struct vga *v)
{
    return (uint32_t)v->cr[0x0c] << 8 | v->cr[0x0d];
}

static void scan_init(const struct vga *v, struct scan *n)
{
    *n = (struct scan){
        .base = start_address(v) + (v->cr[8] >> 5 & 3u),
        .pitch = v->cr[0x13] * 2u,
        .row_scan = v->cr[8] & 0x1f,
        .max_row_scan = v->cr[9] & 0x1f,
        .split_line =
            v->cr[0x18] | (v->cr[7] & 0x10u) << 4 | (v->cr[9] & 0x40u) << 3,
        .is_doubled = (v->cr[9] & CR9_DOUBLE) != 0,
        .is_new_row = true,
    };
}

/* Line y is done. */
static void scan_next(struct scan *n, unsigned y)
{
    n->is_new_row = false;
    if (y == n->split_line) {
        n->base = 0;
        n->row_scan = 0;
        n->is_repeat = false;
        n->is_split = n->is_new_row = true;
        return;
    }
    if (n->is_doubled) {
        n->is_repeat = !n->is_repeat;
        if (n->is_repeat) return;
    }
    if (n->row_scan == n->max_row_scan) {
        n->row_scan = 0;
        n->base += n->pitch;
        n->is_new_row = true;
    } else {
        n->row_scan = (n->row_scan + 1) & 0x1f;
    }
}

/* Address counter to plane offset ("CRTC Mode Control Register").  Chain-4
 * memory is kept dense: see vga_int.h. */
static uint32_t plane_offset(const struct vga *v, uint32_t counter,
                             unsigned row_scan)
{
    bool is_chain4 = (v->sr[4] & SR4_CHAIN4) != 0;
    uint32_t a = counter;

    if (v->cr[0x14] & CR14_DWORD) {
        if (is_chain4) return counter & VGA_PLANE_MASK;
        a = counter << 2 | (counter >> 12 & 3);
    } else if ((v->cr[0x17] & CR17_BYTE) == 0) {
        unsigned wrap = v->cr[0x17] & CR17_WRAP_15 ? 15 : 13;
        a = counter << 1 | (counter >> wrap & 1);
    }
    if ((v->cr[0x17] & CR17_ROW_BIT13) == 0)
        a = (a & ~0x2000u) | (row_scan & 1) << 13;
    if ((v->cr[0x17] & CR17_ROW_BIT14) == 0)
        a = (a & ~0x4000u) | (row_scan >> 1 & 1) << 14;
    if (is_chain4) a >>= 2;
    return a & VGA_PLANE_MASK;
}

static int shown_columns(const struct vga *v)
{
    return v->cr[1] + 1;
}

static int shown_lines(const struct vga *v)
{
    return (v->cr[0x12] | (v->cr[7] & 0x02) << 7 | (v->cr[7] & 0x40) << 3) + 1;
}

/* ---------------------------------------------------------------- text modes */

static int char_width(const struct vga *v)
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

static bool fonts_changed(struct vga *v)
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

static bool registers_changed(struct vga *v, unsigned phase)
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
        const uint8_t *m = vga_vram(v, plane_offset(v, counter, 0) * 4);
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

static bool read_text(struct vga *v, struct text_screen *t)
{
    int lines = shown_lines(v), rows = 0, cols = shown_columns(v);
    bool changed = !t->is_text || t->cols != cols;
    struct scan n;

    t->is_text = true;
    t->cols = cols < TEXT_MAX_COLS ? cols : TEXT_MAX_COLS;
    t->cursor_col = t->cursor_row = -1;
    t->has_blink = (v->ar[0x10] & AR10_BLINK) != 0;
    memcpy(t->palette, v->colour, sizeof(t->palette));
    scan_init(v, &n);
    for (int y = 0; y < lines; y++) {
        if (n.is_new_row && rows < TEXT_MAX_ROWS)
            changed |= read_text_row(v, t, rows, n.base);
        if (n.is_new_row) rows++;
        scan_next(&n, (unsigned)y);
    }
    if (rows > TEXT_MAX_ROWS) {
        rows = TEXT_MAX_ROWS;
        changed = true; /* there are rows we did not look at */
    }
    changed |= t->rows != rows;
    t->rows = rows;
    return changed;
}

static void clear_text(struct text_screen *t, int cols, int rows)
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
    if (char_width(v) == 8) return;
    if (has_cursor ||
        ((v->ar[0x10] & AR10_LINE_CHARS) != 0 && (ch & 0xe0) == 0xc0))
        px[8] = px[7];
    else
        px[8] = bg;
}

static void draw_text_line(struct vga *v, const struct scan *n, unsigned phase)
{
    int cols = shown_columns(v), cw = char_width(v);
    uint32_t cursor = cursor_address(v);
    bool in_cursor = is_cursor_on(v) && (phase & 1) == 0 &&
                     n->row_scan >= (v->cr[0x0a] & 0x1fu) &&
                     n->row_scan <= (v->cr[0x0b] & 0x1fu);

    for (int i = 0; i <= cols; i++) {
        uint32_t counter = (n->base + (uint32_t)i) & 0xffff;
        uint32_t a = plane_offset(v, counter, n->row_scan);
        draw_cell(v, v->line + i * cw, vga_vram(v, a * 4), n->row_scan,
                  in_cursor && counter == cursor, (phase & 2) != 0);
    }
}

/* Dots the picture is moved to the left, AR13 */
static unsigned text_pan(const struct vga *v)
{
    unsigned pan = v->ar[0x13];

    if (char_width(v) == 8) return pan & 7;
    return pan >= 8 ? 0 : pan + 1;
}

/* ----------------------------------------------------------- graphics modes */

static void draw_indices(struct vga *v, uint32_t *px, uint64_t indices)
{
    for (unsigned i = 0; i < 8; i++, indices >>= 8)
        px[i] = v->colour[indices & 15];
}

static uint64_t planar_indices(const struct vga *v, const uint8_t m[4])
{
    return v->spread[m[0]] | v->spread[m[1]] << 1 | v->spread[m[2]] << 2 |
           v->spread[m[3]] << 3;
}

/* GR5 bit 5: planes 0 and 2 hold the first four pixels, 1 and 3 the rest;
 * two bits of each plane a pixel. */
static uint64_t interleaved_indices(const uint8_t m[4])
{
    uint64_t out = 0;

    for (unsigned i = 0; i < 8; i++) {
        unsigned shift = 6 - 2 * (i & 3), p = i >> 2;
        unsigned index = (m[p] >> shift & 3) | (m[p + 2] >> shift & 3) << 2;
        out |= (uint64_t)index << 8 * i;
    }
    return out;
}

static void draw_graphics_line(struct vga *v, const struct scan *n)
{
    int cols = shown_columns(v);
    unsigned slow = v->cr[0x14] & CR14_COUNT_BY_4   ? 2
                    : v->cr[0x17] & CR17_COUNT_BY_2 ? 1
                                                    : 0;

    for (int i = 0; i <= cols; i++) {
        uint32_t counter = (n->base + ((uint32_t)i >> slow)) & 0xffff;
        uint32_t a = plane_offset(v, counter, n->row_scan);
        const uint8_t *m = vga_vram(v, a * 4);
        uint32_t *px = v->line + i * 8;

        if (v->gr[5] & GR5_256) {
            for (unsigned k = 0; k < 8; k++)
                px[k] = v->palette[m[k / 2]];
        } else if (v->gr[5] & GR5_INTERLEAVE) {
            draw_indices(v, px, interleaved_indices(m));
        } else {
            draw_indices(v, px, planar_indices(v, m));
        }
    }
}

static unsigned graphics_pan(const struct vga *v)
{
    return v->gr[5] & GR5_256 ? v->ar[0x13] & 6 : v->ar[0x13] & 7;
}

/* ------------------------------------------------------------ VGA as a whole */

static const uint32_t *double_dots(struct vga *v, const uint32_t *px,
                                   int width_px)
{
    for (int x = 0; x < width_px; x++)
        v->wide[x] = px[x / 2];
    return v->wide;
}

static void draw_vga(struct frame *f, bool is_text, unsigned phase)
{
    struct vga *v = f->v;
    unsigned pan = is_text ? text_pan(v) : graphics_pan(v);
    bool is_half = (v->sr[1] & SR1_HALF_CLOCK) != 0;
    struct scan n;

    scan_init(v, &n);
    for (int y = 0; y < f->s->height_px; y++) {
        const uint32_t *px = v->line + pan;
        if (n.is_split && (v->ar[0x10] & AR10_PAN_COMPAT)) px = v->line;
        if (is_text)
            draw_text_line(v, &n, phase);
        else if (!n.is_repeat)
            draw_graphics_line(v, &n);
        if (is_half) px = double_dots(v, px, f->s->width_px);
        put_line(f, y, px);
        scan_next(&n, (unsigned)y);
    }
    flush_dirty(f);
}

static void refresh_vga(struct frame *f, bool is_blank)
{
    struct vga *v = f->v;
    struct text_screen *t = display_text(v->display);
    bool is_text = (v->gr[6] & GR6_GRAPHICS) == 0;
    int width_px = shown_columns(v) * (is_text ? char_width(v) : 8);
    uint64_t now_ns = clock_now_ns(v->pci.d->vm);
    unsigned phase = (unsigned)(now_ns / CURSOR_HALF_NS & 1) |
                     (unsigned)(now_ns / CHAR_HALF_NS & 1) << 1;
    bool changed;

    if (v->sr[1] & SR1_HALF_CLOCK) width_px *= 2;
    if (width_px > VGA_MAX_WIDTH_PX) width_px = VGA_MAX_WIDTH_PX;
    if (!set_size(f, width_px, shown_lines(v))) return;
    if (is_blank) {
        v->cache.hash = 0;
        if (is_text)
            clear_text(t, shown_columns(v),
                       shown_lines(v) / ((v->cr[9] & 0x1f) + 1));
        else
            t->is_text = false;
        put_black(f);
        return;
    }
    if (is_text) {
        changed = registers_changed(v, phase);
        changed |= fonts_changed(v);
        changed |= read_text(v, t);
        if (!changed && !f->is_full) return;
    } else {
        v->cache.hash = 0;
        t->is_text = false;
    }
    draw_vga(f, is_text, phase);
}

/* ---------------------------------------------------------------------- VBE */

static void draw_vbe_planar(struct frame *f, const struct vbe_mode *m, int y)
{
    struct vga *v = f->v;
    uint32_t a = m->start_offset + (uint32_t)y * m->pitch_bytes;
    uint32_t *px = v->line;

    for (uint32_t x = 0; x < m->width_px + 8; x += 8, px += 8)
        draw_indices(v, px, planar_indices(v, vga_vram(v, a++ * 4)));
    put_line(f, y, v->line + m->pan_px);
}

/* The octets of a line; copied together when it wraps at the end of VRAM. */
static const uint8_t *line_octets(struct vga *v, uint32_t offset,
                                  uint32_t bytes)
{
    uint32_t first;

    offset &= VGA_VRAM_MASK;
    if (bytes > sizeof(v->raw)) bytes = sizeof(v->raw);
    if (offset + bytes <= VGA_VRAM_BYTES) return v->vram + offset;
    first = VGA_VRAM_BYTES - offset;
    memcpy(v->raw, v->vram + offset, first);
    memcpy(v->raw + first, v->vram, bytes - first);
    return v->raw;
}

static uint32_t expand(unsigned x, unsigned bits)
{
    x &= (1u << bits) - 1;
    return x << (8 - bits) | x >> (2 * bits - 8);
}

static void convert_16(uint32_t *px, const uint8_t *s, uint32_t n, bool is_15)
{
    for (uint32_t i = 0; i < n; i++, s += 2) {
        unsigned x = s[0] | (unsigned)s[1] << 8;
        if (is_15)
            px[i] = expand(x >> 10, 5) << 16 | expand(x >> 5, 5) << 8 |
                    expand(x, 5);
        else
            px[i] = expand(x >> 11, 5) << 16 | expand(x >> 5, 6) << 8 |
                    expand(x, 5);
    }
}

static void draw_vbe_linear(struct frame *f, const struct vbe_mode *m, int y)
{
    struct vga *v = f->v;
    uint32_t n = m->width_px, octets = (m->bpp + 7) / 8;
    const uint8_t *s = line_octets(
        v, m->start_offset + (uint32_t)y * m->pitch_bytes, n * octets);

    switch (m->bpp) {
    case 8:
        for (uint32_t i = 0; i < n; i++)
            v->line[i] = v->palette[s[i]];
        break;
    case 15:
    case 16: convert_16(v->line, s, n, m->bpp == 15); break;
    case 24:
        for (uint32_t i = 0; i < n; i++, s += 3)
            v->line[i] = s[0] | (uint32_t)s[1] << 8 | (uint32_t)s[2] << 16;
        break;
    default: /* a 32-bit line starts at a multiple of 4 */
        put_line(f, y, (const uint32_t *)(const void *)s);
        return;
    }
    put_line(f, y, v->line);
}

static void refresh_vbe(struct frame *f, bool is_blank)
{
    struct vbe_mode m;

    vbe_get_mode(f->v, &m);
    f->v->cache.hash = 0;
    display_text(f->v->display)->is_text = false;
    if (!set_size(f, (int)m.width_px, (int)m.height_px)) return;
    if (is_blank) {
        put_black(f);
        return;
    }
    for (int y = 0; y < f->s->height_px; y++) {
        if (m.bpp == 4)
            draw_vbe_planar(f, &m, y);
        else
            draw_vbe_linear(f, &m, y);
    }
    flush_dirty(f);
}

void vga_render_init(struct vga *v)
{
    for (unsigned i = 0; i < 256; i++) {
        uint64_t x = 0;
        for (unsigned k = 0; k < 8; k++)
            x |= (uint64_t)(i >> (7 - k) & 1) << 8 * k;
        v->spread[i] = x;
    }
}

void vga_refresh(void *arg, bool is_full)
{
    struct vga *v = arg;
    struct frame f = { .v = v, .is_full = is_full };
    bool is_blank = (v->ar_index & AR_DISPLAY_ENABLE) == 0 ||
                    (v->sr[1] & SR1_SCREEN_OFF) != 0;

    f.s = display_surface(v->display);
    make_palette(v);
    if (vga_is_vbe(v)) {
        refresh_vbe(&f, is_blank);
    } else if ((v->cr[0x17] & CR17_RUN) == 0) {
        /* the CRTC stands still: no picture at all */
        v->cache.hash = 0;
        clear_text(display_text(v->display), 80, 25);
        if (set_size(&f, 720, 400)) put_black(&f);
    } else {
        refresh_vga(&f, is_blank);
    }
}
