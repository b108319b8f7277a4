/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/soft/move.h"

#include "core/cpu/copy.h"
#include "core/soft/code.h"

/* The same code at another linear address: move.h. */

bool code_may_move(const struct mode_key *mode, uint64_t lin)
{
    const uint64_t lowest = 1ull << 33, end = 1ull << 47;

    return mode->bits & BM_CODE64 &&
           (mode->bits >> BM_SPACE_SHIFT & 3) == SPACE_USER && lin >= lowest &&
           lin < end - MOVE_REACH;
}

static uint32_t *newest_of(struct code_cache *c, const uint8_t *start)
{
    uint64_t h = (uint64_t)start * 0x9e3779b97f4a7c15ull;

    return &c->newest[h >> 40 & (NEWEST_HASH - 1)];
}

void code_set_newest_locked(struct code_cache *c, const struct block *b)
{
    if (b->move_count) {
        *newest_of(c, b->start) = (uint32_t)(b - c->blocks) + 1;
    }
}

void code_drop_newest_locked(struct code_cache *c, const uint8_t *start)
{
    *newest_of(c, start) = 0;
}

/* A copy being made: where it was (executable addresses), by how much it is
 * moved as host code and as guest code. */
struct copy {
    struct code_cache *c;
    const struct block *from;
    struct block *to;
    int64_t main, cold, guest;
};

/* Where that is which was at the host address. */
static uint8_t *moved(const struct copy *k, uint8_t *at)
{
    const struct block *b = k->from;

    if (at >= b->pad && at < b->pad + b->bytes) return at + k->main;
    if (at >= b->cold && at < b->cold + b->cold_bytes) return at + k->cold;
    return at;
}

static uint8_t *writable(const struct copy *k, uint8_t *exec)
{
    return k->c->write + (exec - k->c->exec);
}

static void set_rel(const struct copy *k, uint8_t *at, const uint8_t *to)
{
    cpu_put(writable(k, at), 4, (uint64_t)(to - (at + 4)));
}

static uint64_t table_slot(uint64_t disp, uint64_t guest)
{
    uint64_t at = disp - IBT_AT, slot = at % IBT_SPAN / 8;

    slot = (slot + (guest >> 1)) & (IBT_ENTRIES - 1);
    return IBT_AT + at / IBT_SPAN * IBT_SPAN + slot * 8;
}

static uint64_t tlb_slot(uint64_t disp, uint64_t guest)
{
    const uint64_t bytes = sizeof(struct tlb_entry);
    uint64_t slot = disp % TLB_SPAN / bytes;

    disp -= slot * bytes;
    slot = (slot + (guest >> PAGE_SHIFT)) & (TLB_ENTRIES - 1);
    return disp + slot * bytes;
}

/* At the call of soft_exit_link: behind it the guest's address and that of the
 * jump, which may be linked by now: the copy's leads here. */
static void move_link(const struct copy *k, uint8_t *at)
{
    enum { CALL_BYTES = 5 };
    uint8_t *data = writable(k, at + CALL_BYTES);
    uint64_t rip = cpu_get(data, 8), jump = cpu_get(data + 8, 8);
    uint64_t flags = jump & LINK_BITS;
    uint8_t *to = moved(k, (uint8_t *)(jump - flags));

    cpu_put(data, 8, rip + (uint64_t)k->guest);
    cpu_put(data + 8, 8, (uint64_t)to | flags);
    set_rel(k, to, at);
}

static void move_field(const struct copy *k, const struct code_move *m)
{
    uint8_t *was = (m->is_cold ? k->from->cold : k->from->pad) + m->at;
    uint8_t *at = was + (m->is_cold ? k->cold : k->main);
    uint8_t *field = writable(k, at);
    uint64_t guest = (uint64_t)k->guest, v;

    switch ((enum move_kind)m->kind) {
    case MOVE_REL:
        v = cpu_get(field, 4);
        set_rel(k, at, moved(k, was + 4 + (int32_t)v));
        break;
    case MOVE_ADD: cpu_put(field, 8, cpu_get(field, 8) + guest); break;
    case MOVE_SUB: cpu_put(field, 8, cpu_get(field, 8) - guest); break;
    case MOVE_TARGET:
        cpu_put(field, 4, table_slot(cpu_get(field, 4), guest));
        break;
    case MOVE_TLB: cpu_put(field, 4, tlb_slot(cpu_get(field, 4), guest)); break;
    case MOVE_NUMBER:
        v = cpu_get(field, 4) & BRANCH_MARK;
        cpu_put(field, 4, v | (uint64_t)(k->to - k->c->blocks));
        break;
    case MOVE_LINK: move_link(k, at); break;
    }
}

static struct block *find_other(struct code_cache *c, const uint8_t *start,
                                uint64_t lin, const struct mode_key *mode)
{
    uint32_t n = *newest_of(c, start);
    struct block *b;

    if (!n || !code_may_move(mode, lin)) return NULL;
    b = &c->blocks[n - 1];
    if (b->is_dead || b->start != start || b->mode.bits != mode->bits) {
        return NULL;
    }
    return b;
}

struct block *code_move_locked(struct code_cache *c, const uint8_t *start,
                               uint64_t lin, const struct mode_key *mode)
{
    const struct block *from = find_other(c, start, lin, mode);
    uint8_t *main = (uint8_t *)(((uint64_t)c->hot + 7) & ~7ull), *cold;
    struct copy k = { .c = c, .from = from };
    struct block *b = &c->blocks[c->block_count];
    int64_t exec = c->exec - c->write;

    if (!from || c->block_count == c->block_max) return NULL;
    /* Jumps that are patched stay aligned. */
    cold = c->cold + (((uint64_t)from->cold - (uint64_t)c->cold) & 7);
    if (c->hot_end - main < (int64_t)from->bytes ||
        c->cold_end - cold < (int64_t)from->cold_bytes) {
        return NULL;
    }
    cpu_copy(b, from, sizeof(*b));
    b->lin = lin;
    b->links = NULL;
    b->verified = 0;
    b->pad = main + exec;
    b->body = b->pad + (from->body - from->pad);
    b->cold = cold + exec;
    cpu_copy(main, from->pad, from->bytes);
    cpu_copy(cold, from->cold, from->cold_bytes);
    k.to = b;
    k.main = b->pad - from->pad;
    k.cold = b->cold - from->cold;
    k.guest = (int64_t)(lin - from->lin);
    for (unsigned i = 0; i < from->move_count; i++) {
        move_field(&k, &c->moves[from->first_move + i]);
    }
    c->hot = main + from->bytes;
    c->cold = cold + from->cold_bytes;
    c->block_count++;
    c->stat.moved++;
    code_insert_locked(c, b);
    code_set_newest_locked(c, b);
    return b;
}
