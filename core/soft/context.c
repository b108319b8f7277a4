/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/soft/context.h"

#include "core/soft/engine.h"

/*
 * Address spaces kept over CR3 loads.  Translated code knows one TLB and one
 * table of branch targets, at fixed places; on a switch the entries that
 * belong to the PCID that is left are copied out, and those of the other back
 * in.  That costs some nanoseconds for an entry, looking it up again a
 * hundred.
 *
 * Only a guest that uses PCIDs gains: without them a CR3 load must be seen to
 * invalidate, also when page tables were changed meanwhile.
 *
 * What is copied out is as true as what is in the TLB and must go with it:
 * host addresses when the memory map changes, the right to write when a page
 * comes to hold code or is to be seen dirty, targets when code is dropped as
 * a whole.  Blocks that are dropped one by one stay safe to jump to.
 */

static struct tlb_context *find(struct engine *eng, unsigned pcid)
{
    for (unsigned i = 0; i < CONTEXTS; i++) {
        struct tlb_context *x = &eng->context[i];
        if (x->is_valid && x->pcid == pcid) return x;
    }
    return NULL;
}

/* One to fill: a free one, or the one left longest ago. */
static struct tlb_context *take(struct engine *eng)
{
    struct tlb_context *best = &eng->context[0];

    for (unsigned i = 0; i < CONTEXTS; i++) {
        struct tlb_context *x = &eng->context[i];
        if (!x->is_valid) return x;
        if (x->stamp < best->stamp) best = x;
    }
    return best;
}

void context_drop(struct engine *eng, unsigned pcid)
{
    struct tlb_context *x = find(eng, pcid);

    if (x) x->is_valid = false;
}

void context_drop_all(struct engine *eng)
{
    for (unsigned i = 0; i < CONTEXTS; i++)
        eng->context[i].is_valid = false;
}

void context_drop_targets(struct engine *eng)
{
    for (unsigned i = 0; i < CONTEXTS; i++)
        eng->context[i].target_count = 0;
}

void context_protect(struct engine *eng, const uint8_t *page)
{
    for (unsigned i = 0; i < CONTEXTS; i++) {
        struct tlb_context *x = &eng->context[i];
        unsigned n = 0;

        if (!x->is_valid) continue;
        for (unsigned k = 0; k < x->half_count; k++) {
            bool is_write = x->half[k].key & 1;
            bool is_meant = !page || x->half[k].page == (uint64_t)page;
            if (is_write && is_meant) continue;
            x->half[n++] = x->half[k];
        }
        x->half_count = (uint16_t)n;
    }
}

/* ---- out */

/* A slot that has lost its page since holds the number of another slot. */
static void save_half(struct tlb_context *x, unsigned slot, uint64_t tag,
                      uint64_t page, unsigned kind)
{
    if ((tag >> PAGE_SHIFT & (TLB_ENTRIES - 1)) != slot) return;
    if (x->half_count == CONTEXT_HALVES) return;
    x->half[x->half_count].key = tag | kind;
    x->half[x->half_count].page = page;
    x->half_count++;
}

static void save_data(const struct engine *eng, struct tlb_context *x,
                      unsigned space)
{
    for (unsigned w = 0; w < LOCAL_WORDS; w++) {
        uint64_t reads = eng->local[space][0][w];
        uint64_t writes = eng->local[space][1][w];

        for (uint64_t left = reads | writes; left; left &= left - 1) {
            unsigned bit = (unsigned)__builtin_ctzll(left);
            unsigned slot = w * 64 + bit;
            const struct tlb_entry *t = &eng->tlb[space][slot];

            if (reads >> bit & 1) {
                save_half(x, slot, t->rtag, t->rpage, space << 1);
            }
            if (writes >> bit & 1) {
                save_half(x, slot, t->wtag, t->wpage, space << 1 | 1);
            }
        }
    }
}

