/* SPDX-License-Identifier: GPL-2.0-or-later */
/* link: monitor hw core block */
/*
 * State of whole machines of every type: what is saved, loaded and saved again
 * is the same, octet by octet, after a reset, in the middle of the firmware
 * (under KVM, too), and with devices programmed at random; each device that
 * keeps anything is in it.  Hostile streams are refused and leave the machine
 * as it was.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "block/block.h"
#include "core/accel/accel.h"
#include "core/cpu/cpu.h"
#include "core/host/display.h"
#include "core/host/firmware.h"
#include "core/host/input.h"
#include "core/loop/loop.h"
#include "core/vm/clock.h"
#include "core/vm/port.h"
#include "core/vm/tsc.h"
#include "core/vm/vm.h"
#include "hw/machine.h"
#include "monitor/migrate_stream.h"
#include "monitor/vmstate.h"

enum { RAM_BYTES = 8 << 20, DISK_BYTES = 1 << 20, MUTATIONS = 60 };

/* What a test runs on; NULL: the default machine, the software CPU. */
struct kind {
    const char *machine, *accel;
};

struct rig {
    const struct kind *kind;
    struct vm_config cfg;
    struct loop *loop;
    struct vm *vm;
    struct display *display;
    struct drive_table *drives;
    char path[64];
    struct err e;
    bool has_bios;
    bool is_locked; /* so that a test that fails can be torn down */
};

static void lock(struct rig *r)
{
    vm_lock(r->vm);
    r->is_locked = true;
}

static void unlock(struct rig *r)
{
    r->is_locked = false;
    vm_unlock(r->vm);
}

static void add_drive(struct rig *r, const char *id, const char *file,
                      bool is_removable, bool is_cdrom)
{
    const struct blk_options o = { .format = "raw", .is_readonly = is_cdrom };
    struct drive *d;
    struct blk *b = NULL;

    if (file != NULL)
        assert_int_equal(blk_open(r->loop, file, &o, &b, &r->e), 0);
    assert_int_equal(
        drive_add(r->drives, id, is_removable, is_cdrom, b, &d, &r->e), 0);
}

static void make_machine(struct rig *r)
{
    const struct machine *m;
    char why[256];

    assert_int_equal(vm_create(&r->cfg, r->loop, &r->vm, &r->e), 0);
    assert_int_equal(display_create(r->vm, &r->display, &r->e), 0);
    assert_int_equal(drive_table_create(r->loop, &r->drives), 0);
    vm_lock(r->vm);
    vm_set_service(r->vm, "drives", r->drives);
    add_drive(r, "ide0-hd0", r->path, false, false);
    add_drive(r, "ide1-cd0", NULL, true, true);
    add_drive(r, "floppy0", NULL, true, false);
    vm_unlock(r->vm);
    if (accel_open(r->vm, r->kind->accel, why, sizeof(why), &r->e) < 0)
        fail_msg("%s", r->e.text);
    assert_int_equal(machine_select(r->kind->machine, &m, &r->e), 0);
    vm_lock(r->vm);
    if (m->init(r->vm, &r->e) < 0) fail_msg("%s", r->e.text);
    vm_reset_locked(r->vm);
    vm_unlock(r->vm);
}

static int setup(void **state)
{
    static char hd[] = "ide0-hd0", cd[] = "ide1-cd0", floppy[] = "floppy0";
    static const struct kind usual = { NULL, "soft" };
    struct rig *r = calloc(1, sizeof(*r));
    char found[256];
    int fd;

    if (r == NULL || loop_create(&r->loop, &r->e) < 0) return -1;
    r->kind = *state != NULL ? *state : &usual;
    strcpy(r->path, "/tmp/orrery-vmstate-XXXXXX");
    fd = mkstemp(r->path);
    if (fd < 0 || ftruncate(fd, DISK_BYTES) < 0) return -1;
    close(fd);
    r->cfg = (struct vm_config){ .ram_bytes = RAM_BYTES,
                                 .cpus = 2,
                                 .boot_splash_ms = -1,
                                 .rtc_base_s = 951825599 };
    r->cfg.drive[0] =
        (struct drive_config){ .iface = DRIVE_IDE, .index = 0, .id = hd };
    r->cfg.drive[1] = (struct drive_config){
        .iface = DRIVE_IDE, .index = 2, .is_cdrom = true, .id = cd
    };
    r->cfg.drive[2] = (struct drive_config){ .iface = DRIVE_FLOPPY,
                                             .index = 0,
                                             .id = floppy };
    r->cfg.drive_count = 3;
    r->has_bios =
        firmware_find(NULL, "bios-256k.bin", found, sizeof(found), NULL) == 0;
    r->cfg.machine = (char *)(uintptr_t)r->kind->machine;
    if (!r->has_bios)
        print_message("no firmware: install the package seabios\n");
    else if (strcmp(r->kind->accel, "kvm") == 0 &&
             access("/dev/kvm", R_OK | W_OK))
        print_message("no /dev/kvm that may be opened\n");
    else
        make_machine(r);
    r->has_bios = r->vm != NULL;
    *state = r;
    return 0;
}

