/* SPDX-License-Identifier: GPL-2.0-or-later */
/* File browser: folders first, then files with size and, for an ISO image,
 * its volume name (ECMA-119 8.4.7, primary volume descriptor). */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/size.h"
#include "ui/manager/screen.h"

enum {
    MAX_ENTRIES = 4000,
    PVD_AT = 16 * 2048,
    PVD_LABEL = 40,
    PVD_LABEL_BYTES = 32
};

struct entry {
    char name[256];
    char line[400];
    bool is_dir;
};

/* Volume name of an ISO image, "" if it is none. */
static void iso_label(const char *path, char label[PVD_LABEL_BYTES + 1])
{
    unsigned char d[PVD_LABEL + PVD_LABEL_BYTES];
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC), n = 0;

    label[0] = '\0';
    if (fd < 0) return;
    if (pread(fd, d, sizeof(d), PVD_AT) == (ssize_t)sizeof(d) &&
        memcmp(d, "\1CD001", 6) == 0) {
        for (int i = 0; i < PVD_LABEL_BYTES; i++) {
            unsigned char c = d[PVD_LABEL + i];

            label[i] = c >= 32 && c < 127 ? (char)c : '?';
            if (c != ' ') n = i + 1;
        }
        label[n] = '\0';
    }
    close(fd);
}

static void describe(const char *dir, struct entry *en)
{
    char path[PATH_MAX + 300], size[32], label[PVD_LABEL_BYTES + 1];
    struct stat st;

    snprintf(path, sizeof(path), "%s/%s", dir, en->name);
    if (stat(path, &st) < 0) {
        snprintf(en->line, sizeof(en->line), "%s  (%s)", en->name,
                 strerror(errno));
        return;
    }
    en->is_dir = S_ISDIR(st.st_mode);
    if (en->is_dir) {
        snprintf(en->line, sizeof(en->line), "%s/", en->name);
        return;
    }
    iso_label(path, label);
    snprintf(en->line, sizeof(en->line), "%-34s %9s  %s%s%s", en->name,
             size_text((uint64_t)st.st_size, size, sizeof(size)),
             label[0] ? "\"" : "", label, label[0] ? "\"" : "");
}

static int by_kind_and_name(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;

    if (x->is_dir != y->is_dir) return x->is_dir ? -1 : 1;
    return strcmp(x->name, y->name);
}

static int list_folder(const char *dir, struct entry **out)
{
    struct entry *e = calloc(MAX_ENTRIES, sizeof(*e));
    DIR *d = opendir(dir);
    const struct dirent *de;
    int n = 0;

    if (e == NULL || d == NULL) {
        free(e);
        if (d != NULL) closedir(d);
        return -1;
    }
    while (n < MAX_ENTRIES && (de = readdir(d)) != NULL) {
        if (de->d_name[0] == '.' && strcmp(de->d_name, "..") != 0) continue;
        snprintf(e[n].name, sizeof(e[n].name), "%s", de->d_name);
        describe(dir, &e[n++]);
    }
    closedir(d);
    qsort(e, (size_t)n, sizeof(*e), by_kind_and_name);
    *out = e;
    return n;
}

/* Folder to begin with: that of path, else the current one. */
static void start_folder(const char *path, char dir[PATH_MAX])
{
    char copy[PATH_MAX], *slash;

    snprintf(copy, sizeof(copy), "%s", *path == '/' ? path : "");
    slash = strrchr(copy, '/');
    if (slash != NULL) *slash = '\0';
    if (copy[0] == '\0' || realpath(copy, dir) == NULL) {
        if (getcwd(dir, PATH_MAX) == NULL) strcpy(dir, "/");
    }
}

/* 1 a file was picked, 0 another folder, -1 left. */
static int pick(const char *title, char dir[PATH_MAX], char *path, size_t cap)
{
    struct entry *en;
    const char **line;
    char head[PATH_MAX + 64], next[PATH_MAX + 300];
    int n = list_folder(dir, &en), at, rc = -1;

    if (n < 0) {
        dialog_message(title, "This folder can not be read.");
        strcpy(dir, "/");
        return 0;
    }
    line = calloc((size_t)n + 1, sizeof(*line));
    for (int i = 0; line != NULL && i < n; i++)
        line[i] = en[i].line;
    snprintf(head, sizeof(head), "%s: %s", title, dir);
    at = line != NULL ? dialog_choose(head, line, n, 0) : -1;
    if (at >= 0) {
        snprintf(next, sizeof(next), "%s/%s", strcmp(dir, "/") ? dir : "",
                 en[at].name);
        if (en[at].is_dir) {
            rc = 0;
            if (realpath(next, dir) == NULL) strcpy(dir, "/");
        } else if (strlen(next) < cap) {
            rc = 1;
            strcpy(path, next);
        }
    }
    free(line);
    free(en);
    return rc;
}

bool dialog_browse(const char *title, char *path, size_t cap)
{
    char dir[PATH_MAX];
    int rc;

    start_folder(path, dir);
    do {
        rc = pick(title, dir, path, cap);
    } while (rc == 0);
    return rc > 0;
}
