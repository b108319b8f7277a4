/* SPDX-License-Identifier: GPL-2.0-or-later */
/* link: monitor core block */
/*
 * The gdb stub without gdb: frames (checksum, escapes, cut off, too long),
 * packets against a machine of one CPU under the software CPU: registers,
 * memory, points, threads, going on and stopping; target descriptions agree
 * with the register packet; what no gdb sends is refused and nothing breaks.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "monitor/gdb_int.h"
#include "tests/unit/support/accel_rig.h"

/* ---- frames ---- */

static enum gdb_event feed(struct gdb_reader *r, const char *text)
{
    enum gdb_event last = GDB_NOTHING;

    for (; *text != '\0'; text++)
        last = gdb_reader_feed(r, (uint8_t)*text);
    return last;
}

static void a_frame_is_data_between_dollar_and_checksum(void **state)
{
    struct gdb_reader *r = calloc(1, sizeof(*r));

    (void)state;
    assert_int_equal(feed(r, "+"), GDB_ACK);
    assert_int_equal(feed(r, "-"), GDB_NAK);
    assert_int_equal(feed(r, "\3"), GDB_BREAK);
    assert_int_equal(feed(r, "noise"), GDB_NOTHING);
    assert_int_equal(feed(r, "$OK#9a"), GDB_PACKET); /* 'O' + 'K' = 0x9a */
    assert_int_equal(r->bytes, 2);
    assert_string_equal((char *)r->data, "OK");
    assert_int_equal(feed(r, "$#00"), GDB_PACKET);
    assert_int_equal(r->bytes, 0);
    assert_int_equal(feed(r, "$OK#9b"), GDB_DAMAGED);
    assert_int_equal(feed(r, "$OK#xy"), GDB_DAMAGED);
    /* Cut off by the next. */
    assert_int_equal(feed(r, "$half$OK#9A"), GDB_PACKET);
    assert_string_equal((char *)r->data, "OK");
    /* '}' and the next xor 0x20; a 3 inside is no Ctrl-C. */
    assert_int_equal(feed(r, "$}\3}]a#bb"), GDB_PACKET);
    assert_int_equal(r->bytes, 3);
    assert_memory_equal(r->data, "#}a", 3);
    free(r);
}

static void overlong_frames_are_damaged_not_stored(void **state)
{
    struct gdb_reader *r = calloc(1, sizeof(*r));

    (void)state;
    gdb_reader_feed(r, '$');
    for (unsigned i = 0; i < 3 * GDB_PACKET_MAX; i++)
        assert_int_equal(gdb_reader_feed(r, 'a'), GDB_NOTHING);
    assert_int_equal(r->bytes, GDB_PACKET_MAX);
    assert_int_equal(feed(r, "#00"), GDB_DAMAGED); /* 3 * 0x4000 * 'a' */
    assert_int_equal(feed(r, "$OK#9a"), GDB_PACKET);
    free(r);
}

static void what_is_framed_is_read_back(void **state)
{
    uint8_t all[256];
    struct gdb_reader *r = calloc(1, sizeof(*r));
    enum gdb_event ev = GDB_NOTHING;
    char *text;
    size_t bytes;
    FILE *f = open_memstream(&text, &bytes);

    (void)state;
    for (unsigned i = 0; i < sizeof(all); i++)
        all[i] = (uint8_t)i;
    gdb_frame(f, all, sizeof(all));
    fclose(f);
    for (size_t i = 0; i < bytes; i++)
        ev = gdb_reader_feed(r, (uint8_t)text[i]);
    assert_int_equal(ev, GDB_PACKET);
    assert_int_equal(r->bytes, sizeof(all));
    assert_memory_equal(r->data, all, sizeof(all));
    free(text);
    free(r);
}

/* ---- a machine ---- */

struct peer {
    struct rig *r;
    struct gdb *g;
    char got[3 * GDB_PACKET_MAX]; /* all since the last question */
    size_t bytes;
    char text[2 * GDB_PACKET_MAX]; /* the last answer's payload */
};

static void on_write(void *arg, const void *data, size_t bytes)
{
    struct peer *p = arg;

    if (bytes > sizeof(p->got) - 1 - p->bytes) p->bytes = 0;
    memcpy(p->got + p->bytes, data, bytes);
    p->bytes += bytes;
    p->got[p->bytes] = '\0';
}

