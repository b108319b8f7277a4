/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_MONITOR_VMSTATE_H
#define ORRERY_MONITOR_VMSTATE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/err.h"
#include "core/vm/state.h"

/*
 * State of a whole machine as a stream of octets: in a snapshot, a file, a
 * pipe.
 *
 *     "ORRERYVM", version
 *     sections: type (4 letters), CRC-32C, length, octets
 *         META  machine, memory, CPUs, clock: "key=value" lines
 *         NOTE  what the user wrote, room for more of it
 *         SCRN  size, a small picture and the text of the screen
 *         ACCL  what the accelerator alone knows
 *         CPU   one for each: TSC, pending events, registers (state rows)
 *         DEVS  all devices (dev_save_tree); DEVZ: the same, zstd
 *         RAM   up to 1 MiB of main memory: offset, length, zstd
 *         END
 *
 * NOTE, SCRN and ACCL may be missing.  Whoever reads one trusts nothing in it.
 */
struct vm;
struct mem_region;

/* Sink and source: 0 or -errno; all octets or an error. */
typedef int (*vmstate_write_fn)(void *arg, const void *data, size_t bytes);
typedef int (*vmstate_read_fn)(void *arg, void *data, size_t bytes);

/* ---- what a saved machine is, for people ---- */

enum {
    VMSTATE_MAX_ANCESTORS = 64,
    VMSTATE_NOTE_BYTES = 1024, /* with the zero at its end */
    VMSTATE_THUMB_WIDTH = 160,
    VMSTATE_THUMB_HEIGHT = 120,
};

struct vmstate_about {
    char machine[64], accel[16], cpu[128];
    uint64_t ram_bytes, clock_ns;
    unsigned cpus;
    uint64_t uid; /* of this state, 0: unknown */
    /* Where it came from, nearest first; the name it had then. */
    char parent[256];
    uint64_t ancestor[VMSTATE_MAX_ANCESTORS];
    unsigned ancestors;
    char note[VMSTATE_NOTE_BYTES];
    uint64_t note_at; /* in the stream: of the section; 0: there is none */
    /* The screen: its size, 0 if it had none; a picture of at most
     * VMSTATE_THUMB_* (RGB octets); lines of UTF-8 or "" in graphics. */
    unsigned width_px, height_px, thumb_width_px, thumb_height_px;
    uint8_t *thumb;
    char *text;
};

/* Look at the screen; a machine without one has none.  Loop thread, VM lock
 * held. */
void vmstate_look_locked(struct vm *vm, struct vmstate_about *a);
/* The first sections, up to the first that is none of these; is all there is
 * to show without loading it. */
int vmstate_read_about(vmstate_read_fn read, void *arg, struct vmstate_about *a,
                       struct err *e);
void vmstate_about_free(struct vmstate_about *a);
/* A NOTE section, to be written over the one at note_at. */
enum { VMSTATE_NOTE_SECTION_BYTES = 16 + VMSTATE_NOTE_BYTES };
void vmstate_make_note(const char *text,
                       uint8_t out[VMSTATE_NOTE_SECTION_BYTES]);

/* ---- saving ---- */

/* The accelerator can hand over and take back all of its CPUs' state; what:
 * "snapshots of a running machine are" ... */
int vmstate_check_accel(struct vm *vm, const char *what, struct err *e);
/* Machine stopped, VM lock held: the accelerator hands over what it has. */
void vmstate_prepare_locked(struct vm *vm);
/* Then everything but memory; in a forked child too: no lock is taken. */
int vmstate_capture(struct vm *vm, struct state_out *out, const char *parent,
                    struct err *e);
/* The same with uid, ancestors, note and screen of a; devices compressed. */
int vmstate_capture_about(struct vm *vm, struct state_out *out,
                          const struct vmstate_about *a, struct err *e);

/* Main memory and the end, to a sink. */
int vmstate_write_ram(const uint8_t *ram, uint64_t bytes,
                      vmstate_write_fn write, void *arg);
/*
 * The same piece by piece, in any order, each thread with a packer of its own;
 * in a forked child too.  A piece of at most VMSTATE_PIECE_BYTES, and the end
 * after all of them, become octets at to, which has VMSTATE_PIECE_ROOM; how
 * many is returned.
 */
enum {
    VMSTATE_PIECE_BYTES = 1 << 20,
    VMSTATE_PIECE_ROOM = VMSTATE_PIECE_BYTES + 64,
    VMSTATE_GEARS = 4, /* 0 makes it smallest, the last is fastest */
};
struct vmstate_packer;
struct vmstate_packer *vmstate_packer_new(void); /* NULL: out of memory */
void vmstate_packer_free(struct vmstate_packer *p);
void vmstate_packer_set(struct vmstate_packer *p, unsigned gear); /* new: 0 */
size_t vmstate_pack_ram(struct vmstate_packer *p, uint8_t *to,
                        const uint8_t *ram, uint64_t at, size_t bytes);
size_t vmstate_pack_end(uint8_t *to);

/* ---- loading ---- */

/* What a stream says of its machine, before anything is changed. */
struct vmstate_head {
    struct vmstate_about about;
    char *meta;
    uint8_t *accel; /* ACCL, NULL: none */
    size_t accel_bytes;
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
/* The same; then is called before there is no way back any more, and its
 * failure is one. */
int vmstate_restore_then_locked(struct vm *vm, const struct vmstate_head *h,
                                int (*then)(void *arg, struct err *e),
                                void *arg, struct err *e);
/*
 * Memory up to the end of the stream into fresh memory of the size of ram,
 * checked as it comes, by several threads; nothing else is touched.  Any
 * thread.  progress: octets read, or NULL; *stop: give up with -ECANCELED, or
 * NULL.
 */
int vmstate_read_ram(const struct mem_region *ram, vmstate_read_fn read,
                     void *arg, _Atomic uint64_t *progress,
                     const _Atomic bool *stop, uint8_t **fresh, struct err *e);
/* It becomes the machine's memory; cannot fail once it was read. */
void vmstate_take_ram_locked(struct vm *vm, uint8_t *fresh);
void vmstate_drop_ram(const struct mem_region *ram, uint8_t *fresh);
/* The host has room for that many octets more. */
bool vmstate_has_room(uint64_t bytes);
/* Without room: memory, to the end of the stream.  On failure the machine is
 * unusable until a reset. */
int vmstate_load_ram_locked(struct vm *vm, vmstate_read_fn read, void *arg,
                            struct err *e);

#endif
