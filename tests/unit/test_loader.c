/* SPDX-License-Identifier: GPL-2.0-or-later */
/* link: hw core */
/*
 * Kernel loaders: what the boot ROM is told to do, carried out here as the
 * ROM does it, for images made here by the specifications (Linux boot
 * protocol, Multiboot 0.6.96, Xen PVH); and refusals of damaged ones.  That
 * the ROM itself boots real kernels is shown by the system tests.
 */
#include "tests/unit/support/chips_rig.h"

#include <elf.h>
#include <endian.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/vm/mem.h"
#include "core/vm/port.h"
#include "core/vm/vm.h"
#include "hw/firmware/boot_rom.h"
#include "hw/fw_cfg.h"

enum { RAM_BYTES = 4 << 20, KERNEL_CAP = 1 << 20, ROM_CAP = 8192 };

struct env {
    struct rig *r;
    struct fw_cfg *f;
    struct mem_region ram;
    struct vm_config cfg;
    struct firmware_facts facts;
    uint8_t *image;
    char dir[40], kernel[64], initrd[64], list[160];
    uint8_t rom[ROM_CAP];
    struct boot_rom_params params;
    struct err e;
};

static int setup(void **state)
{
    struct env *x = calloc(1, sizeof(*x));

    if (x == NULL || rig_setup((void **)&x->r) < 0) return -1;
    rig_add(x->r, &fw_cfg_class);
    x->f = vm_fw_cfg(x->r->vm);
    mem_init_alias(&x->ram, "ram", vm_ram(x->r->vm), 0, RAM_BYTES);
    mem_add_locked(x->r->vm, mem_root(x->r->vm), 0, &x->ram, 0);
    strcpy(x->dir, "/tmp/orrery-loader-XXXXXX");
    if (mkdtemp(x->dir) == NULL) return -1;
    snprintf(x->kernel, sizeof(x->kernel), "%s/kernel", x->dir);
    snprintf(x->initrd, sizeof(x->initrd), "%s/initrd", x->dir);
    x->cfg.kernel = x->kernel;
    x->facts.below_4g_bytes = RAM_BYTES;
    x->image = calloc(1, KERNEL_CAP);
    *state = x;
    return 0;
}

static int teardown(void **state)
{
    struct env *x = *state;
    void *r = x->r;

    unlink(x->kernel);
    unlink(x->initrd);
    rmdir(x->dir);
    mem_del_locked(x->r->vm, &x->ram);
    free(x->image);
    free(x);
    return rig_teardown(&r);
}

static void write_file(const char *path, const void *data, size_t bytes)
{
    FILE *f = fopen(path, "wb");

    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, bytes, f), bytes);
    fclose(f);
}

static int load(struct env *x, size_t bytes)
{
    write_file(x->kernel, x->image, bytes);
    return loader_add(x->f, &x->cfg, &x->facts, &x->e);
}

static void assert_refused(struct env *x, size_t bytes, const char *text)
{
    assert_true(load(x, bytes) < 0);
    if (strstr(x->e.text, text) == NULL) {
        fail_msg("'%s' does not say '%s'", x->e.text, text);
    }
}

static uint8_t *ram(struct env *x, size_t at)
{
    return vm_ram(x->r->vm)->host + at;
}

/* Read the ROM from its file, check it, and do its requests. */
static void run_rom(struct env *x)
{
    uint16_t key = fw_cfg_file_key(x->f, "genroms/orrery-boot.bin");
    uint8_t sum = 0, pnp_sum = 0;
    unsigned pnp, at, bytes;

    assert_int_not_equal(key, 0);
    port_write_locked(x->r->vm, 0x510, 2, key);
    for (unsigned i = 0; i < ROM_CAP; i++) {
        x->rom[i] = rig_in(x->r, 0x511);
    }
    assert_memory_equal(x->rom, "\x55\xaa", 2);
    bytes = x->rom[2] * 512u;
    assert_in_range(bytes, 512, ROM_CAP);
    for (unsigned i = 0; i < bytes; i++)
        sum += x->rom[i];
    assert_int_equal(sum, 0);
    pnp = get_le16(x->rom + 0x1a);
    assert_memory_equal(x->rom + pnp, "$PnP", 4);
    for (unsigned i = 0; i < 32; i++)
        pnp_sum += x->rom[pnp + i];
    assert_int_equal(pnp_sum, 0);
    assert_in_range(get_le16(x->rom + pnp + 0x1a), 0x20, bytes); /* BEV */
    memcpy(&x->params, x->rom + pnp + 32, sizeof(x->params));
    for (at = x->params.script; get_le32(x->rom + at) != 0; at += 16) {
        uint32_t status;

        assert_true(at + 32 <= bytes);
        memcpy(ram(x, 0x8000), x->rom + at, 16);
        port_write_locked(x->r->vm, 0x514, 4, 0);
        port_write_locked(x->r->vm, 0x518, 4, htobe32(0x8000));
        memcpy(&status, ram(x, 0x8000), 4);
        assert_int_equal(status, 0);
    }
}

