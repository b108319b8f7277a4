/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/soft/verify.h"

#include "core/cpu/copy.h"
#include "core/soft/code.h"

/*
 * No store of translated code hits the TLB in this mode, so each is seen in
 * the slow path and its old bytes are kept.  Blocks are not linked and the
 * indirect-branch table stays empty: each block comes back here.  A block
 * that agreed many times is believed.
 */

enum { VERIFY_TIMES = 20 };

uint64_t verify_log_store(struct engine *eng, uint8_t *host, unsigned bytes)
{
    struct verify_log *l = eng->verify;
    struct logged_store *s;

    if (l->count == LOG_STORES || bytes > LOG_BYTES) return 0;
    s = &l->store[l->count++];
    s->host = host;
    s->bytes = bytes;
    cpu_copy(s->before, host, bytes);
    return (uint64_t)host;
}

static void get_state(struct engine *eng, struct machine_state *m)
{
    struct cpu *c = &eng->cpu;

    cpu_copy(m->gpr, c->gpr, sizeof(m->gpr));
    m->rip = c->rip;
    m->rflags = c->rflags;
    m->gs_base = c->seg[SEG_GS].base;
    m->kernel_gs_base = c->kernel_gs_base;
    cpu_zero(c->xsave, sizeof(c->xsave));
    soft_vector_save(c);
    cpu_copy(m->xsave, c->xsave, sizeof(m->xsave));
    soft_vector_load(c);
}

static void set_state(struct engine *eng, const struct machine_state *m)
{
    struct cpu *c = &eng->cpu;

    cpu_copy(c->gpr, m->gpr, sizeof(m->gpr));
    c->rip = m->rip;
    c->rflags = m->rflags;
    c->seg[SEG_GS].base = m->gs_base;
    c->kernel_gs_base = m->kernel_gs_base;
    eng->is_mode_stale = true;
    cpu_copy(c->xsave, m->xsave, sizeof(m->xsave));
    soft_vector_load(c);
}

static void undo_stores(struct verify_log *l)
{
    for (unsigned i = 0; i < l->count; i++) {
        cpu_copy(l->store[i].after, l->store[i].host, l->store[i].bytes);
    }
    for (unsigned i = l->count; i-- > 0;) {
        cpu_copy(l->store[i].host, l->store[i].before, l->store[i].bytes);
    }
}

/* ---- comparing */

static unsigned differs_at(const uint8_t *a, const uint8_t *b, unsigned from,
                           unsigned to)
{
    for (unsigned i = from; i < to; i++) {
        if (a[i] != b[i]) return i + 1;
    }
    return 0;
}

/* XSAVE area, SDM 1 13.4: components in their initial state are not written,
 * so those are filled in first; FOP, FIP and FDP are the host's. */
static void complete_xsave(uint8_t *x)
{
    if (!(x[512] & 1)) {
        x[0] = 0x7f;
        x[1] = 0x03;
    }
}

static unsigned vector_differs(struct machine_state *a, struct machine_state *b)
{
    unsigned at;

    complete_xsave(a->xsave);
    complete_xsave(b->xsave);
    at = differs_at(a->xsave, b->xsave, 0, 5);
    if (!at) at = differs_at(a->xsave, b->xsave, 24, 28);
    for (unsigned i = 0; !at && i < 8; i++) {
        at = differs_at(a->xsave, b->xsave, 32 + 16 * i, 42 + 16 * i);
    }
    if (!at) at = differs_at(a->xsave, b->xsave, 160, 416);
    if (!at) at = differs_at(a->xsave, b->xsave, 576, 832);
    return at;
}

#define HEX "0x%llx"

static bool report(struct engine *eng, const struct block *b, const char *what,
                   unsigned n, uint64_t translated, uint64_t emulated)
{
    soft_vector_save(&eng->cpu);
    soft_fail(eng,
              "verify: block " HEX " (mode " HEX ", %u instructions): %s %u "
              "is " HEX " translated, " HEX " emulated",
              (unsigned long long)eng->verify->start.rip,
              (unsigned long long)b->mode.bits, b->insn_count, what, n,
              (unsigned long long)translated, (unsigned long long)emulated);
    soft_vector_load(&eng->cpu);
    return false;
}

