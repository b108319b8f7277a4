/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A JSON connection: greeting, negotiation, requests, answers, events, as the
 * QMP specification of QEMU describes them.  The transport is the caller's.
 */
#include "monitor/qmp.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/trace.h"
#include "core/vm/vm.h"
#include "monitor/command.h"
#include "monitor/hub.h"
#include "monitor/savevm.h"

enum { EVENT_PENDING_MAX_BYTES = 1 << 20, HELD_MAX_BYTES = 1 << 20 };

/* One answer being written. */
struct answer {
    struct json_out o;
    char *text;
    size_t bytes;
};

static bool answer_begin(const struct qmp *q, struct answer *a)
{
    *a = (struct answer){ .text = NULL };
    a->o.is_pretty = q->o.is_pretty;
    a->o.f = open_memstream(&a->text, &a->bytes);
    if (a->o.f == NULL) return false;
    json_open(&a->o, NULL, '{');
    return true;
}

static void answer_send(struct qmp *q, struct answer *a, const struct json *id)
{
    if (id != NULL) json_copy(&a->o, "id", id);
    json_close(&a->o, '}');
    fputs("\r\n", a->o.f);
    fclose(a->o.f);
    if (a->text != NULL) q->o.write(q->o.arg, a->text, a->bytes);
    free(a->text);
}

static void answer_drop(struct answer *a)
{
    fclose(a->o.f);
    free(a->text);
}

static void send_error(struct qmp *q, const char *class, const char *desc,
                       const struct json *id)
{
    struct answer a;

    if (!answer_begin(q, &a)) return;
    json_open(&a.o, "error", '{');
    json_str(&a.o, "class", class != NULL ? class : "GenericError");
    json_str(&a.o, "desc", desc);
    json_close(&a.o, '}');
    answer_send(q, &a, id);
}

/* ---- requests ---- */

static int run_locked(struct cmd *c, struct err *e)
{
    int rc = command_parse_json(c, e);
    char *text = NULL; /* what a line would have printed */
    size_t bytes = 0;

    if (rc < 0) return rc;
    if (c->c->answer != NULL) return c->c->answer(c, e);
    c->out = open_memstream(&text, &bytes);
    if (c->out == NULL) return err_set(e, -ENOMEM, "out of memory");
    rc = c->c->run(c, e);
    fclose(c->out);
    free(text);
    if (rc < 0) return rc;
    json_open(c->json, NULL, '{');
    json_close(c->json, '}');
    return 0;
}

/* The answer comes later: keep what it has to say to whom. */
static void defer(struct qmp *q, const struct json *id)
{
    struct json_out o = { .f = NULL };
    size_t bytes = 0;

    free(q->deferred_id);
    q->deferred_id = NULL;
    if (id == NULL) return;
    o.f = open_memstream(&q->deferred_id, &bytes);
    if (o.f == NULL) return;
    json_copy(&o, NULL, id);
    fclose(o.f);
}

static void run(struct qmp *q, const struct command *k, const struct json *args,
                const struct json *id)
{
    struct cmd c = {
        .s = &q->session, .vm = q->vm, .c = k, .all = args, .qmp = q
    };
    struct err e = ERR_INIT;
    struct answer a;
    int rc;

    trace(TRACE_QMP, "%s", k->json);
    if (!answer_begin(q, &a)) return;
    json_key(&a.o, "return");
    c.json = &a.o;
    vm_lock(q->vm);
    rc = run_locked(&c, &e);
    vm_unlock(q->vm);
    command_free(&c);
    hub_flush(q->vm); /* STOP comes before the answer to stop */
    if (rc < 0) {
        answer_drop(&a);
        send_error(q, c.error_class, e.text[0] != '\0' ? e.text : strerror(-rc),
                   id);
        return;
    }
    if (q->line.is_waiting) {
        answer_drop(&a);
        defer(q, id);
        return;
    }
    answer_send(q, &a, id);
    if (q->wants_view && q->is_there) {
        q->wants_view = false;
        q->is_view = true;
        q->o.view(q->o.arg);
    }
}

/* Is it an object with the members a request may have? */
static int check(const struct json *j, struct err *e)
{
    const struct json *x;

    if (j->type != JSON_OBJECT)
        return err_set(e, -EINVAL, "QMP input must be a JSON object");
    for (x = j->first; x != NULL; x = x->next) {
        bool is_name = strcmp(x->name, "execute") == 0;
        bool is_args = strcmp(x->name, "arguments") == 0;

        if (!is_name && !is_args && strcmp(x->name, "id") != 0)
            return err_set(e, -EINVAL, "QMP input member '%s' is unexpected",
                           x->name);
        if (is_name && x->type != JSON_STRING)
            return err_set(e, -EINVAL,
                           "QMP input member 'execute' must be a string");
        if (is_args && x->type != JSON_OBJECT)
            return err_set(e, -EINVAL,
                           "QMP input member 'arguments' must be an object");
    }
    if (json_get(j, "execute") == NULL)
        return err_set(e, -EINVAL, "QMP input lacks member 'execute'");
    return 0;
}

