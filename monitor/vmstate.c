/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Saving and loading the state of a machine as a stream. */
#include "monitor/vmstate.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <zlib.h>

#include "config.h"
#include "core/base/size.h"
#include "core/cpu/state.h"
#include "core/vm/clock.h"
#include "core/vm/config.h"
#include "core/vm/dev.h"
#include "core/vm/mem.h"
#include "core/vm/vcpu.h"
#include "core/vm/vm.h"

#ifdef HAVE_ZSTD
#include <zstd.h>
#endif

enum {
    STREAM_VERSION = 1,
    CHUNK_BYTES = 1 << 20,
    MAX_META_BYTES = 65536,
    MAX_STATE_BYTES = 256 << 20,
    RAM_HEAD_BYTES = 16, /* offset, raw length, flags */
    RAM_ZERO = 1,
    RAM_PLAIN = 2,
    RAM_ZSTD = 3,
    LOW_BYTES = 1 << 20, /* where a reset may put firmware */
};

struct section {
    char type[4];
    uint32_t crc;
    uint64_t bytes;
};

static const char stream_magic[8] = "ORRERYVM";

/* Which events of a vCPU are state; the others follow from the devices'. */
enum { KEPT_EVENTS = VCPU_NMI | VCPU_SMI | VCPU_INIT | VCPU_SIPI };

struct cpu_head {
    uint32_t index, events;
    uint64_t tsc;
    uint8_t sipi_vector;
};
static const struct field cpu_head_state[] = {
    U32_MAX(cpu_head, index, VM_MAX_CPUS - 1),
    U32_MAX(cpu_head, events, KEPT_EVENTS),
    U64(cpu_head, tsc),
    U8(cpu_head, sipi_vector),
    STATE_END,
};

static uint32_t crc_of(const void *data, size_t bytes)
{
    return (uint32_t)crc32_z(0, data, bytes);
}

/* -------------------------------------------------------------- saving */

static void append_section(struct state_out *out, const char *type,
                           const struct state_out *body)
{
    struct section s = { .crc = crc_of(body->data, body->bytes),
                         .bytes = body->bytes };

    memcpy(s.type, type, 4);
    state_append(out, &s, sizeof(s));
    state_append(out, body->data, body->bytes);
    if (body->status < 0) out->status = body->status;
}

static void append_meta(struct vm *vm, struct state_out *out,
                        const char *parent)
{
    struct state_out body = { .data = NULL };
    char text[1200];

    snprintf(text, sizeof(text),
             "machine=%s\nram=%llu\ncpus=%u\naccel=%s\nclock=%llu\n"
             "parent=%.255s\n",
             vm_root(vm)->cls->name, (unsigned long long)vm_ram(vm)->size,
             vm_vcpu_count(vm), vm_accel_name(vm),
             (unsigned long long)clock_now_ns(vm), parent);
    state_append(&body, text, strlen(text));
    append_section(out, "META", &body);
    state_out_free(&body);
}

static void append_cpu(struct vm *vm, unsigned i, struct state_out *out)
{
    const struct vm_accel_ops *ops = vm_accel(vm, NULL);
    struct vcpu *v = vm_vcpu(vm, i);
    struct state_out head = { .data = NULL }, body = { .data = NULL };
    struct cpu_head h = { .index = i,
                          .events = atomic_load(&v->events) & KEPT_EVENTS,
                          .tsc = ops->tsc == NULL ? 0 : ops->tsc(v),
                          .sipi_vector = atomic_load(&v->sipi_vector) };
    uint32_t head_bytes;

    state_save(&head, cpu_head_state, &h);
    head_bytes = (uint32_t)head.bytes;
    state_append(&body, &head_bytes, sizeof(head_bytes));
    state_append(&body, head.data, head.bytes);
    state_save(&body, cpu_state, v->cpu);
    append_section(out, "CPU ", &body);
    state_out_free(&head);
    state_out_free(&body);
}

