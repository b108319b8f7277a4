/* SPDX-License-Identifier: GPL-2.0-or-later */
/* link: ui core block */
/*
 * The command line: what good lines mean (values as QEMU's manual gives them),
 * that bad ones name option and value, help and manual page.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/log.h"
#include "ui/options.h"

enum { MAX_WORDS = 32 };

/* Parse a line of words between blanks ('~' stands for a blank in one). */
static int parse(struct options *o, const char *line, struct err *e)
{
    char *copy = strdup(line), *save = NULL, *argv[MAX_WORDS] = { "orrery" };
    int argc = 1, rc;

    for (char *w = strtok_r(copy, " ", &save); w != NULL;
         w = strtok_r(NULL, " ", &save)) {
        assert_true(argc < MAX_WORDS);
        for (char *p = w; *p != '\0'; p++) {
            if (*p == '~') *p = ' ';
        }
        argv[argc++] = w;
    }
    options_init(o);
    *e = (struct err)ERR_INIT;
    rc = options_parse(o, argc, argv, e);
    free(copy);
    return rc;
}

static void good(struct options *o, const char *line)
{
    struct err e;

    if (parse(o, line, &e) != 0) fail_msg("%s: %s", line, e.text);
}

static const struct drive_config *drive(const struct options *o, const char *id)
{
    for (unsigned i = 0; i < o->cfg.drive_count; i++) {
        if (strcmp(o->cfg.drive[i].id, id) == 0) return &o->cfg.drive[i];
    }
    fail_msg("no drive %s", id);
    return NULL;
}

static const char *spec(const struct options *o, const char *name)
{
    for (unsigned i = 0; i < o->chardev_count; i++) {
        if (strcmp(o->chardev[i].name, name) == 0) return o->chardev[i].spec;
    }
    return "";
}

static void memory_sizes_have_suffixes_and_default_to_mib(void **unused)
{
    static const struct {
        const char *line;
        uint64_t bytes;
    } rows[] = {
        { "", 128ull << 20 },         { "-m 16", 16ull << 20 },
        { "-m 512M", 512ull << 20 },  { "-m 2G", 2ull << 30 },
        { "-m size=3g", 3ull << 30 }, { "-m 1.5G", 1536ull << 20 },
        { "-m 1T", 1ull << 40 },      { "-m 2048K", 2ull << 20 },
        { "--m 64", 64ull << 20 },
    };
    struct options o;

    (void)unused;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        good(&o, rows[i].line);
        assert_int_equal(o.cfg.ram_bytes, rows[i].bytes);
        options_free(&o);
    }
}

static void smp_multiplies_what_is_given(void **unused)
{
    static const struct {
        const char *line;
        unsigned cpus;
    } rows[] = {
        { "", 1 },
        { "-smp 4", 4 },
        { "-smp cpus=2", 2 },
        { "-smp sockets=2,cores=2", 4 },
        { "-smp 8,sockets=2,cores=2,threads=2", 8 },
        { "-smp 4,cores=2", 4 },
        { "-smp 2,maxcpus=2", 2 },
        { "-smp maxcpus=3", 3 },
    };
    struct options o;

    (void)unused;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        good(&o, rows[i].line);
        assert_int_equal(o.cfg.cpus, rows[i].cpus);
        options_free(&o);
    }
}

