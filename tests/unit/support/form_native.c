/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/support/form_native.h"

#include <asm/ldt.h>
#include <stddef.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/unit/support/cpu_signal.h"

/* ---- the LDT, in this process and in the rig */

enum { RIG_LDT = 0x2c00, HAS_FSGSBASE = 1 << 1 /* AT_HWCAP2 */ };

static const struct entry {
    uint32_t base, limit;
    unsigned contents; /* 0 data, 1 expand down, 2 code, 3 conforming */
    bool is_32, is_read_only, is_absent;
} entries[FORM_LDT_ENTRIES] = {
    { RIG_BASE + RIG_DATA, FORM_DATA_BYTES - 1, 0, true, false, false },
    { RIG_BASE + RIG_DATA, FORM_DATA_BYTES - 1, 0, false, false, false },
    { RIG_BASE, 0xffff, 2, true, false, false },
    { RIG_BASE, 0xffff, 2, false, false, false },
    { RIG_BASE, 0xffff, 0, true, false, true },
    { RIG_BASE + RIG_DATA, FORM_DATA_BYTES - 1, 0, true, true, false },
    { RIG_BASE + RIG_DATA, 0x3ff, 1, true, false, false },
    { RIG_BASE, 0xffff, 3, true, true, true }, /* Linux allows no other */
};

/* SDM volume 3, figure 3-8; DPL 3, accessed. */
static uint64_t descriptor(const struct entry *t)
{
    uint64_t type = 1u | (t->is_read_only ? 0u : 2u) | t->contents << 2;
    uint64_t hi = (t->base >> 24) << 24 | (uint64_t)t->is_32 << 22 |
                  (t->limit & 0xf0000) | (uint64_t)!t->is_absent << 15 |
                  3u << 13 | 1u << 12 | type << 8 | (t->base >> 16 & 0xff);

    return hi << 32 | (uint64_t)(t->base & 0xffff) << 16 | (t->limit & 0xffff);
}

bool form_native_open(struct cpu_rig *r)
{
    uint16_t no_bitmap = 0x68;

    if (!(getauxval(AT_HWCAP2) & HAS_FSGSBASE)) return false;
    memcpy(r->ram + RIG_TSS + 0x66, &no_bitmap, 2); /* no port is allowed */
    for (unsigned n = 0; n < FORM_LDT_ENTRIES; n++) {
        const struct entry *t = &entries[n];
        struct user_desc u = {
            .entry_number = n,
            .base_addr = t->base,
            .limit = t->limit,
            .seg_32bit = t->is_32,
            .contents = t->contents,
            .read_exec_only = t->is_read_only,
            .seg_not_present = t->is_absent,
        };
        uint64_t d = descriptor(t);

        if (syscall(SYS_modify_ldt, 0x11, &u, sizeof(u)) != 0) return false;
        memcpy(r->ram + RIG_LDT + 8 * n, &d, 8);
    }
    return true;
}

void form_native_segments(unsigned mode, struct form_segments *seg)
{
    uint16_t data = mode == 2 ? FORM_SEL_DATA16 : FORM_SEL_DATA32;

    seg->ds = seg->es = mode == 8 ? 0x2b : data;
    seg->ss = mode == 8 ? 0x2b : data;
    seg->fs = 0;
    seg->gs = mode == 8 ? 0 : data;
}

/* ---- natively */

/* Everything is addressed absolutely below 2 GiB: no register is needed. */
struct area {
    uint64_t gpr[16];
    uint64_t flags;      /* 128 */
    uint64_t host_sp;    /* 136 */
    uint32_t far_offset; /* 144 */
    uint16_t far_sel, unused;
    uint64_t image;          /* 152 */
    uint64_t start;          /* 160 */
    uint16_t ds, es, ss, gs; /* 168 */
    uint64_t gs_base;        /* 176 */
    uint16_t out_sel[8];     /* 184: ds es ss fs gs */
    uint64_t out_fs, out_gs; /* 200 */
    uint64_t host_fs;        /* 216 */
    uint8_t is_taken;        /* 224 */
};
_Static_assert(offsetof(struct area, host_fs) == 216, "as the code below has");

