/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_SOFT_MOVE_H
#define ORRERY_SOFT_MOVE_H

#include <stdint.h>

/*
 * Moving blocks.  The same code at another linear address, as each process has
 * its libraries elsewhere, is not translated again: the block is copied, and
 * the fields of its code that depend on where it is, as guest code or as host
 * code, are changed.  The emitter notes them (emit.h); move.c does it.
 *
 * Only 64-bit user code at addresses of 33 bits and more, where the length of
 * an instruction does not depend on the address it holds, and only by whole
 * pages.  No jump out of the page leads further than MOVE_REACH, and no code
 * lies closer to where none can be.
 */
enum move_kind {
    MOVE_REL,    /* rel32, in the block or out of it */
    MOVE_ADD,    /* 64-bit guest address */
    MOVE_SUB,    /* the same, negative */
    MOVE_TARGET, /* disp32: slot of a guest address in the table of targets */
    MOVE_TLB,    /* disp32: field of an entry of the TLB */
    MOVE_NUMBER, /* bits 30:0: number of the block */
    MOVE_LINK,   /* a call of soft_exit_link, its data, the jump to it */
};

struct code_move {
    uint16_t at; /* off the start of the main path or of what is out of line */
    uint8_t kind;
    uint8_t is_cold;
};

enum { MOVES_MAX = 4096, MOVE_REACH = 1 << 24 };

#endif
