/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One machine from configuration to exit status.
 *
 * struct run holds what has been made so far; every step makes one thing and
 * tear_down() undoes whatever is there, in reverse, so there is one way out
 * for a failure at any step and for the normal end.  Order matters: character
 * devices and drives exist before the machine that uses them, displays and
 * monitors come after it, and the machine is destroyed before what its devices
 * point to.
 */
#include "ui/run.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "block/block.h"
#include "config.h"
#include "core/accel/accel.h"
#include "core/base/log.h"
#include "core/host/chardev.h"
#include "core/host/console.h"
#include "core/host/display.h"
#include "core/host/input.h"
#include "core/loop/loop.h"
#include "core/vm/single.h"
#include "core/vm/vm.h"
#include "hw/devices.h"
#include "hw/machine.h"
#include "monitor/export.h"
#include "monitor/gdb.h"
#include "monitor/migrate.h"
#include "monitor/monitor.h"
#include "monitor/savevm.h"
#include "ui/run_parts.h"

struct run {
    struct options *o;
    struct loop *loop;
    struct vm *vm;
    struct run_drives drives;
    struct chardev *chardev[OPTIONS_MAX_CHARDEVS];
    struct display *display;
    struct run_views views;
    struct monitor *monitor[OPTIONS_MAX_MONITORS];
    struct monitor_session session; /* of the display and control socket */
    struct monitor_catalog catalog;
    int signal_fd;
    sigset_t old_signals;
    char accel_why[300];
    bool has_pidfile;
    int ready_fd; /* -daemonize: the parent waits here; -1 */
};

const char *run_choose_display(const struct options *o)
{
    if (o->is_nographic) return "none";
    if (o->display != NULL) return o->display;
    if (o->vnc != NULL || o->is_daemonize) return "none";
    if (options_count_stdio(o) == 0 && isatty(STDIN_FILENO) &&
        isatty(STDOUT_FILENO))
        return "curses";
#ifdef HAVE_SDL
    if (getenv("DISPLAY") != NULL || getenv("WAYLAND_DISPLAY") != NULL)
        return "sdl";
#endif
    return "none";
}

/* ---- steps ---- */

static int open_drives(struct run *r, struct err *e)
{
    return run_drives_open(&r->drives, r->vm, r->loop, r->o, e);
}

/* Keys of a shared terminal the character device leaves to us. */
static void on_escape(void *arg, int key)
{
    struct run *r = arg;

    if (key == 'x') vm_request(r->vm, VM_REQ_QUIT);
    if (key == 's') log_warn("-snapshot: what was written can not be kept");
}

static int open_chardevs(struct run *r, struct err *e)
{
    struct options *o = r->o;

    for (unsigned i = 0; i < o->chardev_count; i++) {
        const struct chardev_option *c = &o->chardev[i];
        int rc = chardev_open(r->loop, c->name, c->spec, &r->chardev[i], e);

        if (rc < 0) {
            err_prefix(e, "%s", c->spec);
            return rc;
        }
        chardev_set_escape(r->chardev[i], on_escape, r);
        rc = chardev_register(r->vm, r->chardev[i], e);
        if (rc < 0) return rc;
    }
    return 0;
}

/* -accel A -accel B: the first that opens. */
static int open_accel(struct run *r, struct err *e)
{
    struct options *o = r->o;
    int rc = 0;

    if (o->accel_count == 0)
        return accel_open(r->vm, NULL, r->accel_why, sizeof(r->accel_why), e);
    for (unsigned i = 0; i < o->accel_count; i++) {
        rc = accel_open(r->vm, o->accel[i], r->accel_why, sizeof(r->accel_why),
                        e);
        if (rc == 0) return 0;
        err_prefix(e, "-accel %s", o->accel[i]);
        if (i + 1 < o->accel_count) log_warn("%s; trying the next", e->text);
    }
    return rc;
}

