/* SPDX-License-Identifier: GPL-2.0-or-later */
/* link: ui monitor hw block core */
/* Machine folders: settings files, names, creation, trash, command line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/ini.h"
#include "ui/manager/machine.h"

static int make_home(void **state)
{
    char *dir = strdup("/tmp/orrery-test-XXXXXX");

    if (dir == NULL || mkdtemp(dir) == NULL) return -1;
    setenv("XDG_DATA_HOME", dir, 1);
    setenv("XDG_RUNTIME_DIR", dir, 1);
    *state = dir;
    return 0;
}

static int remove_home(void **state)
{
    char cmd[PATH_MAX];

    snprintf(cmd, sizeof(cmd), "rm -rf '%s'", (char *)*state);
    free(*state);
    return system(cmd);
}

static const char *const no_disks[MACHINE_DISKS];

static const struct machine_key *key(const char *name)
{
    const struct machine_key *k = machine_keys;

    while (strcmp(k->key, name) != 0)
        k++;
    return k;
}

static void write_text(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");

    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void settings_keep_comments_when_rewritten(void **state)
{
    char path[PATH_MAX], line[100];
    struct ini *d;
    FILE *f;

    snprintf(path, sizeof(path), "%s/x.conf", (char *)*state);
    write_text(path, "# mine\n\nmemory=1G\n  cpus =  2  \n");
    assert_int_equal(ini_read(path, &d, NULL), 0);
    assert_string_equal(ini_get(d, "memory"), "1G");
    assert_string_equal(ini_get(d, "cpus"), "2");
    assert_null(ini_get(d, "disk1"));
    assert_int_equal(ini_set(d, "memory", "2G"), 0);
    assert_int_equal(ini_set(d, "cpus", ""), 0);
    assert_int_equal(ini_set(d, "notes", "a\nb"), -EINVAL);
    assert_int_equal(ini_write(d, path, NULL), 0);
    ini_free(d);
    f = fopen(path, "r");
    assert_non_null(fgets(line, sizeof(line), f));
    assert_string_equal(line, "# mine\n");
    assert_non_null(fgets(line, sizeof(line), f));
    assert_non_null(fgets(line, sizeof(line), f));
    assert_string_equal(line, "memory = 2G\n");
    assert_null(fgets(line, sizeof(line), f));
    fclose(f);
}

static void settings_on_a_full_disk_say_so_and_stay(void **state)
{
    char path[PATH_MAX], link[PATH_MAX + 4], line[100];
    struct err e = ERR_INIT;
    struct ini *d;
    FILE *f;

    snprintf(path, sizeof(path), "%s/x.conf", (char *)*state);
    snprintf(link, sizeof(link), "%s.new", path);
    write_text(path, "memory = 1G\n");
    assert_int_equal(ini_read(path, &d, NULL), 0);
    assert_int_equal(ini_set(d, "memory", "2G"), 0);
    assert_int_equal(symlink("/dev/full", link), 0);
    assert_int_equal(ini_write(d, path, &e), -ENOSPC);
    assert_non_null(strstr(e.text, "No space left on device"));
    ini_free(d);
    assert_int_equal(access(link, F_OK), -1);
    f = fopen(path, "r");
    assert_non_null(fgets(line, sizeof(line), f));
    assert_string_equal(line, "memory = 1G\n");
    fclose(f);
}

static void bad_settings_name_file_and_line(void **state)
{
    char path[PATH_MAX];
    struct err e = ERR_INIT;
    struct ini *d;

    snprintf(path, sizeof(path), "%s/x.conf", (char *)*state);
    write_text(path, "# ok\nno equals sign\n");
    assert_int_equal(ini_read(path, &d, &e), -EINVAL);
    assert_non_null(strstr(e.text, "x.conf:2: expected"));
    assert_int_equal(ini_read(*state, &d, &e), -EFBIG); /* a folder */
}

static void names_that_are_no_file_names_are_refused(void **state)
{
    static const char *const bad[] = { "",    ".",   "..",  ".hidden",
                                       "a/b", "a b", "a;b", "\x1b[2J" };

    (void)state;
    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(machine_check_name(bad[i], NULL), -EINVAL);
    }
    assert_int_equal(machine_check_name("debian-12.old_1", NULL), 0);
}

static void machines_are_created_listed_and_loaded(void **state)
{
    const char *const disks[MACHINE_DISKS] = { "3M" };
    struct machine m, *all;
    struct err e = ERR_INIT;
    char path[PATH_MAX + 16];
    struct stat st;
    size_t n;

    (void)state;
    machine_init(&m, "two");
    machine_set(&m, key("memory"), "64M");
    assert_int_equal(machine_create(&m, disks, &e), 0);
    assert_int_equal(machine_create(&m, disks, &e), -EEXIST);
    snprintf(path, sizeof(path), "%s/disk1.img", m.dir);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_size, 3 << 20);
    machine_free(&m);
    machine_init(&m, "one");
    assert_int_equal(machine_create(&m, no_disks, &e), 0);
    machine_free(&m);
    assert_int_equal(machine_list(&all, &n, &e), 0);
    assert_int_equal(n, 2);
    assert_string_equal(all[0].name, "one");
    assert_string_equal(all[1].memory, "64M");
    assert_string_equal(all[1].disk[0], "disk1.img");
    machine_free(&all[0]);
    machine_free(&all[1]);
    free(all);
}

