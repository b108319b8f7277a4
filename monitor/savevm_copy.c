/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The frozen copy of the machine: a forked process that turns devices and
 * memory into octets.  They go to its parent in slots of memory both have;
 * a socket says which of them is filled, and which is free again, so that the
 * end of either process is seen by the other.
 *
 * Memory goes in stripes, each to whoever is free: a second thread, which gets
 * what the guest leaves of the host, helps to compress.  A stripe that is
 * packed is given back: nobody here reads it again, and its parent need not
 * copy the pages it writes to any longer.
 *
 * How small memory is made follows the time there is: where the host has no
 * processor to spare and its disk is fast, to write more octets is over sooner
 * than to look for fewer.  Time spent waiting for a slot is the disk's.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/loop/loop.h"
#include "core/vm/mem.h"
#include "core/vm/vm.h"
#include "monitor/savevm_int.h"

enum {
    STRIPE_BYTES = 4 << 20, /* whole huge pages */
    HELPER_NICE = 10,
    GOAL_MIB_PER_S = 900, /* of memory that is not zero */
};

struct copy {
    struct savevm_work *w;
    int fd;
    uint8_t *ram;
    uint64_t bytes;
    uint64_t skew; /* from a stripe's start to the memory's */
    _Atomic uint64_t next;
    uint64_t begin_ns;
    _Atomic uint64_t waited_ns; /* of all threads */
    _Atomic uint64_t packed;    /* octets that were not zero */
    _Atomic unsigned gear, threads;
    _Atomic bool is_cut;
};

/* A slot that is being filled. */
struct fill {
    struct copy *c;
    uint8_t *at; /* NULL: none */
    unsigned slot;
    size_t bytes;
    bool is_last;
};

/* ---------------------------------------------------------------- slots */

static int want_slot(struct fill *f)
{
    struct savevm_note n;
    uint64_t begin;
    ssize_t got;

    if (f->at != NULL) return 0;
    begin = loop_now_ns();
    do
        got = recv(f->c->fd, &n, sizeof(n), 0);
    while (got < 0 && errno == EINTR);
    atomic_fetch_add(&f->c->waited_ns, loop_now_ns() - begin);
    if (got != (ssize_t)sizeof(n)) return -EPIPE;
    f->slot = n.slot;
    f->at = savevm_slot(f->c->w->slots, n.slot);
    f->bytes = 0;
    return 0;
}

