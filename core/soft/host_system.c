/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/soft/translate.h"

#include "core/cpu/cpuid.h"

/*
 * System instructions that kernels execute all the time and that need no more
 * than a few fields of the engine.  None of the inserted code touches flags.
 */

#define FIELD(f) ((int32_t)offsetof(struct engine, f))

static bool is_cpl0(const struct translator *t)
{
    return t->mode.bits & BM_CPL0;
}

static bool is_code64(const struct translator *t)
{
    return t->mode.bits & BM_CODE64;
}

/* MOV from CR0, CR2, CR3 or CR4: where it is, or -1. */
static int32_t control_source(const struct guest_insn *n)
{
    if (n->d.mnemonic != ZYDIS_MNEMONIC_MOV || n->d.opcode != 0x20 ||
        n->d.opcode_map != ZYDIS_OPCODE_MAP_0F) {
        return -1;
    }
    switch (n->o[1].reg.value) {
    case ZYDIS_REGISTER_CR0: return FIELD(cpu.cr0);
    case ZYDIS_REGISTER_CR2: return FIELD(cpu.cr2);
    case ZYDIS_REGISTER_CR3: return FIELD(cpu.cr3);
    case ZYDIS_REGISTER_CR4: return FIELD(cpu.cr4);
    default: return -1;
    }
}

/* MOV from a segment register: its number, or -1. */
static int segment_source(const struct guest_insn *n)
{
    if (n->d.mnemonic != ZYDIS_MNEMONIC_MOV || n->d.opcode != 0x8c ||
        n->d.opcode_map != ZYDIS_OPCODE_MAP_DEFAULT) {
        return -1;
    }
    return n->d.raw.modrm.reg < SEG_COUNT ? n->d.raw.modrm.reg : -1;
}

bool is_system(const struct translator *t, const struct guest_insn *n)
{
    switch (n->d.mnemonic) {
    case ZYDIS_MNEMONIC_CLI:
    case ZYDIS_MNEMONIC_STI: return is_cpl0(t);
    case ZYDIS_MNEMONIC_STAC:
    case ZYDIS_MNEMONIC_CLAC: return is_cpl0(t) && (t->mode.bits & BM_SMAP);
    case ZYDIS_MNEMONIC_SWAPGS: return is_cpl0(t) && is_code64(t);
    case ZYDIS_MNEMONIC_RDTSC:
        return t->eng->tsc_ratio == 0 &&
               (is_cpl0(t) || !(t->mode.bits & BM_TSD)) && !t->is_verified;
    case ZYDIS_MNEMONIC_RDTSCP:
        return t->eng->tsc_ratio == 0 &&
               (is_cpl0(t) || !(t->mode.bits & BM_TSD)) && !t->is_verified &&
               t->eng->cpu.model->has_rdtscp;
    case ZYDIS_MNEMONIC_PUSHF:
    case ZYDIS_MNEMONIC_PUSHFD:
    case ZYDIS_MNEMONIC_PUSHFQ: return !(t->mode.bits & BM_VM86);
    case ZYDIS_MNEMONIC_SYSCALL:
        return is_code64(t) && t->space == SPACE_USER && n->d.length == 2;
    case ZYDIS_MNEMONIC_SYSRET:
        return is_cpl0(t) && is_code64(t) && n->d.operand_width == 64;
    case ZYDIS_MNEMONIC_IRETQ: return is_cpl0(t) && is_code64(t);
    default:
        if (is_cpl0(t) && is_code64(t) && control_source(n) >= 0) return true;
        return segment_source(n) >= 0;
    }
}

bool changes_ring(const struct guest_insn *n)
{
    switch (n->d.mnemonic) {
    case ZYDIS_MNEMONIC_SYSCALL:
    case ZYDIS_MNEMONIC_SYSRET:
    case ZYDIS_MNEMONIC_IRETQ: return true;
    default: return false;
    }
}

/* STAC and CLAC go on in another space. */
bool ends_block_system(const struct guest_insn *n)
{
    return n->d.mnemonic == ZYDIS_MNEMONIC_STAC ||
           n->d.mnemonic == ZYDIS_MNEMONIC_CLAC || changes_ring(n);
}