static void bad_lines_name_option_and_value(void **unused)
{
    static const struct {
        const char *line, *text; /* how the message begins */
    } rows[] = {
        { "-m 0", "-m 0: outside 1M..1T" },
        { "-m 9999T", "-m 9999T: outside 1M..1T" },
        { "-m 99999999999999999999T", "-m 99999999999999999999T: outside" },
        { "-m -5", "-m -5: " },
        { "-m many", "-m many: not a size" },
        { "-m 512,slots=2", "-m 512,slots=2: slots: " },
        { "-m", "-m: needs a value" },
        { "-foo", "-foo: unknown option" },
        { "-memory 5", "-memory: unknown option" },
        { "-smp 0", "-smp 0: cpus=0: outside 1..8" },
        { "-smp 9", "-smp 9: cpus=9: outside 1..8" },
        { "-smp 3,cores=2", "-smp 3,cores=2: sockets x cores" },
        { "-smp 2,maxcpus=4", "-smp 2,maxcpus=4: maxcpus=4: " },
        { "-smp 8,sockets=1,cores=1,threads=1", "-smp 8,sockets=1" },
        { "-smp 2,foo=1", "-smp 2,foo=1: no parameter 'foo'" },
        { "-boot x", "-boot x: no boot device 'x'" },
        { "-boot cc", "-boot cc: boot device 'c' given twice" },
        { "-boot menu=maybe", "-boot menu=maybe: menu=maybe: on or off" },
        { "-boot splash-time=70000", "-boot splash-time=70000: splash-time" },
        { "-uuid 123", "-uuid 123: not a UUID" },
        { "-uuid 01234567-89ab-cdef-0123-456789abcdeg", "-uuid 0123" },
        { "-uuid 01234567-89ab-cdef-0123-456789abcdef0", "-uuid 0123" },
        { "-rtc base=yesterday", "-rtc base=yesterday: base=yesterday: " },
        { "-rtc base=2024-13-01", "-rtc base=2024-13-01: " },
        { "-drive if=scsi,file=a", "-drive if=scsi,file=a: if=scsi: " },
        { "-drive if=ide", "-drive if=ide: no file=" },
        { "-drive file=a,index=4", "a: index=4: ide has 0..3" },
        { "-drive file=a,cache=x", "-drive file=a,cache=x: cache=x: one of" },
        { "-drive file=a,werror=x", "-drive file=a,werror=x: werror=x: one" },
        { "-drive file=a,discard=x", "-drive file=a,discard=x: discard=x: " },
        { "-drive file=a,media=tape", "-drive file=a,media=tape: media" },
        { "-drive file=a,index=1,unit=0", "-drive file=a,index=1,unit=0: " },
        { "-drive file=a,foo=b", "-drive file=a,foo=b: no parameter 'foo'" },
        { "-drive file=a,id=x -drive file=b,id=x", "-drive id=x: given " },
        { "-hda a -hda b", "b: two drives at if=ide,index=0" },
        { "-hdc a -cdrom b", "b: two drives at if=ide,index=2" },
        { "-hda a b", "b: two drives" },
        { "-fda a -fdb b -drive if=floppy,file=c", "c: all 2 floppy" },
        { "-display gtk", "-display gtk: no display of that name" },
        { "-display sdl,typo=on", "-display sdl,typo=on: no parameter 'typo'" },
        { "-display sdl,charset=CP437", "-display sdl,charset=CP437: no par" },
        { "-display sdl,full-screen=maybe",
          "-display sdl,full-screen=maybe: full-screen=maybe: on or off" },
        { "-display sdl,gl=on", "-display sdl,gl=on: gl=on: there is off" },
        { "-display none,typo", "-display none,typo: no parameter 'typo'" },
        { "-display none=:1", "-display none=:1: no display of that name" },
        { "-display vnc", "-display vnc: write :1" },
        { "-display vnc=1", "-display vnc=1: write :1" },
        { "-k xx", "-k xx: no such keyboard layout" },
        { "-k", "-k: needs a value" },
        { "-drive if=pflash,file=a", "-drive if=pflash,file=a: if=pflash: "
                                     "this machine has no flash memory" },
        { "-device {\"driver\":\"VGA\"", "-device {\"driver\":\"VGA\": " },
        { "-device {\"drive\":\"VGA\"}",
          "-device {\"drive\":\"VGA\"}: no \"driver\"" },
        { "-device {\"driver\":\"V,a=b\"}",
          "-device {\"driver\":\"V,a=b\"}: no \"driver\"" },
        { "-device {\"driver\":\"V\",\"a\":[1]}",
          "-device {\"driver\":\"V\",\"a\":[1]}: 'a' is of type" },
        { "-device {\"driver\":\"V\",\"a=1,b\":2}",
          "-device {\"driver\":\"V\",\"a=1,b\":2}: no parameter" },
        { "-vga cirrus", "-vga cirrus: no graphics card of that name" },
        { "-vnc 1", "-vnc 1: write :1" },
        { "-serial bogus", "-serial bogus: no such character device" },
        { "-serial stdio -monitor stdio", "stdio: used by more than one" },
        { "-display curses -monitor stdio", "stdio: -display curses uses" },
        { "-serial chardev:x", "-serial: no -chardev with id=x" },
        { "-chardev null", "-chardev null: no id=" },
        { "-chardev file,id=a", "-chardev file,id=a: no path=" },
        { "-mon chardev=a,mode=nosuch", "-mon chardev=a,mode=nosuch: " },
        { "-mon chardev=a", "-mon: no -chardev with id=a" },
        { "-nic user", "-nic user: this version has no network" },
        { "-netdev user,id=n", "-netdev user,id=n: this version" },
        { "-audiodev alsa,id=a", "-audiodev alsa,id=a: this version" },
        { "-d all_of_it", "-d all_of_it: no log item 'all_of_it'" },
        { "-initrd x", "-initrd x: needs -kernel" },
        { "-append x", "-append x: needs -kernel" },
        { "-daemonize -nographic", "-daemonize: " },
        { "-daemonize -serial stdio", "-daemonize: " },
        { "-m =5", "-m =5: no name before '='" },
        { "-serial null -serial null -serial null -serial null -serial null",
          "-serial null: more than 4" },
    };
    struct options o;
    struct err e;

    (void)unused;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (parse(&o, rows[i].line, &e) >= 0)
            fail_msg("accepted: %s", rows[i].line);
        if (strncmp(e.text, rows[i].text, strlen(rows[i].text)) != 0)
            fail_msg("%s: said '%s', not '%s...'", rows[i].line, e.text,
                     rows[i].text);
        assert_null(strchr(e.text, '\n'));
        options_free(&o);
    }
}

