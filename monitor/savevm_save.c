/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Saving.  The machine stands still while the disks take their snapshots and
 * the process forks; the child is the frozen copy, and writes devices and
 * memory, compressed, to a pipe that a thread here copies into the image.
 *
 * What it costs in memory: a page the guest writes to while the copy has it
 * not written yet exists twice; the copy gives back what it has written.  So
 * at worst as much again as the guest has, for as long as it takes, and where
 * the host runs out of it the kernel ends the copy before anything else.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/base/log.h"
#include "core/loop/loop.h"
#include "core/vm/clock.h"
#include "core/vm/mem.h"
#include "core/vm/vm.h"
#include "monitor/savevm_int.h"

enum { PIPE_BYTES = 1 << 20 };

/* ----------------------------------------------------------- the child */

static int write_all(void *arg, const void *data, size_t bytes)
{
    int fd = *(const int *)arg;

    while (bytes > 0) {
        ssize_t n = write(fd, data, bytes);

        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return -EPIPE;
        data = (const char *)data + n;
        bytes -= (size_t)n;
    }
    return 0;
}

/* The snapshot can be done without, the machine cannot. */
static void be_the_first_to_go(void)
{
    int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

    if (fd >= 0 && write(fd, "1000", 4) < 0) { /* as it was, then */
    }
    if (fd >= 0) close(fd);
}

/* The frozen copy of the machine; it takes no lock, other threads had them. */
static void child_main(struct savevm_work *w, int fd)
{
    struct mem_region *ram = vm_ram(w->vm);
    struct state_out head = { .data = NULL };
    struct err e = ERR_INIT;
    int rc;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    be_the_first_to_go();
    rc = vmstate_capture_about(w->vm, &head, &w->about, &e);
    if (rc == 0) rc = write_all(&fd, head.data, head.bytes);
    if (rc == 0)
        rc = vmstate_write_ram_once(ram->host, ram->size, write_all, &fd,
                                    w->progress);
    _exit(rc < 0);
}

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

static int copy_to_disk(struct savevm_work *w)
{
    /* A limit of little is to be met in little pieces. */
    size_t block = w->rate != 0 && w->rate < 8 * SAVEVM_BLOCK_BYTES
                       ? SAVEVM_BLOCK_BYTES / 16
                       : SAVEVM_BLOCK_BYTES;
    uint8_t *buf = malloc(block);
    uint64_t begin_ns = loop_now_ns();
    size_t held = 0;
    int rc = buf == NULL ? -ENOMEM : 0;

    while (rc == 0) {
        ssize_t n = read(w->from_child, buf + held, block - held);

        if (n < 0 && errno == EINTR) continue;
        if (n < 0) rc = -errno;
        if (n > 0) held += (size_t)n;
        if (rc == 0 && (held == block || (n == 0 && held > 0))) {
            rc = put_block(w, buf, held, begin_ns);
            held = 0;
        }
        if (n <= 0) break;
    }
    free(buf);
    return rc;
}

static void save_main(struct savevm_work *w)
{
    siginfo_t end = { .si_code = 0 };
    int rc = copy_to_disk(w);

    close(w->from_child); /* a child that still writes ends by it */
    /* It keeps its number until it is reaped: a cancel may still kill it. */
    while (waitid(P_PID, (id_t)w->child, &end, WEXITED | WNOWAIT) < 0 &&
           errno == EINTR)
        continue;
    if (atomic_load(&w->is_cancelled)) rc = -ECANCELED;
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

    if (pipe2(fds, O_CLOEXEC) < 0)
        return err_set(e, -errno, "pipe: %s", strerror(errno));
    fcntl(fds[1], F_SETPIPE_SZ, PIPE_BYTES);
    w->child = fork();
    if (w->child == 0) {
        close(fds[0]);
        child_main(w, fds[1]);
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
