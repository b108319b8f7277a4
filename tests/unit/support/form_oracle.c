/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/support/form_oracle.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/support/amd.h"

static uint64_t rnd(struct form_oracle *o)
{
    o->random ^= o->random << 13;
    o->random ^= o->random >> 7;
    o->random ^= o->random << 17;
    return o->random * 0x2545f4914f6cdd1d;
}

static bool one_in(struct form_oracle *o, unsigned n)
{
    return (rnd(o) >> 32) % n == 0;
}

static uint64_t interesting(struct form_oracle *o)
{
    uint64_t v = rnd(o);

    switch (rnd(o) >> 60) {
    case 0:
    case 1: return v & 0xff;
    case 2:
    case 3: return (uint64_t)(int64_t)(int8_t)v;
    case 4: return (uint64_t)1 << (v & 63);
    case 5: return ((uint64_t)1 << (v & 63)) - 1;
    case 6: return v & 0x8000000080008080;
    default: return v;
    }
}

struct form_oracle *form_oracle_open(unsigned mode, uint64_t seed)
{
    struct form_oracle *o = aligned_alloc(64, (sizeof(*o) + 63) & ~63ul);

    if (!o) abort();
    memset(o, 0, sizeof(*o));
    o->rig = rig_open(true, "max");
    o->mode = mode;
    o->random = seed * 0x9e3779b97f4a7c15 | 1;
    ZydisDecoderInit(&o->decoder,
                     mode == 8   ? ZYDIS_MACHINE_MODE_LONG_64
                     : mode == 4 ? ZYDIS_MACHINE_MODE_LONG_COMPAT_32
                                 : ZYDIS_MACHINE_MODE_LONG_COMPAT_16,
                     mode == 8   ? ZYDIS_STACK_WIDTH_64
                     : mode == 4 ? ZYDIS_STACK_WIDTH_32
                                 : ZYDIS_STACK_WIDTH_16);
    if (form_native_open(o->rig)) return o;
    form_oracle_close(o);
    return NULL;
}

void form_oracle_close(struct form_oracle *o)
{
    rig_close(o->rig);
    free(o);
}

/* ---- the bytes */

static unsigned address_bytes(const struct form_oracle *o, bool has_67)
{
    if (o->mode == 8) return has_67 ? 4 : 8;
    return (o->mode == 4) != has_67 ? 4 : 2;
}

static bool is_gather(const struct form *f)
{
    return f->is_vex && f->map == 2 && f->op >= 0x90 && f->op <= 0x93;
}

/* One of the ways to name memory, in the ModRM byte at the end of o->bytes. */
static void put_address(struct form_oracle *o, const struct form *f,
                        const struct form_at *at)
{
    uint8_t *m = &o->bytes[at->modrm];
    bool has_67 = f->variant == FORM_ADDRESS_SIZE;
    unsigned way = rnd(o) >> 60, reg = rnd(o) >> 61;

    if (address_bytes(o, has_67) == 2) {
        *m |= (uint8_t)(reg | (way < 4 ? 0 : way < 8 ? 0x40 : 0x80));
        return;
    }
    if (is_gather(f) || way >= 12) {
        *m |= (uint8_t)(4 | (way & 1 ? 0x40 : 0x80));
        m[1] = (uint8_t)(rnd(o) >> 56);
    } else if (way >= 9) {
        *m |= 5; /* RIP, or an address alone */
    } else {
        if (reg == 4) reg = 3;
        *m |= (uint8_t)(reg | (way & 1 ? 0x40 : 0x80));
    }
}