void vmstate_prepare_locked(struct vm *vm)
{
    const struct vm_accel_ops *ops = vm_accel(vm, NULL);

    if (ops->sync != NULL) ops->sync(vm);
    vm_park_locked(vm);
    for (unsigned i = 0; i < vm_vcpu_count(vm); i++) {
        if (ops->vcpu_get != NULL) ops->vcpu_get(vm_vcpu(vm, i));
    }
    vm_unpark_locked(vm);
}

int vmstate_capture(struct vm *vm, struct state_out *out, const char *parent,
                    struct err *e)
{
    const uint32_t version = STREAM_VERSION;
    struct state_out devices = { .data = NULL };
    int rc;

    state_append(out, stream_magic, sizeof(stream_magic));
    state_append(out, &version, sizeof(version));
    append_meta(vm, out, parent);
    for (unsigned i = 0; i < vm_vcpu_count(vm); i++)
        append_cpu(vm, i, out);
    rc = dev_save_tree(vm_root(vm), &devices, e);
    if (rc == 0) append_section(out, "DEVS", &devices);
    state_out_free(&devices);
    if (rc == 0 && out->status < 0)
        rc = err_set(e, out->status, "out of memory");
    return rc;
}

struct ram_writer {
    vmstate_write_fn write;
    void *arg;
    uint8_t *buf; /* section head, RAM head, data */
    size_t cap;
};

static bool is_zero(const uint8_t *p, size_t bytes)
{
    return p[0] == 0 && memcmp(p, p + 1, bytes - 1) == 0;
}

/* Compress into the buffer; 0: plain is not larger. */
static size_t compress_chunk(struct ram_writer *w, const uint8_t *data,
                             size_t bytes)
{
#ifdef HAVE_ZSTD
    size_t n = ZSTD_compress(w->buf + sizeof(struct section) + RAM_HEAD_BYTES,
                             w->cap, data, bytes, 1);

    return ZSTD_isError(n) || n >= bytes ? 0 : n;
#else
    (void)w, (void)data, (void)bytes;
    return 0;
#endif
}

static int write_chunk(struct ram_writer *w, const uint8_t *ram, uint64_t at,
                       size_t bytes)
{
    uint8_t *body = w->buf + sizeof(struct section);
    struct section s = { .type = { 'R', 'A', 'M', ' ' } };
    uint32_t raw = (uint32_t)bytes, how = RAM_ZERO;
    size_t n = 0;

    if (!is_zero(ram + at, bytes)) {
        n = compress_chunk(w, ram + at, bytes);
        how = n > 0 ? RAM_ZSTD : RAM_PLAIN;
        if (n == 0) {
            memcpy(body + RAM_HEAD_BYTES, ram + at, bytes);
            n = bytes;
        }
    }
    memcpy(body, &at, 8);
    memcpy(body + 8, &raw, 4);
    memcpy(body + 12, &how, 4);
    s.bytes = RAM_HEAD_BYTES + n;
    s.crc = crc_of(body, s.bytes);
    memcpy(w->buf, &s, sizeof(s));
    return w->write(w->arg, w->buf, sizeof(s) + s.bytes);
}

int vmstate_write_ram(const uint8_t *ram, uint64_t bytes,
                      vmstate_write_fn write, void *arg,
                      _Atomic uint64_t *progress)
{
    const struct section end = { .type = { 'E', 'N', 'D', ' ' } };
    struct ram_writer w = { .write = write, .arg = arg };
    int rc = 0;

    w.cap = CHUNK_BYTES + CHUNK_BYTES / 128 + 1024;
    w.buf = malloc(w.cap + sizeof(struct section) + RAM_HEAD_BYTES);
    if (w.buf == NULL) return -ENOMEM;
    for (uint64_t at = 0; at < bytes && rc == 0; at += CHUNK_BYTES) {
        uint64_t left = bytes - at;

        rc = write_chunk(&w, ram, at,
                         left < CHUNK_BYTES ? (size_t)left : CHUNK_BYTES);
        if (progress != NULL) atomic_store(progress, at);
    }
    if (rc == 0) rc = write(arg, &end, sizeof(end));
    free(w.buf);
    return rc;
}