static int give_slot(struct fill *f)
{
    struct savevm_note n = { .slot = f->slot,
                             .bytes = (uint32_t)f->bytes,
                             .is_last = f->is_last };
    ssize_t sent;

    if (f->at == NULL) return 0;
    f->at = NULL;
    do
        sent = send(f->c->fd, &n, sizeof(n), MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    return sent == (ssize_t)sizeof(n) ? 0 : -EPIPE;
}

/* Room for so many octets more in one slot. */
static int want_room(struct fill *f, size_t bytes)
{
    int rc = 0;

    if (f->at != NULL && SAVEVM_SLOT_BYTES - f->bytes < bytes)
        rc = give_slot(f);
    return rc == 0 ? want_slot(f) : rc;
}

static int put(struct fill *f, const uint8_t *data, size_t bytes)
{
    while (bytes > 0) {
        size_t part = bytes < VMSTATE_PIECE_BYTES ? bytes : VMSTATE_PIECE_BYTES;
        int rc = want_room(f, part);

        if (rc < 0) return rc;
        memcpy(f->at + f->bytes, data, part);
        f->bytes += part;
        data += part;
        bytes -= part;
    }
    return 0;
}

/* --------------------------------------------------------------- memory */

/* After a piece: faster or smaller from now on? */
static void shift(struct copy *c)
{
    uint64_t spent = loop_now_ns() - c->begin_ns;
    uint64_t waited = atomic_load(&c->waited_ns) / atomic_load(&c->threads);
    uint64_t due = (atomic_load(&c->packed) >> 10) * 1000000 /
                   (GOAL_MIB_PER_S * UINT64_C(1024) / 1000);
    unsigned gear = atomic_load(&c->gear);

    spent -= waited < spent ? waited : spent;
    if (spent > due && gear < VMSTATE_GEARS - 1)
        atomic_store(&c->gear, gear + 1);
    else if (spent < due - due / 8 && gear > 0)
        atomic_store(&c->gear, gear - 1);
}

static int pack_stripe(struct fill *f, struct vmstate_packer *p, uint64_t from,
                       uint64_t to)
{
    struct copy *c = f->c;

    for (uint64_t at = from; at < to; at += VMSTATE_PIECE_BYTES) {
        uint64_t left = to - at;
        size_t n;
        int rc = want_room(f, VMSTATE_PIECE_ROOM);

        if (rc < 0) return rc;
        if (left > VMSTATE_PIECE_BYTES) left = VMSTATE_PIECE_BYTES;
        vmstate_packer_set(p, atomic_load(&c->gear));
        n = vmstate_pack_ram(p, f->at + f->bytes, c->ram, at, (size_t)left);
        f->bytes += n;
        atomic_fetch_add(c->w->progress, left);
        if (n < 64) continue; /* zeros */
        atomic_fetch_add(&c->packed, left);
        shift(c);
    }
    if (to - from == STRIPE_BYTES)
        madvise(c->ram + from, STRIPE_BYTES, MADV_DONTNEED);
    return 0;
}

static int pack_stripes(struct copy *c)
{
    struct vmstate_packer *p = vmstate_packer_new();
    struct fill f = { .c = c };
    int rc = p == NULL ? -ENOMEM : 0;

    while (rc == 0) {
        uint64_t end = (atomic_fetch_add(&c->next, 1) + 1) * STRIPE_BYTES;
        uint64_t from =
            end < STRIPE_BYTES + c->skew ? 0 : end - STRIPE_BYTES - c->skew;

        if (from >= c->bytes) break;
        end -= c->skew;
        rc = pack_stripe(&f, p, from, end < c->bytes ? end : c->bytes);
    }
    if (rc == 0) rc = give_slot(&f);
    vmstate_packer_free(p);
    return rc;
}

static void *help(void *arg)
{
    struct copy *c = arg;

    setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), HELPER_NICE);
    if (pack_stripes(c) < 0) atomic_store(&c->is_cut, true);
    return NULL;
}

/* ------------------------------------------------------------ the process */

static int copy_all(struct copy *c, struct fill *f)
{
    struct state_out head = { .data = NULL };
    struct err e = ERR_INIT;
    pthread_t helper;
    bool has_helper;
    int rc = vmstate_capture_about(c->w->vm, &head, &c->w->about, &e);

    if (rc == 0) rc = put(f, head.data, head.bytes);
    if (rc == 0) rc = give_slot(f);
    if (rc < 0) return rc;
    c->begin_ns = loop_now_ns();
    atomic_store(&c->waited_ns, 0);
    atomic_store(&c->threads, 1);
    has_helper = sysconf(_SC_NPROCESSORS_ONLN) > 1 &&
                 pthread_create(&helper, NULL, help, c) == 0;
    if (has_helper) atomic_store(&c->threads, 2);
    rc = pack_stripes(c);
    if (rc < 0) return rc;
    if (has_helper) pthread_join(helper, NULL);
    if (atomic_load(&c->is_cut)) return -EPIPE;
    rc = want_room(f, VMSTATE_PIECE_ROOM);
    if (rc < 0) return rc;
    f->bytes += vmstate_pack_end(f->at + f->bytes);
    f->is_last = true;
    return give_slot(f);
}

void savevm_be_calm(void)
{
    const struct sched_param none = { 0 };

    sched_setscheduler(0, SCHED_BATCH, &none); /* if it may */
}

/* The snapshot can be done without, the machine cannot. */
static void be_the_first_to_go(void)
{
    int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

    if (fd >= 0 && write(fd, "1000", 4) < 0) { /* as it was, then */
    }
    if (fd >= 0) close(fd);
}

void savevm_copy_main(struct savevm_work *w, int fd)
{
    struct mem_region *ram = vm_ram(w->vm);
    struct copy c = { .w = w, .fd = fd, .ram = ram->host, .bytes = ram->size };
    struct fill f = { .c = &c };

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    savevm_be_calm();
    be_the_first_to_go();
    c.skew = (uintptr_t)ram->host & (STRIPE_BYTES - 1);
    _exit(copy_all(&c, &f) < 0);
}
