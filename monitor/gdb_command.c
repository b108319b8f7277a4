/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What gdb asks of a machine that stands still (and of one that runs: its
 * CPUs are parked meanwhile): registers, memory, points, threads, queries.
 * Packets: gdb manual, E.2 "Packets" and E.4 "General Query Packets".  An
 * empty reply means "not supported", Enn an error.
 */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/trace.h"
#include "core/cpu/mmu.h"
#include "core/vm/vm.h"
#include "monitor/command.h"
#include "monitor/gdb_int.h"

static void fail(struct gdb *g, int rc)
{
    char text[8];

    snprintf(text, sizeof(text), "E%02x", (unsigned)-rc & 0xff);
    gdb_reply(g, text);
}

/* Reply with what fn-like code wrote into a memory stream. */
struct answer {
    FILE *f;
    char *text;
    size_t bytes;
};

static bool begin(struct gdb *g, struct answer *a)
{
    a->text = NULL;
    a->f = open_memstream(&a->text, &a->bytes);
    if (a->f == NULL) fail(g, -ENOMEM);
    return a->f != NULL;
}

static void end(struct gdb *g, struct answer *a)
{
    fclose(a->f);
    gdb_reply_bytes(g, a->text, a->bytes);
    free(a->text);
}

/* ---- registers ---- */

static void put_register(const struct gdb *g, const struct cpu *c,
                         const struct gdb_register *r, FILE *out)
{
    uint8_t v[GDB_REGISTER_BYTES];
    size_t n = gdb_register_read(c, g->arch, r, v);

    gdb_put_hex(out, v, n);
}

static struct cpu *cpu_begin(struct gdb *g)
{
    struct cpu *c = monitor_cpu_begin(&g->session, g->cpu);

    if (c == NULL) fail(g, -ESRCH);
    return c;
}

static void cpu_changed(struct gdb *g)
{
    const struct vm_accel_ops *ops = vm_accel(g->vm, NULL);

    if (ops->vcpu_put != NULL) ops->vcpu_put(vm_vcpu(g->vm, g->cpu));
}

static void read_registers(struct gdb *g, const char *p)
{
    struct cpu *c = cpu_begin(g);
    const struct gdb_register *r;
    struct answer a;

    (void)p;
    if (c == NULL) return;
    if (begin(g, &a)) {
        for (unsigned n = 0; (r = gdb_register_at(g->arch, n)) != NULL; n++)
            put_register(g, c, r, a.f);
        end(g, &a);
    }
    monitor_cpu_end(&g->session);
}

static void read_register(struct gdb *g, const char *p)
{
    const struct gdb_register *r;
    struct answer a;
    struct cpu *c;
    uint64_t n;

    if (!gdb_get_number(&p, &n) || *p != '\0' || n > 1000 ||
        (r = gdb_register_at(g->arch, (unsigned)n)) == NULL) {
        fail(g, -EINVAL);
        return;
    }
    c = cpu_begin(g);
    if (c == NULL) return;
    if (begin(g, &a)) {
        put_register(g, c, r, a.f);
        end(g, &a);
    }
    monitor_cpu_end(&g->session);
}

/* All of them; those that may not be written are left as they are. */
static void write_registers(struct gdb *g, const char *p)
{
    const struct gdb_register *r;
    uint8_t v[GDB_REGISTER_BYTES];
    struct cpu *c = cpu_begin(g);

    if (c == NULL) return;
    for (unsigned n = 0; (r = gdb_register_at(g->arch, n)) != NULL; n++) {
        if (gdb_get_hex(&p, v, r->bits / 8u) != r->bits / 8u) break;
        gdb_register_write(c, g->arch, r, v);
    }
    cpu_changed(g);
    monitor_cpu_end(&g->session);
    gdb_reply(g, "OK");
}

static void write_register(struct gdb *g, const char *p)
{
    const struct gdb_register *r = NULL;
    uint8_t v[GDB_REGISTER_BYTES];
    struct cpu *c;
    uint64_t n;
    int rc;

    if (gdb_get_number(&p, &n) && n <= 1000)
        r = gdb_register_at(g->arch, (unsigned)n);
    if (r == NULL || *p++ != '=' ||
        gdb_get_hex(&p, v, r->bits / 8u) != r->bits / 8u) {
        fail(g, -EINVAL);
        return;
    }
    c = cpu_begin(g);
    if (c == NULL) return;
    rc = gdb_register_write(c, g->arch, r, v);
    if (rc == 0) cpu_changed(g);
    monitor_cpu_end(&g->session);
    if (rc < 0) {
        fail(g, rc);
    } else {
        gdb_reply(g, "OK");
    }
}

