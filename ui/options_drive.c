/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ui/options_int.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "block/block.h"

/* How many drives each interface takes and how QEMU names them. */
static const struct iface {
    const char *name;
    enum drive_if iface;
    int units; /* 0: no limit but the table's */
} ifaces[] = {
    { "ide", DRIVE_IDE, 4 },
    { "floppy", DRIVE_FLOPPY, 2 },
    { "virtio", DRIVE_VIRTIO, 0 },
    { "none", DRIVE_NONE, 0 },
};

static const struct iface *iface_of(enum drive_if which)
{
    return &ifaces[which];
}

static int new_drive(struct options *o, struct drive_config **out,
                     struct err *e)
{
    struct vm_config *c = &o->cfg;

    if (c->drive_count == VM_MAX_DRIVES)
        return err_set(e, -E2BIG, "more than %d drives", VM_MAX_DRIVES);
    *out = &c->drive[c->drive_count++];
    (*out)->index = -1;
    return 0;
}

/* -hda FILE and its family. */
static int simple_drive(struct options *o, enum drive_if iface, int index,
                        bool is_cdrom, const char *file, struct err *e)
{
    struct drive_config *d = NULL;
    int rc;

    if (*file == '\0') return err_set(e, -EINVAL, "no file name");
    rc = new_drive(o, &d, e);
    if (rc < 0) return rc;
    d->iface = iface;
    d->index = index;
    d->is_cdrom = is_cdrom;
    d->is_readonly = is_cdrom;
    return value_text(&d->file, file, e);
}

int option_hda(struct options *o, const char *v, struct err *e)
{
    return simple_drive(o, DRIVE_IDE, 0, false, v, e);
}

int option_hdb(struct options *o, const char *v, struct err *e)
{
    return simple_drive(o, DRIVE_IDE, 1, false, v, e);
}

int option_hdc(struct options *o, const char *v, struct err *e)
{
    return simple_drive(o, DRIVE_IDE, 2, false, v, e);
}

int option_hdd(struct options *o, const char *v, struct err *e)
{
    return simple_drive(o, DRIVE_IDE, 3, false, v, e);
}

int option_cdrom(struct options *o, const char *v, struct err *e)
{
    return simple_drive(o, DRIVE_IDE, 2, true, v, e);
}

int option_fda(struct options *o, const char *v, struct err *e)
{
    return simple_drive(o, DRIVE_FLOPPY, 0, false, v, e);
}

int option_fdb(struct options *o, const char *v, struct err *e)
{
    return simple_drive(o, DRIVE_FLOPPY, 1, false, v, e);
}

/* What -drive says beside struct drive_config. */
struct drive_words {
    uint64_t bus, unit, index;
    bool has_bus, has_unit, has_index;
};

static int drive_media(struct drive_config *d, const char *v, struct err *e)
{
    if (strcmp(v, "disk") != 0 && strcmp(v, "cdrom") != 0)
        return err_set(e, -EINVAL, "media=%s: disk or cdrom", v);
    d->is_cdrom = strcmp(v, "cdrom") == 0;
    return 0;
}

static int drive_iface(struct drive_config *d, const char *v, struct err *e)
{
    for (unsigned i = 0; i < sizeof(ifaces) / sizeof(ifaces[0]); i++) {
        if (strcmp(ifaces[i].name, v) == 0) {
            d->iface = ifaces[i].iface;
            return 0;
        }
    }
    if (strcmp(v, "pflash") == 0 || strcmp(v, "mtd") == 0)
        return err_set(e, -ENOTSUP,
                       "if=%s: this machine has no flash memory; -bios FILE "
                       "starts firmware that keeps no variables",
                       v);
    return err_set(e, -EINVAL, "if=%s: ide, floppy, virtio or none", v);
}