/* -singlestep */
static int set_single(struct run *r, struct err *e)
{
    const struct single_service *s;

    if (!r->o->is_singlestep) return 0;
    vm_lock(r->vm);
    s = vm_service(r->vm, "singlestep");
    if (s != NULL) s->set(s->arg, true);
    vm_unlock(r->vm);
    if (s != NULL) return 0;
    return err_set(e, -ENOTSUP,
                   "-singlestep: only the software CPU has this mode "
                   "(-accel soft)");
}

static int open_consoles(struct run *r, struct err *e)
{
    return console_create(r->vm, e);
}

static int make_machine(struct run *r, struct err *e)
{
    const struct machine *m;
    int rc = machine_select(r->o->cfg.machine, &m, e);

    if (rc < 0) return rc;
    vm_lock(r->vm);
    rc = m->init(r->vm, e);
    if (rc == 0) vm_reset_locked(r->vm);
    vm_unlock(r->vm);
    return rc;
}

static void run_monitor_line(void *arg, const char *line, FILE *out)
{
    monitor_run(arg, line, out);
}

/* For the monitor, which may not include hw. */
static bool machine_at(unsigned n, const char **name, const char **alias,
                       const char **title)
{
    for (unsigned i = 0; i <= n; i++) {
        if (machine_table[i].name == NULL) return false;
    }
    *name = machine_table[n].name;
    *alias = machine_table[n].alias;
    *title = machine_table[n].title;
    return true;
}

static const char *option_name_at(unsigned n)
{
    const struct option_row *r = option_table;

    for (; r->name != NULL; r++) {
        if (r->kind != OPT_SECTION && n-- == 0) return r->name;
    }
    return NULL;
}

static int open_views(struct run *r, struct err *e)
{
    const struct options *o = r->o;
    struct run_view_options v = { .display = run_choose_display(o),
                                  .display_opts = o->display_opts,
                                  .vnc = o->vnc,
                                  .control = o->control,
                                  .name = o->cfg.name,
                                  .monitor_run = run_monitor_line,
                                  .arg = &r->session };

    r->session.vm = r->vm;
    r->catalog =
        (struct monitor_catalog){ .machine = machine_at,
                                  .default_machine = machine_find(NULL)->name,
                                  .classes = dev_classes,
                                  .option = option_name_at };
    vm_set_service(r->vm, "monitor-catalog", &r->catalog);
    vm_set_service(r->vm, "display-type", (char *)v.display);
    return run_views_open(&r->views, r->vm, &v, e);
}

static int open_monitors(struct run *r, struct err *e)
{
    const struct options *o = r->o;
    int rc = 0;

    for (unsigned i = 0; i < o->monitor_count && rc == 0; i++) {
        struct chardev *c = chardev_find(r->vm, o->monitor[i]);

        if (o->monitor_mode[i] == MONITOR_LINES) {
            rc = monitor_create(r->vm, c, &r->monitor[i], e);
        } else {
            rc = monitor_create_json(r->vm, c,
                                     o->monitor_mode[i] == MONITOR_JSON_PRETTY,
                                     &r->monitor[i], e);
        }
    }
    return rc;
}

/* A console of the display that shows no monitor says whose it is. */
static int title_consoles(struct run *r, struct err *e)
{
    const struct options *o = r->o;

    (void)e;
    for (unsigned i = 0; i < o->chardev_count; i++) {
        const char *name = o->chardev[i].name;
        bool is_monitor = false;
        char text[80];
        int n = snprintf(text, sizeof(text), "%.60s console\r\n", name);

        for (unsigned k = 0; k < o->monitor_count; k++)
            is_monitor |= strcmp(o->monitor[k], name) == 0;
        if (!is_monitor && chardev_is_vc(r->chardev[i]))
            chardev_write(r->chardev[i], (uint8_t *)text, (size_t)n);
    }
    return 0;
}

