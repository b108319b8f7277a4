/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_TESTS_QCOW2_RIG_H
#define ORRERY_TESTS_QCOW2_RIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "block/block_int.h"

/* Tables of cases are walked from a first one, which each loop chooses, in steps
 * of this.  The plain build takes every case; the sanitizers look for memory
 * errors, and take a third of those that start many programs. */
#ifdef __SANITIZE_ADDRESS__
enum { Q2_STEP = 3 };
#else
enum { Q2_STEP = 1 };
#endif
#define Q2_FIRST(n) ((n) % Q2_STEP)

/* A temporary folder, and qemu-img as the judge of what we write there. */
struct q2_rig {
    char dir[64];
    char image[96], raw[96];
};
int q2_rig_open(void **state);  /* cmocka set-up; state is a q2_rig */
int q2_rig_close(void **state); /* removes the folder */
/* Skips the test, with the reason, where qemu-img is missing. */
void q2_need_qemu(void);
/* Run in the folder by the shell; exit status. */
int q2_run(const struct q2_rig *r, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* qemu-img check finds no error (and no leaks unless may_leak) and the image
 * holds the same as model. */
void q2_judge(const struct q2_rig *r, const uint8_t *model, size_t bytes,
              bool may_leak);
struct node *q2_open(const char *file, const struct node_options *o);
void q2_fill(uint8_t *p, size_t bytes, uint32_t *seed);
uint32_t q2_random(uint32_t *seed);

/*
 * A file in memory that remembers everything that is done to it, and fails
 * when told to.  A protocol node.
 */
struct q2_event {
    enum { Q2_WRITE, Q2_FLUSH } kind;
    uint64_t offset, bytes;
    uint8_t *data;
};
struct q2_mem {
    uint8_t *data; /* as it is now */
    uint64_t bytes, cap;
    struct q2_event *event;
    size_t events, events_cap;
    /* The write, read or flush that fails, counted from 1; 0: none. */
    unsigned long fail_write, fail_read, fail_flush;
    int fail_error; /* errno */
    bool is_sticky; /* all later ones fail as well */
    unsigned long writes, reads, flushes;
};
/* The file's contents; no events yet. */
struct q2_mem *q2_mem_load(const char *file);
void q2_mem_free(struct q2_mem *m);
/* qcow2 on top of it; m stays the caller's. */
int q2_mem_open(struct q2_mem *m, bool is_readonly, struct node **out,
                struct err *e);
void q2_write_file(const char *path, const void *data, size_t bytes);

#endif
