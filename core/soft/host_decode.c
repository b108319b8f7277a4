/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/soft/translate.h"

#include <string.h>

#include "core/cpu/cpuid.h"

/*
 * From guest bytes to struct guest_insn: what each instruction is for the
 * rewriter.  Only what is known to be good is rewritten; everything else ends
 * the block and is emulated.
 */

enum { INSN_BYTES = 15 };

int guest_gpr(ZydisRegister r)
{
    if (r >= ZYDIS_REGISTER_AL && r <= ZYDIS_REGISTER_BL) {
        return r - ZYDIS_REGISTER_AL;
    }
    if (r >= ZYDIS_REGISTER_AH && r <= ZYDIS_REGISTER_BH) {
        return (r - ZYDIS_REGISTER_AH) | 0x100;
    }
    if (r >= ZYDIS_REGISTER_SPL && r <= ZYDIS_REGISTER_R15B) {
        return r - ZYDIS_REGISTER_SPL + 4;
    }
    if (r >= ZYDIS_REGISTER_AX && r <= ZYDIS_REGISTER_R15W) {
        return r - ZYDIS_REGISTER_AX;
    }
    if (r >= ZYDIS_REGISTER_EAX && r <= ZYDIS_REGISTER_R15D) {
        return r - ZYDIS_REGISTER_EAX;
    }
    if (r >= ZYDIS_REGISTER_RAX && r <= ZYDIS_REGISTER_R15) {
        return r - ZYDIS_REGISTER_RAX;
    }
    return -1;
}

const ZydisDecoder *block_decoder(const struct translator *t)
{
    if (t->mode.bits & BM_CODE64) return &t->decoder[2];
    if (t->mode.bits & BM_CODE32) return &t->decoder[1];
    return &t->decoder[t->mode.bits & BM_REAL ? 3 : 0];
}

/* ---- what is rewritten */

/* The vector state an operand needs, as block mode bits. */
static uint32_t operand_needs(const ZydisDecodedInstruction *d,
                              const ZydisDecodedOperand *o)
{
    if (o->type != ZYDIS_OPERAND_TYPE_REGISTER) return 0;
    switch (ZydisRegisterGetClass(o->reg.value)) {
    case ZYDIS_REGCLASS_X87:
    case ZYDIS_REGCLASS_MMX: return BM_X87;
    case ZYDIS_REGCLASS_XMM:
        return d->encoding == ZYDIS_INSTRUCTION_ENCODING_VEX ? BM_AVX : BM_SSE;
    case ZYDIS_REGCLASS_YMM: return BM_AVX;
    case ZYDIS_REGCLASS_GPR8:
    case ZYDIS_REGCLASS_GPR16:
    case ZYDIS_REGCLASS_GPR32:
    case ZYDIS_REGCLASS_GPR64:
    case ZYDIS_REGCLASS_FLAGS:
    case ZYDIS_REGCLASS_IP: return 0;
    default:
        switch (o->reg.value) {
        case ZYDIS_REGISTER_MXCSR: return BM_SSE;
        case ZYDIS_REGISTER_X87CONTROL:
        case ZYDIS_REGISTER_X87STATUS:
        case ZYDIS_REGISTER_X87TAG: return BM_X87;
        default: return UINT32_MAX; /* segment, control, debug, mask */
        }
    }
}

