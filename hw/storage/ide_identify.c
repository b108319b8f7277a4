/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * IDENTIFY (PACKET) DEVICE data, ATA/ATAPI-6 tables 27 and 30 (words 105 and
 * 169: ACS-2), and the geometry of disks.
 */
#include <stdio.h>
#include <string.h>

#include "block/block.h"
#include "hw/storage/ide_int.h"

static void put_word(uint8_t *out, unsigned word, uint32_t v)
{
    out[word * 2] = (uint8_t)v;
    out[word * 2 + 1] = (uint8_t)(v >> 8);
}

static void put_dword(uint8_t *out, unsigned word, uint32_t v)
{
    put_word(out, word, v & 0xffff);
    put_word(out, word + 1, v >> 16);
}

/* ATA strings: padded with spaces, the first character in the high octet. */
static void put_string(uint8_t *out, unsigned word, unsigned words,
                       const char *text)
{
    size_t n = strlen(text);

    for (unsigned i = 0; i < words * 2; i++)
        out[word * 2 + (i ^ 1)] = i < n ? (uint8_t)text[i] : ' ';
}

/* Words that say which DMA mode is on (63 and 88). */
static void put_dma_modes(const struct ide_unit *u, uint8_t *out)
{
    uint32_t multiword = 0x07, ultra = 0x3f;

    if (u->xfer_mode >= 0x20 && u->xfer_mode <= 0x22)
        multiword |= 0x100u << (u->xfer_mode & 3);
    if (u->xfer_mode >= 0x40 && u->xfer_mode <= 0x45)
        ultra |= 0x100u << (u->xfer_mode & 7);
    put_word(out, 63, multiword);
    put_word(out, 88, ultra);
    put_word(out, 93, 0x6001); /* 80-conductor cable, passed diagnostics */
}

static void put_common(const struct ide_unit *u, uint8_t *out,
                       const char *model, const char *serial_prefix)
{
    char serial[24];

    snprintf(serial, sizeof(serial), "%s%05u", serial_prefix, u->index + 1);
    put_string(out, 10, 10, u->serial[0] != '\0' ? u->serial : serial);
    put_string(out, 23, 4, u->firmware[0] != '\0' ? u->firmware : "1.0");
    put_string(out, 27, 20, u->model[0] != '\0' ? u->model : model);
    put_word(out, 48, 1);      /* 32-bit data port */
    put_word(out, 53, 0x0007); /* 54-58, 64-70, 88 are valid */
    put_word(out, 64, 0x0003); /* PIO modes 3, 4 */
    for (unsigned w = 65; w <= 68; w++)
        put_word(out, w, 120); /* ns */
    put_dma_modes(u, out);
}

/* World wide name: words 108-111, and that they are there (84, 87, bit 8). */
static void put_wwn(const struct ide_unit *u, uint8_t *out)
{
    if (u->wwn == 0) return;
    for (unsigned i = 0; i < 4; i++)
        put_word(out, 108 + i, (uint32_t)(u->wwn >> (48 - 16 * i)) & 0xffff);
    out[84 * 2 + 1] |= 1;
    out[87 * 2 + 1] |= 1;
}

/* Word 255: signature, and a sum that makes all octets zero. */
static void put_checksum(uint8_t *out)
{
    uint8_t sum = 0;

    out[510] = 0xa5;
    for (unsigned i = 0; i < 511; i++)
        sum = (uint8_t)(sum + out[i]);
    out[511] = (uint8_t)-sum;
}

static void put_chs(const struct ide_unit *u, uint8_t *out)
{
    uint64_t total = ata_sectors(u);
    uint32_t per_cylinder = u->heads * u->sectors;
    uint64_t cylinders = per_cylinder != 0 ? total / per_cylinder : 0;

    if (cylinders > 16383) cylinders = 16383;
    put_word(out, 1, u->geometry.cylinders);
    put_word(out, 3, u->geometry.heads);
    put_word(out, 6, u->geometry.sectors);
    put_word(out, 54, (uint32_t)cylinders);
    put_word(out, 55, u->heads);
    put_word(out, 56, u->sectors);
    put_dword(out, 57, (uint32_t)cylinders * per_cylinder);
}

