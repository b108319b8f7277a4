/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The consoles of a display.  A device may write from any thread; its octets
 * stay in its ring until the console is shown, and then go through a vt at
 * the display's pace.  What is typed is handed to the device from a timer,
 * because a monitor takes the VM lock for a line, and the views hold it while
 * they deliver keys.
 *
 * Glyphs are those of the distribution's VGA BIOS, found by the one picture
 * every VGA font has at place 1 (a face, with an empty glyph before it).
 */
#include "core/host/console.h"

#include <errno.h>
#include <linux/input-event-codes.h>
#include <stdlib.h>
#include <string.h>

#include "core/host/chardev.h"
#include "core/host/display.h"
#include "core/host/firmware.h"
#include "core/host/input.h"
#include "core/host/keys.h"
#include "core/host/vt.h"
#include "core/loop/loop.h"
#include "core/vm/vm.h"

enum {
    MAX_CONSOLES = 9, /* with the guest's: keys 1 to 9 */
    GLYPH_ROWS = 16,
    GLYPH_COLS = 8,
    FONT_BYTES = 256 * GLYPH_ROWS,
    TAIL_BYTES = 64 << 10,
    TYPED_BYTES = 256,
};

struct text_console {
    struct chardev *c;
    struct vt vt;
    uint64_t seen; /* octets of the device taken so far */
};

struct consoles {
    struct vm *vm;
    struct text_console *text[MAX_CONSOLES]; /* [0] unused */
    unsigned count, active;                  /* count: with the guest's */
    uint8_t font[FONT_BYTES];
    struct vt drawn;
    int drawn_col, drawn_row;
    bool has_ctrl, has_alt, has_shift;
    uint8_t typed[TYPED_BYTES];
    size_t typed_bytes;
    struct loop_timer deliver;
    uint8_t tail[TAIL_BYTES];
};

static struct consoles *consoles_of(struct vm *vm)
{
    return vm_service(vm, "consoles");
}

/* ---- picture ---- */

static const uint32_t colours[16] = {
    0x000000, 0x0000aa, 0x00aa00, 0x00aaaa, 0xaa0000, 0xaa00aa,
    0xaa5500, 0xaaaaaa, 0x555555, 0x5555ff, 0x55ff55, 0x55ffff,
    0xff5555, 0xff55ff, 0xffff55, 0xffffff,
};

static void draw_cell(struct consoles *k, struct surface *s, int row, int col,
                      bool is_cursor)
{
    const struct vt *t = &k->drawn;
    uint8_t attr = t->attr[row][col];
    const uint8_t *glyph = k->font + t->ch[row][col] * GLYPH_ROWS;

    for (int y = 0; y < GLYPH_ROWS; y++) {
        uint32_t *px =
            s->px + (row * GLYPH_ROWS + y) * s->stride_px + col * GLYPH_COLS;
        uint8_t bits = is_cursor && y >= GLYPH_ROWS - 2 ? 0xff : glyph[y];

        for (int x = 0; x < GLYPH_COLS; x++)
            px[x] = colours[bits & 0x80 >> x ? attr & 15 : attr >> 4];
    }
}

static void draw(struct consoles *k, struct display *d, const struct vt *t,
                 bool is_full)
{
    struct surface *s = display_surface(d);
    int col = t->col < VT_COLS ? t->col : VT_COLS - 1;
    struct vt old = k->drawn;

    k->drawn = *t;
    for (int r = 0; r < VT_ROWS; r++) {
        bool is_changed = is_full;

        for (int c = 0; c < VT_COLS; c++) {
            bool is_cursor = r == t->row && c == col;
            bool was_cursor = r == k->drawn_row && c == k->drawn_col;

            if (!is_full && old.ch[r][c] == t->ch[r][c] &&
                old.attr[r][c] == t->attr[r][c] && is_cursor == was_cursor)
                continue;
            draw_cell(k, s, r, c, is_cursor);
            is_changed = true;
        }
        if (is_changed)
            display_damage(
                d, (struct rect){ 0, r * GLYPH_ROWS, s->width_px, GLYPH_ROWS });
    }
    k->drawn_row = t->row;
    k->drawn_col = col;
}