static bool is_good_category(ZydisInstructionCategory c)
{
    switch (c) {
    case ZYDIS_CATEGORY_ADOX_ADCX:
    case ZYDIS_CATEGORY_AES:
    case ZYDIS_CATEGORY_AVX:
    case ZYDIS_CATEGORY_AVX2:
    case ZYDIS_CATEGORY_BINARY:
    case ZYDIS_CATEGORY_BITBYTE:
    case ZYDIS_CATEGORY_BMI1:
    case ZYDIS_CATEGORY_BMI2:
    case ZYDIS_CATEGORY_BROADCAST:
    case ZYDIS_CATEGORY_CMOV:
    case ZYDIS_CATEGORY_CONVERT:
    case ZYDIS_CATEGORY_DATAXFER:
    case ZYDIS_CATEGORY_FCMOV:
    case ZYDIS_CATEGORY_LOGICAL:
    case ZYDIS_CATEGORY_LOGICAL_FP:
    case ZYDIS_CATEGORY_LZCNT:
    case ZYDIS_CATEGORY_MMX:
    case ZYDIS_CATEGORY_PCLMULQDQ:
    case ZYDIS_CATEGORY_ROTATE:
    case ZYDIS_CATEGORY_SEMAPHORE:
    case ZYDIS_CATEGORY_SETCC:
    case ZYDIS_CATEGORY_SHA:
    case ZYDIS_CATEGORY_SHIFT:
    case ZYDIS_CATEGORY_SSE:
    case ZYDIS_CATEGORY_STTNI:
    case ZYDIS_CATEGORY_VFMA:
    case ZYDIS_CATEGORY_X87_ALU: return true;
    default: return false;
    }
}

/* Single instructions whose category says the wrong thing. */
static enum insn_kind kind_of_mnemonic(const struct translator *t,
                                       const ZydisDecodedInstruction *d,
                                       bool *is_known)
{
    *is_known = true;
    switch (d->mnemonic) {
    case ZYDIS_MNEMONIC_NOP:
    case ZYDIS_MNEMONIC_ENDBR32:
    case ZYDIS_MNEMONIC_ENDBR64:
    case ZYDIS_MNEMONIC_PREFETCH:
    case ZYDIS_MNEMONIC_PREFETCHT0:
    case ZYDIS_MNEMONIC_PREFETCHT1:
    case ZYDIS_MNEMONIC_PREFETCHT2:
    case ZYDIS_MNEMONIC_PREFETCHNTA:
    case ZYDIS_MNEMONIC_PREFETCHW: return INSN_NOP;
    case ZYDIS_MNEMONIC_LEA: return INSN_LEA;
    case ZYDIS_MNEMONIC_PUSH: return INSN_PUSH;
    case ZYDIS_MNEMONIC_POP: return INSN_POP;
    case ZYDIS_MNEMONIC_LEAVE: return INSN_LEAVE;
    case ZYDIS_MNEMONIC_CLD:
        return t->mode.bits & BM_DF ? INSN_EMULATE : INSN_NOP;
    case ZYDIS_MNEMONIC_STD:
        return t->mode.bits & BM_DF ? INSN_NOP : INSN_EMULATE;
    case ZYDIS_MNEMONIC_CLC:
    case ZYDIS_MNEMONIC_STC:
    case ZYDIS_MNEMONIC_CMC:
    case ZYDIS_MNEMONIC_LAHF:
    case ZYDIS_MNEMONIC_SAHF:
    case ZYDIS_MNEMONIC_LFENCE:
    case ZYDIS_MNEMONIC_MFENCE:
    case ZYDIS_MNEMONIC_SFENCE: return INSN_GENERIC;
    case ZYDIS_MNEMONIC_PAUSE:
        /* Where another vCPU may have its turn. */
        return t->is_verified && t->eng->soft->engine_count > 1 ? INSN_EMULATE
                                                                : INSN_GENERIC;
    case ZYDIS_MNEMONIC_RDRAND:
    case ZYDIS_MNEMONIC_RDSEED:
        return t->is_verified ? INSN_EMULATE : INSN_GENERIC;
    case ZYDIS_MNEMONIC_FNCLEX:
    case ZYDIS_MNEMONIC_FNINIT:
    case ZYDIS_MNEMONIC_FNSTENV:
    case ZYDIS_MNEMONIC_FLDENV:
    case ZYDIS_MNEMONIC_FNSAVE:
    case ZYDIS_MNEMONIC_FRSTOR:
    case ZYDIS_MNEMONIC_FXSAVE:
    case ZYDIS_MNEMONIC_FXSAVE64:
    case ZYDIS_MNEMONIC_FXRSTOR:
    case ZYDIS_MNEMONIC_FXRSTOR64:
    case ZYDIS_MNEMONIC_MASKMOVQ:
    case ZYDIS_MNEMONIC_MASKMOVDQU:
    case ZYDIS_MNEMONIC_VMASKMOVDQU:
    case ZYDIS_MNEMONIC_VZEROALL:
    case ZYDIS_MNEMONIC_CLFLUSH:
    case ZYDIS_MNEMONIC_XLAT:
    case ZYDIS_MNEMONIC_SALC:
    case ZYDIS_MNEMONIC_BOUND: return INSN_EMULATE;
    case ZYDIS_MNEMONIC_FWAIT:
        return t->mode.bits & BM_WAIT ? INSN_GENERIC : INSN_EMULATE;
    default: *is_known = false; return INSN_EMULATE;
    }
}

