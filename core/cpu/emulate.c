/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * One-instruction emulation: fetch, decode, execute, and what surrounds an
 * instruction (LOCK legality, interrupt shadow, RF, single step,
 * instruction breakpoints).
 */
#include "core/cpu/emulate.h"

#include "core/cpu/emu.h"

/* Copy up to 15 instruction bytes of the page at lin to i->bytes + have. */
static unsigned fetch_page(struct cpu *c, uint64_t lin, uint8_t *to,
                           unsigned want)
{
    unsigned room = 4096 - (lin & 4095);
    if (want > room) want = room;
    const uint8_t *p = c->ops->lin_ptr(c, lin, ACC_EXEC);
    if (!p) {
        c->ops->load(c, lin, to, want, ACC_EXEC);
        return want;
    }
    for (unsigned n = 0; n < want; n++) {
        to[n] = p[n];
    }
    return want;
}

/* Bytes of CS left at rip, at most 15; none: #GP. */
static unsigned code_limit(struct cpu *c, bool is_code64)
{
    if (is_code64) {
        if (!is_canonical(c->rip)) throw_gp(c, 0);
        return INSN_MAX_BYTES;
    }
    uint32_t limit = c->seg[SEG_CS].limit, ip = (uint32_t)c->rip;
    if (c->rip >> 32 || ip > limit) throw_gp(c, 0);
    uint64_t left = (uint64_t)limit - ip + 1;
    return left < INSN_MAX_BYTES ? (unsigned)left : INSN_MAX_BYTES;
}

static void fetch(struct cpu *c, struct insn *i)
{
    bool is_code64 = cpu_is_code64(c);
    bool is_32 = c->seg[SEG_CS].attr & SEG_ATTR_DB;
    unsigned mode = is_code64 ? 8 : is_32 ? 4 : 2;
    unsigned limit = code_limit(c, is_code64);
    uint64_t lin = c->rip + (is_code64 ? 0 : c->seg[SEG_CS].base);
    if (!is_code64) lin = (uint32_t)lin;
    unsigned have = fetch_page(c, lin, i->bytes, limit);
    enum insn_result r = insn_decode(i, have, mode, is_real_style(c));
    if (r == INSN_SHORT && have < limit) {
        uint64_t next = lin + have;
        if (!is_code64) next = (uint32_t)next;
        have += fetch_page(c, next, i->bytes + have, limit - have);
        r = insn_decode(i, have, mode, is_real_style(c));
    }
    if (r == INSN_INVALID) throw_ud(c);
    if (r != INSN_OK) throw_gp(c, 0);
    i->next = c->rip + i->len;
    if (mode != 8) i->next = (uint32_t)i->next;
}

/* SDM volume 2, LOCK: the instructions it may stand before, and only with a
 * memory destination. */
static bool is_lockable(const struct insn *i)
{
    unsigned op = i->op, n = i->reg & 7;
    if (!i->has_modrm || i->mod == 3 || i->has_vex) return false;
    if (i->map == MAP_ONE) {
        if (op < 0x38) return (op & 7) < 2;
        if (op == 0x80 || op == 0x81 || op == 0x82 || op == 0x83) {
            return n != 7;
        }
        if (op == 0x86 || op == 0x87) return true;
        if (op == 0xf6 || op == 0xf7) return n == 2 || n == 3;
        if (op == 0xfe || op == 0xff) return n < 2;
        return false;
    }
    if (i->map != MAP_0F) return false;
    switch (op) {
    case 0xab:
    case 0xb0:
    case 0xb1:
    case 0xb3:
    case 0xbb:
    case 0xc0:
    case 0xc1: return true;
    case 0xba: return n >= 5;
    case 0xc7: return n == 1;
    default: return false;
    }
}

static void execute(struct cpu *c, struct insn *i)
{
    if (i->has_lock && !is_lockable(i)) throw_ud(c);
    if (!insn_is_offered(c->model, i)) throw_ud(c);
    switch (i->map) {
    case MAP_ONE: emulate_one_byte(c, i); break;
    case MAP_0F: emulate_0f(c, i); break;
    case MAP_0F38: emulate_0f38(c, i); break;
    default: emulate_0f3a(c, i); break;
    }
}

/* An exception that a snapshot (of KVM) holds between fault and delivery. */
static enum cpu_step deliver_pending(struct cpu *c)
{
    bool has_error = c->has_pending_error;
    c->has_pending_exception = c->has_pending_error = false;
    return cpu_deliver_exception(c, c->pending_vector, has_error,
                                 c->pending_error);
}

/* Traps after an instruction; single: the CPU's TF was set before it. */
static enum cpu_step trap(struct cpu *c, bool is_single)
{
    c->dr[6] |= c->debug_hits | (is_single ? 1u << 14 : 0); /* BS */
    c->debug_hits = 0;
    c->activity = CPU_ACTIVE;
    return cpu_deliver_exception(c, EXC_DB, false, 0);
}

static enum cpu_step emulate(struct cpu *c, void *unused)
{
    (void)unused;
    struct insn i;
    if (c->has_pending_exception) return deliver_pending(c);
    bool is_single = c->rflags & FLAG_TF;
    /* MOV SS holds back its own traps: 6.8.3 */
    if (!c->has_intr_shadow) c->debug_hits = 0;
    if (has_breakpoints(c) && !(c->rflags & FLAG_RF)) check_breakpoints(c);
    fetch(c, &i);
    execute(c, &i);
    c->rip = i.next;
    if (c->has_intr_shadow != i.shadows) {
        c->has_intr_shadow = i.shadows;
        mode_changed(c);
    }
    /* Whatever comes between two iterations finds RF set, and a breakpoint is
     * met before the first one alone: SDM volume 3B 17.3.1.1. */
    if (i.goes_on) {
        c->rflags |= FLAG_RF;
    } else if (!i.keeps_rf) {
        c->rflags &= ~(uint64_t)FLAG_RF;
    }
    is_single = is_single && !i.no_trap;
    if (is_single || (c->debug_hits && !i.shadows)) {
        return trap(c, is_single);
    }
    if (c->activity == CPU_SHUTDOWN) return STEP_SHUTDOWN;
    return c->activity == CPU_HALTED ? STEP_HALT : STEP_OK;
}

enum cpu_step cpu_emulate(struct cpu *c)
{
    return cpu_try(c, emulate, NULL);
}
