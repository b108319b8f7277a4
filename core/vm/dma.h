/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_VM_DMA_H
#define ORRERY_VM_DMA_H

#include <stddef.h>
#include <stdint.h>

#include "core/vm/mem.h"

struct dev;

/*
 * The only way a device touches guest memory.  RAM and ROM (reads) only: a
 * target that is MMIO or a hole is refused (-EFAULT, nothing more is
 * transferred), so DMA can not re-enter devices.  -EOVERFLOW if gpa + bytes
 * wraps.  VM lock held.
 */
int dma_read_locked(struct dev *d, gpa_t gpa, void *buf, size_t bytes);
int dma_write_locked(struct dev *d, gpa_t gpa, const void *buf, size_t bytes);

#endif
