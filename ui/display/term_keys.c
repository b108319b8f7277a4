/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ui/display/term_keys.h"

#include <curses.h>
#include <stddef.h>
#include <string.h>

#include "core/host/input.h"

/* Key codes are asked for by name: <linux/input-event-codes.h> and ncurses
 * both call their constants KEY_*. */
static const struct {
    int curses;
    const char *name; /* as sendkey */
    unsigned mods;
} function_keys[] = {
    { KEY_UP, "up", 0 },
    { KEY_DOWN, "down", 0 },
    { KEY_LEFT, "left", 0 },
    { KEY_RIGHT, "right", 0 },
    { KEY_HOME, "home", 0 },
    { KEY_END, "end", 0 },
    { KEY_PPAGE, "pgup", 0 },
    { KEY_NPAGE, "pgdn", 0 },
    { KEY_IC, "insert", 0 },
    { KEY_DC, "delete", 0 },
    { KEY_BACKSPACE, "backspace", 0 },
    { KEY_ENTER, "ret", 0 },
    { KEY_BTAB, "tab", TERM_SHIFT },
    { KEY_SR, "up", TERM_SHIFT },
    { KEY_SF, "down", TERM_SHIFT },
    { KEY_SLEFT, "left", TERM_SHIFT },
    { KEY_SRIGHT, "right", TERM_SHIFT },
    { KEY_SHOME, "home", TERM_SHIFT },
    { KEY_SEND, "end", TERM_SHIFT },
    { KEY_SPREVIOUS, "pgup", TERM_SHIFT },
    { KEY_SNEXT, "pgdn", TERM_SHIFT },
    { KEY_SDC, "delete", TERM_SHIFT },
    { KEY_SIC, "insert", TERM_SHIFT },
    { KEY_A1, "home", 0 },
    { KEY_A3, "pgup", 0 },
    { KEY_C1, "end", 0 },
    { KEY_C3, "pgdn", 0 },
};

/* Extended capabilities of terminfo, user_caps(5): name and a digit that
 * tells the modifiers, e.g. kUP5. */
static const struct {
    const char *prefix, *name;
} extended_keys[] = {
    { "kUP", "up" },     { "kDN", "down" },  { "kLFT", "left" },
    { "kRIT", "right" }, { "kHOM", "home" }, { "kEND", "end" },
    { "kPRV", "pgup" },  { "kNXT", "pgdn" }, { "kIC", "insert" },
    { "kDC", "delete" },
};

/* Control characters that have keys of their own. */
static const struct {
    unsigned ch;
    const char *name;
    unsigned mods;
} control_keys[] = {
    { 0x00, "spc", TERM_CTRL },
    { 0x08, "backspace", 0 },
    { 0x09, "tab", 0 },
    { 0x0d, "ret", 0 },
    { 0x1b, "esc", 0 },
    { 0x1c, "backslash", TERM_CTRL },
    { 0x1d, "bracket_right", TERM_CTRL },
    { 0x1e, "6", TERM_CTRL },
    { 0x1f, "minus", TERM_CTRL },
    { 0x7f, "backspace", 0 },
};

#define LEN(a) (sizeof(a) / sizeof((a)[0]))

void term_input_init(void)
{
    static const struct {
        char final;
        int key;
    } keys[] = {
        { 'A', KEY_UP },   { 'B', KEY_DOWN }, { 'C', KEY_RIGHT },
        { 'D', KEY_LEFT }, { 'H', KEY_HOME }, { 'F', KEY_END },
    };

    for (size_t i = 0; i < LEN(keys); i++) {
        char csi[] = { 0x1b, '[', keys[i].final, '\0' };
        char ss3[] = { 0x1b, 'O', keys[i].final, '\0' };
        if (key_defined(csi) == 0) define_key(csi, keys[i].key);
        if (key_defined(ss3) == 0) define_key(ss3, keys[i].key);
    }
}

