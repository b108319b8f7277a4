/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Saving.  The machine stands still while the disks take their snapshots and
 * the process forks; the child is the frozen copy, and writes devices and
 * memory, compressed, to slots a thread here writes into the image.
 *
 * What it costs in memory: a page the guest writes to while the copy has it
 * not written yet exists twice; the copy gives back what it has written.  So
 * at worst as much again as the guest has, for as long as it takes, and where
 * the host runs out of it the kernel ends the copy before anything else.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/base/log.h"
#include "core/loop/loop.h"
#include "core/vm/clock.h"
#include "core/vm/mem.h"
#include "core/vm/vm.h"
#include "monitor/savevm_int.h"

/* ------------------------------------------------------ the background */

/* Not more than the limit since begin_ns. */
static void hold_back(struct savevm_work *w, uint64_t begin_ns)
{
    struct pollfd p = { .fd = w->cancel_fd, .events = POLLIN };
    uint64_t due = begin_ns + (uint64_t)((double)atomic_load(&w->moved) * 1e9 /
                                         (double)w->rate);
    uint64_t now = loop_now_ns();

    if (due > now + 1000000) poll(&p, 1, (int)((due - now) / 1000000));
}

static int put_block(struct savevm_work *w, const uint8_t *buf, size_t bytes,
                     uint64_t begin_ns)
{
    uint64_t at = atomic_load(&w->moved);
    int rc = vmstate_pwrite(w->file, at, buf, bytes);

    if (atomic_load(&w->is_cancelled)) return -ECANCELED;
    if (rc < 0) return rc;
    atomic_store(&w->moved, at + bytes);
    if (w->rate != 0) hold_back(w, begin_ns);
    return 0;
}

/* A limit of little is to be met in little pieces. */
static int put_blocks(struct savevm_work *w, const uint8_t *data, size_t bytes,
                      uint64_t begin_ns)
{
    size_t block = w->rate == 0                        ? bytes
                   : w->rate >= 8 * SAVEVM_BLOCK_BYTES ? SAVEVM_BLOCK_BYTES
                                                       : SAVEVM_CARRY_BYTES;
    int rc = 0;

    for (size_t at = 0; at < bytes && rc == 0; at += block) {
        size_t left = bytes - at;

        rc = put_block(w, data + at, left < block ? left : block, begin_ns);
    }
    return rc;
}

/* The next slot that is filled.  Linux says once that the child is gone before
 * it hands over what that has sent, where the child left notes unread. */
static int next_slot(struct savevm_work *w, struct savevm_note *n)
{
    ssize_t got;

    do
        got = recv(w->from_child, n, sizeof(*n), 0);
    while (got < 0 && (errno == EINTR || errno == ECONNRESET));
    if (got < 0) return -errno;
    if (got == 0)
        return err_set(&w->error, -EIO,
                       "the copy of the machine was cut short");
    if (got != (ssize_t)sizeof(*n) || n->slot >= SAVEVM_SLOTS ||
        n->bytes == 0 || n->bytes > SAVEVM_SLOT_BYTES)
        return -EIO;
    return 0;
}

/* It is empty again; a child that is gone is seen by recv. */
static void free_slot(struct savevm_work *w, unsigned slot)
{
    struct savevm_note n = { .slot = slot };

    while (send(w->from_child, &n, sizeof(n), MSG_NOSIGNAL) < 0 &&
           errno == EINTR)
        continue;
}

/* What is left of a slot goes before the next one, so that whole clusters are
 * written. */
