/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/base/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "core/base/trace.h"

/* Guest errors let through before the rest is only counted. */
enum { GUEST_LINES_MAX = 2000 };

/* The only mutable file-scope data of the program: the log itself. */
static _Atomic unsigned items_on;
static _Atomic uint64_t events_on;
static _Atomic unsigned guest_lines;
static FILE *log_file;
static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER; /* log_file */

const struct log_item_row log_item_rows[] = {
    { "cpu", LOG_CPU, "registers before each instruction (slow)" },
    { "cpu_reset", LOG_CPU_RESET, "registers at resets of a CPU" },
    { "exec", LOG_EXEC, "address of each instruction (slow)" },
    { "guest_errors", LOG_GUEST_ERRORS,
      "what the guest does that hardware does not like" },
    { "in_asm", LOG_IN_ASM, "guest code, when it is translated" },
    { "int", LOG_INT, "interrupts and exceptions" },
    { "trace", LOG_TRACE, "all trace events (trace:NAME: those, * matches)" },
    { "unimp", LOG_UNIMP, "ports and MSRs that are not there" },
    { .name = NULL },
};

/* QEMU's items that nothing here could serve. */
static const struct {
    const char *name, *why;
} absent[] = {
    { "fpu", "FPU registers are shown by info registers" },
    { "mmu", "walks of page tables are not logged; see info tlb, info mem" },
    { "nochain", "exec and cpu show every instruction as it is" },
    { "op", "code is rewritten, there are no micro ops" },
    { "op_ind", "code is rewritten, there are no micro ops" },
    { "op_opt", "code is rewritten, there are no micro ops" },
    { "out_asm", "the host's code is not shown; in_asm shows the guest's" },
    { "page", "it belongs to user mode emulation" },
    { "pcall", "far calls are not logged; int shows interrupts and "
               "exceptions" },
    { "plugin", "there are no plugins" },
    { "strace", "it belongs to user mode emulation" },
    { "tid", "there is one log file for all threads" },
};
enum { ABSENT = sizeof(absent) / sizeof(absent[0]) };

static int parse_one(const char *p, size_t n, struct log_choice *out,
                     struct err *e)
{
    const struct log_item_row *r = log_item_rows;
    char name[64];

    if (n >= sizeof(name))
        return err_set(e, -EINVAL, "no log item '%.*s'", 60, p);
    memcpy(name, p, n);
    name[n] = '\0';
    if (strcmp(name, "none") == 0) {
        *out = (struct log_choice){ .items = 0 };
        return 0;
    }
    if (strcmp(name, "all") == 0) {
        for (; r->name != NULL; r++)
            out->items |= r->item;
        return 0;
    }
    if (strncmp(name, "trace:", 6) == 0) {
        uint64_t events = trace_match(name + 6);

        out->events |= events;
        if (events != 0) return 0;
        return err_set(e, -EINVAL, "no trace event '%s'", name + 6);
    }
    while (r->name != NULL && strcmp(r->name, name) != 0)
        r++;
    for (unsigned i = 0; r->name == NULL && i < ABSENT; i++) {
        if (strcmp(absent[i].name, name) == 0)
            return err_set(e, -EINVAL, "no log item '%s': %s", name,
                           absent[i].why);
    }
    if (r->name == NULL) return err_set(e, -EINVAL, "no log item '%s'", name);
    out->items |= r->item;
    return 0;
}

int log_parse(const char *text, struct log_choice *out, struct err *e)
{
    *out = (struct log_choice){ .items = 0 };
    do {
        size_t n = strcspn(text, ",");
        int rc = parse_one(text, n, out, e);

        if (rc < 0) return rc;
        text += n;
    } while (*text++ == ',');
    if (out->items & LOG_TRACE) out->events = UINT64_MAX;
    return 0;
}

void log_choose(const struct log_choice *c)
{
    atomic_store(&guest_lines, 0);
    atomic_store(&events_on, c->events);
    atomic_store(&items_on, c->items);
}

unsigned log_items(void)
{
    return atomic_load_explicit(&items_on, memory_order_relaxed);
}

uint64_t log_events(void)
{
    return atomic_load_explicit(&events_on, memory_order_relaxed);
}

void log_set_events(uint64_t events)
{
    atomic_store(&events_on, events);
}

int log_open(const char *path)
{
    FILE *f = path != NULL ? fopen(path, "we") : NULL, *old;

    if (path != NULL && f == NULL) return -errno;
    if (f != NULL) setvbuf(f, NULL, _IOLBF, 0);
    pthread_mutex_lock(&log_lock);
    old = log_file;
    log_file = f;
    pthread_mutex_unlock(&log_lock);
    if (old != NULL) fclose(old);
    return 0;
}

static void put_clean(FILE *f, const char *text, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        unsigned char ch = (unsigned char)text[i];

        fputc(ch < 32 || ch == 127 ? '?' : ch, f);
    }
}

static void put_locked(const char *head, const char *text, size_t bytes)
{
    FILE *f = log_file != NULL ? log_file : stderr;

    put_clean(f, head, strlen(head));
    put_clean(f, text, bytes);
    fputc('\n', f);
}

static void put(const char *head, const char *fmt, va_list ap)
{
    char text[512];

    vsnprintf(text, sizeof(text), fmt, ap);
    pthread_mutex_lock(&log_lock);
    put_locked(head, text, strlen(text));
    pthread_mutex_unlock(&log_lock);
}

void log_warn(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    put("orrery: ", fmt, ap);
    va_end(ap);
}

void log_guest(const char *who, const char *fmt, ...)
{
    char head[64];
    va_list ap;

    if (!(log_items() & LOG_GUEST_ERRORS)) return;
    if (atomic_fetch_add(&guest_lines, 1) >= GUEST_LINES_MAX) return;
    snprintf(head, sizeof(head), "guest: %.40s: ", who);
    va_start(ap, fmt);
    put(head, fmt, ap);
    va_end(ap);
}

void log_item(unsigned item, const char *fmt, ...)
{
    va_list ap;

    if (!(log_items() & item)) return;
    va_start(ap, fmt);
    put("", fmt, ap);
    va_end(ap);
}

void log_text(unsigned item, const char *text)
{
    if (!(log_items() & item)) return;
    pthread_mutex_lock(&log_lock);
    while (*text != '\0') {
        size_t n = strcspn(text, "\n");

        put_locked("", text, n);
        text += n + (text[n] == '\n');
    }
    pthread_mutex_unlock(&log_lock);
}

void trace(enum trace_event ev, const char *fmt, ...)
{
    char head[64];
    va_list ap;

    if (!trace_is_on(ev)) return;
    snprintf(head, sizeof(head), "%s ", trace_name(ev));
    va_start(ap, fmt);
    put(head, fmt, ap);
    va_end(ap);
}
