/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_TESTS_CRASH_RIG_H
#define ORRERY_TESTS_CRASH_RIG_H

#include <stdbool.h>
#include <stdint.h>

#include "block/image.h"

/*
 * Crash rig: a seeded list of operations on an image, a model of what each
 * sector may hold after a crash at any moment, and judges (Debian's qemu-img,
 * our own check) of the image that is left.
 *
 * What may be there: the value of the last write before the last flush that
 * was acknowledged, or of any write begun later.
 */
enum {
    RIG_SECTOR = 512,
    RIG_DISK_BYTES = 16 << 20,
    RIG_SECTORS = RIG_DISK_BYTES / RIG_SECTOR,
    RIG_MAX_OPS = 4000,
    RIG_MAX_SNAPSHOTS = 4,
};

/* ---------------------------------------------------------- operations */

enum op_kind {
    OP_WRITE,
    OP_COMPRESSED,
    OP_ZERO,
    OP_DISCARD,
    OP_FLUSH,
    OP_SNAPSHOT,
    OP_DELETE,
};
struct op {
    enum op_kind kind;
    uint32_t first, sectors; /* or slot of a snapshot in first, and what
                                OP_DELETE deletes: the value of OP_SNAPSHOT */
    uint32_t value;          /* what is written: number of the op + 1 */
};

/* A kind of image to try. */
struct flavour {
    const char *name;
    const char *pairs[9]; /* -o options, NULL at the end */
    bool has_backing, has_snapshots, can_compress, only_writes;
};
extern const struct flavour flavours[];
extern const unsigned flavour_count;

void ops_make(struct op *ops, unsigned count, unsigned seed,
              const struct flavour *f);
/* 0 or -errno. */
int op_run(struct node *n, const struct op *o);

/* Image dir/disk.qcow2 (and dir/base.raw); exits on failure. */
void rig_create(const char *dir, const struct flavour *f);
struct node *rig_open(const char *dir, const char *faults, const char *log,
                      struct err *e);

/* --------------------------------------------------------------- model */

enum { MODEL_SET = 24 };
struct value_set {
    uint32_t value[MODEL_SET];
    uint32_t count;
};
struct model {
    const struct flavour *f;
    struct value_set *now;   /* of each sector, if all had gone well */
    struct value_set *after; /* what a crash may leave */
    struct {
        struct value_set *held; /* NULL: slot not used */
        uint32_t value;         /* of the operation that took it */
        bool may_be_gone;       /* its deletion was begun */
    } snapshot[RIG_MAX_SNAPSHOTS];
};
struct model *model_new(const struct flavour *f);
void model_free(struct model *m);
void model_begin(struct model *m, const struct op *o);
void model_done(struct model *m, const struct op *o);
void model_failed(struct model *m, const struct op *o);

/* -------------------------------------------------------------- judging */

struct verdict {
    bool is_bad;
    char why[420];
};
/* The image in dir as a crash left it, against the model. */
void judge(const char *dir, const struct model *m, struct verdict *v);
int rig_system(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
uint64_t rig_now_ms(void);

#endif
