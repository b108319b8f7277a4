/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ui/options_int.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Text of a spec's back end behind "mon:". */
static const char *backend_of(const char *spec)
{
    return strncmp(spec, "mon:", 4) == 0 ? spec + 4 : spec;
}

static bool is_kind(const char *spec, const char *kind)
{
    size_t n = strlen(kind);

    spec = backend_of(spec);
    return strncmp(spec, kind, n) == 0 &&
           (spec[n] == '\0' || spec[n] == ',' || spec[n] == ':');
}

static struct chardev_option *find_chardev(struct options *o, const char *name)
{
    for (unsigned i = 0; i < o->chardev_count; i++) {
        if (strcmp(o->chardev[i].name, name) == 0) return &o->chardev[i];
    }
    return NULL;
}

/* A spec with a kind we have; what follows is checked when it is opened. */
static int check_spec(const char *spec, struct err *e)
{
    static const char *const kinds[] = { "stdio",  "null",   "vc",   "file",
                                         "unix",   "pty",    "pipe", "tcp",
                                         "telnet", "ringbuf" };

    for (unsigned i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (is_kind(spec, kinds[i])) return 0;
    }
    return err_set(e, -EINVAL,
                   "no such character device; there are stdio, null, vc, "
                   "file:PATH, unix:PATH, pty, pipe:PATH, tcp:, telnet:");
}

static int add_chardev(struct options *o, const char *name, const char *spec,
                       struct err *e)
{
    struct chardev_option *c = &o->chardev[o->chardev_count];
    int rc = check_spec(spec, e);

    if (rc < 0) return rc;
    if (o->chardev_count == OPTIONS_MAX_CHARDEVS)
        return err_set(e, -E2BIG, "more than %d character devices",
                       OPTIONS_MAX_CHARDEVS);
    if (find_chardev(o, name) != NULL)
        return err_set(e, -EEXIST, "id=%s: given twice", name);
    c->is_mux = strncmp(spec, "mon:", 4) == 0;
    c->is_stdio = is_kind(spec, "stdio");
    o->chardev_count++;
    rc = value_text(&c->name, name, e);
    if (rc == 0) rc = value_text(&c->spec, spec, e);
    return rc;
}

static int add_monitor(struct options *o, const char *chardev,
                       enum monitor_mode mode, struct err *e)
{
    if (o->monitor_count == OPTIONS_MAX_MONITORS)
        return err_set(e, -E2BIG, "more than %d monitors",
                       OPTIONS_MAX_MONITORS);
    o->monitor_mode[o->monitor_count] = mode;
    return value_text(&o->monitor[o->monitor_count++], chardev, e);
}

/* spec or "chardev:ID"; *where gets the name of the character device. */
static int use_chardev(struct options *o, char **where, const char *name,
                       const char *spec, struct err *e)
{
    int rc;

    if (strncmp(spec, "chardev:", 8) == 0)
        return value_text(where, spec + 8, e);
    rc = add_chardev(o, name, spec, e);
    if (rc < 0) return rc;
    rc = value_text(where, name, e);
    if (rc == 0 && strncmp(spec, "mon:", 4) == 0) {
        o->has_monitor = true;
        rc = add_monitor(o, name, MONITOR_LINES, e);
    }
    return rc;
}

int option_serial(struct options *o, const char *v, struct err *e)
{
    char name[16];

    o->has_serial = true;
    if (o->serial_count == VM_MAX_SERIAL)
        return err_set(e, -E2BIG, "more than %d serial ports", VM_MAX_SERIAL);
    if (strcmp(v, "none") == 0) {
        if (o->serial_count > 0)
            return err_set(e, -EINVAL, "there are serial ports already");
        return 0;
    }
    snprintf(name, sizeof(name), "serial%u", o->serial_count);
    return use_chardev(o, &o->cfg.serial[o->serial_count++], name, v, e);
}

int option_parallel(struct options *o, const char *v, struct err *e)
{
    if (o->has_parallel)
        return err_set(e, -E2BIG, "this machine has one parallel port");
    o->has_parallel = true;
    if (strcmp(v, "none") == 0) return 0;
    return use_chardev(o, &o->cfg.parallel, "parallel0", v, e);
}

static int monitor_on(struct options *o, const char *v, enum monitor_mode mode,
                      struct err *e)
{
    char name[32], *chardev = NULL;
    int rc;

    o->has_monitor = true;
    if (strcmp(v, "none") == 0) return 0;
    if (strncmp(v, "mon:", 4) == 0) v += 4;
    snprintf(name, sizeof(name), "compat_monitor%u", o->monitor_count);
    rc = use_chardev(o, &chardev, name, v, e);
    if (rc == 0) rc = add_monitor(o, chardev, mode, e);
    free(chardev);
    return rc;
}