static int teardown(void **state)
{
    struct rig *r = *state;

    if (r->vm != NULL) {
        if (r->is_locked) unlock(r);
        loop_step(r->loop, 0); /* what devices asked for */
        vm_lock(r->vm);
        vm_stop_locked(r->vm, RUN_SHUTDOWN);
        input_destroy(vm_service(r->vm, "input"));
        vm_unlock(r->vm);
        display_detach(r->display);
        vm_destroy(r->vm);
        drive_table_destroy(r->drives);
        display_destroy(r->display);
    }
    unlink(r->path);
    loop_step(r->loop, 0);
    loop_destroy(r->loop);
    free(r);
    return 0;
}

/* ------------------------------------------------- streams in memory */

struct source {
    const uint8_t *data;
    size_t bytes, pos;
};

static int take(void *arg, void *data, size_t bytes)
{
    struct source *s = arg;

    if (bytes > s->bytes - s->pos) return -ENODATA;
    memcpy(data, s->data + s->pos, bytes);
    s->pos += bytes;
    return 0;
}

/* Without memory. */
static struct state_out save(struct rig *r)
{
    struct state_out out = { .data = NULL };

    for (struct drive *d = drive_next(r->drives, NULL); d != NULL;
         d = drive_next(r->drives, d)) {
        if (drive_blk(d) != NULL) blk_drain(drive_blk(d));
    }
    vmstate_prepare_locked(r->vm);
    if (vmstate_capture(r->vm, &out, "", &r->e) < 0) fail_msg("%s", r->e.text);
    return out;
}

static int load(struct rig *r, const uint8_t *data, size_t bytes)
{
    struct source s = { .data = data, .bytes = bytes };
    struct vmstate_head h = { .cpus = NULL };
    int rc;

    r->e = (struct err)ERR_INIT;
    rc = vmstate_read_head(r->vm, take, &s, &h, &r->e);
    if (rc == 0) rc = vmstate_restore_locked(r->vm, &h, &r->e);
    vmstate_head_free(&h);
    return rc;
}

/* Device and field in which two DEVS sections begin to differ. */
static void name_difference(const uint8_t *a, const uint8_t *b, size_t bytes,
                            char *text, size_t cap)
{
    const uint8_t *at = a, *end = a + bytes;

    while (end - at > 9) {
        size_t n = at[0];
        const uint8_t *f = at + 9 + n, *next;
        uint32_t len;

        memcpy(&len, f - 4, 4);
        next = f + len;
        while (f < next) {
            size_t key = f[0];
            uint32_t field;

            memcpy(&field, f + key + 2, 4);
            if (memcmp(f, b + (f - a), key + 6 + field) != 0) {
                snprintf(text, cap, "%.*s: field %.*s (%u octets)", (int)n,
                         (const char *)at + 1, (int)key, (const char *)f + 1,
                         field);
                return;
            }
            f += key + 6 + field;
        }
        at = next;
    }
    snprintf(text, cap, "no device");
}

static void assert_same(const struct state_out *a, const struct state_out *b)
{
    const uint8_t *devs;
    char text[200] = "";
    size_t skip;

    assert_int_equal(a->bytes, b->bytes);
    if (memcmp(a->data, b->data, a->bytes) == 0) return;
    devs = memmem(a->data, a->bytes, "DEVS", 4);
    assert_non_null(devs);
    skip = (size_t)(devs - a->data);
    if (memcmp(a->data, b->data, skip) != 0)
        fail_msg("head or CPUs differ before octet %zu", skip);
    skip += 16;
    name_difference(a->data + skip, b->data + skip, a->bytes - skip, text,
                    sizeof(text));
    fail_msg("%s", text);
}

