/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Graphics modes in a terminal: libchafa picks for every cell the block
 * character and the two colours that come nearest; without it (or without
 * Unicode or colours) a cell is two pixels, one above the other.
 */
#include "ui/display/term_view.h"

#include "config.h"

#ifdef HAVE_CHAFA
#include <chafa.h>
#endif

enum { HALF_BLOCK = 0x2580 }; /* upper half */

/* Largest width x height that fits the window with the picture's shape; a
 * cell is twice as high as wide.  Units: columns, half rows. */
static void fit(const struct surface *s, int cols, int half_rows, int *out_w,
                int *out_h)
{
    int64_t w = cols, h = w * s->height_px / s->width_px;

    if (h > half_rows) {
        h = half_rows;
        w = h * s->width_px / s->height_px;
    }
    *out_w = w < 1 ? 1 : (int)w;
    *out_h = h < 1 ? 1 : (int)h;
}

/* Mean colour of the pixels under cell (x, y) of a w x h grid. */
static uint32_t mean_colour(const struct surface *s, int x, int y, int w, int h)
{
    int x0 = (int)((int64_t)x * s->width_px / w);
    int x1 = (int)((int64_t)(x + 1) * s->width_px / w);
    int y0 = (int)((int64_t)y * s->height_px / h);
    int y1 = (int)((int64_t)(y + 1) * s->height_px / h);
    uint32_t r = 0, g = 0, b = 0, n = 0;

    if (x1 <= x0) x1 = x0 + 1;
    if (y1 <= y0) y1 = y0 + 1;
    for (int j = y0; j < y1 && j < s->height_px; j++) {
        const uint32_t *px = s->px + (size_t)j * (size_t)s->stride_px;
        for (int i = x0; i < x1 && i < s->width_px; i++, n++) {
            r += px[i] >> 16 & 255;
            g += px[i] >> 8 & 255;
            b += px[i] & 255;
        }
    }
    if (n == 0) return 0;
    return r / n << 16 | g / n << 8 | b / n;
}

static void draw_halves(const struct term_view *v, WINDOW *w,
                        const struct surface *s)
{
    int h, width, x0, y0;

    fit(s, getmaxx(w), 2 * getmaxy(w), &width, &h);
    x0 = (getmaxx(w) - width) / 2;
    y0 = (getmaxy(w) - (h + 1) / 2) / 2;
    for (int y = 0; y < (h + 1) / 2; y++) {
        for (int x = 0; x < width; x++) {
            uint32_t up = mean_colour(s, x, 2 * y, width, h);
            uint32_t down =
                2 * y + 1 < h ? mean_colour(s, x, 2 * y + 1, width, h) : 0;
            if (v->is_utf8)
                term_put(v, w, y + y0, x + x0, HALF_BLOCK, 0, up, down);
            else
                term_put(v, w, y + y0, x + x0, L' ', 0, 0, up);
        }
    }
}

#ifdef HAVE_CHAFA
static ChafaCanvas *make_canvas(const struct term_view *v, int cols, int rows)
{
    ChafaCanvasConfig *c = chafa_canvas_config_new();
    ChafaSymbolMap *symbols = chafa_symbol_map_new();
    ChafaCanvas *canvas;

    chafa_symbol_map_add_by_tags(
        symbols, CHAFA_SYMBOL_TAG_SPACE | CHAFA_SYMBOL_TAG_SOLID |
                     CHAFA_SYMBOL_TAG_HALF | CHAFA_SYMBOL_TAG_QUAD |
                     CHAFA_SYMBOL_TAG_BLOCK);
    chafa_canvas_config_set_geometry(c, cols, rows);
    chafa_canvas_config_set_symbol_map(c, symbols);
    chafa_canvas_config_set_canvas_mode(c, v->colours >= 256
                                               ? CHAFA_CANVAS_MODE_TRUECOLOR
                                               : CHAFA_CANVAS_MODE_INDEXED_16);
    chafa_canvas_config_set_work_factor(c, 0.2f);
    canvas = chafa_canvas_new(c);
    chafa_symbol_map_unref(symbols);
    chafa_canvas_config_unref(c);
    return canvas;
}

static bool draw_chafa(struct term_view *v, WINDOW *w, const struct surface *s)
{
    int cols, half_rows, rows, x0, y0;

    if (!v->is_utf8 || v->colours < 16) return false;
    fit(s, getmaxx(w), 2 * getmaxy(w), &cols, &half_rows);
    rows = (half_rows + 1) / 2;
    if (v->canvas == NULL || v->canvas_cols != cols || v->canvas_rows != rows) {
        term_pixels_fini(v);
        v->canvas = make_canvas(v, cols, rows);
        v->canvas_cols = cols;
        v->canvas_rows = rows;
    }
    chafa_canvas_draw_all_pixels(v->canvas, CHAFA_PIXEL_BGRA8_UNASSOCIATED,
                                 (const guint8 *)s->px, s->width_px,
                                 s->height_px, s->stride_px * 4);
    x0 = (getmaxx(w) - cols) / 2;
    y0 = (getmaxy(w) - rows) / 2;
    for (int y = 0; y < rows; y++) {
        for (int x = 0; x < cols; x++) {
            gint fg = 0, bg = 0;
            gunichar ch = chafa_canvas_get_char_at(v->canvas, x, y);
            chafa_canvas_get_colors_at(v->canvas, x, y, &fg, &bg);
            term_put(v, w, y + y0, x + x0, (wchar_t)ch, 0,
                     fg < 0 ? 0 : (uint32_t)fg, bg < 0 ? 0 : (uint32_t)bg);
        }
    }
    return true;
}

void term_pixels_fini(struct term_view *v)
{
    if (v->canvas != NULL) chafa_canvas_unref(v->canvas);
    v->canvas = NULL;
}
#else
static bool draw_chafa(struct term_view *v, WINDOW *w, const struct surface *s)
{
    (void)v, (void)w, (void)s;
    return false;
}

void term_pixels_fini(struct term_view *v)
{
    v->canvas = NULL;
}
#endif

void term_pixels_draw(struct term_view *v, WINDOW *w, const struct surface *s)
{
    if (s->width_px < 1 || s->height_px < 1) return;
    if (!draw_chafa(v, w, s)) draw_halves(v, w, s);
}