static void put_immediates(struct form_oracle *o, const struct form *f,
                           unsigned at)
{
    uint32_t far = FORM_FAR;

    if (f->map == 0 && f->op == 0xc8 && one_in(o, 2)) { /* ENTER */
        o->bytes[at + 1] &= 3;
        o->bytes[at + 2] &= 7;
        return;
    }
    uint64_t offset = 0x400 + rnd(o) % 0x1000;

    if (f->map == 0 && (f->op & 0xfc) == 0xa0) { /* MOV AL, [offset] */
        if (o->mode == 8) offset += RIG_BASE + RIG_DATA;
        memcpy(o->bytes + at, &offset, 8);
    } else if (f->map == 0 && ((f->op & 0xf0) == 0x70 || f->op == 0xeb ||
                               (f->op & 0xfc) == 0xe0)) {
        o->bytes[at] = FORM_FAR;
    } else if ((f->map == 0 && (f->op == 0xe8 || f->op == 0xe9)) ||
               (f->map == 1 && (f->op & 0xf0) == 0x80)) {
        memcpy(o->bytes + at, &far, 4);
    }
}

/* Prefixes that change nothing: segments in 64-bit code, repeated ones, REX
 * where it does not count.  VEX may have any before it but those that make
 * it invalid, and now and then one of these. */
static void add_odd_prefixes(struct form_oracle *o, const struct form *f)
{
    static const uint8_t idle[] = { 0x2e, 0x3e, 0x36, 0x26, 0x48, 0x4f,
                                    0x67, 0x66, 0xf2, 0xf3, 0xf0, 0x65 };
    unsigned more = 1 + rnd(o) % (one_in(o, 4) ? 12 : 3);
    uint8_t head[16];

    for (unsigned n = 0; n < more; n++) {
        unsigned kinds = one_in(o, 4) ? sizeof(idle) : o->mode == 8 ? 6 : 3;
        head[n] = idle[rnd(o) % kinds];
        if (o->mode != 8 && head[n] == 0x2e) head[n] = 0x26;
        if (o->mode != 8 && (head[n] & 0xf0) == 0x40) head[n] = 0x3e;
        if (!f->is_vex && one_in(o, 2)) head[n] = o->bytes[0];
        if (head[n] == 0x0f || head[n] == f->op) head[n] = 0x3e;
    }
    memmove(o->bytes + more, o->bytes, 20);
    memcpy(o->bytes, head, more);
}

static void decode(struct form_oracle *o)
{
    o->is_decoded = ZYAN_SUCCESS(
        ZydisDecoderDecodeFull(&o->decoder, o->bytes, 15, &o->zi, o->op));
    o->count = o->is_decoded ? o->zi.length : 16;
}

void form_oracle_make(struct form_oracle *o, const struct form *f, bool is_odd)
{
    struct form_at at;

    for (unsigned n = 0; n < sizeof(o->bytes); n++)
        o->bytes[n] = (uint8_t)(rnd(o) >> 56);
    form_put(f, rnd(o) >> 20, o->bytes, &at);
    put_immediates(o, f, at.modrm);
    decode(o);
    if (o->is_decoded && !(o->zi.attributes & ZYDIS_ATTRIB_HAS_MODRM)) {
        o->bytes[at.modrm] = (uint8_t)(rnd(o) >> 56);
        put_immediates(o, f, at.modrm);
    } else if (f->is_mem) {
        put_address(o, f, &at);
    }
    decode(o);
    if (!is_odd && one_in(o, 8) && !f->is_vex && f->is_mem) {
        memmove(o->bytes + 1, o->bytes, 20);
        o->bytes[0] = o->mode == 8 ? 0x65 : "\x26\x36\x3e\x65"[rnd(o) >> 62];
        decode(o);
    }
    if (is_odd) add_odd_prefixes(o, f);
    if (is_odd) decode(o);
}

/* ---- the state */

