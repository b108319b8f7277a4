/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * SMBIOS structures (DMTF DSP0134, version 2.8): system, chassis, processors,
 * memory, boot information.  Type 0 is left to the firmware, which knows its
 * own name and version; it also places the structures and fixes address and
 * checksums of the entry point.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "hw/firmware/aml.h"
#include "hw/firmware/firmware.h"
#include "hw/fw_cfg.h"

#define GIB (1ull << 30)

enum {
    HANDLE_SYSTEM = 0x100,
    HANDLE_CHASSIS = 0x300,
    HANDLE_CPU = 0x400,
    HANDLE_ARRAY = 0x1000,
    HANDLE_DIMM = 0x1100,
    HANDLE_RANGE = 0x1300,
    HANDLE_BOOT = 0x2000,
    HANDLE_END = 0x7f00,
    MAX_STRINGS = 8,
    DIMM_MAX_GIB = 16,
};

/* One structure being built: formatted area, then its strings. */
struct structure {
    size_t start;
    const char *string[MAX_STRINGS];
    unsigned strings;
};

struct smbios {
    struct aml t; /* used as a byte builder */
    unsigned count;
    size_t largest;
    struct structure now;
};

static void begin(struct smbios *s, uint8_t type, uint16_t handle)
{
    s->now = (struct structure){ .start = s->t.bytes };
    aml_u8(&s->t, type);
    aml_u8(&s->t, 0); /* length of the formatted area */
    aml_u16(&s->t, handle);
}

/* Emit a string reference: 1 is the first string. */
static void text(struct smbios *s, const char *string)
{
    if (string == NULL || s->now.strings == MAX_STRINGS) {
        aml_u8(&s->t, 0);
        return;
    }
    s->now.string[s->now.strings++] = string;
    aml_u8(&s->t, (uint8_t)s->now.strings);
}

/* 6.1.3: strings follow, each with its NUL, then another NUL; two if there
 * are none. */
static void end(struct smbios *s)
{
    size_t bytes = s->t.bytes - s->now.start;

    if (s->t.status < 0) return;
    s->t.data[s->now.start + 1] = (uint8_t)bytes;
    for (unsigned i = 0; i < s->now.strings; i++) {
        aml_put(&s->t, s->now.string[i], strlen(s->now.string[i]) + 1);
    }
    if (s->now.strings == 0) aml_u8(&s->t, 0);
    aml_u8(&s->t, 0);
    bytes = s->t.bytes - s->now.start;
    if (bytes > s->largest) s->largest = bytes;
    s->count++;
}

/* 7.2: from 2.6 on the first three UUID fields are little-endian. */
static void put_uuid(struct smbios *s, const uint8_t *uuid)
{
    static const uint8_t order[16] = { 3, 2, 1,  0,  5,  4,  7,  6,
                                       8, 9, 10, 11, 12, 13, 14, 15 };

    for (unsigned i = 0; i < 16; i++) {
        aml_u8(&s->t, uuid != NULL ? uuid[order[i]] : 0);
    }
}

static void put_system(struct smbios *s, const struct firmware_facts *facts)
{
    begin(s, 1, HANDLE_SYSTEM);
    text(s, "Orrery");
    text(s, "Standard PC (i440FX + PIIX, 1996)");
    text(s, "pc-i440fx-7.2");
    text(s, NULL);
    put_uuid(s, facts->uuid);
    aml_u8(&s->t, 0x06); /* wake-up: power switch */
    text(s, NULL);
    text(s, NULL);
    end(s);
}

