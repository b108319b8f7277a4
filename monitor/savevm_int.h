/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_MONITOR_SAVEVM_INT_H
#define ORRERY_MONITOR_SAVEVM_INT_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>

#include "block/snapshot.h"
#include "monitor/savevm.h"
#include "monitor/vmstate.h"

/*
 * Shared by the savevm_*.c files.  Work on snapshots is done one after the
 * other: what comes while something is going on waits in a queue.  A piece of
 * work that takes long has a thread; begin and end are on the loop thread,
 * VM lock held, like everything here that is not said to be the thread's.
 */
enum { SAVEVM_BLOCK_BYTES = 1 << 20, SAVEVM_MAX_WAITING = 32 };

/*
 * Memory a machine and its frozen copy share: slots for octets, before each of
 * them room for what its predecessor left over.  A note to the copy: this slot
 * is free; from it: it is filled.
 */
enum {
    SAVEVM_SLOTS = 4,
    SAVEVM_SLOT_BYTES = 3 << 20,
    SAVEVM_CARRY_BYTES = 64 << 10, /* an image's cluster, usually */
    SAVEVM_SLOTS_BYTES = SAVEVM_SLOTS * (SAVEVM_SLOT_BYTES + SAVEVM_CARRY_BYTES)
};
struct savevm_note {
    uint32_t slot, bytes;
    uint32_t is_last;
};
static inline uint8_t *savevm_slot(uint8_t *slots, unsigned i)
{
    return slots + (size_t)i * (SAVEVM_SLOT_BYTES + SAVEVM_CARRY_BYTES) +
           SAVEVM_CARRY_BYTES;
}

struct savevm;

/* Octets of a machine's state in an image, in order. */
struct savevm_reader {
    struct vmstate_file *file;
    uint64_t pos, end;
    uint8_t *buf; /* SAVEVM_BLOCK_BYTES from buf_pos on */
    uint64_t buf_pos;
    size_t held;
};
int savevm_reader_open(struct savevm_reader *r, struct drive_table *t,
                       const struct snapshot_set *set, const char *name,
                       uint64_t bytes, struct err *e);
int savevm_read(void *reader, void *data, size_t bytes); /* vmstate_read_fn */
void savevm_reader_close(struct savevm_reader *r);

struct savevm_work {
    struct savevm_work *next;
    struct savevm *sv;
    struct vm *vm;
    enum savevm_kind kind;
    char name[256];
    bool may_replace, is_dropped; /* dropped: cancelled in the queue */
    uint64_t rate;                /* octets a second, 0: no limit */
    struct snapshot_set *set;
    struct monitor_session *session; /* is told, or NULL */
    struct savevm_job *job;          /* or NULL */
    struct vmstate_about about;      /* to be saved: note, screen, uid */

    /* While it goes on. */
    pthread_t thread;
    bool has_thread;
    _Atomic bool is_over, is_cancelled;
    int cancel_fd; /* readable: the same for those who wait, -1: none */
    uint64_t total;
    _Atomic uint64_t *progress; /* shared with the child */
    _Atomic uint64_t moved;     /* octets written or read */
    uint64_t paused_ns;
    int rc;
    struct err error;

    /* savevm_save.c */
    struct vmstate_file *file;
    pid_t child;
    int from_child; /* a socket */
    uint8_t *slots; /* the child has them, too */

    /* savevm_load.c */
    struct vmstate_head head;
    struct savevm_reader reader;
    uint64_t memory_at; /* in the stream */
    bool has_room;
    uint8_t *fresh;
};

/* Service "savevm". */
struct savevm {
    struct vm *vm;
    struct savevm_work *now, *queue, **last;
    struct monitor_session *waiting[SAVEVM_MAX_WAITING]; /* savevm_wait */
    struct savevm_job *jobs;
    /* What the machine goes on from. */
    char current[256];
    uint64_t ancestor[VMSTATE_MAX_ANCESTORS];
    unsigned ancestors;
    /* Of the last that was written, until somebody asked. */
    int last_rc;
    struct err last_error;
    struct savevm_wake *wakes;
    _Atomic unsigned posts; /* calls on their way to the loop thread */
};

struct savevm *savevm_of(struct vm *vm); /* NULL: out of memory */

/* Begin what takes long: *has_thread, then the thread runs main(w) and sets
 * is_over; without a thread it is run at once. */
void savevm_start_thread(struct savevm_work *w,
                         void (*main)(struct savevm_work *));

/* savevm_save.c */
int savevm_save_begin_locked(struct savevm_work *w, struct err *e);
void savevm_save_end_locked(struct savevm_work *w);
void savevm_save_cancel(struct savevm_work *w);

/* savevm_copy.c: what the child does; fd: its end of the socket.  It takes no
 * lock, other threads had them.  Does not return. */
_Noreturn void savevm_copy_main(struct savevm_work *w, int fd);
/* This thread, when it has to wait and wakes, does not take the processor from
 * the guest. */
void savevm_be_calm(void);

/* savevm_load.c */
int savevm_load_begin_locked(struct savevm_work *w, struct err *e);
void savevm_load_end_locked(struct savevm_work *w);

/* savevm_job.c */
struct savevm_job *savevm_job_new_locked(struct savevm *sv, const char *id,
                                         enum savevm_kind kind, struct err *e);
/* It is over; error NULL or "": well. */
void savevm_job_over_locked(struct savevm *sv, struct savevm_job *j, int rc,
                            const char *error);
void savevm_jobs_free(struct savevm *sv);

#endif
