/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Keys of a PC keyboard: names as the sendkey command spells them, scan codes
 * of sets 1 and 2 (0xe0xx: prefixed), and the characters of a US layout; X11
 * keysyms.  Mostly a pure table.  Codes: IBM PS/2 Hardware Interface Technical
 * Reference, keyboard section; Microsoft "Keyboard Scan Code Specification"
 * for the later keys; keysyms: X.Org keysymdef.h.
 */
#include "core/host/keys.h"

#include <linux/input-event-codes.h>
#include <stdlib.h>
#include <string.h>

#include "core/host/input.h"

/* clang-format off */
const struct key_row key_rows[] = {
    { KEY_ESC, "esc", 0x0001, 0x0076, 0, 0 },
    { KEY_1, "1", 0x0002, 0x0016, '1', '!' },
    { KEY_2, "2", 0x0003, 0x001e, '2', '@' },
    { KEY_3, "3", 0x0004, 0x0026, '3', '#' },
    { KEY_4, "4", 0x0005, 0x0025, '4', '$' },
    { KEY_5, "5", 0x0006, 0x002e, '5', '%' },
    { KEY_6, "6", 0x0007, 0x0036, '6', '^' },
    { KEY_7, "7", 0x0008, 0x003d, '7', '&' },
    { KEY_8, "8", 0x0009, 0x003e, '8', '*' },
    { KEY_9, "9", 0x000a, 0x0046, '9', '(' },
    { KEY_0, "0", 0x000b, 0x0045, '0', ')' },
    { KEY_MINUS, "minus", 0x000c, 0x004e, '-', '_' },
    { KEY_EQUAL, "equal", 0x000d, 0x0055, '=', '+' },
    { KEY_BACKSPACE, "backspace", 0x000e, 0x0066, 0, 0 },
    { KEY_TAB, "tab", 0x000f, 0x000d, 0, 0 },
    { KEY_Q, "q", 0x0010, 0x0015, 'q', 'Q' },
    { KEY_W, "w", 0x0011, 0x001d, 'w', 'W' },
    { KEY_E, "e", 0x0012, 0x0024, 'e', 'E' },
    { KEY_R, "r", 0x0013, 0x002d, 'r', 'R' },
    { KEY_T, "t", 0x0014, 0x002c, 't', 'T' },
    { KEY_Y, "y", 0x0015, 0x0035, 'y', 'Y' },
    { KEY_U, "u", 0x0016, 0x003c, 'u', 'U' },
    { KEY_I, "i", 0x0017, 0x0043, 'i', 'I' },
    { KEY_O, "o", 0x0018, 0x0044, 'o', 'O' },
    { KEY_P, "p", 0x0019, 0x004d, 'p', 'P' },
    { KEY_LEFTBRACE, "bracket_left", 0x001a, 0x0054, '[', '{' },
    { KEY_RIGHTBRACE, "bracket_right", 0x001b, 0x005b, ']', '}' },
    { KEY_ENTER, "ret", 0x001c, 0x005a, 0, 0 },
    { KEY_LEFTCTRL, "ctrl", 0x001d, 0x0014, 0, 0 },
    { KEY_A, "a", 0x001e, 0x001c, 'a', 'A' },
    { KEY_S, "s", 0x001f, 0x001b, 's', 'S' },
    { KEY_D, "d", 0x0020, 0x0023, 'd', 'D' },
    { KEY_F, "f", 0x0021, 0x002b, 'f', 'F' },
    { KEY_G, "g", 0x0022, 0x0034, 'g', 'G' },
    { KEY_H, "h", 0x0023, 0x0033, 'h', 'H' },
    { KEY_J, "j", 0x0024, 0x003b, 'j', 'J' },
    { KEY_K, "k", 0x0025, 0x0042, 'k', 'K' },
    { KEY_L, "l", 0x0026, 0x004b, 'l', 'L' },
    { KEY_SEMICOLON, "semicolon", 0x0027, 0x004c, ';', ':' },
    { KEY_APOSTROPHE, "apostrophe", 0x0028, 0x0052, '\'', '"' },
    { KEY_GRAVE, "grave_accent", 0x0029, 0x000e, '`', '~' },
    { KEY_LEFTSHIFT, "shift", 0x002a, 0x0012, 0, 0 },
    { KEY_BACKSLASH, "backslash", 0x002b, 0x005d, '\\', '|' },
    { KEY_Z, "z", 0x002c, 0x001a, 'z', 'Z' },
    { KEY_X, "x", 0x002d, 0x0022, 'x', 'X' },
    { KEY_C, "c", 0x002e, 0x0021, 'c', 'C' },
    { KEY_V, "v", 0x002f, 0x002a, 'v', 'V' },
    { KEY_B, "b", 0x0030, 0x0032, 'b', 'B' },
    { KEY_N, "n", 0x0031, 0x0031, 'n', 'N' },
    { KEY_M, "m", 0x0032, 0x003a, 'm', 'M' },
    { KEY_COMMA, "comma", 0x0033, 0x0041, ',', '<' },
    { KEY_DOT, "dot", 0x0034, 0x0049, '.', '>' },
    { KEY_SLASH, "slash", 0x0035, 0x004a, '/', '?' },
    { KEY_RIGHTSHIFT, "shift_r", 0x0036, 0x0059, 0, 0 },
    { KEY_KPASTERISK, "kp_multiply", 0x0037, 0x007c, 0, 0 },
    { KEY_LEFTALT, "alt", 0x0038, 0x0011, 0, 0 },
    { KEY_SPACE, "spc", 0x0039, 0x0029, ' ', 0 },
    { KEY_CAPSLOCK, "caps_lock", 0x003a, 0x0058, 0, 0 },
    { KEY_F1, "f1", 0x003b, 0x0005, 0, 0 },
    { KEY_F2, "f2", 0x003c, 0x0006, 0, 0 },
    { KEY_F3, "f3", 0x003d, 0x0004, 0, 0 },
    { KEY_F4, "f4", 0x003e, 0x000c, 0, 0 },
    { KEY_F5, "f5", 0x003f, 0x0003, 0, 0 },
    { KEY_F6, "f6", 0x0040, 0x000b, 0, 0 },
    { KEY_F7, "f7", 0x0041, 0x0083, 0, 0 },
    { KEY_F8, "f8", 0x0042, 0x000a, 0, 0 },
    { KEY_F9, "f9", 0x0043, 0x0001, 0, 0 },
    { KEY_F10, "f10", 0x0044, 0x0009, 0, 0 },
    { KEY_NUMLOCK, "num_lock", 0x0045, 0x0077, 0, 0 },
    { KEY_SCROLLLOCK, "scroll_lock", 0x0046, 0x007e, 0, 0 },
    { KEY_KP7, "kp_7", 0x0047, 0x006c, 0, 0 },
    { KEY_KP8, "kp_8", 0x0048, 0x0075, 0, 0 },
    { KEY_KP9, "kp_9", 0x0049, 0x007d, 0, 0 },
    { KEY_KPMINUS, "kp_subtract", 0x004a, 0x007b, 0, 0 },
    { KEY_KP4, "kp_4", 0x004b, 0x006b, 0, 0 },
    { KEY_KP5, "kp_5", 0x004c, 0x0073, 0, 0 },
    { KEY_KP6, "kp_6", 0x004d, 0x0074, 0, 0 },
    { KEY_KPPLUS, "kp_add", 0x004e, 0x0079, 0, 0 },
    { KEY_KP1, "kp_1", 0x004f, 0x0069, 0, 0 },
    { KEY_KP2, "kp_2", 0x0050, 0x0072, 0, 0 },
    { KEY_KP3, "kp_3", 0x0051, 0x007a, 0, 0 },
    { KEY_KP0, "kp_0", 0x0052, 0x0070, 0, 0 },
    { KEY_KPDOT, "kp_decimal", 0x0053, 0x0071, 0, 0 },
    { KEY_102ND, "less", 0x0056, 0x0061, 0, 0 },
    { KEY_F11, "f11", 0x0057, 0x0078, 0, 0 },
    { KEY_F12, "f12", 0x0058, 0x0007, 0, 0 },
    { KEY_KPENTER, "kp_enter", 0xe01c, 0xe05a, 0, 0 },
    { KEY_RIGHTCTRL, "ctrl_r", 0xe01d, 0xe014, 0, 0 },
    { KEY_KPSLASH, "kp_divide", 0xe035, 0xe04a, 0, 0 },
    { KEY_SYSRQ, "print", 0xe037, 0xe07c, 0, 0 },
    { KEY_RIGHTALT, "alt_r", 0xe038, 0xe011, 0, 0 },
    { KEY_HOME, "home", 0xe047, 0xe06c, 0, 0 },
    { KEY_UP, "up", 0xe048, 0xe075, 0, 0 },
    { KEY_PAGEUP, "pgup", 0xe049, 0xe07d, 0, 0 },
    { KEY_LEFT, "left", 0xe04b, 0xe06b, 0, 0 },
    { KEY_RIGHT, "right", 0xe04d, 0xe074, 0, 0 },
    { KEY_END, "end", 0xe04f, 0xe069, 0, 0 },
    { KEY_DOWN, "down", 0xe050, 0xe072, 0, 0 },
    { KEY_PAGEDOWN, "pgdn", 0xe051, 0xe07a, 0, 0 },
    { KEY_INSERT, "insert", 0xe052, 0xe070, 0, 0 },
    { KEY_DELETE, "delete", 0xe053, 0xe071, 0, 0 },
    { KEY_LEFTMETA, "meta_l", 0xe05b, 0xe01f, 0, 0 },
    { KEY_RIGHTMETA, "meta_r", 0xe05c, 0xe027, 0, 0 },
    { KEY_COMPOSE, "compose", 0xe05d, 0xe02f, 0, 0 },
    { KEY_PAUSE, "pause", 0x0000, 0x0000, 0, 0 },
    { KEY_F13, "f13", 0x0064, 0x0008, 0, 0 },
    { KEY_F14, "f14", 0x0065, 0x0010, 0, 0 },
    { KEY_F15, "f15", 0x0066, 0x0018, 0, 0 },
    { KEY_F16, "f16", 0x0067, 0x0020, 0, 0 },
    { KEY_F17, "f17", 0x0068, 0x0028, 0, 0 },
    { KEY_F18, "f18", 0x0069, 0x0030, 0, 0 },
    { KEY_F19, "f19", 0x006a, 0x0038, 0, 0 },
    { KEY_F20, "f20", 0x006b, 0x0040, 0, 0 },
    { KEY_F21, "f21", 0x006c, 0x0048, 0, 0 },
    { KEY_F22, "f22", 0x006d, 0x0050, 0, 0 },
    { KEY_F23, "f23", 0x006e, 0x0057, 0, 0 },
    { KEY_F24, "f24", 0x0076, 0x005f, 0, 0 },
    { KEY_KPEQUAL, "kp_equals", 0x0059, 0x000f, 0, 0 },
    { KEY_KPCOMMA, "kp_comma", 0x007e, 0x006d, 0, 0 },
    { KEY_RO, "ro", 0x0073, 0x0051, 0, 0 },
    { KEY_KATAKANAHIRAGANA, "katakanahiragana", 0x0070, 0x0013, 0, 0 },
    { KEY_HIRAGANA, "hiragana", 0x0077, 0x0062, 0, 0 },
    { KEY_HENKAN, "henkan", 0x0079, 0x0064, 0, 0 },
    { KEY_MUHENKAN, "muhenkan", 0x007b, 0x0067, 0, 0 },
    { KEY_YEN, "yen", 0x007d, 0x006a, 0, 0 },
    { KEY_POWER, "power", 0xe05e, 0xe037, 0, 0 },
    { KEY_SLEEP, "sleep", 0xe05f, 0xe03f, 0, 0 },
    { KEY_WAKEUP, "wake", 0xe063, 0xe05e, 0, 0 },
    { KEY_NEXTSONG, "audionext", 0xe019, 0xe04d, 0, 0 },
    { KEY_PREVIOUSSONG, "audioprev", 0xe010, 0xe015, 0, 0 },
    { KEY_STOPCD, "audiostop", 0xe024, 0xe03b, 0, 0 },
    { KEY_PLAYPAUSE, "audioplay", 0xe022, 0xe034, 0, 0 },
    { KEY_MUTE, "audiomute", 0xe020, 0xe023, 0, 0 },
    { KEY_VOLUMEUP, "volumeup", 0xe030, 0xe032, 0, 0 },
    { KEY_VOLUMEDOWN, "volumedown", 0xe02e, 0xe021, 0, 0 },
    { KEY_MEDIA, "mediaselect", 0xe06d, 0xe050, 0, 0 },
    { KEY_MAIL, "mail", 0xe06c, 0xe048, 0, 0 },
    { KEY_CALC, "calculator", 0xe021, 0xe02b, 0, 0 },
    { KEY_COMPUTER, "computer", 0xe06b, 0xe040, 0, 0 },
    { KEY_HOMEPAGE, "ac_home", 0xe032, 0xe03a, 0, 0 },
    { KEY_BACK, "ac_back", 0xe06a, 0xe038, 0, 0 },
    { KEY_FORWARD, "ac_forward", 0xe069, 0xe030, 0, 0 },
    { KEY_REFRESH, "ac_refresh", 0xe067, 0xe020, 0, 0 },
    { KEY_BOOKMARKS, "ac_bookmarks", 0xe066, 0xe018, 0, 0 },
    { KEY_SEARCH, "find", 0xe065, 0xe010, 0, 0 },
    { KEY_STOP, "stop", 0xe068, 0xe028, 0, 0 },
    { 0, NULL, 0, 0, 0, 0 },
};