static void put_chassis(struct smbios *s)
{
    begin(s, 3, HANDLE_CHASSIS);
    text(s, "Orrery");
    aml_u8(&s->t, 0x01); /* other */
    text(s, "pc-i440fx-7.2");
    text(s, NULL);
    text(s, NULL);
    aml_u8(&s->t, 0x03); /* boot-up, power supply, thermal: safe */
    aml_u8(&s->t, 0x03);
    aml_u8(&s->t, 0x03);
    aml_u8(&s->t, 0x02); /* security: unknown */
    aml_u32(&s->t, 0);
    aml_u8(&s->t, 0); /* height */
    aml_u8(&s->t, 0); /* power cords */
    aml_u8(&s->t, 0); /* contained elements */
    aml_u8(&s->t, 0);
    text(s, NULL);
    end(s);
}

static void put_processor(struct smbios *s, unsigned n)
{
    char socket[16];

    snprintf(socket, sizeof(socket), "CPU %u", n & 0xff);
    begin(s, 4, (uint16_t)(HANDLE_CPU + n));
    text(s, socket);
    aml_u8(&s->t, 0x03); /* central processor */
    aml_u8(&s->t, 0x01); /* family: other */
    text(s, "Orrery");
    aml_u64(&s->t, 0);
    text(s, "pc-i440fx-7.2");
    aml_u8(&s->t, 0);
    aml_u16(&s->t, 0);
    aml_u16(&s->t, 2000); /* MHz: what it could do is not known */
    aml_u16(&s->t, 2000);
    aml_u8(&s->t, 0x41); /* populated, enabled */
    aml_u8(&s->t, 0x01); /* upgrade: other */
    aml_u16(&s->t, 0xffff);
    aml_u16(&s->t, 0xffff);
    aml_u16(&s->t, 0xffff);
    text(s, NULL);
    text(s, NULL);
    text(s, NULL);
    aml_u8(&s->t, 1); /* cores, enabled, threads */
    aml_u8(&s->t, 1);
    aml_u8(&s->t, 1);
    aml_u16(&s->t, 0x0002); /* characteristics: unknown */
    aml_u16(&s->t, 0x01);   /* family again */
    end(s);
}

static void put_array(struct smbios *s, uint64_t bytes, unsigned dimms)
{
    bool is_extended = bytes >> 10 >= 0x80000000u;

    begin(s, 16, HANDLE_ARRAY);
    aml_u8(&s->t, 0x01); /* location: other */
    aml_u8(&s->t, 0x03); /* system memory */
    aml_u8(&s->t, 0x06); /* multi-bit ECC */
    aml_u32(&s->t, is_extended ? 0x80000000u : (uint32_t)(bytes >> 10));
    aml_u16(&s->t, 0xfffe); /* no error information */
    aml_u16(&s->t, (uint16_t)dimms);
    aml_u64(&s->t, is_extended ? bytes : 0);
    end(s);
}

static void put_dimm(struct smbios *s, unsigned n, uint64_t bytes)
{
    char name[16];

    snprintf(name, sizeof(name), "DIMM %u", n & 0xffff);
    begin(s, 17, (uint16_t)(HANDLE_DIMM + n));
    aml_u16(&s->t, HANDLE_ARRAY);
    aml_u16(&s->t, 0xfffe);
    aml_u16(&s->t, 0xffff); /* widths: unknown */
    aml_u16(&s->t, 0xffff);
    aml_u16(&s->t, (uint16_t)(bytes >> 20)); /* MiB, less than 32 GiB */
    aml_u8(&s->t, 0x09);                     /* DIMM */
    aml_u8(&s->t, 0);
    text(s, name);
    text(s, NULL);
    aml_u8(&s->t, 0x07);    /* RAM */
    aml_u16(&s->t, 0x0002); /* other */
    aml_u16(&s->t, 0);
    text(s, "Orrery");
    text(s, NULL);
    text(s, NULL);
    text(s, NULL);
    aml_u8(&s->t, 0);
    aml_u32(&s->t, 0);
    aml_u16(&s->t, 0);
    aml_u16(&s->t, 0); /* voltages: unknown */
    aml_u16(&s->t, 0);
    aml_u16(&s->t, 0);
    end(s);
}

