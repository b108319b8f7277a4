/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Disks and CD-ROMs as devices of their own (-device ide-hd, ide-cd, and what
 * -drive if=ide makes): they choose a place on the controller, take their drive
 * and say what the guest is told of them.  All that a guest can change is with
 * the controller's unit, which also saves it.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "block/block.h"
#include "core/base/log.h"
#include "hw/storage/ide_int.h"
#include "hw/storage/slot.h"

struct ide_drive {
    struct slot_drive slot; /* first */
    char *serial, *model, *ver;
    char *rerror, *werror, *write_cache;
    bool is_shared;
    uint64_t wwn;
    uint32_t rotation_rate;
    uint32_t cyls, heads, secs;
};

/* Number of the channel a bus is; -ENODEV. */
static int parse_bus(const char *bus, struct err *e)
{
    for (int i = 0; i < IDE_CHANNELS; i++) {
        char name[16];

        snprintf(name, sizeof(name), "ide.%d", i);
        if (strcmp(bus, name) == 0) return i;
    }
    return err_set(e, -ENODEV, "bus '%s' not found (ide.0 or ide.1)", bus);
}

static bool is_taken(const struct ide *s, unsigned channel, unsigned unit)
{
    return s->unit[channel * 2 + unit].kind != IDE_NONE;
}

/*
 * The place the user named, or the first free one: on the bus named, else on
 * the secondary one if it is not full, as users of other virtual PCs know it.
 */
static int choose_unit(const struct ide *s, const struct slot_drive *slot,
                       unsigned *unit, struct err *e)
{
    int bus = slot->bus != NULL ? parse_bus(slot->bus, e) : 1;

    if (bus < 0) return bus;
    if (slot->bus == NULL && is_taken(s, 1, 0) && is_taken(s, 1, 1)) bus = 0;
    *unit = slot->unit;
    if (slot->unit == SLOT_ANY_UNIT)
        *unit = is_taken(s, (unsigned)bus, 0) ? 1 : 0;
    if (*unit > 1)
        return err_set(e, -EINVAL,
                       "unit=%u: a bus has units 0 (master) and 1 (slave)",
                       slot->unit);
    if (is_taken(s, (unsigned)bus, 0) && is_taken(s, (unsigned)bus, 1))
        return err_set(e, -ENOSPC, "%s%s full",
                       slot->bus != NULL ? slot->bus : "all IDE buses",
                       slot->bus != NULL ? " is" : " are");
    if (is_taken(s, (unsigned)bus, *unit))
        return err_set(e, -EBUSY, "unit %u of ide.%d is in use by '%s'", *unit,
                       bus, drive_id(s->unit[bus * 2 + (int)*unit].drive));
    *unit += (unsigned)bus * 2;
    return 0;
}

/* ATA strings have their lengths; what is behind is not shown. */
static void copy_text(const struct dev *d, char *to, size_t cap,
                      const char *name, const char *text)
{
    if (text == NULL) return;
    if (strlen(text) >= cap)
        log_warn("%s: %s=%s: the guest sees the first %zu characters", d->id,
                 name, text, cap - 1);
    snprintf(to, cap, "%s", text);
}

static int check_geometry(const struct ide_drive *x, struct err *e)
{
    if (x->cyls == 0 && x->heads == 0 && x->secs == 0) return 0;
    if (x->cyls != 0 && x->heads != 0 && x->secs != 0) return 0;
    return err_set(e, -EINVAL, "cyls, heads and secs: give all three");
}

static void set_geometry(const struct ide_drive *x, struct ide_unit *u)
{
    struct ide_geometry *g = &u->geometry;

    if (x->cyls == 0) return;
    g->cylinders = x->cyls;
    g->heads = x->heads;
    g->sectors = x->secs;
    g->translation = x->cyls <= 1024 ? IDE_TRANS_NONE : IDE_TRANS_LBA;
}

static int check_words(const struct ide_drive *x, struct err *e)
{
    const char *w = x->write_cache;

    if (strcmp(w, "on") != 0 && strcmp(w, "off") != 0 && strcmp(w, "auto") != 0)
        return err_set(e, -EINVAL, "write-cache=%s: on, off or auto", w);
    if (x->is_shared)
        return err_set(e, -ENOTSUP,
                       "share-rw=on: an image has one writer, its locks keep "
                       "others out");
    return 0;
}

/* Is the cache off until the guest says otherwise? */
static bool is_cache_off(const struct ide_drive *x, struct drive *drive)
{
    struct blk *b = drive_blk(drive);

    if (strcmp(x->write_cache, "auto") != 0)
        return strcmp(x->write_cache, "off") == 0;
    return b != NULL && blk_is_writethrough(b);
}

