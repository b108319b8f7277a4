/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_VM_DEV_H
#define ORRERY_VM_DEV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/err.h"
#include "core/vm/state.h"

/*
 * Device tree.  A device is one const record (struct dev_class) and a state
 * struct of class->size bytes, zeroed and filled with property defaults
 * before create.  VM lock held for everything, or before the machine runs.
 */
struct vm;
struct dev;

enum dev_bus {
    BUS_SYSTEM, /* part of a chip set, not for -device */
    BUS_ISA,
    BUS_PCI,
    BUS_IDE,
    BUS_FLOPPY,
};

enum prop_type {
    P_END,
    P_BOOL,
    P_U32,
    P_U64,
    P_SIZE,
    P_STR,
    P_DRIVE,
    P_CHARDEV
};

/* One property row drives parser, default, range error, `X,help`, info qtree
 * and form fields.  P_STR fields are char * owned by the device, P_DRIVE and
 * P_CHARDEV are char * names. */
struct prop {
    const char *name;
    enum prop_type type;
    uint32_t offset;
    uint64_t min, max;
    const char *def;  /* text, as a user would write it; NULL: 0 / none */
    const char *unit; /* "bytes", "hz", NULL */
    const char *help;
};
#define PROP(n, ty, t, f, mn, mx, df, un, hp)                                \
    {                                                                        \
        .name = n, .type = ty, .offset = offsetof(struct t, f), .min = (mn), \
        .max = (mx), .def = df, .unit = un, .help = hp                       \
    }
#define PROP_END                    \
    {                               \
        .name = NULL, .type = P_END \
    }

struct dev_class {
    const char *name;  /* as in -device */
    const char *title; /* one line for people */
    enum dev_bus bus;
    size_t size; /* state struct, bytes */
    const struct prop *props;
    const struct field *state; /* NULL only for devices without state */
    unsigned version;          /* of the state table, from 1 */
    bool is_internal;          /* not for -device */
    int (*create)(struct dev *d, struct err *e);
    void (*reset)(struct dev *d);
    /* After all fields are loaded: recompute derived values, re-arm timers;
     * may refuse. */
    int (*loaded)(struct dev *d, unsigned version, struct err *e);
    /* Before saving: bring fields up to date. */
    void (*saving)(struct dev *d);
    void (*destroy)(struct dev *d);
};

struct dev {
    const struct dev_class *cls;
    struct vm *vm;
    struct dev *parent, *first_child, *next_sibling;
    char id[48]; /* unique: class name plus number, or the user's id= */
    void *s;     /* state struct */
    bool is_created;
    bool in_io; /* set by dma_*, refuses nested access */
};

/* Allocate with defaults; not yet created.  parent NULL: the machine.
 * id NULL: made from the class name. */
int dev_new(struct vm *vm, struct dev *parent, const struct dev_class *cls,
            const char *id, struct dev **out, struct err *e);
/* Set one property from text.  -ENOENT, -EINVAL, -ERANGE with a message. */
int dev_set(struct dev *d, const char *name, const char *value, struct err *e);
/* Run create.  On failure the device is freed. */
int dev_create(struct dev *d, struct err *e);
/* dev_new + dev_create with defaults. */
int dev_add(struct vm *vm, struct dev *parent, const struct dev_class *cls,
            const char *id, struct dev **out, struct err *e);
void dev_remove(struct dev *d); /* children first */

void dev_reset_tree(struct dev *root); /* children before parents */
struct dev *dev_find(struct vm *vm, const char *id);
/* Depth-first; fn returns non-zero to stop. */
int dev_for_each(struct dev *root, int (*fn)(struct dev *d, void *arg),
                 void *arg);
/* Text of a property's present value; returns buf. */
const char *dev_prop_text(const struct dev *d, const struct prop *p, char *buf,
                          size_t cap);

/* Save or load every device with a state table; keyed by device id. */
int dev_save_tree(struct dev *root, struct state_out *out, struct err *e);
int dev_load_tree(struct dev *root, const uint8_t *data, size_t bytes,
                  struct err *e);

#endif