static void store_const32(struct emitter *e, int32_t at, uint32_t v)
{
    emit_op_rm(e, 0xc7, false, 0, mem_gs(at));
    emit32(e, v);
}

/*
 * The instruction after STI runs before an interrupt is taken.  Inside a
 * block that is so; STI at the end of one is left to the emulator, and so is
 * one before an instruction that is emulated (STI; HLT).
 */
static bool emit_sti(struct translator *t, struct guest_insn *n)
{
    struct emitter *e = &t->hot;

    if (n == &t->insn[t->count - 1] || n[1].kind == INSN_EMULATE ||
        n[1].kind == INSN_STRING) {
        return false;
    }
    store_const32(e, FIELD(if_flag), FLAG_IF);
    emit_op_rm(e, 0x8b, false, S2, mem_gs(FIELD(is_waiting)));
    emit_op_rr(e, 0x87, true, H_CX, S2);
    emit8(e, 0xe3); /* jrcxz */
    emit8(e, 12);
    store_const32(e, FIELD(attn), 1);
    emit_op_rr(e, 0x87, true, H_CX, S2);
    return true;
}

/* EFLAGS.AC in cpu.rflags and other_flags; its old value is known. */
static bool emit_set_ac(struct translator *t, struct guest_insn *n)
{
    struct enc load = { .map = 1, .op = 0xb6 };
    struct enc store = { .op = 0x88, .force_rex = true };
    bool is_set = n->d.mnemonic == ZYDIS_MNEMONIC_STAC;
    const int32_t at[2] = { FIELD(cpu.rflags) + 2, FIELD(other_flags) + 2 };
    struct emitter *e = &t->hot;

    if (is_set != (t->space == SPACE_SUPER)) {
        emit_goto(t, n->next);
        return true;
    }
    for (int i = 0; i < 2; i++) {
        emit_rm(e, &load, S2, mem_gs(at[i]));
        emit_lea(e, false, S2, mem_at(S2, is_set ? 4 : -4));
        emit_rm(e, &store, S2, mem_gs(at[i]));
    }
    emit_op_rm(e, 0xc6, false, 0, mem_gs(FIELD(is_mode_stale)));
    emit8(e, 1);
    emit_goto_space(t, is_set ? SPACE_SUPER_AC : SPACE_SUPER, n->next);
    return true;
}

static bool emit_swapgs(struct translator *t)
{
    struct emitter *e = &t->hot;
    int32_t base = FIELD(cpu.seg) +
                   SEG_GS * (int32_t)sizeof(struct cpu_segment) +
                   (int32_t)offsetof(struct cpu_segment, base);

    emit_load(e, S1, base);
    emit_load(e, S2, FIELD(cpu.kernel_gs_base));
    emit_store(e, S1, FIELD(cpu.kernel_gs_base));
    emit_store(e, S2, base);
    return true;
}

static bool emit_rdtsc(struct translator *t, bool is_rdtscp)
{
    struct enc shlx = {
        .is_vex = true,
        .map = 2,
        .op = 0xf7,
        .pp = 1,
        .w = 1,
        .v = S1,
    };
    static const uint8_t by32 = 32;
    struct enc rorx = {
        .is_vex = true,
        .map = 3,
        .op = 0xf0,
        .pp = 3,
        .w = 1,
        .tail = &by32,
        .tail_bytes = 1,
    };
    struct emitter *e = &t->hot;
    const int32_t add[2] = { FIELD(tsc_offset), FIELD(cpu.tsc_adjust) };

    if (is_rdtscp) {
        emit8(e, 0x0f); /* lfence: after all earlier instructions */
        emit8(e, 0xae);
        emit8(e, 0xe8);
        emit_op_rm(e, 0x8b, false, H_CX, mem_gs(FIELD(cpu.tsc_aux)));
    }
    emit8(e, 0x0f); /* rdtsc */
    emit8(e, 0x31);
    emit_const(e, S1, 32);
    emit_rr(e, &shlx, H_DX, H_DX);
    for (int i = 0; i < 3; i++) {
        int by = i == 0 ? H_DX : S1;
        if (i > 0) emit_load(e, S1, add[i - 1]);
        emit_op_rm(e, 0x8d, true, H_AX,
                   (struct mem_form){ H_AX, by, 0, false, 0 });
    }
    emit_rr(e, &rorx, H_DX, H_AX);
    emit_op_rr(e, 0x89, false, H_DX, H_DX);
    emit_op_rr(e, 0x89, false, H_AX, H_AX);
    return true;
}