static void request(struct qmp *q, const struct json *j)
{
    const struct json *id = json_get(j, "id");
    const struct command *k;
    struct err e = ERR_INIT;
    const char *name;
    bool is_negotiation;

    if (check(j, &e) < 0) {
        send_error(q, NULL, e.text, id);
        return;
    }
    name = json_get(j, "execute")->text;
    is_negotiation = strcmp(name, "qmp_capabilities") == 0;
    k = command_find_json(name);
    if (!q->is_negotiated && !is_negotiation) {
        send_error(q, "CommandNotFound",
                   "Expecting capabilities negotiation with "
                   "'qmp_capabilities'",
                   id);
    } else if (q->is_negotiated && is_negotiation) {
        send_error(q, "CommandNotFound",
                   "Capabilities negotiation is already complete, command "
                   "ignored",
                   id);
    } else if (k == NULL) {
        err_set(&e, -ENOENT, "The command %s has not been found", name);
        send_error(q, "CommandNotFound", e.text, id);
    } else {
        run(q, k, json_get(j, "arguments"), id);
    }
}

static void on_value(void *arg, const char *text, size_t bytes)
{
    struct qmp *q = arg;
    struct json *j = NULL;
    struct err e = ERR_INIT;

    if (json_parse(text, bytes, &j, &e) < 0) {
        send_error(q, NULL, e.text, NULL);
        return;
    }
    request(q, j);
    json_free(j);
}

static void on_error(void *arg, const char *why)
{
    send_error(arg, NULL, why, NULL);
}

/* What comes while an answer is waited for is read after it. */
static void hold(struct qmp *q, const uint8_t *buf, size_t bytes)
{
    uint8_t *more;

    if (bytes > HELD_MAX_BYTES - q->held_bytes)
        bytes = HELD_MAX_BYTES - q->held_bytes;
    more = realloc(q->held, q->held_bytes + bytes + 1);
    if (more == NULL) return;
    q->held = more;
    memcpy(q->held + q->held_bytes, buf, bytes);
    q->held_bytes += bytes;
}

size_t qmp_input(struct qmp *q, const uint8_t *buf, size_t bytes)
{
    size_t n = 0;

    while (n < bytes && q->is_there && !q->is_view && !q->line.is_waiting)
        json_stream_feed(&q->in, buf + n++, 1, on_value, on_error, q);
    if (!q->line.is_waiting) return n;
    hold(q, buf + n, bytes - n);
    return bytes;
}

/* Loop thread, lock not held. */
static void wake_program(struct monitor_session *s, const char *text)
{
    struct qmp *q =
        (struct qmp *)(void *)((char *)s - offsetof(struct qmp, line));
    uint8_t *held = q->held;
    size_t bytes = q->held_bytes;
    struct answer a;

    if (!s->is_waiting) return;
    s->is_waiting = false;
    q->held = NULL;
    q->held_bytes = 0;
    hub_flush(q->vm);
    if (answer_begin(q, &a)) {
        json_key(&a.o, "return");
        qmp_put_text(&a.o, text);
        if (q->deferred_id != NULL) json_raw(&a.o, "id", q->deferred_id);
        answer_send(q, &a, NULL);
    }
    free(q->deferred_id);
    q->deferred_id = NULL;
    if (bytes > 0) qmp_input(q, held, bytes);
    free(held);
}

/* Nobody is there any more to whom to say what came of it. */
static void forget(struct qmp *q)
{
    vm_lock(q->vm);
    savevm_forget_locked(q->vm, &q->line);
    vm_unlock(q->vm);
    free(q->deferred_id);
    free(q->held);
    q->deferred_id = NULL;
    q->held = NULL;
    q->held_bytes = 0;
    q->line =
        (struct monitor_session){ .vm = q->vm, .wake_program = wake_program };
}

/* ---- the connection ---- */

static void greet(struct qmp *q)
{
    struct answer a;

    if (!answer_begin(q, &a)) return;
    json_open(&a.o, "QMP", '{');
    json_key(&a.o, "version");
    qmp_put_version(&a.o);
    json_open(&a.o, "capabilities", '[');
    json_close(&a.o, ']');
    json_close(&a.o, '}');
    answer_send(q, &a, NULL);
}

void qmp_connected(struct qmp *q, bool is_there)
{
    q->is_there = is_there;
    q->is_negotiated = q->wants_view = q->is_view = false;
    q->session = (struct monitor_session){ .vm = q->vm };
    forget(q);
    json_stream_clear(&q->in);
    if (is_there) greet(q);
}

void qmp_event(struct qmp *q, const char *text)
{
    if (!q->is_there || !q->is_negotiated || q->is_view) return;
    if (q->o.pending != NULL &&
        q->o.pending(q->o.arg) > EVENT_PENDING_MAX_BYTES)
        return;
    q->o.write(q->o.arg, text, strlen(text));
}

int qmp_open(struct vm *vm, const struct qmp_options *o, struct qmp **out,
             struct err *e)
{
    struct qmp *q = calloc(1, sizeof(*q));
    int rc;

    if (q == NULL) return err_set(e, -ENOMEM, "out of memory");
    q->vm = vm;
    q->o = *o;
    rc = hub_join(vm, q, e);
    if (rc < 0) {
        free(q);
        return rc;
    }
    *out = q;
    return 0;
}

void qmp_close(struct qmp *q)
{
    if (q == NULL) return;
    hub_leave(q->vm, q);
    forget(q);
    json_stream_clear(&q->in);
    free(q);
}