/* ---- Linux ---- */

enum { SETUP = 5 * 512, PROT = 10000 };

static size_t make_linux(struct env *x)
{
    uint8_t *k = x->image;

    k[0x1f1] = 4;
    put_le16(k + 0x1fe, 0xaa55);
    memcpy(k + 0x202, "HdrS", 4);
    put_le16(k + 0x206, 0x020f);
    k[0x211] = 0x01;
    put_le32(k + 0x22c, 0x7fffffff);
    put_le32(k + 0x238, 255);
    put_le64(k + 0x258, 0x100000);
    put_le32(k + 0x260, 0x40000);
    for (unsigned i = 0; i < PROT; i++) {
        k[SETUP + i] = (uint8_t)(i * 7);
    }
    return SETUP + PROT;
}

static void linux_goes_where_the_boot_protocol_wants_it(void **state)
{
    struct env *x = *state;
    static uint8_t disk[70000];
    size_t bytes = make_linux(x);
    uint8_t *setup_at = ram(x, 0x10000);
    uint32_t initrd;

    memset(disk, 0x3c, sizeof(disk));
    write_file(x->initrd, disk, sizeof(disk));
    x->cfg.initrd = x->initrd;
    x->cfg.append = "console=ttyS0 vga=0x317";
    assert_int_equal(load(x, bytes), 0);
    run_rom(x);
    assert_memory_equal(ram(x, 0x100000), x->image + SETUP, PROT);
    assert_string_equal((char *)ram(x, get_le32(setup_at + 0x228)),
                        "console=ttyS0 vga=0x317");
    assert_int_equal(setup_at[0x210], 0xff);
    assert_int_equal(setup_at[0x211] & 0x81, 0x81); /* CAN_USE_HEAP */
    assert_int_equal(get_le16(setup_at + 0x1fa), 0x317);
    initrd = get_le32(setup_at + 0x218);
    assert_int_equal(get_le32(setup_at + 0x21c), sizeof(disk));
    assert_int_equal(initrd % 4096, 0);
    assert_true(initrd >= 0x140000); /* behind what init_size covers */
    assert_memory_equal(ram(x, initrd), disk, sizeof(disk));
    assert_int_equal(x->params.mode, BOOT_REAL);
    assert_int_equal(x->params.entry, 0x10200000); /* 1020:0000 */
    assert_int_equal(x->params.segment, 0x1000);
    assert_true(x->params.stack >= get_le16(setup_at + 0x224) + 0x200);
}

static void firmware_finds_the_rom_first(void **state)
{
    struct env *x = *state;
    char text[64];
    uint16_t key;

    assert_int_equal(load(x, make_linux(x)), 0);
    key = fw_cfg_file_key(x->f, "bootorder");
    port_write_locked(x->r->vm, 0x510, 2, key);
    for (unsigned i = 0; i < sizeof(text); i++) {
        text[i] = (char)rig_in(x->r, 0x511);
    }
    assert_string_equal(text, "/rom@genroms/orrery-boot.bin");
}

/* xloadflags bit 1 lifts the limit of initrd_addr_max to 4 GiB. */
static void the_initrd_stays_below_the_kernels_limit(void **state)
{
    struct env *x = *state;
    size_t bytes = make_linux(x);

    write_file(x->initrd, "disk", 4);
    x->cfg.initrd = x->initrd;
    put_le32(x->image + 0x22c, 0x1fffff);
    assert_int_equal(load(x, bytes), 0);
    run_rom(x);
    assert_int_equal(get_le32(ram(x, 0x10218)), 0x1ff000);
}

