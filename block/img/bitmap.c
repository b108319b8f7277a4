/* SPDX-License-Identifier: GPL-2.0-or-later */
/* img bitmap: make, remove, merge and switch persistent dirty bitmaps. */
#include <errno.h>
#include <string.h>

#include "block/img/img.h"
#include "core/base/size.h"

static const struct {
    int option;
    const char *name; /* as messages have it */
    enum image_bitmap_action action;
} actions[] = {
    { IMG_ADD, "add", IMAGE_BITMAP_ADD },
    { IMG_REMOVE, "remove", IMAGE_BITMAP_REMOVE },
    { IMG_CLEAR, "clear", IMAGE_BITMAP_CLEAR },
    { IMG_ENABLE, "enable", IMAGE_BITMAP_ENABLE },
    { IMG_DISABLE, "disable", IMAGE_BITMAP_DISABLE },
    { IMG_MERGE, "merge", IMAGE_BITMAP_MERGE },
};
enum { ACTIONS = sizeof(actions) / sizeof(actions[0]) };

static int refuse(const char *text)
{
    img_error("%s", text);
    return -1;
}

static int check_options(const struct img *m)
{
    unsigned given = 0;

    for (unsigned i = 0; i < ACTIONS; i++)
        given += img_has(m, actions[i].option);
    if (m->operand_count != 2)
        return refuse("Expecting filename and bitmap name");
    if (given == 0)
        return refuse("Need at least one of --add, --remove, --clear, "
                      "--enable, --disable, or --merge");
    if (img_has(m, 'g') && !img_has(m, IMG_ADD))
        return refuse("granularity only supported with --add");
    if (img_has(m, 'F') && !img_has(m, 'b'))
        return refuse("-F only supported with -b");
    if (img_has(m, 'b') && !img_has(m, IMG_MERGE))
        return refuse("Merge bitmap source file only supported with --merge");
    return 0;
}

static int do_one(struct node *n, unsigned i, struct image_bitmap *b)
{
    struct err e = ERR_INIT;
    bool is_bad_grain =
        b->granularity != 0 &&
        (b->granularity < 512 || b->granularity > UINT64_C(1) << 31 ||
         (b->granularity & (b->granularity - 1)) != 0);

    b->action = actions[i].action;
    if (b->action == IMAGE_BITMAP_ADD && is_bad_grain)
        err_set(&e, -EINVAL, "Granularity must be power of 2 and at least 512");
    else if (n->drv->bitmap == NULL)
        err_set(&e, -ENOTSUP, "format %s has no bitmaps", n->drv->name);
    else if (n->drv->bitmap(n, b, &e) == 0)
        return 0;
    img_error("Operation %s on bitmap %s failed: %s", actions[i].name, b->name,
              e.text);
    return -1;
}

/* In the order of the command line. */
static int do_all(const struct img *m, struct node *n, struct image_bitmap *b)
{
    int rc = 0;

    for (unsigned k = 0; k < m->given_count && rc == 0; k++) {
        for (unsigned i = 0; i < ACTIONS && rc == 0; i++) {
            if (m->given[k].id != actions[i].option) continue;
            b->source_name = m->given[k].value;
            rc = do_one(n, i, b);
        }
    }
    return rc;
}

int img_bitmap(struct img *m)
{
    struct image_bitmap b = { .name = "" };
    struct node *n = NULL;
    int rc = check_options(m);

    if (rc == 0) rc = img_get_size(m, 'g', "granularity", 0, &b.granularity);
    if (rc < 0) return 1;
    b.name = m->operands[1];
    if (img_open(m, m->operands[0], img_get(m, 'f'), NULL,
                 img_flags(m) | IMG_WRITE | IMG_NO_BACKING, &n) < 0)
        return 1;
    if (img_has(m, 'b'))
        rc = img_open(m, img_get(m, 'b'), img_get(m, 'F'), NULL, IMG_NO_BACKING,
                      &b.source);
    if (rc == 0) rc = do_all(m, n, &b);
    node_unref(b.source);
    node_unref(n);
    return rc < 0 ? 1 : 0;
}

/* --------------------------------------------------------------- convert */

int img_check_bitmaps(const struct node *from, bool skips_broken)
{
    struct image_bitmap_info i;

    if (from->drv->bitmap_nth == NULL)
        return refuse("Source lacks bitmap support");
    for (unsigned k = 0;
         from->drv->bitmap_nth((struct node *)(uintptr_t)from, k, &i); k++) {
        if (!i.is_broken || skips_broken) continue;
        img_error("Cannot copy inconsistent bitmap '%s'", i.name);
        img_error("Use --skip-broken-bitmaps to skip inconsistent bitmaps, or "
                  "--remove them with 'orrery img bitmap'");
        return -1;
    }
    return 0;
}

static int copy_one(struct node *from, struct node *to,
                    const struct image_bitmap_info *i)
{
    static const enum image_bitmap_action steps[] = { IMAGE_BITMAP_ADD,
                                                      IMAGE_BITMAP_MERGE,
                                                      IMAGE_BITMAP_DISABLE };
    struct image_bitmap b = { .name = i->name,
                              .granularity = i->granularity,
                              .source_name = i->name,
                              .source = from };
    struct err e = ERR_INIT;

    for (unsigned k = 0; k < (i->is_enabled ? 2u : 3u); k++) {
        b.action = steps[k];
        if (to->drv->bitmap(to, &b, &e) == 0) continue;
        img_error("Failed to populate bitmap %s: %s", i->name, e.text);
        return -1;
    }
    return 0;
}

int img_copy_bitmaps(struct node *from, struct node *to, bool skips_broken)
{
    struct image_bitmap_info i;
    int rc = 0;

    if (to->drv->bitmap == NULL) {
        img_error("Format driver '%s' does not support bitmaps",
                  to->drv->name);
        return -1;
    }
    for (unsigned k = 0; rc == 0 && from->drv->bitmap_nth(from, k, &i); k++) {
        if (i.is_broken && skips_broken)
            img_error("warning: Skipping inconsistent bitmap '%s'", i.name);
        else
            rc = copy_one(from, to, &i);
    }
    return rc;
}
