/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_MONITOR_QMP_H
#define ORRERY_MONITOR_QMP_H

#include <stddef.h>

#include "core/base/json.h"
#include "monitor/monitor.h"

/* A JSON connection, as its own commands see it (cmd_qmp.c). */
struct qmp {
    struct vm *vm;
    struct qmp_options o;
    struct monitor_session session;
    struct json_stream in;
    /* An answer that comes later: its id as JSON, and what comes behind the
     * request meanwhile. */
    struct monitor_session line; /* of human-monitor-command */
    char *deferred_id;           /* NULL: it has none */
    uint8_t *held;
    size_t held_bytes;
    bool is_there;      /* a peer is connected */
    bool is_negotiated; /* qmp_capabilities was given */
    bool wants_view;    /* x-orrery-view: once the answer is out */
    bool is_view;
};

/* A line's answer, with CR LF as it would go to a terminal. */
void qmp_put_text(struct json_out *o, const char *text);

/* {"qemu": {...}, "package": ...} */
void qmp_put_version(struct json_out *o);
/* i-th event that may come; NULL at the end. */
const char *qmp_event_name_at(unsigned i);

#endif