static void make_image(struct form_oracle *o, uint8_t *p)
{
    uint64_t *q = (uint64_t *)(void *)p;
    bool is_x87 = o->zi.meta.isa_ext == ZYDIS_ISA_EXT_X87;
    uint16_t fcw = 0x037f, fsw = 0;
    uint32_t mxcsr = 0x1f80 | (rnd(o) & 0xe040);

    memset(p, 0, VECTOR_BYTES);
    for (unsigned n = 160 / 8; n < VECTOR_BYTES / 8; n++) {
        double d = (double)(int64_t)(rnd(o) % 2001 - 1000) / 8;
        float s[2] = { (float)d, (float)(rnd(o) % 1000) };
        switch (rnd(o) >> 61) {
        case 0: memcpy(&q[n], &d, 8); break;
        case 1: memcpy(&q[n], s, 8); break;
        case 2: q[n] = rnd(o) & 0x0000007f0000007f; break;
        default: q[n] = interesting(o);
        }
        if (n == 416 / 8 - 1) n = 576 / 8 - 1;
    }
    if (is_x87) {
        fcw = (uint16_t)(0x7f | (rnd(o) & 0x0f00));
        if (one_in(o, 8)) fcw &= (uint16_t) ~(rnd(o) & 0x3f);
        p[4] = (uint8_t)rnd(o);
        fsw = (uint16_t)(rnd(o) & 0x3800);
    }
    for (unsigned n = 0; n < 8; n++) {
        long double v = (long double)(int64_t)interesting(o) / 1024;
        uint64_t m = interesting(o);
        memcpy(p + 32 + 16 * n, &v, 10);
        if (is_x87) continue;
        memcpy(p + 32 + 16 * n, &m, 8);
        memset(p + 40 + 16 * n, 0xff, 2);
    }
    if (one_in(o, 8)) mxcsr &= ~(uint32_t)(rnd(o) & 0x1f80);
    memcpy(p, &fcw, 2);
    memcpy(p + 2, &fsw, 2);
    memcpy(p + 24, &mxcsr, 4);
    q[512 / 8] = 7;
}

static uint64_t selector(struct form_oracle *o)
{
    unsigned n = (unsigned)(rnd(o) >> 60);

    return n < 12 ? n % FORM_LDT_ENTRIES * 8 + 7 : n & 3;
}

static uint64_t data_base(const struct form_oracle *o)
{
    return o->mode == 8 ? RIG_BASE + RIG_DATA : 0;
}

static uint8_t *at_data(struct form_oracle *o, uint64_t at)
{
    at -= data_base(o);
    return o->rig->ram + RIG_DATA + (at < FORM_DATA_BYTES - 16 ? at : 0);
}

/* Where near branches are led by memory or a register. */
static uint64_t far_target(const struct form_oracle *o)
{
    return (o->mode == 8 ? RIG_BASE : 0) + RIG_CODE + o->count + FORM_FAR;
}

static bool is_in_address(const struct form_oracle *o, ZydisRegister reg)
{
    int id = ZydisRegisterGetId(reg);
    const ZydisDecodedOperandMem *m = &o->op[0].mem;

    return (m->base != ZYDIS_REGISTER_NONE &&
            ZydisRegisterGetId(m->base) == id) ||
           (m->index != ZYDIS_REGISTER_NONE &&
            ZydisRegisterGetId(m->index) == id);
}

/* A bit number that is an address as well may reach anywhere. */
static bool is_wild(const struct form_oracle *o)
{
    switch (o->is_decoded ? o->zi.mnemonic : 0) {
    case ZYDIS_MNEMONIC_BT:
    case ZYDIS_MNEMONIC_BTS:
    case ZYDIS_MNEMONIC_BTR:
    case ZYDIS_MNEMONIC_BTC:
        return o->op[0].type == ZYDIS_OPERAND_TYPE_MEMORY &&
               o->op[1].type == ZYDIS_OPERAND_TYPE_REGISTER &&
               is_in_address(o, o->op[1].reg.value);
    default: return false;
    }
}

