/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/soft/layout.h"

#include "core/soft/engine.h"

/* The layout generated code and entry.S depend on. */
#define AT(offset, field) \
    _Static_assert(offsetof(struct engine, field) == (offset), #field)

_Static_assert(sizeof(struct tlb_entry) == 32, "probe shifts by 7");
_Static_assert(sizeof(struct tlb_entry) * TLB_ENTRIES == TLB_SPAN, "TLB");
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
_Static_assert(offsetof(struct slow_site, bytes) == SITE_BYTES, "site");
_Static_assert(offsetof(struct slow_site, is_stack) == SITE_STACK, "site");
_Static_assert(offsetof(struct slow_site, is_group) == SITE_GROUP, "site");
_Static_assert(LEAVE_LOOKUP == CAUSE_LOOKUP, "cause");
_Static_assert(LEAVE_EMULATE == CAUSE_EMULATE, "cause");
_Static_assert(LEAVE_ATTEND == CAUSE_ATTEND, "cause");
_Static_assert(LEAVE_SLOW == CAUSE_SLOW, "cause");
