/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Taking in a machine that was exported to one file.
 *
 * The archive comes from anywhere: names in it are checked against the few
 * there can be, nothing in it is run, and what of its text gets into the script
 * is quoted.  Everything is made in a folder with a temporary name.
 */
#include "ui/import.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/err.h"
#include "monitor/tar.h"

enum { MAX_MEMBERS = 40, MAX_MACHINE = 2 << 20, STEP_BYTES = 16 << 20 };

struct import {
    const char *file;
    char *dir, *part; /* its name, and the one until it is whole */
    int fd;
    uint64_t total, done;
    char *machine; /* that member's text */
    bool has_state;
    char member[MAX_MEMBERS][TAR_MAX_NAME + 1];
    unsigned members;
};

/* ------------------------------------------------------------- members */

/* A plain name of one part; no hidden file. */
static bool is_name(const char *name)
{
    for (const char *p = name; *p != '\0'; p++) {
        if (!isalnum((unsigned char)*p) && strchr("-_.#+", *p) == NULL)
            return false;
    }
    return *name != '\0' && *name != '.';
}

static bool is_disk(const char *name)
{
    size_t n = strlen(name);

    return is_name(name) && n > 6 && strcmp(name + n - 6, ".qcow2") == 0;
}

static char *path_in(const char *dir, const char *name, struct err *e)
{
    char *path;

    if (asprintf(&path, "%s/%s", dir, name) >= 0) return path;
    err_set(e, -ENOMEM, "out of memory");
    return NULL;
}

static void show_progress(const struct import *im)
{
    if (!isatty(STDERR_FILENO) || im->total == 0) return;
    fprintf(stderr, "\r    (%5.2f/100%%)%s",
            (double)im->done * 100 / (double)im->total,
            im->done == im->total ? "\n" : "");
}

static bool was_interrupted(void)
{
    sigset_t pending;

    sigpending(&pending);
    return sigismember(&pending, SIGINT) || sigismember(&pending, SIGTERM) ||
           sigismember(&pending, SIGHUP);
}

static int copy_member(struct import *im, const struct tar_member *m, int to)
{
    off_t at = m->at;
    uint64_t left = m->bytes;

    while (left > 0) {
        size_t step = left < STEP_BYTES ? (size_t)left : STEP_BYTES;
        ssize_t n = sendfile(to, im->fd, &at, step);

        if (was_interrupted()) return -EINTR;
        if (n < 0 && errno != EINTR) return -errno;
        if (n == 0) return -EIO;
        if (n > 0) {
            left -= (uint64_t)n;
            im->done += (uint64_t)n;
        }
        show_progress(im);
    }
    return fsync(to) < 0 ? -errno : 0;
}

static int take_file(struct import *im, const struct tar_member *m,
                     struct err *e)
{
    char *path = path_in(im->part, m->name, e);
    int fd, rc;

    if (path == NULL) return -ENOMEM;
    fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    rc = fd < 0 ? -errno : copy_member(im, m, fd);
    if (fd >= 0 && close(fd) < 0 && rc == 0) rc = -errno;
    if (rc == -EINTR)
        err_set(e, rc, "interrupted");
    else if (rc < 0)
        err_set(e, rc, "%s: %s", path, strerror(-rc));
    free(path);
    return rc;
}

static int take_machine(struct import *im, const struct tar_member *m,
                        struct err *e)
{
    if (m->bytes > MAX_MACHINE || im->machine != NULL)
        return err_set(e, -EINVAL, "its description is too long, or twice");
    im->machine = calloc(1, m->bytes + 1);
    if (im->machine == NULL) return err_set(e, -ENOMEM, "out of memory");
    if (pread(im->fd, im->machine, m->bytes, m->at) != (ssize_t)m->bytes)
        return err_set(e, -EIO, "its description cannot be read");
    if (strncmp(im->machine, "export=1\n", 9) != 0)
        return err_set(e, -EINVAL, "it was exported by another version");
    return 0;
}

