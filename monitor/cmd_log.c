/* SPDX-License-Identifier: GPL-2.0-or-later */
/* log, logfile. */
#include "core/base/log.h"

#include <errno.h>
#include <string.h>

#include "monitor/commands.h"

static const struct {
    const char *name;
    unsigned item;
    const char *help;
} log_names[] = {
    { "guest_errors", LOG_GUEST_ERRORS,
      "what the guest does that hardware does not like" },
    { "int", LOG_INT, "interrupts and exceptions" },
    { "cpu_reset", LOG_CPU_RESET, "CPU state at resets" },
    { "unimp", LOG_UNIMP, "functions that are not there" },
    { "trace", LOG_TRACE, "trace lines of devices" },
};
enum { LOG_NAMES = sizeof(log_names) / sizeof(log_names[0]) };

int cmd_log(struct cmd *c, struct err *e)
{
    const char *p = c->arg[0].text;
    unsigned items = 0;

    if (strcmp(p, "help") == 0) {
        fputs("Log items (comma separated):\n"
              "none            remove all logs\n"
              "all             everything\n",
              c->out);
        for (unsigned i = 0; i < LOG_NAMES; i++)
            fprintf(c->out, "%-15s %s\n", log_names[i].name, log_names[i].help);
        return 0;
    }
    if (strcmp(p, "all") == 0) {
        for (unsigned i = 0; i < LOG_NAMES; i++)
            items |= log_names[i].item;
        p = "none";
    }
    while (*p != '\0' && strcmp(p, "none") != 0) {
        size_t n = strcspn(p, ",");
        unsigned i = 0;

        while (i < LOG_NAMES && (strlen(log_names[i].name) != n ||
                                 strncmp(log_names[i].name, p, n) != 0))
            i++;
        if (i == LOG_NAMES)
            return err_set(e, -EINVAL, "no log item '%.*s'", (int)n, p);
        items |= log_names[i].item;
        p += n + (p[n] == ',');
    }
    log_set_items(items);
    return 0;
}

int cmd_logfile(struct cmd *c, struct err *e)
{
    int rc = log_open(c->arg[0].text);

    if (rc < 0)
        err_set(e, rc, "Error opening logfile %s: %s", c->arg[0].text,
                strerror(-rc));
    return rc;
}
