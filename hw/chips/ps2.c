/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * PS/2 keyboard.  The queue of keys holds 16 octets as the real one's; a key
 * that does not fit whole is lost and an overrun code takes the last place.
 */
#include "hw/chips/ps2.h"

#include <linux/input-event-codes.h>
#include <string.h>

#include "core/host/input.h"

/* Keyboard commands and answers */
enum {
    KBD_SET_LEDS = 0xed,
    KBD_ECHO = 0xee,
    KBD_SCAN_SET = 0xf0,
    KBD_GET_ID = 0xf2,
    KBD_RATE = 0xf3,
    KBD_ENABLE = 0xf4,
    KBD_DISABLE = 0xf5,
    KBD_DEFAULTS = 0xf6,
    KBD_ALL_FIRST = 0xf7, /* ..0xfa: set 3, type of all keys */
    KBD_ALL_LAST = 0xfa,
    KBD_KEY_FIRST = 0xfb, /* ..0xfd: set 3, type of the keys that follow */
    KBD_KEY_LAST = 0xfd,
    KBD_RESEND = 0xfe,
    KBD_RESET = 0xff,

    PS2_ACK = 0xfa,
    PS2_BAT_OK = 0xaa,
    PS2_RESEND = 0xfe,
    KBD_RATE_DEFAULT = 0x2b, /* 500 ms, 10.9 per second */
};

/* Set 3 key types: what a key sends */
enum { KEY_MAKES = 1, KEY_BREAKS = 2, KEY_REPEATS = 4 };
/* struct ps2_kbd mods */
enum { MOD_ALT = 1, MOD_CTRL = 2 };

void ps2_queue_clear(struct ps2_queue *q)
{
    q->head = 0;
    q->len = 0;
}

bool ps2_queue_put(struct ps2_queue *q, uint8_t v)
{
    if (q->len >= PS2_QUEUE) return false;
    q->data[(q->head + q->len) % PS2_QUEUE] = v;
    q->len++;
    return true;
}

bool ps2_queue_get(struct ps2_queue *q, uint8_t *v)
{
    if (q->len == 0) return false;
    *v = q->data[q->head % PS2_QUEUE];
    q->head = (q->head + 1) % PS2_QUEUE;
    q->len--;
    return true;
}

unsigned ps2_queue_room(const struct ps2_queue *q)
{
    return q->len < PS2_QUEUE ? PS2_QUEUE - q->len : 0;
}

bool ps2_queue_is_valid(const struct ps2_queue *q)
{
    return q->head < PS2_QUEUE && q->len <= PS2_QUEUE;
}

/*
 * Scan code set 3: one octet per key.  Types at power-on: typematic, but
 * make/break for the shifting keys and make only for locks and functions.
 */