/* Saved, loaded, saved: the same; loaded again over whatever: the same. */
static void assert_round_trip(struct rig *r)
{
    struct state_out a, b, c;

    a = save(r);
    if (load(r, a.data, a.bytes) < 0) fail_msg("%s", r->e.text);
    b = save(r);
    assert_same(&a, &b);
    vm_reset_locked(r->vm);
    if (load(r, a.data, a.bytes) < 0) fail_msg("%s", r->e.text);
    c = save(r);
    assert_same(&a, &c);
    state_out_free(&a);
    state_out_free(&b);
    state_out_free(&c);
}

/* Let the firmware work until guest time is that. */
static void run_until(struct rig *r, uint64_t ns)
{
    vm_start_locked(r->vm);
    while (clock_now_ns(r->vm) < ns) {
        vm_unlock(r->vm);
        loop_step(r->loop, 10);
        vm_lock(r->vm);
    }
    vm_stop_locked(r->vm, RUN_PAUSED);
}

/* ------------------------------------------------------------- devices */

static uint32_t next_random(uint32_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 17;
    *seed ^= *seed << 5;
    return *seed;
}

struct ports {
    struct vm *vm;
    uint32_t seed;
    unsigned rounds;
};

/* Octets to every port of a device, more to those that select and take data;
 * not to those that move other ports away or end the machine. */
static void program(void *arg, unsigned first, unsigned count, const char *name)
{
    struct ports *p = arg;

    (void)name;
    if (count > 256 || (first <= 0xcff && first + count > 0xcf8)) return;
    for (unsigned i = 0; i < p->rounds; i++) {
        uint32_t x = next_random(&p->seed);
        unsigned port = first + x % count;

        if (x & 0x1000)
            port_read_locked(p->vm, port, 1);
        else
            port_write_locked(p->vm, port, x & 0x2000 ? 2 : 1, x >> 16);
    }
}

/* Registers in memory: local APIC, I/O APIC, HPET, the VGA's planes. */
static void program_memory(struct rig *r, uint32_t seed, unsigned rounds)
{
    static const struct {
        gpa_t base;
        uint32_t bytes;
    } row[] = { { 0xfec00000, 0x20 },
                { 0xfed00000, 0x200 },
                { 0xa0000, 0x20000 } };

    for (unsigned k = 0; k < sizeof(row) / sizeof(row[0]); k++) {
        for (unsigned i = 0; i < rounds * 8; i++) {
            uint32_t at = next_random(&seed) % row[k].bytes & ~3u;
            uint32_t v = next_random(&seed);

            mem_write_locked(r->vm, row[k].base + at, &v, sizeof(v));
        }
    }
}

static void a_reset_machine_is_saved_as_it_is(void **state)
{
    struct rig *r = *state;

    if (!r->has_bios) skip();
    lock(r);
    assert_round_trip(r);
    unlock(r);
}

static void a_machine_amid_its_firmware_is_saved_as_it_is(void **state)
{
    struct rig *r = *state;

    if (!r->has_bios) skip();
    lock(r);
    for (unsigned i = 1; i <= 8; i++) {
        run_until(r, i * 50000000u);
        assert_round_trip(r);
    }
    unlock(r);
}

static void devices_programmed_at_random_are_saved_as_they_are(void **state)
{
    struct rig *r = *state;

    if (!r->has_bios) skip();
    lock(r);
    for (uint32_t seed = 1; seed <= 20; seed++) {
        struct ports p = { .vm = r->vm,
                           .seed = seed * 2654435761u,
                           .rounds = 1 + seed % 9 };

        if (seed % 7 == 0) vm_reset_locked(r->vm);
        port_for_each_locked(r->vm, program, &p);
        program_memory(r, seed, p.rounds);
        clock_set_ns_locked(r->vm, clock_now_ns(r->vm) + seed * 12345);
        assert_round_trip(r);
    }
    unlock(r);
}