static void tell_text(struct text_screen *out, const struct vt *t)
{
    out->is_text = true;
    out->cols = VT_COLS;
    out->rows = VT_ROWS;
    out->cursor_row = t->row;
    out->cursor_col = t->col < VT_COLS ? t->col : VT_COLS - 1;
    out->has_blink = false;
    memcpy(out->palette, colours, sizeof(colours));
    for (int r = 0; r < VT_ROWS; r++) {
        memcpy(out->ch[r], t->ch[r], VT_COLS);
        memcpy(out->attr[r], t->attr[r], VT_COLS);
    }
}

/* What the device has written since the last time. */
static void take_output(struct consoles *k, struct text_console *x)
{
    uint64_t total = 0;
    size_t n;

    chardev_vc_tail(x->c, k->tail, 0, &total);
    if (total == x->seen) return;
    n = chardev_vc_tail(x->c, k->tail, TAIL_BYTES, &total);
    if (total - x->seen < n) {
        size_t fresh = (size_t)(total - x->seen);

        vt_write(&x->vt, k->tail + (n - fresh), fresh);
    } else {
        vt_write(&x->vt, k->tail, n);
    }
    x->seen = total;
}

static void refresh(void *arg, bool full)
{
    struct consoles *k = arg;
    struct display *d = vm_display(k->vm);
    struct text_console *x = k->text[k->active];

    if (x == NULL) return;
    if (display_surface(d)->width_px != VT_COLS * GLYPH_COLS ||
        display_surface(d)->height_px != VT_ROWS * GLYPH_ROWS) {
        if (display_resize(d, VT_COLS * GLYPH_COLS, VT_ROWS * GLYPH_ROWS) < 0)
            return;
        full = true;
    }
    take_output(k, x);
    draw(k, d, &x->vt, full);
    tell_text(display_text(d), &x->vt);
}

/* ---- keys ---- */

static void deliver(void *arg)
{
    struct consoles *k = arg;
    uint8_t copy[TYPED_BYTES];
    struct chardev *c = NULL;
    size_t n;

    vm_lock(k->vm);
    n = k->typed_bytes;
    memcpy(copy, k->typed, n);
    k->typed_bytes = 0;
    if (k->text[k->active] != NULL) c = k->text[k->active]->c;
    vm_unlock(k->vm);
    if (c != NULL && n > 0) chardev_vc_input(c, copy, n);
}

static void type(struct consoles *k, const char *text, size_t n)
{
    if (n > TYPED_BYTES - k->typed_bytes) return;
    memcpy(k->typed + k->typed_bytes, text, n);
    k->typed_bytes += n;
    loop_timer_arm_ms(&k->deliver, 0);
}

static void type_key(struct consoles *k, unsigned keycode)
{
    static const struct {
        unsigned keycode;
        const char *text;
    } special[] = {
        { KEY_ENTER, "\r" },    { KEY_KPENTER, "\r" },
        { KEY_TAB, "\t" },      { KEY_BACKSPACE, "\x7f" },
        { KEY_ESC, "\x1b" },    { KEY_UP, "\x1b[A" },
        { KEY_DOWN, "\x1b[B" }, { KEY_RIGHT, "\x1b[C" },
        { KEY_LEFT, "\x1b[D" }, { KEY_HOME, "\x1b[H" },
        { KEY_END, "\x1b[F" },  { KEY_DELETE, "\x1b[3~" },
    };
    const struct key_row *row = key_find(keycode);
    char ch;

    for (unsigned i = 0; i < sizeof(special) / sizeof(special[0]); i++) {
        if (special[i].keycode != keycode) continue;
        type(k, special[i].text, strlen(special[i].text));
        return;
    }
    if (row == NULL || row->ch == '\0') return;
    ch = k->has_shift && row->shifted != '\0' ? row->shifted : row->ch;
    if (k->has_ctrl) ch &= 31;
    type(k, &ch, 1);
}

bool console_key_locked(struct vm *vm, unsigned keycode, bool is_down)
{
    struct consoles *k = consoles_of(vm);

    if (k == NULL) return false;
    switch (keycode) {
    case KEY_LEFTCTRL:
    case KEY_RIGHTCTRL: k->has_ctrl = is_down; break;
    case KEY_LEFTALT: k->has_alt = is_down; break;
    case KEY_LEFTSHIFT:
    case KEY_RIGHTSHIFT: k->has_shift = is_down; break;
    default: break;
    }
    if (k->count > 1 && k->has_ctrl && k->has_alt && keycode >= KEY_1 &&
        keycode <= KEY_9) {
        if (is_down) console_select_locked(vm, keycode - KEY_1);
        return true;
    }
    if (k->active == 0) return false;
    if (is_down) type_key(k, keycode);
    return true;
}