/* Other spellings */
static const struct key_alias {
    const char *name;
    uint16_t keycode;
} key_aliases[] = {
    { "asterisk", KEY_KPASTERISK }, { "sysrq", KEY_SYSRQ },
    { "menu", KEY_COMPOSE }, { "<", KEY_102ND },
};

/* Keys without a Latin-1 character. */
static const struct keysym_row {
    uint16_t keysym, keycode;
} keysym_rows[] = {
    { 0xfe03, KEY_RIGHTALT }, { 0xfe20, KEY_TAB },
    { 0xff08, KEY_BACKSPACE }, { 0xff09, KEY_TAB },
    { 0xff0a, KEY_ENTER }, { 0xff0d, KEY_ENTER },
    { 0xff13, KEY_PAUSE }, { 0xff14, KEY_SCROLLLOCK },
    { 0xff15, KEY_SYSRQ }, { 0xff1b, KEY_ESC },
    { 0xff50, KEY_HOME }, { 0xff51, KEY_LEFT },
    { 0xff52, KEY_UP }, { 0xff53, KEY_RIGHT },
    { 0xff54, KEY_DOWN }, { 0xff55, KEY_PAGEUP },
    { 0xff56, KEY_PAGEDOWN }, { 0xff57, KEY_END },
    { 0xff61, KEY_SYSRQ }, { 0xff63, KEY_INSERT },
    { 0xff67, KEY_COMPOSE }, { 0xff6b, KEY_PAUSE },
    { 0xff7f, KEY_NUMLOCK }, { 0xff8d, KEY_KPENTER },
    { 0xff95, KEY_KP7 }, { 0xff96, KEY_KP4 },
    { 0xff97, KEY_KP8 }, { 0xff98, KEY_KP6 },
    { 0xff99, KEY_KP2 }, { 0xff9a, KEY_KP9 },
    { 0xff9b, KEY_KP3 }, { 0xff9c, KEY_KP1 },
    { 0xff9d, KEY_KP5 }, { 0xff9e, KEY_KP0 },
    { 0xff9f, KEY_KPDOT }, { 0xffaa, KEY_KPASTERISK },
    { 0xffab, KEY_KPPLUS }, { 0xffac, KEY_KPCOMMA },
    { 0xffad, KEY_KPMINUS }, { 0xffae, KEY_KPDOT },
    { 0xffaf, KEY_KPSLASH }, { 0xffb0, KEY_KP0 },
    { 0xffb1, KEY_KP1 }, { 0xffb2, KEY_KP2 },
    { 0xffb3, KEY_KP3 }, { 0xffb4, KEY_KP4 },
    { 0xffb5, KEY_KP5 }, { 0xffb6, KEY_KP6 },
    { 0xffb7, KEY_KP7 }, { 0xffb8, KEY_KP8 },
    { 0xffb9, KEY_KP9 }, { 0xffbd, KEY_KPEQUAL },
    { 0xffbe, KEY_F1 }, { 0xffbf, KEY_F2 },
    { 0xffc0, KEY_F3 }, { 0xffc1, KEY_F4 },
    { 0xffc2, KEY_F5 }, { 0xffc3, KEY_F6 },
    { 0xffc4, KEY_F7 }, { 0xffc5, KEY_F8 },
    { 0xffc6, KEY_F9 }, { 0xffc7, KEY_F10 },
    { 0xffc8, KEY_F11 }, { 0xffc9, KEY_F12 },
    { 0xffca, KEY_F13 }, { 0xffcb, KEY_F14 },
    { 0xffcc, KEY_F15 }, { 0xffcd, KEY_F16 },
    { 0xffce, KEY_F17 }, { 0xffcf, KEY_F18 },
    { 0xffd0, KEY_F19 }, { 0xffd1, KEY_F20 },
    { 0xffd2, KEY_F21 }, { 0xffd3, KEY_F22 },
    { 0xffd4, KEY_F23 }, { 0xffd5, KEY_F24 },
    { 0xffe1, KEY_LEFTSHIFT }, { 0xffe2, KEY_RIGHTSHIFT },
    { 0xffe3, KEY_LEFTCTRL }, { 0xffe4, KEY_RIGHTCTRL },
    { 0xffe5, KEY_CAPSLOCK }, { 0xffe7, KEY_LEFTALT },
    { 0xffe8, KEY_RIGHTALT }, { 0xffe9, KEY_LEFTALT },
    { 0xffea, KEY_RIGHTALT }, { 0xffeb, KEY_LEFTMETA },
    { 0xffec, KEY_RIGHTMETA }, { 0xffff, KEY_DELETE },
};
/* clang-format on */

