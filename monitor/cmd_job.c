/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Work on drives while the guest goes on: starting, steering, info block-jobs. */
#include <errno.h>
#include <string.h>

#include "block/block.h"
#include "block/job.h"
#include "core/vm/vm.h"
#include "monitor/commands.h"

static struct drive_table *drives_of(struct cmd *c)
{
    return vm_service(c->vm, "drives");
}

/* ---- start ---- */

static int parse_sync(const char *text, enum job_sync *out, struct err *e)
{
    static const char *const names[] = { [JOB_SYNC_FULL] = "full",
                                         [JOB_SYNC_TOP] = "top",
                                         [JOB_SYNC_NONE] = "none" };

    for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(names[i], text) != 0) continue;
        *out = (enum job_sync)i;
        return 0;
    }
    return err_set(e, -EINVAL, "Parameter 'sync' does not accept value '%s'",
                   text);
}

static int start(struct cmd *c, const char *drive, enum job_kind kind,
                 const struct job_args *a, struct err *e)
{
    struct drive_table *t = drives_of(c);
    struct drive *d = t != NULL ? drive_find(t, drive) : NULL;

    if (d == NULL)
        return err_set(e, -ENODEV, "Cannot find device='%s' nor node-name='%s'",
                       drive, drive);
    if (drive_blk(d) == NULL)
        return err_set(e, -ENOMEDIUM, "Device '%s' has no medium", drive);
    return job_start(t, d, kind, a, e);
}

static int speed_of(const struct cmd_arg *a, uint64_t *out, struct err *e)
{
    if (a->is_given && a->number < 0)
        return err_set(e, -EINVAL, "Parameter 'speed' expects a size");
    *out = a->is_given ? (uint64_t)a->number : 0;
    return 0;
}

/* auto-finalize, auto-dismiss at argument i and the next */
static void take_waits(struct cmd *c, unsigned i, struct job_args *a)
{
    a->waits_for_finalize = c->arg[i].is_given && !c->arg[i].number;
    a->waits_for_dismiss = c->arg[i + 1].is_given && !c->arg[i + 1].number;
}

/* -n -f and, from argument at on: device target format sync mode speed
 * job-id auto-finalize auto-dismiss */
static int start_copy(struct cmd *c, enum job_kind kind, unsigned at,
                      bool is_compressed, struct err *e)
{
    const struct cmd_arg *a = c->arg + at;
    bool is_full = c->arg[1].is_given;
    struct job_args args = { .id = a[6].text,
                             .sync = is_full ? JOB_SYNC_FULL : JOB_SYNC_TOP,
                             .target = a[1].text,
                             .format = a[2].text,
                             .is_target_existing = c->arg[0].is_given,
                             .is_compressed = is_compressed };
    int rc = speed_of(&a[5], &args.speed, e);

    take_waits(c, at + 7, &args);
    if (rc == 0 && c->json != NULL && !a[3].is_given)
        rc = err_set(e, -EINVAL, "Parameter 'sync' is missing");
    if (rc == 0 && a[3].is_given) rc = parse_sync(a[3].text, &args.sync, e);
    if (rc == 0 && a[4].is_given) {
        args.is_target_existing = strcmp(a[4].text, "existing") == 0;
        if (!args.is_target_existing &&
            strcmp(a[4].text, "absolute-paths") != 0)
            rc = err_set(e, -EINVAL,
                         "Parameter 'mode' does not accept value '%s'",
                         a[4].text);
    }
    return rc < 0 ? rc : start(c, a[0].text, kind, &args, e);
}

int cmd_drive_backup(struct cmd *c, struct err *e)
{
    return start_copy(c, JOB_BACKUP, 3, c->arg[2].is_given, e);
}

int cmd_drive_mirror(struct cmd *c, struct err *e)
{
    return start_copy(c, JOB_MIRROR, 2, false, e);
}

/* device target sync speed job-id auto-finalize auto-dismiss */
static int start_on_node(struct cmd *c, enum job_kind kind, struct err *e)
{
    struct job_args args = { .id = c->arg[4].text,
                             .target_node = c->arg[1].text };
    int rc = parse_sync(c->arg[2].text, &args.sync, e);

    if (rc == 0) rc = speed_of(&c->arg[3], &args.speed, e);
    take_waits(c, 5, &args);
    if (rc == 0) rc = start(c, c->arg[0].text, kind, &args, e);
    if (rc < 0) return rc;
    json_open(c->json, NULL, '{');
    json_close(c->json, '}');
    return 0;
}

int json_blockdev_backup(struct cmd *c, struct err *e)
{
    return start_on_node(c, JOB_BACKUP, e);
}

int json_blockdev_mirror(struct cmd *c, struct err *e)
{
    return start_on_node(c, JOB_MIRROR, e);
}

/* -n device snapshot-file format mode node-name */
int cmd_snapshot_blkdev(struct cmd *c, struct err *e)
{
    const char *name = c->arg[1].text, *mode = c->arg[4].text;
    struct drive_table *t = drives_of(c);
    struct drive *d;

    if (name == NULL) name = c->arg[5].text;
    d = t != NULL && name != NULL ? drive_find(t, name) : NULL;
    if (d == NULL)
        return err_set(e, -ENODEV, "Cannot find device='%s' nor node-name='%s'",
                       c->arg[1].text != NULL ? c->arg[1].text : "",
                       c->arg[5].text != NULL ? c->arg[5].text : "");
    if (mode != NULL && strcmp(mode, "existing") != 0 &&
        strcmp(mode, "absolute-paths") != 0)
        return err_set(e, -EINVAL,
                       "Parameter 'mode' does not accept value '%s'", mode);
    return drive_overlay(d, c->arg[2].text, c->arg[3].text,
                         c->arg[0].is_given ||
                             (mode != NULL && strcmp(mode, "existing") == 0),
                         e);
}