/* clang-format off */
#define AREA "0x20001000"
#define GET(n, name) "mov " AREA "+8*" #n ", %" name "\n\t"
#define PUT(n, name) "mov %" name ", " AREA "+8*" #n "\n\t"
#define ALL(x)                                                    \
    x(0, "rax") x(1, "rcx") x(2, "rdx") x(3, "rbx") x(4, "rsp")   \
    x(5, "rbp") x(6, "rsi") x(7, "rdi") x(8, "r8") x(9, "r9")     \
    x(10, "r10") x(11, "r11") x(12, "r12") x(13, "r13")           \
    x(14, "r14") x(15, "r15")

void form_run_area(void);
void form_run_far(void);
void form_run_back(void);
void form_run_taken(void);
__asm__(".text\n"
        "form_run_area:\n\t"
        "push %rbx\n\tpush %rbp\n\tpush %r12\n\tpush %r13\n\t"
        "push %r14\n\tpush %r15\n\t"
        "mov %rsp, " AREA "+136\n\t"
        "rdfsbase %rax\n\tmov %rax, " AREA "+216\n\t"
        "movb $0, " AREA "+224\n\t"
        "mov " AREA "+152, %rbx\n\t"
        "mov $7, %eax\n\txor %edx, %edx\n\txrstor64 (%rbx)\n\t"
        "movzwl " AREA "+174, %eax\n\tmov %eax, %gs\n\t"
        "test %eax, %eax\n\tjnz 1f\n\t"
        "mov " AREA "+176, %rax\n\twrgsbase %rax\n\t"
        "1: movzwl " AREA "+168, %eax\n\tmov %eax, %ds\n\t"
        "movzwl " AREA "+170, %eax\n\tmov %eax, %es\n\t"
        "movzwl " AREA "+172, %eax\n\tmov %eax, %ss\n\t"
        "pushq " AREA "+128\n\tpopf\n\t"
        ALL(GET)
        "jmp *" AREA "+160\n"
        "form_run_far:\n\t"
        "ljmpl *" AREA "+144\n"
        "form_run_taken:\n\t"
        "movb $1, " AREA "+224\n"
        "form_run_back:\n\t"
        ALL(PUT)
        "mov " AREA "+136, %rsp\n\t"
        "pushf\n\tpopq " AREA "+128\n\tcld\n\t"
        "mov %ds, " AREA "+184\n\tmov %es, " AREA "+186\n\t"
        "mov %ss, " AREA "+188\n\tmov %fs, " AREA "+190\n\t"
        "mov %gs, " AREA "+192\n\t"
        "rdfsbase %rax\n\tmov %rax, " AREA "+200\n\t"
        "rdgsbase %rax\n\tmov %rax, " AREA "+208\n\t"
        "xor %eax, %eax\n\tmov %eax, %fs\n\tmov %eax, %gs\n\t"
        "mov " AREA "+216, %rax\n\twrfsbase %rax\n\t"
        "mov $0x2b, %eax\n\tmov %eax, %ds\n\tmov %eax, %es\n\t"
        "mov %eax, %ss\n\t"
        "mov " AREA "+152, %rbx\n\t"
        "mov $7, %eax\n\txor %edx, %edx\n\txsave64 (%rbx)\n\tfninit\n\t"
        "pushq $0x1f80\n\tldmxcsr (%rsp)\n\tadd $8, %rsp\n\t"
        "pop %r15\n\tpop %r14\n\tpop %r13\n\tpop %r12\n\t"
        "pop %rbp\n\tpop %rbx\n\tret\n");
/* clang-format on */

/* Code that comes back to us from any mode, at offset at of the rig. */
static void put_way_back(struct cpu_rig *r, unsigned mode, unsigned at,
                         void (*to)(void))
{
    /* ljmp $0x33, $that; 16-bit code with a prefix; jmp *0(%rip) */
    uint8_t *code = r->ram + at;
    uint32_t next;
    uint64_t target = (uint64_t)(uintptr_t)to;

    if (mode == 2) *code++ = 0x66;
    if (mode != 8) {
        *code++ = 0xea;
        next = (uint32_t)(RIG_BASE + (uint32_t)(code - r->ram) + 6);
        memcpy(code, &next, 4);
        memcpy(code + 4, "\x33", 2);
        code += 6;
    }
    memcpy(code, "\xff\x25\0\0\0", 6);
    memcpy(code + 6, &target, 8);
}