static void what_does_not_fit_is_refused(void **state)
{
    struct env *x = *state;
    size_t bytes = make_linux(x);
    static uint8_t big[3 << 20];
    char line[300];

    put_le32(x->image + 0x260, 64 << 20);
    assert_refused(x, bytes, "-m");
    put_le32(x->image + 0x260, 0x40000);
    memset(line, 'a', 256);
    line[256] = '\0';
    x->cfg.append = line;
    assert_refused(x, bytes, "-append of 256 bytes is longer than the 255");
    x->cfg.append = NULL;
    write_file(x->initrd, big, sizeof(big));
    x->cfg.initrd = x->initrd;
    assert_refused(x, bytes, "initial RAM disk");
    /* Between image and init_size there is no room either. */
    put_le32(x->image + 0x260, 0x270000);
    write_file(x->initrd, big, 70000);
    assert_refused(x, bytes, "no room in memory for the initial RAM disk");
    put_le32(x->image + 0x260, 0x40000);
    unlink(x->initrd);
    assert_refused(x, bytes, "No such file");
}

static void damaged_linux_images_are_refused(void **state)
{
    struct env *x = *state;
    size_t bytes = make_linux(x);

    assert_refused(x, SETUP, "cut short");
    assert_refused(x, 100, "is not a Linux, Multiboot or PVH kernel");
    x->image[0x1f1] = 255;
    assert_refused(x, KERNEL_CAP, "cut short");
    x->image[0x1f1] = 4;
    x->image[0x211] = 0;
    assert_refused(x, bytes, "too old");
    x->image[0x211] = 1;
    put_le16(x->image + 0x206, 0x0201);
    assert_refused(x, bytes, "too old");
    put_le64(x->image + 0x258, UINT64_MAX);
    put_le16(x->image + 0x206, 0x020f);
    assert_int_equal(load(x, bytes), 0); /* preferred address unreachable */
}

/* ---- Multiboot ---- */

static size_t make_raw_multiboot(struct env *x, uint32_t flags)
{
    uint8_t *h = x->image + 0x40;

    for (unsigned i = 0; i < 0x2000; i++) {
        x->image[i] = (uint8_t)(i * 5);
    }
    put_le32(h, 0x1badb002);
    put_le32(h + 4, flags);
    put_le32(h + 8, -(0x1badb002 + flags));
    put_le32(h + 12, 0x200040); /* header */
    put_le32(h + 16, 0x200000); /* load */
    put_le32(h + 20, 0x201000); /* load end */
    put_le32(h + 24, 0x203000); /* bss end */
    put_le32(h + 28, 0x200100); /* entry */
    return 0x2000;
}

static void multiboot_gets_image_modules_and_information(void **state)
{
    struct env *x = *state;
    const uint8_t *info, *mods;
    size_t bytes = make_raw_multiboot(x, 0x10003);
    char want[200];

    write_file(x->initrd, "module!", 7);
    snprintf(x->list, sizeof(x->list), "%s one two,%s", x->initrd, x->kernel);
    x->cfg.initrd = x->list;
    x->cfg.append = "a b";
    memset(ram(x, 0x201000), 0xee, 0x2000);
    assert_int_equal(load(x, bytes), 0);
    run_rom(x);
    assert_memory_equal(ram(x, 0x200000), x->image, 0x1000);
    assert_int_equal(*ram(x, 0x201000), 0); /* bss */
    assert_int_equal(*ram(x, 0x202fff), 0);
    assert_int_equal(x->params.mode, BOOT_PROTECTED);
    assert_int_equal(x->params.entry, 0x200100);
    assert_int_equal(x->params.eax, 0x2badb002);
    info = ram(x, x->params.ebx);
    assert_int_equal(get_le32(info) & 0x4d, 0x4d);
    snprintf(want, sizeof(want), "%s a b", x->kernel);
    assert_string_equal((char *)ram(x, get_le32(info + 16)), want);
    assert_int_equal(get_le32(info + 20), 2);
    mods = ram(x, get_le32(info + 24));
    assert_int_equal(get_le32(mods) % 4096, 0);
    assert_int_equal(get_le32(mods + 4) - get_le32(mods), 7);
    assert_memory_equal(ram(x, get_le32(mods)), "module!", 7);
    snprintf(want, sizeof(want), "%s one two", x->initrd);
    assert_string_equal((char *)ram(x, get_le32(mods + 8)), want);
    assert_true(get_le32(mods + 16) >= get_le32(mods + 4));
    assert_int_equal(get_le32(mods + 20) - get_le32(mods + 16), bytes);
    /* Entries of 24 octets, the size field first, where the ROM writes. */
    assert_int_equal(get_le32(info + 48) + 4, x->params.map);
    assert_int_equal(get_le32(ram(x, get_le32(info + 48))), 20);
    assert_int_equal(x->params.map_bytes, x->params.ebx + 44);
}