static int take_member(struct import *im, const struct tar_member *m,
                       struct err *e)
{
    if (strcmp(m->name, "machine") == 0) return take_machine(im, m, e);
    if (im->machine == NULL)
        return err_set(e, -EINVAL, "it does not begin with a description");
    if (im->members == MAX_MEMBERS)
        return err_set(e, -E2BIG, "there are too many files in it");
    if (strcmp(m->name, "state") == 0)
        im->has_state = true;
    else if (!is_disk(m->name))
        return err_set(e, -EINVAL, "there is something else in it");
    strcpy(im->member[im->members++], m->name);
    return take_file(im, m, e);
}

static int take_all(struct import *im, struct err *e)
{
    struct tar_member m = { .bytes = 0 };
    int rc;

    while ((rc = tar_next(im->fd, &m, e)) == 1) {
        rc = take_member(im, &m, e);
        if (rc < 0) break;
    }
    if (rc == 0 && !im->has_state)
        rc = err_set(e, -ENODATA, "there is no machine's state in it");
    if (rc < 0 && rc != -EINTR) err_prefix(e, "%s", im->file);
    return rc;
}

/* -------------------------------------------------------------- script */

/* Octets of text that are this path, in which -drive has commas doubled; 0:
 * it is another one. */
static size_t path_length(const char *text, const char *path, size_t bytes)
{
    const char *at = text;

    for (size_t i = 0; i < bytes; i++) {
        if (*at++ != path[i]) return 0;
        if (path[i] == ',' && *at == ',') at++;
    }
    return *at == '\0' || *at == ',' ? (size_t)(at - text) : 0;
}

/* One of the lines "disk=ID MEMBER PATH" whose path is at text: the member,
 * and the path's length there. */
static const char *disk_at(const struct import *im, const char *text,
                           char *member, size_t *len)
{
    const char *line = im->machine;

    while ((line = strstr(line, "\ndisk=")) != NULL) {
        int path = 0;

        line += 6;
        if (sscanf(line, "%*s %100[^ \n] %n", member, &path) != 1 || path == 0)
            continue;
        *len = path_length(text, line + path, strcspn(line + path, "\n"));
        if (*len > 0 && is_disk(member)) return member;
    }
    return NULL;
}

/* Quoted for the shell; images in it are those beside the script. */
static void put_argument(const struct import *im, const char *text, FILE *out)
{
    bool is_start = true, has_disk = false;
    char member[TAR_MAX_NAME + 1];
    size_t len;

    fputs(" \\\n    '", out);
    while (*text != '\0') {
        if (is_start && disk_at(im, text, member, &len) != NULL) {
            fprintf(out, "'\"$here\"'/%s", member);
            text += len;
            has_disk = true;
        } else if (is_start && has_disk && strncmp(text, "format=", 7) == 0) {
            fputs("format=qcow2", out);
            text += strcspn(text, ",");
        } else {
            is_start = *text == '=' || *text == ',';
            if (*text == '\'')
                fputs("'\\''", out);
            else
                fputc(*text, out);
            text++;
        }
    }
    fputc('\'', out);
}

/* Options of the program there that have no place here: 1 with their value,
 * 0 alone, -1 keep. */
static int is_local(const char *option)
{
    static const char *const with_value[] = { "incoming", "loadvm", "pidfile",
                                              "control" };

    if (*option != '-') return strcmp(option, "run") == 0 ? 0 : -1;
    option += option[1] == '-' ? 2 : 1;
    for (size_t i = 0; i < sizeof(with_value) / sizeof(with_value[0]); i++) {
        if (strcmp(option, with_value[i]) == 0) return 1;
    }
    return strcmp(option, "daemonize") == 0 ? 0 : -1;
}

/* What follows the next "arg=" that begins a line; NULL: none does. */
static char *argument(char *text)
{
    char *at = strstr(text, "\narg=");

    return at == NULL ? NULL : at + 5;
}

static void put_arguments(const struct import *im, FILE *out)
{
    char *copy = strdup(im->machine), *at = copy, *a;
    bool skips = false;

    while (at != NULL && (a = argument(at)) != NULL) {
        int local;

        at = a + strcspn(a, "\n");
        if (*at == '\0') break;
        *at = '\0';
        local = skips ? 0 : is_local(a);
        skips = local == 1;
        if (local < 0) put_argument(im, a, out);
        *at = '\n';
    }
    free(copy);
}

