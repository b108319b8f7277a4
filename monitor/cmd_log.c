/* SPDX-License-Identifier: GPL-2.0-or-later */
/* log, logfile, trace-event, info trace-events, singlestep. */
#include "core/base/log.h"

#include <errno.h>
#include <string.h>

#include "core/base/trace.h"
#include "core/vm/single.h"
#include "core/vm/vm.h"
#include "monitor/commands.h"
#include "monitor/output.h"

static bool is_soft(struct vm *vm)
{
    return vm_service(vm, "singlestep") != NULL;
}

int cmd_log(struct cmd *c, struct err *e)
{
    static const unsigned inside = LOG_CPU | LOG_EXEC | LOG_IN_ASM | LOG_INT;
    struct log_choice choice;
    int rc;

    if (strcmp(c->arg[0].text, "help") == 0) {
        fputs("Log items (comma separated):\n"
              "none            remove all logs\n"
              "all             everything\n",
              c->out);
        for (const struct log_item_row *r = log_item_rows; r->name; r++)
            fprintf(c->out, "%-15s %s\n", r->name, r->help);
        return 0;
    }
    rc = log_parse(c->arg[0].text, &choice, e);
    if (rc < 0) return rc;
    vm_park_locked(c->vm); /* CPUs look at it when they start anew */
    log_choose(&choice);
    vm_unpark_locked(c->vm);
    if ((choice.items & inside) && !is_soft(c->vm))
        fputs("cpu, exec, in_asm and int show what the software CPU does; "
              "this is KVM\n",
              c->out);
    return 0;
}

int cmd_logfile(struct cmd *c, struct err *e)
{
    int rc = output_check(c->arg[0].text, e);

    if (rc < 0) return rc;
    rc = log_open(c->arg[0].text);
    if (rc < 0)
        err_set(e, rc, "Error opening logfile %s: %s", c->arg[0].text,
                strerror(-rc));
    return rc;
}

/* ---- trace events ---- */

static int match(const char *pattern, uint64_t *events, struct err *e)
{
    *events = trace_match(pattern);
    if (*events != 0) return 0;
    return err_set(e, -ENOENT, "unknown event \"%s\"", pattern);
}

static void set_events(uint64_t events, bool on)
{
    log_set_events(on ? log_events() | events : log_events() & ~events);
}

/* vCPU numbers narrow what is traced in QEMU for events of CPUs; there are
 * none of that kind here. */
static int no_vcpu(const struct cmd_arg *a, struct err *e)
{
    if (!a->is_given) return 0;
    return err_set(e, -ENOTSUP, "events are not told apart by CPU");
}

int cmd_trace_event(struct cmd *c, struct err *e)
{
    uint64_t events;
    int rc = no_vcpu(&c->arg[2], e);

    if (rc == 0) rc = match(c->arg[0].text, &events, e);

    if (rc == 0) set_events(events, c->arg[1].number);
    return rc;
}

int info_trace_events(struct cmd *c, struct err *e)
{
    uint64_t events;
    int rc = no_vcpu(&c->arg[1], e);

    if (rc == 0)
        rc = match(c->arg[0].is_given ? c->arg[0].text : "*", &events, e);
    for (unsigned i = 0; rc == 0 && i < TRACE_COUNT; i++) {
        if (events >> i & 1)
            fprintf(c->out, "%s : state %d\n", trace_name(i), trace_is_on(i));
    }
    return rc;
}

int json_trace_get(struct cmd *c, struct err *e)
{
    uint64_t events;
    int rc = match(c->arg[0].text, &events, e);

    if (rc < 0) return rc;
    json_open(c->json, NULL, '[');
    for (unsigned i = 0; i < TRACE_COUNT; i++) {
        if (!(events >> i & 1)) continue;
        json_open(c->json, NULL, '{');
        json_str(c->json, "name", trace_name(i));
        json_bool(c->json, "vcpu", false);
        json_str(c->json, "state", trace_is_on(i) ? "enabled" : "disabled");
        json_close(c->json, '}');
    }
    json_close(c->json, ']');
    return 0;
}

int json_trace_set(struct cmd *c, struct err *e)
{
    uint64_t events;
    int rc = match(c->arg[0].text, &events, e);

    if (rc < 0) return rc;
    set_events(events, c->arg[1].number);
    json_open(c->json, NULL, '{');
    json_close(c->json, '}');
    return 0;
}

/* ---- one instruction at a time ---- */

int cmd_singlestep(struct cmd *c, struct err *e)
{
    const struct single_service *s = vm_service(c->vm, "singlestep");

    if (s == NULL)
        return err_set(e, -ENOTSUP,
                       "only the software CPU has this mode (-accel soft)");
    vm_park_locked(c->vm);
    s->set(s->arg, !c->arg[0].is_given || c->arg[0].number);
    vm_unpark_locked(c->vm);
    return 0;
}

bool monitor_is_single(struct vm *vm)
{
    const struct single_service *s = vm_service(vm, "singlestep");

    return s != NULL && s->get(s->arg);
}
