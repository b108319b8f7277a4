/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * QMP's jobs: snapshot-save, -load and -delete give their work a name, by
 * which a program asks for it until it dismisses it.  States and events as
 * QEMU 7.2 has them; each change is a JOB_STATUS_CHANGE.
 */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/json.h"
#include "core/vm/report.h"
#include "core/vm/vm.h"
#include "monitor/savevm_int.h"

enum { MAX_JOBS = 256 };

struct savevm_job {
    struct savevm_job *next;
    char id[128];
    enum savevm_kind kind;
    const char *status;
    bool is_over;
    char error[600];
};

static void set_status_locked(struct savevm *sv, struct savevm_job *j,
                              const char *status)
{
    struct json_out o = { .f = NULL };
    char *text = NULL;
    size_t bytes = 0;

    j->status = status;
    o.f = open_memstream(&text, &bytes);
    if (o.f == NULL) return;
    json_open(&o, NULL, '{');
    json_str(&o, "status", status);
    json_str(&o, "id", j->id);
    json_close(&o, '}');
    fclose(o.f);
    if (text != NULL) vm_report_locked(sv->vm, "JOB_STATUS_CHANGE", text);
    free(text);
}

/* A letter, then letters, digits and - . _ */
static bool is_well_formed(const char *id)
{
    if (!isalpha((unsigned char)id[0]) || strlen(id) > 127) return false;
    for (; *id != '\0'; id++) {
        if (!isalnum((unsigned char)*id) && strchr("-._", *id) == NULL)
            return false;
    }
    return true;
}

static struct savevm_job *find(struct savevm *sv, const char *id)
{
    struct savevm_job *j = sv->jobs;

    while (j != NULL && strcmp(j->id, id) != 0)
        j = j->next;
    return j;
}

struct savevm_job *savevm_job_new_locked(struct savevm *sv, const char *id,
                                         enum savevm_kind kind, struct err *e)
{
    struct savevm_job *j;
    unsigned count = 0;

    if (!is_well_formed(id)) {
        err_set(e, -EINVAL, "Invalid job ID '%.127s'", id);
        return NULL;
    }
    if (find(sv, id) != NULL) {
        err_set(e, -EEXIST, "Job ID '%s' already in use", id);
        return NULL;
    }
    for (j = sv->jobs; j != NULL; j = j->next)
        count++;
    if (count >= MAX_JOBS) {
        err_set(e, -E2BIG, "there are %d jobs; dismiss some", MAX_JOBS);
        return NULL;
    }
    j = calloc(1, sizeof(*j));
    if (j == NULL) {
        err_set(e, -ENOMEM, "out of memory");
        return NULL;
    }
    strcpy(j->id, id);
    j->kind = kind;
    j->next = sv->jobs; /* the newest first */
    sv->jobs = j;
    set_status_locked(sv, j, "created");
    set_status_locked(sv, j, "running");
    return j;
}

void savevm_job_over_locked(struct savevm *sv, struct savevm_job *j, int rc,
                            const char *error)
{
    if (rc < 0) {
        snprintf(j->error, sizeof(j->error), "%s", error);
        set_status_locked(sv, j, "aborting");
    } else {
        set_status_locked(sv, j, "waiting");
        set_status_locked(sv, j, "pending");
    }
    j->is_over = true;
    set_status_locked(sv, j, "concluded");
}

void savevm_jobs_free(struct savevm *sv)
{
    while (sv->jobs != NULL) {
        struct savevm_job *j = sv->jobs;

        sv->jobs = j->next;
        free(j);
    }
}

static const struct savevm_work *work_of(const struct savevm *sv,
                                         const struct savevm_job *j)
{
    const struct savevm_work *w = sv->now;

    return w != NULL && w->job == j ? w : NULL;
}

void savevm_print_jobs_locked(struct vm *vm, struct json_out *o)
{
    const struct savevm *sv = vm_service(vm, "savevm");

    for (const struct savevm_job *j = sv == NULL ? NULL : sv->jobs; j != NULL;
         j = j->next) {
        const struct savevm_work *w = work_of(sv, j);
        uint64_t total = w == NULL ? 1 : w->total, done = j->is_over;

        if (w != NULL)
            done = w->kind == SAVEVM_SAVE ? atomic_load(w->progress)
                                          : atomic_load(&w->moved);
        json_open(o, NULL, '{');
        json_uint(o, "current-progress", done < total ? done : total);
        json_str(o, "status", j->status);
        json_uint(o, "total-progress", total);
        json_str(o, "type", savevm_kind_name(j->kind));
        json_str(o, "id", j->id);
        if (j->error[0] != '\0') json_str(o, "error", j->error);
        json_close(o, '}');
    }
}

/* One that waits for its turn is taken out of the queue. */
static void cancel_queued_locked(struct savevm *sv, struct savevm_job *j)
{
    for (struct savevm_work *w = sv->queue; w != NULL; w = w->next) {
        if (w->job != j) continue;
        w->is_dropped = true;
        w->job = NULL;
        savevm_job_over_locked(sv, j, -ECANCELED, "Operation canceled");
    }
}

static int dismiss_locked(struct savevm *sv, struct savevm_job *j)
{
    struct savevm_job **at = &sv->jobs;

    set_status_locked(sv, j, "null");
    while (*at != j)
        at = &(*at)->next;
    *at = j->next;
    free(j);
    return 0;
}

int savevm_job_verb_locked(struct vm *vm, const char *id, const char *verb,
                           struct err *e)
{
    struct savevm *sv = vm_service(vm, "savevm");
    struct savevm_job *j = sv == NULL ? NULL : find(sv, id);

    if (j == NULL) return err_set(e, -ENOENT, "Job not found");
    if (strcmp(verb, "dismiss") == 0 && j->is_over)
        return dismiss_locked(sv, j);
    if (strcmp(verb, "cancel") == 0 && !j->is_over) {
        if (work_of(sv, j) != NULL) return savevm_cancel_locked(vm, e);
        cancel_queued_locked(sv, j);
        return 0;
    }
    return err_set(e, -EPERM,
                   "Job '%s' in state '%s' cannot accept command verb '%s'", id,
                   j->status, verb);
}
