/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_SOFT_LAYOUT_H
#define ORRERY_SOFT_LAYOUT_H

/*
 * Offsets in struct engine for entry.S; layout.c asserts that they are true.
 */
#define GS_ATTN       0x30000
#define GS_CAUSE      0x30004
#define GS_HOST_RSP   0x30008
#define GS_HOST_FLAGS 0x30010
#define GS_LINK       0x30018
#define GS_TEMP       0x30020
#define GS_GPR        0x30100
#define GS_RIP        0x30180

/* enum leave_cause */
#define CAUSE_LOOKUP  0
#define CAUSE_EMULATE 1
#define CAUSE_ATTEND  2
#define CAUSE_SLOW    3

#endif
