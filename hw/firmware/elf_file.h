/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_HW_FIRMWARE_ELF_FILE_H
#define ORRERY_HW_FIRMWARE_ELF_FILE_H

#include <elf.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hw/firmware/boot_rom.h"

/* A kernel in ELF: 32- or 64-bit, little-endian, for x86.  The file is
 * hostile; all offsets that come out of here lie inside it. */
struct elf_file {
    const uint8_t *data;
    size_t bytes;
    bool is_64;
    uint64_t entry;
    uint64_t phoff;
    unsigned phnum, phentsize;
};

struct elf_segment {
    uint32_t type;
    uint64_t offset, vaddr, paddr, file_bytes, mem_bytes;
};

/* -ENOEXEC without a message if it is no such file. */
int elf_open(struct elf_file *f, const uint8_t *data, size_t bytes);

/* Program header n < phnum.  -EINVAL if what it describes is not in the file.
 */
int elf_segment(const struct elf_file *f, unsigned n, struct elf_segment *s);

/* Claim memory of all PT_LOAD segments and add the requests that read them
 * from item FW_CFG_KERNEL_DATA. */
int elf_load(struct boot_plan *p, const struct elf_file *f, struct err *e);

#endif
