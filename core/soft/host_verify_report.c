/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdio.h>
#include <string.h>

#include "core/base/log.h"
#include "core/soft/code.h"
#include "core/soft/verify.h"

/* verify=on has found a difference: both states in full, to the log. */

enum { MEMORY_LINES = 32, ROW_BYTES = 16, CODE_BYTES = 192 };

typedef unsigned long long ull;

struct report {
    struct engine *eng;
    const struct verify *l;
    char names[120];               /* of what differs */
    uint64_t emulated, translated; /* the first of it */
    unsigned count;
};

/* One more that differs; its text mark. */
static const char *mark(struct report *r, const char *name, uint64_t emulated,
                        uint64_t translated)
{
    size_t n = strlen(r->names);

    if (r->count++ == 0) {
        r->emulated = emulated;
        r->translated = translated;
    }
    snprintf(r->names + n, sizeof(r->names) - n, "%s%s", n ? ", " : "", name);
    return "  <-- differs";
}

static void row(struct report *r, const char *name, uint64_t before,
                uint64_t emulated, uint64_t translated, uint64_t mask)
{
    const char *what = "";

    if ((emulated ^ translated) & mask) {
        what = mark(r, name, emulated & mask, translated & mask);
    }
    log_warn("verify: %-10s %016llx  %016llx  %016llx%s", name, (ull)before,
             (ull)emulated, (ull)translated, what);
}

static void show_registers(struct report *r)
{
    static const char *const names[16] = {
        "RAX", "RCX", "RDX", "RBX", "RSP", "RBP", "RSI", "RDI",
        "R8",  "R9",  "R10", "R11", "R12", "R13", "R14", "R15",
    };
    const struct verify *l = r->l;
    const struct cpu *s = &l->start, *e = &l->emulated, *t = &l->translated;
    bool is_64 = l->block->mode.bits & BM_CODE64;
    uint64_t mask = is_64 ? UINT64_MAX : UINT32_MAX;

    log_warn("verify: %-10s %-16s  %-16s  %-16s", "", "before", "emulated",
             "translated");
    row(r, "RIP", s->rip, e->rip, t->rip, UINT64_MAX);
    for (unsigned i = 0; i < 16; i++) {
        row(r, names[i], s->gpr[i], e->gpr[i], t->gpr[i],
            is_64 || i < 8 ? mask : 0);
    }
}

static void show_flags(struct report *r)
{
    static const struct {
        uint32_t flag;
        const char *name;
    } names[] = {
        { FLAG_CF, "CF" }, { FLAG_PF, "PF" }, { FLAG_AF, "AF" },
        { FLAG_ZF, "ZF" }, { FLAG_SF, "SF" }, { FLAG_OF, "OF" },
        { FLAG_IF, "IF" }, { FLAG_AC, "AC" },
    };
    const struct verify *l = r->l;
    uint64_t e = l->emulated.rflags, t = l->translated.rflags;
    uint32_t left = l->flags_differ;
    const char *what = "";

    for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (!(left & names[i].flag)) continue;
        what = mark(r, names[i].name, e & names[i].flag, t & names[i].flag);
        left &= ~names[i].flag;
    }
    if (left) what = mark(r, "RFLAGS", e & left, t & left);
    log_warn("verify: %-10s %016llx  %016llx  %016llx%s", "RFLAGS",
             (ull)l->start.rflags, (ull)e, (ull)t, what);
    log_warn("verify: flags that count and differ: %#x", l->flags_differ);
}

static void show_segments(struct report *r)
{
    static const char *const names[SEG_COUNT] = { "ES", "CS", "SS",
                                                  "DS", "FS", "GS" };
    const struct cpu *s = &r->l->start, *e = &r->l->emulated,
                     *t = &r->l->translated;

    for (unsigned i = 0; i < SEG_COUNT; i++) {
        const struct cpu_segment *a = &e->seg[i], *b = &t->seg[i];
        char name[16];

        snprintf(name, sizeof(name), "%s base", names[i]);
        row(r, name, s->seg[i].base, a->base, b->base, UINT64_MAX);
        snprintf(name, sizeof(name), "%s", names[i]);
        row(r, name, s->seg[i].sel | (uint64_t)s->seg[i].attr << 16,
            a->sel | (uint64_t)a->attr << 16, b->sel | (uint64_t)b->attr << 16,
            UINT64_MAX);
        snprintf(name, sizeof(name), "%s limit", names[i]);
        row(r, name, s->seg[i].limit, a->limit, b->limit, UINT64_MAX);
    }
    row(r, "KernelGS", s->kernel_gs_base, e->kernel_gs_base, t->kernel_gs_base,
        UINT64_MAX);
}

static uint64_t word_at(const uint8_t *p, unsigned bytes)
{
    uint64_t v = 0;

    memcpy(&v, p, bytes);
    return v;
}