/* Classes that keep nothing the guest could see. */
static bool keeps_nothing(const struct dev_class *c)
{
    static const char *const names[] = {
        "machine",        "isa-debugcon",
        "isa-debug-exit", "ide-hd", /* with the units of their controllers */
        "ide-cd",         "floppy",
    };

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strcmp(c->name, names[i]) == 0) return true;
    return c->size == 0;
}

struct census {
    const struct state_out *out;
    unsigned devices, fields;
};

/* In the stream: u8 octets of the id, the id, and each field's key. */
static int count_device(struct dev *d, void *arg)
{
    struct census *c = arg;
    char key[64];
    size_t n = strlen(d->id);

    if (d->cls->state == NULL) {
        if (!keeps_nothing(d->cls))
            fail_msg("%s (%s) has no state table", d->id, d->cls->name);
        return 0;
    }
    key[0] = (char)n;
    memcpy(key + 1, d->id, n);
    if (memmem(c->out->data, c->out->bytes, key, n + 1) == NULL)
        fail_msg("%s is not in the state", d->id);
    c->devices++;
    for (const struct field *f = d->cls->state; f->type != FIELD_END; f++) {
        n = strlen(f->key);
        key[0] = (char)n;
        memcpy(key + 1, f->key, n);
        if (memmem(c->out->data, c->out->bytes, key, n + 1) == NULL)
            fail_msg("%s: field %s is not in the state", d->id, f->key);
        c->fields++;
    }
    return 0;
}

static void every_device_of_the_machine_is_in_its_state(void **state)
{
    struct rig *r = *state;
    struct census c = { .devices = 0 };
    struct state_out out;

    if (!r->has_bios) skip();
    lock(r);
    out = save(r);
    c.out = &out;
    dev_for_each(vm_root(r->vm), count_device, &c);
    unlock(r);
    state_out_free(&out);
    print_message("%s: %u devices, %u fields\n",
                  r->kind->machine != NULL ? r->kind->machine : "default",
                  c.devices, c.fields);
    assert_true(c.devices > 0);
}

/* ------------------------------------------------------------- hostile */

struct section_head {
    char type[4];
    uint32_t crc;
    uint64_t bytes;
};

/* Make the checksums right again, so that what is behind them is reached. */
static void sign(struct state_out *o)
{
    size_t at = 12; /* magic, version */

    while (o->bytes - at >= sizeof(struct section_head)) {
        struct section_head s;

        memcpy(&s, o->data + at, sizeof(s));
        if (s.bytes > o->bytes - at - sizeof(s)) return;
        s.crc = migrate_crc(o->data + at + sizeof(s), s.bytes);
        memcpy(o->data + at, &s, sizeof(s));
        at += sizeof(s) + s.bytes;
    }
}

/* Where one octet matters most: not in the picture memory. */
static size_t place(const struct state_out *o, uint32_t *seed)
{
    const size_t first = o->bytes < 65536 ? o->bytes : 65536;

    return next_random(seed) % 4 != 0 ? next_random(seed) % first
                                      : next_random(seed) % o->bytes;
}

static void mutate(struct state_out *o, uint32_t *seed)
{
    static const uint8_t interesting[] = { 0, 1, 0x7f, 0x80, 0xff };
    unsigned changes = 1 + next_random(seed) % 4;

    while (changes-- > 0) {
        size_t at = place(o, seed);

        switch (next_random(seed) % 4) {
        case 0: o->data[at] ^= (uint8_t)(1u << next_random(seed) % 8); break;
        case 1: o->data[at] = interesting[next_random(seed) % 5]; break;
        case 2: o->data[at] = (uint8_t)next_random(seed); break;
        default:
            if (next_random(seed) % 8 == 0) o->bytes = at + 1;
            break;
        }
    }
}

/* After a firmware's work; a refusal leaves everything as it was, and what is
 * taken can be saved again. */
