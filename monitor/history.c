/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "monitor/history.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "monitor/readline.h"

enum { MAX_BYTES = 64 << 10, MAX_PATH = 1024, MAX_LINE = 4096 };

/* Directory of the file, made if it is not there; false if it cannot be. */
static bool state_dir(char *out, size_t cap)
{
    const char *xdg = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    int n;

    if (xdg != NULL && xdg[0] == '/') {
        n = snprintf(out, cap, "%s/orrery", xdg);
    } else if (home != NULL && home[0] == '/') {
        n = snprintf(out, cap, "%s/.local/state/orrery", home);
    } else {
        return false;
    }
    if (n < 0 || (size_t)n >= cap) return false;
    for (char *p = out + 1; *p != '\0'; p++) {
        if (*p != '/') continue;
        *p = '\0';
        mkdir(out, 0700);
        *p = '/';
    }
    mkdir(out, 0700);
    return access(out, W_OK | X_OK) == 0;
}

static bool file_path(char *out, size_t cap)
{
    char dir[MAX_PATH];
    int n;

    if (!state_dir(dir, sizeof(dir))) return false;
    n = snprintf(out, cap, "%s/monitor_history", dir);
    return n > 0 && (size_t)n < cap;
}

/* Regular file of ours; -1. */
static int open_file(const char *path, int flags)
{
    struct stat st;
    int fd = open(path, flags | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);

    if (fd < 0) return -1;
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) ||
        ((st.st_mode & 077) && fchmod(fd, 0600) < 0)) {
        close(fd);
        return -1;
    }
    return fd;
}

/* The newest half alone, through a temporary file. */
static void shorten(const char *path, const char *text)
{
    char temp[MAX_PATH + 32];
    const char *from = strchr(text + strlen(text) / 2, '\n');
    size_t n;
    int fd;

    if (from == NULL) return;
    n = strlen(++from);
    snprintf(temp, sizeof(temp), "%s.%d", path, (int)getpid());
    fd = open_file(temp, O_WRONLY | O_CREAT | O_EXCL);
    if (fd < 0) return;
    if (write(fd, from, n) != (ssize_t)n || rename(temp, path) < 0)
        unlink(temp);
    close(fd);
}

void history_load(struct readline *r)
{
    char path[MAX_PATH], *text, *line, *rest;
    ssize_t n;
    int fd;

    if (!file_path(path, sizeof(path))) return;
    fd = open_file(path, O_RDONLY);
    if (fd < 0) return;
    text = malloc(2 * MAX_BYTES + 1);
    n = text != NULL ? read(fd, text, 2 * MAX_BYTES) : -1;
    close(fd);
    if (n > 0) {
        text[n] = '\0';
        if (n > MAX_BYTES) shorten(path, text);
        for (line = strtok_r(text, "\n", &rest); line != NULL;
             line = strtok_r(NULL, "\n", &rest))
            readline_remember(r, line);
    }
    free(text);
}

void history_add(const char *line)
{
    char path[MAX_PATH], whole[MAX_LINE + 2];
    int n, fd;

    if (line[0] == '\0' || strstr(line, "passw") != NULL) return;
    n = snprintf(whole, sizeof(whole), "%s\n", line);
    if (n < 0 || (size_t)n >= sizeof(whole) || !file_path(path, sizeof(path)))
        return;
    fd = open_file(path, O_WRONLY | O_CREAT | O_APPEND);
    if (fd < 0) return;
    if (write(fd, whole, (size_t)n) != n) { /* a full disk loses history */
    }
    close(fd);
}