/* Fields of the xsave area that differ. */
static void show_vectors(struct report *r)
{
    const uint8_t *s = r->l->start.xsave, *e = r->l->emulated.xsave,
                  *t = r->l->translated.xsave;

    for (unsigned at = 0; at < 832; at += 8) {
        unsigned bytes = at == 0 ? 5 : at == 24 ? 4 : 8;
        bool is_st = at >= 32 && at < 160;
        char name[16];

        if (at == 8 || at == 16 || (at >= 416 && at < 576)) continue;
        if (is_st && at % 16 == 8) bytes = 2;
        if (memcmp(e + at, t + at, bytes) == 0) continue;
        if (at < 24) {
            snprintf(name, sizeof(name), "FCW..FTW");
        } else if (at < 32) {
            snprintf(name, sizeof(name), "MXCSR");
        } else if (is_st) {
            snprintf(name, sizeof(name), "ST%u.%u", (at - 32) / 16, at / 8 % 2);
        } else if (at < 416) {
            snprintf(name, sizeof(name), "XMM%u.%u", (at - 160) / 16,
                     at / 8 % 2);
        } else {
            snprintf(name, sizeof(name), "YMM%u.%u", (at - 576) / 16,
                     2 + at / 8 % 2);
        }
        row(r, name, word_at(s + at, bytes), word_at(e + at, bytes),
            word_at(t + at, bytes), UINT64_MAX);
    }
}

static void hex(char *to, const uint8_t *from, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        sprintf(to + 2 * i, "%02x", from[i]);
    to[2 * bytes] = '\0';
}

/* Is a byte of the row stored to; do any such differ? */
static bool row_differs(const struct verify_page *p, unsigned at, bool *is_any)
{
    *is_any = false;
    if (!(p->lines >> at / 64 & 1)) return false;
    for (unsigned i = at; i < at + ROW_BYTES; i++) {
        if (!(p->stored[i / 64] >> i % 64 & 1)) continue;
        *is_any = true;
        if (p->emulated[i] != p->translated[i]) return true;
    }
    return false;
}

static void show_row(struct report *r, const struct verify_page *p, unsigned at)
{
    char before[2 * ROW_BYTES + 1], emulated[sizeof(before)],
        translated[sizeof(before)], name[40];
    uint64_t lin = tlb_find_host(r->eng, (uint64_t)p->host);

    for (unsigned i = 0; i < ROW_BYTES; i++) {
        bool is_stored = p->stored[(at + i) / 64] >> (at + i) % 64 & 1;

        if (!is_stored) {
            sprintf(before + 2 * i, "..");
            sprintf(emulated + 2 * i, "..");
            sprintf(translated + 2 * i, "..");
            continue;
        }
        hex(before + 2 * i, p->before + at + i, 1);
        hex(emulated + 2 * i, p->emulated + at + i, 1);
        hex(translated + 2 * i, p->translated + at + i, 1);
        if (p->emulated[at + i] == p->translated[at + i]) continue;
        snprintf(name, sizeof(name), "%s %#llx",
                 lin ? "memory" : "memory at page offset", (ull)(lin + at + i));
        mark(r, name, p->emulated[at + i], p->translated[at + i]);
    }
    log_warn("verify: memory %#llx: %s  %s  %s  <-- differs", (ull)(lin + at),
             before, emulated, translated);
}

static void show_memory(struct report *r)
{
    const struct verify *l = r->l;
    unsigned rows = 0, stored = 0;

    for (unsigned i = 0; i < l->page_count; i++) {
        for (unsigned at = 0; at < PAGE_BYTES; at += ROW_BYTES) {
            bool is_any;
            if (row_differs(&l->page[i], at, &is_any)) {
                if (rows++ < MEMORY_LINES) show_row(r, &l->page[i], at);
            }
            stored += is_any;
        }
    }
    log_warn("verify: %u of %u rows of memory stored to differ", rows, stored);
}

static void show_block(struct report *r)
{
    static const char *const causes[] = { "to look up where to go",
                                          "for an instruction to be emulated",
                                          "as attention was asked for",
                                          "in the slow path of an access",
                                          "at IRETQ" };
    const struct verify *l = r->l;
    const struct block *b = l->block;
    unsigned cause = r->eng->cause;
    uint64_t off = b->lin & (PAGE_BYTES - 1);
    unsigned n = CODE_BYTES;
    char text[3 * CODE_BYTES + 1];

    log_warn("verify: CPU %u: block at %#llx, linear %#llx, mode %#x, %u "
             "instructions%s%s; left %s; after %u steps of the emulator, "
             "which went on for %u",
             r->eng->cpu.index, (ull)l->start.rip, (ull)b->lin, b->mode.bits,
             b->insn_count, b->is_super ? ", superblock" : "",
             b->has_loop ? ", loop" : "",
             cause < sizeof(causes) / sizeof(causes[0]) ? causes[cause] : "",
             l->at, l->count - 1);
    if (off + n > PAGE_BYTES) n = (unsigned)(PAGE_BYTES - off);
    hex(text, b->start, n);
    for (unsigned i = 0; i < n; i += 32) {
        log_warn("verify: code %#llx: %.64s", (ull)(l->start.rip + i),
                 text + 2 * i);
    }
}

static void show_path(const struct verify *l)
{
    unsigned from = l->at > 32 ? l->at - 32 : 0;

    for (unsigned i = from; i <= l->at; i++)
        log_warn("verify: step %u: RIP %#llx", i, (ull)l->step[i].rip);
}

void verify_report(struct engine *eng)
{
    struct report r = { .eng = eng, .l = eng->verify };
    const struct verify *l = eng->verify;

    show_block(&r);
    show_path(l);
    show_registers(&r);
    show_flags(&r);
    show_segments(&r);
    show_vectors(&r);
    show_memory(&r);
    soft_fail(eng,
              "verify: block 0x%llx (mode 0x%x): %s: 0x%llx emulated, 0x%llx "
              "translated",
              (ull)l->start.rip, l->block->mode.bits, r.names, (ull)r.emulated,
              (ull)r.translated);
}
