/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands about the JSON connection itself. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "core/vm/vm.h"
#include "monitor/commands.h"
#include "monitor/qmp.h"

/* Version of QEMU's protocol whose commands and shapes these are. */
enum { QMP_MAJOR = 7, QMP_MINOR = 2, QMP_MICRO = 0 };

void qmp_put_version(struct json_out *o)
{
    json_open(o, NULL, '{');
    json_open(o, "qemu", '{');
    json_int(o, "micro", QMP_MICRO);
    json_int(o, "minor", QMP_MINOR);
    json_int(o, "major", QMP_MAJOR);
    json_close(o, '}');
    json_str(o, "package", "Orrery " ORRERY_VERSION);
    json_close(o, '}');
}

int json_version(struct cmd *c, struct err *e)
{
    (void)e;
    qmp_put_version(c->json);
    return 0;
}

static void put_empty(struct json_out *o)
{
    json_open(o, NULL, '{');
    json_close(o, '}');
}

int json_capabilities(struct cmd *c, struct err *e)
{
    const struct json *list = c->arg[0].json;

    if (list != NULL && list->type != JSON_ARRAY)
        return err_set(e, -EINVAL,
                       "Invalid parameter type for 'enable', expected: array");
    if (list != NULL && list->first != NULL)
        return err_set(e, -EINVAL, "Capability %s not available",
                       list->first->type == JSON_STRING ? list->first->text
                                                        : "of that type");
    c->qmp->is_negotiated = true;
    put_empty(c->json);
    return 0;
}

int json_commands(struct cmd *c, struct err *e)
{
    const struct command *k = NULL;

    (void)e;
    json_open(c->json, NULL, '[');
    while ((k = command_next_json(k)) != NULL) {
        json_open(c->json, NULL, '{');
        json_str(c->json, "name", k->json);
        json_close(c->json, '}');
    }
    json_close(c->json, ']');
    return 0;
}

const char *qmp_event_name_at(unsigned i)
{
    static const char *const names[] = {
        "BLOCK_IO_ERROR",
        "BLOCK_JOB_CANCELLED",
        "BLOCK_JOB_COMPLETED",
        "BLOCK_JOB_ERROR",
        "BLOCK_JOB_READY",
        "DEVICE_TRAY_MOVED",
        "DUMP_COMPLETED",
        "BLOCK_JOB_PENDING",
        "JOB_STATUS_CHANGE",
        "MIGRATION",
        "POWERDOWN",
        "RESET",
        "RESUME",
        "SHUTDOWN",
        "STOP",
        "VNC_CONNECTED",
        "VNC_DISCONNECTED",
        "VNC_INITIALIZED",
    };

    return i < sizeof(names) / sizeof(names[0]) ? names[i] : NULL;
}

int json_events(struct cmd *c, struct err *e)
{
    const char *name;

    (void)e;
    json_open(c->json, NULL, '[');
    for (unsigned i = 0; (name = qmp_event_name_at(i)) != NULL; i++) {
        json_open(c->json, NULL, '{');
        json_str(c->json, "name", name);
        json_close(c->json, '}');
    }
    json_close(c->json, ']');
    return 0;
}

void qmp_put_text(struct json_out *o, const char *text)
{
    char *crlf = malloc(2 * strlen(text) + 1), *to = crlf;

    for (; crlf != NULL && *text != '\0'; text++) {
        if (*text == '\n') *to++ = '\r';
        *to++ = *text;
    }
    if (crlf != NULL) *to = '\0';
    json_str(o, NULL, crlf != NULL ? crlf : "");
    free(crlf);
}

/* In the session c->qmp->line, as one may have to wait for the answer. */
int json_line(struct cmd *c, struct err *e)
{
    struct monitor_session *s = &c->qmp->line;
    char *text = NULL;
    size_t bytes = 0;
    FILE *f;

    s->cpu = 0;
    if (c->arg[1].is_given) {
        uint64_t i = (uint64_t)c->arg[1].number;

        if (i >= vm_vcpu_count(c->vm))
            return err_set(e, -EINVAL,
                           "Parameter 'cpu-index' expects a CPU number");
        s->cpu = (unsigned)i;
    }
    f = open_memstream(&text, &bytes);
    if (f == NULL) return err_set(e, -ENOMEM, "out of memory");
    monitor_run_locked(s, c->arg[0].text, f);
    fclose(f);
    if (text == NULL) return err_set(e, -ENOMEM, "out of memory");
    qmp_put_text(c->json, text);
    free(text);
    return 0;
}

int json_view(struct cmd *c, struct err *e)
{
    if (c->qmp->o.view == NULL)
        return err_set(e, -ENOTSUP,
                       "x-orrery-view works on the control socket alone");
    c->qmp->wants_view = true;
    put_empty(c->json);
    return 0;
}
