/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_SOFT_LAYOUT_H
#define ORRERY_SOFT_LAYOUT_H

/*
 * Offsets in struct engine for entry.S; layout.c asserts that they are true.
 */
#define TLB_SPAN_SHIFT 18
#define TLB_ENTRY_MASK 0x3ffe0 /* of lin >> 7: offset of an entry */
#define GS_IBT         0xc0000
#define GS_FIELDS      0x240000
#define GS_ATTN        (GS_FIELDS + 0x0)
#define GS_CAUSE       (GS_FIELDS + 0x4)
#define GS_HOST_RSP    (GS_FIELDS + 0x8)
#define GS_HOST_FLAGS  (GS_FIELDS + 0x10)
#define GS_LINK        (GS_FIELDS + 0x18)
#define GS_TEMP        (GS_FIELDS + 0x20)
#define GS_SAVED_AX    (GS_FIELDS + 0x40)
#define GS_IBT_MASK    (GS_FIELDS + 0x48)
#define GS_IF_FLAG     (GS_FIELDS + 0x78)
#define GS_IS_WAITING  (GS_FIELDS + 0x7c)
#define GS_OTHER_FLAGS (GS_FIELDS + 0x80)
#define GS_STACK       (GS_FIELDS + 0x88)
#define GS_CAN_CALL    (GS_FIELDS + 0x160)
#define GS_CAN_RETURN  (GS_FIELDS + 0x161)
#define GS_RING_CLEAR  (GS_FIELDS + 0x168)
#define GS_RING_TARGET (GS_FIELDS + 0x170)
#define GS_RING_SLOT   (GS_FIELDS + 0x178)
#define GS_RING_KERNEL (GS_FIELDS + 0x180)
#define GS_RING_USER   (GS_FIELDS + 0x1a0)
#define GS_STALE       (GS_FIELDS + 0x1c0)
#define GS_GPR         (GS_FIELDS + 0x200)
#define GS_RIP         (GS_FIELDS + 0x280)
#define GS_RFLAGS      (GS_FIELDS + 0x288)
#define GS_SEG_CS      (GS_FIELDS + 0x2a0)

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
