/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One gdb on any transport: frames in, frames out. */
#include "monitor/gdb.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/trace.h"
#include "core/cpu/cpuid.h"
#include "core/vm/vm.h"
#include "monitor/command.h"
#include "monitor/gdb_int.h"

/* Complete answer to the last packet; kept until the next for a NAK. */
void gdb_reply_bytes(struct gdb *g, const void *data, size_t bytes)
{
    FILE *f;

    trace(TRACE_GDB_REPLY, "%.*s", bytes < 100 ? (int)bytes : 100,
          (const char *)data);
    free(g->last);
    g->last = NULL;
    g->last_bytes = 0;
    f = open_memstream(&g->last, &g->last_bytes);
    if (f == NULL) return;
    gdb_frame(f, data, bytes);
    fclose(f);
    g->write(g->arg, g->last, g->last_bytes);
}

void gdb_reply(struct gdb *g, const char *text)
{
    gdb_reply_bytes(g, text, strlen(text));
}

static void on_event(void *arg, enum vm_event ev)
{
    struct gdb *g = arg;

    if (g->is_connected && ev == VM_EVENT_STOP) gdb_stopped_locked(g);
}

/* The description gdb reads once cannot follow the CPU's mode, so the widest
 * mode the CPU has is described. */
static enum gdb_arch choose_arch(struct vm *vm)
{
    const struct vcpu *v = vm_vcpu(vm, 0);
    const struct cpu_model *m = v != NULL ? v->cpu->model : NULL;

    if (m == NULL || m->leaf_count == 0 || m->has_long) {
        return GDB_ARCH_X86_64;
    }
    return GDB_ARCH_I386;
}

int gdb_open(struct vm *vm, enum gdb_arch arch,
             void (*write)(void *arg, const void *data, size_t bytes),
             void *arg, struct gdb **out, struct err *e)
{
    struct gdb *g = calloc(1, sizeof(*g));

    if (g == NULL) return err_set(e, -ENOMEM, "out of memory");
    g->vm = vm;
    g->arch = arch == GDB_ARCH_AUTO ? choose_arch(vm) : arch;
    g->write = write;
    g->arg = arg;
    g->session.vm = vm;
    vm_add_listener(vm, on_event, g);
    *out = g;
    return 0;
}

void gdb_close(struct gdb *g)
{
    if (g == NULL) return;
    if (g->is_connected) gdb_connected(g, false);
    vm_remove_listener(g->vm, g);
    free(g->last);
    free(g);
}

void gdb_connected(struct gdb *g, bool is_there)
{
    bool is_locked = vm_is_locked(g->vm);

    if (is_there == g->is_connected && !(is_there && g->is_detached)) return;
    if (!is_locked) vm_lock(g->vm);
    if (is_there) {
        memset(&g->reader, 0, sizeof(g->reader));
        g->is_no_ack = g->is_waiting = g->is_physical = g->is_closing = false;
        g->is_detached = false;
        g->cpu = g->session.cpu = 0;
        g->run_cpu = GDB_ALL_CPUS;
        g->has_stopped = vm_run_state(g->vm) == RUN_RUNNING;
        g->is_connected = true;
        vm_stop_locked(g->vm, g->has_stopped ? RUN_DEBUG : vm_run_state(g->vm));
    } else {
        g->is_connected = false;
        gdb_release_locked(g, g->has_stopped);
    }
    if (!is_locked) vm_unlock(g->vm);
}

void gdb_exited(struct gdb *g)
{
    if (g->is_connected && g->is_waiting) gdb_reply(g, "W00");
    g->is_waiting = false;
    g->has_stopped = false;
}

static void on_packet(struct gdb *g)
{
    if (!g->is_no_ack) g->write(g->arg, "+", 1);
    vm_lock(g->vm);
    gdb_handle_locked(g, (char *)g->reader.data, g->reader.bytes);
    vm_unlock(g->vm);
}

void gdb_input(struct gdb *g, const uint8_t *buf, size_t bytes)
{
    for (size_t i = 0; i < bytes && g->is_connected && !g->is_closing; i++) {
        switch (gdb_reader_feed(&g->reader, buf[i])) {
        case GDB_PACKET: on_packet(g); break;
        case GDB_DAMAGED:
            if (!g->is_no_ack) g->write(g->arg, "-", 1);
            break;
        case GDB_BREAK:
            vm_lock(g->vm);
            gdb_interrupt_locked(g);
            vm_unlock(g->vm);
            break;
        case GDB_NAK:
            if (!g->is_no_ack && g->last != NULL) {
                g->write(g->arg, g->last, g->last_bytes);
            }
            break;
        case GDB_ACK:
        case GDB_NOTHING: break;
        }
    }
}
