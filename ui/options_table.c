/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ui/options_int.h"

/*
 * Every option of a machine's command line, in the order of the help text.
 * A row's name without the dash; both -name and --name are understood.
 */
#define SECTION(t)                     \
    {                                  \
        .name = t, .kind = OPT_SECTION \
    }
#define CALL(n, al, a, f, h)                                           \
    {                                                                  \
        .name = n, .alias = al, .arg = a, .help = h, .kind = OPT_CALL, \
        .set = f                                                       \
    }
#define FLAG(n, field, h)                         \
    {                                             \
        .name = n, .help = h, .kind = OPT_FLAG,   \
        .offset = offsetof(struct options, field) \
    }
#define TEXT(n, field, a, h)                              \
    {                                                     \
        .name = n, .arg = a, .help = h, .kind = OPT_TEXT, \
        .offset = offsetof(struct options, field)         \
    }

/* clang-format off */
const struct option_row option_table[] = {
    SECTION("Standard options"),
    CALL("help", "h", NULL, option_help, "print this help and exit"),
    CALL("version", NULL, NULL, option_version, "print the version and exit"),
    CALL("machine", "M", "[type=]NAME[,PROP=VALUE...]", option_machine,
         "machine type (help lists them); accel=A:B accelerators to try"),
    CALL("cpu", NULL, "MODEL[,+FEATURE,-FEATURE]", option_cpu,
         "processor model (help lists them)"),
    CALL("accel", NULL, "NAME[,PROP=VALUE...]", option_accel,
         "accelerator: auto, kvm or soft; repeat it to try several in order"),
    CALL("enable-kvm", NULL, NULL, option_enable_kvm, "same as -accel kvm"),
    CALL("smp", NULL, "[cpus=]N[,sockets=,cores=,threads=]", option_smp,
         "number of processors, 1 to 8 [1]"),
    CALL("m", NULL, "[size=]SIZE", option_memory,
         "guest memory in MiB, or with suffix M, G, T [128]"),
    CALL("boot", NULL,
         "[order=LETTERS][,once=LETTERS][,menu=on|off][,splash-time=MS]"
         "[,strict=on|off]", option_boot,
         "start from a floppy, c disk, d CD-ROM, n network, in this order"),
    CALL("name", NULL, "NAME", option_name, "name of the guest"),
    CALL("uuid", NULL, "UUID", option_uuid, "machine's UUID"),
    CALL("rtc", NULL, "base=utc|localtime|DATE", option_rtc,
         "what the machine's clock shows at the start [utc]"),
    CALL("device", NULL, "NAME[,PROP=VALUE...]", option_device,
         "add a device (help lists them; NAME,help lists its properties); "
         "also as JSON, {\"driver\": \"NAME\", \"PROP\": VALUE}"),

    SECTION("Disks"),
    CALL("fda", NULL, "FILE", option_fda, "floppy image in drive A"),
    CALL("fdb", NULL, "FILE", option_fdb, "floppy image in drive B"),
    CALL("hda", NULL, "FILE", option_hda,
         "disk image, first IDE disk; a FILE without option is the same"),
    CALL("hdb", NULL, "FILE", option_hdb, "second IDE disk"),
    CALL("hdc", NULL, "FILE", option_hdc, "third IDE disk (place of -cdrom)"),
    CALL("hdd", NULL, "FILE", option_hdd, "fourth IDE disk"),
    CALL("cdrom", NULL, "FILE", option_cdrom, "CD-ROM image (ISO)"),
    CALL("drive", NULL,
         "[file=FILE][,if=ide|floppy|virtio|none][,index=N][,bus=N,unit=N]"
         "[,media=disk|cdrom][,format=F][,cache=C][,readonly=on|off]"
         "[,snapshot=on|off][,id=ID][,discard=ignore|unmap]"
         "[,detect-zeroes=on|off|unmap][,aio=threads|io_uring]"
         "[,werror=report|ignore|stop|enospc][,rerror=report|ignore|stop]"
         "[,encrypt.key-secret=ID][,throttling.bps-total=N]"
         "[,throttling.iops-total=N][,throttling.group=NAME]"
         "[,node-name=NAME][,file.driver=...]", option_drive,
         "a drive in detail; a comma in a file name is written twice"),
    CALL("blockdev", NULL,
         "[driver=]DRIVER,node-name=NAME[,file=NODE|,file.driver=...]"
         "[,read-only=on|off][,cache.direct=on|off][,cache.no-flush=on|off]"
         "[,discard=ignore|unmap][,detect-zeroes=on|off|unmap]",
         option_blockdev,
         "a named node for -device drive=NAME, with dots or as JSON; DRIVER: "
         "file, host_device, nbd, null-co, raw, qcow2, luks, vmdk, vdi, vhdx, "
         "vpc, qcow, throttle"),
    CALL("object", NULL,
         "secret,id=ID,data=TEXT|file=PATH[,format=raw|base64] "
         "throttle-group,id=ID[,limits.bps-total=N]...", option_object,
         "a passphrase for encrypted images, or limits that drives share"),
    FLAG("snapshot", is_snapshot_all,
         "write to temporary files; the images stay as they are"),

    SECTION("Display"),
    CALL("display", NULL,
         "curses|sdl[,full-screen=on|off][,window-close=on|off]|none|vnc=ADDR",
         option_display,
         "where the guest's screen is shown (help lists them)"),
    FLAG("nographic", is_nographic,
         "no screen; serial port and monitor share this terminal (Ctrl-A h)"),
    CALL("vga", NULL, "std|none", option_vga, "graphics card [std]"),
    CALL("vnc", NULL, "[HOST]:N|unix:PATH|none[,password=on|off][,to=N]",
         option_vnc,
         "serve the screen over VNC, port 5900+N, on 127.0.0.1 unless HOST "
         "says otherwise; to: the next free N up to this; password: nobody "
         "gets in before the monitor's set_password"),
    CALL("k", NULL, "en-us", option_keyboard,
         "keyboard layout of text typed in a terminal or in a simple VNC "
         "viewer; en-us is the only one"),

    SECTION("Consoles"),
    CALL("serial", NULL, "DEV", option_serial,
         "serial port, up to four: stdio, mon:stdio, file:PATH, "
         "unix:PATH[,server=on][,wait=off], pty, pipe:PATH, null, vc, none"),
    CALL("parallel", NULL, "DEV", option_parallel,
         "parallel port, DEV as for -serial"),
    CALL("monitor", NULL, "DEV", option_monitor,
         "where the monitor listens, DEV as for -serial"),
    CALL("qmp", NULL, "DEV", option_qmp,
         "where programs may steer the machine with JSON, DEV as for -serial"),
    CALL("qmp-pretty", NULL, "DEV", option_qmp_pretty,
         "the same with line breaks in the answers"),
    CALL("debugcon", NULL, "DEV", option_debugcon,
         "debug console at port 0xe9, DEV as for -serial"),
    CALL("chardev", NULL,
         "stdio|file|socket|pty|pipe|null|vc,id=ID[,path=PATH][,host=H]"
         "[,port=P][,server=on][,wait=off][,mux=on]", option_chardev,
         "a character device by name, for -serial chardev:ID and -mon"),
    CALL("mon", NULL, "[chardev=]ID[,mode=readline|control][,pretty=on|off]",
         option_mon,
         "a monitor on a character device; control: JSON"),

    SECTION("Starting a kernel directly"),
    TEXT("kernel", cfg.kernel, "FILE", "Linux bzImage, PVH or Multiboot image"),
    TEXT("initrd", cfg.initrd, "FILE", "initial RAM disk (Multiboot: modules)"),
    TEXT("append", cfg.append, "TEXT", "kernel command line"),

    SECTION("Network and sound"),
    CALL("nic", NULL, "none", option_no_network, "none: no network card"),
    CALL("net", NULL, "none", option_no_network, "none: no network card"),
    CALL("netdev", NULL, "none", option_no_network, "none: no network"),
    CALL("audio", NULL, "none", option_no_audio, "none: no sound"),
    CALL("audiodev", NULL, "none,id=ID", option_no_audio, "none: no sound"),

    SECTION("Running"),
    FLAG("S", cfg.is_start_paused, "do not start the CPUs; cont starts them"),
    TEXT("loadvm", loadvm, "TAG", "go on from a snapshot of the machine"),
    TEXT("incoming", incoming, "URI|defer",
         "do not start a new machine, take in the one that `migrate' sends: "
         "exec:COMMAND, file:PATH, unix:PATH, tcp:[HOST]:PORT, fd:NUMBER; "
         "defer: wait for migrate_incoming"),
    FLAG("singlestep", is_singlestep,
         "one instruction at a time (software CPU; slow)"),
    CALL("s", NULL, NULL, option_gdb_usual, "same as -gdb tcp::1234"),
    TEXT("gdb", gdb, "DEV[,arch=x86-64|i386|i8086]",
         "let gdb connect to DEV: tcp::PORT on 127.0.0.1, unix:PATH, stdio, "
         "pty, chardev:ID"),
    FLAG("no-reboot", cfg.has_no_reboot, "end when the guest reboots"),
    FLAG("no-shutdown", cfg.has_no_shutdown,
         "stop, do not end, when the guest powers off"),
    CALL("action", NULL, "reboot=reset|shutdown,shutdown=poweroff|pause",
         option_action, "what to do when the guest reboots or powers off"),
    FLAG("no-hpet", cfg.has_no_hpet, "machine without HPET"),
    FLAG("no-acpi", cfg.has_no_acpi, "machine without ACPI tables"),
    FLAG("nodefaults", has_nodefaults,
         "no serial port, parallel port, CD-ROM or floppy unless asked for"),
    FLAG("daemonize", is_daemonize, "go to the background once started"),
    TEXT("control", control, "PATH",
         "socket through which the machine manager steers this machine"),
    TEXT("pidfile", pidfile, "FILE", "write the process number to FILE"),
    TEXT("bios", cfg.bios, "FILE", "firmware image"),
    TEXT("L", cfg.data_dir, "DIR", "look for firmware in DIR alone"),
    TEXT("D", log_file, "FILE", "write log lines to FILE, not to stderr"),
    CALL("d", NULL, "ITEM[,ITEM...]", option_log_items,
         "log more (help lists the items)"),
    CALL("trace", NULL, "[enable=]EVENT", option_trace,
         "log what happens inside (help lists the events; * matches any)"),
    CALL("man", NULL, NULL, option_man, "print the manual page (roff)"),
    { .name = NULL },
};
/* clang-format on */