static void hostile_streams_are_refused_or_harmless(void **state)
{
    struct rig *r = *state;
    struct state_out good;
    unsigned refused = 0, taken = 0;

    if (!r->has_bios) skip();
    lock(r);
    run_until(r, 200000000);
    good = save(r);
    for (uint32_t i = 1; i <= MUTATIONS; i++) {
        struct state_out bad = { .data = NULL }, after;
        uint32_t seed = i * 2654435761u;
        int rc;

        state_append(&bad, good.data, good.bytes);
        mutate(&bad, &seed);
        sign(&bad);
        rc = load(r, bad.data, bad.bytes);
        after = save(r);
        if (rc < 0) {
            refused++;
            assert_true(r->e.text[0] != '\0');
            assert_same(&good, &after);
        } else {
            taken++;
            if (i % 16 == 0) run_until(r, clock_now_ns(r->vm) + 1000000);
            if (load(r, good.data, good.bytes) < 0) fail_msg("%s", r->e.text);
        }
        state_out_free(&after);
        state_out_free(&bad);
    }
    unlock(r);
    state_out_free(&good);
    print_message("%u refused, %u taken\n", refused, taken);
    assert_true(refused > 0 && taken > 0);
}

/* What META says of the counter, times num / den; as many digits. */
static uint64_t change_khz(struct state_out *o, uint64_t num, uint64_t den)
{
    char *at = memmem(o->data, o->bytes, "tsc_khz=", 8), *end, text[24];
    uint64_t khz;

    assert_non_null(at);
    at += 8;
    khz = strtoull(at, &end, 10) * num / den;
    snprintf(text, sizeof(text), "%0*llu", (int)(end - at),
             (unsigned long long)khz);
    assert_int_equal(strlen(text), end - at);
    memcpy(at, text, (size_t)(end - at));
    sign(o);
    return khz;
}

/* Ticks of the guest's counter in a while of the host's clock, in kHz. */
static uint64_t measure_khz(struct rig *r)
{
    const struct vm_tsc *tsc = vm_service(r->vm, "tsc");
    uint64_t ns0 = loop_now_ns(), t0 = tsc->read(tsc->arg, 0), ns1, t1;

    do {
        ns1 = loop_now_ns();
        t1 = tsc->read(tsc->arg, 0);
    } while (ns1 - ns0 < 50000000);
    return (t1 - t0) * 1000000 / (ns1 - ns0);
}

/* again: rdtsc; mov [0500], eax; mov [0504], edx; jmp again */
static void read_counter_from_now_on(struct rig *r)
{
    static const uint8_t code[] = { 0x0f, 0x31, 0x66, 0xa3, 0x00, 0x05, 0x66,
                                    0x89, 0x16, 0x04, 0x05, 0xeb, 0xf3 };
    struct vcpu *v = vm_vcpu(r->vm, 0);

    memcpy(vm_ram(r->vm)->host + 0x7c00, code, sizeof(code));
    v->cpu->seg[SEG_CS].base = 0;
    v->cpu->seg[SEG_CS].sel = 0;
    v->cpu->seg[SEG_DS].base = 0;
    v->cpu->seg[SEG_DS].sel = 0;
    v->cpu->rip = 0x7c00;
    v->cpu->rflags = 2;
    vm_accel(r->vm, NULL)->vcpu_put(v);
}

static void counters_go_on_as_fast_as_the_guest_knows_them(void **state)
{
    struct rig *r = *state;
    const struct vm_accel_ops *ops;
    struct state_out good, other = { .data = NULL };
    uint64_t host_khz, khz, seen, now;

    if (!r->has_bios) skip();
    lock(r);
    ops = vm_accel(r->vm, NULL);
    host_khz = ops->tsc_khz(r->vm);
    good = save(r);
    for (unsigned i = 1; i <= 3; i += 2) {
        other = (struct state_out){ .data = NULL };
        state_append(&other, good.data, good.bytes);
        khz = change_khz(&other, i, 2);
        if (load(r, other.data, other.bytes) < 0) fail_msg("%s", r->e.text);
        assert_int_equal(ops->tsc_khz(r->vm), khz);
        assert_in_range(measure_khz(r), khz - khz / 100, khz + khz / 100);
        /* The guest reads the same, and goes on from where it was. */
        now = ops->tsc(vm_vcpu(r->vm, 0));
        read_counter_from_now_on(r);
        run_until(r, clock_now_ns(r->vm) + 30000000);
        memcpy(&seen, vm_ram(r->vm)->host + 0x500, 8);
        assert_in_range(seen, now + 1, ops->tsc(vm_vcpu(r->vm, 0)));
        assert_true(seen > now + khz * 20);
        assert_true(seen < now + khz * 20000);
        state_out_free(&other);
        other = save(r); /* and is saved so */
        assert_int_equal(change_khz(&other, 1, 1), khz);
        state_out_free(&other);
    }
    if (load(r, good.data, good.bytes) < 0) fail_msg("%s", r->e.text);
    assert_int_equal(ops->tsc_khz(r->vm), host_khz);
    assert_in_range(measure_khz(r), host_khz - host_khz / 100,
                    host_khz + host_khz / 100);
    unlock(r);
    state_out_free(&good);
}

