/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/soft/translate.h"

#include <string.h>

/*
 * Which arithmetic flags are live where.  A TLB check destroys the host's
 * flags; where the guest's are dead that costs nothing.
 */

enum { PEEK_INSNS = 8, INSN_BYTES = 15 };

/* A count of zero leaves the flags alone. */
static bool may_keep_flags(const ZydisDecodedInstruction *d)
{
    switch (d->mnemonic) {
    case ZYDIS_MNEMONIC_SHL:
    case ZYDIS_MNEMONIC_SHR:
    case ZYDIS_MNEMONIC_SAR:
    case ZYDIS_MNEMONIC_ROL:
    case ZYDIS_MNEMONIC_ROR:
    case ZYDIS_MNEMONIC_RCL:
    case ZYDIS_MNEMONIC_RCR:
    case ZYDIS_MNEMONIC_SHLD:
    case ZYDIS_MNEMONIC_SHRD:
        if (d->raw.imm[0].size) return (d->raw.imm[0].value.u & 31) == 0;
        return !(d->opcode_map == ZYDIS_OPCODE_MAP_DEFAULT &&
                 (d->opcode == 0xd0 || d->opcode == 0xd1));
    default:
        return d->attributes & (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE |
                                ZYDIS_ATTRIB_HAS_REPNE);
    }
}

void insn_flags(const ZydisDecodedInstruction *d, uint32_t *use, uint32_t *kill,
                uint32_t *undefined)
{
    const ZydisAccessedFlags *f = d->cpu_flags;

    *use = *kill = *undefined = 0;
    switch (d->mnemonic) {
    case ZYDIS_MNEMONIC_PUSHF:
    case ZYDIS_MNEMONIC_PUSHFD:
    case ZYDIS_MNEMONIC_PUSHFQ: *use = FLAGS_ARITH; return;
    default: break;
    }
    if (!f) return;
    *use = f->tested & FLAGS_ARITH;
    *kill = (f->modified | f->set_0 | f->set_1 | f->undefined) & FLAGS_ARITH;
    *undefined = f->undefined & FLAGS_ARITH;
    if (may_keep_flags(d)) {
        *undefined |= *kill & f->undefined;
        *kill = 0;
    }
}

/* Flags live at rip, looking at a few instructions there; only within the
 * block's pages, whose lines the block depends on from then on. */
static uint32_t peek(struct translator *t, uint64_t rip)
{
    uint32_t live = 0, open = FLAGS_ARITH;
    uint64_t lines[2] = { t->lines[0], t->lines[1] };

    for (int i = 0; i < PEEK_INSNS && open; i++) {
        uint64_t lin = t->mode.cs_base + rip;
        ZydisDecodedInstruction d;
        uint32_t use, kill, undefined;
        const uint8_t *p;
        unsigned left;

        if (!(t->mode.bits & BM_CODE64)) lin = (uint32_t)lin;
        p = code_at(t, lin, &left);
        if (!p || t->is_crossing) break;
        if ((lin ^ t->lin) >> PAGE_SHIFT && !t->lines[1]) break;
        if (left > INSN_BYTES) left = INSN_BYTES;
        if (ZYAN_FAILED(ZydisDecoderDecodeInstruction(block_decoder(t), NULL, p,
                                                      left, &d))) {
            break;
        }
        mark_lines(t, lin, d.length);
        insn_flags(&d, &use, &kill, &undefined);
        live |= use & open;
        open &= ~kill;
        if (!open) break;
        rip += d.length;
        switch (d.meta.category) {
        case ZYDIS_CATEGORY_UNCOND_BR:
        case ZYDIS_CATEGORY_CALL:
            if (!d.raw.imm[0].is_relative || d.operand_width == 16) goto out;
            rip += (uint64_t)d.raw.imm[0].value.s;
            if (!(t->mode.bits & BM_CODE64)) rip = (uint32_t)rip;
            break;
        case ZYDIS_CATEGORY_RET:
        case ZYDIS_CATEGORY_COND_BR:
        case ZYDIS_CATEGORY_SYSCALL:
        case ZYDIS_CATEGORY_SYSRET:
        case ZYDIS_CATEGORY_INTERRUPT: goto out;
        default: break;
        }
    }
out:
    live |= open;
    if (live == FLAGS_ARITH) memcpy(t->lines, lines, sizeof(lines));
    return live;
}

/* Flags live behind the last instruction, if it does not say otherwise. */
static uint32_t live_at_end(struct translator *t)
{
    const struct guest_insn *n = &t->insn[t->count - 1];

    switch (n->kind) {
    case INSN_JMP:
    case INSN_CALL: return peek(t, n->target);
    case INSN_JCC:
    case INSN_LOOP: return peek(t, n->next) | peek(t, n->target);
    case INSN_RET:
    case INSN_JMP_INDIRECT:
    case INSN_CALL_INDIRECT:
    case INSN_EMULATE: return FLAGS_ARITH;
    default: return peek(t, n->next);
    }
}

/*
 * Flags an instruction leaves undefined may keep the value they had (on AMD,
 * those of IMUL), which where they are dead before it is anything.  PUSHF stores
 * it: under verify=on they are live if the block reads them, so that it is what
 * the emulator has.
 */
void find_live_flags(struct translator *t)
{
    uint32_t live = live_at_end(t), read = 0;

    t->live_out = live;

    for (unsigned i = t->count; i-- > 0;) {
        struct guest_insn *n = &t->insn[i];
        if (n->kind == INSN_JCC && i + 1 < t->count) live |= peek(t, n->target);
        if (t->is_verified) n->kill &= ~(n->undefined & read);
        read = (read & ~n->kill) | n->use;
        live = (live & ~n->kill) | n->use;
        n->in = live;
    }
}
