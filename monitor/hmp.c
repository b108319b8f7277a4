/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The monitor itself: lines from a character device, answers back.
 *
 * Answers are collected in memory, cleared of control characters (names in
 * them come from guests and files) and sent with CR LF.  While much of an
 * answer still waits to go out no input is taken, so a peer that does not
 * read cannot make us store answer after answer.
 */
#include "monitor/monitor.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "config.h"
#include "core/base/trace.h"
#include "core/host/chardev.h"
#include "core/vm/vm.h"
#include "monitor/absent.h"
#include "monitor/command.h"
#include "monitor/filter.h"
#include "monitor/history.h"
#include "monitor/hub.h"
#include "monitor/pager.h"
#include "monitor/readline.h"
#include "monitor/savevm.h"

enum { PENDING_MAX_BYTES = 256 << 10, PIECE_MAX_BYTES = 256 };

struct monitor {
    struct monitor_session session;
    struct pager pager;
    unsigned pieces; /* of the line so far: more than one is typed */
    /* What came behind a line whose answer is waited for. */
    uint8_t held[PIECE_MAX_BYTES];
    size_t held_bytes;
    struct chardev *chardev;
    struct readline *readline;
    struct qmp *qmp; /* JSON: instead of readline */
    bool has_greeted;
    bool is_terminal; /* a person may sit there */
};

/* ---- text that may go to a terminal ---- */

/* Octets of the UTF-8 character at p that may be shown, 0 if it may not. */
static size_t printable(const unsigned char *p, size_t left)
{
    size_t n = *p < 0x80                 ? 1
               : *p >= 0xc2 && *p < 0xe0 ? 2
               : *p >= 0xe0 && *p < 0xf0 ? 3
               : *p >= 0xf0 && *p < 0xf5 ? 4
                                         : 0;

    if (n == 1) return (*p >= 32 && *p != 127) || *p == '\n' || *p == '\t';
    if (n > left) return 0;
    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80) return 0;
    }
    if (n == 2 && p[0] == 0xc2 && p[1] < 0xa0) return 0; /* C1 controls */
    return n;
}

static void clean(char *text, size_t bytes)
{
    for (size_t i = 0; i < bytes;) {
        size_t n = printable((unsigned char *)text + i, bytes - i);

        if (n == 0) {
            text[i] = '?';
            n = 1;
        }
        i += n;
    }
}

/* ---- one line ---- */

static void run_locked(struct monitor_session *s, const char *line, FILE *out)
{
    struct cmd c = { .s = s, .vm = s->vm, .out = out };
    struct err e = ERR_INIT;
    const char *why;
    size_t len = 0;
    int rc;

    while (isspace((unsigned char)*line))
        line++;
    trace(TRACE_HMP, "cmd \"%.200s\"", line);
    /* "x/4xb 0" is understood without the blank. */
    len = strcspn(line, " \t/");
    if (len == 0) len = strcspn(line, " \t");
    if (len == 0 || *line == '#') return;
    c.c = command_find(command_table, line, len);
    if (c.c == NULL) {
        len = strcspn(line, " \t");
        why = absent_command(line, len);
        if (why != NULL) {
            fprintf(out, "%.*s: %s\n", (int)len, line, why);
        } else {
            fprintf(out, "unknown command: '%.*s'\n", (int)len, line);
        }
        return;
    }
    rc = command_parse(&c, line + len, &e);
    if (rc < 0) {
        fprintf(out, "%s\nTry \"help %.*s\" for more information\n", e.text,
                (int)len, line);
    } else {
        long before = ftell(out);

        rc = c.c->run(&c, &e);
        if (rc < 0) {
            fprintf(out, "%s%s\n",
                    c.c->has_plain_errors ? "" : "Error: ", e.text);
        } else if (s->is_person && c.c->done != NULL && !s->is_waiting &&
                   ftell(out) == before) {
            fprintf(out, "%s\n", c.c->done);
        }
    }
    command_free(&c);
}

/* text becomes what f leaves of it. */
static void apply_filter(const struct filter *f, char **text, size_t *bytes)
{
    char *left = NULL;
    size_t left_bytes = 0;
    FILE *out = open_memstream(&left, &left_bytes);

    if (out == NULL) return;
    filter_print(f, *text, *bytes, out);
    fclose(out);
    free(*text);
    *text = left;
    *bytes = left_bytes;
}

/* The answer to command, through the filters. */
static void run_filtered_locked(struct monitor_session *s, const char *command,
                                const struct filter *f, unsigned filters,
                                FILE *out)
{
    char *text = NULL;
    size_t bytes = 0;
    FILE *mem = open_memstream(&text, &bytes);

    if (mem == NULL) return;
    run_locked(s, command, mem);
    fclose(mem);
    clean(text, bytes);
    for (unsigned i = 0; i < filters && text != NULL; i++)
        apply_filter(&f[i], &text, &bytes);
    if (text != NULL) fwrite(text, 1, bytes, out);
    free(text);
}

