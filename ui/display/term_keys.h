/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_UI_DISPLAY_TERM_KEYS_H
#define ORRERY_UI_DISPLAY_TERM_KEYS_H

#include <stdbool.h>

/*
 * Terminal input to key codes of core/host/input.h.  A terminal sends
 * characters and not keys, so every input becomes one key with the modifiers
 * it needs on a US keyboard.  Knows nothing of a VM: the manager uses it too.
 */
enum { TERM_SHIFT = 1, TERM_CTRL = 2, TERM_ALT = 4 };

/* One unit of input as read from ncurses. */
struct term_input {
    bool is_function; /* code is a KEY_* of ncurses, else a character */
    bool has_alt;     /* came behind an ESC */
    unsigned code;
};

struct term_key {
    unsigned keycode; /* Linux input event code */
    unsigned mods;    /* TERM_* */
};

enum { TERM_KEY_CODES = 4 };

/* After newterm(): know the cursor keys in both of their forms; not every
 * terminal follows the mode its terminfo entry asks for. */
void term_input_init(void);

/* Next input of the window (nodelay and keypad are on).  false: none. */
bool term_input_read(void *window, struct term_input *in);

/* false: nothing on a PC keyboard makes this. */
bool term_key_decode(const struct term_input *in, struct term_key *out);

/* Modifiers and the key in pressing order; returns how many. */
unsigned term_key_codes(const struct term_key *k,
                        unsigned codes[TERM_KEY_CODES]);

#endif