static bool is_bit_test_in_memory(const struct guest_insn *n)
{
    switch (n->d.mnemonic) {
    case ZYDIS_MNEMONIC_BT:
    case ZYDIS_MNEMONIC_BTS:
    case ZYDIS_MNEMONIC_BTR:
    case ZYDIS_MNEMONIC_BTC:
        return n->o[0].type == ZYDIS_OPERAND_TYPE_MEMORY &&
               n->o[1].type == ZYDIS_OPERAND_TYPE_REGISTER;
    default: return false;
    }
}

/* Vector state and operands of a plain instruction. */
static bool can_be_generic(const struct translator *t,
                           const struct guest_insn *n)
{
    const ZydisDecodedInstruction *d = &n->d;
    uint32_t needs = 0;
    bool is_vex = d->encoding == ZYDIS_INSTRUCTION_ENCODING_VEX;

    if (!is_vex && d->encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY) {
        return false;
    }
    if (is_vex && (t->mode.bits & BM_REAL)) return false;
    for (unsigned i = 0; i < d->operand_count; i++) {
        uint32_t need = operand_needs(d, &n->o[i]);
        if (need == UINT32_MAX) return false;
        needs |= need;
        if (n->o[i].type == ZYDIS_OPERAND_TYPE_MEMORY &&
            (n->o[i].mem.type == ZYDIS_MEMOP_TYPE_VSIB ||
             n->o[i].visibility == ZYDIS_OPERAND_VISIBILITY_HIDDEN)) {
            return false;
        }
    }
    if (d->meta.category == ZYDIS_CATEGORY_X87_ALU ||
        d->meta.category == ZYDIS_CATEGORY_MMX) {
        needs |= BM_X87;
    }
    if (d->meta.isa_set == ZYDIS_ISA_SET_AVX ||
        d->meta.isa_set == ZYDIS_ISA_SET_AVX2) {
        needs |= BM_AVX;
    }
    return (needs & ~t->mode.bits) == 0;
}

static enum insn_kind branch_kind(const struct guest_insn *n)
{
    const ZydisDecodedInstruction *d = &n->d;
    bool is_far = d->meta.branch_type == ZYDIS_BRANCH_TYPE_FAR;

    if (is_far) return INSN_EMULATE;
    switch (d->meta.category) {
    case ZYDIS_CATEGORY_UNCOND_BR:
        if (d->mnemonic != ZYDIS_MNEMONIC_JMP) return INSN_EMULATE;
        return d->raw.imm[0].is_relative ? INSN_JMP : INSN_JMP_INDIRECT;
    case ZYDIS_CATEGORY_CALL:
        if (d->mnemonic != ZYDIS_MNEMONIC_CALL) return INSN_EMULATE;
        return d->raw.imm[0].is_relative ? INSN_CALL : INSN_CALL_INDIRECT;
    case ZYDIS_CATEGORY_RET:
        return d->mnemonic == ZYDIS_MNEMONIC_RET ? INSN_RET : INSN_EMULATE;
    case ZYDIS_CATEGORY_COND_BR:
        if (d->opcode >= 0xe0 && d->opcode <= 0xe3 &&
            d->opcode_map == ZYDIS_OPCODE_MAP_DEFAULT) {
            return INSN_LOOP;
        }
        return INSN_JCC;
    default: return INSN_EMULATE;
    }
}