/* device speed base job-id backing-file auto-finalize auto-dismiss */
int cmd_block_stream(struct cmd *c, struct err *e)
{
    struct job_args args = { .id = c->arg[3].text,
                             .base = c->arg[2].text,
                             .backing_file = c->arg[4].text };
    int rc = speed_of(&c->arg[1], &args.speed, e);

    take_waits(c, 5, &args);
    return rc < 0 ? rc : start(c, c->arg[0].text, JOB_STREAM, &args, e);
}

/* device speed base top job-id backing-file */
int json_block_commit(struct cmd *c, struct err *e)
{
    struct job_args args = { .id = c->arg[4].text,
                             .base = c->arg[2].text,
                             .top = c->arg[3].text,
                             .backing_file = c->arg[5].text };
    int rc = speed_of(&c->arg[1], &args.speed, e);

    take_waits(c, 6, &args);
    if (rc == 0) rc = start(c, c->arg[0].text, JOB_COMMIT, &args, e);
    if (rc < 0) return rc;
    json_open(c->json, NULL, '{');
    json_close(c->json, '}');
    return 0;
}

int cmd_commit(struct cmd *c, struct err *e)
{
    struct drive_table *t = drives_of(c);
    struct drive *d = NULL;

    if (strcmp(c->arg[0].text, "all") != 0) {
        d = cmd_drive(c, c->arg[0].text, e);
        return d == NULL ? -ENODEV : drive_commit(d, e);
    }
    while (t != NULL && (d = drive_next(t, d)) != NULL) {
        int rc;

        if (drive_blk(d) == NULL || blk_is_readonly(drive_blk(d))) continue;
        rc = drive_commit(d, e);
        if (rc < 0 && rc != -ENOTSUP) return rc;
    }
    return 0;
}

/* ---- steer ---- */

typedef int job_verb(struct drive_table *t, const char *id, struct err *e);

static int steer(struct cmd *c, const char *id, job_verb *verb, struct err *e)
{
    struct drive_table *t = drives_of(c);
    int rc = t != NULL ? verb(t, id, e)
                       : err_set(e, -ENOENT, "Block job '%s' not found", id);

    if (rc == -ENOENT) c->error_class = "DeviceNotActive";
    return rc;
}

int cmd_job_cancel(struct cmd *c, struct err *e)
{
    return steer(c, c->arg[1].text,
                 c->arg[0].is_given ? job_cancel : job_cancel_softly, e);
}

static int steer_json(struct cmd *c, job_verb *verb, struct err *e)
{
    int rc = steer(c, c->arg[0].text, verb, e);

    if (rc < 0) return rc;
    json_open(c->json, NULL, '{');
    json_close(c->json, '}');
    return 0;
}

int json_block_job_dismiss(struct cmd *c, struct err *e)
{
    return steer_json(c, job_dismiss, e);
}

int json_block_job_finalize(struct cmd *c, struct err *e)
{
    return steer_json(c, job_finalize, e);
}

int cmd_job_complete(struct cmd *c, struct err *e)
{
    return steer(c, c->arg[0].text, job_complete, e);
}

int cmd_job_pause(struct cmd *c, struct err *e)
{
    return steer(c, c->arg[0].text, job_pause, e);
}

int cmd_job_resume(struct cmd *c, struct err *e)
{
    return steer(c, c->arg[0].text, job_resume, e);
}

int cmd_job_speed(struct cmd *c, struct err *e)
{
    struct drive_table *t = drives_of(c);
    uint64_t speed;
    int rc = speed_of(&c->arg[1], &speed, e);

    if (rc < 0) return rc;
    rc = t != NULL
             ? job_set_speed(t, c->arg[0].text, speed, e)
             : err_set(e, -ENOENT, "Block job '%s' not found", c->arg[0].text);
    if (rc == -ENOENT) c->error_class = "DeviceNotActive";
    return rc;
}

/* ---- look ---- */

int info_block_jobs(struct cmd *c, struct err *e)
{
    struct drive_table *t = drives_of(c);
    struct job_info j;
    unsigned i = 0;

    (void)e;
    for (; t != NULL && job_nth(t, i, &j); i++)
        fprintf(c->out,
                "Type %s, device %s: Completed %llu of %llu bytes, speed "
                "limit %llu bytes/s\n",
                job_kind_name(j.kind), j.id, (unsigned long long)j.done,
                (unsigned long long)j.total, (unsigned long long)j.speed);
    if (i == 0) fputs("No active jobs\n", c->out);
    return 0;
}

int query_block_jobs(struct cmd *c, struct err *e)
{
    struct drive_table *t = drives_of(c);
    struct json_out *o = c->json;
    struct job_info j;

    (void)e;
    json_open(o, NULL, '[');
    for (unsigned i = 0; t != NULL && job_nth(t, i, &j); i++) {
        json_open(o, NULL, '{');
        json_bool(o, "auto-finalize", !j.waits_for_finalize);
        json_str(o, "io-status", "ok");
        json_str(o, "device", j.id);
        json_bool(o, "auto-dismiss", !j.waits_for_dismiss);
        json_bool(o, "busy", strcmp(j.status, "running") == 0);
        json_uint(o, "len", j.total);
        json_uint(o, "offset", j.done);
        json_str(o, "status", j.status);
        json_bool(o, "paused", j.is_paused);
        json_uint(o, "speed", j.speed);
        json_bool(o, "ready", j.is_ready);
        json_str(o, "type", job_kind_name(j.kind));
        json_close(o, '}');
    }
    json_close(o, ']');
    return 0;
}
