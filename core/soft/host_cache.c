/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/soft/code.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/soft/translate.h"

/* The code cache: its memory, its pools and the routines at its start. */

void soft_exit_link(void);
void soft_exit_emulate(void);
void soft_exit_attend(void);
void soft_exit_miss(void);
void soft_slow(void);
void soft_rep_stos(void);
void soft_rep_movs(void);
void soft_syscall(void);
void soft_sysret(void);
void soft_exit_iret(void);

enum { POOL_BLOCK_BYTES = 256, POOL_PAGES = 1 << 16 };

static void *pool(size_t count, size_t bytes)
{
    void *p = mmap(NULL, count * bytes, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (p == MAP_FAILED) return NULL;
    (void)madvise(p, count * bytes, MADV_HUGEPAGE); /* looked at all over */
    return p;
}

static int map_cache(struct code_cache *c, struct err *e)
{
    int fd = memfd_create("orrery-code", MFD_CLOEXEC);

    if (fd < 0) return err_set(e, -errno, "memfd_create: %s", strerror(errno));
    if (ftruncate(fd, (off_t)c->bytes) < 0) goto fail;
    c->exec = mmap(NULL, c->bytes, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
    if (c->exec == MAP_FAILED) goto fail;
    c->write = mmap(NULL, c->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (c->write == MAP_FAILED) goto fail;
    close(fd);
    return 0;
fail:
    err_set(e, -errno, "cannot map the code cache: %s", strerror(errno));
    close(fd);
    return e ? e->code : -ENOMEM;
}

/* Near copies of the routines of entry.S: jmp *0(%rip). */
static void make_entries(struct code_cache *c)
{
    void (*const routine[CODE_ENTRY_COUNT])(void) = {
        [CODE_EXIT_LINK] = soft_exit_link,
        [CODE_EXIT_EMULATE] = soft_exit_emulate,
        [CODE_EXIT_ATTEND] = soft_exit_attend,
        [CODE_EXIT_MISS] = soft_exit_miss,
        [CODE_SLOW] = soft_slow,
        [CODE_REP_STOS] = soft_rep_stos,
        [CODE_REP_MOVS] = soft_rep_movs,
        [CODE_SYSCALL] = soft_syscall,
        [CODE_SYSRET] = soft_sysret,
        [CODE_EXIT_IRET] = soft_exit_iret,
    };
    static const uint8_t jump[6] = { 0xff, 0x25 };
    uint8_t *at = c->write;

    for (unsigned i = 0; i < CODE_ENTRY_COUNT; i++) {
        c->entry[i] = c->exec + (at - c->write);
        memcpy(at, jump, sizeof(jump));
        memcpy(at + sizeof(jump), &routine[i], 8);
        at += 16;
    }
    c->hot = c->hot_start = c->hot_tidied = at;
    c->hot_end = c->write + c->bytes / 16 * 9;
    c->cold = c->cold_start = c->hot_end;
    c->cold_end = c->write + c->bytes;
}

int code_open(struct soft_vm *s, struct err *e)
{
    struct code_cache *c;
    int rc;

    if (s->options.is_interpreted) return 0;
    c = pool(1, sizeof(*c));
    if (!c) return err_set(e, -ENOMEM, "out of memory");
    s->cache = c;
    c->soft = s;
    c->bytes = s->options.cache_bytes;
    rc = map_cache(c, e);
    if (rc < 0) goto fail;
    c->block_max = (unsigned)(c->bytes / POOL_BLOCK_BYTES);
    if (c->block_max >= 1u << NUMBER_BITS) {
        c->block_max = (1u << NUMBER_BITS) - 1;
    }
    c->set_count = 1;
    while (c->set_count * SET_WAYS < c->block_max)
        c->set_count *= 2;
    c->map_max = c->block_max * 10;
    c->link_max = c->block_max * 2;
    c->move_max = c->block_max * 20;
    c->page_max = POOL_PAGES;
    c->blocks = pool(c->block_max, sizeof(*c->blocks));
    c->sets = pool(c->set_count, sizeof(*c->sets));
    c->maps = pool(c->map_max, sizeof(*c->maps));
    c->moves = pool(c->move_max, sizeof(*c->moves));
    c->links = pool(c->link_max, sizeof(*c->links));
    c->pages = pool(c->page_max, sizeof(*c->pages));
    c->translator = translator_new();
    if (!c->blocks || !c->sets || !c->maps || !c->moves || !c->links ||
        !c->pages || !c->translator) {
        rc = err_set(e, -ENOMEM, "no memory for the code cache");
        goto fail;
    }
    make_entries(c);
    return 0;
fail:
    code_close(s);
    return rc;
}

enum { TIDY_BYTES = 512 << 10 };

void code_tidy(struct code_cache *c)
{
    if (c->hot < c->hot_tidied) c->hot_tidied = c->hot;
    if (c->hot - c->hot_tidied < TIDY_BYTES) return;
    c->hot_tidied = c->hot;
    /* The pages stay: they are shared with the other view. */
    madvise(c->write, c->bytes, MADV_DONTNEED);
}

static void unmap(void *p, size_t bytes)
{
    if (p && p != MAP_FAILED) munmap(p, bytes);
}

void code_close(struct soft_vm *s)
{
    struct code_cache *c = s->cache;

    if (!c) return;
    unmap(c->exec, c->bytes);
    unmap(c->write, c->bytes);
    unmap(c->blocks, c->block_max * sizeof(*c->blocks));
    unmap(c->sets, c->set_count * sizeof(*c->sets));
    unmap(c->maps, c->map_max * sizeof(*c->maps));
    unmap(c->moves, c->move_max * sizeof(*c->moves));
    unmap(c->links, c->link_max * sizeof(*c->links));
    unmap(c->pages, c->page_max * sizeof(*c->pages));
    translator_free(c->translator);
    unmap(c, sizeof(*c));
    s->cache = NULL;
}

uint64_t code_miss_address(struct soft_vm *s)
{
    return s->cache ? (uint64_t)s->cache->entry[CODE_EXIT_MISS] : 0;
}

size_t code_print_stats(struct soft_vm *s, char *text, size_t cap)
{
    const struct code_cache *c = s->cache;
    unsigned long long n, k, g;
    int len;

    if (!c) return (size_t)snprintf(text, cap, "translation is off\n");
    n = c->stat.insns ? c->stat.insns : 1;
    g = c->stat.guest_bytes ? c->stat.guest_bytes : 1;
    k = c->stat.host_bytes + c->stat.cold_bytes;
    len = snprintf(
        text, cap,
        "code cache: %zu KiB of %zu KiB main path, %zu KiB of %zu KiB out of "
        "line\n"
        "blocks: %llu translated, %llu moved, %u kept, %llu dropped, %llu cache flushes\n"
        "instructions: %llu translated (%llu ns each), %llu ends of blocks "
        "emulated\n"
        "expansion: %llu.%02llu main path, %llu.%02llu in all; %llu links\n",
        (size_t)(c->hot - c->hot_start) >> 10,
        (size_t)(c->hot_end - c->hot_start) >> 10,
        (size_t)(c->cold - c->cold_start) >> 10,
        (size_t)(c->cold_end - c->cold_start) >> 10,
        (unsigned long long)c->stat.blocks, (unsigned long long)c->stat.moved,
        c->block_count, (unsigned long long)c->stat.dropped,
        (unsigned long long)c->stat.flushes, (unsigned long long)c->stat.insns,
        (unsigned long long)c->stat.ns / n,
        (unsigned long long)c->stat.emulated_ends,
        (unsigned long long)c->stat.host_bytes / g,
        (unsigned long long)c->stat.host_bytes * 100 / g % 100, k / g,
        k * 100 / g % 100, (unsigned long long)c->stat.links);
    return len > 0 ? (size_t)len : 0;
}