/* ---- memory ---- */

/* What is left of the page of lin, and where it is; false: nowhere. */
static bool find_page(struct gdb *g, struct cpu *c, uint64_t lin, uint64_t *gpa,
                      size_t *bytes)
{
    size_t room = 4096 - (lin & 4095);

    if (*bytes > room) *bytes = room;
    *gpa = lin;
    return g->is_physical || monitor_walk(g->vm, c, lin, gpa) == 0;
}

static enum mem_view view_of(const struct gdb *g, const struct cpu *c)
{
    return g->is_physical ? MEM_VIEW_NORMAL : cpu_mem_view(c);
}

static void read_memory(struct gdb *g, const char *p)
{
    uint8_t buf[GDB_PACKET_MAX / 2];
    uint64_t at, want, gpa;
    size_t done = 0;
    struct answer a;
    struct cpu *c;

    if (!gdb_get_number(&p, &at) || *p++ != ',' || !gdb_get_number(&p, &want)) {
        fail(g, -EINVAL);
        return;
    }
    if (want > sizeof(buf)) want = sizeof(buf);
    c = cpu_begin(g);
    if (c == NULL) return;
    while (done < want) {
        size_t n = want - done;

        if (!find_page(g, c, at + done, &gpa, &n)) break;
        mem_read_in_locked(g->vm, view_of(g, c), gpa, buf + done, n);
        done += n;
    }
    monitor_cpu_end(&g->session);
    if (done == 0 && want > 0) {
        fail(g, -EFAULT);
    } else if (begin(g, &a)) {
        gdb_put_hex(a.f, buf, done);
        end(g, &a);
    }
}

/* All or nothing, as far as mapping goes. */
static void store(struct gdb *g, uint64_t at, const uint8_t *data, size_t bytes)
{
    struct cpu *c = cpu_begin(g);
    uint64_t gpa;
    size_t n;

    if (c == NULL) return;
    for (size_t done = 0; done < bytes; done += n) {
        n = bytes - done;
        if (find_page(g, c, at + done, &gpa, &n)) continue;
        monitor_cpu_end(&g->session);
        fail(g, -EFAULT);
        return;
    }
    for (size_t done = 0; done < bytes; done += n) {
        n = bytes - done;
        find_page(g, c, at + done, &gpa, &n);
        mem_write_in_locked(g->vm, view_of(g, c), gpa, data + done, n);
    }
    monitor_cpu_end(&g->session);
    gdb_reply(g, "OK");
}

static bool get_range(const char **p, uint64_t *at, uint64_t *bytes)
{
    return gdb_get_number(p, at) && *(*p)++ == ',' &&
           gdb_get_number(p, bytes) && *(*p)++ == ':';
}

static void write_memory(struct gdb *g, const char *p)
{
    uint8_t buf[GDB_PACKET_MAX / 2];
    uint64_t at, bytes;

    if (!get_range(&p, &at, &bytes) || bytes > sizeof(buf) ||
        gdb_get_hex(&p, buf, bytes) != bytes) {
        fail(g, -EINVAL);
        return;
    }
    store(g, at, buf, bytes);
}

static void write_binary(struct gdb *g, const char *p, size_t left)
{
    const char *start = p;
    uint64_t at, bytes;

    if (!get_range(&p, &at, &bytes) || bytes > left - (size_t)(p - start)) {
        fail(g, -EINVAL);
        return;
    }
    store(g, at, (const uint8_t *)p, bytes);
}

/* ---- points ---- */

static void change_point(struct gdb *g, const char *p, bool is_added)
{
    static const enum vm_point_kind kind[] = { VM_BREAK_SOFT, VM_BREAK_HARD,
                                               VM_WATCH_WRITE, VM_WATCH_READ,
                                               VM_WATCH_ACCESS };
    struct vm_point pt;
    struct err e = ERR_INIT;
    int rc;

    if (p[0] < '0' || p[0] > '4' || p[1] != ',') {
        gdb_reply(g, "");
        return;
    }
    pt.kind = kind[p[0] - '0'];
    p += 2;
    if (!gdb_get_number(&p, &pt.lin) || *p++ != ',' ||
        !gdb_get_number(&p, &pt.bytes) || *p != '\0') {
        fail(g, -EINVAL);
        return;
    }
    if (pt.kind <= VM_BREAK_HARD) pt.bytes = 1; /* gdb gives the opcode's */
    rc = is_added ? vm_point_add_locked(g->vm, &pt, &e)
                  : vm_point_del_locked(g->vm, &pt);
    /* gdb may say the same twice. */
    if (rc == (is_added ? -EEXIST : -ENOENT)) rc = 0;
    if (rc == -EINVAL || rc == -ENOTSUP) {
        gdb_reply(g, ""); /* it then tries another kind */
    } else if (rc < 0) {
        fail(g, rc);
    } else {
        gdb_reply(g, "OK");
    }
}