static bool compare(struct engine *eng, const struct block *b, uint32_t flags)
{
    struct verify_log *l = eng->verify;
    struct machine_state *t = &l->translated, *e = &l->emulated;
    unsigned at, n = b->mode.bits & BM_CODE64 ? 16 : 8;
    uint64_t mask = b->mode.bits & BM_CODE64 ? UINT64_MAX : UINT32_MAX;

    if (t->rip != e->rip) return report(eng, b, "rip", 0, t->rip, e->rip);
    for (unsigned i = 0; i < n; i++) {
        if ((t->gpr[i] ^ e->gpr[i]) & mask) {
            return report(eng, b, "register", i, t->gpr[i], e->gpr[i]);
        }
    }
    if (t->gs_base != e->gs_base || t->kernel_gs_base != e->kernel_gs_base) {
        return report(eng, b, "GS base", 0, t->gs_base, e->gs_base);
    }
    if ((t->rflags ^ e->rflags) & ~(uint64_t)(FLAGS_ARITH | FLAG_RF)) {
        return report(eng, b, "system flags", 0, t->rflags, e->rflags);
    }
    if ((t->rflags ^ e->rflags) & flags) {
        return report(eng, b, "flags, mask", flags, t->rflags & FLAGS_ARITH,
                      e->rflags & FLAGS_ARITH);
    }
    for (unsigned i = 0; i < l->count; i++) {
        const struct logged_store *s = &l->store[i];
        at = differs_at(s->after, s->host, 0, s->bytes);
        if (at) {
            return report(eng, b, "memory of store", i, s->after[at - 1],
                          s->host[at - 1]);
        }
    }
    at = vector_differs(t, e);
    if (at) {
        return report(eng, b, "xsave byte", at - 1, t->xsave[at - 1],
                      e->xsave[at - 1]);
    }
    return true;
}

/* Instructions of b before guest address rip. */
static unsigned insns_before(const struct code_cache *c, const struct block *b,
                             uint64_t rip)
{
    uint64_t start = b->lin - b->mode.cs_base;
    unsigned n = 0;

    while (n < b->map_count && start + c->maps[b->first_map + n].guest < rip) {
        n++;
    }
    return n;
}

enum verify_result verify_block(struct engine *eng)
{
    struct code_cache *cache = eng->soft->cache;
    struct verify_log *l = eng->verify;
    struct block *b = soft_get_block(eng, eng->cpu.rip, NULL);
    unsigned count;
    uint32_t flags = 0;
    bool is_partial = false;

    if (!b) return VERIFY_EMULATE;
    l->count = 0;
    if (b->verified == VERIFY_TIMES) {
        soft_enter_block(eng, b->pad);
        return eng->cause == LEAVE_LOOKUP || eng->cause == LEAVE_ATTEND
                   ? VERIFY_DONE
                   : VERIFY_EMULATE;
    }
    b->verified++;
    get_state(eng, &l->start);
    soft_enter_block(eng, b->pad);
    if (eng->cause == LEAVE_LOOKUP) {
        count = b->insn_count;
        flags = b->live_out & ~b->undefined_out;
    } else {
        if (eng->cpu.rip == l->start.rip) {
            set_state(eng, &l->start);
            return eng->cause == LEAVE_ATTEND ? VERIFY_DONE : VERIFY_EMULATE;
        }
        count = insns_before(cache, b, eng->cpu.rip);
        is_partial = true;
    }
    get_state(eng, &l->translated);
    undo_stores(l);
    set_state(eng, &l->start);
    for (unsigned i = 0; i < count; i++) {
        enum cpu_step s = cpu_emulate(&eng->cpu);
        if (s != STEP_OK) {
            report(eng, b, "emulator's step", i, 0, s);
            return VERIFY_FAILED;
        }
    }
    get_state(eng, &l->emulated);
    /* An SSE exception that faulted has left its flag (MXCSR bits 5:0); the
     * emulator will raise it again. */
    if (is_partial) l->translated.xsave[24] = l->emulated.xsave[24];
    return compare(eng, b, flags) ? VERIFY_DONE : VERIFY_FAILED;
}
