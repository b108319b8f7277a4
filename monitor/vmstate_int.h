/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_MONITOR_VMSTATE_INT_H
#define ORRERY_MONITOR_VMSTATE_INT_H

/* Shared by the vmstate_*.c files: the stream's sections. */

#include "core/vm/config.h"
#include "core/vm/vcpu.h"
#include "monitor/vmstate.h"

enum {
    STREAM_VERSION = 1,
    CHUNK_BYTES = 1 << 20,
    MAX_META_BYTES = 65536,
    MAX_STATE_BYTES = 256 << 20,
    LOW_BYTES = 1 << 20, /* where a reset may put firmware */
};

struct section {
    char type[4];
    uint32_t crc;
    uint64_t bytes;
};

/* Which events of a vCPU are state; the others follow from the devices'. */
enum {
    VMSTATE_EVENTS = VCPU_NMI | VCPU_SMI | VCPU_INIT | VCPU_SIPI,
};

extern const char vmstate_magic[8];

/* At the start of a CPU section, state rows of its own. */
struct cpu_head {
    uint32_t index, events;
    uint64_t tsc;
    uint8_t sipi_vector;
};
extern const struct field vmstate_cpu_head[];

uint32_t vmstate_crc(const void *data, size_t bytes);
int vmstate_damaged(struct err *e, const char *what);
/* A section's head, its length at most max. */
int vmstate_read_section(vmstate_read_fn read, void *arg, struct section *s,
                         uint64_t max, struct err *e);
int vmstate_cut_short(struct err *e, int rc);
int vmstate_read_body(vmstate_read_fn read, void *arg, const struct section *s,
                      uint8_t *to, struct err *e);

#endif
