/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_BASE_TRACE_H
#define ORRERY_BASE_TRACE_H

#include <stdbool.h>
#include <stdint.h>

#include "core/base/log.h"

/*
 * Trace events: one log line for each time it happens, "NAME what".  Switched
 * by `trace-event', `log trace:NAME' and -d trace:NAME.  Names are QEMU's where
 * it has the same event.  X(enum, name, what it tells)
 */
#define TRACE_EVENTS(X)                                                     \
    X(CPU_IN, "cpu_in", "a CPU reads a port")                               \
    X(CPU_OUT, "cpu_out", "a CPU writes a port")                            \
    X(MMIO_READ, "memory_region_ops_read", "device memory is read")         \
    X(MMIO_WRITE, "memory_region_ops_write", "device memory is written")    \
    X(RUN_STATE, "runstate_set", "the machine runs, pauses, ...")           \
    X(RESET, "system_reset", "the whole machine is reset")                  \
    X(REQUEST, "system_request", "somebody asks for reset, power off, ...") \
    X(PIC_SET_IRQ, "pic_set_irq", "a line of the 8259 PICs changes")        \
    X(IOAPIC_SET_IRQ, "ioapic_set_irq", "a line of the I/O APIC changes")   \
    X(KEY, "input_event_key", "a key goes to the guest")                    \
    X(MOUSE, "input_event_mouse", "motion and buttons go to the guest")     \
    X(IDE_COMMAND, "ide_exec_cmd", "an ATA command starts")                 \
    X(ATAPI_COMMAND, "ide_atapi_cmd", "a packet command starts")            \
    X(FDC_COMMAND, "fdc_command", "a command of the floppy controller")     \
    X(BLK_REQUEST, "blk_request", "a drive's request starts")               \
    X(HMP, "handle_hmp_command", "a line is given to a monitor")            \
    X(QMP, "handle_qmp_command", "a JSON request comes")                    \
    X(QMP_EVENT, "monitor_qmp_event", "an event goes to the JSON monitors") \
    X(GDB_COMMAND, "gdbstub_io_command", "gdb sends a packet")              \
    X(GDB_REPLY, "gdbstub_io_reply", "a packet goes to gdb")

enum trace_event {
#define X(id, name, help) TRACE_##id,
    TRACE_EVENTS(X)
#undef X
        TRACE_COUNT
};
_Static_assert(TRACE_COUNT <= 64, "log_choice.events has 64 bits");

const char *trace_name(enum trace_event ev);
const char *trace_help(enum trace_event ev);
/* Bits of the events whose names match; * and ? in pattern match any. */
uint64_t trace_match(const char *pattern);

static inline bool trace_is_on(enum trace_event ev)
{
    return log_events() >> ev & 1;
}

/* Any thread; nothing happens unless it is on. */
void trace(enum trace_event ev, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

#endif