/* Values particular instructions want, in registers and at `at`. */
static void tame(struct form_oracle *o, uint64_t at)
{
    uint64_t *g = o->start.gpr, to = far_target(o), sel = selector(o);
    uint8_t *m = at_data(o, at), *sp = at_data(o, g[GPR_SP]);
    uint16_t flags = (uint16_t)((rnd(o) & 0xcd5) | 0x202);
    const ZydisDecodedOperand *src = &o->op[o->zi.operand_count > 1];
    bool is_reg = o->op[0].type == ZYDIS_OPERAND_TYPE_REGISTER;
    unsigned first =
        is_reg ? (unsigned)ZydisRegisterGetId(o->op[0].reg.value) & 15 : 0;
    unsigned rm = src->type == ZYDIS_OPERAND_TYPE_REGISTER
                      ? (unsigned)ZydisRegisterGetId(src->reg.value) & 15
                      : 0;

    switch (o->zi.mnemonic) {
    case ZYDIS_MNEMONIC_BT:
    case ZYDIS_MNEMONIC_BTS:
    case ZYDIS_MNEMONIC_BTR:
    case ZYDIS_MNEMONIC_BTC:
        if (src->type == ZYDIS_OPERAND_TYPE_REGISTER && !is_reg &&
            !is_in_address(o, src->reg.value))
            g[rm] = (rnd(o) % 4096 - 2048) &
                    (o->mode == 8 ? UINT64_MAX : UINT32_MAX);
        break;
    case ZYDIS_MNEMONIC_DIV:
    case ZYDIS_MNEMONIC_IDIV:
        if (one_in(o, 2)) g[GPR_DX] &= 7;
        if (one_in(o, 4)) g[GPR_DX] = 0;
        if (one_in(o, 2)) g[GPR_AX] &= 0xff;
        break;
    case ZYDIS_MNEMONIC_BOUND:
        if (one_in(o, 4)) break;
        memset(m, 0, 16);
        m[o->zi.operand_width / 8 - 1] = 0x80;
        memset(m + o->zi.operand_width / 8, 0x7f, o->zi.operand_width / 8);
        break;
    case ZYDIS_MNEMONIC_ENTER: /* frames read apart from those written */
        g[GPR_SP] -= 0x800;
        break;
    case ZYDIS_MNEMONIC_XLAT: g[GPR_BX] = data_base(o) + 0x800; break;
    case ZYDIS_MNEMONIC_POPF:
    case ZYDIS_MNEMONIC_POPFD:
    case ZYDIS_MNEMONIC_POPFQ:
        memset(sp, 0, 8);
        memcpy(sp, &flags, 2);
        break;
    case ZYDIS_MNEMONIC_RET: memcpy(sp, &to, 8); break;
    case ZYDIS_MNEMONIC_CALL:
    case ZYDIS_MNEMONIC_JMP:
        if (is_reg && o->zi.meta.branch_type == ZYDIS_BRANCH_TYPE_NEAR &&
            o->op[0].visibility == ZYDIS_OPERAND_VISIBILITY_EXPLICIT) {
            g[first] = to;
        }
        memcpy(m, &to, 8);
        break;
    case ZYDIS_MNEMONIC_POP:
        if (is_reg && ZydisRegisterGetClass(o->op[0].reg.value) ==
                          ZYDIS_REGCLASS_SEGMENT) {
            memcpy(sp, &sel, 8);
        }
        break;
    case ZYDIS_MNEMONIC_LDS:
    case ZYDIS_MNEMONIC_LES:
    case ZYDIS_MNEMONIC_LSS:
    case ZYDIS_MNEMONIC_LFS:
    case ZYDIS_MNEMONIC_LGS:
        memcpy(m + o->zi.operand_width / 8, &sel, 2);
        break;
    case ZYDIS_MNEMONIC_MOV:
    case ZYDIS_MNEMONIC_LAR:
    case ZYDIS_MNEMONIC_LSL:
        if (o->zi.mnemonic == ZYDIS_MNEMONIC_MOV &&
            !(is_reg && ZydisRegisterGetClass(o->op[0].reg.value) ==
                            ZYDIS_REGCLASS_SEGMENT)) {
            break;
        }
        if (src->type == ZYDIS_OPERAND_TYPE_REGISTER) {
            g[rm] = (g[rm] & ~0xffffull) | sel;
        }
        memcpy(m, &sel, 2);
        break;
    case ZYDIS_MNEMONIC_VERR:
    case ZYDIS_MNEMONIC_VERW:
        if (is_reg) g[first] = sel;
        memcpy(m, &sel, 2);
        break;
    default: break;
    }
}

