/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_SOFT_LAYOUT_H
#define ORRERY_SOFT_LAYOUT_H

/*
 * Offsets in struct engine for entry.S; layout.c asserts that they are true.
 */
#define GS_ATTN       0x198000
#define GS_CAUSE      0x198004
#define GS_HOST_RSP   0x198008
#define GS_HOST_FLAGS 0x198010
#define GS_LINK       0x198018
#define GS_TEMP       0x198020
#define GS_SAVED_AX   0x198040
#define GS_GPR        0x198180
#define GS_RIP        0x198200
#define GS_STACK      0x198088

/* struct slow_site */
#define SITE_BYTES 8
#define SITE_STACK 12
#define SITE_GROUP 13

/* enum leave_cause */
#define CAUSE_LOOKUP  0
#define CAUSE_EMULATE 1
#define CAUSE_ATTEND  2
#define CAUSE_SLOW    3

#endif
