/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_MONITOR_GDB_INT_H
#define ORRERY_MONITOR_GDB_INT_H

#include <stdio.h>

#include "core/vm/debug.h"
#include "monitor/gdb.h"
#include "monitor/monitor.h"

/* The inside of the gdb stub, for gdb_*.c alone. */
struct cpu;

enum { GDB_PACKET_MAX = 0x4000 };

/* ---- gdb_packet.c: framing ---- */

enum gdb_event {
    GDB_NOTHING,
    GDB_PACKET,  /* reader.data, zero behind it */
    GDB_DAMAGED, /* wrong checksum, or longer than GDB_PACKET_MAX */
    GDB_BREAK,   /* Ctrl-C */
    GDB_ACK,
    GDB_NAK,
};

struct gdb_reader {
    enum { READ_IDLE, READ_DATA, READ_ESCAPED, READ_SUM1, READ_SUM2 } state;
    size_t bytes;
    uint8_t sum, given;
    bool is_bad;
    uint8_t data[GDB_PACKET_MAX + 1];
};

enum gdb_event gdb_reader_feed(struct gdb_reader *r, uint8_t b);
/* "$data#sum", special octets escaped. */
void gdb_frame(FILE *out, const void *data, size_t bytes);

int gdb_hex_digit(int c); /* -1: none */
void gdb_put_hex(FILE *out, const void *data, size_t bytes);
/* Hex octets at *at, which moves past them; how many there were, up to cap. */
size_t gdb_get_hex(const char **at, uint8_t *out, size_t cap);
/* A hexadecimal number at *at; false: none, or more than 64 bits. */
bool gdb_get_number(const char **at, uint64_t *out);

/* ---- gdb_registers.c, gdb_target.c ---- */

struct gdb_register {
    const char *name;
    const char *type; /* of the target description */
    uint16_t bits;
    uint16_t number; /* within its kind */
    enum gdb_register_kind {
        GDB_GPR,
        GDB_PC,
        GDB_FLAGS,
        GDB_SEGMENT,
        GDB_ST,
        GDB_FPU, /* fctrl, fstat, ftag, ... */
        GDB_XMM,
        GDB_MXCSR,
        GDB_SEGMENT_BASE,
        GDB_YMM_HIGH,
        GDB_KERNEL_GS,
        GDB_CONTROL, /* cr0, cr2, cr3, cr4, efer by number */
    } kind;
    const char *feature; /* a new one starts here, or NULL */
};
enum { GDB_REGISTER_BYTES = 16, GDB_EFER = 9 };

/* n-th register of the architecture; NULL at the end. */
const struct gdb_register *gdb_register_at(enum gdb_arch arch, unsigned n);
/* Little-endian value; returns its size in octets. */
size_t gdb_register_read(const struct cpu *c, enum gdb_arch arch,
                         const struct gdb_register *r,
                         uint8_t out[GDB_REGISTER_BYTES]);
/* -EPERM for those that may not be written. */
int gdb_register_write(struct cpu *c, enum gdb_arch arch,
                       const struct gdb_register *r, const uint8_t *in);
/* The target description (XML). */
void gdb_print_target(enum gdb_arch arch, FILE *out);

/* ---- the session ---- */

struct gdb {
    struct vm *vm;
    enum gdb_arch arch;
    void (*write)(void *arg, const void *data, size_t bytes);
    void *arg;
    struct monitor_session session; /* of `monitor' */
    struct gdb_reader reader;
    bool is_connected;
    bool is_no_ack;
    bool is_waiting;  /* for the machine to stop: gdb sent c, s, vCont */
    bool has_stopped; /* the machine is stopped because of us */
    bool is_physical; /* m and M take guest-physical addresses */
    bool is_detached; /* what comes next is from another gdb */
    bool is_closing;  /* k or D: nothing more is answered */
    unsigned cpu;     /* Hg: registers and memory */
    unsigned run_cpu; /* Hc: s and c; GDB_ALL_CPUS */
    char *last;       /* last frame sent, for NAK */
    size_t last_bytes;
};
enum { GDB_ALL_CPUS = ~0u };

/* gdb.c: send one reply; the text of err is not sent, gdb has no use for it. */
void gdb_reply(struct gdb *g, const char *text);
void gdb_reply_bytes(struct gdb *g, const void *data, size_t bytes);

/* gdb_command.c: one packet, VM lock held. */
void gdb_handle_locked(struct gdb *g, const char *p, size_t bytes);

/* gdb_run.c: VM lock held */
/* c, C, s, S, vCont: true if it was one of them. */
bool gdb_resume_locked(struct gdb *g, const char *p);
void gdb_stop_reply_locked(struct gdb *g); /* why it stands: ? */
void gdb_stopped_locked(struct gdb *g);    /* VM_EVENT_STOP */
void gdb_interrupt_locked(struct gdb *g);  /* Ctrl-C */
/* No points, no steps, no held CPUs; lets the machine go on if asked. */
void gdb_release_locked(struct gdb *g, bool is_resumed);

#endif
