/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_MONITOR_VMSTATE_H
#define ORRERY_MONITOR_VMSTATE_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/err.h"
#include "core/vm/state.h"

/*
 * State of a whole machine as a stream of octets: in a snapshot, a file, a
 * pipe.
 *
 *     "ORRERYVM", version
 *     sections: type (4 letters), length, CRC-32, octets
 *         META  machine, memory, CPUs, clock: "key=value" lines
 *         CPU   one for each: TSC, pending events, registers (state rows)
 *         DEVS  all devices (dev_save_tree)
 *         RAM   up to 1 MiB of main memory: offset, length, zstd
 *         END
 *
 * Whoever reads one trusts nothing in it.
 */
struct vm;

/* Machine stopped, VM lock held: the accelerator hands over what it has. */
void vmstate_prepare_locked(struct vm *vm);
/* Then everything but memory; in a forked child too: no lock is taken. */
int vmstate_capture(struct vm *vm, struct state_out *out, const char *parent,
                    struct err *e);

/* Sink and source: 0 or -errno; all octets or an error. */
typedef int (*vmstate_write_fn)(void *arg, const void *data, size_t bytes);
typedef int (*vmstate_read_fn)(void *arg, void *data, size_t bytes);

/* Main memory and the end, to a sink.  Runs in a forked child too: it touches
 * nothing but the memory and the sink.  progress (octets of memory) or NULL. */
int vmstate_write_ram(const uint8_t *ram, uint64_t bytes,
                      vmstate_write_fn write, void *arg,
                      _Atomic uint64_t *progress);

/* What a stream says of its machine, before anything is changed. */
struct vmstate_head {
    uint64_t clock_ns;
    char parent[256];
    uint8_t *cpus; /* sections as they are */
    size_t cpus_bytes;
    uint8_t *devices;
    size_t devices_bytes;
};
/* Read up to the memory and check it against the machine.  Free in any case.
 */
int vmstate_read_head(struct vm *vm, vmstate_read_fn read, void *arg,
                      struct vmstate_head *h, struct err *e);
void vmstate_head_free(struct vmstate_head *h);
/* The rest of the stream is all there and its checksums are right; nothing is
 * changed. */
int vmstate_verify_ram(struct vm *vm, vmstate_read_fn read, void *arg,
                       struct err *e);
/* Put CPUs, clock and devices into the state: stopped, VM lock held.  On
 * failure all of them are what they were. */
int vmstate_restore_locked(struct vm *vm, const struct vmstate_head *h,
                           struct err *e);
/* Then memory, to the end of the stream.  On failure the machine is unusable
 * until a reset. */
int vmstate_load_ram_locked(struct vm *vm, vmstate_read_fn read, void *arg,
                            struct err *e);

#endif