void form_native_run(struct cpu_rig *r, unsigned mode, const uint8_t *bytes,
                     unsigned count, struct form_state *s)
{
    struct area *a = (struct area *)(void *)(r->ram + RIG_AREA);
    uint64_t start = RIG_BASE + RIG_CODE;

    memcpy(r->ram + RIG_CODE, bytes, count);
    put_way_back(r, mode, RIG_CODE + count, form_run_back);
    put_way_back(r, mode, RIG_CODE + count + FORM_FAR, form_run_taken);
    memcpy(a->gpr, s->gpr, sizeof(a->gpr));
    a->flags = s->flags & 0xcd5;
    a->far_offset = RIG_CODE;
    a->far_sel = mode == 2 ? FORM_SEL_CODE16 : FORM_SEL_CODE32;
    a->image = (uint64_t)(uintptr_t)s->image;
    a->start = mode == 8 ? start : (uint64_t)(uintptr_t)form_run_far;
    a->ds = s->seg.ds;
    a->es = s->seg.es;
    a->ss = s->seg.ss;
    a->gs = s->seg.gs;
    a->gs_base = s->seg.gs_base;
    s->vector = signals_call(form_run_area) ? signals_vector() : -1;
    if (s->vector >= 0) return;
    memcpy(s->gpr, a->gpr, sizeof(a->gpr));
    s->flags = a->flags;
    s->seg =
        (struct form_segments){ a->out_sel[0], a->out_sel[1], a->out_sel[2],
                                a->out_sel[3], a->out_sel[4], a->out_fs,
                                a->out_gs };
    s->is_taken = a->is_taken;
}

/* ---- emulated */

static struct cpu_segment segment(uint16_t sel)
{
    const struct entry *t = &entries[sel >> 3 & 7];
    uint64_t d = descriptor(t);

    if (!(sel & 4)) { /* the flat data segment, or none */
        return (struct cpu_segment){ sel, sel ? 0xc0f3 : 0, UINT32_MAX, 0 };
    }
    return (struct cpu_segment){ sel, (uint16_t)(d >> 40 & 0xf0ff), t->limit,
                                 t->base };
}

static void set_state(struct cpu_rig *r, unsigned mode,
                      const struct form_state *s)
{
    struct cpu *c = &r->c;

    rig_flat_state(r);
    if (r->model.has_fsgsbase) c->cr4 |= CR4_FSGSBASE;
    if (!r->model.has_xsave) c->cr4 &= ~(uint64_t)CR4_OSXSAVE;
    c->ldt = (struct cpu_segment){ 8, 0x82, 8 * FORM_LDT_ENTRIES - 1,
                                   RIG_BASE + RIG_LDT };
    c->seg[SEG_DS] = segment(s->seg.ds);
    c->seg[SEG_ES] = segment(s->seg.es);
    c->seg[SEG_SS] = segment(s->seg.ss);
    c->seg[SEG_FS] = segment(s->seg.fs);
    c->seg[SEG_GS] = segment(s->seg.gs);
    c->seg[SEG_FS].base = s->seg.fs_base;
    if (!s->seg.gs) c->seg[SEG_GS].base = s->seg.gs_base;
    c->seg[SEG_CS].sel = 0x33;
    if (mode != 8) {
        c->seg[SEG_CS] = segment(mode == 2 ? FORM_SEL_CODE16 : FORM_SEL_CODE32);
        c->rip = RIG_CODE;
    }
    memcpy(c->gpr, s->gpr, sizeof(c->gpr));
    c->rflags = s->flags | FLAG_IF | 2;
}

void form_emulate(struct cpu_rig *r, unsigned mode, unsigned count,
                  struct form_state *s)
{
    struct cpu *c = &r->c;
    uint64_t handlers = RIG_BASE + RIG_HANDLERS, next;

    set_state(r, mode, s);
    next = c->rip + count;
    s->vector = -1;
    if (emulate_vector_state(r, s->image) == STEP_FAULT ||
        c->rip - handlers < 16 * 256) { /* INT3 and INT1 do not count as such */
        s->vector = (int)((c->rip - handlers) / 16);
        return;
    }
    s->is_taken = c->rip == next + FORM_FAR;
    if (c->rip != next && !s->is_taken) s->vector = 1000; /* went astray */
    memcpy(s->gpr, c->gpr, sizeof(c->gpr));
    s->flags = c->rflags;
    s->seg = (struct form_segments){ c->seg[SEG_DS].sel, c->seg[SEG_ES].sel,
                                     c->seg[SEG_SS].sel, c->seg[SEG_FS].sel,
                                     c->seg[SEG_GS].sel, c->seg[SEG_FS].base,
                                     c->seg[SEG_GS].base };
}