enum {
    ALIASES = sizeof(key_aliases) / sizeof(key_aliases[0]),
    KEYSYMS = sizeof(keysym_rows) / sizeof(keysym_rows[0]),
    ROWS = sizeof(key_rows) / sizeof(key_rows[0]) - 1,
};

const struct key_row *key_find(unsigned keycode)
{
    for (const struct key_row *r = key_rows; r->name != NULL; r++) {
        if (r->keycode == keycode) return r;
    }
    return NULL;
}

/* "0x1c": scan code of set 1, 0x80 added for prefixed ones. */
static unsigned key_by_number(const char *text)
{
    char *end;
    unsigned long v = strtoul(text, &end, 16);

    if (*end != '\0' || v == 0 || v > 0xff) return 0;
    if (v >= 0x80) v = 0xe000 | (v & 0x7f);
    for (const struct key_row *r = key_rows; r->name != NULL; r++) {
        if (r->set1 == v) return r->keycode;
    }
    return 0;
}

unsigned input_key_by_name(const char *name)
{
    if (strncmp(name, "0x", 2) == 0) return key_by_number(name);
    for (const struct key_row *r = key_rows; r->name != NULL; r++) {
        if (strcmp(r->name, name) == 0) return r->keycode;
    }
    for (unsigned i = 0; i < ALIASES; i++) {
        if (strcmp(key_aliases[i].name, name) == 0)
            return key_aliases[i].keycode;
    }
    return 0;
}