static struct peer *connect_arch(enum gdb_arch arch)
{
    struct peer *p = calloc(1, sizeof(*p));
    struct err e = ERR_INIT;

    assert_non_null(p);
    p->r = accel_rig_new("soft");
    vm_unlock(p->r->vm);
    assert_int_equal(gdb_open(p->r->vm, arch, on_write, p, &p->g, &e), 0);
    gdb_connected(p->g, true);
    return p;
}

static void leave(struct peer *p)
{
    gdb_close(p->g);
    vm_lock(p->r->vm);
    vm_stop_locked(p->r->vm, RUN_PAUSED);
    accel_rig_free(p->r);
    free(p);
}

static void send_bytes(struct peer *p, const void *data, size_t bytes)
{
    char *text;
    size_t n;
    FILE *f = open_memstream(&text, &n);

    gdb_frame(f, data, bytes);
    fclose(f);
    p->bytes = 0;
    p->got[0] = '\0';
    gdb_input(p->g, (uint8_t *)text, n);
    free(text);
}

/* Payload of the last frame that came; NULL: none. */
static const char *answer(struct peer *p)
{
    const char *at = p->bytes > 0 ? memrchr(p->got, '$', p->bytes) : NULL;
    const char *end = at != NULL ? strchr(at, '#') : NULL;

    if (end == NULL) return NULL;
    memcpy(p->text, at + 1, (size_t)(end - at - 1));
    p->text[end - at - 1] = '\0';
    return p->text;
}

static const char *ask(struct peer *p, const char *text)
{
    send_bytes(p, text, strlen(text));
    return answer(p);
}

#define ASK(p, text, want) assert_string_equal(ask(p, text), want)

/* inc eax; jmp to itself, in 32-bit protected mode. */
static void load_loop(struct peer *p)
{
    static const uint8_t code[] = { 0x40, 0xeb, 0xfd };

    vm_lock(p->r->vm);
    set_up(p->r, code, sizeof(code));
    vm_unlock(p->r->vm);
}

static const char *wait_answer(struct peer *p)
{
    uint64_t end = loop_now_ns() + LIMIT_MS * UINT64_C(1000000);

    while (answer(p) == NULL && loop_now_ns() < end)
        loop_step(p->r->loop, 50);
    return answer(p);
}

static void acknowledgements_stop_when_asked(void **state)
{
    struct peer *p = connect_arch(GDB_ARCH_I386);

    (void)state;
    ask(p, "qC");
    assert_int_equal(p->got[0], '+');
    gdb_input(p->g, (const uint8_t *)"$qC#00", 6);
    assert_int_equal(p->got[p->bytes - 1], '-');
    /* Not understood there: the same again. */
    gdb_input(p->g, (const uint8_t *)"-", 1);
    assert_string_equal(answer(p), "QC1");
    ASK(p, "QStartNoAckMode", "OK");
    ask(p, "qC");
    assert_int_equal(p->got[0], '$');
    leave(p);
}

static void registers_are_read_and_written(void **state)
{
    struct peer *p = connect_arch(GDB_ARCH_I386);
    struct cpu *c = vm_vcpu(p->r->vm, 0)->cpu;

    (void)state;
    load_loop(p);
    ASK(p, "p8", "00100000"); /* eip = CODE */
    ASK(p, "pa", "08000000"); /* cs */
    ASK(p, "P0=78563412", "OK");
    assert_int_equal(c->gpr[GPR_AX], 0x12345678);
    ASK(p, "p0", "78563412");
    /* xmm3 and st1, as the vector state has them. */
    ASK(p, "P23=000102030405060708090a0b0c0d0e0f", "OK");
    ASK(p, "p23", "000102030405060708090a0b0c0d0e0f");
    ASK(p, "P11=00000000000000c0ff3f", "OK");
    ASK(p, "p11", "00000000000000c0ff3f");
    ASK(p, "p18", "40000000"); /* fctrl after reset, SDM 3A 9.1.1 */
    /* A selector without its descriptor. */
    ASK(p, "Pa=10000000", "E01");
    assert_int_equal(c->seg[SEG_CS].sel, 8);
    /* Flags a debugger may not invent. */
    ASK(p, "P9=ffffffff", "OK");
    assert_false(c->rflags & FLAG_VM);
    assert_true(c->rflags & FLAG_TF);
    ASK(p, "P9=02000000", "OK");
    ASK(p, "p3e7", "E16");
    ASK(p, "pffffffffffffffffff", "E16");
    ASK(p, "P0=1234", "E16");
    leave(p);
}

