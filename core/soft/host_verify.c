/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/soft/verify.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "core/soft/translate.h"

/* verify=on, the part that runs outside guest state: memory, turns, and which
 * flags count. */

static size_t steps_bytes(void)
{
    return VERIFY_STEPS * sizeof(struct verify_step);
}

struct verify *verify_new(void)
{
    struct verify *l = aligned_alloc(64, (sizeof(*l) + 63) & ~(size_t)63);

    if (!l) return NULL;
    memset(l, 0, sizeof(*l));
    l->step = mmap(NULL, steps_bytes(), PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (l->step != MAP_FAILED) return l;
    free(l);
    return NULL;
}

void verify_free(struct verify *l)
{
    if (!l) return;
    munmap(l->step, steps_bytes());
    free(l);
}

/* ---- turns, in the order in which they are asked for */

struct verify_turn {
    pthread_mutex_t lock; /* guards both */
    pthread_cond_t changed;
    _Atomic unsigned next, now;
};

struct verify_turn *verify_turn_new(void)
{
    struct verify_turn *t = calloc(1, sizeof(*t));

    if (!t) return NULL;
    pthread_mutex_init(&t->lock, NULL);
    pthread_cond_init(&t->changed, NULL);
    return t;
}

void verify_turn_free(struct verify_turn *t)
{
    if (!t) return;
    pthread_cond_destroy(&t->changed);
    pthread_mutex_destroy(&t->lock);
    free(t);
}

void verify_turn_begin(struct verify_turn *t)
{
    unsigned own;

    pthread_mutex_lock(&t->lock);
    own = t->next++;
    while (t->now != own)
        pthread_cond_wait(&t->changed, &t->lock);
    pthread_mutex_unlock(&t->lock);
}

void verify_turn_end(struct verify_turn *t)
{
    pthread_mutex_lock(&t->lock);
    t->now++;
    pthread_cond_broadcast(&t->changed);
    pthread_mutex_unlock(&t->lock);
}

bool verify_turn_is_wanted(const struct verify_turn *t)
{
    return t->next - t->now > 1;
}

/* ---- flags */

enum { INSN_BYTES = 15, AHEAD_INSNS = 512, SIDE_INSNS = 8, TRACED = 512 };

struct flag_walk {
    const struct engine *eng;
    const struct block *block;
    const ZydisDecoder *decoder;
    unsigned left; /* instructions */
};

/* Octets of code at rip, of the block's pages only. */
static unsigned fetch(const struct block *b, uint64_t rip,
                      uint8_t to[INSN_BYTES])
{
    uint64_t lin = b->mode.cs_base + rip;
    unsigned n = 0;

    for (; n < INSN_BYTES; n++, lin++) {
        uint64_t page;
        if (!(b->mode.bits & BM_CODE64)) lin = (uint32_t)lin;
        page = (lin >> PAGE_SHIFT) - (b->lin >> PAGE_SHIFT);
        if (page > 1 || !b->page[page]) break;
        to[n] = b->page[page]->page[lin & (PAGE_BYTES - 1)];
    }
    return n;
}

static bool decode(struct flag_walk *w, uint64_t rip,
                   ZydisDecodedInstruction *d)
{
    uint8_t code[INSN_BYTES];
    unsigned n = fetch(w->block, rip, code);

    return ZYAN_SUCCESS(
        ZydisDecoderDecodeInstruction(w->decoder, NULL, code, n, d));
}

static uint64_t target_of(const struct flag_walk *w,
                          const ZydisDecodedInstruction *d, uint64_t next)
{
    uint64_t to = next + (uint64_t)d->raw.imm[0].value.s;

    if (w->block->mode.bits & BM_CODE64) return to;
    return d->operand_width == 16 ? (uint16_t)to : (uint32_t)to;
}

/* Of the flags in open, those that may be used from rip on; is_side: where a
 * conditional jump may lead, followed for a few instructions. */
static uint32_t live_flags(struct flag_walk *w, uint64_t rip, uint32_t open,
                           bool is_side)
{
    uint32_t live = 0;
    unsigned left = is_side ? SIDE_INSNS : AHEAD_INSNS;

    for (; open && left > 0 && w->left > 0; left--, w->left--) {
        ZydisDecodedInstruction d;
        uint32_t use, kill, undefined;

        if (!decode(w, rip, &d)) break;
        insn_flags(&d, &use, &kill, &undefined);
        live |= use & open;
        open &= ~(use | kill);
        rip += d.length;
        switch (d.meta.category) {
        case ZYDIS_CATEGORY_UNCOND_BR:
        case ZYDIS_CATEGORY_CALL:
            if (!d.raw.imm[0].is_relative) return live | open;
            rip = target_of(w, &d, rip);
            break;
        case ZYDIS_CATEGORY_COND_BR:
            if (is_side) return live | open;
            live |= live_flags(w, target_of(w, &d, rip), open, true);
            open &= ~live;
            break;
        case ZYDIS_CATEGORY_RET:
        case ZYDIS_CATEGORY_SYSCALL:
        case ZYDIS_CATEGORY_SYSRET:
        case ZYDIS_CATEGORY_INTERRUPT: return live | open;
        default: break;
        }
    }
    return live | open;
}

/* Flags that no manual gives a value after so many steps. */
static uint32_t undefined_flags(struct flag_walk *w, unsigned steps)
{
    unsigned i = steps > TRACED ? steps - TRACED : 0;
    uint32_t undefined = 0;

    for (; i < steps; i++) {
        ZydisDecodedInstruction d;
        uint32_t use, kill, own;

        if (!decode(w, w->eng->verify->step[i].rip, &d)) continue;
        insn_flags(&d, &use, &kill, &own);
        undefined = (undefined & ~kill) | own;
    }
    return undefined;
}

uint32_t verify_flags_that_matter(struct engine *eng, unsigned steps,
                                  uint32_t mask)
{
    const struct block *b = eng->verify->block;
    const ZydisDecoder *all = eng->soft->cache->translator->decoder;
    struct flag_walk w = { .eng = eng, .block = b, .left = AHEAD_INSNS };

    w.decoder = b->mode.bits & BM_CODE64   ? &all[2]
                : b->mode.bits & BM_CODE32 ? &all[1]
                : b->mode.bits & BM_REAL   ? &all[3]
                                           : &all[0];
    mask &= ~undefined_flags(&w, steps);
    if (!mask) return 0;
    return mask & live_flags(&w, eng->verify->translated.rip, mask, false);
}

/* ---- vector state */

/* XSAVE area, SDM 1 13.4: components in their initial state are not written,
 * so those are filled in first; FOP, FIP and FDP are the host's. */
static void complete_xsave(uint8_t *x)
{
    if (!(x[512] & 1)) {
        x[0] = 0x7f;
        x[1] = 0x03;
    }
}

int verify_vector_differs(uint8_t *a, uint8_t *b)
{
    /* FCW to FTW, MXCSR, x87 registers, XMM, upper halves of YMM */
    static const struct {
        unsigned from, bytes, count;
    } parts[] = { { 0, 5, 1 },
                  { 24, 4, 1 },
                  { 32, 10, 8 },
                  { 160, 256, 1 },
                  { 576, 256, 1 } };

    complete_xsave(a);
    complete_xsave(b);
    for (unsigned p = 0; p < sizeof(parts) / sizeof(parts[0]); p++) {
        for (unsigned i = 0; i < parts[p].count; i++) {
            unsigned at = parts[p].from + 16 * i, end = at + parts[p].bytes;
            if (memcmp(a + at, b + at, end - at) == 0) continue;
            while (a[at] == b[at])
                at++;
            return (int)at;
        }
    }
    return -1;
}

size_t verify_print_stats(const struct engine *eng, char *text, size_t cap)
{
    const struct verify *l = eng->verify;
    int n = snprintf(
        text, cap,
        "CPU %u verified: %llu blocks (%llu superblocks, %llu loops), %llu "
        "runs (%llu of superblocks, %llu of loops), %llu instructions ahead, "
        "%llu runs too long, %llu doubtful\n",
        eng->cpu.index, (unsigned long long)l->stat.blocks,
        (unsigned long long)l->stat.supers, (unsigned long long)l->stat.loops,
        (unsigned long long)l->stat.runs,
        (unsigned long long)l->stat.super_runs,
        (unsigned long long)l->stat.loop_runs,
        (unsigned long long)l->stat.steps,
        (unsigned long long)l->stat.long_runs,
        (unsigned long long)l->stat.doubtful);

    if (n < 0) return 0;
    return (size_t)n < cap ? (size_t)n : cap - 1;
}
