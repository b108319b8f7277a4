/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "monitor/savevm.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "block/snapshot.h"
#include "core/base/log.h"
#include "core/loop/loop.h"
#include "core/vm/clock.h"
#include "core/vm/mem.h"
#include "core/vm/vm.h"
#include "monitor/vmstate.h"

enum { PIPE_BYTES = 1 << 20, BLOCK_BYTES = 1 << 20 };

/* A snapshot that is being written; one at a time, service "savevm". */
struct saving {
    struct vm *vm;
    char name[256];
    struct vmstate_file *file;
    pid_t child;
    int from_child;
    pthread_t thread;
    bool has_thread;            /* else it was written at once */
    _Atomic uint64_t *progress; /* shared with the child: octets of memory */
    uint64_t total, written;
    _Atomic bool is_over, is_cancelled;
    int rc;
    struct err error;
};

struct savevm {
    struct saving *now; /* NULL: nothing is being written */
    char current[256];  /* what the machine goes on from */
    int last_rc;        /* of the last that was written */
    struct err last_error;
};

static struct savevm *state_of(struct vm *vm)
{
    struct savevm *s = vm_service(vm, "savevm");

    if (s != NULL) return s;
    s = calloc(1, sizeof(*s));
    if (s != NULL) vm_set_service(vm, "savevm", s);
    return s;
}

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

/* The frozen copy of the machine; it takes no lock, other threads had them. */
static void child_main(struct vm *vm, int fd, const char *parent,
                       _Atomic uint64_t *progress)
{
    struct mem_region *ram = vm_ram(vm);
    struct state_out head = { .data = NULL };
    struct err e = ERR_INIT;
    int rc;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    rc = vmstate_capture(vm, &head, parent, &e);
    if (rc == 0) rc = write_all(&fd, head.data, head.bytes);
    if (rc == 0)
        rc = vmstate_write_ram(ram->host, ram->size, write_all, &fd, progress);
    _exit(rc < 0);
}

/* ------------------------------------------------------ the background */

static int copy_to_disk(struct saving *s)
{
    uint8_t *buf = malloc(BLOCK_BYTES);
    size_t held = 0;
    int rc = buf == NULL ? -ENOMEM : 0;

    while (rc == 0) {
        ssize_t n = read(s->from_child, buf + held, BLOCK_BYTES - held);

        if (n < 0 && errno == EINTR) continue;
        if (n < 0) rc = -errno;
        if (n > 0) held += (size_t)n;
        if (held == BLOCK_BYTES || (n == 0 && held > 0)) {
            rc = vmstate_pwrite(s->file, s->written, buf, held);
            s->written += held;
            held = 0;
        }
        if (n <= 0) break;
    }
    free(buf);
    return rc;
}

static void *background(void *arg)
{
    struct saving *s = arg;
    siginfo_t end = { .si_code = 0 };
    int rc = copy_to_disk(s);

    close(s->from_child); /* a child that still writes ends by it */
    /* It keeps its number until reap_locked(): a cancel may still kill it. */
    while (waitid(P_PID, (id_t)s->child, &end, WEXITED | WNOWAIT) < 0 &&
           errno == EINTR)
        continue;
    if (atomic_load(&s->is_cancelled)) rc = -ECANCELED;
    if (rc == 0 && (end.si_code != CLD_EXITED || end.si_status != 0))
        rc = err_set(&s->error, -EIO, "the copy of the machine was cut short");
    if (rc == 0) rc = vmstate_finish(s->file, s->written, &s->error);
    if (rc < 0 && s->error.text[0] == '\0')
        err_set(&s->error, rc, "%s", strerror(-rc));
    s->rc = rc;
    atomic_store(&s->is_over, true);
    return NULL;
}