static void wrong_multiboot_headers_are_refused(void **state)
{
    struct env *x = *state;
    size_t bytes = make_raw_multiboot(x, 0x10003);

    put_le32(x->image + 0x40 + 16, 0x200050); /* load behind the header */
    assert_refused(x, bytes, "addresses");
    make_raw_multiboot(x, 0x10003);
    put_le32(x->image + 0x40 + 20, 0x300000); /* more than the file has */
    assert_refused(x, bytes, "addresses");
    make_raw_multiboot(x, 0x10003);
    put_le32(x->image + 0x40 + 24, 0x200800); /* bss inside the image */
    assert_refused(x, bytes, "addresses");
    make_raw_multiboot(x, 0x10003);
    put_le32(x->image + 0x40 + 24, 0xf0000000);
    assert_refused(x, bytes, "needs memory");
    assert_refused(x, 0x50, "addresses");
    make_raw_multiboot(x, 0x1000b);
    assert_refused(x, bytes, "features 0x8");
    make_raw_multiboot(x, 3);
    assert_refused(x, bytes, "no ELF");
}

/* ---- ELF: PVH ---- */

static size_t make_pvh(struct env *x)
{
    Elf64_Ehdr h = { .e_type = ET_EXEC,
                     .e_machine = EM_X86_64,
                     .e_phnum = 3,
                     .e_phoff = 64,
                     .e_phentsize = sizeof(Elf64_Phdr) };
    Elf64_Phdr p[3] = {
        { .p_type = PT_NOTE, .p_offset = 0x200, .p_filesz = 20 + 20 },
        { .p_type = PT_LOAD,
          .p_offset = 0x1000,
          .p_paddr = 0x180000,
          .p_filesz = 0x800,
          .p_memsz = 0x3000 },
        { .p_type = PT_LOAD,
          .p_offset = 0x1800,
          .p_paddr = 0x190000,
          .p_filesz = 0x10,
          .p_memsz = 0x10 },
    };
    uint8_t *n = x->image + 0x200;

    memcpy(h.e_ident,
           "\x7f"
           "ELF\2\1\1",
           7);
    memcpy(x->image, &h, sizeof(h));
    memcpy(x->image + 64, p, sizeof(p));
    put_le32(n, 4); /* another note first */
    put_le32(n + 4, 3);
    put_le32(n + 8, 5);
    memcpy(n + 12, "Xen\0abc", 7);
    put_le32(n + 20, 4);
    put_le32(n + 24, 4);
    put_le32(n + 28, 18);
    memcpy(n + 32, "Xen", 4);
    put_le32(n + 36, 0x180040);
    for (unsigned i = 0x1000; i < 0x1810; i++) {
        x->image[i] = (uint8_t)(i * 3);
    }
    return 0x1810;
}

static void pvh_gets_segments_and_start_info(void **state)
{
    struct env *x = *state;
    size_t bytes = make_pvh(x);
    const uint8_t *info, *mod;

    write_file(x->initrd, "disk", 4);
    x->cfg.initrd = x->initrd;
    x->cfg.append = "hello";
    memset(ram(x, 0x180000), 0xee, 0x20000);
    assert_int_equal(load(x, bytes), 0);
    run_rom(x);
    assert_memory_equal(ram(x, 0x180000), x->image + 0x1000, 0x800);
    assert_int_equal(*ram(x, 0x180800), 0);
    assert_int_equal(*ram(x, 0x182fff), 0);
    assert_int_equal(*ram(x, 0x183000), 0xee);
    assert_memory_equal(ram(x, 0x190000), x->image + 0x1800, 0x10);
    assert_int_equal(x->params.mode, BOOT_PROTECTED);
    assert_int_equal(x->params.entry, 0x180040);
    info = ram(x, x->params.ebx);
    assert_int_equal(get_le32(info), 0x336ec578);
    assert_int_equal(get_le32(info + 4), 1);
    assert_int_equal(get_le32(info + 12), 1);
    mod = ram(x, get_le32(info + 16));
    assert_int_equal(get_le64(mod + 8), 4);
    assert_memory_equal(ram(x, get_le32(mod)), "disk", 4);
    assert_string_equal((char *)ram(x, get_le32(info + 24)), "hello");
    assert_int_equal(get_le32(info + 40), x->params.map);
    assert_int_equal(x->params.map_count, x->params.ebx + 48);
    assert_int_equal(x->params.rsdp, x->params.ebx + 32);
}

