/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Vector instructions that touch single elements of memory.  Elements whose
 * mask is clear are neither read nor written, so they cannot fault either
 * (SDM volume 2, VMASKMOV, VPMASKMOV, VGATHER, MASKMOVDQU).
 */
#include "core/cpu/vector.h"

/* Areas of the scratch buffer. */
enum { AT_MEMORY = 0, AT_MASK = 64, AT_INDEX = 128, AT_VALUE = 192 };

static bool mask_bit(const uint8_t *mask, unsigned n, unsigned bytes)
{
    return mask[n * bytes + bytes - 1] & 0x80;
}

/* VMASKMOVPS/PD, VPMASKMOVD/Q: the mask is VEX.vvvv. */
static void masked_move(struct cpu *c, struct insn *i, bool is_store)
{
    /* 2C..2F: the low opcode bit; 8C, 8E: W. */
    bool is_wide = i->op < 0x80 ? i->op & 1 : (i->rex & REX_W) != 0;
    unsigned bytes = is_wide ? 8 : 4, count = (i->vl ? 32 : 16) / bytes;
    uint8_t *buf = native_scratch(c);
    uint64_t ea = insn_ea(c, i);
    struct native_code k;
    struct native_regs r = { 0 };
    native_vector_get(c, i->vvvv, i->vl, buf + AT_MASK);
    cpu_zero(buf, 32);
    for (unsigned n = 0; n < count; n++) {
        if (!mask_bit(buf + AT_MASK, n, bytes)) continue;
        uint64_t off = (ea + n * bytes) & size_mask(i->asize);
        if (is_store) {
            uint64_t lin = seg_linear(c, i->seg, off, bytes, ACC_WRITE);
            lin_probe_write(c, lin, bytes, 0);
        } else {
            cpu_put(buf + n * bytes, bytes, mem_read(c, i->seg, off, bytes));
        }
    }
    vector_encode(i, 'f', &k);
    native_run(c, &k, &r, buf);
    if (!is_store) return;
    for (unsigned n = 0; n < count; n++) {
        if (!mask_bit(buf + AT_MASK, n, bytes)) continue;
        uint64_t off = (ea + n * bytes) & size_mask(i->asize);
        mem_write(c, i->seg, off, bytes, cpu_get(buf + n * bytes, bytes));
    }
}

static void gather(struct cpu *c, struct insn *i)
{
    unsigned data = i->rex & REX_W ? 8 : 4, index = i->op & 1 ? 8 : 4;
    unsigned widest = data > index ? data : index;
    unsigned count = (i->vl ? 32 : 16) / widest;
    uint8_t *buf = native_scratch(c);
    uint8_t *mask = buf + AT_MASK, *value = buf + AT_VALUE;
    /* In a vector SIB index 4 is a register like any other. */
    unsigned x = i->index == INSN_NO_REG ? 4 : i->index;
    if (i->base == INSN_RIP || x == i->reg || x == i->vvvv ||
        i->reg == i->vvvv || (i->modrm & 7) != 4 || i->asize == 2) {
        throw_ud(c);
    }
    native_vector_get(c, i->vvvv, true, mask);
    native_vector_get(c, x, true, buf + AT_INDEX);
    native_vector_get(c, i->reg, true, value);
    struct insn base = *i;
    base.index = INSN_NO_REG;
    uint64_t start = insn_ea(c, &base);
    for (unsigned n = 0; n < count; n++) {
        if (!mask_bit(mask, n, data)) continue;
        uint64_t at = cpu_get(buf + AT_INDEX + n * index, index);
        at = (uint64_t)sign_extend(at, index) << i->scale;
        uint64_t off = (start + at) & size_mask(i->asize);
        cpu_put(value + n * data, data, mem_read(c, i->seg, off, data));
    }
    cpu_zero(mask, 32);
    cpu_zero(value + count * data, 32 - count * data);
    native_vector_set(c, i->vvvv, true, mask);
    native_vector_set(c, i->reg, true, value);
}

/* MASKMOVDQU, MASKMOVQ: bytes of reg whose mask byte in rm has bit 7 set go
 * to DS:rDI. */
static void mask_move_bytes(struct cpu *c, struct insn *i, bool is_mmx)
{
    unsigned bytes = is_mmx ? 8 : 16;
    uint8_t *buf = native_scratch(c), *mask = buf + AT_MASK;
    struct native_code k;
    struct native_regs r = { 0 };
    if (i->mod != 3 || (i->has_vex && (i->vl || i->vvvv))) throw_ud(c);
    if (is_mmx) { /* MOVQ [mem], mm */
        for (unsigned n = 0; n < 2; n++) {
            code_open(&k);
            code_add(&k, 0x0f);
            code_add(&k, 0x7f);
            code_add(&k, ((n ? i->rm : i->reg) & 7) << 3 | 6);
            native_run(c, &k, &r, n ? mask : buf);
        }
    } else {
        native_vector_get(c, i->reg, false, buf);
        native_vector_get(c, i->rm, false, mask);
    }
    for (unsigned pass = 0; pass < 2; pass++) {
        for (unsigned n = 0; n < bytes; n++) {
            if (!(mask[n] & 0x80)) continue;
            uint64_t off = (c->gpr[GPR_DI] + n) & size_mask(i->asize);
            if (pass) {
                mem_write(c, i->seg, off, 1, buf[n]);
            } else {
                uint64_t lin = seg_linear(c, i->seg, off, 1, ACC_WRITE);
                lin_probe_write(c, lin, 1, 0);
            }
        }
    }
}

void vector_masked(struct cpu *c, struct insn *i, char kind)
{
    bool is_avx2 = kind == 'c' || i->op >= 0x80;
    if (kind == 'l' || kind == 'L') {
        if (!i->has_seg) i->seg = SEG_DS;
        mask_move_bytes(c, i, kind == 'L');
        return;
    }
    if (!i->has_vex || i->mod == 3) throw_ud(c);
    if (is_avx2 && !model_bit(c, 7, 1, 5)) throw_ud(c);
    if (!is_avx2 && (i->rex & REX_W)) throw_ud(c); /* VMASKMOVPS, PD: W0 */
    if (kind == 'c') {
        gather(c, i);
    } else {
        masked_move(c, i, kind == 'F');
    }
}