/* ------------------------------------------------------------- loading */

static int damaged(struct err *e, const char *what)
{
    return err_set(e, -EINVAL, "the saved state is damaged: %s", what);
}

static int cut_short(struct err *e, int rc)
{
    return err_set(e, rc, "the saved state cannot be read to its end: %s",
                   strerror(-rc));
}

/* A section's head, its length at most max. */
static int read_section(vmstate_read_fn read, void *arg, struct section *s,
                        uint64_t max, struct err *e)
{
    int rc = read(arg, s, sizeof(*s));

    if (rc < 0) return cut_short(e, rc);
    if (s->bytes > max) return damaged(e, "a section is too long");
    return 0;
}

static int read_body(vmstate_read_fn read, void *arg, const struct section *s,
                     uint8_t *to, struct err *e)
{
    int rc = s->bytes == 0 ? 0 : read(arg, to, s->bytes);

    if (rc < 0) return cut_short(e, rc);
    if (crc_of(to, s->bytes) != s->crc) return damaged(e, "wrong checksum");
    return 0;
}

/* Value of a line "key=value"; false: no such line. */
static bool meta_value(const char *text, const char *key, char *out, size_t cap)
{
    size_t len = strlen(key);

    for (const char *at = text; at != NULL && *at != '\0';
         at = strchr(at, '\n')) {
        if (*at == '\n') at++;
        if (strncmp(at, key, len) != 0 || at[len] != '=') continue;
        snprintf(out, cap, "%.*s", (int)strcspn(at + len + 1, "\n"),
                 at + len + 1);
        return true;
    }
    return false;
}

/* The value is what this machine has; else a refusal in the words of how. */
static int same(const char *text, const char *key, const char *here,
                const char *how, struct err *e)
{
    char value[256];

    if (!meta_value(text, key, value, sizeof(value)))
        return damaged(e, "its description is not complete");
    if (strcmp(value, here) == 0) return 0;
    return err_set(e, -EINVAL,
                   "the saved machine has %s %s, this one %s; start it as it "
                   "was when it was saved",
                   value, how, here);
}

static int check_meta(struct vm *vm, const char *text, struct vmstate_head *h,
                      struct err *e)
{
    char ram[32], cpus[16], clock[32];
    int rc = same(text, "machine", vm_root(vm)->cls->name, "as its type", e);

    snprintf(ram, sizeof(ram), "%llu", (unsigned long long)vm_ram(vm)->size);
    snprintf(cpus, sizeof(cpus), "%u", vm_vcpu_count(vm));
    if (rc == 0) rc = same(text, "ram", ram, "octets of memory", e);
    if (rc == 0) rc = same(text, "cpus", cpus, "CPUs", e);
    if (rc < 0) return rc;
    if (!meta_value(text, "clock", clock, sizeof(clock)) ||
        uint_parse(clock, &h->clock_ns) < 0 || h->clock_ns >> 62)
        return damaged(e, "its clock");
    if (!meta_value(text, "parent", h->parent, sizeof(h->parent)))
        h->parent[0] = '\0';
    return 0;
}

static int read_meta(struct vm *vm, vmstate_read_fn read, void *arg,
                     struct vmstate_head *h, struct err *e)
{
    struct section s;
    char *text;
    int rc = read_section(read, arg, &s, MAX_META_BYTES, e);

    if (rc < 0) return rc;
    if (memcmp(s.type, "META", 4) != 0)
        return damaged(e, "it does not begin with a description");
    text = calloc(1, s.bytes + 1);
    if (text == NULL) return err_set(e, -ENOMEM, "out of memory");
    rc = read_body(read, arg, &s, (uint8_t *)text, e);
    if (rc == 0) rc = check_meta(vm, text, h, e);
    free(text);
    return rc;
}

