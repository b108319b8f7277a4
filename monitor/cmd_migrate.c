/* SPDX-License-Identifier: GPL-2.0-or-later */
/* migrate and its family: commands, pages, JSON.  Layouts as QEMU has them. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "core/base/size.h"
#include "core/vm/vm.h"
#include "monitor/commands.h"
#include "monitor/migrate.h"
#include "monitor/migrate_channel.h"

/* -d uri; JSON adds what QEMU lets programs say and asks nothing of us. */
int cmd_migrate(struct cmd *c, struct err *e)
{
    static const char *const no_way[] = {
        "disks are not copied along; both sides have to reach them",
        "disks are not copied along; both sides have to reach them",
        "there is nothing to resume (no postcopy)",
    };
    bool is_waiting = c->json == NULL && !c->arg[0].is_given && c->s->wake;
    int rc;

    for (unsigned i = 0; i < 3; i++) {
        if (c->arg[2 + i].is_given)
            return err_set(e, -ENOTSUP, "%s", no_way[i]);
    }
    rc = migrate_begin_locked(c->vm, c->arg[1].text, is_waiting ? c->s : NULL,
                              e);
    if (rc < 0) return rc;
    c->s->is_waiting = is_waiting;
    if (c->json == NULL && !c->arg[0].is_given && !is_waiting)
        fputs("The migration goes on in the background; see info migrate\n",
              c->out);
    return 0;
}

int cmd_migrate_cancel(struct cmd *c, struct err *e)
{
    return migrate_cancel_locked(c->vm, e);
}

int cmd_migrate_incoming(struct cmd *c, struct err *e)
{
    return migrate_incoming_begin_locked(c->vm, c->arg[0].text, e);
}

/* ------------------------------------------------------------ settings */

static int set_bandwidth(struct migrate_settings *s, uint64_t bytes,
                         struct err *e)
{
    if (bytes > INT64_MAX)
        return err_set(e, -EINVAL,
                       "Parameter 'max_bandwidth' expects an integer in the "
                       "range of 0 to %lld bytes/second",
                       (long long)INT64_MAX);
    s->max_bandwidth = bytes;
    return 0;
}

static int set_downtime(struct migrate_settings *s, uint64_t ms, struct err *e)
{
    if (ms > MIGRATE_MAX_DOWNTIME_MS)
        return err_set(e, -EINVAL,
                       "Parameter 'downtime_limit' expects an integer in the "
                       "range of 0 to (2000 * 1000) ms");
    s->downtime_limit_ms = ms;
    return 0;
}

/* parameter value; a size without suffix is in MiB, as QEMU has it. */
int cmd_migrate_parameter(struct cmd *c, struct err *e)
{
    struct migrate_settings *s = migrate_settings_locked(c->vm);
    const char *name = c->arg[0].text, *value = c->arg[1].text;
    uint64_t n;

    if (s == NULL) return err_set(e, -ENOMEM, "out of memory");
    if (strcmp(name, "max-bandwidth") == 0) {
        if (size_parse(value, 1 << 20, &n) < 0)
            return err_set(e, -EINVAL, "Invalid size %s", value);
        return set_bandwidth(s, n, e);
    }
    if (strcmp(name, "downtime-limit") == 0) {
        if (uint_parse(value, &n) < 0)
            return err_set(e, -EINVAL,
                           "Parameter 'downtime-limit' expects a number");
        return set_downtime(s, n, e);
    }
    return err_set(e, -EINVAL,
                   "invalid parameter value: %s (max-bandwidth or "
                   "downtime-limit)",
                   name);
}

static bool *capability(struct migrate_settings *s, const char *name)
{
    if (strcmp(name, "compress") == 0) return &s->is_compressed;
    return strcmp(name, "events") == 0 ? &s->has_events : NULL;
}

static int set_capability(struct cmd *c, const char *name, bool on,
                          struct err *e)
{
    struct migrate_settings *s = migrate_settings_locked(c->vm);
    bool *which = s == NULL ? NULL : capability(s, name);
    int rc = migrate_check_idle_locked(c->vm, e);

    if (rc < 0 && vm_run_state(c->vm) != RUN_INMIGRATE) return rc;
    if (which == NULL)
        return err_set(e, -EINVAL,
                       "invalid parameter value: %s (compress or events)",
                       name);
#ifndef HAVE_ZSTD
    if (on && which == &s->is_compressed)
        return err_set(e, -ENOTSUP, "this program was built without zstd");
#endif
    *which = on;
    return 0;
}