/* Save areas: aligned, what is restored valid, components that are there. */
static void tame_state(struct form_oracle *o, uint64_t at)
{
    uint8_t image[VECTOR_BYTES] __attribute__((aligned(64)));

    switch (o->zi.meta.category) {
    case ZYDIS_CATEGORY_XSAVE:
    case ZYDIS_CATEGORY_XSAVEOPT:
        o->start.gpr[GPR_AX] &= 7;
        o->start.gpr[GPR_DX] = 0;
        break;
    default: break;
    }
    make_image(o, image);
    if (one_in(o, 2)) image[512] = (uint8_t)(rnd(o) & 7);
    memcpy(at_data(o, at), image, sizeof(image));
}

static bool has_save_area(const struct form_oracle *o)
{
    switch (o->zi.mnemonic) {
    case ZYDIS_MNEMONIC_FXSAVE:
    case ZYDIS_MNEMONIC_FXSAVE64:
    case ZYDIS_MNEMONIC_FXRSTOR:
    case ZYDIS_MNEMONIC_FXRSTOR64: return true;
    default:
        return o->zi.meta.category == ZYDIS_CATEGORY_XSAVE ||
               o->zi.meta.category == ZYDIS_CATEGORY_XSAVEOPT;
    }
}

static unsigned index_bytes(const struct form_oracle *o)
{
    return o->bytes[o->zi.raw.modrm.offset - 1] & 1 ? 8 : 4;
}

/* Indices of a gather: small, most of them. */
static void tame_indices(struct form_oracle *o, unsigned reg)
{
    unsigned bytes = index_bytes(o);

    for (unsigned n = 0; n < 32; n += bytes) {
        unsigned half = n < 16 ? 160 + 16 * reg + n : 576 + 16 * reg + n - 16;
        uint64_t v = rnd(o) & 0x7f;
        memcpy(o->image[0] + half, &v, bytes);
    }
}

/* Registers of the memory operand; returns where it is led. */
static uint64_t aim(struct form_oracle *o)
{
    uint64_t *g = o->start.gpr, off = 0x400 + rnd(o) % 0x1400, to;
    uint64_t mask = o->zi.address_width == 16   ? 0xffff
                    : o->zi.address_width == 32 ? UINT32_MAX
                                                : UINT64_MAX;

    if (!one_in(o, 4)) off &= ~63ull;
    if (has_save_area(o)) off = 0x400 + (rnd(o) & 0x780);
    to = data_base(o) + off;
    for (unsigned n = 0; n < o->zi.operand_count; n++) {
        const ZydisDecodedOperand *p = &o->op[n];
        bool is_vsib, has_base, has_index;
        uint64_t left = to;
        int32_t disp;

        if (p->type != ZYDIS_OPERAND_TYPE_MEMORY ||
            !(o->zi.attributes & ZYDIS_ATTRIB_HAS_MODRM) ||
            p->visibility == ZYDIS_OPERAND_VISIBILITY_HIDDEN) {
            continue;
        }
        is_vsib = p->mem.type == ZYDIS_MEMOP_TYPE_VSIB;
        has_base = p->mem.base != ZYDIS_REGISTER_NONE;
        has_index = p->mem.index != ZYDIS_REGISTER_NONE && !is_vsib;
        if (is_vsib) {
            tame_indices(o, (unsigned)ZydisRegisterGetId(p->mem.index) & 15);
        }
        if (p->mem.segment == ZYDIS_REGISTER_GS && o->mode == 8)
            left -= o->start.seg.gs_base;
        if (has_base && (p->mem.base == ZYDIS_REGISTER_RIP ||
                         p->mem.base == ZYDIS_REGISTER_EIP)) {
            left -= RIG_BASE + RIG_CODE + o->count;
            has_base = false;
        }
        if (has_index) {
            uint64_t *x = &g[(unsigned)ZydisRegisterGetId(p->mem.index) & 15];
            *x = rnd(o) & 0x3f;
            if (p->mem.base != p->mem.index) left -= *x * p->mem.scale;
        }
        if (has_base) {
            left -= (uint64_t)p->mem.disp.value;
            left &= mask;
            if (has_index && p->mem.base == p->mem.index) {
                to -= left % (p->mem.scale + 1u);
                left /= p->mem.scale + 1u;
            }
            g[(unsigned)ZydisRegisterGetId(p->mem.base) & 15] = left;
        } else if (o->zi.raw.disp.size == 32) {
            disp = (int32_t)left;
            memcpy(o->bytes + o->zi.raw.disp.offset, &disp, 4);
        } else if (o->zi.raw.disp.size == 16) {
            memcpy(o->bytes + o->zi.raw.disp.offset, &left, 2);
        }
        if (o->mode == 8 && has_base && one_in(o, 24)) {
            g[(unsigned)ZydisRegisterGetId(p->mem.base) & 15] ^= 1ull << 50;
        }
        break;
    }
    return to;
}

