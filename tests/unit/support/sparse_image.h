/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_TESTS_SPARSE_IMAGE_H
#define ORRERY_TESTS_SPARSE_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Small disk images with big holes, as tests/fuzz/make_image_seeds.py writes
 * them from images that qemu-img made: octet 0 an index into sparse_formats[],
 * octets 1..3 the file's length in sectors, then pieces: 4 octets where,
 * 2 octets how long, the octets.  Numbers are little end first.  What does not
 * fit is left out, so that every input is an image of some kind.
 */
extern const char *const sparse_formats[]; /* NULL at the end */
enum { SPARSE_MAX_BYTES = 16 << 20 };

/* An unlinked file in memory with the image in it; path gets its name.
 * Returns the descriptor, or -1. */
int sparse_image_open(const uint8_t *data, size_t bytes, char path[64],
                      const char **format);
/* Make the checksums of a VHDX or VHD image right again, so that what was
 * changed behind them is looked at. */
void sparse_image_fix(int fd, const char *format);

/* The content of the disk in the seeds. */
enum { SPARSE_DISK_BYTES = 1 << 20 };
uint8_t sparse_disk_octet(uint64_t at);

#endif
