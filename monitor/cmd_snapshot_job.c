/* SPDX-License-Identifier: GPL-2.0-or-later */
/* snapshot-save, -load, -delete and job-*: snapshots for programs. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "block/block.h"
#include "block/job.h"
#include "block/snapshot.h"
#include "core/vm/vm.h"
#include "monitor/commands.h"
#include "monitor/savevm.h"

static void answer_nothing(struct cmd *c)
{
    json_open(c->json, NULL, '{');
    json_close(c->json, '}');
}

static void set_free(struct snapshot_set *s)
{
    if (s == NULL) return;
    for (unsigned i = 0; i < s->count; i++)
        free(s->drive[i]);
    free(s->drive);
    free(s->holder);
    free(s);
}

/* holder NULL: none is named. */
static int make_set(const struct json *list, const char *holder,
                    struct snapshot_set **out, struct err *e)
{
    struct snapshot_set *s;
    unsigned count = 0;

    if (list->type != JSON_ARRAY)
        return err_set(e, -EINVAL,
                       "Invalid parameter type for 'devices', expected: array");
    for (const struct json *j = list->first; j != NULL; j = j->next) {
        if (j->type != JSON_STRING)
            return err_set(e, -EINVAL,
                           "Invalid parameter type for 'devices[%u]', "
                           "expected: string",
                           count);
        count++;
    }
    s = calloc(1, sizeof(*s));
    if (s != NULL) s->drive = calloc(count + 1, sizeof(*s->drive));
    if (s != NULL && holder != NULL) s->holder = strdup(holder);
    if (s == NULL || s->drive == NULL || (holder != NULL && !s->holder))
        goto fail;
    for (const struct json *j = list->first; j != NULL; j = j->next) {
        s->drive[s->count] = strdup(j->text);
        if (s->drive[s->count] == NULL) goto fail;
        s->count++;
    }
    *out = s;
    return 0;
fail:
    set_free(s);
    return err_set(e, -ENOMEM, "out of memory");
}

/* job-id tag, vmstate unless it is for deleting, devices */
static int submit(struct cmd *c, enum savevm_kind kind, struct err *e)
{
    bool has_holder = kind != SAVEVM_DELETE;
    struct savevm_request r = { .kind = kind,
                                .name = c->arg[1].text,
                                .job = c->arg[0].text };
    int rc = make_set(c->arg[has_holder ? 3 : 2].json,
                      has_holder ? c->arg[2].text : NULL, &r.set, e);

    if (rc == 0) rc = savevm_submit_locked(c->vm, &r, NULL, e);
    set_free(r.set); /* unless it was taken */
    if (rc == 0) answer_nothing(c);
    return rc;
}

int json_snapshot_save(struct cmd *c, struct err *e)
{
    return submit(c, SAVEVM_SAVE, e);
}

int json_snapshot_load(struct cmd *c, struct err *e)
{
    return submit(c, SAVEVM_LOAD, e);
}

int json_snapshot_delete(struct cmd *c, struct err *e)
{
    return submit(c, SAVEVM_DELETE, e);
}

/* ----------------------------------------------------------------- jobs */

int query_jobs(struct cmd *c, struct err *e)
{
    struct drive_table *t = vm_service(c->vm, "drives");
    struct json_out *o = c->json;
    struct job_info j;

    (void)e;
    json_open(o, NULL, '[');
    savevm_print_jobs_locked(c->vm, o);
    for (unsigned i = 0; t != NULL && job_nth(t, i, &j); i++) {
        json_open(o, NULL, '{');
        json_uint(o, "current-progress", j.done);
        json_str(o, "status", j.status);
        json_uint(o, "total-progress", j.total);
        json_str(o, "type", job_kind_name(j.kind));
        json_str(o, "id", j.id);
        if (j.error[0] != '\0') json_str(o, "error", j.error);
        json_close(o, '}');
    }
    json_close(o, ']');
    return 0;
}

typedef int block_verb(struct drive_table *t, const char *id, struct err *e);

/* A verb for a snapshot's job or for work on a drive. */
static int steer(struct cmd *c, const char *verb, block_verb *on_block,
                 struct err *e)
{
    struct drive_table *t = vm_service(c->vm, "drives");
    const char *id = c->arg[0].text;
    struct job_info j;
    int rc = savevm_job_verb_locked(c->vm, id, verb, e);

    for (unsigned i = 0; rc == -ENOENT && t != NULL && job_nth(t, i, &j); i++) {
        if (strcmp(j.id, id) != 0) continue;
        *e = (struct err)ERR_INIT;
        rc = on_block != NULL
                 ? on_block(t, id, e)
                 : err_set(e, -EPERM,
                           "Job '%s' in state '%s' cannot accept command verb "
                           "'%s'",
                           id, j.status, verb);
    }
    if (rc == 0) answer_nothing(c);
    return rc;
}

int json_job_cancel(struct cmd *c, struct err *e)
{
    return steer(c, "cancel", job_cancel, e);
}

int json_job_complete(struct cmd *c, struct err *e)
{
    return steer(c, "complete", job_complete, e);
}

int json_job_dismiss(struct cmd *c, struct err *e)
{
    return steer(c, "dismiss", job_dismiss, e);
}

int json_job_finalize(struct cmd *c, struct err *e)
{
    return steer(c, "finalize", job_finalize, e);
}

int json_job_pause(struct cmd *c, struct err *e)
{
    return steer(c, "pause", job_pause, e);
}

int json_job_resume(struct cmd *c, struct err *e)
{
    return steer(c, "resume", job_resume, e);
}
