/* SPDX-License-Identifier: GPL-2.0-or-later */
/* orrery: what it does depends on its first argument. */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "block/img/img.h"
#include "ui/import.h"
#include "ui/manager/manager.h"
#include "ui/options.h"
#include "ui/run.h"

static int run_command(int argc, char **argv)
{
    struct err e = ERR_INIT;
    struct options o;
    int status;

    options_init(&o);
    if (options_parse(&o, argc, argv, &e) < 0) {
        fprintf(stderr, "orrery: %s\n", e.text);
        status = 1;
    } else if (o.help != HELP_NONE) {
        status = run_print_help(&o);
    } else {
        status = run_machine(&o);
    }
    options_free(&o);
    return status;
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a write past ulimit -f fails instead */
    if (argc < 2) return manager_main();
    if (strcmp(argv[1], "img") == 0) return img_main(argc - 1, argv + 1);
    if (strcmp(argv[1], "import") == 0) return import_main(argc - 1, argv + 1);
    if (strcmp(argv[1], "run") == 0) return run_command(argc - 1, argv + 1);
    return run_command(argc, argv);
}