static int make_script(struct import *im, struct err *e)
{
    char *path = path_in(im->part, "start", e);
    FILE *out = path == NULL ? NULL : fopen(path, "wxe");
    int rc = 0;

    if (path == NULL) return -ENOMEM;
    if (out != NULL) {
        fputs("#!/bin/sh\n"
              "# The first start goes on where the snapshot was taken; from "
              "then on the disks\n# are ahead of the state, and a start boots "
              "them.\n"
              "here=$(cd \"$(dirname \"$0\")\" && pwd) || exit 1\n"
              "if [ -f \"$here/state\" ]; then\n"
              "    mv \"$here/state\" \"$here/state.used\" || exit 1\n"
              "    set -- -incoming \"file:$here/state.used\" \"$@\"\nfi\n"
              "exec \"${ORRERY:-orrery}\"",
              out);
        put_arguments(im, out);
        fputs(" \"$@\"\n", out);
        fchmod(fileno(out), 0700);
        if (ferror(out)) rc = -EIO;
    }
    if (out == NULL || fclose(out) != 0) rc = -errno;
    if (rc < 0) err_set(e, rc, "%s: %s", path, strerror(-rc));
    free(path);
    return rc;
}

/* ----------------------------------------------------------------- all */

static void remove_part(struct import *im)
{
    struct err ignored = ERR_INIT;
    char *path;

    for (unsigned i = 0; i <= im->members; i++) {
        path = path_in(im->part, i < im->members ? im->member[i] : "start",
                       &ignored);
        if (path != NULL) unlink(path);
        free(path);
    }
    rmdir(im->part);
}

static int import(struct import *im, struct err *e)
{
    struct stat st;
    int rc;

    im->fd = open(im->file, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (im->fd < 0 || fstat(im->fd, &st) < 0)
        return err_set(e, -errno, "%s: %s", im->file, strerror(errno));
    if (!S_ISREG(st.st_mode))
        return err_set(e, -EINVAL, "%s: not a regular file", im->file);
    im->total = (uint64_t)st.st_size;
    if (access(im->dir, F_OK) == 0)
        return err_set(e, -EEXIST, "%s: %s", im->dir, strerror(EEXIST));
    if (asprintf(&im->part, "%s.XXXXXX", im->dir) < 0)
        return err_set(e, -ENOMEM, "out of memory");
    if (mkdtemp(im->part) == NULL)
        return err_set(e, -errno, "%s: %s", im->dir, strerror(errno));
    rc = take_all(im, e);
    if (rc == 0) rc = make_script(im, e);
    im->done = im->total;
    if (rc == 0) show_progress(im);
    if (rc == 0 && rename(im->part, im->dir) < 0)
        rc = err_set(e, -errno, "%s: %s", im->dir, strerror(errno));
    if (rc < 0) remove_part(im);
    return rc;
}

/* "a/b.tar" becomes "b". */
static char *default_dir(const char *file)
{
    const char *slash = strrchr(file, '/'), *dot;
    const char *name = slash != NULL ? slash + 1 : file;

    dot = strrchr(name, '.');
    return strndup(name, dot != NULL && dot > name ? (size_t)(dot - name)
                                                   : strlen(name));
}

int import_main(int argc, char **argv)
{
    struct import im = { .fd = -1 };
    struct err e = ERR_INIT;
    sigset_t set;
    int rc;

    if (argc < 2 || argc > 3 || argv[1][0] == '-') {
        fprintf(argc == 2 ? stdout : stderr,
                "usage: orrery import FILE [DIR]\n"
                "Make a folder of a machine that snapshot_export wrote; "
                "DIR/start goes on with it.\n");
        return argc == 2 && argv[1][0] == '-' ? 0 : 1;
    }
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    sigprocmask(SIG_BLOCK, &set, NULL);
    im.file = argv[1];
    im.dir = argc == 3 ? strdup(argv[2]) : default_dir(argv[1]);
    rc = im.dir == NULL ? err_set(&e, -ENOMEM, "out of memory")
                        : import(&im, &e);
    if (rc < 0)
        fprintf(stderr, "orrery: import: %s\n", e.text);
    else
        printf("%s/start goes on with it\n", im.dir);
    if (im.fd >= 0) close(im.fd);
    free(im.dir);
    free(im.part);
    free(im.machine);
    return rc < 0 ? 1 : 0;
}