static int open_gdb(struct run *r, struct err *e)
{
    if (r->o->gdb == NULL || gdb_server_start(r->vm, r->o->gdb, e) == 0) {
        return 0;
    }
    return err_prefix(e, "-gdb %s", r->o->gdb);
}

/* ---- signals, background ---- */

static void on_signal(void *arg, unsigned ready)
{
    struct run *r = arg;
    struct signalfd_siginfo si;

    (void)ready;
    if (read(r->signal_fd, &si, sizeof(si)) == (ssize_t)sizeof(si))
        vm_request(r->vm, VM_REQ_QUIT);
}

/* Before any thread is made: all inherit the mask. */
static int catch_signals(struct run *r, struct err *e)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &set, &r->old_signals);
    r->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (r->signal_fd < 0)
        return err_set(e, -errno, "signalfd: %s", strerror(errno));
    return loop_add_fd(r->loop, r->signal_fd, LOOP_READ, on_signal, r, e);
}

/* The child goes on with a pipe to the parent, which ends with our status once
 * the machine runs.  Returns 0 in the child, the status in the parent's
 * exit_status and 1 there. */
static int go_background(struct run *r, int *exit_status, struct err *e)
{
    int fds[2];
    char status = 1;
    pid_t pid;

    if (pipe2(fds, O_CLOEXEC) < 0 || (pid = fork()) < 0)
        return err_set(e, -errno, "-daemonize: %s", strerror(errno));
    if (pid > 0) {
        close(fds[1]);
        if (read(fds[0], &status, 1) != 1) status = 1;
        *exit_status = status;
        return 1;
    }
    close(fds[0]);
    r->ready_fd = fds[1];
    setsid();
    return 0;
}

static void tell_parent(struct run *r)
{
    int null;

    if (r->ready_fd < 0) return;
    null = open("/dev/null", O_RDWR);
    for (int fd = 0; null >= 0 && fd <= 2; fd++)
        dup2(null, fd);
    if (null > 2) close(null);
    if (write(r->ready_fd, "", 1) < 0) { /* a parent that is gone is fine */
    }
    close(r->ready_fd);
    r->ready_fd = -1;
}

/* Everything is there: make the files of -serial file: and the like. */
static int start_chardevs(struct run *r, struct err *e)
{
    int rc = 0;

    for (unsigned i = 0; i < r->o->chardev_count && rc == 0; i++)
        rc = chardev_start(r->chardev[i], e);
    return rc;
}

/* The machine is not here yet. */
static int open_incoming(struct run *r, struct err *e)
{
    const char *uri = r->o->incoming;

    if (uri == NULL || migrate_incoming_prepare(
                           r->vm, uri, !r->o->cfg.is_start_paused, e) == 0)
        return 0;
    return err_prefix(e, "-incoming %s", uri);
}

/* Go on from a snapshot instead of the firmware. */
static int open_snapshot(struct run *r, struct err *e)
{
    const char *tag = r->o->loadvm;
    int rc;

    if (tag == NULL) return 0;
    if (r->o->incoming != NULL)
        return err_set(e, -EINVAL, "-loadvm and -incoming exclude each other");
    vm_lock(r->vm);
    rc = savevm_load_now_locked(r->vm, tag, e);
    vm_unlock(r->vm);
    return rc < 0 ? err_prefix(e, "-loadvm %s", tag) : 0;
}

static int write_pidfile(struct run *r, struct err *e)
{
    FILE *f;

    if (r->o->pidfile == NULL) return 0;
    f = fopen(r->o->pidfile, "we");
    if (f == NULL || fprintf(f, "%d\n", (int)getpid()) < 0 || fclose(f) != 0)
        return err_set(e, -errno, "-pidfile %s: %s", r->o->pidfile,
                       strerror(errno));
    r->has_pidfile = true;
    return 0;
}

/* ---- all of it ---- */