static void put_range(struct smbios *s, unsigned n, uint64_t base,
                      uint64_t bytes)
{
    uint64_t last = base + bytes - 1;
    bool is_extended = last >> 10 >= UINT32_MAX;

    begin(s, 19, (uint16_t)(HANDLE_RANGE + n));
    aml_u32(&s->t, is_extended ? UINT32_MAX : (uint32_t)(base >> 10));
    aml_u32(&s->t, is_extended ? UINT32_MAX : (uint32_t)(last >> 10));
    aml_u16(&s->t, HANDLE_ARRAY);
    aml_u8(&s->t, 1);
    aml_u64(&s->t, is_extended ? base : 0);
    aml_u64(&s->t, is_extended ? last : 0);
    end(s);
}

static void put_memory(struct smbios *s, const struct firmware_facts *facts)
{
    uint64_t total = facts->below_4g_bytes + facts->above_4g_bytes;
    uint64_t each = DIMM_MAX_GIB * GIB;
    unsigned dimms = (unsigned)((total + each - 1) / each);

    if (dimms > 512) dimms = 512;
    put_array(s, total, dimms);
    for (unsigned i = 0; i < dimms; i++) {
        uint64_t left = total - i * each;

        put_dimm(s, i, left < each ? left : each);
    }
    put_range(s, 0, 0, facts->below_4g_bytes);
    if (facts->above_4g_bytes > 0) {
        put_range(s, 1, 4 * GIB, facts->above_4g_bytes);
    }
}

/* 5.2.1: entry point structure, 31 octets; address and sums are firmware's */
static void put_anchor(struct smbios *s, uint8_t anchor[31])
{
    uint16_t largest = (uint16_t)s->largest, bytes = (uint16_t)s->t.bytes;
    uint16_t count = (uint16_t)s->count;
    uint8_t sum = 0;

    memset(anchor, 0, 31);
    memcpy(anchor, "_SM_", 4);
    anchor[5] = 31;
    anchor[6] = 2; /* version 2.8 */
    anchor[7] = 8;
    memcpy(anchor + 8, &largest, 2);
    memcpy(anchor + 16, "_DMI_", 5);
    memcpy(anchor + 22, &bytes, 2);
    memcpy(anchor + 28, &count, 2);
    anchor[30] = 0x28;
    for (unsigned i = 16; i < 31; i++) {
        sum += anchor[i];
    }
    anchor[21] = (uint8_t)-sum;
    for (unsigned i = sum = 0; i < 31; i++) {
        sum += anchor[i];
    }
    anchor[4] = (uint8_t)-sum;
}

int smbios_add_tables(struct fw_cfg *f, const struct firmware_facts *facts,
                      struct err *e)
{
    struct smbios s = { .count = 0 };
    uint8_t anchor[31];
    int rc;

    put_system(&s, facts);
    put_chassis(&s);
    for (unsigned i = 0; i < facts->cpus; i++) {
        put_processor(&s, i);
    }
    put_memory(&s, facts);
    begin(&s, 32, HANDLE_BOOT);
    aml_u32(&s.t, 0); /* 6 reserved octets */
    aml_u16(&s.t, 0);
    aml_u8(&s.t, 0); /* status: no errors detected */
    end(&s);
    begin(&s, 127, HANDLE_END);
    end(&s);
    rc = s.t.status;
    if (rc == 0 && s.t.bytes > UINT16_MAX) rc = -E2BIG;
    if (rc < 0) {
        err_set(e, rc, "SMBIOS tables can not be built");
        goto out;
    }
    put_anchor(&s, anchor);
    rc = fw_cfg_add_file(f, "etc/smbios/smbios-tables", s.t.data, s.t.bytes, e);
    if (rc < 0) goto out;
    rc = fw_cfg_add_file(f, "etc/smbios/smbios-anchor", anchor, sizeof(anchor),
                         e);
out:
    aml_free(&s.t);
    return rc;
}
