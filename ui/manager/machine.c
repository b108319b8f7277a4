/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Folders, machine.conf and the table of its keys. */
#include "ui/manager/machine.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "core/base/ini.h"
#include "core/base/size.h"
#include "core/cpu/cpuid.h"
#include "core/vm/config.h"

/* ---- checks ---- */

static int check_type(const struct machine *m, const char *v, struct err *e)
{
    (void)m;
    if (strcmp(v, "pc") == 0) return 0;
    return err_set(e, -EINVAL, "there is no machine type %s (pc)", v);
}

static int check_memory(const struct machine *m, const char *v, struct err *e)
{
    uint64_t bytes;

    (void)m;
    if (size_parse(v, 1 << 20, &bytes) < 0 || bytes < 1 << 20 ||
        bytes > 1ull << 40) {
        return err_set(e, -EINVAL, "memory %s: from 1M to 1024G, e.g. 512M", v);
    }
    return 0;
}

static int check_cpus(const struct machine *m, const char *v, struct err *e)
{
    uint64_t n;

    (void)m;
    if (uint_parse(v, &n) < 0 || n < 1 || n > VM_MAX_CPUS) {
        return err_set(e, -EINVAL, "CPUs %s: from 1 to %d", v, VM_MAX_CPUS);
    }
    return 0;
}

static int check_cpu(const struct machine *m, const char *v, struct err *e)
{
    struct cpu_model *model = malloc(sizeof(*model));
    int rc = model == NULL ? -ENOMEM : cpu_model_build(model, v, 1, e);

    (void)m;
    free(model);
    return rc;
}

static int check_accel(const struct machine *m, const char *v, struct err *e)
{
    size_t n = strcspn(v, ",");

    (void)m;
    if ((n == 4 && memcmp(v, "auto", 4) == 0) ||
        (n == 4 && memcmp(v, "soft", 4) == 0) ||
        (n == 3 && memcmp(v, "kvm", 3) == 0)) {
        return 0;
    }
    return err_set(e, -EINVAL, "accelerator %s: auto, soft or kvm", v);
}

static int check_boot(const struct machine *m, const char *v, struct err *e)
{
    (void)m;
    if (strspn(v, "acdn") == strlen(v) && strlen(v) <= 4) return 0;
    return err_set(e, -EINVAL,
                   "boot order %s: letters a floppy, c disk, d CD-ROM, "
                   "n network",
                   v);
}

static int check_file(const struct machine *m, const char *v, struct err *e)
{
    char path[2 * PATH_MAX];

    snprintf(path, sizeof(path), "%s%s%s", *v == '/' ? "" : m->dir,
             *v == '/' ? "" : "/", v);
    if (access(path, R_OK) == 0) return 0;
    return err_set(e, -EINVAL, "%s: %s", path, strerror(errno));
}

static int check_vnc(const struct machine *m, const char *v, struct err *e)
{
    (void)m;
    if (strchr(v, ':') != NULL) return 0;
    return err_set(e, -EINVAL,
                   "VNC %s: a display such as :1 or "
                   "127.0.0.1:1",
                   v);
}

#define KEY(k, l, f, d, h, c)                                                  \
    {                                                                          \
        .key = k, .label = l, .offset = offsetof(struct machine, f), .def = d, \
        .help = h, .check = c                                                  \
    }
/* clang-format off */
const struct machine_key machine_keys[] = {
    KEY("cdrom", "CD-ROM", cdrom, "",
        "ISO image in the CD drive; empty: no medium", check_file),
    KEY("type", "Machine", type, "pc",
        "pc: i440FX + PIIX, runs everything since DOS", check_type),
    KEY("memory", "Memory", memory, "512M",
        "1M to 1024G; a text-mode Linux wants 256M, a desktop 1G and more",
        check_memory),
    KEY("cpus", "CPUs", cpus, "1",
        "1 to 8 virtual CPUs, each a thread on this host", check_cpus),
    KEY("cpu", "CPU model", cpu, "",
        "what the guest sees, as -cpu: empty or max is all this host has",
        check_cpu),
    KEY("accel", "Accelerator", accel, "auto",
        "auto takes hardware KVM where it is fast, else the software CPU",
        check_accel),
    KEY("floppy", "Floppy", floppy, "",
        "image in drive A; empty: no medium", check_file),
    KEY("disk1", "Disk 1", disk[0], "",
        "image on the first IDE channel; names without / are in the "
        "machine's folder", check_file),
    KEY("disk2", "Disk 2", disk[1], "", "second disk", check_file),
    KEY("disk3", "Disk 3", disk[2], "", "third disk", check_file),
    KEY("disk4", "Disk 4", disk[3], "",
        "fourth disk (takes the CD drive's place)", check_file),
    KEY("boot", "Boot order", boot, "dc",
        "letters tried in order: a floppy, c disk, d CD-ROM, n network",
        check_boot),
    KEY("vnc", "VNC", vnc, "",
        "also show the screen by VNC, e.g. :1 (loopback only)", check_vnc),
    KEY("extra", "More options", extra, "",
        "further arguments as on the command line", NULL),
    KEY("notes", "Notes", notes, "", "for people", NULL),
    { .key = NULL },
};
/* clang-format on */