static void make_state(struct form_oracle *o)
{
    struct form_state *s = &o->start;
    uint64_t base = data_base(o), *m, at;

    for (unsigned n = 0; n < 16; n++) {
        s->gpr[n] = interesting(o);
        if (o->mode != 8) s->gpr[n] = n < 8 ? (uint32_t)s->gpr[n] : 0;
    }
    s->gpr[GPR_SP] = base + 0x1000 + (rnd(o) & 0x3f8);
    s->gpr[GPR_BP] = base + 0x1000 + (rnd(o) & 0x3f8);
    s->gpr[GPR_DI] = base + 0x1000 + (rnd(o) & 0x3ff);
    s->gpr[GPR_SI] = base + 0x1000 + (rnd(o) & 0x3ff);
    if (o->zi.attributes & (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE |
                            ZYDIS_ATTRIB_HAS_REPNE)) {
        s->gpr[GPR_CX] = rnd(o) % 64;
    }
    s->flags = rnd(o) & 0x8d5;
    if (one_in(o, 4)) s->flags |= FLAG_DF;
    form_native_segments(o->mode, &s->seg);
    s->seg.gs_base = rnd(o) & 0x7ffffff000;
    __asm__("rdfsbase %0" : "=r"(s->seg.fs_base));
    m = (uint64_t *)(void *)(o->rig->ram + RIG_DATA);
    for (unsigned n = 0; n < FORM_DATA_BYTES / 8; n++) {
        m[n] = n & 3 ? m[n] * 0x9e3779b97f4a7c15 + n : interesting(o);
    }
    make_image(o, o->image[0]);
    at = aim(o);
    if (has_save_area(o)) tame_state(o, at);
    if (o->is_decoded) tame(o, at);
    memcpy(o->memory[0], m, FORM_DATA_BYTES);
    memcpy(o->image[1], o->image[0], VECTOR_BYTES);
    memcpy(o->image[2], o->image[0], VECTOR_BYTES);
}

/* ---- comparing */

static enum form_result differ(struct form_oracle *o, const char *what,
                               uint64_t native, uint64_t ours)
{
    char text[160] = "(not decoded)";
    size_t at = 0;
    ZydisFormatter f;

    ZydisFormatterInit(&f, ZYDIS_FORMATTER_STYLE_INTEL);
    if (o->is_decoded) {
        ZydisFormatterFormatInstruction(&f, &o->zi, o->op, o->zi.operand_count,
                                        text, sizeof(text), 0, NULL);
    }
    at += (size_t)sprintf(o->text, "%u-bit %s [", 8 * o->mode, text);
    for (unsigned n = 0; n < o->count; n++)
        at += (size_t)sprintf(o->text + at, "%02x ", o->bytes[n]);
    sprintf(o->text + at, "] %s: host %llx, emulated %llx", what,
            (unsigned long long)native, (unsigned long long)ours);
    return FORM_DIFFERS;
}

static enum form_result compare_registers(struct form_oracle *o)
{
    static const char *const names[16] = { "rax", "rcx", "rdx", "rbx",
                                           "rsp", "rbp", "rsi", "rdi",
                                           "r8",  "r9",  "r10", "r11",
                                           "r12", "r13", "r14", "r15" };
    const struct form_state *a = &o->native, *b = &o->ours;
    uint64_t undefined =
        o->is_decoded && o->zi.cpu_flags ? o->zi.cpu_flags->undefined : 0;
    uint64_t mask = 0xcd5 & ~undefined;