/* pext or pdep to, to, gs:mask */
static void emit_bits(struct emitter *e, unsigned pp, int to, int from,
                      int32_t mask)
{
    struct enc c = {
        .is_vex = true,
        .map = 2,
        .op = 0xf5,
        .pp = (uint8_t)pp,
        .w = 1,
        .v = (uint8_t)from,
    };

    emit_rm(e, &c, to, mem_gs(mask));
}

enum { PP_PEXT = 2, PP_PDEP = 3 };

static bool emit_pushf(struct translator *t, struct guest_insn *n)
{
    struct emitter *e = &t->hot;
    unsigned bytes = stack_slot_bytes(n);
    struct mem_form sum = { S2, S1, 0, false, 0 }, m;

    if (bytes != 2 && bytes != 4 && bytes != 8) return false;
    emit8(e, 0x9c); /* pushfq; pop S2 */
    emit8(e, 0x41);
    emit8(e, 0x58 | (S2 & 7));
    emit_bits(e, PP_PEXT, S2, S2, FIELD(arith_mask));
    emit_bits(e, PP_PDEP, S2, S2, FIELD(arith_mask));
    emit_load(e, S1, FIELD(other_flags));
    emit_lea(e, true, S2, sum);
    emit_op_rm(e, 0x8b, false, S1, mem_gs(FIELD(if_flag)));
    emit_lea(e, true, S2, sum);
    emit_store(e, S2, FIELD(temp));
    m = emit_stack_access(t, -(int)bytes, bytes, true);
    emit_load(e, S2, FIELD(temp));
    emit_store_sized(e, bytes, S2, m);
    emit_stack_adjust(t, -(int)bytes);
    return true;
}

static bool emit_from_control(struct translator *t, struct guest_insn *n)
{
    int g = guest_gpr(n->o[0].reg.value), h;

    if (g < 0) return false;
    h = host_of_gpr(g);
    if (h == H_NONE) h = S2;
    emit_load(&t->hot, h, control_source(n));
    if (host_of_gpr(g) == H_NONE) emit_store(&t->hot, h, slot_of_gpr(g));
    return true;
}

static bool emit_ring(struct translator *t, struct guest_insn *n)
{
    struct emitter *e = &t->hot;

    switch (n->d.mnemonic) {
    case ZYDIS_MNEMONIC_SYSCALL:
        emit_rip_const(e, S1, n->next);
        emit_jmp(e, t->cache->entry[CODE_SYSCALL]);
        return true;
    case ZYDIS_MNEMONIC_SYSRET:
        emit_rip_const(e, S1, n->rip);
        emit_jmp(e, t->cache->entry[CODE_SYSRET]);
        return true;
    default:
        emit_call(e, t->cache->entry[CODE_EXIT_IRET]);
        emit_rip64(e, n->rip);
        return true;
    }
}

static bool emit_from_segment(struct translator *t, struct guest_insn *n)
{
    struct enc movzx = { .map = 1, .op = 0xb7 };
    struct enc mov16 = { .op = 0x89, .prefix = { 0x66 }, .prefix_count = 1 };
    struct emitter *e = &t->hot;
    int32_t sel = FIELD(cpu.seg) +
                  segment_source(n) * (int32_t)sizeof(struct cpu_segment) +
                  (int32_t)offsetof(struct cpu_segment, sel);
    struct access a;
    int g, h;

    if (n->mem >= 0) {
        if (!access_of(t, n, &n->o[n->mem], &a) || a.bytes != 2) return false;
        a.is_write = true;
        emit_access(t, &a);
        emit_rm(e, &movzx, S2, mem_gs(sel));
        emit_store_sized(e, 2, S2, mem_at(S1, 0));
        return true;
    }
    g = guest_gpr(n->o[0].reg.value);
    if (g < 0) return false;
    h = host_of_gpr(g);
    if (n->d.operand_width == 16) {
        emit_rm(e, &movzx, S1, mem_gs(sel));
        h = gpr_in(e, g, S2);
        emit_rr(e, &mov16, S1, h);
    } else {
        if (h == H_NONE) h = S2;
        emit_rm(e, &movzx, h, mem_gs(sel));
    }
    if (host_of_gpr(g) == H_NONE) emit_store(e, h, slot_of_gpr(g));
    return true;
}