struct set3_key {
    uint8_t keycode, code, type;
};
#define T (KEY_MAKES | KEY_REPEATS)
#define B (KEY_MAKES | KEY_BREAKS)
#define M KEY_MAKES
/* clang-format off */
static const struct set3_key set3_keys[] = {
    { KEY_GRAVE, 0x0e, T }, { KEY_1, 0x16, T }, { KEY_2, 0x1e, T },
    { KEY_3, 0x26, T }, { KEY_4, 0x25, T }, { KEY_5, 0x2e, T },
    { KEY_6, 0x36, T }, { KEY_7, 0x3d, T }, { KEY_8, 0x3e, T },
    { KEY_9, 0x46, T }, { KEY_0, 0x45, T }, { KEY_MINUS, 0x4e, T },
    { KEY_EQUAL, 0x55, T }, { KEY_BACKSPACE, 0x66, T }, { KEY_TAB, 0x0d, T },
    { KEY_Q, 0x15, T }, { KEY_W, 0x1d, T }, { KEY_E, 0x24, T },
    { KEY_R, 0x2d, T }, { KEY_T, 0x2c, T }, { KEY_Y, 0x35, T },
    { KEY_U, 0x3c, T }, { KEY_I, 0x43, T }, { KEY_O, 0x44, T },
    { KEY_P, 0x4d, T }, { KEY_LEFTBRACE, 0x54, T },
    { KEY_RIGHTBRACE, 0x5b, T }, { KEY_BACKSLASH, 0x5c, T },
    { KEY_CAPSLOCK, 0x14, B }, { KEY_A, 0x1c, T }, { KEY_S, 0x1b, T },
    { KEY_D, 0x23, T }, { KEY_F, 0x2b, T }, { KEY_G, 0x34, T },
    { KEY_H, 0x33, T }, { KEY_J, 0x3b, T }, { KEY_K, 0x42, T },
    { KEY_L, 0x4b, T }, { KEY_SEMICOLON, 0x4c, T },
    { KEY_APOSTROPHE, 0x52, T }, { KEY_ENTER, 0x5a, T },
    { KEY_LEFTSHIFT, 0x12, B }, { KEY_102ND, 0x13, T }, { KEY_Z, 0x1a, T },
    { KEY_X, 0x22, T }, { KEY_C, 0x21, T }, { KEY_V, 0x2a, T },
    { KEY_B, 0x32, T }, { KEY_N, 0x31, T }, { KEY_M, 0x3a, T },
    { KEY_COMMA, 0x41, T }, { KEY_DOT, 0x49, T }, { KEY_SLASH, 0x4a, T },
    { KEY_RIGHTSHIFT, 0x59, B }, { KEY_LEFTCTRL, 0x11, B },
    { KEY_LEFTALT, 0x19, B }, { KEY_SPACE, 0x29, T },
    { KEY_RIGHTALT, 0x39, M }, { KEY_RIGHTCTRL, 0x58, M },
    { KEY_LEFTMETA, 0x8b, M }, { KEY_RIGHTMETA, 0x8c, M },
    { KEY_COMPOSE, 0x8d, M }, { KEY_INSERT, 0x67, M },
    { KEY_DELETE, 0x64, T }, { KEY_LEFT, 0x61, T }, { KEY_HOME, 0x6e, M },
    { KEY_END, 0x65, M }, { KEY_UP, 0x63, T }, { KEY_DOWN, 0x60, T },
    { KEY_PAGEUP, 0x6f, M }, { KEY_PAGEDOWN, 0x6d, M },
    { KEY_RIGHT, 0x6a, T }, { KEY_NUMLOCK, 0x76, M }, { KEY_KP7, 0x6c, M },
    { KEY_KP4, 0x6b, M }, { KEY_KP1, 0x69, M }, { KEY_KPSLASH, 0x77, M },
    { KEY_KP8, 0x75, M }, { KEY_KP5, 0x73, M }, { KEY_KP2, 0x72, M },
    { KEY_KP0, 0x70, M }, { KEY_KPASTERISK, 0x7e, M }, { KEY_KP9, 0x7d, M },
    { KEY_KP6, 0x74, M }, { KEY_KP3, 0x7a, M }, { KEY_KPDOT, 0x71, M },
    { KEY_KPMINUS, 0x84, M }, { KEY_KPPLUS, 0x7c, T },
    { KEY_KPENTER, 0x79, M }, { KEY_ESC, 0x08, M }, { KEY_F1, 0x07, M },
    { KEY_F2, 0x0f, M }, { KEY_F3, 0x17, M }, { KEY_F4, 0x1f, M },
    { KEY_F5, 0x27, M }, { KEY_F6, 0x2f, M }, { KEY_F7, 0x37, M },
    { KEY_F8, 0x3f, M }, { KEY_F9, 0x47, M }, { KEY_F10, 0x4f, M },
    { KEY_F11, 0x56, M }, { KEY_F12, 0x5e, M }, { KEY_SYSRQ, 0x57, M },
    { KEY_SCROLLLOCK, 0x5f, M }, { KEY_PAUSE, 0x62, M },
};
/* clang-format on */
#undef T
#undef B
#undef M
enum { SET3_KEYS = sizeof(set3_keys) / sizeof(set3_keys[0]) };

uint8_t ps2_set3_code(unsigned keycode)
{
    for (unsigned i = 0; i < SET3_KEYS; i++) {
        if (set3_keys[i].keycode == keycode) return set3_keys[i].code;
    }
    return 0;
}

static void kbd_default_types(struct ps2_kbd *k)
{
    memset(k->key_type, 0, sizeof(k->key_type));
    for (unsigned i = 0; i < SET3_KEYS; i++) {
        k->key_type[set3_keys[i].code] = set3_keys[i].type;
    }
}

static void kbd_defaults(struct ps2_kbd *k)
{
    ps2_queue_clear(&k->keys);
    k->command = 0;
    k->set = 2;
    k->rate = KBD_RATE_DEFAULT;
    kbd_default_types(k);
}

void ps2_kbd_reset(struct ps2_kbd *k)
{
    ps2_queue_clear(&k->answers);
    kbd_defaults(k);
    k->leds = 0;
    k->last = 0;
    k->is_enabled = true;
}