static char **slot(const struct machine *m, const struct machine_key *k)
{
    return (char **)(void *)((uint8_t *)(uintptr_t)m + k->offset);
}

const char *machine_value(const struct machine *m, const struct machine_key *k)
{
    const char *v = *slot(m, k);

    return v != NULL ? v : "";
}

int machine_set(struct machine *m, const struct machine_key *k,
                const char *value)
{
    char *copy = strdup(value);

    if (copy == NULL) return -ENOMEM;
    free(*slot(m, k));
    *slot(m, k) = copy;
    return 0;
}

int machine_check_name(const char *name, struct err *e)
{
    size_t n = strlen(name);

    if (n == 0) return err_set(e, -EINVAL, "the name is empty");
    if (n > MACHINE_NAME_MAX) {
        return err_set(e, -EINVAL, "the name is longer than %d characters",
                       MACHINE_NAME_MAX);
    }
    for (const char *p = name; *p != '\0'; p++) {
        if (isalnum((unsigned char)*p) || *p == '-' || *p == '_') continue;
        if (*p == '.' && p != name) continue;
        return err_set(e, -EINVAL, "name %s: letters, digits, - _ and . only",
                       name);
    }
    return 0;
}

int machine_check(const struct machine *m, struct err *e)
{
    int rc = machine_check_name(m->name, e);

    for (const struct machine_key *k = machine_keys; rc == 0 && k->key; k++) {
        const char *v = machine_value(m, k);

        if (*v != '\0' && k->check != NULL) rc = k->check(m, v, e);
    }
    return rc;
}

/* ---- folders ---- */

static int make_path(const char *path, struct err *e)
{
    char copy[PATH_MAX];

    snprintf(copy, sizeof(copy), "%s", path);
    for (char *p = copy + 1;; p++) {
        char old = *p;

        if (old != '/' && old != '\0') continue;
        *p = '\0';
        if (mkdir(copy, 0700) < 0 && errno != EEXIST) {
            return err_set(e, -errno, "%s: %s", copy, strerror(errno));
        }
        *p = old;
        if (old == '\0') return 0;
    }
}

int machine_home(char *path, size_t cap, struct err *e)
{
    const char *data = getenv("XDG_DATA_HOME"), *home = getenv("HOME");
    int n;

    if (data != NULL && *data == '/') {
        n = snprintf(path, cap, "%s/orrery", data);
    } else if (home != NULL && *home == '/') {
        n = snprintf(path, cap, "%s/.local/share/orrery", home);
    } else {
        return err_set(e, -ENOENT, "neither XDG_DATA_HOME nor HOME is set");
    }
    if ((size_t)n >= cap) return err_set(e, -ENAMETOOLONG, "%s", path);
    return make_path(path, e);
}

int machine_socket(const char *name, char *path, size_t cap, struct err *e)
{
    const char *run = getenv("XDG_RUNTIME_DIR");
    struct stat st;
    int n, rc;

    if (run != NULL && *run == '/') {
        n = snprintf(path, cap, "%s/orrery", run);
    } else {
        n = snprintf(path, cap, "/tmp/orrery-%u", (unsigned)getuid());
    }
    if ((size_t)n >= cap) return err_set(e, -ENAMETOOLONG, "%s", path);
    rc = make_path(path, e);
    if (rc < 0) return rc;
    /* In /tmp somebody else might have made it first. */
    if (lstat(path, &st) < 0 || !S_ISDIR(st.st_mode) || st.st_uid != getuid() ||
        (st.st_mode & 077) != 0) {
        return err_set(e, -EPERM,
                       "%s is not a private folder of yours: remove it", path);
    }
    n += snprintf(path + n, cap - (size_t)n, "/%s.sock", name);
    return (size_t)n < cap ? 0 : err_set(e, -ENAMETOOLONG, "%s", path);
}