void ata_identify(struct ide_unit *u, uint8_t *out)
{
    const uint32_t lba28_max = 0x0fffffff;
    uint64_t total = ata_sectors(u);

    memset(out, 0, ATA_SECTOR_BYTES);
    put_word(out, 0, 0x0040); /* fixed disk */
    put_chs(u, out);
    put_common(u, out, "ORRERY HARDDISK", "OR");
    put_word(out, 80, 0x00f0); /* ATA/ATAPI-4 to 7 */
    put_word(out, 47, 0x8000 | ATA_MAX_MULTIPLE);
    put_word(out, 49, 0x0f00); /* IORDY, LBA, DMA */
    put_word(out, 50, 0x4000);
    put_word(out, 51, 0x0200); /* PIO timing */
    put_word(out, 52, 0x0200);
    put_word(out, 59, u->multiple != 0 ? 0x100 | u->multiple : 0);
    put_dword(out, 60, total < lba28_max ? (uint32_t)total : lba28_max);
    /* NOP, look-ahead, write cache, power management, SMART */
    put_word(out, 82, 0x4069);
    put_word(out, 83, 0x7400); /* FLUSH CACHE (EXT), 48-bit addresses */
    put_word(out, 84, 0x4000);
    put_word(out, 85,
             0x4048u | (u->has_write_cache ? 0x20 : 0) |
                 (u->has_smart ? 1 : 0));
    put_word(out, 86, 0x3400);
    put_word(out, 87, 0x4000);
    put_dword(out, 100, (uint32_t)total);
    put_dword(out, 102, (uint32_t)(total >> 32));
    put_word(out, 105, 1); /* blocks of ranges for TRIM */
    put_word(out, 169, 1); /* TRIM */
    put_word(out, 217, u->rotation_rate);
    put_wwn(u, out);
    put_checksum(out);
}

void atapi_identify(struct ide_unit *u, uint8_t *out)
{
    memset(out, 0, ATA_SECTOR_BYTES);
    /* ATAPI, CD-ROM, removable, DRQ within 50 us, 12-octet packets */
    put_word(out, 0, 0x85c0);
    put_common(u, out, "ORRERY DVD-ROM", "OR");
    put_word(out, 49, 0x0f00);
    put_word(out, 80, 0x0070); /* ATA/ATAPI-4 to 6 */
    put_word(out, 71, 30);     /* ns from PACKET to bus release, unused */
    put_word(out, 72, 30);
    put_word(out, 82, 0x4210); /* NOP, DEVICE RESET, PACKET */
    put_word(out, 83, 0x4000);
    put_word(out, 84, 0x4000);
    put_word(out, 85, 0x4210);
    put_word(out, 87, 0x4000);
    put_wwn(u, out);
    put_checksum(out);
}

/*
 * Geometry.  A disk that was partitioned elsewhere tells the heads and
 * sectors its BIOS used at the end of its partitions; keep to that, so that
 * boot code written for it finds its sectors.
 */
enum { MBR_TABLE = 446, MBR_ENTRY = 16, MBR_ENTRIES = 4 };

static bool geometry_from_mbr(const uint8_t *mbr, uint64_t total,
                              uint32_t *heads, uint32_t *sectors)
{
    if (mbr[510] != 0x55 || mbr[511] != 0xaa) return false;
    for (unsigned i = 0; i < MBR_ENTRIES; i++) {
        const uint8_t *p = mbr + MBR_TABLE + i * MBR_ENTRY;
        uint32_t h = p[5] + 1u, s = p[6] & 63u;
        bool is_used = (p[12] | p[13] | p[14] | p[15]) != 0;

        if (!is_used || p[5] == 0 || s == 0) continue;
        if (total / (h * s) < 1) continue;
        *heads = h;
        *sectors = s;
        return true;
    }
    return false;
}

static uint32_t clip_cylinders(uint64_t cylinders)
{
    if (cylinders < 1) return 1;
    return cylinders > 16383 ? 16383 : (uint32_t)cylinders;
}

void ata_set_geometry(struct ide_unit *u)
{
    struct ide_geometry *g = &u->geometry;
    uint64_t total = ata_sectors(u);
    uint32_t heads = 16, sectors = 63;
    uint8_t mbr[ATA_SECTOR_BYTES] = { 0 };
    bool is_known = total > 0 &&
                    blk_pread(drive_blk(u->drive), 0, mbr, sizeof(mbr)) == 0 &&
                    geometry_from_mbr(mbr, total, &heads, &sectors);

    if (is_known && heads <= 16) {
        g->cylinders = clip_cylinders(total / (heads * sectors));
        g->heads = heads;
        g->sectors = sectors;
        g->translation =
            g->cylinders <= 1024 ? IDE_TRANS_NONE : IDE_TRANS_LARGE;
        return;
    }
    g->cylinders = clip_cylinders(total / (16 * 63));
    g->heads = 16;
    g->sectors = 63;
    if (is_known) /* more heads than ATA has: the BIOS translated */
        g->translation = g->cylinders <= 8192 && heads != 255 && heads != 254
                             ? IDE_TRANS_LARGE
                             : IDE_TRANS_LBA;
    else
        g->translation = g->cylinders <= 1024 ? IDE_TRANS_NONE : IDE_TRANS_LBA;
}
