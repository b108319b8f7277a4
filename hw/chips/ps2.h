/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_HW_CHIPS_PS2_H
#define ORRERY_HW_CHIPS_PS2_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/vm/state.h"

/*
 * PS/2 keyboard and mouse as seen from their cable: the controller writes an
 * octet, and takes octets while has_data says so.  Answers to commands come
 * before events.  Document: IBM PS/2 Hardware Interface Technical Reference,
 * keyboard and mouse sections.  VM lock held.
 */
enum { PS2_QUEUE = 16 };

/* Ring of octets that drops what does not fit. */
struct ps2_queue {
    uint8_t data[PS2_QUEUE];
    uint8_t head, len;
};

void ps2_queue_clear(struct ps2_queue *q);
bool ps2_queue_put(struct ps2_queue *q, uint8_t v); /* false: full */
bool ps2_queue_get(struct ps2_queue *q, uint8_t *v);
unsigned ps2_queue_room(const struct ps2_queue *q);
/* For loaded hooks: head and len within the array. */
bool ps2_queue_is_valid(const struct ps2_queue *q);

struct ps2_kbd {
    struct ps2_queue answers, keys;
    uint8_t command; /* waits for its parameter, 0 = none */
    uint8_t set;     /* scan code set 1..3 */
    uint8_t leds, rate;
    bool is_enabled;
    uint8_t last;          /* for Resend */
    uint8_t mods;          /* Alt and Ctrl as they are held */
    uint8_t key_type[256]; /* set 3, by code: PS2_KEY_* */
};

void ps2_kbd_reset(struct ps2_kbd *k);
void ps2_kbd_write(struct ps2_kbd *k, uint8_t v);
/* A key of Linux input event code keycode. */
void ps2_kbd_key(struct ps2_kbd *k, unsigned keycode, bool is_down);
/* is_answer (may be NULL): the octet answers a command. */
bool ps2_kbd_read(struct ps2_kbd *k, uint8_t *v, bool *is_answer);
bool ps2_kbd_has_data(const struct ps2_kbd *k);
bool ps2_kbd_is_valid(const struct ps2_kbd *k);
/* Set 3 code of a key, 0 if it has none. */
uint8_t ps2_set3_code(unsigned keycode);

struct ps2_mouse {
    struct ps2_queue answers, events;
    uint8_t command;
    uint8_t id; /* 0 standard, 3 wheel, 4 wheel and five buttons */
    uint8_t rate, resolution;
    uint8_t knock; /* sample rates seen of the magic sequences */
    bool is_enabled, is_remote, is_wrap, is_scaled;
    uint8_t buttons, sent_buttons;
    uint32_t dx, dy, dz; /* motion not sent yet, two's complement */
    uint8_t last;
};

void ps2_mouse_reset(struct ps2_mouse *m);
void ps2_mouse_write(struct ps2_mouse *m, uint8_t v);
/* As struct input_handler's mouse: dy grows downwards. */
void ps2_mouse_move(struct ps2_mouse *m, int dx, int dy, int dz,
                    unsigned buttons);
bool ps2_mouse_read(struct ps2_mouse *m, uint8_t *v, bool *is_answer);
bool ps2_mouse_has_data(const struct ps2_mouse *m);
bool ps2_mouse_is_valid(const struct ps2_mouse *m);

extern const struct field ps2_kbd_state[], ps2_mouse_state[];

#endif
