/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_BLOCK_IMG_INFO_H
#define ORRERY_BLOCK_IMG_INFO_H

struct image_snapshot;

/* The table of snapshots, as `info` and `snapshot -l` print it. */
void img_print_snapshot_head(void);
void img_print_snapshot(const struct image_snapshot *s);

#endif