static void a_failed_creation_leaves_nothing(void **state)
{
    const char *const disks[MACHINE_DISKS] = { "3M", "nonsense" };
    struct machine m;
    struct err e = ERR_INIT;

    (void)state;
    machine_init(&m, "half");
    assert_int_equal(machine_create(&m, disks, &e), -EINVAL);
    assert_int_equal(access(m.dir, F_OK), -1);
    machine_set(&m, key("memory"), "0");
    assert_int_equal(machine_create(&m, no_disks, &e), -EINVAL);
    assert_non_null(strstr(e.text, "memory 0"));
    assert_int_equal(access(m.dir, F_OK), -1);
    machine_set(&m, key("memory"), "64M");
    machine_set(&m, key("cdrom"), "/does/not/exist.iso");
    assert_int_equal(machine_create(&m, no_disks, &e), -EINVAL);
    machine_free(&m);
}

static void a_broken_machine_conf_is_shown_not_lost(void **state)
{
    char path[PATH_MAX];
    struct machine m;

    machine_init(&m, "x");
    assert_int_equal(machine_create(&m, no_disks, NULL), 0);
    machine_free(&m);
    snprintf(path, sizeof(path), "%s/orrery/x/machine.conf", (char *)*state);
    write_text(path, "memory = 1G\ncolour = red\n");
    assert_int_equal(machine_load(&m, "x", NULL), 0);
    assert_non_null(strstr(m.problem, "machine.conf:2: unknown key"));
    machine_free(&m);
    assert_int_equal(machine_load(&m, "y", NULL), -ENOENT);
}

static void trash_can_be_undone(void **state)
{
    struct machine m;
    char where[PATH_MAX];
    size_t n;
    struct machine *all;

    (void)state;
    machine_init(&m, "gone");
    assert_int_equal(machine_create(&m, no_disks, NULL), 0);
    assert_int_equal(machine_trash(&m, where, sizeof(where), NULL), 0);
    assert_int_equal(machine_list(&all, &n, NULL), 0);
    assert_int_equal(n, 0);
    free(all);
    assert_int_equal(machine_restore(where, NULL), 0);
    assert_int_equal(access(m.dir, F_OK), 0);
    assert_int_equal(machine_restore("/etc/passwd", NULL), -EINVAL);
    machine_free(&m);
}

static bool has_pair(char **argv, const char *a, const char *b)
{
    for (; argv[0] != NULL && argv[1] != NULL; argv++) {
        if (strcmp(argv[0], a) == 0 && strstr(argv[1], b) != NULL) {
            return true;
        }
    }
    return false;
}

static void the_command_line_says_what_the_folder_says(void **state)
{
    const char *const disks[MACHINE_DISKS] = { "1M" };
    char *argv[MACHINE_ARGS], iso[PATH_MAX];
    struct machine m;

    snprintf(iso, sizeof(iso), "%s/a,b.iso", (char *)*state);
    write_text(iso, "");
    machine_init(&m, "c");
    machine_set(&m, key("cdrom"), iso);
    machine_set(&m, key("extra"), "-rtc  base=utc");
    assert_int_equal(machine_create(&m, disks, NULL), 0);
    assert_int_equal(machine_argv(&m, argv, NULL), 0);
    assert_string_equal(argv[0], "orrery");
    assert_true(has_pair(argv, "-m", "512M"));
    assert_true(has_pair(argv, "-boot", "dc"));
    assert_true(has_pair(argv, "-drive", "a,,b.iso,if=ide,index=2,media=cd"));
    assert_true(has_pair(argv, "-drive", "/c/disk1.img,if=ide,index=0"));
    assert_true(has_pair(argv, "-rtc", "base=utc"));
    machine_argv_free(argv);
    assert_false(machine_is_running("c"));
    assert_int_not_equal(machine_monitor("c", "info status", NULL, NULL), 0);
    machine_free(&m);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, make_home, remove_home)
    const struct CMUnitTest tests[] = {
        T(settings_keep_comments_when_rewritten),
        T(settings_on_a_full_disk_say_so_and_stay),
        T(bad_settings_name_file_and_line),
        T(names_that_are_no_file_names_are_refused),
        T(machines_are_created_listed_and_loaded),
        T(a_failed_creation_leaves_nothing),
        T(a_broken_machine_conf_is_shown_not_lost),
        T(trash_can_be_undone),
        T(the_command_line_says_what_the_folder_says),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
