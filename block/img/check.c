/* SPDX-License-Identifier: GPL-2.0-or-later */
/* img check. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "block/img/img.h"
#include "core/base/json.h"

static void print_line(void *arg, const char *text)
{
    const bool *is_json = arg;

    /* JSON stays alone on standard output. */
    fprintf(*is_json ? stderr : stdout, "%s\n", text);
}

static void print_json(const struct node *n, const struct image_check *c)
{
    struct json_out o = { .f = stdout, .is_pretty = true };

    json_open(&o, NULL, '{');
    if (c->image_end_offset)
        json_uint(&o, "image-end-offset", c->image_end_offset);
    if (c->compressed_clusters)
        json_uint(&o, "compressed-clusters", c->compressed_clusters);
    if (c->total_clusters) json_uint(&o, "total-clusters", c->total_clusters);
    if (c->corruptions) json_uint(&o, "corruptions", c->corruptions);
    if (c->leaks) json_uint(&o, "leaks", c->leaks);
    if (c->leaks_fixed) json_uint(&o, "leaks-fixed", c->leaks_fixed);
    if (c->corruptions_fixed)
        json_uint(&o, "corruptions-fixed", c->corruptions_fixed);
    json_uint(&o, "check-errors", c->check_errors);
    if (c->allocated_clusters)
        json_uint(&o, "allocated-clusters", c->allocated_clusters);
    json_str(&o, "filename", n->name);
    json_str(&o, "format", n->drv->name);
    if (c->fragmented_clusters)
        json_uint(&o, "fragmented-clusters", c->fragmented_clusters);
    json_close(&o, '}');
    putchar('\n');
}

static void print_text(const struct image_check *c)
{
    if (c->corruptions == 0 && c->leaks == 0 && c->check_errors == 0) {
        puts("No errors were found on the image.");
    } else {
        if (c->corruptions)
            printf("\n%llu errors were found on the image.\n"
                   "Data may be corrupted, or further writes to the image may "
                   "corrupt it.\n",
                   (unsigned long long)c->corruptions);
        if (c->leaks)
            printf("\n%llu leaked clusters were found on the image.\n"
                   "This means waste of disk space, but no harm to data.\n",
                   (unsigned long long)c->leaks);
        if (c->check_errors)
            printf("\n%llu internal errors have occurred during the check.\n",
                   (unsigned long long)c->check_errors);
    }
    if (c->total_clusters != 0 && c->allocated_clusters != 0)
        printf("%llu/%llu = %0.2f%% allocated, %0.2f%% fragmented, %0.2f%% "
               "compressed clusters\n",
               (unsigned long long)c->allocated_clusters,
               (unsigned long long)c->total_clusters,
               (double)c->allocated_clusters * 100.0 /
                   (double)c->total_clusters,
               (double)c->fragmented_clusters * 100.0 /
                   (double)c->allocated_clusters,
               (double)c->compressed_clusters * 100.0 /
                   (double)c->allocated_clusters);
    if (c->image_end_offset != 0)
        printf("Image end offset: %llu\n",
               (unsigned long long)c->image_end_offset);
}

static int check_once(struct node *n, struct image_check *c, unsigned fix)
{
    struct err e = ERR_INIT;
    int rc;

    *c = (struct image_check){
        .fix = fix, .line = c->line, .arg = c->arg, .progress = c->progress
    };
    rc = n->drv->check(n, c, &e);
    if (rc < 0 && rc != -ECANCELED)
        img_error("Check failed: %s", e.text[0] ? e.text : strerror(-rc));
    return rc;
}

/* After a repair: say what was done and look again. */
static int check_again(struct img *m, struct node *n, struct image_check *c,
                       bool is_json)
{
    struct image_check first = *c;
    bool is_said = !is_json && !m->is_quiet;
    int rc;

    if (is_said)
        printf("The following inconsistencies were found and repaired:\n\n"
               "    %llu leaked clusters\n    %llu corruptions\n\n"
               "Double checking the fixed image now...\n",
               (unsigned long long)first.leaks_fixed,
               (unsigned long long)first.corruptions_fixed);
    rc = check_once(n, c, 0);
    c->leaks_fixed = first.leaks_fixed;
    c->corruptions_fixed = first.corruptions_fixed;
    return rc;
}

static int check(struct img *m, struct node *n, unsigned fix, bool is_json)
{
    struct image_check c = { .line = print_line, .arg = &is_json };
    struct img_work w;
    int rc;

    if (n->drv->check == NULL) {
        img_error("This image format does not support checks");
        return 63;
    }
    if (img_work_begin(&w, img_has(m, 'p')) < 0) return 1;
    c.progress = &w.progress;
    rc = check_once(n, &c, fix);
    if (rc == 0 && (c.leaks_fixed || c.corruptions_fixed))
        rc = check_again(m, n, &c, is_json);
    if (rc == 0 && fix != 0) rc = node_flush(n);
    img_work_end(&w, rc == 0);
    if (rc < 0) return 1;
    if (is_json)
        print_json(n, &c);
    else if (!m->is_quiet)
        print_text(&c);
    if (c.corruptions) return 2;
    if (c.leaks) return 3;
    return c.check_errors ? 1 : 0;
}

int img_check(struct img *m)
{
    const char *repair = img_get(m, 'r'), *cache = img_get(m, 'T');
    unsigned fix = 0;
    struct node *n;
    bool is_json;
    int rc;

    if (repair != NULL) {
        if (strcmp(repair, "leaks") == 0)
            fix = IMAGE_FIX_LEAKS;
        else if (strcmp(repair, "all") == 0)
            fix = IMAGE_FIX_LEAKS | IMAGE_FIX_ERRORS;
        else
            return img_usage_error("Unknown option value for -r (expecting "
                                   "'leaks' or 'all'): %s",
                                   repair);
    }
    if (m->operand_count != 1)
        return img_usage_error("Expecting one image file name");
    if (img_get_output(m, &is_json) < 0) return 1;
    rc = img_open(m, m->operands[0], img_get(m, 'f'), cache,
                  img_flags(m) | IMG_NO_BACKING | IMG_CHECK | IMG_QUIET |
                      IMG_SOURCE_CACHE | (fix ? IMG_WRITE : 0),
                  &n);
    if (rc < 0) return 1;
    rc = check(m, n, fix, is_json);
    node_unref(n);
    return rc;
}