static void elf_files_that_lie_are_refused(void **state)
{
    struct env *x = *state;
    size_t bytes = make_pvh(x);

    put_le32(x->image + 0x200 + 28, 17); /* no entry note */
    assert_refused(x, bytes, "without PVH note");
    make_pvh(x);
    put_le32(x->image + 0x200, 0xfffffff0); /* note name of 4 GiB */
    assert_refused(x, bytes, "without PVH note");
    make_pvh(x);
    put_le64(x->image + 64 + 56 + 8, 0x1801); /* segment leaves the file */
    assert_refused(x, bytes, "program header 1 is damaged");
    make_pvh(x);
    put_le64(x->image + 64 + 56 + 40, 0x7ff); /* memory below file size */
    assert_refused(x, bytes, "program header 1 is damaged");
    make_pvh(x);
    put_le64(x->image + 64 + 112 + 24, 0x181000); /* one over the other */
    assert_refused(x, bytes, "overlaps");
    make_pvh(x);
    put_le64(x->image + 64 + 56 + 24, 0x7c00); /* below 1 MiB */
    assert_refused(x, bytes, "needs memory from 0x7c00");
    make_pvh(x);
    put_le64(x->image + 64 + 56 + 24, 0xfffffffffffff000);
    assert_refused(x, bytes, "needs memory");
    make_pvh(x);
    put_le16(x->image + 54, 8); /* e_phentsize */
    assert_refused(x, bytes, "is not a");
    make_pvh(x);
    put_le64(x->image + 32, 0xfffffffffffffff0); /* e_phoff */
    assert_refused(x, bytes, "without PVH note");
}

static void a_directory_or_a_fifo_is_no_kernel(void **state)
{
    struct env *x = *state;

    x->cfg.kernel = x->dir;
    assert_true(loader_add(x->f, &x->cfg, &x->facts, &x->e) < 0);
    assert_non_null(strstr(x->e.text, "not a regular file"));
}

/* Octets changed at random: any answer is fine, but no crash and no request
 * outside memory. */
static void damaged_images_do_no_harm(void **state)
{
    static size_t (*const make[])(struct env * x) = { make_linux, make_pvh };
    struct env *x = *state;

    srand(4);
    for (unsigned i = 0; i < 300; i++) {
        struct boot_plan p = { .f = x->f,
                               .cfg = &x->cfg,
                               .facts = &x->facts,
                               .high_end = BOOT_HIGH_BASE,
                               .limit = RAM_BYTES - BOOT_RESERVED_BYTES };
        size_t bytes = make[i % 2](x);
        uint8_t *copy = malloc(bytes);

        for (unsigned k = 0; k < 1 + i % 9; k++) {
            x->image[(unsigned)rand() % 0x280] = (uint8_t)rand();
        }
        memcpy(copy, x->image, bytes);
        (void)(i % 2 == 0 ? linux_load(&p, copy, bytes, &x->e)
                          : pvh_load(&p, copy, bytes, &x->e));
        for (unsigned k = 0; k < p.claims; k++) {
            assert_true(p.claim[k].start >= BOOT_HIGH_BASE);
            assert_true(p.claim[k].end <= p.limit);
        }
        free(copy);
    }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(linux_goes_where_the_boot_protocol_wants_it),
        TEST(firmware_finds_the_rom_first),
        TEST(the_initrd_stays_below_the_kernels_limit),
        TEST(what_does_not_fit_is_refused),
        TEST(damaged_linux_images_are_refused),
        TEST(multiboot_gets_image_modules_and_information),
        TEST(wrong_multiboot_headers_are_refused),
        TEST(pvh_gets_segments_and_start_info),
        TEST(elf_files_that_lie_are_refused),
        TEST(a_directory_or_a_fifo_is_no_kernel),
        TEST(damaged_images_do_no_harm),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