static void short_disk_options_have_fixed_places(void **unused)
{
    struct options o;

    (void)unused;
    good(&o, "-hda a -hdb b -cdrom c.iso -hdd d -fda f");
    assert_string_equal(drive(&o, "ide0-hd0")->file, "a");
    assert_string_equal(drive(&o, "ide0-hd1")->file, "b");
    assert_string_equal(drive(&o, "ide1-cd0")->file, "c.iso");
    assert_true(drive(&o, "ide1-cd0")->is_readonly);
    assert_string_equal(drive(&o, "ide1-hd1")->file, "d");
    assert_string_equal(drive(&o, "floppy0")->file, "f");
    assert_false(o.has_default_cdrom);
    options_free(&o);
}

static void a_bare_file_is_the_first_disk(void **unused)
{
    struct options o;

    (void)unused;
    good(&o, "disk.img");
    assert_string_equal(drive(&o, "ide0-hd0")->file, "disk.img");
    options_free(&o);
}

static void there_is_an_empty_cdrom_unless_told_otherwise(void **unused)
{
    struct options o;

    (void)unused;
    good(&o, "-hda a");
    assert_null(drive(&o, "ide1-cd0")->file);
    assert_true(drive(&o, "ide1-cd0")->is_cdrom);
    assert_null(drive(&o, "floppy0")->file);
    options_free(&o);
    good(&o, "-hda a -nodefaults");
    assert_int_equal(o.cfg.drive_count, 1);
    options_free(&o);
    good(&o, "-hdc a");
    assert_false(o.has_default_cdrom);
    options_free(&o);
}

static void drives_without_index_take_the_next_free_place(void **unused)
{
    struct options o;

    (void)unused;
    good(&o, "-drive file=a -drive file=b,index=1 -drive file=c");
    assert_int_equal(drive(&o, "ide0-hd0")->index, 0);
    assert_string_equal(drive(&o, "ide1-hd0")->file, "c");
    options_free(&o);
    good(&o, "-drive file=a,bus=1,unit=1 -drive file=b,if=virtio,id=sys");
    assert_int_equal(drive(&o, "ide1-hd1")->index, 3);
    assert_int_equal(drive(&o, "sys")->iface, DRIVE_VIRTIO);
    options_free(&o);
}

static void drive_values_reach_the_configuration(void **unused)
{
    const struct drive_config *d;
    struct options o;

    (void)unused;
    good(&o, "-drive file=a,,b.img,format=raw,cache=none,readonly=on,"
             "werror=report,rerror=report,snapshot=on,aio=native");
    d = drive(&o, "ide0-hd0");
    assert_string_equal(d->file, "a,b.img");
    assert_string_equal(d->format, "raw");
    assert_string_equal(d->block_options, "cache=none,werror=report,"
                                          "rerror=report,aio=native");
    assert_true(d->is_readonly);
    assert_true(d->is_snapshot);
    options_free(&o);
    good(&o, "-snapshot -hda a -cdrom b");
    assert_true(drive(&o, "ide0-hd0")->is_snapshot);
    assert_false(drive(&o, "ide1-cd0")->is_snapshot);
    options_free(&o);
}

