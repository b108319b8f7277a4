/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_HOST_KEYS_H
#define ORRERY_HOST_KEYS_H

#include <stdint.h>

/* The key table behind core/host/input.h; ends with name NULL. */
struct key_row {
    uint16_t keycode; /* KEY_* */
    const char *name;
    uint16_t set1, set2; /* 0xe0xx: with prefix */
    char ch, shifted;    /* US layout, 0 = none */
};
extern const struct key_row key_rows[];

const struct key_row *key_find(unsigned keycode); /* NULL: no such key */

#endif
