/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Writing a snapshot of a machine to one file. */
#include "monitor/export.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "block/block.h"
#include "core/base/log.h"
#include "core/loop/loop.h"
#include "core/vm/vm.h"
#include "monitor/migrate.h"
#include "monitor/monitor.h"
#include "monitor/tar.h"

enum { BLOCK_BYTES = 1 << 20, MAX_CMDLINE = 1 << 20 };

struct export_disk {
    char id[64], path[512]; /* the image it comes from */
    struct disk_export *x;
};

/* One at a time, service "export". */
struct export
{
    struct vm *vm;
    char tag[256], text[1200]; /* what came of the last one */
    char *file, *part;        /* its name, and the one until it is whole */
    struct export_disk disk[VM_MAX_DRIVES];
    unsigned disks;
    char *machine; /* that member */
    size_t machine_bytes;
    int fd;
    pthread_t thread;
    bool is_going_on;
    atomic_bool is_cancelled;
    _Atomic uint64_t done;
    uint64_t total;
    struct monitor_session *waiting;
    int rc;
    struct err error;
};

static struct export *export_of(struct vm *vm)
{
    struct export *x = vm_service(vm, "export");

    if (x != NULL) return x;
    x = calloc(1, sizeof(*x));
    if (x == NULL) return NULL;
    x->vm = vm;
    x->fd = -1;
    vm_set_service(vm, "export", x);
    return x;
}

/* --------------------------------------------------------- the machine */

/* How this program was started, one line each; a line's end in an argument
 * becomes a blank. */
static void put_arguments(FILE *out)
{
    char *text = malloc(MAX_CMDLINE);
    FILE *f = fopen("/proc/self/cmdline", "re");
    size_t n =
        text == NULL || f == NULL ? 0 : fread(text, 1, MAX_CMDLINE - 1, f);

    if (f != NULL) fclose(f);
    for (size_t i = 0; i < n; i += strlen(text + i) + 1) {
        text[n] = '\0';
        for (char *p = text + i; *p != '\0'; p++) {
            if (*p == '\n') *p = ' ';
        }
        if (i > 0) fprintf(out, "arg=%s\n", text + i);
    }
    free(text);
}

static int describe(struct export *x, struct err *e)
{
    FILE *out = open_memstream(&x->machine, &x->machine_bytes);

    if (out == NULL) return err_set(e, -ENOMEM, "out of memory");
    fprintf(out, "export=1\ntag=%s\n", x->tag);
    for (unsigned i = 0; i < x->disks; i++)
        fprintf(out, "disk=%s %s.qcow2 %s\n", x->disk[i].id, x->disk[i].id,
                x->disk[i].path);
    put_arguments(out);
    fclose(out);
    return x->machine == NULL ? err_set(e, -ENOMEM, "out of memory") : 0;
}

/* ---------------------------------------------------------- the thread */

static int failed(struct export *x, int rc, struct err *e)
{
    return err_set(e, rc, "%s: %s", x->file, strerror(-rc));
}

static int write_all(int fd, const void *data, size_t bytes)
{
    while (bytes > 0) {
        ssize_t n = write(fd, data, bytes);

        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return -errno;
        data = (const char *)data + n;
        bytes -= (size_t)n;
    }
    return 0;
}

static int put_machine(struct export *x, struct err *e)
{
    int rc = tar_put_head(x->fd, "machine", x->machine_bytes, time(NULL));

    if (rc == 0) rc = write_all(x->fd, x->machine, x->machine_bytes);
    if (rc == 0) rc = tar_pad(x->fd, x->machine_bytes);
    return rc < 0 ? failed(x, rc, e) : 0;
}

/* A whole file becomes a member. */
static int put_file(struct export *x, const char *name, const char *path,
                    struct err *e)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC), rc = 0;
    struct stat st;
    off_t at = 0;

    if (fd < 0 || fstat(fd, &st) < 0) {
        if (fd >= 0) close(fd);
        return err_set(e, -errno, "%s: %s", path, strerror(errno));
    }
    rc = tar_put_head(x->fd, name, (uint64_t)st.st_size, time(NULL));
    while (rc == 0 && at < st.st_size) {
        ssize_t n = sendfile(x->fd, fd, &at, (size_t)(st.st_size - at));

        if (n < 0 && errno != EINTR) rc = -errno;
        if (n == 0) rc = -EIO;
        if (atomic_load(&x->is_cancelled)) rc = -ECANCELED;
    }
    if (rc == 0) rc = tar_pad(x->fd, (uint64_t)st.st_size);
    close(fd);
    return rc < 0 ? failed(x, rc, e) : 0;
}