static int read_start(vmstate_read_fn read, void *arg, struct err *e)
{
    char magic[sizeof(stream_magic)];
    uint32_t version;
    int rc = read(arg, magic, sizeof(magic));

    if (rc == 0 && memcmp(magic, stream_magic, sizeof(magic)) != 0)
        return err_set(e, -EINVAL,
                       "this is not a machine's state as orrery saves it");
    if (rc == 0) rc = read(arg, &version, sizeof(version));
    if (rc < 0) return cut_short(e, rc);
    if (version != STREAM_VERSION)
        return err_set(e, -EINVAL,
                       "the state was saved by another version (%u, here %d)",
                       version, STREAM_VERSION);
    return 0;
}

/* Append a section, head and all, to a buffer. */
static int keep_section(vmstate_read_fn read, void *arg,
                        const struct section *s, uint8_t **buf, size_t *bytes,
                        struct err *e)
{
    uint8_t *more = realloc(*buf, *bytes + sizeof(*s) + s->bytes);
    int rc;

    if (more == NULL) return err_set(e, -ENOMEM, "out of memory");
    *buf = more;
    memcpy(more + *bytes, s, sizeof(*s));
    rc = read_body(read, arg, s, more + *bytes + sizeof(*s), e);
    *bytes += sizeof(*s) + s->bytes;
    return rc;
}

/* ------------------------------------------- devices of both machines */

/* In a DEVS section: u8 id length, id, u32 version, u32 octets, record. */
static bool has_device(const uint8_t *data, size_t bytes, const char *id)
{
    size_t len = strlen(id);

    while (bytes > 0) {
        size_t n = data[0];
        uint32_t body;

        if (bytes < 9 + n) return false;
        memcpy(&body, data + 5 + n, sizeof(body));
        if (body > bytes - 9 - n) return false;
        if (n == len && memcmp(data + 1, id, n) == 0) return true;
        data += 9 + n + body;
        bytes -= 9 + n + body;
    }
    return false;
}

struct device_check {
    const struct vmstate_head *h;
    struct err *e;
};

static int check_device(struct dev *d, void *arg)
{
    const struct device_check *c = arg;

    if (d->cls->state == NULL || !d->is_created ||
        has_device(c->h->devices + sizeof(struct section),
                   c->h->devices_bytes - sizeof(struct section), d->id))
        return 0;
    return err_set(c->e, -EINVAL,
                   "the saved machine has no device %s (%s); start this one as "
                   "it was when it was saved",
                   d->id, d->cls->name);
}

static int check_devices(struct vm *vm, const struct vmstate_head *h,
                         struct err *e)
{
    struct device_check c = { h, e };

    return dev_for_each(vm_root(vm), check_device, &c);
}

int vmstate_read_head(struct vm *vm, vmstate_read_fn read, void *arg,
                      struct vmstate_head *h, struct err *e)
{
    unsigned cpus = vm_vcpu_count(vm);
    int rc = read_start(read, arg, e);

    if (rc == 0) rc = read_meta(vm, read, arg, h, e);
    for (unsigned i = 0; i <= cpus && rc == 0; i++) {
        bool is_devices = i == cpus;
        struct section s;

        rc = read_section(read, arg, &s, MAX_STATE_BYTES, e);
        if (rc == 0 && memcmp(s.type, is_devices ? "DEVS" : "CPU ", 4) != 0)
            rc = damaged(e, "its sections are out of order");
        if (rc < 0) return rc;
        rc =
            is_devices
                ? keep_section(read, arg, &s, &h->devices, &h->devices_bytes, e)
                : keep_section(read, arg, &s, &h->cpus, &h->cpus_bytes, e);
    }
    return rc == 0 ? check_devices(vm, h, e) : rc;
}

void vmstate_head_free(struct vmstate_head *h)
{
    free(h->cpus);
    free(h->devices);
    h->cpus = h->devices = NULL;
}

/* ----------------------------------------------------- CPUs and devices */

