/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/vm/report.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/json.h"
#include "core/vm/vm.h"

void vm_report_locked(struct vm *vm, const char *event, const char *data)
{
    const struct vm_report_sink *s = vm_service(vm, "report");

    if (s != NULL) s->report(s->arg, event, data);
}

struct text { /* JSON object being written */
    struct json_out o;
    char *text;
    size_t bytes;
};

static bool begin(struct vm *vm, struct text *t)
{
    *t = (struct text){ .text = NULL };
    if (vm_service(vm, "report") == NULL) return false;
    t->o.f = open_memstream(&t->text, &t->bytes);
    if (t->o.f == NULL) return false;
    json_open(&t->o, NULL, '{');
    return true;
}

static void end(struct vm *vm, struct text *t, const char *event)
{
    json_close(&t->o, '}');
    fclose(t->o.f);
    vm_report_locked(vm, event, t->text);
    free(t->text);
}

void vm_report_tray_locked(struct vm *vm, const char *drive, bool is_open)
{
    struct text t;

    if (!begin(vm, &t)) return;
    json_str(&t.o, "device", drive);
    json_str(&t.o, "id", drive);
    json_bool(&t.o, "tray-open", is_open);
    end(vm, &t, "DEVICE_TRAY_MOVED");
}

void vm_report_io_error_locked(struct vm *vm, const char *drive,
                               const char *node, const char *operation, const char *action,
                               int error)
{
    struct text t;

    if (!begin(vm, &t)) return;
    json_str(&t.o, "device", drive);
    json_str(&t.o, "node-name", node);
    json_str(&t.o, "operation", operation);
    json_str(&t.o, "action", action);
    json_bool(&t.o, "nospace", abs(error) == ENOSPC);
    json_str(&t.o, "reason", strerror(abs(error)));
    end(vm, &t, "BLOCK_IO_ERROR");
}

void vm_report_job_locked(struct vm *vm, const char *event, const char *type,
                          const char *device, uint64_t len, uint64_t offset,
                          uint64_t speed, const char *error)
{
    struct text t;

    if (!begin(vm, &t)) return;
    json_str(&t.o, "type", type);
    json_str(&t.o, "device", device);
    json_uint(&t.o, "len", len);
    json_uint(&t.o, "offset", offset);
    json_uint(&t.o, "speed", speed);
    if (error != NULL) json_str(&t.o, "error", error);
    end(vm, &t, event);
}
