/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Linux bzImage by the real-mode boot protocol, so that memory map, video and
 * ACPI come from the BIOS as on any PC.
 *
 * Document: Linux, Documentation/arch/x86/boot.rst; offsets below are from
 * the start of the image.  Setup goes to 0x10000, the command line to
 * 0x20000, the protected-mode part to 1 MiB, the initial RAM disk as high as
 * the kernel allows.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hw/firmware/boot_rom.h"
#include "hw/fw_cfg.h"

enum {
    HDR_SETUP_SECTS = 0x1f1,
    HDR_VID_MODE = 0x1fa,
    HDR_BOOT_FLAG = 0x1fe,
    HDR_MAGIC = 0x202,
    HDR_VERSION = 0x206,
    HDR_TYPE_OF_LOADER = 0x210,
    HDR_LOADFLAGS = 0x211,
    HDR_RAMDISK_IMAGE = 0x218,
    HDR_RAMDISK_SIZE = 0x21c,
    HDR_HEAP_END_PTR = 0x224,
    HDR_CMD_LINE_PTR = 0x228,
    HDR_INITRD_ADDR_MAX = 0x22c,
    HDR_XLOADFLAGS = 0x236,
    HDR_CMDLINE_SIZE = 0x238,
    HDR_PREF_ADDRESS = 0x258,
    HDR_INIT_SIZE = 0x260,
    HDR_BYTES = 0x268,

    LOADED_HIGH = 0x01,
    CAN_USE_HEAP = 0x80,
    XLF_ABOVE_4G = 0x02,
    LOADER_UNKNOWN = 0xff,

    SETUP_ADDR = 0x10000,
    SETUP_STACK = 0xe000, /* also the end of its heap */
    CMDLINE_ADDR = 0x20000,
    CMDLINE_MAX = BOOT_LOW_END - CMDLINE_ADDR,
    KERNEL_ADDR = 0x100000,
};

static const char hdr_magic[4] = { 'H', 'd', 'r', 'S' };

struct linux_image {
    uint8_t *data; /* whole file; setup is patched in place */
    size_t bytes, setup_bytes;
    unsigned version;
};

static bool is_linux(const uint8_t *data, size_t bytes)
{
    return bytes >= HDR_BYTES && get_le16(data + HDR_BOOT_FLAG) == 0xaa55 &&
           memcmp(data + HDR_MAGIC, hdr_magic, 4) == 0;
}

static int check_image(const struct boot_plan *p, struct linux_image *k,
                       struct err *e)
{
    unsigned sects = k->data[HDR_SETUP_SECTS];

    k->version = get_le16(k->data + HDR_VERSION);
    k->setup_bytes = ((sects != 0 ? sects : 4) + 1) * 512;
    if (k->version < 0x0202 || !(k->data[HDR_LOADFLAGS] & LOADED_HIGH)) {
        return err_set(e, -ENOTSUP,
                       "%s: boot protocol %u.%02u or a zImage is too old",
                       p->cfg->kernel, k->version >> 8, k->version & 0xff);
    }
    if (k->setup_bytes >= k->bytes || k->setup_bytes > SETUP_STACK - 0x1000) {
        return err_set(e, -EINVAL, "%s is cut short", p->cfg->kernel);
    }
    return 0;
}

/* vga=normal, ext, ask or a number is the loader's business. */
static uint16_t video_mode(const char *cmdline)
{
    for (const char *s = cmdline; (s = strstr(s, "vga=")) != NULL; s += 4) {
        if (s != cmdline && s[-1] != ' ') continue;
        if (strncmp(s + 4, "normal", 6) == 0) return 0xffff;
        if (strncmp(s + 4, "ext", 3) == 0) return 0xfffe;
        if (strncmp(s + 4, "ask", 3) == 0) return 0xfffd;
        return (uint16_t)strtoul(s + 4, NULL, 0);
    }
    return 0xffff;
}

static int add_cmdline(struct boot_plan *p, struct linux_image *k,
                       struct err *e)
{
    const char *text = p->cfg->append != NULL ? p->cfg->append : "";
    size_t len = strlen(text);
    size_t max =
        k->version >= 0x0206 ? get_le32(k->data + HDR_CMDLINE_SIZE) : 255;
    int rc;

    if (max == 0 || max > CMDLINE_MAX - 1) max = CMDLINE_MAX - 1;
    if (len > max) {
        return err_set(e, -E2BIG,
                       "-append of %zu bytes is longer than the %zu this "
                       "kernel takes",
                       len, max);
    }
    put_le32(k->data + HDR_CMD_LINE_PTR, CMDLINE_ADDR);
    if (strstr(text, "vga=") != NULL) {
        put_le16(k->data + HDR_VID_MODE, video_mode(text));
    }
    rc = fw_cfg_add_item(p->f, FW_CFG_CMDLINE_DATA, text, len + 1, e);
    if (rc < 0) return rc;
    boot_read(p, FW_CFG_CMDLINE_DATA, 0, CMDLINE_ADDR, len + 1);
    fw_cfg_add_u32(p->f, FW_CFG_CMDLINE_ADDR, CMDLINE_ADDR);
    return fw_cfg_add_u32(p->f, FW_CFG_CMDLINE_SIZE, (uint32_t)len + 1);
}