/* The thread is done or will be soon: take what it made. */
static void reap_locked(struct savevm *sv)
{
    struct saving *s = sv->now;
    struct err ignored = ERR_INIT;

    if (s == NULL) return;
    if (s->has_thread) pthread_join(s->thread, NULL);
    while (waitpid(s->child, NULL, 0) < 0 && errno == EINTR)
        continue;
    sv->now = NULL;
    sv->last_rc = s->rc;
    sv->last_error = s->error;
    vmstate_close(s->file);
    if (s->rc < 0) {
        log_warn("snapshot '%s' was not saved: %s", s->name, s->error.text);
        snapshot_delete(vm_service(s->vm, "drives"), s->name, &ignored);
    }
    munmap((void *)(uintptr_t)s->progress, sizeof(*s->progress));
    free(s);
}

/* --------------------------------------------------------------- saving */

static int check_name(const char *name, struct err *e)
{
    size_t len = strlen(name);

    if (len == 0 || len > 255)
        return err_set(e, -EINVAL, "a snapshot's name has 1 to 255 characters");
    return 0;
}

/* The accelerator can hand over and take back all of its CPUs' state. */
static int check_accel(struct vm *vm, struct err *e)
{
    const struct vm_accel_ops *ops = vm_accel(vm, NULL);

    if (ops->set_tsc != NULL && !ops->has_kernel_lapic) return 0;
    return err_set(e, -ENOTSUP,
                   "snapshots of a running machine are not supported under "
                   "accelerator %s (its local APIC is inside the kernel); use "
                   "-accel soft",
                   vm_accel_name(vm));
}

/* Nothing of that name, or it may go. */
static int make_room(struct drive_table *t, const char *name, bool may_replace,
                     struct err *e)
{
    struct snapshot_info old;
    struct err ignored = ERR_INIT;

    if (snapshot_find(t, name, &old, &ignored) < 0) return 0;
    if (!may_replace)
        return err_set(e, -EEXIST,
                       "there is a snapshot '%s' already; delete it (delvm), "
                       "or replace it with savevm -f",
                       name);
    return snapshot_delete(t, name, e);
}

