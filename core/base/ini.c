/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/base/ini.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct line {
    char *text; /* comment or blank line as written; NULL: a setting */
    char *key, *value;
};

struct ini {
    struct line *line;
    unsigned count, cap;
};

struct ini *ini_new(void)
{
    return calloc(1, sizeof(struct ini));
}

static void clear(struct line *l)
{
    free(l->text);
    free(l->key);
    free(l->value);
}

void ini_free(struct ini *d)
{
    if (d == NULL) return;
    for (unsigned i = 0; i < d->count; i++)
        clear(&d->line[i]);
    free(d->line);
    free(d);
}

static struct line *append(struct ini *d)
{
    if (d->count == d->cap) {
        unsigned cap = d->cap * 2 + 16;
        struct line *p = realloc(d->line, cap * sizeof(*p));

        if (p == NULL) return NULL;
        d->line = p;
        d->cap = cap;
    }
    d->line[d->count] = (struct line){ 0 };
    return &d->line[d->count++];
}

static char *trimmed(char *s)
{
    char *end;

    while (isspace((unsigned char)*s))
        s++;
    end = s + strlen(s);
    while (end > s && isspace((unsigned char)end[-1]))
        end--;
    *end = '\0';
    return s;
}

/* 0, -EINVAL for rubbish, -ENOMEM. */
static int parse_line(struct ini *d, char *text)
{
    char *eq, *start = text;
    struct line *l;

    while (isspace((unsigned char)*start))
        start++;
    l = append(d);
    if (l == NULL) return -ENOMEM;
    if (*start == '\0' || *start == '#') {
        l->text = strdup(text);
        return l->text != NULL ? 0 : -ENOMEM;
    }
    eq = strchr(start, '=');
    if (eq == NULL || eq == start) {
        d->count--;
        return -EINVAL;
    }
    *eq = '\0';
    l->key = strdup(trimmed(start));
    l->value = strdup(trimmed(eq + 1));
    return l->key != NULL && l->value != NULL ? 0 : -ENOMEM;
}

static int open_checked(const char *path, struct err *e)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    if (fd < 0) return err_set(e, -errno, "%s: %s", path, strerror(errno));
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
        st.st_size <= INI_MAX_BYTES) {
        return fd;
    }
    close(fd);
    return err_set(e, -EFBIG, "%s: not a settings file of at most %d KiB", path,
                   INI_MAX_BYTES / 1024);
}

int ini_read(const char *path, struct ini **out, struct err *e)
{
    int fd = open_checked(path, e), rc = 0;
    struct ini *d;
    char *text = NULL;
    size_t cap = 0;
    ssize_t n;
    FILE *f;

    if (fd < 0) return fd;
    f = fdopen(fd, "r");
    d = ini_new();
    if (f == NULL || d == NULL) {
        rc = err_set(e, -ENOMEM, "out of memory");
        goto out;
    }
    while (rc == 0 && (n = getline(&text, &cap, f)) >= 0) {
        text[strcspn(text, "\r\n")] = '\0';
        rc = strlen(text) + 2 < (size_t)n ? -EINVAL : parse_line(d, text);
        if (d->count > INI_MAX_LINES) rc = -EINVAL;
        if (rc < 0) {
            err_set(e, rc, "%s:%u: expected \"key = value\"", path,
                    d->count + 1);
        }
    }
out:
    free(text);
    if (f != NULL) {
        fclose(f);
    } else {
        close(fd);
    }
    if (rc < 0) {
        ini_free(d);
        return rc;
    }
    *out = d;
    return 0;
}

static int write_lines(const struct ini *d, FILE *f)
{
    for (unsigned i = 0; i < d->count; i++) {
        const struct line *l = &d->line[i];
        int n;

        if (l->text != NULL) {
            n = fprintf(f, "%s\n", l->text);
        } else {
            n = fprintf(f, "%s = %s\n", l->key, l->value);
        }
        if (n < 0) return -errno;
    }
    if (fflush(f) != 0) return -errno;
    return fsync(fileno(f)) < 0 ? -errno : 0;
}

static void sync_folder(const char *path)
{
    char copy[PATH_MAX];
    int fd;

    snprintf(copy, sizeof(copy), "%s", path);
    fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return;
    fsync(fd);
    close(fd);
}

int ini_write(const struct ini *d, const char *path, struct err *e)
{
    char tmp[PATH_MAX];
    FILE *f;
    int rc;

    if ((size_t)snprintf(tmp, sizeof(tmp), "%s.new", path) >= sizeof(tmp)) {
        return err_set(e, -ENAMETOOLONG, "%s: name too long", path);
    }
    f = fopen(tmp, "we");
    if (f == NULL) return err_set(e, -errno, "%s: %s", tmp, strerror(errno));
    rc = write_lines(d, f);
    if (fclose(f) != 0 && rc == 0) rc = -errno;
    if (rc == 0 && rename(tmp, path) < 0) rc = -errno;
    if (rc < 0) {
        unlink(tmp);
        return err_set(e, rc, "%s: %s", path, strerror(-rc));
    }
    sync_folder(path);
    return 0;
}

static struct line *find(const struct ini *d, const char *key)
{
    for (unsigned i = d->count; i-- > 0;) {
        if (d->line[i].key != NULL && strcmp(d->line[i].key, key) == 0) {
            return &d->line[i];
        }
    }
    return NULL;
}

const char *ini_get(const struct ini *d, const char *key)
{
    const struct line *l = find(d, key);

    return l != NULL ? l->value : NULL;
}

int ini_set(struct ini *d, const char *key, const char *value)
{
    struct line *l = find(d, key);
    char *copy;

    if (value == NULL || *value == '\0') {
        if (l == NULL) return 0;
        clear(l);
        memmove(l, l + 1, (size_t)(d->line + d->count - l - 1) * sizeof(*l));
        d->count--;
        return 0;
    }
    for (const char *p = value; *p != '\0'; p++) {
        if (iscntrl((unsigned char)*p)) return -EINVAL;
    }
    copy = strdup(value);
    if (copy == NULL) return -ENOMEM;
    if (l == NULL) {
        l = append(d);
        if (l != NULL) l->key = strdup(key);
        if (l == NULL || l->key == NULL) {
            free(copy);
            return -ENOMEM;
        }
    }
    free(l->value);
    l->value = copy;
    return 0;
}

const char *ini_at(const struct ini *d, unsigned i, const char **value,
                   unsigned *line)
{
    for (unsigned k = 0; k < d->count; k++) {
        if (d->line[k].key == NULL || i-- > 0) continue;
        *value = d->line[k].value;
        *line = k + 1;
        return d->line[k].key;
    }
    return NULL;
}