/* ---- one machine ---- */

void machine_init(struct machine *m, const char *name)
{
    memset(m, 0, sizeof(*m));
    snprintf(m->name, sizeof(m->name), "%s", name);
    for (const struct machine_key *k = machine_keys; k->key; k++) {
        machine_set(m, k, k->def);
    }
}

void machine_free(struct machine *m)
{
    for (const struct machine_key *k = machine_keys; k->key; k++) {
        free(*slot(m, k));
        *slot(m, k) = NULL;
    }
}

static int set_dir(struct machine *m, struct err *e)
{
    char home[PATH_MAX];
    int rc = machine_home(home, sizeof(home), e);

    if (rc < 0) return rc;
    if ((size_t)snprintf(m->dir, sizeof(m->dir), "%s/%s", home, m->name) >=
        sizeof(m->dir)) {
        return err_set(e, -ENAMETOOLONG, "%s/%s: too long", home, m->name);
    }
    return 0;
}

static int conf_path(const struct machine *m, char *path, size_t cap)
{
    return (size_t)snprintf(path, cap, "%s/machine.conf", m->dir) < cap
               ? 0
               : -ENAMETOOLONG;
}

static int apply(struct machine *m, const struct ini *d, const char *path,
                 struct err *e)
{
    const char *key, *value;
    unsigned line;

    for (unsigned i = 0; (key = ini_at(d, i, &value, &line)) != NULL; i++) {
        const struct machine_key *k = machine_keys;

        while (k->key != NULL && strcmp(k->key, key) != 0)
            k++;
        if (k->key == NULL) {
            return err_set(e, -EINVAL, "%s:%u: unknown key \"%s\"", path, line,
                           key);
        }
        machine_set(m, k, value);
    }
    return 0;
}

int machine_load(struct machine *m, const char *name, struct err *e)
{
    struct err bad = ERR_INIT;
    char path[PATH_MAX];
    struct ini *d = NULL;
    int rc;

    machine_init(m, name);
    rc = set_dir(m, e);
    if (rc == 0) rc = conf_path(m, path, sizeof(path));
    if (rc == 0 && access(path, F_OK) < 0) {
        rc = err_set(e, -ENOENT, "there is no machine %s", name);
    }
    if (rc < 0) {
        machine_free(m);
        return rc;
    }
    if (ini_read(path, &d, &bad) == 0) apply(m, d, path, &bad);
    ini_free(d);
    snprintf(m->problem, sizeof(m->problem), "%.199s", bad.text);
    return 0;
}

int machine_save(const struct machine *m, struct err *e)
{
    char path[PATH_MAX];
    struct ini *d = NULL;
    int rc = conf_path(m, path, sizeof(path));

    if (rc < 0) return err_set(e, rc, "%s: name too long", m->dir);
    if (access(path, F_OK) == 0) {
        rc = ini_read(path, &d, e);
        if (rc < 0) return rc;
    } else {
        d = ini_new();
    }
    if (d == NULL) return err_set(e, -ENOMEM, "out of memory");
    for (const struct machine_key *k = machine_keys; k->key && rc == 0; k++) {
        const char *v = machine_value(m, k);

        rc = ini_set(d, k->key, strcmp(v, "") == 0 ? NULL : v);
        if (rc < 0) {
            err_set(e, rc, "%s: control characters are not allowed", k->label);
        }
    }
    if (rc == 0) rc = ini_write(d, path, e);
    ini_free(d);
    return rc;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct machine *)a)->name,
                  ((const struct machine *)b)->name);
}

int machine_list(struct machine **out, size_t *count, struct err *e)
{
    char home[PATH_MAX];
    struct machine *all = NULL;
    size_t n = 0;
    const struct dirent *de;
    int rc = machine_home(home, sizeof(home), e);
    DIR *dir;

    if (rc < 0) return rc;
    dir = opendir(home);
    if (dir == NULL) return err_set(e, -errno, "%s: %s", home, strerror(errno));
    while ((de = readdir(dir)) != NULL) {
        struct machine *p;

        if (machine_check_name(de->d_name, NULL) < 0) continue;
        p = realloc(all, (n + 1) * sizeof(*all));
        if (p == NULL) break;
        all = p;
        if (machine_load(&all[n], de->d_name, NULL) == 0) n++;
    }
    closedir(dir);
    if (n > 0) qsort(all, n, sizeof(*all), by_name);
    *out = all;
    *count = n;
    return 0;
}

