/* SPDX-License-Identifier: GPL-2.0-or-later */
/* sendkey, mouse_move, mouse_button, mouse_set, input-send-event. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/size.h"
#include "core/host/input.h"
#include "core/vm/vm.h"
#include "monitor/commands.h"

enum { KEYS_MAX = 16, HOLD_DEFAULT_MS = 100, HOLD_MAX_MS = 60000 };

/* Linux key code of one name, or of a "0x1e" scan code of set 1. */
static unsigned key_by_word(const char *word)
{
    unsigned code = input_key_by_name(word);
    uint64_t scan = 0;
    uint8_t seq[8];

    if (code != 0 || strncmp(word, "0x", 2) != 0) return code;
    if (uint_parse(word, &scan) < 0 || scan == 0 || scan > 0xff) return 0;
    for (unsigned k = 1; k < 256; k++) {
        unsigned n = input_scancode_set1(k, true, seq);

        if (scan < 0x80 && n == 1 && seq[0] == scan) return k;
        if (scan >= 0x80 && n == 2 && seq[0] == 0xe0 && seq[1] == (scan & 0x7f))
            return k;
    }
    return 0;
}

struct key_list {
    unsigned code[KEYS_MAX], count;
};

static int add_key(struct key_list *k, unsigned code, struct err *e)
{
    if (k->count == KEYS_MAX)
        return err_set(e, -E2BIG, "too many keys: more than %d", KEYS_MAX);
    k->code[k->count++] = code;
    return 0;
}

/* "ctrl-alt-delete" */
static int keys_of_text(struct key_list *k, const char *p, struct err *e)
{
    do {
        char word[32];
        size_t n = strcspn(p, "-");
        unsigned code;
        int rc;

        if (p[0] == '-' && p[1] == '\0') n = 1; /* the key itself */
        if (n == 1 && p[0] == '<') {            /* as QEMU: the 102nd key */
            strcpy(word, "less");
        } else {
            snprintf(word, sizeof(word), "%.*s", (int)n, p);
        }
        code = key_by_word(word);
        if (code == 0)
            return err_set(e, -EINVAL, "invalid parameter: %s", word);
        rc = add_key(k, code, e);
        if (rc < 0) return rc;
        p += n;
    } while (*p++ == '-');
    return 0;
}

/* KeyValue: {"type": "qcode", "data": "a"} or {"type": "number", "data": 30},
 * a scan code of set 1, 0x80 more for the extended keys. */
static int key_of_json(const struct json *j, unsigned *code, struct err *e)
{
    const struct json *type = json_get(j, "type"), *data = json_get(j, "data");
    char word[32];
    bool is_number;

    if (type == NULL || type->type != JSON_STRING)
        return err_set(e, -EINVAL, "Parameter 'type' is missing");
    if (data == NULL) return err_set(e, -EINVAL, "Parameter 'data' is missing");
    for (const struct json *m = j->first; m != NULL; m = m->next) {
        if (m != type && m != data)
            return err_set(e, -EINVAL, "Parameter '%s' is unexpected", m->name);
    }
    is_number = strcmp(type->text, "number") == 0;
    if (!is_number && strcmp(type->text, "qcode") != 0)
        return err_set(e, -EINVAL,
                       "Parameter 'type' does not accept value '%s'",
                       type->text);
    if (data->type != (is_number ? JSON_INT : JSON_STRING))
        return err_set(e, -EINVAL,
                       "Invalid parameter type for 'data', expected: %s",
                       is_number ? "integer" : "string");
    if (!is_number) {
        *code = input_key_by_name(data->text);
        if (*code != 0) return 0;
        return err_set(e, -EINVAL,
                       "Parameter 'data' does not accept value '%s'",
                       data->text);
    }
    snprintf(word, sizeof(word), "0x%llx", (unsigned long long)data->i);
    *code = key_by_word(word);
    if (*code != 0) return 0;
    return err_set(e, -EINVAL, "no key has the scan code %lld",
                   (long long)data->i);
}

static int keys_of_json(struct key_list *k, const struct json *j, struct err *e)
{
    if (j->type != JSON_ARRAY)
        return err_set(e, -EINVAL,
                       "Invalid parameter type for 'keys', expected: array");
    for (j = j->first; j != NULL; j = j->next) {
        unsigned code = 0;
        int rc = key_of_json(j, &code, e);

        if (rc == 0) rc = add_key(k, code, e);
        if (rc < 0) return rc;
    }
    return 0;
}

