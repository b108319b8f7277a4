/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_HW_VIDEO_VGA_H
#define ORRERY_HW_VIDEO_VGA_H

#include "core/vm/dev.h"

/*
 * "VGA": standard VGA with the Bochs VBE extensions as PCI function
 * 1234:1111.  Create it under the PCI bus device; it takes the legacy ports
 * and 0xa0000-0xbffff by itself and becomes the source of vm_display(vm) if
 * the VM has a display.  A machine has at most one.
 */
extern const struct dev_class vga_class;

#endif
