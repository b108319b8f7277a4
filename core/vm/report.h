/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_VM_REPORT_H
#define ORRERY_VM_REPORT_H

#include <stdbool.h>
#include <stdint.h>

/*
 * News for programs that manage the machine (QMP events): devices, displays
 * and block jobs say what happened, whoever listens passes it on.  VM lock
 * held, any thread; costs nothing while nobody listens.
 */
struct vm;
struct json_out;

/* The JSON answer of a device or display: service "query-pci", "query-vnc",
 * "query-vnc-servers", "query-rx-filter".  Writes one value; VM lock held. */
struct vm_query {
    void (*write)(void *arg, struct json_out *o);
    void *arg;
};

struct vm_report_sink { /* service "report" */
    void (*report)(void *arg, const char *event, const char *data);
    void *arg;
};

/* event: QMP's name, "DEVICE_DELETED"; data: a JSON object's text or NULL. */
void vm_report_locked(struct vm *vm, const char *event, const char *data);

/* A drive's tray was opened or closed, by the guest or by the user. */
void vm_report_tray_locked(struct vm *vm, const char *drive, bool is_open);

/* A request failed.  node: of the image; operation: "read", "write"; action:
 * what was done about it, "report", "ignore" or "stop". */
void vm_report_io_error_locked(struct vm *vm, const char *drive,
                               const char *node, const char *operation, const char *action,
                               int error);

/* event: BLOCK_JOB_COMPLETED, _CANCELLED, _READY, _ERROR ...; type: "backup",
 * "stream", ...; error: text or NULL. */
void vm_report_job_locked(struct vm *vm, const char *event, const char *type,
                          const char *device, uint64_t len, uint64_t offset,
                          uint64_t speed, const char *error);

#endif