static void add_point(struct gdb *g, const char *p)
{
    change_point(g, p, true);
}

static void del_point(struct gdb *g, const char *p)
{
    change_point(g, p, false);
}

/* ---- threads: vCPU n is thread n + 1 ---- */

/* "-1": all, "0": any, or a number.  False: there is none. */
static bool get_thread(struct gdb *g, const char *p, unsigned *cpu,
                       bool *is_all)
{
    uint64_t n;

    *is_all = strcmp(p, "-1") == 0;
    *cpu = 0;
    if (*is_all) return true;
    if (!gdb_get_number(&p, &n) || *p != '\0') return false;
    if (n > vm_vcpu_count(g->vm)) return false;
    *cpu = n > 0 ? (unsigned)n - 1 : g->cpu;
    return true;
}

static void choose_thread(struct gdb *g, const char *p)
{
    char what = *p;
    unsigned cpu;
    bool is_all;

    if ((what != 'g' && what != 'c') || !get_thread(g, p + 1, &cpu, &is_all)) {
        fail(g, -EINVAL);
        return;
    }
    if (what == 'g') {
        g->cpu = g->session.cpu = cpu;
    } else {
        g->run_cpu = is_all || p[1] == '0' ? GDB_ALL_CPUS : cpu;
    }
    gdb_reply(g, "OK");
}

static void is_thread_alive(struct gdb *g, const char *p)
{
    unsigned cpu;
    bool is_all;

    if (*p == '0' || !get_thread(g, p, &cpu, &is_all) || is_all) {
        fail(g, -ESRCH);
    } else {
        gdb_reply(g, "OK");
    }
}

static void list_threads(struct gdb *g, const char *p)
{
    struct answer a;

    (void)p;
    if (!begin(g, &a)) return;
    for (unsigned i = 0; i < vm_vcpu_count(g->vm); i++)
        fprintf(a.f, "%c%x", i == 0 ? 'm' : ',', i + 1);
    end(g, &a);
}

static void end_of_threads(struct gdb *g, const char *p)
{
    (void)p;
    gdb_reply(g, "l");
}

static void current_thread(struct gdb *g, const char *p)
{
    char text[16];

    (void)p;
    snprintf(text, sizeof(text), "QC%x", g->cpu + 1);
    gdb_reply(g, text);
}

static void describe_thread(struct gdb *g, const char *p)
{
    char text[48];
    struct answer a;
    unsigned cpu;
    bool is_all;

    if (*p == '\0' || !get_thread(g, p, &cpu, &is_all) || is_all) {
        fail(g, -ESRCH);
        return;
    }
    snprintf(text, sizeof(text), "CPU#%u [%s]", cpu,
             atomic_load(&vm_vcpu(g->vm, cpu)->is_halted) ? "halted"
                                                          : "running");
    if (!begin(g, &a)) return;
    gdb_put_hex(a.f, text, strlen(text));
    end(g, &a);
}

/* ---- queries ---- */

static void say_supported(struct gdb *g, const char *p)
{
    char text[200];

    (void)p;
    snprintf(text, sizeof(text),
             "PacketSize=%x;qXfer:features:read+;QStartNoAckMode+;swbreak+;"
             "hwbreak+;vContSupported+",
             GDB_PACKET_MAX);
    gdb_reply(g, text);
}

static void stop_acks(struct gdb *g, const char *p)
{
    (void)p;
    gdb_reply(g, "OK");
    g->is_no_ack = true;
}

static void say_attached(struct gdb *g, const char *p)
{
    (void)p;
    gdb_reply(g, "1"); /* quit detaches, it does not kill */
}

static void say_ok(struct gdb *g, const char *p)
{
    (void)p;
    gdb_reply(g, "OK");
}

static void say_nothing(struct gdb *g, const char *p)
{
    (void)p;
    gdb_reply(g, "");
}