static enum insn_kind kind_of(const struct translator *t,
                              const struct guest_insn *n)
{
    const ZydisDecodedInstruction *d = &n->d;
    bool is_known,
        is_one_byte = d->opcode_map == ZYDIS_OPCODE_MAP_DEFAULT &&
                      d->encoding == ZYDIS_INSTRUCTION_ENCODING_LEGACY;
    enum insn_kind k;

    if (changes_ring(n)) return is_system(t, n) ? INSN_SYSTEM : INSN_EMULATE;
    switch (d->meta.category) {
    case ZYDIS_CATEGORY_UNCOND_BR:
    case ZYDIS_CATEGORY_COND_BR:
    case ZYDIS_CATEGORY_CALL:
    case ZYDIS_CATEGORY_RET: return branch_kind(n);
    case ZYDIS_CATEGORY_STRINGOP: return INSN_STRING;
    case ZYDIS_CATEGORY_WIDENOP:
    case ZYDIS_CATEGORY_NOP: return INSN_NOP;
    default: break;
    }
    k = kind_of_mnemonic(t, d, &is_known);
    if (is_known) {
        if (k == INSN_PUSH || k == INSN_POP || k == INSN_GENERIC) {
            return can_be_generic(t, n) || k == INSN_PUSH || k == INSN_POP
                       ? k
                       : INSN_EMULATE;
        }
        return k;
    }
    if (is_system(t, n)) return INSN_SYSTEM;
    if (is_bit_test_in_memory(n) && !(d->attributes & ZYDIS_ATTRIB_HAS_LOCK &&
                                      d->mnemonic == ZYDIS_MNEMONIC_BT)) {
        return INSN_BIT_TEST;
    }
    if (!is_good_category(d->meta.category) || !can_be_generic(t, n)) {
        return INSN_EMULATE;
    }
    if (is_one_byte && (d->opcode & 0xfc) == 0xa0) return INSN_MOFFS;
    if (is_one_byte && (d->opcode & 0xf0) == 0x40 &&
        !(t->mode.bits & BM_CODE64)) {
        return INSN_INCDEC;
    }
    return INSN_GENERIC;
}

static bool ends_block(const struct guest_insn *n)
{
    switch (n->kind) {
    case INSN_JMP:
    case INSN_JCC:
    case INSN_LOOP:
    case INSN_CALL:
    case INSN_RET:
    case INSN_JMP_INDIRECT:
    case INSN_CALL_INDIRECT:
    case INSN_EMULATE: return true;
    case INSN_SYSTEM: return ends_block_system(n);
    default: return false;
    }
}

static uint64_t rip_mask(const struct translator *t, const struct guest_insn *n)
{
    if (t->mode.bits & BM_CODE64) return UINT64_MAX;
    return n->d.operand_width == 16 ? UINT16_MAX : UINT32_MAX;
}

static void note_operands(struct translator *t, struct guest_insn *n)
{
    n->mem = -1;
    n->writes = 0;
    for (unsigned i = 0; i < n->d.operand_count; i++) {
        const ZydisDecodedOperand *o = &n->o[i];
        int g;

        if (o->type == ZYDIS_OPERAND_TYPE_MEMORY &&
            o->visibility == ZYDIS_OPERAND_VISIBILITY_EXPLICIT) {
            n->mem = (int)i;
        }
        if (o->type != ZYDIS_OPERAND_TYPE_REGISTER ||
            !(o->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE)) {
            continue;
        }
        g = guest_gpr(o->reg.value);
        if (g >= 0) n->writes |= 1u << (g & 0x100 ? g & 3 : g);
    }
    n->target = (n->next + (uint64_t)n->d.raw.imm[0].value.s) & rip_mask(t, n);
}

/* A branch that leaves the code segment or the canonical range raises its
 * exception in the emulator. */