/* Second octet of a two-octet command.  False: v is a new command. */
static bool kbd_parameter(struct ps2_kbd *k, uint8_t v)
{
    uint8_t command = k->command;

    if (command == 0) return false;
    k->command = 0;
    if (v >= KBD_SET_LEDS) return false; /* gives the command up */
    switch (command) {
    case KBD_SET_LEDS: k->leds = v & 7; break;
    case KBD_RATE: k->rate = v & 0x7f; break;
    case KBD_SCAN_SET:
        if (v > 3) {
            ps2_queue_put(&k->answers, PS2_RESEND);
            k->command = command;
            return true;
        }
        ps2_queue_put(&k->answers, PS2_ACK);
        if (v == 0) {
            ps2_queue_put(&k->answers, k->set);
        } else {
            k->set = v;
            ps2_queue_clear(&k->keys);
        }
        return true;
    default: /* key types: any number of codes follow */
        k->key_type[v] = command == KBD_KEY_FIRST  ? KEY_MAKES | KEY_REPEATS
                         : command == KBD_KEY_LAST ? KEY_MAKES
                                                   : KEY_MAKES | KEY_BREAKS;
        k->command = command;
        break;
    }
    ps2_queue_put(&k->answers, PS2_ACK);
    return true;
}

/* 0xf7 typematic, 0xf8 make/break, 0xf9 make, 0xfa all three */
static uint8_t kbd_all_type(uint8_t command)
{
    switch (command) {
    case KBD_ALL_FIRST: return KEY_MAKES | KEY_REPEATS;
    case KBD_ALL_FIRST + 1: return KEY_MAKES | KEY_BREAKS;
    case KBD_ALL_FIRST + 2: return KEY_MAKES;
    default: return KEY_MAKES | KEY_BREAKS | KEY_REPEATS;
    }
}

void ps2_kbd_write(struct ps2_kbd *k, uint8_t v)
{
    if (kbd_parameter(k, v)) return;
    /* A new command stops answers to the one before. */
    if (v != KBD_RESEND) ps2_queue_clear(&k->answers);
    if (v >= KBD_ALL_FIRST && v <= KBD_ALL_LAST) {
        memset(k->key_type, kbd_all_type(v), sizeof(k->key_type));
        ps2_queue_clear(&k->keys);
        ps2_queue_put(&k->answers, PS2_ACK);
        return;
    }
    switch (v) {
    case KBD_ECHO: ps2_queue_put(&k->answers, KBD_ECHO); return;
    case KBD_RESEND: ps2_queue_put(&k->answers, k->last); return;
    case KBD_SET_LEDS:
    case KBD_RATE:
    case KBD_SCAN_SET:
    case KBD_KEY_FIRST:
    case KBD_KEY_FIRST + 1:
    case KBD_KEY_LAST: k->command = v; break;
    case KBD_GET_ID:
        ps2_queue_put(&k->answers, PS2_ACK);
        ps2_queue_put(&k->answers, 0xab);
        ps2_queue_put(&k->answers, 0x83);
        return;
    case KBD_ENABLE:
        k->is_enabled = true;
        ps2_queue_clear(&k->keys);
        break;
    case KBD_DISABLE:
        kbd_defaults(k);
        k->is_enabled = false;
        break;
    case KBD_DEFAULTS: kbd_defaults(k); break;
    case KBD_RESET:
        ps2_kbd_reset(k);
        ps2_queue_put(&k->answers, PS2_ACK);
        ps2_queue_put(&k->answers, PS2_BAT_OK);
        return;
    default: ps2_queue_put(&k->answers, PS2_RESEND); return;
    }
    ps2_queue_put(&k->answers, PS2_ACK);
}

static unsigned kbd_set3_sequence(const struct ps2_kbd *k, unsigned keycode,
                                  bool is_down, uint8_t *out)
{
    uint8_t code = ps2_set3_code(keycode);
    unsigned n = 0;

    if (code == 0) return 0;
    if (!is_down) {
        if ((k->key_type[code] & KEY_BREAKS) == 0) return 0;
        out[n++] = 0xf0;
    }
    out[n++] = code;
    return n;
}

/* Alt + PrintScreen is SysRq, Ctrl + Pause is Break: codes of their own in
 * sets 1 and 2.  False: an ordinary key. */