/* Where the kernel unpacks itself must stay free, too. */
static int claim_kernel(struct boot_plan *p, const struct linux_image *k,
                        struct err *e)
{
    uint64_t image = k->bytes - k->setup_bytes, run_end = 0;
    int rc = boot_claim(p, KERNEL_ADDR, image, "the kernel", e);

    if (rc < 0) return rc;
    if (k->version >= 0x020a) {
        run_end = get_le64(k->data + HDR_PREF_ADDRESS);
        if (run_end > p->limit) run_end = KERNEL_ADDR;
        run_end += get_le32(k->data + HDR_INIT_SIZE);
    }
    if (run_end > p->limit) {
        return err_set(e, -ENOMEM,
                       "%s needs memory up to 0x%llx, there is 0x%llx (use "
                       "more with -m)",
                       p->cfg->kernel, (unsigned long long)run_end,
                       (unsigned long long)p->limit);
    }
    if (run_end > p->high_end) p->high_end = run_end;
    return 0;
}

static int add_initrd(struct boot_plan *p, struct linux_image *k, struct err *e)
{
    uint64_t max = 0x37ffffff, addr;
    size_t bytes;
    int rc;

    if (p->cfg->initrd == NULL) return 0;
    rc = boot_add_initrd(p, p->cfg->initrd, &bytes, e);
    if (rc < 0) return rc;
    if (k->version >= 0x0203) max = get_le32(k->data + HDR_INITRD_ADDR_MAX);
    if (k->version >= 0x020c &&
        get_le16(k->data + HDR_XLOADFLAGS) & XLF_ABOVE_4G) {
        max = UINT32_MAX;
    }
    rc = boot_place_high(p, bytes, max, "the initial RAM disk", &addr, e);
    if (rc < 0) return rc;
    put_le32(k->data + HDR_RAMDISK_IMAGE, (uint32_t)addr);
    put_le32(k->data + HDR_RAMDISK_SIZE, (uint32_t)bytes);
    boot_read(p, FW_CFG_INITRD_DATA, 0, addr, bytes);
    return fw_cfg_add_u32(p->f, FW_CFG_INITRD_ADDR, (uint32_t)addr);
}

static int add_kernel(struct boot_plan *p, struct linux_image *k, struct err *e)
{
    size_t image = k->bytes - k->setup_bytes;
    int rc;

    k->data[HDR_TYPE_OF_LOADER] = LOADER_UNKNOWN;
    k->data[HDR_LOADFLAGS] |= CAN_USE_HEAP;
    put_le16(k->data + HDR_HEAP_END_PTR, SETUP_STACK - 0x200);
    rc = fw_cfg_add_item(p->f, FW_CFG_SETUP_DATA, k->data, k->setup_bytes, e);
    if (rc < 0) return rc;
    memmove(k->data, k->data + k->setup_bytes, image);
    fw_cfg_add_u32(p->f, FW_CFG_SETUP_ADDR, SETUP_ADDR);
    fw_cfg_add_u32(p->f, FW_CFG_SETUP_SIZE, (uint32_t)k->setup_bytes);
    fw_cfg_add_u32(p->f, FW_CFG_KERNEL_ADDR, KERNEL_ADDR);
    fw_cfg_add_u32(p->f, FW_CFG_KERNEL_SIZE, (uint32_t)image);
    boot_read(p, FW_CFG_SETUP_DATA, 0, SETUP_ADDR, k->setup_bytes);
    boot_read(p, FW_CFG_KERNEL_DATA, 0, KERNEL_ADDR, image);
    p->params.mode = BOOT_REAL;
    p->params.segment = SETUP_ADDR >> 4;
    p->params.stack = SETUP_STACK;
    p->params.entry = ((SETUP_ADDR >> 4) + 0x20u) << 16;
    p->kernel_bytes = image;
    p->kernel_offset = k->setup_bytes;
    return 0;
}

int linux_load(struct boot_plan *p, uint8_t *data, size_t bytes, struct err *e)
{
    struct linux_image k = { .data = data, .bytes = bytes };
    int rc;

    if (!is_linux(data, bytes)) return -ENOEXEC;
    rc = check_image(p, &k, e);
    if (rc == 0) rc = claim_kernel(p, &k, e);
    if (rc == 0) rc = add_cmdline(p, &k, e);
    if (rc == 0) rc = add_initrd(p, &k, e);
    return rc < 0 ? rc : add_kernel(p, &k, e);
}
