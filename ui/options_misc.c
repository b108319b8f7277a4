/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ui/options_int.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "core/base/log.h"
#include "core/base/trace.h"

int option_help(struct options *o, const char *v, struct err *e)
{
    (void)v, (void)e;
    o->help = HELP_OPTIONS;
    return 0;
}

int option_man(struct options *o, const char *v, struct err *e)
{
    (void)v, (void)e;
    o->help = HELP_MAN;
    return 0;
}

int option_version(struct options *o, const char *v, struct err *e)
{
    (void)v, (void)e;
    o->help = HELP_VERSION;
    return 0;
}

/* YYYY-MM-DD or YYYY-MM-DDTHH:MM:SS, taken as UTC. */
static int parse_date(const char *text, int64_t *out)
{
    struct tm tm = { 0 };
    const char *end = strptime(text, "%Y-%m-%d", &tm);

    if (end != NULL && *end == 'T') end = strptime(end + 1, "%H:%M:%S", &tm);
    if (end == NULL || *end != '\0') return -EINVAL;
    *out = timegm(&tm);
    return 0;
}

int option_rtc(struct options *o, const char *v, struct err *e)
{
    struct keyval kv;
    int rc;

    while ((rc = keyval_next(&v, NULL, false, &kv, e)) > 0) {
        if (strcmp(kv.key, "clock") == 0 || strcmp(kv.key, "driftfix") == 0) {
            continue; /* guest time follows the host's in every mode */
        } else if (strcmp(kv.key, "base") != 0) {
            return keyval_unknown(&kv, "base, clock, driftfix", e);
        } else if (strcmp(kv.value, "utc") == 0) {
            o->cfg.rtc_base_s = INT64_MIN;
            o->cfg.is_rtc_local = false;
        } else if (strcmp(kv.value, "localtime") == 0) {
            o->cfg.rtc_base_s = INT64_MIN;
            o->cfg.is_rtc_local = true;
        } else if (parse_date(kv.value, &o->cfg.rtc_base_s) < 0) {
            return err_set(e, -EINVAL,
                           "base=%s: utc, localtime, 2024-02-29 "
                           "or 2024-02-29T12:34:56",
                           kv.value);
        }
    }
    return rc;
}

int option_log_items(struct options *o, const char *v, struct err *e)
{
    struct log_choice c;
    int rc;

    if (value_is_help(v)) {
        o->help = HELP_LOG;
        return 0;
    }
    rc = log_parse(v, &c, e);
    if (rc < 0) {
        size_t n = strlen(e->text);

        snprintf(e->text + n, sizeof(e->text) - n, "; -d help lists them");
        return rc;
    }
    o->log_items |= c.items;
    o->log_events |= c.events;
    return 0;
}

/* [enable=]NAME, several -trace add up; what is written goes to -D's file. */
int option_trace(struct options *o, const char *v, struct err *e)
{
    uint64_t events;

    if (value_is_help(v)) {
        o->help = HELP_TRACE;
        return 0;
    }
    if (strncmp(v, "enable=", 7) == 0) v += 7;
    events = trace_match(v);
    if (events == 0)
        return err_set(e, -EINVAL,
                       "no trace event '%s'; -trace help lists them", v);
    o->log_events |= events;
    return 0;
}

/* Networks come with their own work; what switches them off is right. */
int option_no_network(struct options *o, const char *v, struct err *e)
{
    (void)o;
    if (strcmp(v, "none") == 0) return 0;
    return err_set(e, -ENOTSUP,
                   "this version has no network; none is accepted");
}

int option_no_audio(struct options *o, const char *v, struct err *e)
{
    (void)o;
    if (strncmp(v, "driver=", 7) == 0) v += 7;
    if (strncmp(v, "none", 4) == 0 && (v[4] == '\0' || v[4] == ',')) return 0;
    return err_set(e, -ENOTSUP,
                   "this version has no sound; none is "
                   "accepted");
}

/* -s: the device everybody's .gdbinit names. */
int option_gdb_usual(struct options *o, const char *v, struct err *e)
{
    (void)v;
    return value_text(&o->gdb, "tcp::1234", e);
}

/* -action reboot=shutdown and the like: -no-reboot and friends, newer. */
int option_action(struct options *o, const char *v, struct err *e)
{
    struct keyval kv;
    int rc;

    while ((rc = keyval_next(&v, NULL, false, &kv, e)) > 0) {
        bool is_reboot = strcmp(kv.key, "reboot") == 0;
        bool is_shutdown = strcmp(kv.key, "shutdown") == 0;

        if (is_reboot && strcmp(kv.value, "shutdown") == 0) {
            o->cfg.has_no_reboot = true;
        } else if (is_reboot && strcmp(kv.value, "reset") == 0) {
            o->cfg.has_no_reboot = false;
        } else if (is_shutdown && strcmp(kv.value, "pause") == 0) {
            o->cfg.has_no_shutdown = true;
        } else if (is_shutdown && strcmp(kv.value, "poweroff") == 0) {
            o->cfg.has_no_shutdown = false;
        } else {
            return err_set(e, -EINVAL,
                           "%s=%s: there are "
                           "reboot=reset|shutdown, shutdown=poweroff|pause",
                           kv.key, kv.value);
        }
    }
    return rc;
}