int cmd_migrate_capability(struct cmd *c, struct err *e)
{
    return set_capability(c, c->arg[0].text, c->arg[1].number != 0, e);
}

int info_migrate_parameters(struct cmd *c, struct err *e)
{
    const struct migrate_settings *s = migrate_settings_locked(c->vm);

    if (s == NULL) return err_set(e, -ENOMEM, "out of memory");
    fprintf(c->out,
            "max-bandwidth: %llu bytes/second\ndowntime-limit: %llu "
            "ms\n",
            (unsigned long long)s->max_bandwidth,
            (unsigned long long)s->downtime_limit_ms);
    return 0;
}

int info_migrate_capabilities(struct cmd *c, struct err *e)
{
    const struct migrate_settings *s = migrate_settings_locked(c->vm);

    if (s == NULL) return err_set(e, -ENOMEM, "out of memory");
    fprintf(c->out, "compress: %s\nevents: %s\n",
            s->is_compressed ? "on" : "off", s->has_events ? "on" : "off");
    return 0;
}

/* -------------------------------------------------------------- status */

static unsigned long long kib(uint64_t bytes)
{
    return bytes >> 10;
}

static void print_ram(const struct migrate_status *s, FILE *out)
{
    fprintf(out, "transferred ram: %llu kbytes\nthroughput: %.2f mbps\n",
            kib(s->sent_bytes), s->mbps);
    fprintf(out, "remaining ram: %llu kbytes\ntotal ram: %llu kbytes\n",
            kib(s->left_bytes), kib(s->total_bytes));
    fprintf(out, "duplicate: %llu pages\nskipped: 0 pages\n",
            (unsigned long long)s->zero_pages);
    fprintf(out, "normal: %llu pages\nnormal bytes: %llu kbytes\n",
            (unsigned long long)s->normal_pages, kib(s->normal_pages << 12));
    fprintf(out, "dirty sync count: %llu\npage size: 4 kbytes\n",
            (unsigned long long)s->passes);
    fprintf(out, "multifd bytes: 0 kbytes\npages-per-second: %llu\n",
            (unsigned long long)s->pages_per_s);
    if (s->dirty_pages_per_s != 0 && s->state != MIGRATE_COMPLETED)
        fprintf(out, "dirty pages rate: %llu pages\n",
                (unsigned long long)s->dirty_pages_per_s);
    if (s->precopy_bytes != 0)
        fprintf(out, "precopy ram: %llu kbytes\n", kib(s->precopy_bytes));
    if (s->downtime_bytes != 0)
        fprintf(out, "downtime ram: %llu kbytes\n", kib(s->downtime_bytes));
}

int info_migrate(struct cmd *c, struct err *e)
{
    struct migrate_status s;

    (void)e;
    migrate_status_locked(c->vm, &s);
    if (s.state == MIGRATE_NONE) return 0;
    fprintf(c->out, "Migration status: %s", migrate_state_name(s.state));
    if (s.state == MIGRATE_FAILED) fprintf(c->out, " (%s)", s.error);
    fputc('\n', c->out);
    if (s.is_incoming) {
        fprintf(c->out, "received: %llu kbytes\n", kib(s.sent_bytes));
        return 0;
    }
    fprintf(c->out, "total time: %llu ms\n", (unsigned long long)s.total_ms);
    if (s.state == MIGRATE_ACTIVE)
        fprintf(c->out, "expected downtime: %llu ms\n",
                (unsigned long long)s.expected_downtime_ms);
    if (s.state == MIGRATE_COMPLETED)
        fprintf(c->out, "downtime: %llu ms\n",
                (unsigned long long)s.downtime_ms);
    if (s.state == MIGRATE_ACTIVE || s.state == MIGRATE_COMPLETED) {
        fprintf(c->out, "setup: %llu ms\n", (unsigned long long)s.setup_ms);
        print_ram(&s, c->out);
    }
    return 0;
}

/* ---------------------------------------------------------------- JSON */