int option_monitor(struct options *o, const char *v, struct err *e)
{
    return monitor_on(o, v, MONITOR_LINES, e);
}

int option_qmp(struct options *o, const char *v, struct err *e)
{
    return monitor_on(o, v, MONITOR_JSON, e);
}

int option_qmp_pretty(struct options *o, const char *v, struct err *e)
{
    return monitor_on(o, v, MONITOR_JSON_PRETTY, e);
}

int option_debugcon(struct options *o, const char *v, struct err *e)
{
    if (o->cfg.debugcon != NULL)
        return err_set(e, -E2BIG, "there is one debug console already");
    return use_chardev(o, &o->cfg.debugcon, "debugcon", v, e);
}

/* What -chardev KIND,... said. */
struct chardev_words {
    char kind[24], id[48];
    char path[1024], host[256], port[16], signal[8];
    bool is_server, has_wait, is_wait, is_mux, is_telnet;
};

static int copy_word(char *to, size_t cap, const struct keyval *kv,
                     struct err *e)
{
    if (kv->value[0] == '\0' || strlen(kv->value) >= cap)
        return err_set(e, -EINVAL, "%s=%.40s: 1 to %zu characters", kv->key,
                       kv->value, cap - 1);
    strcpy(to, kv->value);
    return 0;
}

static int chardev_word(struct chardev_words *w, const struct keyval *kv,
                        struct err *e)
{
    const char *k = kv->key;
    bool ignored;

    if (strcmp(k, "backend") == 0)
        return copy_word(w->kind, sizeof(w->kind), kv, e);
    if (strcmp(k, "id") == 0) return copy_word(w->id, sizeof(w->id), kv, e);
    if (strcmp(k, "path") == 0)
        return copy_word(w->path, sizeof(w->path), kv, e);
    if (strcmp(k, "host") == 0)
        return copy_word(w->host, sizeof(w->host), kv, e);
    if (strcmp(k, "port") == 0)
        return copy_word(w->port, sizeof(w->port), kv, e);
    if (strcmp(k, "server") == 0) return value_bool(kv, &w->is_server, e);
    if (strcmp(k, "mux") == 0) return value_bool(kv, &w->is_mux, e);
    if (strcmp(k, "telnet") == 0) return value_bool(kv, &w->is_telnet, e);
    if (strcmp(k, "wait") == 0) {
        w->has_wait = true;
        return value_bool(kv, &w->is_wait, e);
    }
    if (strcmp(k, "signal") == 0) {
        int rc = value_bool(kv, &ignored, e);
        if (rc == 0) strcpy(w->signal, ignored ? "on" : "off");
        return rc;
    }
    return keyval_unknown(kv,
                          "id, path, host, port, server, wait, mux, "
                          "telnet, signal",
                          e);
}

/* The spec -serial would have used. */
static int words_to_spec(const struct chardev_words *w, char **spec,
                         struct err *e)
{
    const char *mon = w->is_mux ? "mon:" : "";
    const char *server = w->is_server ? ",server=on" : "";
    const char *wait = !w->has_wait ? ""
                       : w->is_wait ? ",wait=on"
                                    : ",wait=off";
    bool is_file = strcmp(w->kind, "file") == 0;
    int n;

    if (strcmp(w->kind, "socket") == 0 && w->path[0] != '\0') {
        n = asprintf(spec, "%sunix:%s%s%s", mon, w->path, server, wait);
    } else if (strcmp(w->kind, "socket") == 0) {
        if (w->port[0] == '\0')
            return err_set(e, -EINVAL, "no path= and no port=");
        n = asprintf(spec, "%s%s:%s:%s%s%s", mon,
                     w->is_telnet ? "telnet" : "tcp", w->host, w->port, server,
                     wait);
    } else if (is_file || strcmp(w->kind, "pipe") == 0) {
        if (w->path[0] == '\0') return err_set(e, -EINVAL, "no path=");
        n = asprintf(spec, "%s%s:%s", mon, w->kind, w->path);
    } else {
        n = asprintf(spec, "%s%s%s%s", mon, w->kind,
                     w->signal[0] ? ",signal=" : "", w->signal);
    }
    return n < 0 ? err_set(e, -ENOMEM, "out of memory") : 0;
}