static bool kbd_combination(const struct ps2_kbd *k, unsigned keycode,
                            bool is_down, uint8_t *out, unsigned *n)
{
    static const uint8_t break1[] = { 0xe0, 0x46, 0xe0, 0xc6 };
    static const uint8_t break2[] = { 0xe0, 0x7e, 0xe0, 0xf0, 0x7e };
    bool is_set1 = k->set == 1;

    if (keycode == KEY_SYSRQ && (k->mods & MOD_ALT) != 0) {
        *n = 0;
        if (!is_set1 && !is_down) out[(*n)++] = 0xf0;
        out[(*n)++] = is_set1 ? (is_down ? 0x54 : 0xd4) : 0x84;
        return true;
    }
    if (keycode == KEY_PAUSE && (k->mods & MOD_CTRL) != 0) {
        *n = !is_down ? 0 : is_set1 ? sizeof(break1) : sizeof(break2);
        memcpy(out, is_set1 ? break1 : break2, *n);
        return true;
    }
    return false;
}

static void kbd_track(struct ps2_kbd *k, unsigned keycode, bool is_down)
{
    uint8_t bit = keycode == KEY_LEFTALT || keycode == KEY_RIGHTALT ? MOD_ALT
                  : keycode == KEY_LEFTCTRL || keycode == KEY_RIGHTCTRL
                      ? MOD_CTRL
                      : 0;

    k->mods = is_down ? k->mods | bit : k->mods & ~bit;
}

void ps2_kbd_key(struct ps2_kbd *k, unsigned keycode, bool is_down)
{
    uint8_t seq[8];
    unsigned n;

    kbd_track(k, keycode, is_down);
    if (!k->is_enabled) return;
    if (k->set == 3) {
        n = kbd_set3_sequence(k, keycode, is_down, seq);
    } else if (kbd_combination(k, keycode, is_down, seq, &n)) {
        /* n is set */
    } else if (k->set == 1) {
        n = input_scancode_set1(keycode, is_down, seq);
    } else {
        n = input_scancode_set2(keycode, is_down, seq);
    }
    if (n == 0) return;
    if (n < ps2_queue_room(&k->keys)) {
        for (unsigned i = 0; i < n; i++) {
            ps2_queue_put(&k->keys, seq[i]);
        }
        return;
    }
    /* Overrun: code 0xff in set 1, 0x00 in sets 2 and 3, once. */
    while (ps2_queue_room(&k->keys) > 0) {
        ps2_queue_put(&k->keys, k->set == 1 ? 0xff : 0x00);
    }
}

bool ps2_kbd_read(struct ps2_kbd *k, uint8_t *v, bool *is_answer)
{
    bool has_answer = ps2_queue_get(&k->answers, v);

    if (is_answer != NULL) *is_answer = has_answer;
    if (!has_answer && !ps2_queue_get(&k->keys, v)) return false;
    k->last = *v;
    return true;
}

bool ps2_kbd_has_data(const struct ps2_kbd *k)
{
    return k->answers.len != 0 || k->keys.len != 0;
}

bool ps2_kbd_is_valid(const struct ps2_kbd *k)
{
    return ps2_queue_is_valid(&k->answers) && ps2_queue_is_valid(&k->keys) &&
           k->set >= 1;
}

static const struct field ps2_queue_state[] = {
    BYTES(ps2_queue, data),
    U8_MAX(ps2_queue, head, PS2_QUEUE - 1),
    U8_MAX(ps2_queue, len, PS2_QUEUE),
    STATE_END,
};

const struct field ps2_kbd_state[] = {
    STRUCT(ps2_kbd, answers, ps2_queue_state),
    STRUCT(ps2_kbd, keys, ps2_queue_state),
    U8(ps2_kbd, command),
    U8_MAX(ps2_kbd, set, 3),
    U8_MAX(ps2_kbd, leds, 7),
    U8_MAX(ps2_kbd, rate, 0x7f),
    BOOL(ps2_kbd, is_enabled),
    U8(ps2_kbd, last),
    U8_MAX(ps2_kbd, mods, 3),
    BYTES(ps2_kbd, key_type),
    STATE_END,
};

const struct field ps2_mouse_state[] = {
    STRUCT(ps2_mouse, answers, ps2_queue_state),
    STRUCT(ps2_mouse, events, ps2_queue_state),
    U8(ps2_mouse, command),
    U8_MAX(ps2_mouse, id, 4),
    U8(ps2_mouse, rate),
    U8_MAX(ps2_mouse, resolution, 3),
    U8_MAX(ps2_mouse, knock, 4),
    BOOL(ps2_mouse, is_enabled),
    BOOL(ps2_mouse, is_remote),
    BOOL(ps2_mouse, is_wrap),
    BOOL(ps2_mouse, is_scaled),
    U8_MAX(ps2_mouse, buttons, 31),
    U8_MAX(ps2_mouse, sent_buttons, 31),
    U32(ps2_mouse, dx),
    U32(ps2_mouse, dy),
    U32(ps2_mouse, dz),
    U8(ps2_mouse, last),
    STATE_END,
};
