/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ui/options_int.h"

#include <string.h>

#include "config.h"

enum { HELP_COLUMN = 16, HELP_WIDTH = 80 };

/* Print text in the columns from HELP_COLUMN on; at is where we are. */
static void print_wrapped(FILE *out, const char *text, size_t at)
{
    if (at + 1 > HELP_COLUMN) {
        fputc('\n', out);
        at = 0;
    }
    fprintf(out, "%*s", (int)(HELP_COLUMN - at), "");
    at = HELP_COLUMN;
    while (*text != '\0') {
        size_t n = strcspn(text, " ");

        if (at > HELP_COLUMN && at + 1 + n > HELP_WIDTH) {
            fprintf(out, "\n%*s", HELP_COLUMN, "");
            at = HELP_COLUMN;
        } else if (at > HELP_COLUMN) {
            fputc(' ', out);
            at++;
        }
        fwrite(text, 1, n, out);
        at += n;
        text += n;
        text += strspn(text, " ");
    }
    fputc('\n', out);
}

void options_print_help(FILE *out)
{
    fprintf(out,
            "Orrery %s\n"
            "usage: orrery                    the machine manager\n"
            "       orrery [run] [options] [disk_image]\n"
            "                                 one machine in the "
            "foreground\n"
            "       orrery import FILE [DIR]  a machine that "
            "snapshot_export wrote\n"
            "       orrery img COMMAND        disk images (orrery img --help)\n",
            ORRERY_VERSION);
    for (const struct option_row *r = option_table; r->name != NULL; r++) {
        size_t at = 0;

        if (r->kind == OPT_SECTION) {
            fprintf(out, "\n%s:\n", r->name);
            continue;
        }
        at += (size_t)fprintf(out, "-%s", r->name);
        if (r->alias != NULL) at += (size_t)fprintf(out, " or -%s", r->alias);
        if (r->arg != NULL) at += (size_t)fprintf(out, " %s", r->arg);
        print_wrapped(out, r->help, at);
    }
    fputs("\nKeys with -nographic and -serial mon:stdio: Ctrl-A h lists "
          "them.\n",
          out);
}

/* Text for roff: backslash, dash, and a dot or quote in column one. */
static void print_roff(FILE *out, const char *text)
{
    if (*text == '.' || *text == '\'') fputs("\\&", out);
    for (; *text != '\0'; text++) {
        if (*text == '\\') {
            fputs("\\e", out);
        } else if (*text == '-') {
            fputs("\\-", out);
        } else {
            fputc(*text, out);
        }
    }
}

static const char man_head[] =
    ".TH ORRERY 1\n"
    ".SH NAME\n"
    "orrery \\- run PC virtual machines in a terminal\n"
    ".SH SYNOPSIS\n"
    ".B orrery\n"
    ".br\n"
    ".B orrery\n"
    ".RI [ run ]\n"
    ".RI [ options ]\n"
    ".RI [ disk_image ]\n"
    ".br\n"
    ".B orrery import\n"
    ".I FILE\n"
    ".RI [ DIR ]\n"
    ".SH DESCRIPTION\n"
    "Without arguments\n"
    ".B orrery\n"
    "opens the machine manager. With options it runs one machine in the\n"
    "foreground, under KVM or under its own software CPU. Options are\n"
    "spelled as those of\n"
    ".BR qemu-system-x86_64 (1).\n";

static const char man_tail[] =
    ".SH MOVING A MACHINE\n"
    "Start the same machine where it is to go, with\n"
    ".BR \\-incoming ,\n"
    "and say\n"
    ".B migrate\n"
    "in the monitor of the one that runs. Its guest works on meanwhile and\n"
    "stands still for some tens of milliseconds at the end. Disks have to be\n"
    "the same files on both sides; they change hands with the machine. Until\n"
    "the other side has everything, the machine goes on where it was when\n"
    "something fails, or with\n"
    ".BR migrate_cancel .\n"
    "A machine sent to\n"
    ".B file:PATH\n"
    "waits there for an\n"
    ".BR \"\\-incoming file:PATH\" .\n"
    ".PP\n"
    "The monitor's\n"
    ".B snapshot_export\n"
    "writes a snapshot with its disks to one file;\n"
    ".B orrery import\n"
    "makes a folder of it: the disks, the machine's state, and a script\n"
    ".B start\n"
    "that goes on with it.\n"
    ".SH KEYS\n"
    "With\n"
    ".B \\-nographic\n"
    "or\n"
    ".B \\-serial mon:stdio\n"
    "the terminal is shared; Ctrl\\-A then\n"
    ".B h\n"
    "lists the keys,\n"
    ".B c\n"
    "switches between serial port and monitor,\n"
    ".B x\n"
    "ends the machine,\n"
    ".B b\n"
    "sends a break, and Ctrl\\-A again sends Ctrl\\-A.\n"
    ".SH EXIT STATUS\n"
    "0 when the machine ended as asked, 1 for an error, or the value a guest\n"
    "wrote to the isa\\-debug\\-exit device, doubled plus one.\n"
    ".SH ENVIRONMENT\n"
    ".TP\n"
    ".B TMPDIR\n"
    "where \\-snapshot keeps its temporary files\n"
    ".SH EXAMPLES\n"
    ".nf\n"
    "orrery \\-cdrom live.iso \\-boot d \\-m 512 \\-display curses\n"
    "orrery \\-kernel vmlinuz \\-initrd initrd.gz \\-append console=ttyS0 "
    "\\-nographic\n"
    "orrery \\-hda disk.img \\-accel kvm \\-monitor stdio\n"
    ".fi\n";

void options_print_man(FILE *out)
{
    fputs(man_head, out);
    fputs(".SH OPTIONS\n", out);
    for (const struct option_row *r = option_table; r->name != NULL; r++) {
        if (r->kind == OPT_SECTION) {
            fprintf(out, ".SS \"%s\"\n", r->name);
            continue;
        }
        fputs(".TP\n.B \\-", out);
        print_roff(out, r->name);
        if (r->alias != NULL) {
            fputs(" or \\-", out);
            print_roff(out, r->alias);
        }
        if (r->arg != NULL) {
            fputs(" \\fI", out);
            print_roff(out, r->arg);
            fputs("\\fR", out);
        }
        fputc('\n', out);
        print_roff(out, r->help);
        fputc('\n', out);
    }
    fputs(man_tail, out);
}