static bool is_bad_target(const struct translator *t,
                          const struct guest_insn *n)
{
    return is_no_code(&t->mode, n->target);
}

/* Base 101 of a SIB byte without displacement is none, whatever REX.B says (SDM
 * volume 2, table 2-5); Zydis 4.0 takes it for R13 where addresses have 32 bits
 * in 64-bit code. */
static void mend_base(struct guest_insn *n)
{
    const ZydisDecodedInstruction *d = &n->d;

    if (!(d->attributes & ZYDIS_ATTRIB_HAS_SIB) || d->raw.modrm.mod != 0 ||
        d->raw.sib.base != 5) {
        return;
    }
    for (unsigned i = 0; i < d->operand_count; i++) {
        if (n->o[i].type != ZYDIS_OPERAND_TYPE_MEMORY ||
            n->o[i].visibility == ZYDIS_OPERAND_VISIBILITY_HIDDEN) {
            continue;
        }
        n->o[i].mem.base = ZYDIS_REGISTER_NONE;
        n->o[i].mem.disp.has_displacement = ZYAN_TRUE;
        n->o[i].mem.disp.value = d->raw.disp.value;
    }
}

/* Does the guest's CPU have the instruction, which the host has? */
static bool is_offered(const struct translator *t, const struct guest_insn *n)
{
    unsigned mode = t->mode.bits & BM_CODE64   ? 8
                    : t->mode.bits & BM_CODE32 ? 4
                                               : 2;

    return cpu_offers_bytes(t->eng->cpu.model, n->bytes, n->d.length, mode,
                            t->mode.bits & BM_REAL);
}

/* False: no more instructions in this block. */
static bool decode_one(struct translator *t, struct guest_insn *n,
                       unsigned have)
{
    ZyanStatus status =
        ZydisDecoderDecodeFull(block_decoder(t), n->bytes, have, &n->d, n->o);

    if (status == ZYDIS_STATUS_NO_MORE_DATA && have < INSN_BYTES &&
        t->count > 0) {
        return false; /* goes on in the next page: a block of its own */
    }
    n->mem = -1;
    n->use = FLAGS_ARITH;
    n->kill = n->undefined = n->writes = 0;
    if (ZYAN_FAILED(status)) {
        n->kind = INSN_EMULATE;
        n->next = n->rip;
        t->count++;
        return false;
    }
    n->next = n->rip + n->d.length;
    mend_base(n);
    note_operands(t, n);
    n->kind = is_offered(t, n) ? kind_of(t, n) : INSN_EMULATE;
    if (!(t->mode.bits & BM_CODE64) && n->next - 1 > t->mode.cs_limit) {
        n->kind = INSN_EMULATE;
    }
    switch (n->kind) {
    case INSN_JMP:
    case INSN_JCC:
    case INSN_LOOP:
    case INSN_CALL:
        if (is_bad_target(t, n)) n->kind = INSN_EMULATE;
        break;
    default: break;
    }
    insn_flags(&n->d, &n->use, &n->kill, &n->undefined);
    if (n->kind == INSN_EMULATE || changes_ring(n)) n->use = FLAGS_ARITH;
    t->count++;
    /* One instruction after STI the interrupt is due, before a CLI that may
     * follow (firmware waits so): the next block begins with the poll. */
    if (t->count > 1 && n[-1].d.mnemonic == ZYDIS_MNEMONIC_STI) return false;
    return !ends_block(n);
}

const uint8_t *code_at(const struct translator *t, uint64_t lin, unsigned *left)
{
    unsigned off = lin & (PAGE_BYTES - 1);

    *left = PAGE_BYTES - off;
    switch ((lin >> PAGE_SHIFT) - (t->lin >> PAGE_SHIFT)) {
    case 0: return t->start - (t->lin & (PAGE_BYTES - 1)) + off;
    case 1: return t->next ? t->next + off : NULL;
    default: return NULL;
    }
}

