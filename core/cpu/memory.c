/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Operand access: registers, memory through segments, the stack.  Aligned
 * accesses of up to 8 bytes are single host accesses wherever the engine
 * hands out a pointer; everything odd goes through ops->load and store.
 */
#include "core/cpu/emu.h"

static bool is_high_byte(const struct insn *i, unsigned n, unsigned bytes)
{
    return bytes == 1 && !(i->rex & REX_PRESENT) && n >= 4 && n < 8;
}

uint64_t op_reg_get(const struct cpu *c, const struct insn *i, unsigned n,
                    unsigned bytes)
{
    if (is_high_byte(i, n, bytes)) return c->gpr[n - 4] >> 8 & 0xff;
    return reg_get(c, n, bytes);
}

void op_reg_set(struct cpu *c, const struct insn *i, unsigned n, unsigned bytes,
                uint64_t v)
{
    if (is_high_byte(i, n, bytes)) {
        uint64_t *r = &c->gpr[n - 4];
        *r = (*r & ~(uint64_t)0xff00) | (v & 0xff) << 8;
        return;
    }
    reg_set(c, n, bytes, v);
}

/* ---- linear addresses */

static bool is_in_page(uint64_t lin, unsigned bytes)
{
    return (lin & 4095) + bytes <= 4096;
}

/* Does a legacy-mode access wrap at 4 GiB? */
static bool wraps(const struct cpu *c, uint64_t lin, unsigned bytes)
{
    return lin + bytes > (uint64_t)1 << 32 && lin < (uint64_t)1 << 32 &&
           !cpu_is_code64(c);
}

static void load_split(struct cpu *c, uint64_t lin, void *buf, unsigned bytes,
                       unsigned access)
{
    uint8_t *p = buf;
    unsigned first = (unsigned)(((uint64_t)1 << 32) - lin);
    c->ops->load(c, lin, p, first, access);
    c->ops->load(c, 0, p + first, bytes - first, access);
}

static void store_split(struct cpu *c, uint64_t lin, const void *buf,
                        unsigned bytes, unsigned access)
{
    const uint8_t *p = buf;
    unsigned first = (unsigned)(((uint64_t)1 << 32) - lin);
    c->ops->lin_ptr(c, 0, access);
    c->ops->store(c, lin, p, first, access);
    c->ops->store(c, 0, p + first, bytes - first, access);
}

uint64_t lin_read(struct cpu *c, uint64_t lin, unsigned bytes, unsigned access)
{
    uint64_t v = 0;
    access |= ACC_READ;
    if (is_in_page(lin, bytes)) {
        const void *p = c->ops->lin_ptr(c, lin, access);
        if (p) return cpu_get(p, bytes);
    } else if (wraps(c, lin, bytes)) {
        load_split(c, lin, &v, bytes, access);
        return v;
    }
    c->ops->load(c, lin, &v, bytes, access);
    return v;
}

void lin_write(struct cpu *c, uint64_t lin, unsigned bytes, uint64_t v,
               unsigned access)
{
    access |= ACC_WRITE;
    if (is_in_page(lin, bytes)) {
        void *p = c->ops->lin_ptr(c, lin, access);
        if (p) {
            cpu_put(p, bytes, v);
            return;
        }
    } else if (wraps(c, lin, bytes)) {
        store_split(c, lin, &v, bytes, access);
        return;
    }
    c->ops->store(c, lin, &v, bytes, access);
}

void lin_probe_write(struct cpu *c, uint64_t lin, unsigned bytes,
                     unsigned access)
{
    access |= ACC_WRITE;
    c->ops->lin_ptr(c, lin, access);
    if (!is_in_page(lin, bytes)) {
        uint64_t last = lin + bytes - 1;
        if (wraps(c, lin, bytes)) last &= UINT32_MAX;
        c->ops->lin_ptr(c, last, access);
    }
}

/* ---- segments */

static _Noreturn void throw_segment(struct cpu *c, unsigned seg)
{
    cpu_throw_code(c, seg == SEG_SS ? EXC_SS : EXC_GP, 0);
}

/* SDM volume 3A, 6.15 "Alignment Check": CPL 3 with CR0.AM and AC. */
static void check_alignment(struct cpu *c, uint64_t lin, unsigned bytes)
{
    if ((lin & (bytes - 1)) && (c->rflags & FLAG_AC) && (c->cr0 & CR0_AM) &&
        bytes <= 8 && cpu_cpl(c) == 3) {
        cpu_throw_code(c, EXC_AC, 0);
    }
}