static int copy_to_disk(struct savevm_work *w)
{
    uint8_t *carry = malloc(SAVEVM_CARRY_BYTES);
    uint64_t begin_ns = loop_now_ns();
    struct savevm_note n = { .slot = 0 };
    size_t held = 0;
    int rc = carry == NULL ? -ENOMEM : 0;

    for (unsigned i = 0; i < SAVEVM_SLOTS; i++)
        free_slot(w, i);
    while (rc == 0 && !n.is_last) {
        uint8_t *from;
        size_t all, whole;

        rc = next_slot(w, &n);
        if (rc < 0) break;
        from = savevm_slot(w->slots, n.slot) - held;
        all = held + n.bytes;
        whole = all & ~(SAVEVM_CARRY_BYTES - 1ul);
        memcpy(from, carry, held);
        rc = put_blocks(w, from, whole, begin_ns);
        held = all - whole;
        memcpy(carry, from + whole, held);
        free_slot(w, n.slot);
    }
    if (rc == 0 && held > 0) rc = put_blocks(w, carry, held, begin_ns);
    free(carry);
    return rc;
}

static void save_main(struct savevm_work *w)
{
    siginfo_t end = { .si_code = 0 };
    int rc;

    savevm_be_calm();
    rc = copy_to_disk(w);
    close(w->from_child); /* a child that still writes ends by it */
    /* It keeps its number until it is reaped: a cancel may still kill it. */
    while (waitid(P_PID, (id_t)w->child, &end, WEXITED | WNOWAIT) < 0 &&
           errno == EINTR)
        continue;
    if (atomic_load(&w->is_cancelled)) {
        rc = -ECANCELED;
        w->error.text[0] = '\0';
    }
    if (rc == 0 && (end.si_code != CLD_EXITED || end.si_status != 0))
        rc = err_set(&w->error, -EIO, "the copy of the machine was cut short");
    if (rc == 0)
        rc = vmstate_finish(w->file, atomic_load(&w->moved), &w->error);
    if (rc < 0 && w->error.text[0] == '\0')
        err_set(&w->error, rc, "%s",
                rc == -ECANCELED ? "Operation canceled" : strerror(-rc));
    w->rc = rc;
}

void savevm_save_cancel(struct savevm_work *w)
{
    kill(w->child, SIGKILL);
}

void savevm_save_end_locked(struct savevm_work *w)
{
    struct err ignored = ERR_INIT;

    while (waitpid(w->child, NULL, 0) < 0 && errno == EINTR)
        continue;
    vmstate_close(w->file);
    w->file = NULL;
    if (w->rc == 0) return;
    if (w->rc != -ECANCELED)
        log_warn("snapshot '%s' was not saved: %s", w->name, w->error.text);
    snapshot_delete(vm_service(w->vm, "drives"), w->set, w->name, &ignored);
    if (strcmp(w->sv->current, w->name) == 0) {
        w->sv->current[0] = '\0'; /* goes on from where that came from */
        strcpy(w->sv->current, w->about.parent);
        w->sv->ancestors = w->about.ancestors;
        memcpy(w->sv->ancestor, w->about.ancestor, sizeof(w->sv->ancestor));
    }
}

/* ---------------------------------------------------------------- begin */

static int check_name(const char *name, struct err *e)
{
    size_t len = strlen(name);

    if (len == 0 || len > 255)
        return err_set(e, -EINVAL, "a snapshot's name has 1 to 255 characters");
    return 0;
}

/* Nothing of that name, or it may go. */
static int make_room(struct savevm_work *w, struct drive_table *t,
                     struct err *e)
{
    struct snapshot_info old;
    struct err ignored = ERR_INIT;

    if (snapshot_find(t, w->set, w->name, &old, &ignored) < 0) return 0;
    if (w->may_replace) return snapshot_delete(t, w->set, w->name, e);
    if (w->job != NULL)
        return err_set(e, -EEXIST,
                       "Snapshot '%s' already exists in one or more devices",
                       w->name);
    return err_set(e, -EEXIST,
                   "there is a snapshot '%s' already; delete it (delvm), "
                   "or replace it with savevm -f",
                   w->name);
}