const char *input_key_name(unsigned keycode)
{
    const struct key_row *r = key_find(keycode);

    return r != NULL ? r->name : NULL;
}

const char *input_key_name_at(unsigned i)
{
    if (i < ROWS) return key_rows[i].name;
    return i - ROWS < ALIASES ? key_aliases[i - ROWS].name : NULL;
}

unsigned input_key_for_char(uint32_t ch, bool *needs_shift)
{
    bool dummy;

    if (needs_shift == NULL) needs_shift = &dummy;
    *needs_shift = false;
    switch (ch) {
    case '\n':
    case '\r': return KEY_ENTER;
    case '\t': return KEY_TAB;
    case '\b':
    case 0x7f: return KEY_BACKSPACE;
    case 0x1b: return KEY_ESC;
    default: break;
    }
    if (ch < ' ' || ch > '~') return 0;
    for (const struct key_row *r = key_rows; r->name != NULL; r++) {
        if ((uint32_t)r->ch == ch) return r->keycode;
        if ((uint32_t)r->shifted != ch) continue;
        *needs_shift = true;
        return r->keycode;
    }
    return 0;
}

unsigned input_key_for_keysym(uint32_t keysym)
{
    /* 0x01000000 + n stands for the Unicode character n. */
    if (keysym >= 0x01000020 && keysym < 0x0100007f) keysym &= 0x7f;
    if (keysym >= ' ' && keysym <= '~') return input_key_for_char(keysym, NULL);
    for (unsigned i = 0; i < KEYSYMS; i++) {
        if (keysym_rows[i].keysym == keysym) return keysym_rows[i].keycode;
    }
    return 0;
}