bool emit_system(struct translator *t, struct guest_insn *n)
{
    switch (n->d.mnemonic) {
    case ZYDIS_MNEMONIC_CLI:
        store_const32(&t->hot, FIELD(if_flag), 0);
        return true;
    case ZYDIS_MNEMONIC_STI: return emit_sti(t, n);
    case ZYDIS_MNEMONIC_STAC:
    case ZYDIS_MNEMONIC_CLAC: return emit_set_ac(t, n);
    case ZYDIS_MNEMONIC_SWAPGS: return emit_swapgs(t);
    case ZYDIS_MNEMONIC_RDTSC: return emit_rdtsc(t, false);
    case ZYDIS_MNEMONIC_RDTSCP: return emit_rdtsc(t, true);
    case ZYDIS_MNEMONIC_SYSCALL:
    case ZYDIS_MNEMONIC_SYSRET:
    case ZYDIS_MNEMONIC_IRETQ: return emit_ring(t, n);
    case ZYDIS_MNEMONIC_MOV:
        return control_source(n) >= 0 ? emit_from_control(t, n)
                                      : emit_from_segment(t, n);
    default: return emit_pushf(t, n);
    }
}

/*
 * BT, BTS, BTR, BTC of memory with the bit number in a register: the operand
 * is bit / width elements away from the effective address.
 */
bool emit_bit_test(struct translator *t, struct guest_insn *n)
{
    static const struct enc movsx16 = { .map = 1, .op = 0xbf, .w = 1 };
    struct emitter *e = &t->hot;
    unsigned bytes = n->d.operand_width / 8;
    int g = guest_gpr(n->o[1].reg.value), h;
    struct enc c = { .map = 1, .op = n->d.opcode, .w = bytes == 8 };
    struct access a;

    if (g < 0 || g > 15 || (bytes != 2 && bytes != 4 && bytes != 8)) {
        return false;
    }
    if (!access_of(t, n, &n->o[0], &a)) return false;
    a.bytes = bytes;
    a.is_write = n->d.mnemonic != ZYDIS_MNEMONIC_BT;
    save_flags(t);
    emit_ea(t, &a, S1);
    h = gpr_in(e, g, S2);
    if (bytes == 2) {
        emit_rr(e, &movsx16, S2, h);
    } else if (bytes == 4) {
        emit_op_rr(e, 0x63, true, S2, h); /* movsxd */
    } else if (h != S2) {
        emit_move(e, S2, h);
    }
    emit_op_rr(e, 0xc1, true, 7, S2); /* sar */
    emit8(e, 3);
    emit_alu_imm(e, 4, true, S2, -(int)bytes);
    emit_op_rr(e, 0x01, true, S2, S1);
    if (a.asize == 4) emit_op_rr(e, 0x89, false, S1, S1);
    if (a.asize == 2) {
        emit_rr(e, &(struct enc){ .map = 1, .op = 0xb7 }, S1, S1);
    }
    emit_checked(t, &a);
    h = gpr_in(e, g, S2);
    emit_bits(e, PP_PEXT, S2, h,
              FIELD(bit_mask) + (bytes == 2   ? 0
                                 : bytes == 4 ? 8
                                              : 16));
    if (n->d.attributes & ZYDIS_ATTRIB_HAS_LOCK) {
        c.prefix[c.prefix_count++] = 0xf0;
    }
    if (bytes == 2) c.prefix[c.prefix_count++] = 0x66;
    emit_rm(e, &c, S2, mem_at(S1, 0));
    return true;
}