/* "key=value" behind what is in *list. */
static int keep(char **list, const struct keyval *kv, struct err *e)
{
    char *text = NULL;
    size_t size = 0;
    FILE *f = open_memstream(&text, &size);

    if (f == NULL) return err_set(e, -ENOMEM, "out of memory");
    if (*list != NULL) fprintf(f, "%s,", *list);
    fprintf(f, "%s=", kv->key);
    for (const char *v = kv->value; *v != '\0'; v++)
        fprintf(f, *v == ',' ? ",," : "%c", *v);
    if (fclose(f) != 0) return err_set(e, -ENOMEM, "out of memory");
    free(*list);
    *list = text;
    return 1;
}

/* Options of the graph, as -blockdev has them. */
static bool is_tree_key(const char *key)
{
    static const char *const keys[] = { "file.",       "backing.",
                                        "backing",     "node-name",
                                        "force-share", "throttle-group",
                                        "faults" };

    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        size_t n = strlen(keys[i]);

        if (keys[i][n - 1] == '.' ? strncmp(keys[i], key, n) == 0
                                  : strcmp(keys[i], key) == 0)
            return true;
    }
    return false;
}

/* What the block layer knows is checked now and kept as it was given. */
static int block_option(struct drive_config *d, const struct keyval *kv,
                        struct err *e)
{
    static const char *const ignored[] = { "copy-on-read" };
    struct blk_options scratch;
    int rc;

    if (strcmp(kv->key, ignored[0]) == 0) return 1;
    if (is_tree_key(kv->key)) return keep(&d->tree, kv, e);
    blk_options_init(&scratch);
    rc = blk_option_set(&scratch, kv->key, kv->value, e);
    return rc <= 0 ? rc : keep(&d->block_options, kv, e);
}

static int drive_number(struct drive_words *w, const struct keyval *kv,
                        struct err *e)
{
    if (strcmp(kv->key, "bus") == 0) {
        w->has_bus = true;
        return value_uint(kv, 0, 7, &w->bus, e);
    }
    if (strcmp(kv->key, "unit") == 0) {
        w->has_unit = true;
        return value_uint(kv, 0, 7, &w->unit, e);
    }
    w->has_index = true;
    return value_uint(kv, 0, VM_MAX_DRIVES - 1, &w->index, e);
}

static int drive_item(struct options *o, struct drive_config *d,
                      struct drive_words *w, const struct keyval *kv,
                      struct err *e)
{
    const char *k = kv->key;
    int rc;

    if (strcmp(k, "file") == 0) return value_text(&d->file, kv->value, e);
    if (strcmp(k, "if") == 0) return drive_iface(d, kv->value, e);
    if (strcmp(k, "index") == 0 || strcmp(k, "bus") == 0 ||
        strcmp(k, "unit") == 0)
        return drive_number(w, kv, e);
    if (strcmp(k, "media") == 0) return drive_media(d, kv->value, e);
    if (strcmp(k, "format") == 0 || strcmp(k, "driver") == 0) {
        if (value_is_help(kv->value)) o->help = HELP_DRIVE_FORMAT;
        return value_text(&d->format, kv->value, e);
    }
    if (strcmp(k, "readonly") == 0 || strcmp(k, "read-only") == 0)
        return value_bool(kv, &d->is_readonly, e);
    if (strcmp(k, "snapshot") == 0) return value_bool(kv, &d->is_snapshot, e);
    if (strcmp(k, "id") == 0) {
        if (kv->value[0] == '\0' || strlen(kv->value) > 40)
            return err_set(e, -EINVAL, "id=%s: 1 to 40 characters", kv->value);
        return value_text(&d->id, kv->value, e);
    }
    rc = block_option(d, kv, e);
    if (rc != 0) return rc < 0 ? rc : 0;
    return keyval_unknown(kv,
                          "file, if, index, bus, unit, media, format, "
                          "readonly, snapshot, id, cache, aio, discard, "
                          "detect-zeroes, werror, rerror, node-name, "
                          "throttling.*, encrypt.*, file.*",
                          e);
}