    for (unsigned n = 0; n < 16; n++) {
        /* The host's return to a stack of 16 bits leaves anything above 32. */
        uint64_t bits = n == GPR_SP && o->mode == 2 ? UINT32_MAX : UINT64_MAX;
        if ((a->gpr[n] ^ b->gpr[n]) & bits)
            return differ(o, names[n], a->gpr[n], b->gpr[n]);
    }
    if ((a->flags ^ b->flags) & mask)
        return differ(o, "flags", a->flags & mask, b->flags & mask);
    if (a->is_taken != b->is_taken)
        return differ(o, "taken", a->is_taken, b->is_taken);
    if (a->seg.ds != b->seg.ds) return differ(o, "ds", a->seg.ds, b->seg.ds);
    if (a->seg.es != b->seg.es) return differ(o, "es", a->seg.es, b->seg.es);
    if (a->seg.ss != b->seg.ss) return differ(o, "ss", a->seg.ss, b->seg.ss);
    if (a->seg.fs != b->seg.fs) return differ(o, "fs", a->seg.fs, b->seg.fs);
    if (a->seg.gs != b->seg.gs) return differ(o, "gs", a->seg.gs, b->seg.gs);
    if (a->seg.fs_base != b->seg.fs_base)
        return differ(o, "fs base", a->seg.fs_base, b->seg.fs_base);
    if (a->seg.gs_base != b->seg.gs_base)
        return differ(o, "gs base", a->seg.gs_base, b->seg.gs_base);
    return FORM_COMPARED;
}

/* FIP and FDP depend on the mode. XSTATE_BV tells which parts the processor
 * takes for unused: after VZEROALL that changes with any task switch (SDM vol.
 * 1, 13.6), while XSAVE stores their contents all the same. */
static bool is_compared(unsigned octet)
{
    return (octet < 6 || octet >= 24) && (octet < 512 || octet >= 520);
}

static enum form_result compare(struct form_oracle *o)
{
    if (compare_registers(o) == FORM_DIFFERS) return FORM_DIFFERS;
    for (unsigned n = 0; n < FORM_DATA_BYTES; n++) {
        if (o->memory[1][n] != o->memory[2][n]) {
            char what[40];
            snprintf(what, sizeof(what), "memory at %x", n);
            return differ(o, what, o->memory[1][n], o->memory[2][n]);
        }
    }
    for (unsigned n = 0; n < VECTOR_BYTES; n++) {
        if (o->image[1][n] != o->image[2][n] && is_compared(n)) {
            char what[40];
            snprintf(what, sizeof(what), "vector state octet %u", n);
            return differ(o, what, o->image[1][n], o->image[2][n]);
        }
    }
    return FORM_COMPARED;
}

/* An unmasked x87 exception keeps the host from storing at all, so that it
 * does not find a bad address; the emulation looks at the address first. */
static bool may_skip_store(const struct form_oracle *o)
{
    return o->zi.meta.isa_ext == ZYDIS_ISA_EXT_X87 &&
           (o->image[0][0] & 0x3f) != 0x3f;
}

/* The one conversion that stores: a numeric exception comes first, unless the
 * emulation has found the address bad. */
static bool may_convert_first(const struct form_oracle *o)
{
    return o->zi.mnemonic == ZYDIS_MNEMONIC_VCVTPS2PH &&
           o->native.vector == EXC_XM && o->ours.vector >= 0;
}

/* With a mask of zeros the address may fault or not (SDM vol. 2, MASKMOVDQU):
 * the host looks at it, the emulation does not. */
