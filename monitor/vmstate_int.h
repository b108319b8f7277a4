/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_MONITOR_VMSTATE_INT_H
#define ORRERY_MONITOR_VMSTATE_INT_H

/* Shared by the vmstate_*.c files: the stream's sections. */

#include "core/vm/config.h"
#include "core/vm/vcpu.h"
#include "monitor/vmstate.h"

enum {
    STREAM_VERSION = 2, /* 1: CRC-32 of another polynomial */
    CHUNK_BYTES = VMSTATE_PIECE_BYTES,
    MAX_META_BYTES = 65536,
    MAX_STATE_BYTES = 256 << 20,
    LOW_BYTES = 1 << 20, /* where a reset may put firmware */
    RAM_HEAD_BYTES = 16, /* offset, raw length, how */
    RAM_ZERO = 1,
    RAM_PLAIN = 2,
    RAM_ZSTD = 3,
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

/* Append a section. */
void vmstate_append(struct state_out *out, const char *type,
                    const struct state_out *body);
/* vmstate_about.c: META, and NOTE and SCRN where a->uid is not 0. */
void vmstate_append_about(struct vm *vm, struct state_out *out,
                          const struct vmstate_about *a);
/* Name of the machine type, not an alias. */
const char *vmstate_machine_name(struct vm *vm);
/* The n-th value of a key in META; false: there are fewer. */
bool vmstate_meta(const char *text, const char *key, unsigned n, char *out,
                  size_t cap);
/* Up to the head of the first section that is not about the machine; *meta is
 * the caller's to free, set or not. */
int vmstate_read_begin(vmstate_read_fn read, void *arg, struct vmstate_about *a,
                       char **meta, struct section *next, struct err *e);
/* vmstate_cpuid.c: this machine's CPUs can go on with what the saved ones
 * were told they have. */
int vmstate_check_cpuid(struct vm *vm, const char *meta, struct err *e);
/* vmstate_ram.c: exactly bytes come out of what was compressed. */
bool vmstate_unpack(void *to, size_t bytes, const void *from, size_t packed);
/* Compressed into at most cap octets; 0: it does not get smaller. */
size_t vmstate_pack(void *to, size_t cap, const void *from, size_t bytes);
/* Magic and version. */
int vmstate_read_start(vmstate_read_fn read, void *arg, struct err *e);

uint32_t vmstate_crc(const void *data, size_t bytes);
int vmstate_damaged(struct err *e, const char *what);
/* A section's head, its length at most max. */
int vmstate_read_section(vmstate_read_fn read, void *arg, struct section *s,
                         uint64_t max, struct err *e);
int vmstate_cut_short(struct err *e, int rc);
int vmstate_read_body(vmstate_read_fn read, void *arg, const struct section *s,
                      uint8_t *to, struct err *e);

#endif