static int create(struct dev *d, bool is_cdrom, struct err *e)
{
    struct ide_drive *x = d->s;
    struct ide *s = d->parent->s;
    struct drive *drive;
    struct ide_unit *u;
    unsigned unit = 0;
    int rc = choose_unit(s, &x->slot, &unit, e);

    if (rc == 0) rc = check_geometry(x, e);
    if (rc == 0) rc = check_words(x, e);
    if (rc == 0)
        rc = slot_find_drive(d, &x->slot, is_cdrom, is_cdrom, &drive, e);
    if (rc == 0) rc = drive_set_on_error(drive, "rerror", x->rerror, e);
    if (rc == 0) rc = drive_set_on_error(drive, "werror", x->werror, e);
    if (rc == 0) rc = ide_attach(s->d, unit, drive, is_cdrom, e);
    if (rc < 0) return rc;
    u = &s->unit[unit];
    drive_set_device(drive, d->id);
    copy_text(d, u->serial, sizeof(u->serial), "serial", x->serial);
    copy_text(d, u->model, sizeof(u->model), "model", x->model);
    copy_text(d, u->firmware, sizeof(u->firmware), "ver", x->ver);
    u->wwn = x->wwn;
    u->rotation_rate = x->rotation_rate;
    u->is_cache_off = is_cache_off(x, drive);
    if (!is_cdrom) set_geometry(x, u);
    ide_unit_reset(u, true);
    snprintf(x->slot.boot_path, sizeof(x->slot.boot_path),
             "/pci@i0cf8/ide@1,1/drive@%u/disk@%u", unit / 2, unit % 2);
    x->slot.unit = unit % 2;
    return 0;
}

static int hd_create(struct dev *d, struct err *e)
{
    return create(d, false, e);
}

static int cd_create(struct dev *d, struct err *e)
{
    return create(d, true, e);
}

#define COMMON_PROPS                                                           \
    PROP("bootindex", P_U32, ide_drive, slot.bootindex, 0, UINT32_MAX,         \
         "0xffffffff", NULL, "place in the order of what is booted"),          \
        PROP("bus", P_STR, ide_drive, slot.bus, 0, 0, NULL, NULL,              \
             "ide.0 (primary) or ide.1 (secondary)"),                          \
        PROP("drive", P_DRIVE, ide_drive, slot.drive, 0, 0, NULL, NULL,        \
             "Node name or ID of a block device to use as a backend"),         \
        PROP("model", P_STR, ide_drive, model, 0, 0, NULL, NULL,               \
             "model number, up to 40 characters"),                             \
        PROP("rerror", P_STR, ide_drive, rerror, 0, 0, "auto", NULL,           \
             "report, ignore, stop or auto: the drive's"),                     \
        PROP("serial", P_STR, ide_drive, serial, 0, 0, NULL, NULL,             \
             "serial number, up to 20 characters"),                            \
        PROP("share-rw", P_BOOL, ide_drive, is_shared, 0, 0, "off", NULL,      \
             "off"),                                                           \
        PROP("unit", P_U32, ide_drive, slot.unit, 0, UINT32_MAX, "0xffffffff", \
             NULL, "0 master, 1 slave; else the first free"),                  \
        PROP("ver", P_STR, ide_drive, ver, 0, 0, NULL, NULL,                   \
             "firmware revision, up to 8 characters"),                         \
        PROP("werror", P_STR, ide_drive, werror, 0, 0, "auto", NULL,           \
             "report, ignore, stop, enospc or auto: the drive's"),             \
        PROP("write-cache", P_STR, ide_drive, write_cache, 0, 0, "auto", NULL, \
             "on, off or auto: by the drive's cache="),                        \
        PROP("wwn", P_U64, ide_drive, wwn, 0, UINT64_MAX, "0", NULL,           \
             "world wide name")

static const struct prop hd_props[] = {
    COMMON_PROPS,
    PROP("cyls", P_U32, ide_drive, cyls, 0, 65535, "0", NULL, "cylinders"),
    PROP("heads", P_U32, ide_drive, heads, 0, 16, "0", NULL, "heads"),
    PROP("secs", P_U32, ide_drive, secs, 0, 255, "0", NULL,
         "sectors per track"),
    PROP("rotation_rate", P_U32, ide_drive, rotation_rate, 0, 65534, "0", NULL,
         "turns per minute; 1: no moving parts"),
    PROP_END,
};

static const struct prop cd_props[] = { COMMON_PROPS, PROP_END };
#undef COMMON_PROPS

const struct dev_class ide_hd_class = {
    .name = "ide-hd",
    .title = "virtual IDE disk",
    .bus = BUS_IDE,
    .size = sizeof(struct ide_drive),
    .props = hd_props,
    .create = hd_create,
};

const struct dev_class ide_cd_class = {
    .name = "ide-cd",
    .title = "virtual IDE CD-ROM",
    .bus = BUS_IDE,
    .size = sizeof(struct ide_drive),
    .props = cd_props,
    .create = cd_create,
};