static bool may_store_nothing(const struct form_oracle *o)
{
    unsigned at = 160, mask = 0, bytes = 16;

    switch (o->zi.mnemonic) {
    case ZYDIS_MNEMONIC_MASKMOVDQU:
    case ZYDIS_MNEMONIC_VMASKMOVDQU:
        at += (unsigned)(o->op[1].reg.value - ZYDIS_REGISTER_XMM0) * 16;
        break;
    case ZYDIS_MNEMONIC_MASKMOVQ: /* in order of the x87 stack; TOP */
        bytes = 8;
        at = (unsigned)(o->op[1].reg.value - ZYDIS_REGISTER_MM0);
        at = 32 + ((at - (o->image[0][3] >> 3)) & 7) * 16;
        break;
    default: return false;
    }
    for (unsigned n = 0; n < bytes; n++)
        mask |= o->image[0][at + n];
    return (mask & 0x80) == 0;
}

/* Wrong in two ways, or over 15 bytes: AMD's looks at other things first. */
static bool is_wrong_twice(const struct form_oracle *o)
{
    int host = o->native.vector, ours = o->ours.vector;

    if (!amd_is_host() || o->is_decoded) return false;
    if (ours == EXC_UD) return host == EXC_GP || host == EXC_PF;
    return ours == EXC_GP && host >= 0;
}

/* How long is what Zydis knows nothing of, if we do? */
static void find_length(struct form_oracle *o)
{
    uint64_t start = o->mode == 8 ? RIG_BASE + RIG_CODE : RIG_CODE, length;

    o->count = 16;
    for (unsigned n = 0; n < 16; n++) {
        if (form_oracle_emulate(o) == EXC_UD) return;
        length = o->rig->c.rip - start;
        if (length > 15) continue; /* a fault: other operands have none */
        o->count = (unsigned)length;
        return;
    }
}

/* An interrupt came just then: its IRET makes null selectors 0. */
static bool is_interrupted(const struct form_oracle *o)
{
    const struct form_segments *a = &o->native.seg, *b = &o->ours.seg;

    return (!a->ds && b->ds && b->ds < 4) || (!a->es && b->es && b->es < 4) ||
           (!a->fs && b->fs && b->fs < 4) || (!a->gs && b->gs && b->gs < 4);
}

enum form_result form_oracle_run(struct form_oracle *o)
{
    uint8_t *data = o->rig->ram + RIG_DATA;

    if (is_wild(o)) return FORM_FAULTED;
    if (amd_differs(o->bytes, o->is_decoded ? &o->zi : NULL, o->mode)) {
        return FORM_OTHER;
    }
    if (!o->is_decoded) find_length(o);
    make_state(o);
    o->native = o->ours = o->start;
    o->native.image = o->image[1];
    o->ours.image = o->image[2];
    form_native_run(o->rig, o->mode, o->bytes, o->count, &o->native);
    memcpy(o->memory[1], data, FORM_DATA_BYTES);
    memcpy(data, o->memory[0], FORM_DATA_BYTES);
    form_emulate(o->rig, o->mode, o->count, &o->ours);
    memcpy(o->memory[2], data, FORM_DATA_BYTES);
    if (o->native.vector == EXC_PF && o->ours.vector == 1000) {
        return FORM_FAULTED; /* the target of a jump: the fetch comes next */
    }
    if (o->native.vector != o->ours.vector) {
        if (may_skip_store(o) && o->native.vector < 0) return FORM_FAULTED;
        if (may_convert_first(o)) return FORM_FAULTED;
        if (may_store_nothing(o) && o->ours.vector < 0) return FORM_FAULTED;
        if (is_wrong_twice(o)) return FORM_FAULTED;
        return differ(o, "vector", (uint64_t)o->native.vector,
                      (uint64_t)o->ours.vector);
    }
    if (o->native.vector == EXC_UD) return FORM_UNDEFINED;
    if (o->native.vector >= 0 || is_interrupted(o)) return FORM_FAULTED;
    return compare(o);
}

int form_oracle_emulate(struct form_oracle *o)
{
    make_state(o);
    memcpy(o->rig->ram + RIG_CODE, o->bytes, o->count);
    o->ours = o->start;
    o->ours.image = o->image[2];
    form_emulate(o->rig, o->mode, o->count, &o->ours);
    return o->ours.vector;
}