/* Type and limit, SDM volume 3A 5.3 and 5.5. */
static void check_legacy(struct cpu *c, const struct cpu_segment *s,
                         unsigned seg, uint32_t off, unsigned bytes,
                         unsigned access)
{
    unsigned type = SEG_ATTR_TYPE(s->attr);
    if (!is_real_style(c)) {
        if (!(s->attr & SEG_ATTR_P)) throw_segment(c, seg);
        if ((access & ACC_WRITE) && (type & 10) != 2) throw_segment(c, seg);
        if ((access & ACC_READ) && (type & 10) == 8) throw_segment(c, seg);
    }
    uint64_t last = (uint64_t)off + bytes - 1;
    if ((type & 12) == 4 && (s->attr & SEG_ATTR_S)) { /* expand down */
        uint64_t top = s->attr & SEG_ATTR_DB ? UINT32_MAX : 0xffff;
        if (off <= s->limit || last > top) throw_segment(c, seg);
    } else if (last > s->limit) {
        /* A 4 GiB segment has no end to run over. */
        if (s->limit != UINT32_MAX) throw_segment(c, seg);
    }
}

uint64_t seg_check(struct cpu *c, const struct cpu_segment *s, unsigned seg,
                   uint64_t off, unsigned bytes, unsigned access)
{
    uint64_t lin;
    if (cpu_is_code64(c)) {
        lin = seg >= SEG_FS ? off + s->base : off;
        if (!is_canonical(lin) || !is_canonical(lin + bytes - 1)) {
            throw_segment(c, seg);
        }
    } else {
        check_legacy(c, s, seg, (uint32_t)off, bytes, access);
        lin = (uint32_t)(s->base + off);
    }
    check_alignment(c, lin, bytes);
    if (has_breakpoints(c)) note_data_access(c, lin, bytes, access);
    return lin;
}

uint64_t seg_linear(struct cpu *c, unsigned seg, uint64_t off, unsigned bytes,
                    unsigned access)
{
    return seg_check(c, &c->seg[seg], seg, off, bytes, access);
}

uint64_t mem_read(struct cpu *c, unsigned seg, uint64_t off, unsigned bytes)
{
    uint64_t lin = seg_linear(c, seg, off, bytes, ACC_READ);
    return lin_read(c, lin, bytes, ACC_READ);
}

void mem_write(struct cpu *c, unsigned seg, uint64_t off, unsigned bytes,
               uint64_t v)
{
    uint64_t lin = seg_linear(c, seg, off, bytes, ACC_WRITE);
    lin_write(c, lin, bytes, v, ACC_WRITE);
}

void mem_load(struct cpu *c, unsigned seg, uint64_t off, void *buf,
              unsigned bytes)
{
    uint64_t lin = seg_linear(c, seg, off, bytes, ACC_READ);
    if (wraps(c, lin, bytes)) {
        load_split(c, lin, buf, bytes, ACC_READ);
    } else {
        c->ops->load(c, lin, buf, bytes, ACC_READ);
    }
}

void mem_store(struct cpu *c, unsigned seg, uint64_t off, const void *buf,
               unsigned bytes)
{
    uint64_t lin = seg_linear(c, seg, off, bytes, ACC_WRITE);
    if (wraps(c, lin, bytes)) {
        store_split(c, lin, buf, bytes, ACC_WRITE);
    } else {
        c->ops->store(c, lin, buf, bytes, ACC_WRITE);
    }
}

/* ---- ModRM operands */

uint64_t insn_ea(const struct cpu *c, const struct insn *i)
{
    uint64_t ea = (uint64_t)i->disp;
    if (i->base < 16) {
        ea += c->gpr[i->base];
    } else if (i->base == INSN_RIP) {
        ea += i->next;
    }
    if (i->index < 16) ea += c->gpr[i->index] << i->scale;
    return ea & size_mask(i->asize);
}

uint64_t rm_read(struct cpu *c, const struct insn *i, unsigned bytes)
{
    if (i->mod == 3) return op_reg_get(c, i, i->rm, bytes);
    return mem_read(c, i->seg, insn_ea(c, i), bytes);
}

void rm_write(struct cpu *c, const struct insn *i, unsigned bytes, uint64_t v)
{
    if (i->mod == 3) {
        op_reg_set(c, i, i->rm, bytes, v);
    } else {
        mem_write(c, i->seg, insn_ea(c, i), bytes, v);
    }
}

/* XCHG with memory locks with or without the prefix. */
static bool is_exchange(const struct insn *i)
{
    return i->map == MAP_ONE && (i->op | 1) == 0x87;
}