static void boot_takes_letters_or_words(void **unused)
{
    struct options o;

    (void)unused;
    good(&o, "-boot d");
    assert_string_equal(o.cfg.boot_order, "d");
    options_free(&o);
    good(&o, "-boot order=cda,once=d,menu=on,splash-time=3000,strict=on");
    assert_string_equal(o.cfg.boot_order, "cda");
    assert_string_equal(o.cfg.boot_once, "d");
    assert_true(o.cfg.has_boot_menu);
    assert_true(o.cfg.is_boot_strict);
    assert_int_equal(o.cfg.boot_splash_ms, 3000);
    options_free(&o);
    good(&o, "-boot menu=on -boot c");
    assert_true(o.cfg.has_boot_menu);
    assert_string_equal(o.cfg.boot_order, "c");
    options_free(&o);
}

static void consoles_default_as_qemu_does(void **unused)
{
    struct options o;

    (void)unused;
    good(&o, "");
    assert_string_equal(spec(&o, "serial0"), "vc");
    assert_string_equal(spec(&o, "parallel0"), "vc");
    assert_string_equal(spec(&o, o.monitor[0]), "vc");
    assert_string_equal(o.chardev[0].name, o.monitor[0]); /* Ctrl-Alt-2 */
    options_free(&o);
    good(&o, "-qmp unix:/q,server=on,wait=off");
    assert_int_equal(o.monitor_count, 1);
    assert_int_equal(o.monitor_mode[0], MONITOR_JSON);
    options_free(&o);
    good(&o, "-chardev null,id=c -mon c,mode=control,pretty=on -monitor none");
    assert_string_equal(o.monitor[0], "c");
    assert_int_equal(o.monitor_mode[0], MONITOR_JSON_PRETTY);
    options_free(&o);
    good(&o, "-nographic");
    assert_string_equal(spec(&o, "serial0"), "mon:stdio");
    assert_string_equal(o.monitor[0], "serial0");
    assert_string_equal(spec(&o, "parallel0"), "null");
    options_free(&o);
    good(&o, "-nographic -serial file:/x");
    assert_string_equal(spec(&o, "compat_monitor0"), "stdio");
    options_free(&o);
    good(&o, "-nographic -monitor none");
    assert_string_equal(spec(&o, "serial0"), "stdio");
    assert_int_equal(o.monitor_count, 0);
    options_free(&o);
    good(&o, "-nodefaults");
    assert_int_equal(o.chardev_count, 0);
    options_free(&o);
    good(&o, "-serial none -monitor unix:/m,server=on,wait=off");
    assert_null(o.cfg.serial[0]);
    assert_string_equal(spec(&o, o.monitor[0]), "unix:/m,server=on,wait=off");
    options_free(&o);
}

static void chardev_and_mon_make_the_same_as_serial_and_monitor(void **unused)
{
    struct options o;

    (void)unused;
    good(&o, "-chardev socket,id=s,path=/p,server=on,wait=off -mon s "
             "-chardev stdio,id=t,mux=on,signal=off -serial chardev:t "
             "-mon chardev=t,mode=readline -chardev file,id=f,path=/f "
             "-debugcon chardev:f -chardev socket,id=n,host=::1,port=5,"
             "telnet=on,server");
    assert_string_equal(spec(&o, "s"), "unix:/p,server=on,wait=off");
    assert_string_equal(spec(&o, "t"), "mon:stdio,signal=off");
    assert_string_equal(spec(&o, "f"), "file:/f");
    assert_string_equal(spec(&o, "n"), "telnet:::1:5,server=on");
    assert_string_equal(o.cfg.serial[0], "t");
    assert_string_equal(o.cfg.debugcon, "f");
    assert_int_equal(o.monitor_count, 2);
    options_free(&o);
}

static void accelerators_are_kept_in_order(void **unused)
{
    struct options o;

    (void)unused;
    good(&o, "-M pc,accel=kvm:tcg,hpet=off -accel soft -enable-kvm");
    assert_string_equal(o.cfg.machine, "pc");
    assert_string_equal(o.cfg.machine_opts, "hpet=off");
    assert_int_equal(o.accel_count, 4);
    assert_string_equal(o.accel[0], "kvm");
    assert_string_equal(o.accel[1], "tcg");
    assert_string_equal(o.accel[2], "soft");
    assert_string_equal(o.accel[3], "kvm");
    options_free(&o);
}

