/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * New images are made under a temporary name in the same folder and get their
 * name when they are complete.  A file that is replaced stays locked
 * meanwhile.  Block devices, files with several names and files in folders
 * that cannot be written to are written in place.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "block/img/img.h"

/* Lock the file that will be replaced, as a writer. */
static int lock_old(struct img_target *t)
{
    struct err e = ERR_INIT;

    t->lock_fd = open(t->file, O_RDWR | O_CLOEXEC | O_NONBLOCK);
    if (t->lock_fd < 0) {
        img_error("%s: Could not create '%s': %s", t->file, t->file,
                  strerror(errno));
        return -1;
    }
    if (image_lock(t->lock_fd, t->file, true, &e) == 0) return 0;
    img_error("%s", e.text);
    return -1;
}

static int make_temp(struct img_target *t, mode_t mode)
{
    const char *slash = strrchr(t->file, '/');
    int folder = slash != NULL ? (int)(slash - t->file) + 1 : 0;
    char *name;
    int fd = -1;

    for (unsigned i = 0; i < 100 && fd < 0; i++) {
        if (asprintf(&name, "%.*s.%.200s.%d-%u.part", folder, t->file,
                     t->file + folder, (int)getpid(), i) < 0)
            return -ENOMEM;
        fd = open(name, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644);
        if (fd >= 0) break;
        free(name);
        if (errno != EEXIST) return -errno;
    }
    if (fd < 0) return -EEXIST;
    if (mode != 0 && fchmod(fd, mode & 07777) < 0) errno = 0; /* as it is */
    close(fd);
    free(t->temp);
    t->temp = name;
    t->is_temp = true;
    return 0;
}

int img_target_begin(struct img_target *t, const char *file)
{
    struct stat st;
    bool exists;
    int rc;

    *t = (struct img_target){ .lock_fd = -1 };
    if (strncmp(file, "file:", 5) == 0) file += 5;
    t->file = realpath(file, NULL);
    exists = t->file != NULL;
    if (!exists) t->file = strdup(file);
    if (exists && file[0] != '/') { /* the name as the user wrote it */
        if (lstat(file, &st) == 0 && !S_ISLNK(st.st_mode)) {
            free(t->file);
            t->file = strdup(file);
        }
    }
    t->temp = t->file != NULL ? strdup(t->file) : NULL;
    if (t->temp == NULL) {
        img_error("out of memory");
        return -1;
    }
    exists = exists && stat(t->file, &st) == 0;
    if (exists && (!S_ISREG(st.st_mode) || st.st_nlink > 1)) return 0;
    if (exists && lock_old(t) < 0) return -1;
    rc = make_temp(t, exists ? st.st_mode : 0);
    if (rc == 0) return 0;
    if (exists) { /* write it in place, and not while we lock it */
        close(t->lock_fd);
        t->lock_fd = -1;
        return 0;
    }
    img_error("%s: Could not create '%s': %s", file, file, strerror(-rc));
    return -1;
}

static void target_free(struct img_target *t)
{
    if (t->lock_fd >= 0) close(t->lock_fd);
    free(t->file);
    free(t->temp);
    *t = (struct img_target){ .lock_fd = -1 };
}

int img_target_commit(struct img_target *t)
{
    int rc = 0;

    if (t->is_temp && rename(t->temp, t->file) < 0) {
        img_error("%s: could not get its name: %s", t->file, strerror(errno));
        unlink(t->temp);
        rc = -1;
    }
    target_free(t);
    return rc;
}

void img_target_abort(struct img_target *t)
{
    if (t->is_temp) unlink(t->temp);
    target_free(t);
}

const char *img_target_text(const struct img_target *t, const char *text,
                            char *buf, size_t cap)
{
    const char *at = t->is_temp ? strstr(text, t->temp) : NULL;

    if (at == NULL) {
        snprintf(buf, cap, "%s", text);
    } else {
        snprintf(buf, cap, "%.*s%s%s", (int)(at - text), text, t->file,
                 at + strlen(t->temp));
    }
    return buf;
}