static int load_cpu_locked(struct vm *vm, unsigned i, const uint8_t *body,
                           size_t bytes, struct err *e)
{
    const struct vm_accel_ops *ops = vm_accel(vm, NULL);
    struct vcpu *v = vm_vcpu(vm, i);
    struct cpu_head h = { .index = i };
    uint32_t head_bytes;
    int rc;

    if (bytes < 4) return damaged(e, "a CPU");
    memcpy(&head_bytes, body, 4);
    if (head_bytes > bytes - 4) return damaged(e, "a CPU");
    rc = state_load(body + 4, head_bytes, cpu_head_state, &h, e);
    if (rc == 0 && h.index != i) rc = damaged(e, "the order of CPUs");
    if (rc == 0)
        rc = state_load(body + 4 + head_bytes, bytes - 4 - head_bytes,
                        cpu_state, v->cpu, e);
    if (rc == 0) rc = cpu_state_check(v->cpu, e);
    if (rc < 0) return rc;
    if (ops->set_tsc != NULL) ops->set_tsc(v, h.tsc);
    atomic_store(&v->sipi_vector, h.sipi_vector);
    atomic_store(&v->is_halted, v->cpu->activity != CPU_ACTIVE);
    if (ops->vcpu_put != NULL) ops->vcpu_put(v);
    if (h.events != 0) vcpu_raise(v, h.events);
    return 0;
}

static int load_cpus_locked(struct vm *vm, const struct vmstate_head *h,
                            struct err *e)
{
    const uint8_t *at = h->cpus;
    int rc = 0;

    for (unsigned i = 0; i < vm_vcpu_count(vm) && rc == 0; i++) {
        struct section s;

        memcpy(&s, at, sizeof(s));
        rc = load_cpu_locked(vm, i, at + sizeof(s), s.bytes, e);
        if (rc < 0) err_prefix(e, "CPU %u", i);
        at += sizeof(s) + s.bytes;
    }
    return rc;
}

static int load_all_locked(struct vm *vm, const struct vmstate_head *h,
                           struct err *e)
{
    int rc;

    clock_set_ns_locked(vm, h->clock_ns);
    /* The counters before the devices: a local APIC's deadline needs them. */
    rc = load_cpus_locked(vm, h, e);
    if (rc < 0) return rc;
    return dev_load_tree(vm_root(vm), h->devices + sizeof(struct section),
                         h->devices_bytes - sizeof(struct section), e);
}

/* What the machine is now, to go back to: its state as it would be saved, and
 * the memory a reset may write to. */
struct present {
    struct state_out state;
    size_t read;
    uint8_t *low;
};

static int read_present(void *arg, void *data, size_t bytes)
{
    struct present *p = arg;

    if (bytes > p->state.bytes - p->read) return -ENODATA;
    memcpy(data, p->state.data + p->read, bytes);
    p->read += bytes;
    return 0;
}

static int keep_present_locked(struct vm *vm, struct present *p, struct err *e)
{
    const struct mem_region *ram = vm_ram(vm);
    size_t low = ram->size < LOW_BYTES ? (size_t)ram->size : LOW_BYTES;
    int rc;

    vmstate_prepare_locked(vm);
    rc = vmstate_capture(vm, &p->state, "", e);
    p->low = malloc(low);
    if (p->low == NULL) return err_set(e, -ENOMEM, "out of memory");
    memcpy(p->low, ram->host, low);
    return rc;
}

static void go_back_locked(struct vm *vm, struct present *p)
{
    struct mem_region *ram = vm_ram(vm);
    struct vmstate_head h = { .cpus = NULL };
    struct err e = ERR_INIT;
    int rc = vmstate_read_head(vm, read_present, p, &h, &e);

    if (rc == 0) rc = load_all_locked(vm, &h, &e);
    memcpy(ram->host, p->low,
           ram->size < LOW_BYTES ? (size_t)ram->size : LOW_BYTES);
    if (rc < 0) vm_internal_error(vm, "%s", e.text);
    vmstate_head_free(&h);
}

int vmstate_restore_locked(struct vm *vm, const struct vmstate_head *h,
                           struct err *e)
{
    struct present now = { .read = 0 };
    int rc = keep_present_locked(vm, &now, e);

