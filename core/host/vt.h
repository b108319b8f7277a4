/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_HOST_VT_H
#define ORRERY_HOST_VT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * A terminal of 80x25 cells: text, the cursor and erase sequences of ECMA-48
 * that line editors and boot messages use, colours.  What it does not know it
 * skips.  Any octets may come; nothing goes back.
 */
enum { VT_COLS = 80, VT_ROWS = 25, VT_ARGS = 8 };

struct vt {
    uint8_t ch[VT_ROWS][VT_COLS];   /* code page 437 */
    uint8_t attr[VT_ROWS][VT_COLS]; /* VGA attribute */
    int col, row;                   /* col == VT_COLS: the line is full */
    uint8_t colour;
    enum { VT_PLAIN, VT_ESCAPE, VT_CSI, VT_SKIP } state;
    unsigned arg[VT_ARGS], args;
    uint32_t utf8;
    unsigned utf8_left;
};

void vt_reset(struct vt *t);
void vt_write(struct vt *t, const uint8_t *buf, size_t bytes);

#endif
