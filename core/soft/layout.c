/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/soft/layout.h"

#include "core/soft/engine.h"
#include "core/soft/rep.h"

/* The layout generated code and entry.S depend on. */
#define AT(offset, field) \
    _Static_assert(offsetof(struct engine, field) == (offset), #field)

_Static_assert(sizeof(struct tlb_entry) == 32, "probe shifts by 7");
_Static_assert(sizeof(struct tlb_entry) * TLB_ENTRIES == TLB_SPAN, "TLB");
_Static_assert(TLB_SPAN == 1 << TLB_SPAN_SHIFT, "TLB");
_Static_assert(TLB_ENTRY_MASK == (TLB_ENTRIES - 1) * 32, "TLB");
_Static_assert(FIELDS_AT == GS_FIELDS, "fields");
AT(IBT_AT, ibt);
AT(FIELDS_AT, attn);
AT(GS_ATTN, attn);
AT(GS_CAUSE, cause);
AT(GS_HOST_RSP, host_rsp);
AT(GS_HOST_FLAGS, host_flags);
AT(GS_LINK, link);
AT(GS_TEMP, temp);
AT(GS_SAVED_AX, saved_flags);
AT(GS_GPR, cpu.gpr);
AT(GS_RIP, cpu.rip);
AT(GS_STACK, stack);
_Static_assert(sizeof(struct stack_page) == 24, "GS_STACK");
_Static_assert(sizeof(struct slow_site) == SITE_SIZE, "site");
_Static_assert(offsetof(struct slow_site, bytes) == SITE_BYTES, "site");
_Static_assert(offsetof(struct slow_site, is_stack) == SITE_STACK, "site");
_Static_assert(offsetof(struct slow_site, is_group) == SITE_GROUP, "site");
AT(GS_RFLAGS, cpu.rflags);
AT(GS_SEG_CS, cpu.seg[SEG_CS]);
_Static_assert(SEG_SS == SEG_CS + 1, "copied together");
_Static_assert(sizeof(struct cpu_segment) == 16, "copied by quads");
AT(GS_IBT, ibt[SPACE_USER]);
AT(GS_IBT_MASK, ibt_mask);
AT(GS_IF_FLAG, if_flag);
AT(GS_IS_WAITING, is_waiting);
AT(GS_OTHER_FLAGS, other_flags);
AT(GS_CAN_CALL, ring.can_call);
AT(GS_CAN_RETURN, ring.can_return);
AT(GS_RING_CLEAR, ring.clear);
AT(GS_RING_TARGET, ring.target);
AT(GS_RING_SLOT, ring.slot);
AT(GS_RING_KERNEL, ring.kernel);
AT(GS_RING_USER, ring.user);
AT(GS_STALE, is_mode_stale);
_Static_assert(LEAVE_LOOKUP == CAUSE_LOOKUP, "cause");
_Static_assert(LEAVE_EMULATE == CAUSE_EMULATE, "cause");
_Static_assert(LEAVE_ATTEND == CAUSE_ATTEND, "cause");
_Static_assert(LEAVE_SLOW == CAUSE_SLOW, "cause");
_Static_assert(REP_DOWN == REP_DOWN_BIT, "entry.S");
_Static_assert(LEAVE_IRET == CAUSE_IRET, "cause");