    if (rc == 0) {
        vm_reset_locked(vm);
        vm_park_locked(vm);
        rc = load_all_locked(vm, h, e);
        if (rc < 0) {
            go_back_locked(vm, &now);
            mem_replaced_locked(vm);
        }
        vm_unpark_locked(vm);
    }
    state_out_free(&now.state);
    free(now.low);
    return rc;
}

/* --------------------------------------------------------------- memory */

/* Of a section's body. */
struct chunk {
    uint64_t at;
    uint32_t raw, how;
    const uint8_t *data;
    size_t bytes;
};

static int decode_chunk(const struct mem_region *ram, const uint8_t *body,
                        size_t bytes, struct chunk *c, struct err *e)
{
    if (bytes < RAM_HEAD_BYTES) return damaged(e, "a piece of memory");
    memcpy(&c->at, body, 8);
    memcpy(&c->raw, body + 8, 4);
    memcpy(&c->how, body + 12, 4);
    c->data = body + RAM_HEAD_BYTES;
    c->bytes = bytes - RAM_HEAD_BYTES;
    if (c->raw > CHUNK_BYTES || c->at > ram->size || c->raw > ram->size - c->at)
        return damaged(e, "memory outside of the machine's");
    if (c->how < RAM_ZERO || c->how > RAM_ZSTD ||
        (c->how == RAM_PLAIN && c->bytes != c->raw))
        return damaged(e, "a piece of memory");
#ifndef HAVE_ZSTD
    if (c->how == RAM_ZSTD)
        return err_set(e, -ENOTSUP,
                       "the state is compressed with zstd, which this "
                       "program was built without");
#endif
    return 0;
}

static int put_chunk(struct mem_region *ram, const struct chunk *c,
                     struct err *e)
{
    (void)e;
    if (c->how == RAM_PLAIN) memcpy(ram->host + c->at, c->data, c->raw);
#ifdef HAVE_ZSTD
    if (c->how == RAM_ZSTD &&
        ZSTD_decompress(ram->host + c->at, c->raw, c->data, c->bytes) != c->raw)
        return damaged(e, "a piece of memory");
#endif
    return 0; /* RAM_ZERO: fresh pages are */
}

typedef int (*chunk_fn)(struct mem_region *ram, const struct chunk *c,
                        struct err *e);

/* All pieces to the end, each given to fn or NULL. */
static int for_each_chunk(struct vm *vm, vmstate_read_fn read, void *arg,
                          chunk_fn fn, struct err *e)
{
    const size_t cap = CHUNK_BYTES + CHUNK_BYTES / 128 + 2048;
    struct mem_region *ram = vm_ram(vm);
    uint8_t *body = malloc(cap);
    int rc = body == NULL ? err_set(e, -ENOMEM, "out of memory") : 0;

    while (rc == 0) {
        struct section s;
        struct chunk c;

        rc = read_section(read, arg, &s, cap, e);
        if (rc < 0 || memcmp(s.type, "END ", 4) == 0) break;
        if (memcmp(s.type, "RAM ", 4) != 0) rc = damaged(e, "a section");
        if (rc == 0) rc = read_body(read, arg, &s, body, e);
        if (rc == 0) rc = decode_chunk(ram, body, s.bytes, &c, e);
        if (rc == 0 && fn != NULL) rc = fn(ram, &c, e);
    }
    free(body);
    return rc;
}

int vmstate_verify_ram(struct vm *vm, vmstate_read_fn read, void *arg,
                       struct err *e)
{
    return for_each_chunk(vm, read, arg, NULL, e);
}

int vmstate_load_ram_locked(struct vm *vm, vmstate_read_fn read, void *arg,
                            struct err *e)
{
    struct mem_region *ram = vm_ram(vm);
    int rc;

    vm_park_locked(vm);
    /* What the stream leaves out is zero; fresh pages are, for nothing. */
    madvise(ram->host, ram->size, MADV_DONTNEED);
    rc = for_each_chunk(vm, read, arg, put_chunk, e);
    mem_replaced_locked(vm);
    vm_unpark_locked(vm);
    return rc;
}