static int put_disk(struct export *x, struct export_disk *d, struct err *e)
{
    char name[80];
    char *path = NULL;
    int rc;

    snprintf(name, sizeof(name), "%s.qcow2", d->id);
    if (asprintf(&path, "%s.%s", x->part, name) < 0)
        return err_set(e, -ENOMEM, "out of memory");
    rc = disk_export_run(d->x, path, &x->is_cancelled, &x->done, e);
    if (rc == 0) rc = put_file(x, name, path, e);
    unlink(path);
    free(path);
    return rc;
}

static int put_state(struct export *x, struct disk_export *from, struct err *e)
{
    uint64_t bytes = disk_export_state_bytes(from);
    uint8_t *buf = malloc(BLOCK_BYTES);
    int rc =
        buf == NULL ? -ENOMEM : tar_put_head(x->fd, "state", bytes, time(NULL));

    for (uint64_t at = 0; at < bytes && rc == 0; at += BLOCK_BYTES) {
        size_t n =
            bytes - at < BLOCK_BYTES ? (size_t)(bytes - at) : BLOCK_BYTES;

        rc = disk_export_read_state(from, at, buf, n);
        if (rc == 0) rc = write_all(x->fd, buf, n);
        if (atomic_load(&x->is_cancelled)) rc = -ECANCELED;
        atomic_fetch_add(&x->done, n);
    }
    if (rc == 0) rc = tar_pad(x->fd, bytes);
    free(buf);
    return rc < 0 ? failed(x, rc, e) : 0;
}

static int write_archive(struct export *x, struct err *e)
{
    int rc = put_machine(x, e);

    for (unsigned i = 0; i < x->disks && rc == 0; i++)
        rc = put_disk(x, &x->disk[i], e);
    for (unsigned i = 0; i < x->disks && rc == 0; i++) {
        if (disk_export_state_bytes(x->disk[i].x) > 0)
            rc = put_state(x, x->disk[i].x, e);
    }
    if (rc < 0) return rc;
    rc = tar_put_end(x->fd);
    if (rc == 0 && fsync(x->fd) < 0) rc = -errno;
    if (rc == 0 && atomic_load(&x->is_cancelled)) rc = -ECANCELED;
    if (rc == 0 && rename(x->part, x->file) < 0) rc = -errno;
    return rc < 0 ? failed(x, rc, e) : 0;
}

/* ------------------------------------------------------------- the end */

static void forget(struct export *x)
{
    for (unsigned i = 0; i < x->disks; i++)
        disk_export_close(x->disk[i].x);
    if (x->fd >= 0) close(x->fd);
    free(x->file);
    free(x->part);
    free(x->machine);
    x->file = x->part = x->machine = NULL;
    x->disks = 0;
    x->fd = -1;
}

static void tell(struct export *x)
{
    const char *tag = x->tag;

    if (x->rc == 0)
        snprintf(x->text, sizeof(x->text), "Snapshot '%s' exported to %s\n",
                 tag, x->file);
    else if (x->rc == -ECANCELED)
        snprintf(x->text, sizeof(x->text), "The export of '%s' was cancelled\n",
                 tag);
    else
        snprintf(x->text, sizeof(x->text), "Error: '%s' was not exported: %s\n",
                 tag, x->error.text);
}

static void over(void *arg)
{
    struct export *x = arg;
    struct monitor_session *w;

    pthread_join(x->thread, NULL);
    vm_lock(x->vm);
    if (x->rc < 0 && x->part != NULL) unlink(x->part);
    tell(x);
    if (x->rc < 0 && x->rc != -ECANCELED && x->waiting == NULL)
        log_warn("snapshot '%s' was not exported: %s", x->tag, x->error.text);
    forget(x);
    x->is_going_on = false;
    w = x->waiting;
    x->waiting = NULL;
    vm_unlock(x->vm);
    if (w != NULL && w->wake != NULL) w->wake(w, x->text);
}

static void *export_main(void *arg)
{
    struct export *x = arg;

    x->rc = write_archive(x, &x->error);
    if (atomic_load(&x->is_cancelled)) x->rc = -ECANCELED;
    loop_post(vm_loop(x->vm), over, x);
    return NULL;
}

/* --------------------------------------------------------------- begin */