static unsigned count(const char *text, const char *what)
{
    unsigned n = 0;

    for (; (text = strstr(text, what)) != NULL; text++)
        n++;
    return n;
}

/* The bits of the description's registers are the octets of g. */
static void descriptions_agree_with_the_register_packet(void **state)
{
    static const enum gdb_arch arch[] = { GDB_ARCH_X86_64, GDB_ARCH_I386,
                                          GDB_ARCH_I8086 };
    static const char *const name[] = { "i386:x86-64", "i386", "i8086" };

    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        struct peer *p = connect_arch(arch[i]);
        char xml[64000] = "", line[100];
        size_t bits = 0;

        for (size_t at = 0;;) {
            const char *text;

            snprintf(line, sizeof(line),
                     "qXfer:features:read:target.xml:%zx,%x", at, 500);
            text = ask(p, line);
            assert_true(*text == 'm' || *text == 'l');
            assert_true(strlen(text) <= 501);
            strcat(xml, text + 1);
            at += strlen(text + 1);
            if (*text == 'l') break;
        }
        snprintf(line, sizeof(line), "<architecture>%s</architecture>",
                 name[i]);
        assert_non_null(strstr(xml, line));
        assert_int_equal(count(xml, "<feature "), count(xml, "</feature>"));
        for (const char *at = xml; (at = strstr(at, "bitsize=\"")); at++)
            bits += strtoul(at + 9, NULL, 10);
        assert_int_equal(strlen(ask(p, "g")), bits / 4);
        assert_string_equal(ask(p, "qXfer:features:read:target.xml:fffffff,10"),
                            "l");
        ASK(p, "qXfer:features:read:other.xml:0,10", "E00");
        leave(p);
    }
}

static void all_registers_go_out_and_come_back(void **state)
{
    struct peer *p = connect_arch(GDB_ARCH_X86_64);
    char *before, *packet;

    (void)state;
    load_loop(p);
    before = strdup(ask(p, "g"));
    assert_true(asprintf(&packet, "G%s", before) > 0);
    memset(packet + 1, '7', 16); /* rax */
    ASK(p, packet, "OK");
    memset(before, '7', 16);
    assert_string_equal(ask(p, "g"), before);
    free(before);
    free(packet);
    leave(p);
}

static void real_mode_addresses_are_linear(void **state)
{
    struct peer *p = connect_arch(GDB_ARCH_I8086);
    struct cpu *c = vm_vcpu(p->r->vm, 0)->cpu;

    (void)state;
    /* Fresh from reset: F000:FFF0 with the base at 4 GiB - 64 KiB. */
    ASK(p, "p8", "f0ffffff");
    ASK(p, "Pa=c0070000", "OK"); /* cs = 07c0 */
    assert_int_equal(c->seg[SEG_CS].base, 0x7c00);
    ASK(p, "P8=107c0000", "OK");
    assert_int_equal(c->rip, 0x10);
    leave(p);
}

static void memory_is_read_and_written_by_linear_address(void **state)
{
    struct peer *p = connect_arch(GDB_ARCH_I386);
    uint8_t *ram = vm_ram(p->r->vm)->host;
    static const uint8_t bin[] = "X5000,4:a#$}";

    (void)state;
    ram[0x4fff] = 0x11;
    ram[0x5000] = 0x22; /* across a page */
    ASK(p, "m4fff,2", "1122");
    ASK(p, "M4ffe,3:aabbcc", "OK");
    assert_memory_equal(ram + 0x4ffe, "\xaa\xbb\xcc", 3);
    send_bytes(p, bin, sizeof(bin) - 1);
    assert_string_equal(answer(p), "OK");
    assert_memory_equal(ram + 0x5000, "a#$}", 4);
    ASK(p, "m5000,0", "");
    ASK(p, "M5000,3:aabb", "E16");
    ASK(p, "X5000,ffff:a", "E16");
    ASK(p, "m5000", "E16");
    ASK(p, "m,", "E16");
    /* More than a packet holds: as much as fits. */
    assert_int_equal(strlen(ask(p, "m0,ffffffff")), GDB_PACKET_MAX);
    ASK(p, "qqemu.PhyMemMode", "0");
    ASK(p, "Qqemu.PhyMemMode:1", "OK");
    ASK(p, "qqemu.PhyMemMode", "1");
    ASK(p, "m5000,1", "61");
    ASK(p, "Qqemu.PhyMemMode:x", "E16");
    leave(p);
}

