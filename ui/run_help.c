/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdio.h>
#include <string.h>

#include "block/block.h"
#include "config.h"
#include "core/accel/accel.h"
#include "core/base/trace.h"
#include "core/cpu/host_cpuid.h"
#include "hw/devices.h"
#include "hw/machine.h"
#include "ui/run.h"

static void print_accels(void)
{
    const struct accel *a;

    puts("Accelerators:\nauto         kvm if it is really fast, else soft");
    for (unsigned i = 0; (a = accel_at(i)) != NULL; i++) {
        struct err e = ERR_INIT;
        int rc = a->probe(&e);

        printf("%-12s %s%s%s%s\n", a->name, a->title,
               rc < 0 ? " (not here: " : "", rc < 0 ? e.text : "",
               rc < 0 ? ")" : "");
    }
}

static void print_cpus(void)
{
    const char *title = NULL, *name;
    unsigned column = 0;

    puts("CPU models:");
    for (unsigned i = 0; (name = cpu_model_list(i, &title)) != NULL; i++)
        printf("%-16s %s\n", name, title);
    puts("\nFeatures, switched by ,+NAME and ,-NAME behind the model:");
    for (unsigned i = 0; (name = cpu_feature_list(i)) != NULL; i++) {
        if (column + strlen(name) + 1 > 78) {
            putchar('\n');
            column = 0;
        }
        column += (unsigned)printf(" %s", name);
    }
    putchar('\n');
}

static const char display_text[] =
    "Displays:\n"
    "curses       in this terminal (default on a terminal)\n"
#ifdef HAVE_SDL
    "sdl          in a window\n"
#endif
    "none         nowhere\n"
#ifdef HAVE_VNC
    "vnc=ADDRESS  over VNC alone; -vnc ADDRESS: besides any of the others\n"
#endif
    ;

static const char chardev_text[] =
    "Character devices:\n"
    "stdio  mon:stdio  null  vc  file:PATH  pipe:PATH  pty\n"
    "unix:PATH[,server=on][,wait=off]\n"
    "tcp:[HOST]:PORT[,server=on][,wait=off]  telnet:[HOST]:PORT,server=on\n";

static void print_log_items(void)
{
    puts("Log items (comma separated):");
    for (const struct log_item_row *r = log_item_rows; r->name != NULL; r++)
        printf("%-13s %s\n", r->name, r->help);
}

static void print_trace_events(void)
{
    for (unsigned i = 0; i < TRACE_COUNT; i++)
        printf("%-24s %s\n", trace_name(i), trace_help(i));
}

static void print_formats(void)
{
    static const char *const heads[] = { "Supported formats:",
                                         "\nOf these only read:" };
    const char *name;
    bool is_read_only;

    for (unsigned pass = 0; pass < 2; pass++) {
        fputs(heads[pass], stdout);
        for (unsigned i = 0; (name = blk_format_at(i, &is_read_only)) != NULL;
             i++) {
            if (pass == 0 || is_read_only) printf(" %s", name);
        }
    }
    putchar('\n');
}

int run_print_help(const struct options *o)
{
    struct err e = ERR_INIT;

    switch (o->help) {
    case HELP_MAN: options_print_man(stdout); break;
    case HELP_VERSION: printf("Orrery %s\n", ORRERY_VERSION); break;
    case HELP_MACHINE: machine_print_help(stdout); break;
    case HELP_CPU: print_cpus(); break;
    case HELP_ACCEL: print_accels(); break;
    case HELP_DISPLAY: fputs(display_text, stdout); break;
    case HELP_VGA:
        fputs("std          VGA with Bochs VBE (default)\n"
              "none         no graphics card\n",
              stdout);
        break;
    case HELP_CHARDEV: fputs(chardev_text, stdout); break;
    case HELP_LOG: print_log_items(); break;
    case HELP_TRACE: print_trace_events(); break;
    case HELP_DRIVE_FORMAT: print_formats(); break;
    case HELP_DEVICE:
        if (o->help_arg == NULL) {
            device_print_list(stdout);
        } else if (device_print_help(o->help_arg, stdout, &e) < 0) {
            fprintf(stderr, "orrery: -device %s,help: %s\n", o->help_arg,
                    e.text);
            return 1;
        }
        break;
    default: options_print_help(stdout); break;
    }
    return fflush(stdout) == 0 ? 0 : 1;
}
