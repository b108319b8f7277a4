/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/soft/verify.h"

#include "core/cpu/copy.h"

/* What the emulator changes of memory while it runs ahead, byte by byte. */

enum { LINE_BYTES = 64 };

_Noreturn void verify_stop(struct engine *eng)
{
    eng->verify->is_stopped = true;
    __builtin_longjmp(eng->verify->env, 1);
}

static unsigned slot_of(const uint8_t *page)
{
    return ((uint64_t)page >> PAGE_SHIFT) * 0x9e3779b97f4a7c15ull >> 56 &
           (VERIFY_SLOTS - 1);
}

static struct verify_page *find(struct engine *eng, uint8_t *page)
{
    struct verify *l = eng->verify;
    unsigned i = slot_of(page);
    struct verify_page *p = l->last;

    if (p && p->host == page) return p;
    for (; l->slot[i]; i = (i + 1) & (VERIFY_SLOTS - 1)) {
        p = &l->page[l->slot[i] - 1];
        if (p->host == page) return l->last = p;
    }
    if (l->page_count == VERIFY_PAGES) {
        l->is_cut = true;
        verify_stop(eng);
    }
    p = &l->page[l->page_count++];
    l->slot[i] = (uint8_t)l->page_count;
    p->host = page;
    p->lines = 0;
    return l->last = p;
}

void verify_touch(struct engine *eng, uint8_t *host, unsigned bytes,
                  bool is_store)
{
    unsigned at = (uint64_t)host & (PAGE_BYTES - 1);
    struct verify_page *p = find(eng, host - at);

    for (unsigned end = at + bytes; at < end;) {
        unsigned line = at / LINE_BYTES, n = LINE_BYTES - at % LINE_BYTES;
        uint64_t mask, fresh;

        if (n > end - at) n = end - at;
        mask = (~0ull >> (LINE_BYTES - n)) << at % LINE_BYTES;
        if (!(p->lines >> line & 1)) {
            p->lines |= 1ull << line;
            p->touched[line] = p->stored[line] = 0;
        }
        fresh = mask & ~p->touched[line];
        p->touched[line] |= mask;
        if (is_store) p->stored[line] |= mask;
        for (; fresh; fresh &= fresh - 1) {
            unsigned b = line * LINE_BYTES + (unsigned)__builtin_ctzll(fresh);
            /* When it is done once more a byte may be new. */
            p->before[b] = p->translated[b] = p->host[b];
        }
        at += n;
    }
}

void verify_forget(struct verify *l)
{
    for (unsigned i = 0; i < l->page_count; i++) {
        unsigned k = slot_of(l->page[i].host);
        while (l->slot[k]) {
            l->slot[k] = 0;
            k = (k + 1) & (VERIFY_SLOTS - 1);
        }
    }
    l->page_count = 0;
    l->last = NULL;
}

/* Bytes touched: memory to save[], from[] to memory. */
static void exchange(struct verify_page *p, uint8_t *save, const uint8_t *from)
{
    for (uint64_t lines = p->lines; lines; lines &= lines - 1) {
        unsigned line = (unsigned)__builtin_ctzll(lines);
        uint64_t mask = p->touched[line];

        for (; mask; mask &= mask - 1) {
            unsigned b = line * LINE_BYTES + (unsigned)__builtin_ctzll(mask);
            save[b] = p->host[b];
            if (save[b] != from[b]) p->host[b] = from[b];
        }
    }
}

void verify_undo(struct verify *l)
{
    for (unsigned i = 0; i < l->page_count; i++)
        exchange(&l->page[i], l->page[i].emulated, l->page[i].before);
}

void verify_set_aside(struct verify *l)
{
    for (unsigned i = 0; i < l->page_count; i++)
        exchange(&l->page[i], l->page[i].translated, l->page[i].before);
}

void verify_put_back(struct verify *l)
{
    for (unsigned i = 0; i < l->page_count; i++)
        exchange(&l->page[i], l->page[i].emulated, l->page[i].translated);
}

const struct verify_page *verify_memory_differs(const struct verify *l,
                                                bool is_aside, unsigned *at)
{
    for (unsigned i = 0; i < l->page_count; i++) {
        const struct verify_page *p = &l->page[i];
        const uint8_t *other = is_aside ? p->translated : p->host;

        for (uint64_t lines = p->lines; lines; lines &= lines - 1) {
            unsigned line = (unsigned)__builtin_ctzll(lines);
            uint64_t mask = p->stored[line];

            for (; mask; mask &= mask - 1) {
                *at = line * LINE_BYTES + (unsigned)__builtin_ctzll(mask);
                if (p->emulated[*at] != other[*at]) return p;
            }
        }
    }
    return NULL;
}
