/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Running machines: command line, start, monitor, stop. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "ui/control/control.h"
#include "ui/manager/machine.h"

enum { START_TIMEOUT_MS = 20000, STOP_TIMEOUT_MS = 5000, STEP_MS = 20 };

/* ---- command line ---- */

struct args {
    char **v;
    unsigned n;
    int status; /* sticky: 0, -ENOMEM, -E2BIG */
};

static void add(struct args *a, const char *text)
{
    if (a->status < 0) return;
    if (a->n + 1 >= MACHINE_ARGS) {
        a->status = -E2BIG;
        return;
    }
    a->v[a->n] = strdup(text);
    if (a->v[a->n] == NULL) {
        a->status = -ENOMEM;
        return;
    }
    a->v[++a->n] = NULL;
}

static void add_option(struct args *a, const char *name, const char *value)
{
    if (value == NULL || *value == '\0') return;
    add(a, name);
    add(a, value);
}

/* file= of -drive: commas are doubled, names without / are in the folder. */
static void add_drive(struct args *a, const struct machine *m, const char *file,
                      const char *rest)
{
    char text[2 * PATH_MAX + 128];
    size_t n = (size_t)snprintf(text, sizeof(text), "file=");
    char path[2 * PATH_MAX];

    snprintf(path, sizeof(path), "%s%s%s", *file == '/' ? "" : m->dir,
             *file == '/' ? "" : "/", file);
    for (const char *p = path; *p != '\0' && n + 80 < sizeof(text); p++) {
        text[n++] = *p;
        if (*p == ',') text[n++] = ',';
    }
    snprintf(text + n, sizeof(text) - n, ",%s", rest);
    add(a, "-drive");
    add(a, text);
}

static void add_drives(struct args *a, const struct machine *m)
{
    /* The CD drive is where QEMU puts it: secondary master. */
    static const unsigned ide_index[MACHINE_DISKS] = { 0, 1, 3, 2 };
    char rest[64];

    for (unsigned i = 0; i < MACHINE_DISKS; i++) {
        if (m->disk[i] == NULL || *m->disk[i] == '\0') continue;
        snprintf(rest, sizeof(rest), "if=ide,index=%u,media=disk,format=raw",
                 ide_index[i]);
        add_drive(a, m, m->disk[i], rest);
    }
    if (m->floppy != NULL && *m->floppy != '\0') {
        add_drive(a, m, m->floppy, "if=floppy,index=0,format=raw");
    }
    if (m->cdrom != NULL && *m->cdrom != '\0') {
        add_drive(a, m, m->cdrom, "if=ide,index=2,media=cdrom");
    }
}

static void add_extra(struct args *a, const char *extra)
{
    char *copy = strdup(extra != NULL ? extra : ""), *save = NULL;

    if (copy == NULL) {
        a->status = -ENOMEM;
        return;
    }
    for (char *t = strtok_r(copy, " \t", &save); t != NULL;
         t = strtok_r(NULL, " \t", &save)) {
        add(a, t);
    }
    free(copy);
}

int machine_argv(const struct machine *m, char *argv[MACHINE_ARGS],
                 struct err *e)
{
    struct args a = { .v = argv };

    argv[0] = NULL;
    add(&a, "orrery");
    add_option(&a, "-name", m->name);
    add_option(&a, "-M", m->type);
    add_option(&a, "-m", m->memory);
    add_option(&a, "-smp", m->cpus);
    add_option(&a, "-cpu", m->cpu);
    add_option(&a, "-accel", m->accel);
    add_option(&a, "-boot", m->boot);
    add_drives(&a, m);
    add_option(&a, "-vnc", m->vnc);
    add_extra(&a, m->extra);
    if (a.status == 0) return 0;
    machine_argv_free(argv);
    return err_set(e, a.status,
                   a.status == -E2BIG ? "too many options" : "out of memory");
}

void machine_argv_free(char *argv[MACHINE_ARGS])
{
    for (unsigned i = 0; argv[i] != NULL; i++)
        free(argv[i]);
    argv[0] = NULL;
}

/* ---- start ---- */

/* In the child: new session, log file for what it prints, never returns. */
static _Noreturn void become_machine(const struct machine *m,
                                     char *argv[MACHINE_ARGS + 8])
{
    char log[PATH_MAX + 8];
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC), out;

    snprintf(log, sizeof(log), "%s/log", m->dir);
    out = open(log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (null >= 0) dup2(null, 0);
    if (out >= 0) {
        dup2(out, 1);
        dup2(out, 2);
    }
    setsid();
    if (chdir(m->dir) < 0) _exit(126);
    execv("/proc/self/exe", argv);
    _exit(127);
}