static void save_fetches(const struct engine *eng, struct tlb_context *x,
                         unsigned space)
{
    if (!eng->fetch_has_nonglobal[space]) return;
    for (unsigned i = 0; i < FETCH_ENTRIES; i++) {
        const struct fetch_entry *f = &eng->fetch[space][i];

        if (f->is_global || f->tag == 1) continue;
        if (x->fetch_count == CONTEXT_FETCHES) return;
        x->fetch[x->fetch_count].lin = f->tag | space;
        x->fetch[x->fetch_count].page = f->page;
        x->fetch_count++;
    }
}

/* Targets in user mode, unless one is of a global page: which is not known.
 * Many are not worth it. */
static void save_targets(const struct engine *eng, struct tlb_context *x)
{
    unsigned count = eng->ibt_used_count[SPACE_USER];
    const struct mode_key *m = &eng->ibt_mode[SPACE_USER];

    if (count > CONTEXT_TARGETS || eng->ibt_has_global[SPACE_USER] ||
        !(m->bits & BM_CODE64)) {
        return;
    }
    x->mode_bits = m->bits;
    for (unsigned i = 0; i < count; i++) {
        uint64_t slot = eng->ibt_used[SPACE_USER][i];
        uint64_t pad = eng->ibt[SPACE_USER][slot];

        if (pad == eng->ibt_miss) continue;
        x->target[x->target_count++] = slot << 48 | pad;
    }
}

static void save(struct engine *eng, unsigned pcid)
{
    struct tlb_context *x = find(eng, pcid);

    if (!x) x = take(eng);
    x->is_valid = true;
    x->pcid = (uint16_t)pcid;
    x->stamp = ++eng->context_stamp;
    x->half_count = x->fetch_count = x->target_count = 0;
    for (unsigned s = 0; s < SPACE_COUNT; s++) {
        save_data(eng, x, s);
        save_fetches(eng, x, s);
    }
    save_targets(eng, x);
}

/* ---- in */

static void restore_data(struct engine *eng, const struct tlb_context *x)
{
    for (unsigned i = 0; i < x->half_count; i++) {
        uint64_t tag = x->half[i].key & ~(PAGE_BYTES - 1ull);
        unsigned slot = tag >> PAGE_SHIFT & (TLB_ENTRIES - 1);
        unsigned space = x->half[i].key >> 1 & 3, is_write = x->half[i].key & 1;
        struct tlb_entry *t = &eng->tlb[space][slot];

        if (is_write) {
            t->wtag = tag;
            t->wpage = x->half[i].page;
        } else {
            t->rtag = tag;
            t->rpage = x->half[i].page;
        }
        eng->local[space][is_write][slot / 64] |= 1ull << (slot & 63);
        eng->filled[space][slot / 64] |= 1ull << (slot & 63);
    }
}

static void restore(struct engine *eng, const struct tlb_context *x)
{
    restore_data(eng, x);
    for (unsigned i = 0; i < x->fetch_count; i++) {
        uint64_t tag = x->fetch[i].lin & ~(PAGE_BYTES - 1ull);
        unsigned space = x->fetch[i].lin & 3;
        struct fetch_entry *f =
            &eng->fetch[space][tag >> PAGE_SHIFT & (FETCH_ENTRIES - 1)];

        *f = (struct fetch_entry){ tag, x->fetch[i].page, false };
        eng->fetch_has_nonglobal[space] = true;
    }
    if (!x->target_count || eng->ibt_used_count[SPACE_USER]) return;
    eng->ibt_mode[SPACE_USER] = (struct mode_key){
        .bits = x->mode_bits,
        .cs_limit = UINT32_MAX,
    };
    for (unsigned i = 0; i < x->target_count; i++) {
        unsigned slot = x->target[i] >> 48;

        eng->ibt_used[SPACE_USER][i] = (uint16_t)slot;
        eng->ibt[SPACE_USER][slot] = x->target[i] & ((1ull << 48) - 1);
    }
    eng->ibt_used_count[SPACE_USER] = x->target_count;
    eng->ibt_has_nonglobal[SPACE_USER] = true;
}

void context_switch(struct engine *eng, unsigned from, unsigned to)
{
    struct tlb_context *x;

    if (from == to) return;
    save(eng, from);
    tlb_drop_local(eng);
    x = find(eng, to);
    if (!x) return;
    restore(eng, x);
    x->is_valid = false;
    eng->stat.restored++;
}