static void a_stream_cut_anywhere_is_refused(void **state)
{
    struct rig *r = *state;
    struct state_out good;

    if (!r->has_bios) skip();
    lock(r);
    good = save(r);
    for (size_t cut = 0; cut < good.bytes; cut += 1 + cut / 2) {
        struct state_out after;

        assert_true(load(r, good.data, cut) < 0);
        after = save(r);
        assert_same(&good, &after);
        state_out_free(&after);
    }
    unlock(r);
    state_out_free(&good);
}

/* -------------------------------------------------------------- memory */

static int put(void *arg, const void *data, size_t bytes)
{
    struct state_out *o = arg;

    state_append(o, data, bytes);
    return o->status;
}

/* Pieces that compress, that do not, and zeros. */
static struct state_out fill_memory(struct rig *r, uint8_t **copy)
{
    struct mem_region *ram = vm_ram(r->vm);
    struct state_out out = { .data = NULL };
    uint32_t seed = 12345;

    memset(ram->host, 0, ram->size);
    for (size_t i = 0; i < 1500000; i++)
        ram->host[(1 << 20) + i] = (uint8_t)next_random(&seed);
    memset(ram->host + (5 << 20) + 77, 0x5a, 100000);
    ram->host[ram->size - 1] = 9;
    *copy = malloc(ram->size);
    assert_non_null(*copy);
    memcpy(*copy, ram->host, ram->size);
    assert_int_equal(vmstate_write_ram(ram->host, ram->size, put, &out), 0);
    return out;
}

/* As the frozen copy of a machine makes them: in any order, by two packers,
 * faster and slower; what does not get smaller goes as it is. */
static void pieces_come_back_in_any_order(void **state)
{
    struct rig *r = *state;
    struct vmstate_packer *p[2] = { vmstate_packer_new(),
                                    vmstate_packer_new() };
    struct state_out whole, out = { .data = NULL };
    uint8_t *to = malloc(VMSTATE_PIECE_ROOM), *copy, *fresh;
    struct mem_region *ram;
    struct source s;

    if (!r->has_bios) skip();
    lock(r);
    ram = vm_ram(r->vm);
    whole = fill_memory(r, &copy);
    for (uint64_t i = ram->size / VMSTATE_PIECE_BYTES; i-- > 0;) {
        size_t n;

        vmstate_packer_set(p[i % 2], (unsigned)i % (VMSTATE_GEARS + 1));
        n = vmstate_pack_ram(p[i % 2], to, ram->host, i * VMSTATE_PIECE_BYTES,
                             VMSTATE_PIECE_BYTES);
        assert_in_range(n, 32, VMSTATE_PIECE_ROOM);
        if (i == 0 || i == 4) assert_int_equal(n, 32);             /* zeros */
        if (i == 1) assert_int_equal(n, 32 + VMSTATE_PIECE_BYTES); /* random */
        if (i == 5) assert_true(n < 2000);
        put(&out, to, n);
    }
    put(&out, to, vmstate_pack_end(to));
    s = (struct source){ out.data, out.bytes, 0 };
    assert_int_equal(vmstate_read_ram(ram, take, &s, NULL, NULL, &fresh, &r->e),
                     0);
    assert_memory_equal(fresh, copy, ram->size);
    vmstate_drop_ram(ram, fresh);
    unlock(r);
    vmstate_packer_free(p[0]);
    vmstate_packer_free(p[1]);
    state_out_free(&whole);
    state_out_free(&out);
    free(copy);
    free(to);
}