static int open_disks(struct export *x, struct err *e)
{
    struct drive_table *t = vm_service(x->vm, "drives");
    struct drive *d = NULL;
    bool has_state = false;
    int rc = 0;

    while (rc == 0 && t != NULL && (d = drive_next(t, d)) != NULL) {
        struct export_disk *k = &x->disk[x->disks];

        if (drive_blk(d) == NULL || blk_is_readonly(drive_blk(d))) continue;
        if (x->disks == VM_MAX_DRIVES)
            return err_set(e, -E2BIG, "too many drives");
        rc = disk_export_open(d, x->tag, &k->x, e);
        if (rc < 0) break;
        snprintf(k->id, sizeof(k->id), "%s", drive_id(d));
        snprintf(k->path, sizeof(k->path), "%s", blk_file(drive_blk(d)));
        x->total += disk_export_bytes(k->x) + disk_export_state_bytes(k->x);
        has_state |= disk_export_state_bytes(k->x) > 0;
        x->disks++;
    }
    if (rc == 0 && !has_state)
        rc = err_set(e, -EINVAL,
                     "snapshot '%s' holds no machine: nothing to export",
                     x->tag);
    return rc;
}

static int create_file(struct export *x, const char *file, bool may_replace,
                       struct err *e)
{
    if (!may_replace && access(file, F_OK) == 0)
        return err_set(e, -EEXIST,
                       "%s exists; replace it with snapshot_export -f", file);
    x->file = strdup(file);
    if (x->file == NULL || asprintf(&x->part, "%s.XXXXXX", file) < 0)
        return err_set(e, -ENOMEM, "out of memory");
    x->fd = mkostemp(x->part, O_CLOEXEC);
    if (x->fd < 0) return err_set(e, -errno, "%s: %s", file, strerror(errno));
    return 0;
}

static int start(struct export *x, struct err *e)
{
    sigset_t all, old;
    int rc;

    atomic_store(&x->is_cancelled, false);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    rc = pthread_create(&x->thread, NULL, export_main, x);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (rc != 0) return err_set(e, -rc, "no thread: %s", strerror(rc));
    x->is_going_on = true;
    return 0;
}

int export_begin_locked(struct vm *vm, const char *tag, const char *file,
                        bool may_replace, struct monitor_session *session,
                        struct err *e)
{
    struct export *x = export_of(vm);
    int rc = x == NULL ? err_set(e, -ENOMEM, "out of memory")
                       : migrate_check_idle_locked(vm, e);

    if (rc == 0) rc = export_check_locked(vm, NULL, e);
    if (rc < 0) return rc;
    snprintf(x->tag, sizeof(x->tag), "%s", tag);
    x->total = 0;
    atomic_store(&x->done, 0);
    x->text[0] = '\0';
    x->error = (struct err)ERR_INIT;
    rc = open_disks(x, e);
    if (rc == 0) rc = describe(x, e);
    if (rc == 0) rc = create_file(x, file, may_replace, e);
    if (rc == 0) rc = start(x, e);
    if (rc == 0) {
        x->waiting = session;
        return 0;
    }
    if (x->fd >= 0) unlink(x->part);
    forget(x);
    return rc;
}

int export_cancel_locked(struct vm *vm, struct err *e)
{
    struct export *x = vm_service(vm, "export");

    if (x == NULL || !x->is_going_on)
        return err_set(e, -ENOENT, "no snapshot is being exported");
    atomic_store(&x->is_cancelled, true);
    return 0;
}

bool export_progress_locked(struct vm *vm, FILE *out)
{
    struct export *x = vm_service(vm, "export");

    if (x == NULL) return false;
    if (!x->is_going_on) {
        fputs(x->text, out);
        return x->text[0] != '\0';
    }
    fprintf(out, "Exporting '%s' to %s: %llu of %llu MiB\n", x->tag, x->file,
            (unsigned long long)(atomic_load(&x->done) >> 20),
            (unsigned long long)(x->total >> 20));
    return true;
}

int export_check_locked(struct vm *vm, const char *tag, struct err *e)
{
    const struct export *x = vm_service(vm, "export");

    if (x == NULL || !x->is_going_on) return 0;
    if (tag != NULL && strcmp(tag, x->tag) != 0) return 0;
    return err_set(e, -EBUSY,
                   "snapshot '%s' is being exported; snapshot_export_cancel "
                   "stops that",
                   x->tag);
}

void export_end(struct vm *vm)
{
    struct export *x = vm_service(vm, "export");

    if (x == NULL) return;
    atomic_store(&x->is_cancelled, true);
    x->waiting = NULL;
    while (x->is_going_on)
        loop_step(vm_loop(vm), 100);
    vm_set_service(vm, "export", NULL);
    free(x);
}
