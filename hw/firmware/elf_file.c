/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "hw/firmware/elf_file.h"

#include <errno.h>
#include <string.h>

#include "hw/fw_cfg.h"

int elf_open(struct elf_file *f, const uint8_t *data, size_t bytes)
{
    if (bytes < sizeof(Elf64_Ehdr) || memcmp(data, ELFMAG, SELFMAG) != 0 ||
        data[EI_DATA] != ELFDATA2LSB) {
        return -ENOEXEC;
    }
    *f = (struct elf_file){ .data = data, .bytes = bytes };
    if (data[EI_CLASS] == ELFCLASS64) {
        Elf64_Ehdr h;

        memcpy(&h, data, sizeof(h));
        if (h.e_machine != EM_X86_64) return -ENOEXEC;
        f->is_64 = true;
        f->entry = h.e_entry;
        f->phoff = h.e_phoff;
        f->phnum = h.e_phnum;
        f->phentsize = h.e_phentsize;
        return f->phentsize >= sizeof(Elf64_Phdr) ? 0 : -ENOEXEC;
    }
    if (data[EI_CLASS] == ELFCLASS32) {
        Elf32_Ehdr h;

        memcpy(&h, data, sizeof(h));
        if (h.e_machine != EM_386 && h.e_machine != EM_X86_64) return -ENOEXEC;
        f->entry = h.e_entry;
        f->phoff = h.e_phoff;
        f->phnum = h.e_phnum;
        f->phentsize = h.e_phentsize;
        return f->phentsize >= sizeof(Elf32_Phdr) ? 0 : -ENOEXEC;
    }
    return -ENOEXEC;
}

int elf_segment(const struct elf_file *f, unsigned n, struct elf_segment *s)
{
    uint64_t at = f->phoff + (uint64_t)n * f->phentsize;

    if (n >= f->phnum || f->phoff > f->bytes || at > f->bytes ||
        f->bytes - at < f->phentsize) {
        return -EINVAL;
    }
    if (f->is_64) {
        Elf64_Phdr h;

        memcpy(&h, f->data + at, sizeof(h));
        *s = (struct elf_segment){ h.p_type,  h.p_offset, h.p_vaddr,
                                   h.p_paddr, h.p_filesz, h.p_memsz };
    } else {
        Elf32_Phdr h;

        memcpy(&h, f->data + at, sizeof(h));
        *s = (struct elf_segment){ h.p_type,  h.p_offset, h.p_vaddr,
                                   h.p_paddr, h.p_filesz, h.p_memsz };
    }
    if (s->offset > f->bytes || s->file_bytes > f->bytes - s->offset) {
        return -EINVAL;
    }
    if (s->type == PT_LOAD && s->mem_bytes < s->file_bytes) return -EINVAL;
    return 0;
}

int elf_load(struct boot_plan *p, const struct elf_file *f, struct err *e)
{
    for (unsigned i = 0; i < f->phnum; i++) {
        struct elf_segment s;
        int rc = elf_segment(f, i, &s);

        if (rc < 0) {
            return err_set(e, rc, "%s: program header %u is damaged",
                           p->cfg->kernel, i);
        }
        if (s.type != PT_LOAD) continue;
        rc = boot_claim(p, s.paddr, s.mem_bytes, "a segment", e);
        if (rc < 0) return rc;
        boot_read(p, FW_CFG_KERNEL_DATA, s.offset, s.paddr, s.file_bytes);
        boot_zero(p, s.paddr + s.file_bytes, s.mem_bytes - s.file_bytes);
    }
    if (p->claims == 0) {
        return err_set(e, -EINVAL, "%s has nothing to load", p->cfg->kernel);
    }
    return 0;
}
