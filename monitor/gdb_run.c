/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Going on and standing still.  gdb sends what each thread shall do and waits;
 * the reply goes out when the machine stops for whatever reason, its user's
 * included.  A thread that gdb does not mention is held.
 */
#include <string.h>

#include "core/vm/vm.h"
#include "monitor/gdb_int.h"

enum action { ACT_NONE, ACT_GO, ACT_STEP };

/* ---- stopping ---- */

static void reply_stop(struct gdb *g, unsigned signal, unsigned cpu,
                       const struct vm_stop *s)
{
    static const char *const watch[] = { [VM_WATCH_WRITE] = "watch",
                                         [VM_WATCH_READ] = "rwatch",
                                         [VM_WATCH_ACCESS] = "awatch" };
    char text[100], more[60] = "";

    g->cpu = g->session.cpu = cpu;
    if (s != NULL && s->why == VM_STOP_BREAK) strcpy(more, "swbreak:;");
    if (s != NULL && s->why == VM_STOP_HARD) strcpy(more, "hwbreak:;");
    if (s != NULL && s->why == VM_STOP_WATCH && s->kind >= VM_WATCH_WRITE &&
        s->kind <= VM_WATCH_ACCESS) {
        snprintf(more, sizeof(more), "%s:%llx;", watch[s->kind],
                 (unsigned long long)s->lin);
    }
    snprintf(text, sizeof(text), "T%02xthread:%x;%s", signal, cpu + 1, more);
    gdb_reply(g, text);
}

/* Numbers of gdb's own (its manual, "Signals" of the protocol). */
static unsigned signal_of(enum run_state s)
{
    switch (s) {
    case RUN_PAUSED: return 2;         /* SIGINT: Ctrl-C, the user's stop */
    case RUN_INTERNAL_ERROR: return 6; /* SIGABRT */
    case RUN_SHUTDOWN: return 3;       /* SIGQUIT */
    case RUN_IO_ERROR: return 17;      /* SIGSTOP */
    default: return 5;                 /* SIGTRAP */
    }
}

void gdb_stop_reply_locked(struct gdb *g)
{
    /* '?' from a gdb that has just come, or one that lost an answer. */
    if (vm_run_state(g->vm) == RUN_RUNNING) {
        g->has_stopped = true;
        vm_stop_locked(g->vm, RUN_DEBUG);
    }
    reply_stop(g, signal_of(vm_run_state(g->vm)), g->cpu, NULL);
}

static void clear_orders(struct gdb *g)
{
    for (unsigned i = 0; i < vm_vcpu_count(g->vm); i++) {
        vm_debug_step_locked(g->vm, i, false);
        vm_debug_hold_locked(g->vm, i, false);
    }
}

void gdb_stopped_locked(struct gdb *g)
{
    struct vm_stop s;
    unsigned cpu;

    clear_orders(g);
    if (!g->is_waiting) return;
    g->is_waiting = false;
    g->has_stopped = vm_run_state(g->vm) == RUN_DEBUG;
    if (vm_stop_take_locked(g->vm, VM_STOP_ANY, &cpu, &s)) {
        reply_stop(g, 5, cpu, &s);
    } else {
        reply_stop(g, signal_of(vm_run_state(g->vm)), g->cpu, NULL);
    }
}

void gdb_interrupt_locked(struct gdb *g)
{
    bool was_waiting = g->is_waiting;

    if (vm_run_state(g->vm) != RUN_RUNNING) return;
    vm_stop_locked(g->vm, RUN_PAUSED); /* gdb_stopped_locked sends it */
    if (was_waiting) g->has_stopped = true;
}

/* ---- going on ---- */

static bool may_run(struct gdb *g)
{
    enum run_state s = vm_run_state(g->vm);

    if (s != RUN_SHUTDOWN && s != RUN_INTERNAL_ERROR) return true;
    gdb_reply(g, "E01"); /* it needs a reset */
    return false;
}