static int set_up(struct run *r, struct err *e)
{
    static int (*const steps[])(struct run * r, struct err * e) = {
        catch_signals,  open_accel,    open_drives,    open_chardevs,
        open_consoles,  make_machine,  set_single,     open_views,
        start_chardevs, open_monitors, title_consoles, open_gdb,
        open_incoming,  open_snapshot, write_pidfile,
    };
    int rc = loop_create(&r->loop, e);

    if (rc == 0) rc = vm_create(&r->o->cfg, r->loop, &r->vm, e);
    if (rc == 0) rc = display_create(r->vm, &r->display, e);
    for (unsigned i = 0; i < sizeof(steps) / sizeof(steps[0]) && rc == 0; i++)
        rc = steps[i](r, e);
    if (rc == 0) vm_set_service(r->vm, "accel-why", r->accel_why);
    return rc;
}

static void tear_down(struct run *r)
{
    if (r->vm != NULL) {
        gdb_server_stop(r->vm);
        vm_lock(r->vm);
        vm_stop_locked(r->vm, RUN_SHUTDOWN);
        vm_unlock(r->vm);
    }
    if (r->vm != NULL) migrate_end(r->vm);
    if (r->vm != NULL) export_end(r->vm);
    if (r->vm != NULL) savevm_end(r->vm);
    for (unsigned i = 0; i < OPTIONS_MAX_MONITORS; i++)
        monitor_destroy(r->monitor[i]);
    run_views_close(&r->views);
    if (r->vm != NULL) {
        console_destroy(r->vm);
        vm_lock(r->vm);
        input_destroy(vm_service(r->vm, "input")); /* made on first use */
        vm_unlock(r->vm);
    }
    for (unsigned i = 0; i < OPTIONS_MAX_CHARDEVS && r->vm != NULL; i++) {
        if (r->chardev[i] != NULL) chardev_set_front(r->chardev[i], NULL);
    }
    for (unsigned i = 0; i < OPTIONS_MAX_CHARDEVS; i++)
        chardev_unregister(r->chardev[i]); /* devices still use them */
    display_detach(r->display);
    vm_destroy(r->vm);
    for (unsigned i = 0; i < OPTIONS_MAX_CHARDEVS; i++)
        chardev_close(r->chardev[i]);
    if (r->display != NULL) display_destroy(r->display);
    run_drives_close(&r->drives);
    if (r->signal_fd >= 0) {
        loop_del_fd(r->loop, r->signal_fd);
        close(r->signal_fd);
    }
    loop_destroy(r->loop);
    if (r->has_pidfile) unlink(r->o->pidfile);
}

static void start(struct run *r)
{
    if (r->o->accel_count == 0 && r->ready_fd < 0 &&
        strcmp(run_choose_display(r->o), "curses") != 0)
        log_warn("%s", r->accel_why);
    tell_parent(r);
    if (r->o->cfg.is_start_paused || r->o->incoming != NULL) return;
    vm_lock(r->vm);
    vm_start_locked(r->vm);
    vm_unlock(r->vm);
}

int run_machine(struct options *o)
{
    struct run r = { .o = o, .signal_fd = -1, .ready_fd = -1 };
    struct err e = ERR_INIT;
    int status = 1, rc = run_check(o, &e);

    if (rc == 0 && o->is_daemonize) {
        rc = go_background(&r, &status, &e);
        if (rc == 1) return status;
    }
    if (rc == 0) {
        log_choose(&(struct log_choice){ o->log_items, o->log_events });
        rc = log_open(o->log_file);
        if (rc < 0) err_set(&e, rc, "-D %s: %s", o->log_file, strerror(-rc));
    }
    if (rc == 0) rc = set_up(&r, &e);
    if (rc == 0) {
        start(&r);
        status = loop_run(r.loop);
    }
    if (r.loop != NULL) tear_down(&r);
    if (rc < 0) fprintf(stderr, "orrery: %s\n", e.text);
    return rc < 0 ? 1 : status;
}
