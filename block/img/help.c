/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the commands' table says, as help, manual page and completion. */
#include <stdio.h>
#include <string.h>

#include "block/img/img.h"
#include "config.h"

/* "[-f fmt]" or "[--output=ofmt]". */
static void print_short(const struct img_option *o)
{
    if (o->id < 256)
        printf(o->arg != NULL ? " [-%c %s]" : " [-%c]", o->id, o->arg);
    else
        printf(o->arg != NULL ? " [--%s=%s]" : " [--%s]", o->name, o->arg);
}

static void print_usage(const struct img_command *c)
{
    printf("  %s", c->name);
    for (const struct img_option *o = c->options; o->id != 0; o++)
        print_short(o);
    printf(" %s\n", c->operands);
}

static const char *option_text(const struct img_option *o, char *buf,
                               size_t cap)
{
    const char *sep = o->arg == NULL ? "" : o->id < 256 ? " " : "=";
    const char *arg = o->arg == NULL ? "" : o->arg;

    if (o->id >= 256)
        snprintf(buf, cap, "--%s%s%s", o->name, sep, arg);
    else if (o->name != NULL)
        snprintf(buf, cap, "-%c, --%s%s%s", o->id, o->name,
                 o->arg == NULL ? "" : "=", arg);
    else
        snprintf(buf, cap, "-%c%s%s", o->id, sep, arg);
    return buf;
}

static void print_formats(void)
{
    printf("Supported formats:");
    for (unsigned i = 0; block_drivers[i] != NULL; i++) {
        if (!block_drivers[i]->is_filter) printf(" %s", block_drivers[i]->name);
    }
    putchar('\n');
}

void img_print_help(const struct img_command *const *all)
{
    puts("orrery img version " ORRERY_VERSION "\n"
         "usage: orrery img command [command options]\n"
         "Disk image utility; commands, options and output as qemu-img's\n\n"
         "    -h, --help             display this help and exit\n"
         "    -V, --version          output version information and exit\n"
         "    --man                  print the manual page\n"
         "    --bash-completion      print completion for bash\n\n"
         "`orrery img COMMAND --help` describes one command.\n\n"
         "Command syntax:");
    for (; *all != NULL; all++)
        print_usage(*all);
    puts("\nSizes take the suffixes k, M, G, T, P and E (powers of 1024).\n"
         "Exit status of check: 0 clean, 1 check failed, 2 corrupt, 3 leaks\n"
         "alone, 63 the format has no check; of compare: 0 alike, 1 not,\n"
         "2 and more: an error.\n");
    print_formats();
}

void img_print_command_help(const struct img_command *c)
{
    char text[80];

    printf("usage: orrery img");
    print_usage(c);
    printf("%s\n\n", c->help);
    for (const struct img_option *o = c->options; o->id != 0; o++)
        printf("  %-28s %s\n", option_text(o, text, sizeof(text)), o->help);
    putchar('\n');
    print_formats();
}

/* Hyphens that are to be typed are no line breaks. */
static void print_roff(const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text == '-' || *text == '\\') putchar('\\');
        if (*text == '\'') {
            fputs("\\(aq", stdout);
            continue;
        }
        putchar(*text);
    }
}

static void print_man_command(const struct img_command *c)
{
    char text[80];

    printf(".SS %s\n", c->name);
    print_roff(c->help);
    printf(".\n.PP\n.B orrery img %s\n", c->name);
    printf("[options] ");
    print_roff(c->operands);
    putchar('\n');
    for (const struct img_option *o = c->options; o->id != 0; o++) {
        printf(".TP\n.B ");
        print_roff(option_text(o, text, sizeof(text)));
        putchar('\n');
        print_roff(o->help);
        putchar('\n');
    }
}

void img_print_man(const struct img_command *const *all)
{
    puts(".TH ORRERY-IMG 1 \"\" \"Orrery " ORRERY_VERSION "\"\n"
         ".SH NAME\norrery-img \\- make, convert and repair disk images\n"
         ".SH SYNOPSIS\n.B orrery img\n.I command\n[options]\n"
         ".SH DESCRIPTION\nCommands, options, output and exit statuses are "
         "those of qemu-img(1).\nSizes take the suffixes k, M, G, T, P and E "
         "(powers of 1024).\nLong work shows its progress with\n.B \\-p\nand "
         "when it gets SIGUSR1; interrupted, it leaves nothing half\\-made "
         "under the target's name.\n.SH COMMANDS");
    for (const struct img_command *const *c = all; *c != NULL; c++)
        print_man_command(*c);
    puts(".SH EXIT STATUS\n0 for success, 1 for an error.\n"
         ".TP\n.B check\n0 clean, 1 the check failed, 2 the image is corrupt, "
         "3 it has leaked clusters alone, 63 the format cannot be checked.\n"
         ".TP\n.B compare\n0 the images are alike, 1 they differ, 2 one could "
         "not be opened, 3 and 4 one could not be read.\n"
         ".SH SEE ALSO\norrery(1), qemu\\-img(1)");
}

void img_print_completion(const struct img_command *const *all)
{
    puts("# bash completion of orrery img\n"
         "_orrery_img() {\n"
         "    local cur=${COMP_WORDS[COMP_CWORD]} words=\n"
         "    [ \"${COMP_WORDS[1]}\" = img ] || {\n"
         "        COMPREPLY=($(compgen -f -W img -- \"$cur\")); return; }\n"
         "    if [ \"$COMP_CWORD\" -eq 2 ]; then");
    printf("        words='");
    for (const struct img_command *const *c = all; *c != NULL; c++)
        printf("%s%s", c == all ? "" : " ", (*c)->name);
    puts("'\n    else\n        case ${COMP_WORDS[2]} in");
    for (const struct img_command *const *c = all; *c != NULL; c++) {
        printf("        %s) words='", (*c)->name);
        for (const struct img_option *o = (*c)->options; o->id != 0; o++) {
            if (o->id < 256) printf("-%c ", o->id);
            if (o->name != NULL) printf("--%s ", o->name);
        }
        puts("--help' ;;");
    }
    puts("        esac\n    fi\n"
         "    case $cur in\n"
         "    -*) COMPREPLY=($(compgen -W \"$words\" -- \"$cur\")) ;;\n"
         "    *) if [ \"$COMP_CWORD\" -eq 2 ]; then\n"
         "           COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
         "       else\n"
         "           COMPREPLY=($(compgen -f -- \"$cur\"))\n"
         "       fi ;;\n"
         "    esac\n"
         "}\n"
         "complete -o filenames -F _orrery_img orrery");
}
