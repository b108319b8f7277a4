/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_MONITOR_QMP_H
#define ORRERY_MONITOR_QMP_H

#include "core/base/json.h"
#include "monitor/monitor.h"

/* A JSON connection, as its own commands see it (cmd_qmp.c). */
struct qmp {
    struct vm *vm;
    struct qmp_options o;
    struct monitor_session session;
    struct json_stream in;
    bool is_there;      /* a peer is connected */
    bool is_negotiated; /* qmp_capabilities was given */
    bool wants_view;    /* x-orrery-view: once the answer is out */
    bool is_view;
};

/* {"qemu": {...}, "package": ...} */
void qmp_put_version(struct json_out *o);

#endif
