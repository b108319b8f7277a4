/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_VM_MEM_FLAT_H
#define ORRERY_VM_MEM_FLAT_H

#include "core/vm/mem.h"

struct flat_view;

/* Compile the tree to sorted, non-overlapping fragments; NULL: no memory. */
struct flat_view *flat_build(const struct mem_region *root);
void flat_free(struct flat_view *v);

#endif