static void put_ram(struct json_out *o, const struct migrate_status *s)
{
    json_open(o, "ram", '{');
    json_uint(o, "total", s->total_bytes);
    json_uint(o, "postcopy-requests", 0);
    json_uint(o, "dirty-sync-count", s->passes);
    json_uint(o, "multifd-bytes", 0);
    json_uint(o, "pages-per-second", s->pages_per_s);
    json_uint(o, "downtime-bytes", s->downtime_bytes);
    json_uint(o, "page-size", 4096);
    json_uint(o, "remaining", s->left_bytes);
    json_uint(o, "postcopy-bytes", 0);
    json_key(o, "mbps");
    {
        char text[40];

        snprintf(text, sizeof(text), "%.4f", s->mbps);
        json_raw(o, NULL, text);
    }
    json_uint(o, "transferred", s->sent_bytes);
    json_uint(o, "dirty-sync-missed-zero-copy", 0);
    json_uint(o, "precopy-bytes", s->precopy_bytes);
    json_uint(o, "duplicate", s->zero_pages);
    json_uint(o, "dirty-pages-rate",
              s->state == MIGRATE_COMPLETED ? 0 : s->dirty_pages_per_s);
    json_uint(o, "skipped", 0);
    json_uint(o, "normal-bytes", s->normal_pages * 4096);
    json_uint(o, "normal", s->normal_pages);
    json_close(o, '}');
}

int query_migrate(struct cmd *c, struct err *e)
{
    struct json_out *o = c->json;
    struct migrate_status s;
    bool has_ram;

    (void)e;
    migrate_status_locked(c->vm, &s);
    has_ram = !s.is_incoming &&
              (s.state == MIGRATE_ACTIVE || s.state == MIGRATE_COMPLETED);
    json_open(o, NULL, '{');
    if (s.state != MIGRATE_NONE)
        json_str(o, "status", migrate_state_name(s.state));
    if (s.state == MIGRATE_FAILED) json_str(o, "error-desc", s.error);
    if (has_ram) {
        json_uint(o, "setup-time", s.setup_ms);
        json_uint(o, "total-time", s.total_ms);
        if (s.state == MIGRATE_COMPLETED)
            json_uint(o, "downtime", s.downtime_ms);
        else
            json_uint(o, "expected-downtime", s.expected_downtime_ms);
        put_ram(o, &s);
    }
    json_close(o, '}');
    return 0;
}

int query_migrate_parameters(struct cmd *c, struct err *e)
{
    const struct migrate_settings *s = migrate_settings_locked(c->vm);

    if (s == NULL) return err_set(e, -ENOMEM, "out of memory");
    json_open(c->json, NULL, '{');
    json_uint(c->json, "max-bandwidth", s->max_bandwidth);
    json_uint(c->json, "downtime-limit", s->downtime_limit_ms);
    json_close(c->json, '}');
    return 0;
}

int query_migrate_capabilities(struct cmd *c, struct err *e)
{
    const struct migrate_settings *s = migrate_settings_locked(c->vm);

    if (s == NULL) return err_set(e, -ENOMEM, "out of memory");
    json_open(c->json, NULL, '[');
    json_open(c->json, NULL, '{');
    json_bool(c->json, "state", s->is_compressed);
    json_str(c->json, "capability", "compress");
    json_close(c->json, '}');
    json_open(c->json, NULL, '{');
    json_bool(c->json, "state", s->has_events);
    json_str(c->json, "capability", "events");
    json_close(c->json, '}');
    json_close(c->json, ']');
    return 0;
}

static void answer_nothing(struct cmd *c)
{
    json_open(c->json, NULL, '{');
    json_close(c->json, '}');
}

/* max-bandwidth downtime-limit */
int json_migrate_parameters(struct cmd *c, struct err *e)
{
    struct migrate_settings *s = migrate_settings_locked(c->vm), new;
    int rc = 0;

    if (s == NULL) return err_set(e, -ENOMEM, "out of memory");
    new = *s;
    if (c->arg[0].is_given)
        rc = set_bandwidth(&new, (uint64_t)c->arg[0].number, e);
    if (rc == 0 && c->arg[1].is_given)
        rc = set_downtime(&new, (uint64_t)c->arg[1].number, e);
    if (rc < 0) return rc;
    *s = new;
    answer_nothing(c);
    return 0;
}

/* capabilities: [{"capability": name, "state": on}, ...] */
int json_migrate_capabilities(struct cmd *c, struct err *e)
{
    const struct json *list = c->arg[0].json;

    if (list == NULL || list->type != JSON_ARRAY)
        return err_set(e, -EINVAL,
                       "Invalid parameter type for 'capabilities', expected: "
                       "array");
    for (const struct json *j = list->first; j != NULL; j = j->next) {
        const struct json *name = json_get(j, "capability");
        const struct json *on = json_get(j, "state");
        int rc;

        if (name == NULL || name->type != JSON_STRING || on == NULL ||
            on->type != JSON_BOOL)
            return err_set(e, -EINVAL,
                           "each of 'capabilities' has a 'capability' and a "
                           "'state'");
        rc = set_capability(c, name->text, on->is_true, e);
        if (rc < 0) return rc;
    }
    answer_nothing(c);
    return 0;
}
