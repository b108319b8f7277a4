/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_TEST_AMD_H
#define ORRERY_TEST_AMD_H

#include <Zydis/Zydis.h>
#include <stdbool.h>
#include <stdint.h>

bool amd_is_host(void);
/*
 * Does the host, if it is AMD's, do otherwise than Intel's with these bytes (16
 * of them)?  The emulator does as the SDM says, whatever the host.  d NULL:
 * Zydis knows no such instruction.  mode: bytes of a register.
 */
bool amd_differs(const uint8_t *bytes, const ZydisDecodedInstruction *d,
                 unsigned mode);

#endif