int option_chardev(struct options *o, const char *v, struct err *e)
{
    struct chardev_words w = { .kind = "" };
    char *spec = NULL;
    struct keyval kv;
    int rc;

    if (value_is_help(v)) {
        o->help = HELP_CHARDEV;
        return 0;
    }
    for (bool first = true;
         (rc = keyval_next(&v, "backend", first, &kv, e)) > 0; first = false) {
        rc = chardev_word(&w, &kv, e);
        if (rc < 0) return rc;
    }
    if (rc < 0) return rc;
    if (w.id[0] == '\0') return err_set(e, -EINVAL, "no id=");
    rc = words_to_spec(&w, &spec, e);
    if (rc == 0) rc = add_chardev(o, w.id, spec, e);
    free(spec);
    return rc;
}

int option_mon(struct options *o, const char *v, struct err *e)
{
    struct keyval kv;
    char name[48] = "";
    bool is_json = false, is_pretty = false;
    int rc;

    for (bool first = true;
         (rc = keyval_next(&v, "chardev", first, &kv, e)) > 0; first = false) {
        if (strcmp(kv.key, "chardev") == 0) {
            rc = copy_word(name, sizeof(name), &kv, e);
            if (rc < 0) return rc;
        } else if (strcmp(kv.key, "mode") == 0) {
            is_json = strcmp(kv.value, "control") == 0;
            if (!is_json && strcmp(kv.value, "readline") != 0)
                return err_set(e, -EINVAL,
                               "mode=%s: there are readline and control",
                               kv.value);
        } else if (strcmp(kv.key, "pretty") == 0) {
            rc = value_bool(&kv, &is_pretty, e);
            if (rc < 0) return rc;
        } else {
            return keyval_unknown(&kv, "chardev, mode, pretty", e);
        }
    }
    if (rc < 0) return rc;
    if (name[0] == '\0') return err_set(e, -EINVAL, "no chardev=");
    if (is_pretty && !is_json)
        return err_set(e, -EINVAL, "pretty=on needs mode=control");
    o->has_monitor = true;
    return add_monitor(o, name,
                       is_pretty ? MONITOR_JSON_PRETTY
                       : is_json ? MONITOR_JSON
                                 : MONITOR_LINES,
                       e);
}

/* Consoles nobody spoke about, as QEMU has them. */
static int default_consoles(struct options *o, struct err *e)
{
    bool on_terminal = o->is_nographic;
    bool needs_serial = !o->has_serial, needs_monitor = !o->has_monitor;
    int rc = 0;

    if (o->has_nodefaults) return 0;
    if (needs_monitor && !on_terminal) { /* first: Ctrl-Alt-2 shows it */
        rc = option_monitor(o, "vc", e);
        if (rc < 0) return rc;
    }
    if (on_terminal && needs_serial && needs_monitor) {
        rc = option_serial(o, "mon:stdio", e);
        needs_monitor = false;
    } else if (needs_serial) {
        rc = option_serial(o, on_terminal ? "stdio" : "vc", e);
    }
    if (rc == 0 && needs_monitor && on_terminal)
        rc = option_monitor(o, "stdio", e);
    if (rc == 0 && !o->has_parallel)
        rc = option_parallel(o, on_terminal ? "null" : "vc", e);
    return rc;
}

static int check_name(struct options *o, const char *what, const char *name,
                      struct err *e)
{
    if (name == NULL || find_chardev(o, name) != NULL) return 0;
    return err_set(e, -ENOENT, "%s: no -chardev with id=%s", what, name);
}

unsigned options_count_stdio(const struct options *o)
{
    unsigned n = o->gdb != NULL && is_kind(o->gdb, "stdio");

    for (unsigned i = 0; i < o->chardev_count; i++)
        n += o->chardev[i].is_stdio;
    return n;
}

int chardevs_finish(struct options *o, struct err *e)
{
    unsigned on_stdio = options_count_stdio(o);
    int rc = default_consoles(o, e);

    for (unsigned i = 0; i < o->serial_count && rc == 0; i++)
        rc = check_name(o, "-serial", o->cfg.serial[i], e);
    for (unsigned i = 0; i < o->monitor_count && rc == 0; i++)
        rc = check_name(o, "-mon", o->monitor[i], e);
    if (rc == 0) rc = check_name(o, "-parallel", o->cfg.parallel, e);
    if (rc == 0) rc = check_name(o, "-debugcon", o->cfg.debugcon, e);
    if (rc < 0) return rc;
    if (on_stdio > 1)
        return err_set(e, -EBUSY,
                       "stdio: used by more than one character "
                       "device; share it with mon:stdio");
    if (on_stdio && o->is_daemonize)
        return err_set(e, -EINVAL,
                       "-daemonize: a character device uses "
                       "stdio");
    if (on_stdio && o->display != NULL && !o->is_nographic &&
        strcmp(o->display, "curses") == 0)
        return err_set(e, -EBUSY,
                       "stdio: -display curses uses this "
                       "terminal");
    return 0;
}