void mark_lines(struct translator *t, uint64_t lin, unsigned bytes)
{
    for (uint64_t at = lin & ~63ull; at < lin + bytes; at += 64) {
        t->lines[(at ^ t->lin) >> PAGE_SHIFT != 0] |=
            1ull << (at / 64 % (PAGE_BYTES / 64));
    }
}

/* A block ends before a breakpoint; none begins at one. */
static bool is_break(const struct translator *t, uint64_t rip)
{
    uint64_t lin = t->mode.cs_base + rip;

    if (t->eng->soft->break_count == 0 || t->count == 0) return false;
    if (!(t->mode.bits & BM_CODE64)) lin = (uint32_t)lin;
    return soft_is_break(t->eng->soft, lin);
}

static bool has_insn(const struct translator *t, uint64_t rip)
{
    for (unsigned i = 0; i < t->count; i++) {
        if (t->insn[i].rip == rip) return true;
    }
    return false;
}

static bool is_in_next(const struct translator *t, uint64_t rip)
{
    return t->next && (rip >> PAGE_SHIFT) - (t->rip >> PAGE_SHIFT) == 1;
}

/*
 * Hot code goes on behind forward jumps that are not taken and at the target of
 * unconditional ones: the block ends where it would come back to itself.
 */
static bool goes_on(const struct translator *t, const struct guest_insn *n,
                    uint64_t *rip)
{
    if (!t->is_hot || !(t->mode.bits & BM_CODE64) ||
        (t->mode.bits & BM_UNGROUPED)) {
        return false;
    }
    *rip = n->kind == INSN_JMP ? n->target : n->next;
    switch (n->kind) {
    case INSN_JCC: return n->target > n->rip && !has_insn(t, *rip);
    case INSN_JMP:
        return (is_link_in_page(t, n->target) || is_in_next(t, n->target)) &&
               !has_insn(t, *rip);
    default: return false;
    }
}

/* Bytes of the instruction at p, `left` of them in its page, and how many can be
 * read; NULL: the block ends before it.  One may lie across the pages. */
static const uint8_t *insn_bytes(struct translator *t, const uint8_t *p,
                                 unsigned left, unsigned *have)
{
    ZydisDecodedInstruction d;

    *have = left < INSN_BYTES ? left : INSN_BYTES;
    if (left >= INSN_BYTES || !t->next || p < t->start ||
        p - t->start >= PAGE_BYTES ||
        ZydisDecoderDecodeInstruction(block_decoder(t), NULL, p, left, &d) !=
            ZYDIS_STATUS_NO_MORE_DATA) {
        return p;
    }
    if (t->has_crossed) return NULL;
    t->has_crossed = true;
    memcpy(t->crossing, p, left);
    memcpy(t->crossing + left, t->next, 16);
    *have = INSN_BYTES;
    return t->crossing;
}

void decode_block(struct translator *t)
{
    unsigned max = t->is_hot ? BLOCK_INSNS : PLAIN_INSNS;
    uint64_t rip = t->rip;

    t->count = 0;
    t->lines[0] = t->lines[1] = 0;
    t->has_crossed = false;
    while (t->count < max) {
        struct guest_insn *n = &t->insn[t->count];
        uint64_t lin = t->lin + (rip - t->rip);
        unsigned left, have;
        const uint8_t *p = code_at(t, lin, &left);

        if (!p || is_break(t, rip)) break;
        n->rip = rip;
        if (t->is_crossing) {
            n->bytes = t->crossing;
            have = INSN_BYTES;
            mark_lines(t, lin, left);
            t->lines[1] |= 1;
        } else {
            n->bytes = insn_bytes(t, p, left, &have);
            if (!n->bytes) break;
            mark_lines(t, lin, have);
        }
        if (!decode_one(t, n, have)) {
            if (t->is_crossing || t->insn[t->count - 1].rip != rip ||
                !goes_on(t, n, &rip)) {
                break;
            }
            continue;
        }
        if (t->is_crossing) break;
        rip = n->next;
    }
}