int cmd_sendkey(struct cmd *c, struct err *e)
{
    struct key_list k = { .count = 0 };
    unsigned hold_ms = HOLD_DEFAULT_MS;
    int rc = c->arg[0].json != NULL ? keys_of_json(&k, c->arg[0].json, e)
                                    : keys_of_text(&k, c->arg[0].text, e);

    if (rc < 0) return rc;
    if (c->arg[1].is_given) {
        if (c->arg[1].number < 0 || c->arg[1].number > HOLD_MAX_MS)
            return err_set(e, -ERANGE, "hold time outside 0..%d ms",
                           HOLD_MAX_MS);
        hold_ms = (unsigned)c->arg[1].number;
    }
    if (k.count > 0)
        input_send_keys_locked(vm_input(c->vm), k.code, k.count, hold_ms);
    return 0;
}

static int small(const struct cmd_arg *a, int *out, struct err *e)
{
    if (a->is_given && (a->number < -32768 || a->number > 32767))
        return err_set(e, -ERANGE, "%lld is outside -32768..32767",
                       (long long)a->number);
    *out = a->is_given ? (int)a->number : 0;
    return 0;
}

/* Relative motion; a machine with a tablet takes it as 0..32767. */
int cmd_mouse_move(struct cmd *c, struct err *e)
{
    struct input *in = vm_input(c->vm);
    int d[3] = { 0, 0, 0 };

    for (unsigned i = 0; i < 3; i++) {
        int rc = small(&c->arg[i], &d[i], e);
        if (rc < 0) return rc;
    }
    if (input_has_tablet(in)) {
        input_tablet_locked(in, d[0], d[1], d[2], c->s->mouse_buttons);
    } else {
        input_mouse_locked(in, d[0], d[1], d[2], c->s->mouse_buttons);
    }
    return 0;
}

/* QEMU's numbers: 1 left, 2 middle, 4 right. */
int cmd_mouse_button(struct cmd *c, struct err *e)
{
    uint64_t b = (uint64_t)c->arg[0].number;

    if (b > 7) return err_set(e, -ERANGE, "button state outside 0..7");
    c->s->mouse_buttons = (b & 1 ? INPUT_BTN_LEFT : 0) |
                          (b & 2 ? INPUT_BTN_MIDDLE : 0) |
                          (b & 4 ? INPUT_BTN_RIGHT : 0);
    input_mouse_locked(vm_input(c->vm), 0, 0, 0, c->s->mouse_buttons);
    return 0;
}

/* Numbers of info mice.  The one that has the motion cannot be another: a
 * tablet is there to be preferred. */
int cmd_mouse_set(struct cmd *c, struct err *e)
{
    bool has_tablet = input_has_tablet(vm_input(c->vm));
    int64_t i = c->arg[0].number;

    if (i == (has_tablet ? 3 : 2)) return 0;
    if (i == 2) return err_set(e, -ENOTSUP, "the tablet (3) has the motion");
    return err_set(e, -ENOENT, "Mouse at index '%lld' not found", (long long)i);
}

/* ---- input-send-event ---- */

struct motion { /* of one request, applied at its end */
    int dx, dy, dz, x, y;
    bool has_moved, has_position;
};

static int bool_member(const struct json *j, const char *name, bool *out,
                       struct err *e)
{
    const struct json *m = json_get(j, name);

    if (m == NULL)
        return err_set(e, -EINVAL, "Parameter '%s' is missing", name);
    if (m->type != JSON_BOOL)
        return err_set(e, -EINVAL,
                       "Invalid parameter type for '%s', expected: boolean",
                       name);
    *out = m->is_true;
    return 0;
}

/* {"axis": "x", "value": 5} */
static int axis_event(struct motion *m, const struct json *data, bool is_abs,
                      struct err *e)
{
    const struct json *axis = json_get(data, "axis");
    const struct json *value = json_get(data, "value");
    bool is_x;

    if (axis == NULL || axis->type != JSON_STRING || value == NULL ||
        value->type != JSON_INT)
        return err_set(e, -EINVAL, "a motion needs axis and value");
    is_x = strcmp(axis->text, "x") == 0;
    if (!is_x && strcmp(axis->text, "y") != 0)
        return err_set(e, -EINVAL,
                       "Parameter 'axis' does not accept value '%s'",
                       axis->text);
    if (value->i < (is_abs ? 0 : -32768) || value->i > 32767)
        return err_set(e, -ERANGE, "value %lld is outside %d..32767",
                       (long long)value->i, is_abs ? 0 : -32768);
    if (is_abs) {
        *(is_x ? &m->x : &m->y) = (int)value->i;
        m->has_position = true;
    } else {
        *(is_x ? &m->dx : &m->dy) = (int)value->i;
    }
    m->has_moved = true;
    return 0;
}