static void the_rest_reaches_the_configuration(void **unused)
{
    static const uint8_t uuid[16] = { 0x01, 0x23, 0x45, 0x67, 0x89, 0xab,
                                      0xcd, 0xef, 0x01, 0x23, 0x45, 0x67,
                                      0x89, 0xab, 0xcd, 0xEF };
    struct options o;

    (void)unused;
    good(&o, "-name guest=vm1,debug-threads=on -S -no-reboot -no-shutdown "
             "-no-hpet -no-acpi -kernel k -initrd i -append a~b=c,d "
             "-uuid 01234567-89AB-cdef-0123-456789abcdef -cpu max,-avx "
             "-device isa-debug-exit,iobase=0xf4 -vnc :1");
    assert_string_equal(o.cfg.name, "vm1");
    assert_true(o.cfg.is_start_paused && o.cfg.has_no_reboot);
    assert_true(o.cfg.has_no_shutdown && o.cfg.has_no_hpet);
    assert_true(o.cfg.has_no_acpi && o.cfg.has_uuid);
    assert_memory_equal(o.cfg.uuid, uuid, 16);
    assert_string_equal(o.cfg.append, "a b=c,d");
    assert_string_equal(o.cfg.cpu_model, "max,-avx");
    assert_string_equal(o.cfg.device[0], "isa-debug-exit,iobase=0xf4");
    assert_string_equal(o.vnc, ":1");
    options_free(&o);
    good(&o, "-action reboot=shutdown,shutdown=pause -d int,unimp "
             "-vnc :1 -vnc none -nic none -net none -audio none");
    assert_true(o.cfg.has_no_reboot && o.cfg.has_no_shutdown);
    assert_int_equal(o.log_items, LOG_INT | LOG_UNIMP);
    assert_null(o.vnc);
    options_free(&o);
}

static void displays_take_words(void **unused)
{
    static const struct {
        const char *line, *display, *words, *vnc;
    } rows[] = {
        { "-display sdl", "sdl", NULL, NULL },
        { "-display type=sdl,full-screen=yes,window-close=off", "sdl",
          "full-screen=on,window-close=off", NULL },
        { "-display sdl,full-screen,gl=off", "sdl", "full-screen=on,gl=off",
          NULL },
        { "-display sdl,full-screen=on -display sdl", "sdl", NULL, NULL },
        { "-display curses,charset=CP437", "curses", "charset=CP437", NULL },
        { "-display vnc=:1", "none", NULL, ":1" },
        { "-display vnc=unix:/s,password=on", "none", NULL,
          "unix:/s,password=on" },
        { "-display none -vnc :2", "none", NULL, ":2" },
        { "-display vnc=:1 -display sdl -k en-us", "sdl", NULL, ":1" },
    };
    struct options o;

    (void)unused;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        good(&o, rows[i].line);
        assert_string_equal(o.display, rows[i].display);
        assert_string_equal(o.display_opts ? o.display_opts : "(none)",
                            rows[i].words ? rows[i].words : "(none)");
        assert_string_equal(o.vnc ? o.vnc : "(none)",
                            rows[i].vnc ? rows[i].vnc : "(none)");
        options_free(&o);
    }
}

static void devices_may_be_json(void **unused)
{
    struct options o;

    (void)unused;
    good(&o, "-device {\"driver\":\"ide-hd\",\"drive\":\"a,b\",\"unit\":1,"
             "\"share-rw\":true,\"x\":false,\"y\":-2} "
             "-device {'id':'n','driver':'VGA'}");
    assert_string_equal(o.cfg.device[0],
                        "ide-hd,drive=a,,b,unit=1,share-rw=on,x=off,y=-2");
    assert_string_equal(o.cfg.device[1], "VGA,id=n");
    options_free(&o);
}

static void the_clock_starts_at_a_date(void **unused)
{
    struct options o;

    (void)unused;
    good(&o, "-rtc base=2024-02-29T12:34:56,clock=host");
    assert_int_equal(o.cfg.rtc_base_s, 1709210096); /* date -ud ... +%s */
    options_free(&o);
    good(&o, "-rtc base=1970-01-02");
    assert_int_equal(o.cfg.rtc_base_s, 86400);
    options_free(&o);
    good(&o, "-rtc base=localtime");
    assert_true(o.cfg.is_rtc_local);
    assert_true(o.cfg.rtc_base_s == INT64_MIN);
    options_free(&o);
}