bool term_input_read(void *window, struct term_input *in)
{
    WINDOW *w = window;
    wint_t ch;
    int rc = wget_wch(w, &ch);

    *in = (struct term_input){ 0 };
    if (rc == ERR) return false;
    if (rc == OK && ch == 0x1b) {
        wint_t next;
        int next_rc = wget_wch(w, &next);
        if (next_rc != ERR) {
            in->has_alt = true;
            rc = next_rc;
            ch = next;
        }
    }
    in->is_function = rc == KEY_CODE_YES;
    in->code = ch;
    return true;
}

static bool named(struct term_key *out, const char *name, unsigned mods)
{
    out->keycode = input_key_by_name(name);
    out->mods = mods;
    return out->keycode != 0;
}

/* xterm: F13-F24 are shifted, F25-F36 with control, F37-F48 with both,
 * F49-F60 with alt. */
static bool decode_f_key(unsigned n, struct term_key *out)
{
    static const unsigned mods[] = { 0, TERM_SHIFT, TERM_CTRL,
                                     TERM_SHIFT | TERM_CTRL, TERM_ALT };
    static const char *const names[] = {
        "f1", "f2", "f3", "f4",  "f5",  "f6",
        "f7", "f8", "f9", "f10", "f11", "f12"
    };

    if (n < 1 || n > LEN(mods) * LEN(names)) return false;
    return named(out, names[(n - 1) % 12], mods[(n - 1) / 12]);
}

static bool decode_extended(unsigned code, struct term_key *out)
{
    const char *s = keyname((int)code);

    for (size_t i = 0; s != NULL && i < LEN(extended_keys); i++) {
        size_t n = strlen(extended_keys[i].prefix);
        unsigned digit, mods = 0;
        if (strncmp(s, extended_keys[i].prefix, n) != 0) continue;
        if (s[n] < '2' || s[n] > '8' || s[n + 1] != '\0') continue;
        digit = (unsigned)(s[n] - '1'); /* xterm: 1 + shift, alt, control */
        if (digit & 1) mods |= TERM_SHIFT;
        if (digit & 2) mods |= TERM_ALT;
        if (digit & 4) mods |= TERM_CTRL;
        return named(out, extended_keys[i].name, mods);
    }
    return false;
}

static bool decode_function(unsigned code, struct term_key *out)
{
    if (code >= KEY_F(1) && code <= KEY_F(60))
        return decode_f_key(code - KEY_F0, out);
    for (size_t i = 0; i < LEN(function_keys); i++) {
        if ((unsigned)function_keys[i].curses == code)
            return named(out, function_keys[i].name, function_keys[i].mods);
    }
    return decode_extended(code, out);
}

static bool decode_char(unsigned ch, struct term_key *out)
{
    bool needs_shift = false;

    for (size_t i = 0; i < LEN(control_keys); i++) {
        if (control_keys[i].ch == ch)
            return named(out, control_keys[i].name, control_keys[i].mods);
    }
    out->mods = 0;
    if (ch < 0x20) {
        out->mods = TERM_CTRL;
        ch += 'a' - 1;
    }
    out->keycode = input_key_for_char(ch, &needs_shift);
    if (needs_shift) out->mods |= TERM_SHIFT;
    return out->keycode != 0;
}

bool term_key_decode(const struct term_input *in, struct term_key *out)
{
    bool is_known = in->is_function ? decode_function(in->code, out)
                                    : decode_char(in->code, out);

    if (is_known && in->has_alt) out->mods |= TERM_ALT;
    return is_known;
}

unsigned term_key_codes(const struct term_key *k,
                        unsigned codes[TERM_KEY_CODES])
{
    unsigned n = 0;

    if (k->mods & TERM_CTRL) codes[n++] = input_key_by_name("ctrl");
    if (k->mods & TERM_ALT) codes[n++] = input_key_by_name("alt");
    if (k->mods & TERM_SHIFT) codes[n++] = input_key_by_name("shift");
    codes[n++] = k->keycode;
    return n;
}
