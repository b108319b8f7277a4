/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/vm/port.h"

#include <errno.h>
#include <stdlib.h>

#include "core/base/trace.h"
#include "core/vm/vm_private.h"

enum { PORTS = 65536, MAX_MAPS = 512 };

struct port_map {
    unsigned first, count; /* count 0 = free row */
    const struct port_ops *ops;
    void *arg;
    const char *name;
    uint64_t age; /* larger = mapped later, hides older ones */
};

struct port_space {
    uint16_t row[PORTS]; /* 0 = nothing, else index of map[] + 1 */
    struct port_map map[MAX_MAPS];
    uint64_t age;
};

int vm_port_init(struct vm *vm, struct err *e)
{
    vm->ports = calloc(1, sizeof(*vm->ports));
    return vm->ports != NULL ? 0 : err_set(e, -ENOMEM, "out of memory");
}

void vm_port_exit(struct vm *vm)
{
    free(vm->ports);
    vm->ports = NULL;
}

/* Newest mapping that covers port. */
static uint16_t top_row(const struct port_space *s, unsigned port)
{
    uint16_t best = 0;
    uint64_t age = 0;

    for (unsigned i = 0; i < MAX_MAPS; i++) {
        const struct port_map *m = &s->map[i];

        if (m->count > 0 && port >= m->first && port - m->first < m->count &&
            m->age > age) {
            best = (uint16_t)(i + 1);
            age = m->age;
        }
    }
    return best;
}

int port_map_locked(struct vm *vm, unsigned first, unsigned count,
                    const struct port_ops *ops, void *arg, const char *name,
                    struct err *e)
{
    struct port_space *s = vm->ports;

    if (count == 0 || first >= PORTS || count > PORTS - first) {
        return err_set(e, -EINVAL, "%s: ports 0x%x+%u are out of range", name,
                       first, count);
    }
    for (unsigned i = 0; i < MAX_MAPS; i++) {
        if (s->map[i].count > 0) continue;
        s->map[i] = (struct port_map){ first, count, ops, arg, name, ++s->age };
        for (unsigned p = first; p < first + count; p++) {
            s->row[p] = (uint16_t)(i + 1);
        }
        return 0;
    }
    return err_set(e, -ENOSPC, "%s: no room for another port range", name);
}

void port_unmap_locked(struct vm *vm, unsigned first, unsigned count, void *arg)
{
    struct port_space *s = vm->ports;

    for (unsigned i = 0; i < MAX_MAPS; i++) {
        struct port_map *m = &s->map[i];

        if (m->first != first || m->count != count || m->arg != arg) {
            continue;
        }
        m->count = 0;
        for (unsigned p = first; p < first + count; p++) {
            if (s->row[p] == i + 1) s->row[p] = top_row(s, p);
        }
        return;
    }
}

static const struct port_map *find(struct vm *vm, unsigned port)
{
    uint16_t row = vm->ports->row[port & 0xffff];

    return row != 0 ? &vm->ports->map[row - 1] : NULL;
}

/* Widest piece of the access that one handler takes at once. */
static unsigned piece(const struct port_map *m, unsigned port, unsigned bytes)
{
    unsigned max = m != NULL && m->ops->max_bytes != 0 ? m->ops->max_bytes : 1;
    unsigned room = m != NULL ? m->first + m->count - port : 1;

    if (bytes == 3) bytes = 2;
    while (bytes > max || bytes > room)
        bytes >>= 1;
    return bytes != 0 ? bytes : 1;
}

static void tell(enum trace_event ev, unsigned port, unsigned bytes, uint32_t v)
{
    trace(ev, "addr 0x%x(%c) value 0x%x", port,
          bytes == 1   ? 'b'
          : bytes == 2 ? 'w'
                       : 'l',
          v);
}

uint32_t port_read_locked(struct vm *vm, unsigned port, unsigned bytes)
{
    uint32_t v = 0;

    for (unsigned done = 0; done < bytes;) {
        unsigned at = (port + done) & 0xffff;
        const struct port_map *m = find(vm, at);
        unsigned n = piece(m, at, bytes - done);
        uint32_t part = UINT32_MAX;

        if (m != NULL && m->ops->read != NULL) {
            part = m->ops->read(m->arg, at - m->first, n);
        } else if (m == NULL) {
            log_item(LOG_UNIMP, "port 0x%x: nothing is there to be read", at);
        }
        if (n < 4) part &= (1u << 8 * n) - 1;
        v |= part << 8 * done;
        done += n;
    }
    if (trace_is_on(TRACE_CPU_IN)) tell(TRACE_CPU_IN, port, bytes, v);
    return v;
}

void port_write_locked(struct vm *vm, unsigned port, unsigned bytes, uint32_t v)
{
    if (trace_is_on(TRACE_CPU_OUT)) tell(TRACE_CPU_OUT, port, bytes, v);
    if (vm->ioevent_count > 0 &&
        vm_ioevent_hit_locked(vm, true, port & 0xffff, bytes, v)) {
        return;
    }
    for (unsigned done = 0; done < bytes;) {
        unsigned at = (port + done) & 0xffff;
        const struct port_map *m = find(vm, at);
        unsigned n = piece(m, at, bytes - done);
        uint32_t part = v >> 8 * done;

        if (n < 4) part &= (1u << 8 * n) - 1;
        if (m != NULL && m->ops->write != NULL) {
            m->ops->write(m->arg, at - m->first, n, part);
        } else if (m == NULL) {
            log_item(LOG_UNIMP, "port 0x%x: nothing is there to take 0x%x", at,
                     part);
        }
        done += n;
    }
}

void port_for_each_locked(struct vm *vm,
                          void (*fn)(void *arg, unsigned first, unsigned count,
                                     const char *name),
                          void *arg)
{
    unsigned port = 0;

    while (port < PORTS) {
        uint16_t row = vm->ports->row[port];
        unsigned end = port + 1;

        while (end < PORTS && vm->ports->row[end] == row)
            end++;
        if (row != 0) {
            fn(arg, port, end - port, vm->ports->map[row - 1].name);
        }
        port = end;
    }
}