/* First line the process left in its log, without "orrery: ". */
static void log_line(const struct machine *m, struct err *e)
{
    char path[PATH_MAX + 8], line[300] = "";
    FILE *f;

    snprintf(path, sizeof(path), "%s/log", m->dir);
    f = fopen(path, "re");
    if (f != NULL) {
        if (fgets(line, sizeof(line), f) == NULL) line[0] = '\0';
        fclose(f);
    }
    line[strcspn(line, "\n")] = '\0';
    for (char *p = line; *p != '\0'; p++) {
        if ((unsigned char)*p < 32 || *p == 127) *p = '?';
    }
    err_set(e, -EIO, "%s",
            strncmp(line, "orrery: ", 8) == 0 ? line + 8
            : *line != '\0'                   ? line
                                              : "the machine ended at once");
}

bool machine_is_running(const char *name)
{
    char path[PATH_MAX];
    struct control_client *c;

    if (machine_socket(name, path, sizeof(path), NULL) < 0) return false;
    if (control_connect(path, &c, NULL) < 0) return false;
    control_disconnect(c);
    return true;
}

static int wait_until_up(const struct machine *m, pid_t pid, struct err *e)
{
    for (unsigned ms = 0; ms < START_TIMEOUT_MS; ms += STEP_MS) {
        int status;

        if (machine_is_running(m->name)) return 0;
        if (waitpid(pid, &status, WNOHANG) == pid) {
            log_line(m, e);
            return -EIO;
        }
        poll(NULL, 0, STEP_MS);
    }
    return err_set(e, -ETIMEDOUT, "%s did not start within %d s (see %s/log)",
                   m->name, START_TIMEOUT_MS / 1000, m->dir);
}

int machine_start(const struct machine *m, bool is_paused, struct err *e)
{
    char *argv[MACHINE_ARGS + 8], sock[PATH_MAX];
    unsigned n = 0;
    pid_t pid;
    int rc;

    if (*m->problem != '\0') return err_set(e, -EINVAL, "%s", m->problem);
    if (machine_is_running(m->name)) {
        return err_set(e, -EALREADY, "%s is running already", m->name);
    }
    rc = machine_check(m, e);
    if (rc == 0) rc = machine_socket(m->name, sock, sizeof(sock), e);
    if (rc == 0) rc = machine_argv(m, argv, e);
    if (rc < 0) return rc;
    while (argv[n] != NULL)
        n++;
    argv[n] = "-display";
    argv[n + 1] = "none";
    argv[n + 2] = "-control";
    argv[n + 3] = sock;
    argv[n + 4] = is_paused ? "-S" : NULL;
    argv[n + 5] = NULL;
    pid = fork();
    if (pid == 0) become_machine(m, argv);
    argv[n] = NULL;
    machine_argv_free(argv);
    if (pid < 0) return err_set(e, -errno, "fork: %s", strerror(errno));
    return wait_until_up(m, pid, e);
}

/* ---- monitor and stop ---- */

int machine_monitor(const char *name, const char *line, char **reply,
                    struct err *e)
{
    char path[PATH_MAX];
    struct control_client *c;
    int rc = machine_socket(name, path, sizeof(path), e);

    if (rc == 0) rc = control_connect(path, &c, e);
    if (rc < 0) return rc;
    rc = control_run(c, line);
    if (rc == 0) rc = control_wait(c, CONTROL_NEW_REPLY, STOP_TIMEOUT_MS);
    if (rc > 0 && reply != NULL) *reply = strdup(control_reply(c));
    control_disconnect(c);
    if (rc <= 0) {
        return err_set(e, rc < 0 ? rc : -ETIMEDOUT, "%s does not answer", name);
    }
    return 0;
}

int machine_stop(const char *name, struct err *e)
{
    char path[PATH_MAX];
    struct control_client *c;
    int rc = machine_socket(name, path, sizeof(path), e);

    if (rc == 0) rc = control_connect(path, &c, e);
    if (rc < 0) return rc;
    rc = control_run(c, "quit");
    /* The connection ends with the process. */
    while (rc >= 0) {
        rc = control_wait(c, CONTROL_NEW_STATE, STOP_TIMEOUT_MS);
        if (rc == 0) break;
    }
    control_disconnect(c);
    if (rc == -EPIPE) {
        for (unsigned ms = 0; ms < STOP_TIMEOUT_MS; ms += STEP_MS) {
            if (!machine_is_running(name)) return 0;
            poll(NULL, 0, STEP_MS);
        }
    }
    return err_set(e, -ETIMEDOUT, "%s does not stop", name);
}