void monitor_run_locked(struct monitor_session *s, const char *line, FILE *out)
{
    struct filter f[FILTERS_MAX];
    struct err e = ERR_INIT;
    size_t len = 0;
    int filters = filter_split(line, &len, f, &e);
    char *command;

    if (filters < 0) {
        clean(e.text, strlen(e.text));
        fprintf(out, "%s\n", e.text);
        return;
    }
    command = strndup(line, len);
    if (command == NULL) return;
    run_filtered_locked(s, command, f, (unsigned)filters, out);
    free(command);
}

void monitor_run(struct monitor_session *s, const char *line, FILE *out)
{
    vm_lock(s->vm);
    monitor_run_locked(s, line, out);
    vm_unlock(s->vm);
}

/* ---- on a character device ---- */

static void out_write(void *arg, const char *buf, size_t bytes)
{
    struct monitor *m = arg;

    chardev_write_answer(m->chardev, buf, bytes);
}

/* \n becomes \r\n. */
static void write_text(struct monitor *m, const char *text, size_t bytes)
{
    while (bytes > 0) {
        const char *nl = memchr(text, '\n', bytes);
        size_t n = nl != NULL ? (size_t)(nl - text) : bytes;

        if (n > 0) out_write(m, text, n);
        if (nl == NULL) break;
        out_write(m, "\r\n", 2);
        text += n + 1;
        bytes -= n + 1;
    }
}

static void page_write(void *arg, const char *text, size_t bytes)
{
    write_text(arg, text, bytes);
}

/* Lines of the terminal a person types at; 0: a program, or not known. */
static unsigned terminal_rows(const struct monitor *m)
{
    struct winsize w;

    if (!m->is_terminal || m->pieces < 2) return 0;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) < 0) return 0;
    return w.ws_row;
}

static bool run_line(void *arg, const char *line)
{
    struct monitor *m = arg;
    char *text = NULL;
    size_t bytes = 0;
    FILE *f = open_memstream(&text, &bytes);
    unsigned rows = terminal_rows(m);

    m->session.is_person =
        m->pieces > 1 && (m->is_terminal || chardev_is_vc(m->chardev));
    m->pieces = 0;
    if (f == NULL) return true;
    if (m->is_terminal) history_add(line);
    monitor_run(&m->session, line, f);
    fclose(f);
    return !pager_begin(&m->pager, text, bytes, rows) &&
           !m->session.is_quitting && !m->session.is_waiting;
}

static void receive(void *arg, const uint8_t *buf, size_t bytes);

/* The session is the monitor's first member. */
static void wake(struct monitor_session *s, const char *text)
{
    struct monitor *m = (struct monitor *)s;

    if (!s->is_waiting) return; /* whoever waited has gone */
    s->is_waiting = false;
    write_text(m, text, strlen(text));
    readline_show_prompt(m->readline);
    if (m->held_bytes > 0) {
        uint8_t held[PIECE_MAX_BYTES];
        size_t bytes = m->held_bytes;

        memcpy(held, m->held, bytes);
        m->held_bytes = 0;
        receive(m, held, bytes);
    }
    if (!s->is_waiting) chardev_accept_input(m->chardev);
}

static void offer(void *arg, const char *word)
{
    readline_offer(arg, word);
}

static size_t complete(void *arg, struct readline *r, const char *line,
                       size_t at)
{
    struct monitor *m = arg;

    size_t start = monitor_complete(&m->session, line, at, offer, r);
    char usage[512];

    if (monitor_usage(line, usage, sizeof(usage))) readline_hint(r, usage);
    return start;
}

static size_t can_receive(void *arg)
{
    struct monitor *m = arg;

    if (m->session.is_waiting) return 0;
    return chardev_pending(m->chardev) > PENDING_MAX_BYTES ? 0
                                                           : PIECE_MAX_BYTES;
}

static void receive_held(struct monitor *m, const uint8_t *buf, size_t bytes)
{
    size_t room = sizeof(m->held) - m->held_bytes;

    if (bytes > room) bytes = room;
    memcpy(m->held + m->held_bytes, buf, bytes);
    m->held_bytes += bytes;
}

static void receive(void *arg, const uint8_t *buf, size_t bytes)
{
    struct monitor *m = arg;

    m->pieces++;
    while (bytes > 0 && m->pager.text != NULL) {
        bool is_taken;
        bool is_waiting = pager_key(&m->pager, *buf, &is_taken);

        if (!is_waiting) readline_show_prompt(m->readline);
        if (is_taken) m->pieces = 0;
        buf += is_taken;
        bytes -= is_taken;
    }
    /* Octets of one piece that page are for the pager as well. */
    while (bytes > 0 && m->pager.text == NULL && !m->session.is_waiting) {
        readline_input(m->readline, buf++, 1);
        bytes--;
    }
    if (bytes > 0 && m->session.is_waiting)
        receive_held(m, buf, bytes);
    else if (bytes > 0)
        receive(arg, buf, bytes);
}