static void help_stops_the_parser(void **unused)
{
    static const struct {
        const char *line;
        enum help_topic topic;
    } rows[] = {
        { "-h", HELP_OPTIONS },
        { "--help -foo", HELP_OPTIONS },
        { "-M help", HELP_MACHINE },
        { "-machine ?", HELP_MACHINE },
        { "-cpu help", HELP_CPU },
        { "-accel help", HELP_ACCEL },
        { "-display help", HELP_DISPLAY },
        { "-vga help", HELP_VGA },
        { "-device help", HELP_DEVICE },
        { "-d help", HELP_LOG },
        { "-chardev help", HELP_CHARDEV },
        { "-version", HELP_VERSION },
        { "-drive format=help", HELP_DRIVE_FORMAT },
    };
    struct options o;

    (void)unused;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        good(&o, rows[i].line);
        assert_int_equal(o.help, rows[i].topic);
        options_free(&o);
    }
    good(&o, "-device VGA,help");
    assert_int_equal(o.help, HELP_DEVICE);
    assert_string_equal(o.help_arg, "VGA");
    options_free(&o);
}

static char *printed(void (*print)(FILE *out))
{
    char *text = NULL;
    size_t bytes = 0;
    FILE *f = open_memstream(&text, &bytes);

    print(f);
    fclose(f);
    return text;
}

static void help_and_manual_have_every_option(void **unused)
{
    char *help = printed(options_print_help);
    char *man = printed(options_print_man);

    (void)unused;
    for (const struct option_row *r = option_table; r->name; r++) {
        char want[64], roff[64];
        size_t n = 0;

        if (r->kind == OPT_SECTION) continue;
        snprintf(want, sizeof(want), "\n-%s", r->name);
        if (strstr(help, want) == NULL) fail_msg("help lacks %s", r->name);
        for (const char *p = r->name; *p != '\0'; p++) {
            if (*p == '-') roff[n++] = '\\';
            roff[n++] = *p;
        }
        roff[n] = '\0';
        snprintf(want, sizeof(want), "\n.B \\-%.40s", roff);
        if (strstr(man, want) == NULL) fail_msg("manual lacks %s", r->name);
    }
    for (char *l = strtok(help, "\n"); l != NULL; l = strtok(NULL, "\n")) {
        if (l[0] == ' ' && strlen(l) > 80) fail_msg("too wide: %s", l);
    }
    free(help);
    free(man);
}

static void no_name_stands_twice_in_the_table(void **unused)
{
    (void)unused;
    for (const struct option_row *r = option_table; r->name; r++) {
        for (const struct option_row *x = option_table; x < r; x++) {
            if (strcmp(x->name, r->name) == 0 ||
                (r->alias != NULL && strcmp(x->name, r->alias) == 0))
                fail_msg("-%s twice", r->name);
        }
    }
}

static void the_committed_manual_page_is_what_the_table_gives(void **unused)
{
    char *man = printed(options_print_man), *file = malloc(1 << 20);
    FILE *f = fopen("assets/orrery.1", "r");
    size_t n;

    (void)unused;
    if (f == NULL) fail_msg("assets/orrery.1: run from the source folder");
    n = fread(file, 1, (1 << 20) - 1, f);
    file[n] = '\0';
    fclose(f);
    if (strcmp(file, man) != 0)
        fail_msg("assets/orrery.1 is old: orrery -man >assets/orrery.1");
    free(file);
    free(man);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_sizes_have_suffixes_and_default_to_mib),
        cmocka_unit_test(smp_multiplies_what_is_given),
        cmocka_unit_test(bad_lines_name_option_and_value),
        cmocka_unit_test(short_disk_options_have_fixed_places),
        cmocka_unit_test(a_bare_file_is_the_first_disk),
        cmocka_unit_test(there_is_an_empty_cdrom_unless_told_otherwise),
        cmocka_unit_test(drives_without_index_take_the_next_free_place),
        cmocka_unit_test(drive_values_reach_the_configuration),
        cmocka_unit_test(boot_takes_letters_or_words),
        cmocka_unit_test(consoles_default_as_qemu_does),
        cmocka_unit_test(chardev_and_mon_make_the_same_as_serial_and_monitor),
        cmocka_unit_test(accelerators_are_kept_in_order),
        cmocka_unit_test(the_rest_reaches_the_configuration),
        cmocka_unit_test(displays_take_words),
        cmocka_unit_test(devices_may_be_json),
        cmocka_unit_test(the_clock_starts_at_a_date),
        cmocka_unit_test(help_stops_the_parser),
        cmocka_unit_test(help_and_manual_have_every_option),
        cmocka_unit_test(no_name_stands_twice_in_the_table),
        cmocka_unit_test(the_committed_manual_page_is_what_the_table_gives),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
