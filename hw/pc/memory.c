/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Memory map of machine "pc": RAM from 0, a hole for PCI below 4 GiB, the
 * rest of RAM above 4 GiB.  Up to 3.5 GiB lie below; with more, 3 GiB do.
 * 0xa0000-0xfffff is the host bridge's business (VGA, PAM segments).
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/host/firmware.h"
#include "core/vm/dev.h"
#include "core/vm/vm.h"
#include "hw/pc/pc.h"

#define MIB     (1ull << 20)
#define GIB     (1ull << 30)
#define LOW_MAX 0xe0000000ull
#define LOW_CUT 0xc0000000ull

enum { MAX_BIOS_BYTES = 16 << 20, ISA_BIOS_BYTES = 128 << 10 };

static void map_ram(struct pc *pc)
{
    struct vm *vm = pc->d->vm;
    struct mem_region *root = mem_root(vm), *ram = vm_ram(vm);
    uint64_t low = ram->size < LOW_MAX ? ram->size : LOW_CUT;
    uint64_t first = low < 0xa0000 ? low : 0xa0000;

    pc->below_4g_bytes = low;
    pc->above_4g_bytes = ram->size - low;
    mem_init_alias(&pc->ram_640k, "ram-640k", ram, 0, first);
    mem_add_locked(vm, root, 0, &pc->ram_640k, 0);
    if (low > MIB) {
        mem_init_alias(&pc->ram_low, "ram-below-4g", ram, MIB, low - MIB);
        mem_add_locked(vm, root, MIB, &pc->ram_low, 0);
    }
    if (pc->above_4g_bytes > 0) {
        mem_init_alias(&pc->ram_high, "ram-above-4g", ram, low,
                       pc->above_4g_bytes);
        mem_add_locked(vm, root, 4 * GIB, &pc->ram_high, 0);
    }
}

/* -bios FILE is a path, or a name looked for like the default one. */
static int find_bios(struct vm *vm, char *path, size_t cap, struct err *e)
{
    const struct vm_config *cfg = vm_config(vm);

    if (cfg->bios == NULL) {
        return firmware_find(cfg->data_dir, "bios-256k.bin", path, cap, e);
    }
    if (access(cfg->bios, R_OK) == 0) {
        snprintf(path, cap, "%s", cfg->bios);
        return 0;
    }
    return firmware_find(cfg->data_dir, cfg->bios, path, cap, e);
}

static int load_bios(struct pc *pc, struct err *e)
{
    struct vm *vm = pc->d->vm;
    char path[4096];
    uint8_t *data;
    size_t bytes, isa;
    int rc = find_bios(vm, path, sizeof(path), e);

    if (rc < 0) return rc;
    rc = file_read_all(path, MAX_BIOS_BYTES, &data, &bytes, e);
    if (rc < 0) return rc;
    if (bytes == 0 || bytes % 65536 != 0) {
        free(data);
        return err_set(e, -EINVAL, "%s: %zu bytes is not a multiple of 64 KiB",
                       path, bytes);
    }
    rc = mem_init_rom(&pc->bios, "pc.bios", bytes, e);
    if (rc == 0) memcpy(pc->bios.host, data, bytes);
    free(data);
    if (rc < 0) return rc;
    isa = bytes < ISA_BIOS_BYTES ? bytes : ISA_BIOS_BYTES;
    mem_add_locked(vm, mem_root(vm), 4 * GIB - bytes, &pc->bios, 0);
    mem_init_alias(&pc->bios_isa, "isa-bios", &pc->bios, bytes - isa, isa);
    mem_add_locked(vm, mem_root(vm), MIB - isa, &pc->bios_isa, 0);
    return 0;
}

int pc_memory_init(struct pc *pc, struct err *e)
{
    struct vm *vm = pc->d->vm;
    int rc;

    if (vm_ram(vm)->size < MIB) {
        return err_set(e, -EINVAL, "memory of %llu bytes is less than 1 MiB",
                       (unsigned long long)vm_ram(vm)->size);
    }
    mem_begin_locked(vm);
    map_ram(pc);
    rc = load_bios(pc, e);
    mem_commit_locked(vm);
    return rc;
}

void pc_memory_exit(struct pc *pc)
{
    struct vm *vm = pc->d->vm;

    mem_begin_locked(vm);
    mem_del_locked(vm, &pc->ram_640k);
    mem_del_locked(vm, &pc->ram_low);
    mem_del_locked(vm, &pc->ram_high);
    mem_del_locked(vm, &pc->bios_isa);
    mem_del_locked(vm, &pc->bios);
    mem_commit_locked(vm);
    mem_free(&pc->bios);
}
