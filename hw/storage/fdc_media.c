/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Floppy formats by image size. */
#include <errno.h>
#include <string.h>

#include "block/block.h"
#include "hw/storage/fdc_int.h"

enum { TYPE_NONE = 0, TYPE_120 = 2, TYPE_144 = 4, TYPE_288 = 5 };

/* The usual formats; size = cylinders * heads * sectors * 512. */
static const struct format {
    struct fdc_geometry geo;
    uint8_t type; /* drive that takes it */
} formats[] = {
    /* clang-format off */
    { { 80, 2, 18, 0 }, TYPE_144 }, /* 1.44 MB */
    { { 80, 2, 36, 3 }, TYPE_288 }, /* 2.88 MB */
    { { 80, 2, 15, 0 }, TYPE_120 }, /* 1.2 MB */
    { { 80, 2,  9, 2 }, TYPE_144 }, /* 720 KB */
    { { 40, 2,  9, 2 }, TYPE_120 }, /* 360 KB */
    { { 40, 2,  8, 2 }, TYPE_120 }, /* 320 KB */
    { { 40, 1,  9, 2 }, TYPE_120 }, /* 180 KB */
    { { 40, 1,  8, 2 }, TYPE_120 }, /* 160 KB */
    { { 80, 2,  8, 2 }, TYPE_144 }, /* 640 KB */
    { { 80, 2, 10, 2 }, TYPE_144 },
    { { 82, 2, 10, 2 }, TYPE_144 },
    { { 83, 2, 10, 2 }, TYPE_144 },
    { { 80, 2, 13, 2 }, TYPE_144 },
    { { 80, 2, 14, 2 }, TYPE_144 },
    { { 80, 2, 20, 0 }, TYPE_144 },
    { { 80, 2, 21, 0 }, TYPE_144 }, /* 1.68 MB */
    { { 82, 2, 21, 0 }, TYPE_144 },
    { { 83, 2, 21, 0 }, TYPE_144 },
    { { 80, 2, 22, 0 }, TYPE_144 },
    { { 80, 2, 23, 0 }, TYPE_144 },
    { { 80, 2, 24, 0 }, TYPE_144 },
    { { 80, 2, 39, 3 }, TYPE_288 },
    { { 80, 2, 40, 3 }, TYPE_288 },
    { { 80, 2, 44, 3 }, TYPE_288 },
    { { 80, 2, 48, 3 }, TYPE_288 },
    /* clang-format on */
};
enum { FORMAT_144 = 0, FORMAT_288 = 1 };

bool fdc_has_medium(const struct fdc_unit *u)
{
    return u->drive != NULL && drive_blk(u->drive) != NULL;
}

bool fdc_is_readonly(const struct fdc_unit *u)
{
    return fdc_has_medium(u) && blk_is_readonly(drive_blk(u->drive));
}

static const struct format *find_format(uint64_t size_bytes)
{
    for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
        const struct fdc_geometry *g = &formats[i].geo;

        if ((uint64_t)g->cylinders * g->heads * g->sectors * FDC_SECTOR_BYTES ==
            size_bytes)
            return &formats[i];
    }
    /* Odd sizes: the next disk they fit on, zeros behind the end. */
    return &formats[size_bytes <= 80 * 2 * 18 * FDC_SECTOR_BYTES ? FORMAT_144
                                                                 : FORMAT_288];
}

void fdc_find_geometry(struct fdc_unit *u)
{
    if (!fdc_has_medium(u)) {
        u->geo = formats[FORMAT_144].geo;
        return;
    }
    u->geo = find_format(blk_size_bytes(drive_blk(u->drive)))->geo;
}

int fdc_type_parse(const char *text, uint8_t *out)
{
    static const struct {
        const char *name;
        uint8_t type;
    } types[] = {
        { "120", TYPE_120 },   { "144", TYPE_144 },       { "288", TYPE_288 },
        { "none", TYPE_NONE }, { "auto", FDC_TYPE_AUTO },
    };

    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        if (strcmp(types[i].name, text) != 0) continue;
        *out = types[i].type;
        return 0;
    }
    return -EINVAL;
}

uint8_t fdc_type_for_medium(const struct fdc_unit *u)
{
    if (u->drive == NULL) return TYPE_NONE;
    if (!fdc_has_medium(u)) return TYPE_144;
    return find_format(blk_size_bytes(drive_blk(u->drive)))->type;
}

/* Double density turns at 250 kbit/s, and at 300 in a 1.2 MB drive. */
bool fdc_rate_matches(const struct fdc *f, const struct fdc_unit *u)
{
    uint8_t rate = f->ccr & 3;

    if (u->geo.rate == 2) return rate == 1 || rate == 2;
    return rate == u->geo.rate;
}