static void greet(struct monitor *m)
{
    char text[128];
    int n = snprintf(text, sizeof(text),
                     "Orrery %s monitor - type 'help' for more information\n",
                     ORRERY_VERSION);

    write_text(m, text, (size_t)n);
    m->has_greeted = true;
    readline_show_prompt(m->readline);
}

/* Nobody will ask for what was begun. */
static void forget(struct monitor *m)
{
    vm_lock(m->session.vm);
    savevm_forget_locked(m->session.vm, &m->session);
    vm_unlock(m->session.vm);
    m->session.is_waiting = false;
    m->held_bytes = 0;
}

static void opened(void *arg, bool is_open)
{
    struct monitor *m = arg;

    readline_clear(m->readline);
    pager_end(&m->pager);
    m->pieces = 0;
    forget(m);
    if (is_open && !chardev_is_mux(m->chardev)) greet(m);
}

/* Ctrl-A c on a shared terminal. */
static void focus(void *arg, bool has_focus)
{
    struct monitor *m = arg;

    if (!has_focus) return;
    out_write(m, "\r\n", 2);
    if (!m->has_greeted) {
        greet(m);
    } else {
        readline_show_prompt(m->readline);
    }
}

/* A spec without "mon:". */
static const char *chardev_kind_spec(const struct chardev *c)
{
    const char *spec = chardev_spec(c);

    return strncmp(spec, "mon:", 4) == 0 ? spec + 4 : spec;
}

int monitor_create(struct vm *vm, struct chardev *c, struct monitor **out,
                   struct err *e)
{
    struct monitor *m = calloc(1, sizeof(*m));
    struct readline_ops ops = {
        .write = out_write, .line = run_line, .complete = complete, .arg = m
    };
    struct chardev_front front = { .can_receive = can_receive,
                                   .receive = receive,
                                   .opened = opened,
                                   .focus = focus,
                                   .arg = m };

    if (m != NULL) m->readline = readline_new(&ops, "(qemu) ");
    if (m == NULL || m->readline == NULL || hub_join(vm, NULL, e) < 0) {
        if (m != NULL) readline_free(m->readline);
        free(m);
        return err_set(e, -ENOMEM, "out of memory");
    }
    m->session.vm = vm;
    m->session.readline = m->readline;
    m->session.wake = wake;
    m->pager = (struct pager){ .write = page_write, .arg = m };
    m->is_terminal = strncmp(chardev_kind_spec(c), "stdio", 5) == 0 &&
                     isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
    if (m->is_terminal) history_load(m->readline);
    m->chardev = c;
    chardev_set_monitor(c, &front);
    if (!chardev_is_mux(c) && chardev_is_open(c)) greet(m);
    *out = m;
    return 0;
}

/* ---- JSON ---- */

static size_t json_pending(void *arg)
{
    struct monitor *m = arg;

    return chardev_pending(m->chardev);
}

static void json_receive(void *arg, const uint8_t *buf, size_t bytes)
{
    struct monitor *m = arg;

    qmp_input(m->qmp, buf, bytes);
}

static void json_opened(void *arg, bool is_open)
{
    struct monitor *m = arg;

    qmp_connected(m->qmp, is_open);
}

int monitor_create_json(struct vm *vm, struct chardev *c, bool is_pretty,
                        struct monitor **out, struct err *e)
{
    struct monitor *m = calloc(1, sizeof(*m));
    struct qmp_options o = { .is_pretty = is_pretty,
                             .write = out_write,
                             .pending = json_pending,
                             .arg = m };
    struct chardev_front front = { .can_receive = can_receive,
                                   .receive = json_receive,
                                   .opened = json_opened,
                                   .arg = m };
    int rc;

    if (m == NULL) return err_set(e, -ENOMEM, "out of memory");
    m->session.vm = vm;
    m->chardev = c;
    rc = qmp_open(vm, &o, &m->qmp, e);
    if (rc < 0) {
        free(m);
        return rc;
    }
    chardev_set_monitor(c, &front);
    if (chardev_is_open(c)) qmp_connected(m->qmp, true);
    *out = m;
    return 0;
}

void monitor_destroy(struct monitor *m)
{
    if (m == NULL) return;
    forget(m);
    if (m->qmp == NULL) hub_leave(m->session.vm, NULL);
    qmp_close(m->qmp);
    chardev_set_monitor(m->chardev, NULL);
    pager_end(&m->pager);
    readline_free(m->readline);
    free(m);
}