static int fork_copy(struct saving *s, const char *parent, struct err *e)
{
    int fds[2];

    if (pipe(fds) < 0) return err_set(e, -errno, "pipe: %s", strerror(errno));
    fcntl(fds[1], F_SETPIPE_SZ, PIPE_BYTES);
    s->child = fork();
    if (s->child == 0) {
        close(fds[0]);
        child_main(s->vm, fds[1], parent, s->progress);
    }
    close(fds[1]);
    s->from_child = fds[0];
    if (s->child > 0) return 0;
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
static int freeze_locked(struct saving *s, struct drive_table *t,
                         const char *parent, struct err *e)
{
    struct snapshot_info what = { .vm_clock_ns = clock_now_ns(s->vm) };
    struct timespec now;
    int rc;

    clock_gettime(CLOCK_REALTIME, &now);
    what.date_sec = (uint64_t)now.tv_sec;
    what.date_nsec = (uint32_t)now.tv_nsec;
    strcpy(what.name, s->name);
    drain_all(t);
    vmstate_prepare_locked(s->vm);
    rc = snapshot_create(t, &what, e);
    if (rc < 0) return rc;
    rc = vmstate_open(t, s->name, &s->file, e);
    if (rc == 0) rc = fork_copy(s, parent, e);
    if (rc < 0) {
        struct err ignored = ERR_INIT;

        vmstate_close(s->file);
        snapshot_delete(t, s->name, &ignored);
    }
    return rc;
}

static struct saving *saving_new(struct vm *vm, const char *name)
{
    struct saving *s = calloc(1, sizeof(*s));
    void *shared;

    if (s == NULL) return NULL;
    shared = mmap(NULL, sizeof(*s->progress), PROT_READ | PROT_WRITE,
                  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) {
        free(s);
        return NULL;
    }
    s->vm = vm;
    s->progress = shared;
    s->total = vm_ram(vm)->size;
    strcpy(s->name, name);
    return s;
}

static void start_background(struct saving *s)
{
    sigset_t all, old;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    s->has_thread = pthread_create(&s->thread, NULL, background, s) == 0;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (!s->has_thread) background(s);
}

int savevm_begin_locked(struct vm *vm, const char *name, bool may_replace,
                        uint64_t *paused_ns, struct err *e)
{
    struct drive_table *t = vm_service(vm, "drives");
    struct savevm *sv = state_of(vm);
    bool was_running = vm_run_state(vm) == RUN_RUNNING;
    enum run_state before = vm_run_state(vm);
    struct saving *s;
    uint64_t start;
    int rc = savevm_wait_locked(vm, e);

    if (sv == NULL || t == NULL) return err_set(e, -ENOMEM, "out of memory");
    rc = check_name(name, e);
    if (rc == 0) rc = check_accel(vm, e);
    if (rc == 0) rc = snapshot_check(t, e);
    if (rc == 0) rc = make_room(t, name, may_replace, e);
    if (rc < 0) return rc;
    s = saving_new(vm, name);
    if (s == NULL) return err_set(e, -ENOMEM, "out of memory");
    snapshot_flush(t); /* what can be written before, is */
    start = loop_now_ns();
    if (was_running) vm_stop_locked(vm, RUN_PAUSED);
    rc = freeze_locked(s, t, sv->current, e);
    if (was_running)
        vm_start_locked(vm);
    else
        vm_stop_locked(vm, before);
    *paused_ns = loop_now_ns() - start;
    if (rc < 0) {
        munmap((void *)(uintptr_t)s->progress, sizeof(*s->progress));
        free(s);
        return rc;
    }
    strcpy(sv->current, name);
    sv->now = s;
    start_background(s);
    return 0;
}

int savevm_wait_locked(struct vm *vm, struct err *e)
{
    struct savevm *sv = vm_service(vm, "savevm");

    if (sv == NULL || sv->now == NULL) return 0;
    reap_locked(sv);
    if (sv->last_rc < 0) *e = sv->last_error;
    return sv->last_rc;
}

int savevm_cancel_locked(struct vm *vm, struct err *e)
{
    struct savevm *sv = vm_service(vm, "savevm");

    if (sv != NULL && sv->now != NULL && atomic_load(&sv->now->is_over))
        reap_locked(sv);
    if (sv == NULL || sv->now == NULL)
        return err_set(e, -ENOENT, "no snapshot is being saved");
    atomic_store(&sv->now->is_cancelled, true);
    kill(sv->now->child, SIGKILL);
    reap_locked(sv);
    return 0;
}

bool savevm_progress_locked(struct vm *vm, FILE *out)
{
    struct savevm *sv = vm_service(vm, "savevm");
    struct saving *s = sv == NULL ? NULL : sv->now;

    if (s == NULL) return false;
    if (atomic_load(&s->is_over)) {
        reap_locked(sv);
        return false;
    }
    fprintf(out, "Saving '%s': %llu of %llu MiB of memory\n", s->name,
            (unsigned long long)(atomic_load(s->progress) >> 20),
            (unsigned long long)(s->total >> 20));
    return true;
}

void savevm_end(struct vm *vm)
{
    struct savevm *sv = vm_service(vm, "savevm");

    if (sv == NULL) return;
    reap_locked(sv);
    vm_set_service(vm, "savevm", NULL);
    free(sv);
}

/* -------------------------------------------------------------- loading */

struct reader {
    struct vmstate_file *file;
    uint64_t pos, end;
    uint8_t *buf; /* BLOCK_BYTES from buf_pos on */
    uint64_t buf_pos;
    size_t held;
};

static int read_some(struct reader *r)
{
    uint64_t left = r->end - r->pos;

    r->buf_pos = r->pos;
    r->held = left < BLOCK_BYTES ? (size_t)left : BLOCK_BYTES;
    return vmstate_pread(r->file, r->pos, r->buf, r->held);
}

static int read_state(void *arg, void *data, size_t bytes)
{
    struct reader *r = arg;
    uint8_t *to = data;

    if (bytes > r->end - r->pos) return -ENODATA;
    while (bytes > 0) {
        size_t at = (size_t)(r->pos - r->buf_pos), n;

        if (at >= r->held) {
            int rc = read_some(r);

            if (rc < 0) return rc;
            at = 0;
        }
        n = r->held - at;
        if (n > bytes) n = bytes;
        memcpy(to, r->buf + at, n);
        to += n;
        r->pos += n;
        bytes -= n;
    }
    return 0;
}

/* The disks, then memory; from here on there is no way back. */
static int replace_locked(struct vm *vm, struct reader *r, const char *name,
                          struct err *e)
{
    int rc = snapshot_apply(vm_service(vm, "drives"), name, e);

    if (rc == 0) rc = vmstate_load_ram_locked(vm, read_state, r, e);
    if (rc == 0) return 0;
    vm_stop_locked(vm, RUN_INTERNAL_ERROR);
    return err_prefix(e, "the machine is stopped, its state is not whole");
}

static int load_from(struct vm *vm, struct reader *r, const char *name,
                     struct err *e)
{
    bool was_running = vm_run_state(vm) == RUN_RUNNING;
    struct vmstate_head h = { .cpus = NULL };
    int rc = vmstate_read_head(vm, read_state, r, &h, e);
    uint64_t memory = r->pos;

    /* All of it is looked at before anything is changed. */
    if (rc == 0) rc = vmstate_verify_ram(vm, read_state, r, e);
    if (rc < 0) {
        vmstate_head_free(&h);
        return rc;
    }
    r->pos = memory;
    if (was_running) vm_stop_locked(vm, RUN_PAUSED);
    drain_all(vm_service(vm, "drives"));
    rc = vmstate_restore_locked(vm, &h, e);
    vmstate_head_free(&h);
    if (rc == 0) {
        rc = replace_locked(vm, r, name, e);
        if (rc < 0) return rc;
        if (!was_running) vm_stop_locked(vm, RUN_PAUSED);
    }
    if (was_running) vm_start_locked(vm);
    return rc;
}

int loadvm_locked(struct vm *vm, const char *name, struct err *e)
{
    struct drive_table *t = vm_service(vm, "drives");
    struct savevm *sv = state_of(vm);
    struct snapshot_info s;
    struct reader r = { .pos = 0 };
    int rc;

    if (sv == NULL || t == NULL) return err_set(e, -ENOMEM, "out of memory");
    reap_locked(sv);
    rc = check_accel(vm, e);
    if (rc == 0) rc = snapshot_check(t, e);
    if (rc == 0) rc = snapshot_find(t, name, &s, e);
    if (rc < 0) return rc;
    if (s.vm_state_bytes == 0)
        return err_set(e, -EINVAL,
                       "snapshot '%s' holds disks but no machine (taken "
                       "without one, or its saving was interrupted); apply it "
                       "to the image with `orrery img snapshot -a'",
                       name);
    rc = vmstate_open(t, name, &r.file, e);
    if (rc < 0) return rc;
    r.end = s.vm_state_bytes;
    r.buf = malloc(BLOCK_BYTES);
    rc = r.buf == NULL ? err_set(e, -ENOMEM, "out of memory")
                       : load_from(vm, &r, name, e);
    free(r.buf);
    vmstate_close(r.file);
    if (rc == 0) strcpy(sv->current, s.name);
    return rc;
}

int delvm_locked(struct vm *vm, const char *name, struct err *e)
{
    struct drive_table *t = vm_service(vm, "drives");
    struct savevm *sv = state_of(vm);

    if (sv == NULL || t == NULL) return err_set(e, -ENOMEM, "out of memory");
    reap_locked(sv);
    return snapshot_delete(t, name, e);
}
