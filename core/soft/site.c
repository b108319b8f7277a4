/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/soft/site.h"

#include "core/soft/code.h"
#include "core/soft/engine.h"

/* How many pages a range reaches at most to either side of the access. */
enum { REACH_PAGES = 64 };

/* Numbers of the places of each class: accesses of up to 1, 2, 4.. bytes. */
static const uint16_t class_end[SITE_CLASSES] = {
    48, 80, 192, 336, 384, 416, 432, 440, 448, 456, 472, 504, SITES,
};

static unsigned class_of(unsigned bytes)
{
    unsigned k = 0;

    while (1u << k < bytes)
        k++;
    return k;
}

unsigned site_choose(uint16_t next[SITE_CLASSES], unsigned bytes)
{
    unsigned k = class_of(bytes), from = k ? class_end[k - 1] : 0;

    return from + next[k]++ % (class_end[k] - from);
}

void site_clear_all(struct engine *eng)
{
    for (unsigned i = 0; i < 2; i++) {
        uint64_t *limit = eng->sites[i].limit, n = SITES;

        __asm__ volatile("rep stosq"
                         : "+D"(limit), "+c"(n)
                         : "a"(0)
                         : "memory");
    }
    eng->site_flushes++;
}

void site_init(struct engine *eng)
{
    site_clear_all(eng);
    for (unsigned i = 0; i < SITES; i++) {
        eng->sites[0].misses[i] = eng->sites[1].misses[i] = SITE_MISSES;
    }
}

/* A place misses often when that is not for flushes. */
static bool missed_often(struct engine *eng, const struct slow_site *at)
{
    int32_t *left = &eng->sites[at->is_write].misses[at->place - 1];
    bool is_often = eng->site_flushes < SITE_MISSES / 8;

    if (--*left >= 0) return false;
    *left = SITE_MISSES;
    eng->site_flushes = 0;
    return is_often;
}

/* Host address of the page at lin if the table has it, or 0. */
static uint64_t page_in_table(const struct engine *eng, unsigned space,
                              uint64_t lin, bool is_write)
{
    const struct tlb_entry *t =
        &eng->tlb[space][lin >> PAGE_SHIFT & (TLB_ENTRIES - 1)];

    if ((lin ^ (is_write ? t->wtag : t->rtag)) >= PAGE_BYTES) return 0;
    return is_write ? t->wpage : t->rpage;
}

static unsigned class_bytes(unsigned place)
{
    unsigned k = 0;

    while (place >= class_end[k])
        k++;
    return 1u << k;
}

uint64_t site_fill(struct engine *eng, uint64_t lin, const struct slow_site *at)
{
    struct site_set *s = &eng->sites[at->is_write];
    unsigned space = soft_space(&eng->cpu, 0), place = at->place - 1u;
    uint64_t page = lin & ~(PAGE_BYTES - 1ull), host, from, end;

    if (missed_often(eng, at)) {
        code_drop_site(eng->soft, at->block, at->rip);
        return 0;
    }
    host = page_in_table(eng, space, lin, at->is_write);
    if (!host) return 0;
    from = page;
    end = page + PAGE_BYTES;
    for (unsigned i = 0; i < REACH_PAGES; i++, end += PAGE_BYTES) {
        if (page_in_table(eng, space, end, at->is_write) != host + end - page) {
            break;
        }
    }
    for (unsigned i = 0; i < REACH_PAGES; i++, from -= PAGE_BYTES) {
        uint64_t before = from - PAGE_BYTES;
        if (page_in_table(eng, space, before, at->is_write) !=
            host + before - page) {
            break;
        }
    }
    if (lin + at->bytes > end) return 0;
    s->base[place] = from;
    s->limit[place] = end - from - class_bytes(place) + 1;
    s->host[place] = host + from - page;
    return host + lin - page;
}