static void breakpoints_and_steps_stop_the_machine(void **state)
{
    struct peer *p = connect_arch(GDB_ARCH_I386);

    (void)state;
    load_loop(p);
    ASK(p, "Z0,1001,1", "OK");
    assert_null(ask(p, "c"));
    assert_string_equal(wait_answer(p), "T05thread:1;swbreak:;");
    ASK(p, "p8", "01100000");
    ASK(p, "z0,1001,1", "OK");
    ASK(p, "z0,1001,1", "OK"); /* gdb says some things twice */
    assert_null(ask(p, "vCont;s:1"));
    assert_string_equal(wait_answer(p), "T05thread:1;");
    ASK(p, "p8", "00100000");
    ASK(p, "Z1,1001,1", "OK");
    assert_null(ask(p, "vCont;c"));
    assert_string_equal(wait_answer(p), "T05thread:1;hwbreak:;");
    ASK(p, "z1,1001,1", "OK");
    assert_null(ask(p, "s"));
    assert_string_equal(wait_answer(p), "T05thread:1;");
    /* Ctrl-C. */
    assert_null(ask(p, "c"));
    gdb_input(p->g, (const uint8_t *)"\3", 1);
    assert_string_equal(wait_answer(p), "T02thread:1;");
    ASK(p, "?", "T02thread:1;");
    leave(p);
}

static void a_watchpoint_names_its_address(void **state)
{
    static const uint8_t code[] = {
        0xff, 0x05, 0x00, 0x50, 0x00, 0x00, /* 1: inc dword [0x5000] */
        0xeb, 0xf8,                         /* jmp 1b */
    };
    struct peer *p = connect_arch(GDB_ARCH_I386);

    (void)state;
    vm_lock(p->r->vm);
    set_up(p->r, code, sizeof(code));
    vm_unlock(p->r->vm);
    ASK(p, "Z2,5000,4", "OK");
    assert_null(ask(p, "c"));
    assert_string_equal(wait_answer(p), "T05thread:1;watch:5000;");
    ASK(p, "z2,5000,4", "OK");
    ASK(p, "Z4,5002,1", "OK");
    assert_null(ask(p, "c"));
    assert_string_equal(wait_answer(p), "T05thread:1;awatch:5002;");
    ASK(p, "Z2,5000,0", ""); /* nothing to watch */
    ASK(p, "Z5,5000,1", "");
    ASK(p, "Z0,5000", "E16");
    leave(p);
}

static void the_peer_that_leaves_takes_its_points_along(void **state)
{
    struct peer *p = connect_arch(GDB_ARCH_I386);

    (void)state;
    load_loop(p);
    ASK(p, "Z0,1001,1", "OK");
    assert_int_equal(vm_point_count(p->r->vm), 1);
    ASK(p, "D", "OK");
    assert_int_equal(vm_point_count(p->r->vm), 0);
    vm_lock(p->r->vm);
    assert_int_equal(vm_run_state(p->r->vm), RUN_RUNNING);
    vm_unlock(p->r->vm);
    gdb_connected(p->g, false);
    gdb_connected(p->g, true); /* stops it */
    ASK(p, "?", "T05thread:1;");
    gdb_connected(p->g, false);
    vm_lock(p->r->vm);
    assert_int_equal(vm_run_state(p->r->vm), RUN_RUNNING);
    vm_unlock(p->r->vm);
    leave(p);
}

static void a_gdb_that_waits_is_told_of_the_end(void **state)
{
    struct peer *p = connect_arch(GDB_ARCH_I386);

    (void)state;
    load_loop(p);
    assert_null(ask(p, "c"));
    gdb_exited(p->g);
    assert_string_equal(answer(p), "W00");
    leave(p);
}