/* Copy a fixed sequence; returns its length. */
static unsigned put_all(uint8_t *out, const uint8_t *seq, unsigned octets)
{
    memcpy(out, seq, octets);
    return octets;
}

unsigned input_scancode_set1(unsigned keycode, bool is_down, uint8_t *out)
{
    static const uint8_t pause[] = { 0xe1, 0x1d, 0x45, 0xe1, 0x9d, 0xc5 };
    static const uint8_t print[] = { 0xe0, 0x2a, 0xe0, 0x37 };
    static const uint8_t print_up[] = { 0xe0, 0xb7, 0xe0, 0xaa };
    const struct key_row *r = key_find(keycode);
    unsigned n = 0;

    if (keycode == KEY_PAUSE) /* sends everything when pressed */
        return is_down ? put_all(out, pause, sizeof(pause)) : 0;
    if (keycode == KEY_SYSRQ)
        return put_all(out, is_down ? print : print_up, sizeof(print));
    if (r == NULL) return 0;
    if (r->set1 > 0xff) out[n++] = 0xe0;
    out[n++] = (r->set1 & 0x7f) | (is_down ? 0 : 0x80);
    return n;
}

unsigned input_scancode_set2(unsigned keycode, bool is_down, uint8_t *out)
{
    static const uint8_t pause[] = { 0xe1, 0x14, 0x77, 0xe1,
                                     0xf0, 0x14, 0xf0, 0x77 };
    static const uint8_t print[] = { 0xe0, 0x12, 0xe0, 0x7c };
    static const uint8_t print_up[] = { 0xe0, 0xf0, 0x7c, 0xe0, 0xf0, 0x12 };
    const struct key_row *r = key_find(keycode);
    unsigned n = 0;

    if (keycode == KEY_PAUSE)
        return is_down ? put_all(out, pause, sizeof(pause)) : 0;
    if (keycode == KEY_SYSRQ && is_down)
        return put_all(out, print, sizeof(print));
    if (keycode == KEY_SYSRQ) return put_all(out, print_up, sizeof(print_up));
    if (r == NULL) return 0;
    if (r->set2 > 0xff) out[n++] = 0xe0;
    if (!is_down) out[n++] = 0xf0;
    out[n++] = r->set2 & 0xff;
    return n;
}
