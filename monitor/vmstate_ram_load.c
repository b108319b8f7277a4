/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Main memory out of a machine's state.
 *
 * The caller's thread reads pieces, others check and unpack them into memory
 * of their own.  When the last one was right that memory takes the place of
 * the machine's by moving pages, not octets: nothing is changed by a state
 * that turns out to be damaged, and each octet is handled once.  It costs as
 * much memory as the guest has for as long as it takes; where that is not
 * there, the stream is checked to its end first and then read again, into the
 * machine's memory.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "config.h"
#include "core/vm/mem.h"
#include "core/vm/vm.h"
#include "monitor/vmstate_int.h"

enum {
    MAX_WORKERS = 4,
    SLOTS = 2 * MAX_WORKERS,
    BODY_BYTES = CHUNK_BYTES + CHUNK_BYTES / 128 + 2048,
    HUGE_BYTES = 2 << 20,
};

/* Of a section's body. */
struct chunk {
    uint64_t at;
    uint32_t raw, how;
    const uint8_t *data;
    size_t bytes;
};

struct slot {
    struct section s;
    uint8_t *body;
};

struct pool {
    uint64_t ram_bytes;
    uint8_t *to; /* NULL: only look */
    pthread_t worker[MAX_WORKERS];
    unsigned workers;
    pthread_mutex_t lock; /* all below */
    pthread_cond_t changed;
    struct slot slot[SLOTS];
    unsigned filled, taken; /* counts; slot: modulo SLOTS */
    bool is_free[SLOTS];
    bool is_over;
    int rc;
    struct err error;
};

static int decode_chunk(uint64_t ram_bytes, const uint8_t *body, size_t bytes,
                        struct chunk *c, struct err *e)
{
    if (bytes < RAM_HEAD_BYTES) return vmstate_damaged(e, "a piece of memory");
    memcpy(&c->at, body, 8);
    memcpy(&c->raw, body + 8, 4);
    memcpy(&c->how, body + 12, 4);
    c->data = body + RAM_HEAD_BYTES;
    c->bytes = bytes - RAM_HEAD_BYTES;
    if (c->raw > CHUNK_BYTES || c->at > ram_bytes || c->raw > ram_bytes - c->at)
        return vmstate_damaged(e, "memory outside of the machine's");
    if (c->how < RAM_ZERO || c->how > RAM_ZSTD ||
        (c->how == RAM_PLAIN && c->bytes != c->raw))
        return vmstate_damaged(e, "a piece of memory");
#ifndef HAVE_ZSTD
    if (c->how == RAM_ZSTD)
        return err_set(e, -ENOTSUP,
                       "the state is compressed with zstd, which this "
                       "program was built without");
#endif
    return 0;
}

/* Check one section and put what it holds into its place. */
static int take_slot(const struct pool *p, const struct slot *sl, struct err *e)
{
    struct chunk c = { .at = 0 };
    int rc;

    if (vmstate_crc(sl->body, sl->s.bytes) != sl->s.crc)
        return vmstate_damaged(e, "wrong checksum");
    rc = decode_chunk(p->ram_bytes, sl->body, sl->s.bytes, &c, e);
    if (rc < 0 || p->to == NULL) return rc;
    if (c.how == RAM_PLAIN) memcpy(p->to + c.at, c.data, c.raw);
    if (c.how == RAM_ZSTD &&
        !vmstate_unpack(p->to + c.at, c.raw, c.data, c.bytes))
        return vmstate_damaged(e, "a piece of memory");
    return 0; /* RAM_ZERO: fresh pages are */
}

/* ------------------------------------------------------------ the threads */