static void threads_are_cpus(void **state)
{
    struct peer *p = connect_arch(GDB_ARCH_I386);

    (void)state;
    ASK(p, "qfThreadInfo", "m1");
    ASK(p, "qsThreadInfo", "l");
    ASK(p, "Hg1", "OK");
    ASK(p, "Hg0", "OK");
    ASK(p, "Hc-1", "OK");
    ASK(p, "Hg2", "E16");
    ASK(p, "Hgfffffffffffffffff", "E16");
    ASK(p, "Hx1", "E16");
    ASK(p, "T1", "OK");
    ASK(p, "T2", "E03");
    ASK(p, "qThreadExtraInfo,2", "E03");
    assert_true(strlen(ask(p, "qThreadExtraInfo,1")) > 10);
    ASK(p, "vCont?", "vCont;c;C;s;S");
    ASK(p, "vCont;s:9", "E22");
    ASK(p, "vCont;q", "E22");
    ASK(p, "vCont;", "E22");
    ASK(p, "vMustReplyEmpty", "");
    ASK(p, "", "");
    leave(p);
}

static void monitor_lines_come_back_in_console_packets(void **state)
{
    struct peer *p = connect_arch(GDB_ARCH_I386);

    (void)state;
    /* "nonsense" */
    ASK(p, "qRcmd,6e6f6e73656e7365", "OK");
    assert_non_null(strstr(p->got, "$O756e6b6e6f776e20")); /* "unknown " */
    ASK(p, "qRcmd,6", "E16");
    ASK(p, "qRcmd,6100", "E16");
    leave(p);
}

/* ---- hostile ---- */

static uint32_t random32(uint32_t *s)
{
    *s ^= *s << 13;
    *s ^= *s >> 17;
    *s ^= *s << 5;
    return *s;
}

static void random_packets_break_nothing(void **state)
{
    static const char *const words[] = {
        "g",         "G",        "p",        "P",      "m",      "M",
        "X",         "Z0,",      "z1,",      "Z2,",    "Z4,",    "Hg",
        "Hc",        "T",        "qfThread", "vCont;", "s:1",    "qXfer:",
        "features:", "read:",    "target.",  "xml:",   "qRcmd,", "?",
        "0",         "1",        "ffffffff", ",",      ":",      ";",
        "=",         "12345678", "-1",       "}",      "5000",   "00",
    };
    struct peer *p = connect_arch(GDB_ARCH_X86_64);
    uint32_t seed = 0x1234567;

    (void)state;
    load_loop(p);
    for (unsigned i = 0; i < 20000; i++) {
        char text[600] = "";
        size_t n = 0;

        for (unsigned k = random32(&seed) % 8 + 1; k-- > 0;) {
            const char *w =
                words[random32(&seed) % (sizeof(words) / sizeof(words[0]))];

            n += (size_t)snprintf(text + n, sizeof(text) - n, "%s", w);
        }
        for (unsigned k = random32(&seed) % 3; k-- > 0 && n > 1;)
            text[1 + random32(&seed) % (n - 1)] = (char)random32(&seed);
        send_bytes(p, text, n);
        if (i % 50 == 0) {
            uint8_t raw[40];

            for (unsigned k = 0; k < sizeof(raw); k++)
                raw[k] = (uint8_t)random32(&seed);
            gdb_input(p->g, raw, sizeof(raw));
            gdb_input(p->g, (const uint8_t *)"\3", 1);
        }
    }
    gdb_input(p->g, (const uint8_t *)"$#00\3", 5);
    ASK(p, "qC", "QC1");
    leave(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_frame_is_data_between_dollar_and_checksum),
        cmocka_unit_test(overlong_frames_are_damaged_not_stored),
        cmocka_unit_test(what_is_framed_is_read_back),
        cmocka_unit_test(acknowledgements_stop_when_asked),
        cmocka_unit_test(registers_are_read_and_written),
        cmocka_unit_test(descriptions_agree_with_the_register_packet),
        cmocka_unit_test(all_registers_go_out_and_come_back),
        cmocka_unit_test(real_mode_addresses_are_linear),
        cmocka_unit_test(memory_is_read_and_written_by_linear_address),
        cmocka_unit_test(breakpoints_and_steps_stop_the_machine),
        cmocka_unit_test(a_watchpoint_names_its_address),
        cmocka_unit_test(the_peer_that_leaves_takes_its_points_along),
        cmocka_unit_test(a_gdb_that_waits_is_told_of_the_end),
        cmocka_unit_test(threads_are_cpus),
        cmocka_unit_test(monitor_lines_come_back_in_console_packets),
        cmocka_unit_test(random_packets_break_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