static int fork_copy(struct savevm_work *w, struct err *e)
{
    int fds[2];

    w->slots = mmap(NULL, SAVEVM_SLOTS_BYTES, PROT_READ | PROT_WRITE,
                    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (w->slots == MAP_FAILED) w->slots = NULL;
    if (w->slots == NULL) return err_set(e, -ENOMEM, "out of memory");
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
        return err_set(e, -errno, "socketpair: %s", strerror(errno));
    w->child = fork();
    if (w->child == 0) {
        close(fds[0]);
        savevm_copy_main(w, fds[1]);
    }
    close(fds[1]);
    w->from_child = fds[0];
    if (w->child > 0) return 0;
    close(fds[0]);
    return err_set(e, -errno, "no second process for the memory: %s",
                   strerror(errno));
}

static void drain_all(struct drive_table *t)
{
    for (struct drive *d = drive_next(t, NULL); d != NULL;
         d = drive_next(t, d)) {
        if (drive_blk(d) != NULL) blk_drain(drive_blk(d));
    }
}

/* The machine stands still. */
static int freeze_locked(struct savevm_work *w, struct drive_table *t,
                         struct err *e)
{
    struct snapshot_info what = { .vm_clock_ns = clock_now_ns(w->vm) };
    struct timespec now;
    int rc;

    clock_gettime(CLOCK_REALTIME, &now);
    what.date_sec = (uint64_t)now.tv_sec;
    what.date_nsec = (uint32_t)now.tv_nsec;
    strcpy(what.name, w->name);
    drain_all(t);
    vmstate_prepare_locked(w->vm);
    rc = snapshot_create(t, w->set, &what, e);
    if (rc < 0) return rc;
    rc = vmstate_open(t, w->set, w->name, &w->file, e);
    if (rc == 0) rc = fork_copy(w, e);
    if (rc < 0) {
        struct err ignored = ERR_INIT;

        vmstate_close(w->file);
        w->file = NULL;
        snapshot_delete(t, w->set, w->name, &ignored);
    }
    return rc;
}

/* Who it is and where it came from. */
static void name_it(struct savevm_work *w)
{
    struct vmstate_about *a = &w->about;
    const struct savevm *sv = w->sv;

    if (getrandom(&a->uid, sizeof(a->uid), 0) != sizeof(a->uid))
        a->uid = loop_now_ns();
    a->uid = a->uid >> 1 | 1;
    strcpy(a->parent, sv->current);
    a->ancestors = sv->ancestors;
    memcpy(a->ancestor, sv->ancestor, sizeof(a->ancestor));
}

/* What comes next goes on from here. */
static void move_on(struct savevm_work *w)
{
    struct savevm *sv = w->sv;
    unsigned n = sv->ancestors;

    if (n == VMSTATE_MAX_ANCESTORS) n--;
    memmove(sv->ancestor + 1, sv->ancestor, n * sizeof(sv->ancestor[0]));
    sv->ancestor[0] = w->about.uid;
    sv->ancestors = n + 1;
    strcpy(sv->current, w->name);
}

int savevm_save_begin_locked(struct savevm_work *w, struct err *e)
{
    struct drive_table *t = vm_service(w->vm, "drives");
    enum run_state before = vm_run_state(w->vm);
    bool was_running = before == RUN_RUNNING;
    uint64_t start;
    int rc = check_name(w->name, e);

    if (rc == 0)
        rc =
            vmstate_check_accel(w->vm, "snapshots of a running machine are", e);
    if (rc == 0) rc = snapshot_check(t, w->set, e);
    if (rc == 0) rc = make_room(w, t, e);
    if (rc < 0) return rc;
    name_it(w);
    vmstate_look_locked(w->vm, &w->about);
    w->total = vm_ram(w->vm)->size;
    snapshot_flush(t); /* what can be written before, is */
    start = loop_now_ns();
    if (was_running) vm_stop_locked(w->vm, RUN_PAUSED);
    rc = freeze_locked(w, t, e);
    if (was_running)
        vm_start_locked(w->vm);
    else
        vm_stop_locked(w->vm, before);
    w->paused_ns = loop_now_ns() - start;
    if (rc < 0) return rc;
    move_on(w);
    savevm_start_thread(w, save_main);
    return 0;
}
