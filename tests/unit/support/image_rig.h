/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_TESTS_IMAGE_RIG_H
#define ORRERY_TESTS_IMAGE_RIG_H

#include "block/image.h"
#include "tests/unit/support/qcow2_rig.h"

/* Whole images: made, checked and compared, with qemu-img as the judge. */

/* image_create of r->image; options "key=value,key=value" or "". */
int ir_create(const struct q2_rig *r, const char *format, const char *options,
              uint64_t size_bytes, const struct secret_table *secrets,
              struct err *e);
/* That, and it works. */
void ir_make(const struct q2_rig *r, const char *options, uint64_t size_bytes);
/* Our check of r->image; lines are printed when the counts are not these.  */
void ir_check(const struct q2_rig *r, uint64_t corruptions, uint64_t leaks);
/* Our check with repairs. */
void ir_fix(const struct q2_rig *r, unsigned fix, struct image_check *c);
/* qemu-img check: exit status 0, or another. */
void ir_qemu_check(const struct q2_rig *r, int status);
/* Both find nothing wrong. */
void ir_both_check(const struct q2_rig *r);
/* Pattern octets, the same for a seed; and are they there? */
void ir_write(struct node *n, uint64_t offset, size_t bytes, unsigned seed);
void ir_expect(struct node *n, uint64_t offset, size_t bytes, unsigned seed);
void ir_expect_zero(struct node *n, uint64_t offset, size_t bytes);
/* First line of a command's output in the folder (static buffer). */
const char *ir_line(const struct q2_rig *r, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

#endif