static void memory_comes_back_either_way(void **state)
{
    struct rig *r = *state;
    struct source s;
    struct state_out out;
    struct mem_region *ram;
    uint8_t *copy, *fresh, *host;

    if (!r->has_bios) skip();
    lock(r);
    ram = vm_ram(r->vm);
    host = ram->host;
    out = fill_memory(r, &copy);
    memset(ram->host, 0xee, ram->size);
    s = (struct source){ out.data, out.bytes, 0 };
    assert_int_equal(vmstate_read_ram(ram, take, &s, NULL, NULL, &fresh, &r->e),
                     0);
    assert_int_equal(ram->host[5 << 20], 0xee); /* not touched yet */
    vmstate_take_ram_locked(r->vm, fresh);
    assert_ptr_equal(ram->host, host);
    assert_memory_equal(ram->host, copy, ram->size);
    /* The way of a host without room for both. */
    memset(ram->host, 0xee, ram->size);
    s.pos = 0;
    assert_int_equal(vmstate_verify_ram(r->vm, take, &s, &r->e), 0);
    assert_int_equal(ram->host[5 << 20], 0xee);
    s.pos = 0;
    assert_int_equal(vmstate_load_ram_locked(r->vm, take, &s, &r->e), 0);
    assert_memory_equal(ram->host, copy, ram->size);
    unlock(r);
    free(copy);
    state_out_free(&out);
}

static void damaged_memory_is_refused_and_changes_nothing(void **state)
{
    struct rig *r = *state;
    _Atomic bool stop = true;
    struct state_out out;
    struct mem_region *ram;
    struct source s;
    uint8_t *copy, *fresh;
    uint32_t seed = 99;

    if (!r->has_bios) skip();
    lock(r);
    ram = vm_ram(r->vm);
    out = fill_memory(r, &copy);
    for (unsigned i = 0; i < 60; i++) {
        size_t at = i < 20 ? i : next_random(&seed) % (out.bytes - 16);
        bool is_cut = i % 10 == 9;

        out.data[at] ^= 0x41;
        s = (struct source){ out.data, is_cut ? at : out.bytes, 0 };
        assert_true(vmstate_read_ram(ram, take, &s, NULL, NULL, &fresh, &r->e) <
                    0);
        assert_null(fresh);
        s.pos = 0;
        assert_true(vmstate_verify_ram(r->vm, take, &s, &r->e) < 0);
        out.data[at] ^= 0x41;
    }
    s = (struct source){ out.data, out.bytes, 0 };
    assert_int_equal(
        vmstate_read_ram(ram, take, &s, NULL, &stop, &fresh, &r->e),
        -ECANCELED);
    assert_memory_equal(ram->host, copy, ram->size);
    assert_false(vmstate_has_room(UINT64_MAX / 2));
    unlock(r);
    free(copy);
    state_out_free(&out);
}

enum { MAX_TESTS = 64 };

int main(void)
{
#define T(f)     cmocka_unit_test_setup_teardown(f, setup, teardown)
#define ON(k, f) cmocka_unit_test_prestate_setup_teardown(f, setup, teardown, k)
    static struct kind kind[MAX_TESTS];
    static const struct kind kvm = { NULL, "kvm" };
    struct CMUnitTest tests[MAX_TESTS] = {
        T(hostile_streams_are_refused_or_harmless),
        T(counters_go_on_as_fast_as_the_guest_knows_them),
        T(a_stream_cut_anywhere_is_refused),
        T(pieces_come_back_in_any_order),
        T(memory_comes_back_either_way),
        T(damaged_memory_is_refused_and_changes_nothing),
        ON((void *)(uintptr_t)&kvm, a_reset_machine_is_saved_as_it_is),
        ON((void *)(uintptr_t)&kvm,
           a_machine_amid_its_firmware_is_saved_as_it_is),
        ON((void *)(uintptr_t)&kvm,
           every_device_of_the_machine_is_in_its_state),
    };
    size_t count = 9;

    for (const struct machine *m = machine_table;
         m->name != NULL && count + 4 <= MAX_TESTS; m++) {
        struct kind *k = &kind[m - machine_table];
        const struct CMUnitTest each[] = {
            ON(k, every_device_of_the_machine_is_in_its_state),
            ON(k, a_reset_machine_is_saved_as_it_is),
            ON(k, a_machine_amid_its_firmware_is_saved_as_it_is),
            ON(k, devices_programmed_at_random_are_saved_as_they_are),
        };

        *k = (struct kind){ m->name, "soft" };
        memcpy(tests + count, each, sizeof(each));
        count += 4;
    }
    return _cmocka_run_group_tests("vmstate", tests, count, NULL, NULL);
}