static void read_features(struct gdb *g, const char *p)
{
    struct answer xml, a;
    uint64_t at, want;

    if (strncmp(p, "target.xml:", 11) != 0) {
        gdb_reply(g, "E00");
        return;
    }
    p += 11;
    if (!gdb_get_number(&p, &at) || *p++ != ',' || !gdb_get_number(&p, &want)) {
        fail(g, -EINVAL);
        return;
    }
    if (!begin(g, &xml)) return;
    gdb_print_target(g->arch, xml.f);
    fclose(xml.f);
    if (at > xml.bytes) at = xml.bytes;
    if (want > GDB_PACKET_MAX / 2) want = GDB_PACKET_MAX / 2;
    if (begin(g, &a)) {
        bool is_rest = want >= xml.bytes - at;
        size_t n = is_rest ? xml.bytes - at : want;

        fputc(is_rest ? 'l' : 'm', a.f);
        fwrite(xml.text + at, 1, n, a.f);
        end(g, &a);
    }
    free(xml.text);
}

/* monitor LINE: an HMP line, its answer in packets of the console. */
static void run_line(struct gdb *g, const char *p)
{
    uint8_t line[COMMAND_MAX_LINE];
    size_t n = gdb_get_hex(&p, line, sizeof(line) - 1);
    struct answer out, a;

    if (*p != '\0' || memchr(line, '\0', n) != NULL) {
        fail(g, -EINVAL);
        return;
    }
    line[n] = '\0';
    if (!begin(g, &out)) return;
    monitor_run_locked(&g->session, (char *)line, out.f);
    fclose(out.f);
    for (size_t at = 0; at < out.bytes; at += n) {
        n = out.bytes - at < GDB_PACKET_MAX / 4 ? out.bytes - at
                                                : GDB_PACKET_MAX / 4;
        if (!begin(g, &a)) break;
        fputc('O', a.f);
        gdb_put_hex(a.f, out.text + at, n);
        end(g, &a);
    }
    free(out.text);
    gdb_reply(g, "OK");
}

/* QEMU's names: m and M take guest-physical addresses. */
static void say_physical(struct gdb *g, const char *p)
{
    (void)p;
    gdb_reply(g, g->is_physical ? "1" : "0");
}

static void set_physical(struct gdb *g, const char *p)
{
    if ((*p != '0' && *p != '1') || p[1] != '\0') {
        fail(g, -EINVAL);
        return;
    }
    g->is_physical = *p == '1';
    gdb_reply(g, "OK");
}

static void list_vcont(struct gdb *g, const char *p)
{
    (void)p;
    gdb_reply(g, "vCont;c;C;s;S");
}

/* ---- ends ---- */

static void detach(struct gdb *g, const char *p)
{
    (void)p;
    gdb_reply(g, "OK");
    g->is_waiting = false;
    gdb_release_locked(g, true);
    g->is_detached = true;
}

static void kill_machine(struct gdb *g, const char *p)
{
    (void)p;
    g->is_closing = true;
    vm_request(g->vm, VM_REQ_QUIT);
}

static void kill_and_say(struct gdb *g, const char *p)
{
    gdb_reply(g, "OK");
    kill_machine(g, p);
}

static void why(struct gdb *g, const char *p)
{
    (void)p;
    gdb_stop_reply_locked(g);
}

/* Longer names before those they begin with. */
static const struct {
    const char *name;
    void (*fn)(struct gdb *g, const char *rest);
} packets[] = {
    { "QStartNoAckMode", stop_acks },
    { "Qqemu.PhyMemMode:", set_physical },
    { "qqemu.PhyMemMode", say_physical },
    { "qAttached", say_attached },
    { "qC", current_thread },
    { "qfThreadInfo", list_threads },
    { "qsThreadInfo", end_of_threads },
    { "qRcmd,", run_line },
    { "qSupported", say_supported },
    { "qSymbol", say_ok },
    { "qThreadExtraInfo,", describe_thread },
    { "qXfer:features:read:", read_features },
    { "q", say_nothing },
    { "Q", say_nothing },
    { "vCont?", list_vcont },
    { "vKill", kill_and_say },
    { "v", say_nothing },
    { "?", why },
    { "g", read_registers },
    { "G", write_registers },
    { "p", read_register },
    { "P", write_register },
    { "m", read_memory },
    { "M", write_memory },
    { "Z", add_point },
    { "z", del_point },
    { "H", choose_thread },
    { "T", is_thread_alive },
    { "D", detach },
    { "k", kill_machine },
};

void gdb_handle_locked(struct gdb *g, const char *p, size_t bytes)
{
    trace(TRACE_GDB_COMMAND, "%.100s", p);
    if (gdb_resume_locked(g, p)) return;
    if (*p == 'X') {
        write_binary(g, p + 1, bytes - 1);
        return;
    }
    for (unsigned i = 0; i < sizeof(packets) / sizeof(packets[0]); i++) {
        size_t n = strlen(packets[i].name);

        if (strncmp(p, packets[i].name, n) != 0) continue;
        packets[i].fn(g, p + n);
        return;
    }
    gdb_reply(g, "");
}