void rmw_open_at(struct cpu *c, const struct insn *i, struct rmw *m,
                 unsigned bytes, uint64_t off)
{
    unsigned access = ACC_READ | ACC_WRITE;
    m->i = i;
    m->bytes = (uint8_t)bytes;
    m->is_reg = false;
    m->is_locked = i->has_lock || is_exchange(i);
    m->is_bus_locked = false;
    m->lin = seg_linear(c, i->seg, off & size_mask(i->asize), bytes, access);
    m->host = NULL;
    if (is_in_page(m->lin, bytes)) {
        m->host = c->ops->lin_ptr(c, m->lin, access);
    } else {
        lin_probe_write(c, m->lin, bytes, access);
    }
    if (!m->host && m->is_locked && c->ops->bus_lock) {
        c->ops->bus_lock(c, true);
        m->is_bus_locked = true;
    }
    m->old = m->host ? cpu_get(m->host, bytes)
                     : lin_read(c, m->lin, bytes, ACC_READ);
}

void rmw_open(struct cpu *c, const struct insn *i, struct rmw *m,
              unsigned bytes)
{
    if (i->mod != 3) {
        rmw_open_at(c, i, m, bytes, insn_ea(c, i));
        return;
    }
    m->i = i;
    m->bytes = (uint8_t)bytes;
    m->is_reg = true;
    m->is_locked = m->is_bus_locked = false;
    m->host = NULL;
    m->lin = 0;
    m->old = op_reg_get(c, i, i->rm, bytes);
}

/* Inline assembly, as a guest may lock a misaligned operand. */
#define SWAP(type, any)                                                   \
    do {                                                                  \
        type old_ = (type)m->old;                                         \
        __asm__ volatile("lock cmpxchg %[v], %[p]"                        \
                         : "=@ccz"(is_done),                              \
                           "+a"(old_), [p] "+m"(*(volatile any *)m->host) \
                         : [v] "r"((type)v)                               \
                         : "memory");                                     \
        m->old = old_;                                                    \
    } while (0)

bool rmw_close(struct cpu *c, struct rmw *m, uint64_t v)
{
    bool is_done = true;
    if (m->is_reg) {
        op_reg_set(c, m->i, m->i->rm, m->bytes, v);
    } else if (!m->host) {
        lin_write(c, m->lin, m->bytes, v, ACC_WRITE);
        if (m->is_bus_locked) c->ops->bus_lock(c, false);
    } else if (!m->is_locked) {
        cpu_put(m->host, m->bytes, v);
    } else {
        switch (m->bytes) {
        case 1: SWAP(uint8_t, uint8_t); break;
        case 2: SWAP(uint16_t, cpu_any16); break;
        case 4: SWAP(uint32_t, cpu_any32); break;
        default: SWAP(uint64_t, cpu_any64); break;
        }
    }
    return is_done;
}

/* ---- stack */

void stack_open(const struct cpu *c, struct stack *s)
{
    s->ss = c->seg[SEG_SS];
    s->sp = c->gpr[GPR_SP];
    s->mask = cpu_is_code64(c)           ? UINT64_MAX
              : s->ss.attr & SEG_ATTR_DB ? UINT32_MAX
                                         : 0xffff;
    s->access = 0;
    s->is_ts = false;
}

/* During a switch to another mode the stack's own kind counts, not the
 * current code's. */
static uint64_t stack_linear(struct cpu *c, const struct stack *s, uint64_t sp,
                             unsigned bytes, unsigned access)
{
    if (s->mask != UINT64_MAX) {
        check_legacy(c, &s->ss, SEG_SS, (uint32_t)(sp & s->mask), bytes,
                     access);
        sp = (uint32_t)(s->ss.base + (sp & s->mask));
    } else if (!is_canonical(sp) || !is_canonical(sp + bytes - 1)) {
        throw_segment(c, SEG_SS);
    }
    check_alignment(c, sp, bytes);
    return sp;
}

void stack_push(struct cpu *c, struct stack *s, unsigned bytes, uint64_t v)
{
    uint64_t sp = s->sp - bytes;
    uint64_t lin = stack_linear(c, s, sp, bytes, ACC_WRITE);
    lin_write(c, lin, bytes, v, ACC_WRITE | s->access);
    s->sp = sp;
}

uint64_t stack_pop(struct cpu *c, struct stack *s, unsigned bytes)
{
    uint64_t lin = stack_linear(c, s, s->sp, bytes, ACC_READ);
    uint64_t v = lin_read(c, lin, bytes, ACC_READ | s->access);
    s->sp += bytes;
    return v;
}

void stack_probe(struct cpu *c, const struct stack *s, unsigned bytes)
{
    uint64_t lin = stack_linear(c, s, s->sp, bytes, ACC_WRITE);
    lin_probe_write(c, lin, bytes, s->access);
}

void stack_commit(struct cpu *c, const struct stack *s)
{
    if (s->mask == 0xffff) {
        reg_set(c, GPR_SP, 2, s->sp);
    } else {
        c->gpr[GPR_SP] = s->sp & s->mask;
    }
}

unsigned stack_bytes(const struct insn *i)
{
    if (i->mode == 8) return i->osize == 2 ? 2 : 8;
    return i->osize;
}