int option_drive(struct options *o, const char *v, struct err *e)
{
    struct drive_words w = { 0 };
    struct drive_config *d = NULL;
    struct keyval kv;
    int rc = new_drive(o, &d, e);

    if (rc < 0) return rc;
    while ((rc = keyval_next(&v, NULL, false, &kv, e)) > 0) {
        rc = drive_item(o, d, &w, &kv, e);
        if (rc < 0) return rc;
    }
    if (rc < 0) return rc;
    if (o->help != HELP_NONE) return 0;
    if (d->is_cdrom) d->is_readonly = true;
    if (d->iface == DRIVE_FLOPPY && d->is_cdrom)
        return err_set(e, -EINVAL, "media=cdrom cannot be if=floppy");
    if (d->file == NULL && d->tree == NULL && !d->is_cdrom &&
        d->iface != DRIVE_FLOPPY && d->iface != DRIVE_NONE)
        return err_set(e, -EINVAL, "no file=");
    if (w.has_index && (w.has_bus || w.has_unit))
        return err_set(e, -EINVAL,
                       "index= and bus=/unit= name the same "
                       "thing; give one");
    if (w.has_index) d->index = (int)w.index;
    if (w.has_bus || w.has_unit)
        d->index = (int)(w.bus * (d->iface == DRIVE_IDE ? 2 : 8) + w.unit);
    return 0;
}

static int keep_text(char **list, unsigned *count, unsigned max,
                     const char *text, struct err *e)
{
    if (*count == max)
        return err_set(e, -E2BIG, "given more than %u times", max);
    list[*count] = NULL;
    if (value_text(&list[*count], text, e) < 0) return -ENOMEM;
    ++*count;
    return 0;
}

int option_blockdev(struct options *o, const char *v, struct err *e)
{
    return keep_text(o->blockdev, &o->blockdev_count, OPTIONS_MAX_BLOCKDEVS, v,
                     e);
}

int option_object(struct options *o, const char *v, struct err *e)
{
    return keep_text(o->object, &o->object_count, OPTIONS_MAX_OBJECTS, v, e);
}

/* Has one of the drives before end the place d would like? */
static bool is_taken(const struct vm_config *c, const struct drive_config *d,
                     int index, const struct drive_config *end)
{
    for (const struct drive_config *x = c->drive; x < end; x++) {
        if (x != d && x->iface == d->iface && x->index == index) return true;
    }
    return false;
}

/* Number d: given ones are checked, others get the next free place. */
static int place_drive(struct vm_config *c, struct drive_config *d,
                       struct err *e)
{
    const struct iface *f = iface_of(d->iface);
    const struct drive_config *end = c->drive + c->drive_count;
    int units = f->units ? f->units : VM_MAX_DRIVES;
    const char *what = d->file ? d->file : "(empty)";

    if (d->index < 0) {
        for (d->index = 0; is_taken(c, d, d->index, end); d->index++)
            ;
        if (d->index < units) return 0;
        return err_set(e, -ENOSPC, "%s: all %d %s places are taken", what,
                       units, f->name);
    }
    if (d->index >= units)
        return err_set(e, -ERANGE, "%s: index=%d: %s has 0..%d", what, d->index,
                       f->name, units - 1);
    if (is_taken(c, d, d->index, d))
        return err_set(e, -EEXIST, "%s: two drives at if=%s,index=%d (%s)",
                       what, f->name, d->index,
                       d->iface == DRIVE_IDE && d->index == 2
                           ? "-hdc and -cdrom are the same place"
                           : "choose another index");
    return 0;
}

/* QEMU's names: "ide1-cd0", "floppy0", "virtio0", "none0". */
static int name_drive(struct vm_config *c, struct drive_config *d,
                      struct err *e)
{
    const char *name = iface_of(d->iface)->name;
    char id[48];