static void *work(void *arg)
{
    struct pool *p = arg;

    pthread_mutex_lock(&p->lock);
    for (;;) {
        struct err e = ERR_INIT;
        unsigned i;
        int rc;

        while (p->taken == p->filled && !p->is_over)
            pthread_cond_wait(&p->changed, &p->lock);
        if (p->taken == p->filled) break;
        i = p->taken++ % SLOTS;
        pthread_mutex_unlock(&p->lock);
        rc = take_slot(p, &p->slot[i], &e);
        pthread_mutex_lock(&p->lock);
        if (rc < 0 && p->rc == 0) {
            p->rc = rc;
            p->error = e;
        }
        p->is_free[i] = true;
        pthread_cond_broadcast(&p->changed);
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

static int pool_start(struct pool *p, uint64_t ram_bytes, uint8_t *to)
{
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    sigset_t all, old;

    *p = (struct pool){ .ram_bytes = ram_bytes, .to = to, .error = ERR_INIT };
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->changed, NULL);
    for (unsigned i = 0; i < SLOTS; i++) {
        p->slot[i].body = malloc(BODY_BYTES);
        p->is_free[i] = true;
        if (p->slot[i].body == NULL) return -ENOMEM;
    }
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    while (p->workers < MAX_WORKERS && (p->workers == 0 || p->workers < cpus) &&
           pthread_create(&p->worker[p->workers], NULL, work, p) == 0)
        p->workers++;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return 0;
}

static int pool_end(struct pool *p, int rc, struct err *e)
{
    pthread_mutex_lock(&p->lock);
    p->is_over = true;
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
    for (unsigned i = 0; i < p->workers; i++)
        pthread_join(p->worker[i], NULL);
    for (unsigned i = 0; i < SLOTS; i++)
        free(p->slot[i].body);
    pthread_mutex_destroy(&p->lock);
    pthread_cond_destroy(&p->changed);
    if (p->rc < 0) { /* came before the end of the stream */
        *e = p->error;
        return p->rc;
    }
    return rc;
}

/* The next slot to fill; NULL: something was wrong. */
static struct slot *next_slot(struct pool *p)
{
    unsigned i = p->filled % SLOTS;
    bool is_well;

    pthread_mutex_lock(&p->lock);
    while (!p->is_free[i] && p->rc == 0)
        pthread_cond_wait(&p->changed, &p->lock);
    is_well = p->rc == 0;
    pthread_mutex_unlock(&p->lock);
    return is_well ? &p->slot[i] : NULL;
}

static int give_slot(struct pool *p, struct slot *sl, struct err *e)
{
    if (p->workers == 0) return take_slot(p, sl, e);
    pthread_mutex_lock(&p->lock);
    p->is_free[p->filled % SLOTS] = false;
    p->filled++;
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
    return 0;
}

/* All pieces to the end, into to or nowhere. */
static int take_all(uint64_t ram_bytes, uint8_t *to, vmstate_read_fn read,
                    void *arg, _Atomic uint64_t *progress,
                    const _Atomic bool *stop, struct err *e)
{
    struct pool p;
    int rc = pool_start(&p, ram_bytes, to);

    if (rc < 0) err_set(e, rc, "out of memory");
    while (rc == 0) {
        struct slot *sl = next_slot(&p);
        struct section *s;

        if (sl == NULL) break;
        s = &sl->s;
        if (stop != NULL && atomic_load(stop)) {
            rc = err_set(e, -ECANCELED, "cancelled");
            break;
        }
        rc = vmstate_read_section(read, arg, s, BODY_BYTES, e);
        if (rc < 0 || memcmp(s->type, "END ", 4) == 0) break;
        if (memcmp(s->type, "RAM ", 4) != 0) {
            rc = vmstate_damaged(e, "a section");
            break;
        }
        if (s->bytes > 0) rc = read(arg, sl->body, s->bytes);
        if (rc < 0) {
            vmstate_cut_short(e, rc);
            break;
        }
        if (progress != NULL) atomic_fetch_add(progress, sizeof(*s) + s->bytes);
        rc = give_slot(&p, sl, e);
    }
    return pool_end(&p, rc, e);
}

/* ------------------------------------------------------------- into place */

static size_t host_bytes(const struct mem_region *ram)
{
    return (size_t)((ram->size + 4095) & ~UINT64_C(4095));
}

/* Fresh memory that lies to huge pages as the machine's does, so that they
 * can be moved whole. */
static uint8_t *map_fresh(const struct mem_region *ram)
{
    size_t bytes = host_bytes(ram);
    uintptr_t base, at;
    void *p = mmap(NULL, bytes + HUGE_BYTES, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (p == MAP_FAILED) return NULL;
    base = (uintptr_t)p;
    at = base + (((uintptr_t)ram->host - base) & (HUGE_BYTES - 1));
    if (at > base) munmap(p, at - base);
    munmap((void *)(at + bytes), base + HUGE_BYTES - at);
    if (bytes >= HUGE_BYTES) madvise((void *)at, bytes, MADV_HUGEPAGE);
    return (uint8_t *)at;
}

void vmstate_drop_ram(const struct mem_region *ram, uint8_t *fresh)
{
    if (fresh != NULL) munmap(fresh, host_bytes(ram));
}

int vmstate_read_ram(const struct mem_region *ram, vmstate_read_fn read,
                     void *arg, _Atomic uint64_t *progress,
                     const _Atomic bool *stop, uint8_t **fresh, struct err *e)
{
    uint8_t *to = map_fresh(ram);
    int rc;

    *fresh = NULL;
    if (to == NULL)
        return err_set(e, -ENOMEM, "no memory for a second guest memory");
    rc = take_all(ram->size, to, read, arg, progress, stop, e);
    if (rc < 0)
        vmstate_drop_ram(ram, to);
    else
        *fresh = to;
    return rc;
}

void vmstate_take_ram_locked(struct vm *vm, uint8_t *fresh)
{
    struct mem_region *ram = vm_ram(vm);
    size_t bytes = host_bytes(ram);

    vm_park_locked(vm);
    if (mremap(fresh, bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, ram->host) ==
        MAP_FAILED) {
        memcpy(ram->host, fresh, bytes);
        munmap(fresh, bytes);
    }
    mem_replaced_locked(vm);
    vm_unpark_locked(vm);
}

int vmstate_verify_ram(struct vm *vm, vmstate_read_fn read, void *arg,
                       struct err *e)
{
    return take_all(vm_ram(vm)->size, NULL, read, arg, NULL, NULL, e);
}

int vmstate_load_ram_locked(struct vm *vm, vmstate_read_fn read, void *arg,
                            struct err *e)
{
    struct mem_region *ram = vm_ram(vm);
    int rc;

    vm_park_locked(vm);
    /* What the stream leaves out is zero; fresh pages are, for nothing. */
    madvise(ram->host, ram->size, MADV_DONTNEED);
    rc = take_all(ram->size, ram->host, read, arg, NULL, NULL, e);
    mem_replaced_locked(vm);
    vm_unpark_locked(vm);
    return rc;
}

/* --------------------------------------------------------- is there room? */

/* The number after a label, times unit; UINT64_MAX: not there. */
static uint64_t number_in(const char *path, const char *label, uint64_t unit)
{
    FILE *f = fopen(path, "re");
    uint64_t out = UINT64_MAX;
    char line[256];

    while (f != NULL && fgets(line, sizeof(line), f) != NULL) {
        size_t n = strlen(label);
        unsigned long long v;

        if (strncmp(line, label, n) != 0) continue;
        if (sscanf(line + n, "%llu", &v) == 1) out = v * unit;
        break;
    }
    if (f != NULL) fclose(f);
    return out;
}

/* What the control group (version 2) still allows. */
static uint64_t group_left(void)
{
    FILE *f = fopen("/proc/self/cgroup", "re");
    char line[512], path[700];
    uint64_t max = UINT64_MAX, used = 0;

    while (f != NULL && fgets(line, sizeof(line), f) != NULL) {
        if (strncmp(line, "0::", 3) != 0) continue;
        line[strcspn(line, "\n")] = '\0';
        snprintf(path, sizeof(path), "/sys/fs/cgroup%s/memory.max", line + 3);
        max = number_in(path, "", 1);
        snprintf(path, sizeof(path), "/sys/fs/cgroup%s/memory.current",
                 line + 3);
        used = number_in(path, "", 1);
        break;
    }
    if (f != NULL) fclose(f);
    if (max == UINT64_MAX || used == UINT64_MAX) return UINT64_MAX;
    return used < max ? max - used : 0;
}

bool vmstate_has_room(uint64_t bytes)
{
    const uint64_t spare = UINT64_C(64) << 20;
    uint64_t host = number_in("/proc/meminfo", "MemAvailable:", 1024);

    return bytes + spare < host && bytes + spare < group_left();
}