/* ---- creating and deleting ---- */

int machine_check_size(const char *size, struct err *e)
{
    uint64_t bytes;

    if (*size == '\0') return 0;
    if (size_parse(size, 1 << 20, &bytes) == 0 && bytes >= 1 << 20 &&
        bytes <= 1ull << 46) {
        return 0;
    }
    return err_set(e, -EINVAL, "disk size %s: from 1M to 64T, e.g. 20G", size);
}

static int make_disk(struct machine *m, unsigned i, const char *size,
                     struct err *e)
{
    char name[32], path[PATH_MAX];
    uint64_t bytes = 0;
    int fd, rc = machine_check_size(size, e);

    if (rc < 0) return rc;
    size_parse(size, 1 << 20, &bytes);
    snprintf(name, sizeof(name), "disk%u.img", i + 1);
    if ((size_t)snprintf(path, sizeof(path), "%s/%s", m->dir, name) >=
        sizeof(path)) {
        return err_set(e, -ENAMETOOLONG, "%s: too long", m->dir);
    }
    fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0 || ftruncate(fd, (off_t)((bytes + 511) & ~511ull)) < 0) {
        rc = err_set(e, -errno, "%s: %s", path, strerror(errno));
    }
    if (fd >= 0) close(fd);
    if (rc == 0) {
        free(m->disk[i]);
        m->disk[i] = strdup(name);
    }
    return rc;
}

static void remove_half_made(const struct machine *m)
{
    char path[PATH_MAX];

    for (unsigned i = 0; i < MACHINE_DISKS; i++) {
        snprintf(path, sizeof(path), "%.4000s/disk%u.img", m->dir, i + 1);
        unlink(path);
    }
    if (conf_path(m, path, sizeof(path)) == 0) unlink(path);
    rmdir(m->dir);
}

int machine_create(struct machine *m, const char *const size[MACHINE_DISKS],
                   struct err *e)
{
    int rc = machine_check_name(m->name, e);

    if (rc == 0) rc = set_dir(m, e);
    if (rc == 0) rc = machine_check(m, e);
    if (rc < 0) return rc;
    if (mkdir(m->dir, 0700) < 0) {
        return err_set(e, -errno,
                       errno == EEXIST ? "there is a machine %s already"
                                       : "cannot make the folder of %s",
                       m->name);
    }
    for (unsigned i = 0; rc == 0 && i < MACHINE_DISKS; i++) {
        if (size[i] != NULL) rc = make_disk(m, i, size[i], e);
    }
    if (rc == 0) rc = machine_save(m, e);
    if (rc < 0) remove_half_made(m);
    return rc;
}

int machine_trash(const struct machine *m, char *where, size_t cap,
                  struct err *e)
{
    char trash[PATH_MAX];
    int rc = machine_home(trash, sizeof(trash) - 8, e);

    if (rc < 0) return rc;
    if (machine_is_running(m->name)) {
        return err_set(e, -EBUSY, "%s is running: stop it first", m->name);
    }
    strcat(trash, "/.trash");
    rc = make_path(trash, e);
    if (rc < 0) return rc;
    if ((size_t)snprintf(where, cap, "%s/%s@%lld", trash, m->name,
                         (long long)time(NULL)) >= cap) {
        return err_set(e, -ENAMETOOLONG, "%s: too long", trash);
    }
    if (rename(m->dir, where) < 0) {
        return err_set(e, -errno, "%s: %s", m->dir, strerror(errno));
    }
    return 0;
}

int machine_restore(const char *where, struct err *e)
{
    char home[PATH_MAX], to[PATH_MAX];
    const char *name = strrchr(where, '/'), *at = strrchr(where, '@');
    int rc = machine_home(home, sizeof(home), e);

    if (rc < 0) return rc;
    if (name == NULL || at == NULL || at < name) {
        return err_set(e, -EINVAL, "%s is not in the trash", where);
    }
    if ((size_t)snprintf(to, sizeof(to), "%s/%.*s", home, (int)(at - name - 1),
                         name + 1) >= sizeof(to)) {
        return err_set(e, -ENAMETOOLONG, "%s: too long", where);
    }
    if (access(to, F_OK) == 0) {
        return err_set(e, -EEXIST, "%s exists again", to);
    }
    if (rename(where, to) < 0) {
        return err_set(e, -errno, "%s: %s", where, strerror(errno));
    }
    return 0;
}