    if (d->id == NULL) {
        if (d->iface == DRIVE_IDE) {
            snprintf(id, sizeof(id), "%s%d-%s%d", name, d->index / 2,
                     d->is_cdrom ? "cd" : "hd", d->index % 2);
        } else {
            snprintf(id, sizeof(id), "%s%d", name, d->index);
        }
        int rc = value_text(&d->id, id, e);
        if (rc < 0) return rc;
    }
    for (struct drive_config *x = c->drive; x < d; x++) {
        if (strcmp(x->id, d->id) == 0)
            return err_set(e, -EEXIST, "-drive id=%s: given twice", d->id);
    }
    return 0;
}

/* -device NAME: as in the first item of the text. */
static bool is_device(const char *text, const char *name)
{
    size_t n = strlen(name);

    if (strncmp(text, "driver=", 7) == 0) text += 7;
    return strncmp(text, name, n) == 0 && (text[n] == ',' || text[n] == '\0');
}

static bool has_device(const struct vm_config *c, const char *const *names)
{
    for (unsigned i = 0; i < c->device_count; i++) {
        for (unsigned k = 0; names[k] != NULL; k++) {
            if (is_device(c->device[i], names[k])) return true;
        }
    }
    return false;
}

/* What ide-cd shows is a CD-ROM, and is opened as one: read-only, so that
 * others may read the file as well. */
static int note_cdroms(struct vm_config *c, struct err *e)
{
    for (unsigned i = 0; i < c->device_count; i++) {
        const char *text = c->device[i];
        struct keyval kv;
        int rc;

        if (!is_device(text, "ide-cd")) continue;
        while ((rc = keyval_next(&text, NULL, false, &kv, e)) > 0) {
            for (unsigned k = 0; k < c->drive_count; k++) {
                struct drive_config *d = &c->drive[k];

                if (strcmp(kv.key, "drive") != 0 || d->iface != DRIVE_NONE ||
                    d->id == NULL || strcmp(d->id, kv.value) != 0)
                    continue;
                d->is_cdrom = d->is_readonly = true;
            }
        }
        if (rc < 0) return err_prefix(e, "-device %.200s", c->device[i]);
    }
    return 0;
}

static int add_empty(struct options *o, enum drive_if iface, int index,
                     bool is_cdrom, bool *was_added, struct err *e)
{
    struct drive_config *d = NULL;
    struct drive_config like = { .iface = iface };
    int rc;

    *was_added = false;
    if (o->has_nodefaults ||
        is_taken(&o->cfg, &like, index, o->cfg.drive + o->cfg.drive_count) ||
        o->cfg.drive_count == VM_MAX_DRIVES)
        return 0;
    rc = new_drive(o, &d, e);
    if (rc < 0) return rc;
    d->iface = iface;
    d->index = index;
    d->is_cdrom = is_cdrom;
    d->is_readonly = is_cdrom;
    *was_added = true;
    return 0;
}

int drives_finish(struct options *o, struct err *e)
{
    static const char *const disks[] = { "ide-hd", "ide-cd", NULL };
    static const char *const floppies[] = { "floppy", NULL };
    struct vm_config *c = &o->cfg;
    int rc = note_cdroms(c, e);

    for (unsigned i = 0; i < c->drive_count && rc == 0; i++)
        rc = place_drive(c, &c->drive[i], e);
    if (rc == 0 && !has_device(c, disks))
        rc = add_empty(o, DRIVE_IDE, 2, true, &o->has_default_cdrom, e);
    if (rc == 0 && !has_device(c, floppies))
        rc = add_empty(o, DRIVE_FLOPPY, 0, false, &o->has_default_floppy, e);
    for (unsigned i = 0; i < c->drive_count && rc == 0; i++) {
        struct drive_config *d = &c->drive[i];

        if (o->is_snapshot_all && !d->is_cdrom) d->is_snapshot = true;
        rc = name_drive(c, d, e);
    }
    return rc;
}
