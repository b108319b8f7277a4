/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_HOST_INPUT_H
#define ORRERY_HOST_INPUT_H

#include <stdbool.h>
#include <stdint.h>

struct vm;
struct input;

/*
 * Keys are Linux input event codes (KEY_* of linux/input-event-codes.h): one
 * code per physical key.  Sinks and the monitor call input_*; emulated
 * keyboards and mice subscribe.  VM lock held for everything.
 */
struct input_handler {
    void (*key)(void *arg, unsigned keycode, bool is_down); /* or NULL */
    /* Relative motion in mouse counts, dz wheel clicks (+ = towards user). */
    void (*mouse)(void *arg, int dx, int dy, int dz, unsigned buttons);
    /* Absolute 0..32767 (tablets) or NULL. */
    void (*tablet)(void *arg, int x, int y, int dz, unsigned buttons);
    void *arg;
};
enum { INPUT_BTN_LEFT = 1, INPUT_BTN_RIGHT = 2, INPUT_BTN_MIDDLE = 4 };

struct input *vm_input(struct vm *vm); /* made on first use */
void input_destroy(struct input *in);
void input_add_handler_locked(struct input *in,
                              const struct input_handler *h);
void input_remove_handler_locked(struct input *in, void *arg);

void input_key_locked(struct input *in, unsigned keycode, bool is_down);
void input_mouse_locked(struct input *in, int dx, int dy, int dz,
                        unsigned buttons);
void input_tablet_locked(struct input *in, int x, int y, int dz,
                         unsigned buttons);
bool input_has_tablet(struct input *in);
void input_release_all_locked(struct input *in); /* all keys up */

/* Type keys with hold time between down and up, queued in order; guest time.
 * As sendkey does: all down in order, then up in reverse. */
void input_send_keys_locked(struct input *in, const unsigned *keycodes,
                            unsigned count, unsigned hold_ms);

/* QEMU's key names ("ret", "ctrl", "a", "kp_enter", ...); 0 if unknown. */
unsigned input_key_by_name(const char *name);
const char *input_key_name(unsigned keycode); /* NULL if none */
/* i-th name for completion, NULL at the end. */
const char *input_key_name_at(unsigned i);

/* US keyboard: key and shift for an ASCII character (terminal, paste);
 * 0 if it has none. */
unsigned input_key_for_char(uint32_t ch, bool *needs_shift);
/* X11 keysym (VNC, SDL text) to key code on a US layout; 0 unknown. */
unsigned input_key_for_keysym(uint32_t keysym);

/* PS/2: scan code set 1 and set 2 sequence (without break) of a key code.
 * Returns the number of octets (0 unknown, at most 8) in out. */
unsigned input_scancode_set1(unsigned keycode, bool is_down, uint8_t *out);
unsigned input_scancode_set2(unsigned keycode, bool is_down, uint8_t *out);

#endif
