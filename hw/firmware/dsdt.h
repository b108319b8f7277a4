/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_HW_FIRMWARE_DSDT_H
#define ORRERY_HW_FIRMWARE_DSDT_H

#include "hw/firmware/aml.h"
#include "hw/firmware/firmware.h"

/* Append the definition block (without table header) of machine "pc". */
void dsdt_build(struct aml *a, const struct firmware_facts *facts);

#endif