/* Ctrl, Alt and a digit among the keys? */
static bool is_choice(const unsigned *keycodes, unsigned count)
{
    bool has_ctrl = false, has_alt = false, has_digit = false;

    for (unsigned i = 0; i < count; i++) {
        has_ctrl |= keycodes[i] == KEY_LEFTCTRL || keycodes[i] == KEY_RIGHTCTRL;
        has_alt |= keycodes[i] == KEY_LEFTALT;
        has_digit |= keycodes[i] >= KEY_1 && keycodes[i] <= KEY_9;
    }
    return has_ctrl && has_alt && has_digit;
}

bool console_keys_locked(struct vm *vm, const unsigned *keycodes,
                         unsigned count)
{
    struct consoles *k = consoles_of(vm);

    if (k == NULL || (k->active == 0 && !is_choice(keycodes, count)))
        return false;
    for (unsigned i = 0; i < count; i++)
        console_key_locked(vm, keycodes[i], true);
    for (unsigned i = count; i-- > 0;)
        console_key_locked(vm, keycodes[i], false);
    return true;
}

/* ---- which one ---- */

void console_select_locked(struct vm *vm, unsigned n)
{
    struct consoles *k = consoles_of(vm);
    struct display_source s = { .refresh = refresh, .arg = k };

    if (k == NULL || n >= k->count || n == k->active) return;
    input_release_all_locked(vm_input(vm)); /* the guest sees no key-up */
    k->active = n;
    k->typed_bytes = 0;
    display_set_overlay_locked(vm_display(vm), n > 0 ? &s : NULL);
    display_refresh_locked(vm_display(vm));
}

unsigned console_active_locked(struct vm *vm)
{
    const struct consoles *k = consoles_of(vm);

    return k != NULL ? k->active : 0;
}

const char *console_name_locked(struct vm *vm, unsigned n)
{
    const struct consoles *k = consoles_of(vm);

    if (n == 0) return "VGA";
    return k != NULL && n < k->count ? chardev_name(k->text[n]->c) : NULL;
}

static void load_font(struct consoles *k)
{
    static const uint8_t face[8] = { 0, 0, 0x7e, 0x81, 0xa5, 0x81, 0x81, 0xbd };
    char path[4096];
    uint8_t *rom = NULL, *at;
    size_t bytes = 0;

    if (firmware_find(vm_config(k->vm)->data_dir, "vgabios-stdvga.bin", path,
                      sizeof(path), NULL) < 0 ||
        file_read_all(path, 1 << 20, &rom, &bytes, NULL) < 0)
        return; /* characters are still told to views as text */
    at = memmem(rom, bytes, face, sizeof(face));
    if (at != NULL && at - rom >= GLYPH_ROWS) {
        at -= GLYPH_ROWS;
        if (bytes - (size_t)(at - rom) >= FONT_BYTES)
            memcpy(k->font, at, FONT_BYTES);
    }
    free(rom);
}

int console_create(struct vm *vm, struct err *e)
{
    struct consoles *k = calloc(1, sizeof(*k));
    struct chardev *c = NULL;

    if (k == NULL) return err_set(e, -ENOMEM, "out of memory");
    k->vm = vm;
    k->count = 1;
    loop_timer_init(&k->deliver, vm_loop(vm), deliver, k);
    while ((c = chardev_next(vm, c)) != NULL && k->count < MAX_CONSOLES) {
        struct text_console *x;

        if (!chardev_is_vc(c)) continue;
        x = calloc(1, sizeof(*x));
        if (x == NULL) break;
        x->c = c;
        vt_reset(&x->vt);
        k->text[k->count++] = x;
    }
    if (k->count > 1) load_font(k);
    vm_lock(vm);
    vm_set_service(vm, "consoles", k);
    vm_unlock(vm);
    return 0;
}

void console_destroy(struct vm *vm)
{
    struct consoles *k = consoles_of(vm);

    if (k == NULL) return;
    vm_lock(vm);
    if (k->active > 0) display_set_overlay_locked(vm_display(vm), NULL);
    vm_set_service(vm, "consoles", NULL);
    vm_unlock(vm);
    loop_timer_disarm(&k->deliver);
    for (unsigned i = 1; i < k->count; i++)
        free(k->text[i]);
    free(k);
}
