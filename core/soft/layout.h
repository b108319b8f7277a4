/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_SOFT_LAYOUT_H
#define ORRERY_SOFT_LAYOUT_H

/*
 * Offsets in struct engine for entry.S; layout.c asserts that they are true.
 */
#define GS_IBT         0x18000
#define GS_ATTN        0x198000
#define GS_CAUSE       0x198004
#define GS_HOST_RSP    0x198008
#define GS_HOST_FLAGS  0x198010
#define GS_LINK        0x198018
#define GS_TEMP        0x198020
#define GS_SAVED_AX    0x198040
#define GS_IBT_MASK    0x198048
#define GS_IF_FLAG     0x198078
#define GS_IS_WAITING  0x19807c
#define GS_OTHER_FLAGS 0x198080
#define GS_STACK       0x198088
#define GS_CAN_CALL    0x198160
#define GS_CAN_RETURN  0x198161
#define GS_RING_CLEAR  0x198168
#define GS_RING_TARGET 0x198170
#define GS_RING_SLOT   0x198178
#define GS_RING_KERNEL 0x198180
#define GS_RING_USER   0x1981a0
#define GS_STALE       0x1981c0
#define GS_GPR         0x198200
#define GS_RIP         0x198280
#define GS_RFLAGS      0x198288
#define GS_SEG_CS      0x1982a0

/* struct slow_site */
#define SITE_BYTES 8
#define SITE_STACK 12
#define SITE_GROUP 13
#define SITE_SIZE  26

#define REP_DOWN_BIT 8

/* enum leave_cause */
#define CAUSE_LOOKUP  0
#define CAUSE_EMULATE 1
#define CAUSE_ATTEND  2
#define CAUSE_SLOW    3
#define CAUSE_IRET    4

#endif