/* {"down": true, "button": "left"} */
static int button_event(struct motion *m, unsigned *buttons,
                        const struct json *data, struct err *e)
{
    static const struct {
        const char *name;
        unsigned bit;
        int dz;
    } rows[] = { { "left", INPUT_BTN_LEFT, 0 },
                 { "middle", INPUT_BTN_MIDDLE, 0 },
                 { "right", INPUT_BTN_RIGHT, 0 },
                 { "wheel-up", 0, -1 },
                 { "wheel-down", 0, 1 } };
    const struct json *b = json_get(data, "button");
    bool is_down = false;
    int rc = bool_member(data, "down", &is_down, e);

    if (rc < 0) return rc;
    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (b == NULL || b->type != JSON_STRING ||
            strcmp(rows[i].name, b->text) != 0)
            continue;
        *buttons = is_down ? *buttons | rows[i].bit : *buttons & ~rows[i].bit;
        if (is_down) m->dz += rows[i].dz;
        m->has_moved = true;
        return 0;
    }
    return err_set(e, -EINVAL, "Parameter 'button' does not accept value '%s'",
                   b != NULL && b->type == JSON_STRING ? b->text : "");
}

/* One event: checked, and with is_dry nothing else. */
static int one_event(struct cmd *c, const struct json *j, struct motion *m,
                     unsigned *buttons, bool is_dry, struct err *e)
{
    const struct json *type = json_get(j, "type"), *data = json_get(j, "data");
    const struct json *key = json_get(data, "key");
    unsigned code = 0;
    bool is_down = false;
    int rc;

    if (type == NULL || type->type != JSON_STRING)
        return err_set(e, -EINVAL, "Parameter 'type' is missing");
    if (data == NULL) return err_set(e, -EINVAL, "Parameter 'data' is missing");
    if (strcmp(type->text, "rel") == 0) return axis_event(m, data, false, e);
    if (strcmp(type->text, "abs") == 0) return axis_event(m, data, true, e);
    if (strcmp(type->text, "btn") == 0)
        return button_event(m, buttons, data, e);
    if (strcmp(type->text, "key") != 0)
        return err_set(e, -EINVAL,
                       "Parameter 'type' does not accept value '%s'",
                       type->text);
    if (key == NULL) return err_set(e, -EINVAL, "Parameter 'key' is missing");
    rc = bool_member(data, "down", &is_down, e);
    if (rc == 0) rc = key_of_json(key, &code, e);
    if (rc == 0 && !is_dry) input_key_locked(vm_input(c->vm), code, is_down);
    return rc;
}

/* All events are checked before the first has an effect. */
int json_send_events(struct cmd *c, struct err *e)
{
    const struct json *list = c->arg[2].json;
    struct input *in = vm_input(c->vm);
    unsigned *buttons = &c->s->mouse_buttons;
    struct motion m = { .dx = 0 };

    if (list->type != JSON_ARRAY)
        return err_set(e, -EINVAL,
                       "Invalid parameter type for 'events', expected: array");
    if (c->arg[0].is_given) return cmd_no_device(c, c->arg[0].text, e);
    for (unsigned pass = 0; pass < 2; pass++) {
        unsigned held = *buttons;

        m = (struct motion){ .x = c->s->tablet_x, .y = c->s->tablet_y };
        for (const struct json *j = list->first; j != NULL; j = j->next) {
            int rc = one_event(c, j, &m, &held, pass == 0, e);

            if (rc < 0) return rc;
        }
        if (pass == 0 && vm_run_state(c->vm) != RUN_RUNNING)
            return err_set(e, -EBUSY, "VM not running");
        if (pass == 1) *buttons = held;
    }
    c->s->tablet_x = m.x;
    c->s->tablet_y = m.y;
    if (m.has_position) {
        input_tablet_locked(in, m.x, m.y, m.dz, *buttons);
    } else if (m.has_moved) {
        input_mouse_locked(in, m.dx, m.dy, m.dz, *buttons);
    }
    json_open(c->json, NULL, '{');
    json_close(c->json, '}');
    return 0;
}