static void go(struct gdb *g, const enum action *act)
{
    struct vm_stop s;
    uint64_t cpus = 0;
    unsigned cpu;

    if (!may_run(g)) return;
    /* Another CPU may have found something in the same moment.  A breakpoint
     * it will meet again; a watch is told when gdb lets that CPU go on. */
    vm_stop_drop_locked(g->vm);
    for (unsigned i = 0; i < vm_vcpu_count(g->vm); i++) {
        if (act[i] != ACT_NONE) cpus |= 1ull << i;
    }
    if (vm_stop_take_locked(g->vm, cpus, &cpu, &s)) {
        reply_stop(g, 5, cpu, &s);
        return;
    }
    for (unsigned i = 0; i < vm_vcpu_count(g->vm); i++) {
        vm_debug_step_locked(g->vm, i, act[i] == ACT_STEP);
        vm_debug_hold_locked(g->vm, i, act[i] == ACT_NONE);
    }
    g->is_waiting = true;
    g->has_stopped = false;
    vm_start_locked(g->vm);
}

/* c [addr], s [addr]; C and S have a signal first, which no CPU has. */
static void go_simple(struct gdb *g, const char *p)
{
    enum action act[VM_MAX_CPUS];
    bool is_step = *p == 's' || *p == 'S';
    unsigned count = vm_vcpu_count(g->vm);

    if (p[1] != '\0' && *p != 'C' && *p != 'S') {
        gdb_reply(g, "E22"); /* at another address: gdb writes the pc */
        return;
    }
    for (unsigned i = 0; i < count; i++) {
        bool is_chosen = g->run_cpu == GDB_ALL_CPUS || g->run_cpu == i;

        act[i] = is_chosen ? ACT_GO : ACT_NONE;
    }
    if (is_step) act[g->run_cpu < count ? g->run_cpu : g->cpu] = ACT_STEP;
    go(g, act);
}

/* One ";action[:thread]" into act[]; the first that names a CPU counts. */
static bool take_action(struct gdb *g, const char **at, enum action *act)
{
    const char *p = *at;
    enum action a = *p == 'c' || *p == 'C'   ? ACT_GO
                    : *p == 's' || *p == 'S' ? ACT_STEP
                                             : ACT_NONE;
    bool has_signal = *p == 'C' || *p == 'S';
    uint64_t n = 0;

    if (a == ACT_NONE) return false;
    p++;
    if (has_signal && !gdb_get_number(&p, &n)) return false;
    n = 0;
    if (*p == ':') {
        p++;
        if (strncmp(p, "-1", 2) == 0) {
            p += 2;
        } else if (!gdb_get_number(&p, &n) || n > vm_vcpu_count(g->vm)) {
            return false;
        } else if (n == 0) {
            n = g->cpu + 1;
        }
    }
    for (unsigned i = 0; i < vm_vcpu_count(g->vm); i++) {
        if (act[i] == ACT_NONE && (n == 0 || n == i + 1)) act[i] = a;
    }
    *at = p;
    return true;
}

static void go_vcont(struct gdb *g, const char *p)
{
    enum action act[VM_MAX_CPUS] = { ACT_NONE };

    while (*p == ';') {
        p++;
        if (!take_action(g, &p, act)) break;
        if (*p == '\0') {
            go(g, act);
            return;
        }
    }
    gdb_reply(g, "E22");
}

bool gdb_resume_locked(struct gdb *g, const char *p)
{
    if (strncmp(p, "vCont;", 6) == 0) {
        go_vcont(g, p + 5);
        return true;
    }
    if (*p != 'c' && *p != 'C' && *p != 's' && *p != 'S') return false;
    go_simple(g, p);
    return true;
}

void gdb_release_locked(struct gdb *g, bool is_resumed)
{
    enum run_state s = vm_run_state(g->vm);
    struct vm_stop stop;
    unsigned cpu;

    vm_point_clear_locked(g->vm);
    clear_orders(g);
    while (vm_stop_take_locked(g->vm, VM_STOP_ANY, &cpu, &stop)) {
    }
    g->has_stopped = false;
    if (is_resumed &&
        (s == RUN_DEBUG || s == RUN_PAUSED || s == RUN_PRELAUNCH)) {
        vm_start_locked(g->vm);
    }
}
