/* SPDX-License-Identifier: GPL-2.0-or-later */
/* link: hw core */
/* 16550A against the PC16550D data sheet; parallel port and debug ports. */
#include "tests/unit/support/chips_rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/host/chardev.h"
#include "core/host/chardev_int.h"
#include "core/loop/loop.h"
#include "core/vm/port.h"
#include "core/vm/vm.h"
#include "hw/chips/chips.h"

struct serial {
    struct rig *r;
    struct chardev *chr;
    char path[64];
    struct dev *d;
};

/* A character device whose output goes to a file. */
static struct chardev *make_chardev(struct rig *r, char *path)
{
    struct chardev *chr = NULL;
    struct err e = ERR_INIT;
    char spec[80];
    int fd;

    strcpy(path, P_tmpdir "/orrery-test-XXXXXX");
    fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    snprintf(spec, sizeof(spec), "file:%s", path);
    if (chardev_open(r->loop, "c0", spec, &chr, &e) < 0) fail_msg("%s", e.text);
    assert_int_equal(chardev_register(r->vm, chr, &e), 0);
    return chr;
}

static int setup(void **state)
{
    struct serial *s = calloc(1, sizeof(*s));
    void *rig = NULL;

    if (s == NULL || rig_setup(&rig) < 0) return -1;
    s->r = rig;
    s->chr = make_chardev(s->r, s->path);
    *state = s;
    return 0;
}

static int teardown(void **state)
{
    struct serial *s = *state;
    void *rig = s->r;

    if (s->d != NULL) dev_remove(s->d);
    chardev_close(s->chr);
    unlink(s->path);
    free(s);
    return rig_teardown(&rig);
}

static void make_uart(struct serial *s)
{
    s->d = rig_add_with(s->r, &uart_class, "chardev", "c0", NULL);
    uart_connect(s->d, rig_line(s->r, 4));
}

static void expect_output(struct serial *s, const char *want)
{
    char text[256] = "";
    FILE *f = fopen(s->path, "r");

    assert_non_null(f);
    text[fread(text, 1, sizeof(text) - 1, f)] = '\0';
    fclose(f);
    assert_string_equal(text, want);
}

static void receive(struct serial *s, const char *text)
{
    vm_unlock(s->r->vm); /* as the loop thread does it */
    chardev_deliver(s->chr, (const uint8_t *)text, strlen(text));
    vm_lock(s->r->vm);
}

static unsigned in(struct serial *s, unsigned reg)
{
    return rig_in(s->r, 0x3f8 + reg);
}

static void out(struct serial *s, unsigned reg, unsigned v)
{
    rig_out(s->r, 0x3f8 + reg, v);
}

static void registers_reset_as_table_i_says(void **state)
{
    struct serial *s = *state;

    make_uart(s);
    assert_int_equal(in(s, 1), 0x00);
    assert_int_equal(in(s, 2), 0x01);
    assert_int_equal(in(s, 3), 0x00);
    assert_int_equal(in(s, 4), 0x00);
    assert_int_equal(in(s, 5), 0x60);
    assert_int_equal(in(s, 6), 0xb0); /* CTS, DSR, DCD of the peer */
    out(s, 1, 0xff);
    assert_int_equal(in(s, 1), 0x0f);
    out(s, 4, 0xff);
    assert_int_equal(in(s, 4), 0x1f);
    out(s, 7, 0xa5);
    assert_int_equal(in(s, 7), 0xa5);
    out(s, 3, 0x80);
    out(s, 0, 0x34);
    out(s, 1, 0x12);
    assert_int_equal(in(s, 0), 0x34);
    assert_int_equal(in(s, 1), 0x12);
    out(s, 3, 0x00);
    out(s, 1, 0x00);
    out(s, 2, 0x01);
    assert_int_equal(in(s, 2), 0xc1); /* a 16550A has FIFO bits */
}

static void octets_go_out_in_order(void **state)
{
    struct serial *s = *state;

    make_uart(s);
    for (const char *p = "hello\n"; *p != '\0'; p++) {
        assert_int_equal(in(s, 5) & 0x60, 0x60);
        out(s, 0, (unsigned char)*p);
    }
    expect_output(s, "hello\n");
}

static void thre_interrupts_when_enabled_and_after_each_write(void **state)
{
    struct serial *s = *state;

    make_uart(s);
    out(s, 4, 0x08); /* OUT2 */
    assert_false(s->r->level[4]);
    out(s, 1, 0x02);
    assert_true(s->r->level[4]);
    assert_int_equal(in(s, 2), 0x02); /* reading IIR clears it */
    assert_false(s->r->level[4]);
    assert_int_equal(in(s, 2), 0x01);
    out(s, 0, 'x');
    assert_true(s->r->level[4]);
    out(s, 0, 'y'); /* writing THR makes a new edge */
    assert_int_equal(s->r->rises[4], 3);
    out(s, 1, 0x00);
    assert_false(s->r->level[4]);
}

static void received_octets_interrupt_at_the_trigger_level(void **state)
{
    struct serial *s = *state;

    make_uart(s);
    out(s, 4, 0x08);
    out(s, 2, 0x81); /* FIFO on, 8 octets */
    out(s, 1, 0x01);
    receive(s, "abcdefg");
    assert_false(s->r->level[4]);
    assert_int_equal(in(s, 5) & 0x01, 0x01);
    receive(s, "h");
    assert_true(s->r->level[4]);
    assert_int_equal(in(s, 2), 0xc4);
    assert_int_equal(in(s, 0), 'a');
    assert_false(s->r->level[4]);
    /* The rest: after four character times at 9600 baud, 10 bits or less. */
    rig_advance(s->r, 5000000);
    assert_true(s->r->level[4]);
    assert_int_equal(in(s, 2), 0xcc);
    for (const char *p = "bcdefgh"; *p != '\0'; p++) {
        assert_int_equal(in(s, 0), *p);
    }
    assert_false(s->r->level[4]);
    assert_int_equal(in(s, 5) & 0x01, 0x00);
}

static void a_full_fifo_holds_the_rest_back(void **state)
{
    struct serial *s = *state;
    static const char text[] = "0123456789abcdefghijklmnopqrstuv";

    make_uart(s);
    out(s, 2, 0x01);
    receive(s, text);
    rig_advance(s->r, 1000); /* the back end has nothing more to do now */
    for (unsigned i = 0; i < 32; i++) {
        if ((in(s, 5) & 1) == 0) rig_advance(s->r, 1000);
        assert_int_equal(in(s, 0), text[i]);
        if (i == 20) rig_advance(s->r, 1000);
    }
    assert_int_equal(in(s, 5) & 0x03, 0); /* nothing lost */
}

static void loopback_connects_both_sides(void **state)
{
    struct serial *s = *state;

    make_uart(s);
    out(s, 4, 0x1a); /* RTS, OUT2: how Linux looks for a port */
    assert_int_equal(in(s, 6) & 0xf0, 0x90);
    out(s, 4, 0x15);
    assert_int_equal(in(s, 6) & 0xf0, 0x60);
    out(s, 0, 0x5a);
    assert_int_equal(in(s, 5) & 0x01, 0x01);
    assert_int_equal(in(s, 0), 0x5a);
    expect_output(s, "");
    out(s, 0, 1); /* without FIFO the second one overruns */
    out(s, 0, 2);
    assert_int_equal(in(s, 5) & 0x03, 0x03);
    assert_int_equal(in(s, 5) & 0x03, 0x01); /* read clears OE */
    assert_int_equal(in(s, 0), 2);
    out(s, 3, 0x43); /* break */
    assert_int_equal(in(s, 5) & 0x11, 0x11);
    assert_int_equal(in(s, 0), 0);
}

static void modem_status_changes_interrupt(void **state)
{
    struct serial *s = *state;

    make_uart(s);
    in(s, 6);
    out(s, 4, 0x14); /* loop, OUT1: RI on, CTS, DSR, DCD fall */
    assert_int_equal(in(s, 6), 0x4b);
    assert_int_equal(in(s, 6), 0x40);
    out(s, 4, 0x08); /* back: RI trails off */
    out(s, 1, 0x08);
    assert_true(s->r->level[4]);
    assert_int_equal(in(s, 2), 0x00);
    assert_int_equal(in(s, 6), 0xbf);
    assert_false(s->r->level[4]);
}

static void the_uart_survives_saving(void **state)
{
    struct serial *s = *state;

    make_uart(s);
    out(s, 3, 0x13);
    out(s, 4, 0x08);
    out(s, 2, 0x41);
    out(s, 1, 0x05);
    receive(s, "xy");
    rig_round_trip(s->r);
    assert_int_equal(in(s, 3), 0x13);
    assert_int_equal(in(s, 0), 'x');
    rig_advance(s->r, 5000000);
    assert_true(s->r->level[4]);
    assert_int_equal(in(s, 0), 'y');
    rig_load_garbage(s->r);
}

static void bad_properties_are_refused(void **state)
{
    struct serial *s = *state;
    struct err e = ERR_INIT;
    struct dev *d = NULL;

    assert_int_equal(dev_new(s->r->vm, NULL, &uart_class, NULL, &d, &e), 0);
    assert_int_not_equal(dev_set(d, "index", "4", &e), 0);
    assert_int_equal(dev_set(d, "chardev", "nowhere", &e), 0);
    assert_int_not_equal(dev_create(d, &e), 0);
    assert_non_null(strstr(e.text, "nowhere"));
}

static void com2_sits_at_2f8(void **state)
{
    struct serial *s = *state;

    s->d = rig_add_with(s->r, &uart_class, "index", "1", NULL);
    rig_out(s->r, 0x2f8 + 7, 0x77);
    assert_int_equal(rig_in(s->r, 0x2f8 + 7), 0x77);
}

static void the_printer_takes_an_octet_per_strobe(void **state)
{
    struct serial *s = *state;
    struct rig *r = s->r;

    s->d = rig_add_with(r, &parallel_class, "chardev", "c0", NULL);
    parallel_connect(s->d, rig_line(r, 7));
    assert_int_equal(rig_in(r, 0x379) & 0xf8, 0xd8); /* ready */
    for (const char *p = "ok"; *p != '\0'; p++) {
        rig_out(r, 0x378, (unsigned char)*p);
        assert_int_equal(rig_in(r, 0x378), *p);
        rig_out(r, 0x37a, 0x0d);
        rig_out(r, 0x37a, 0x0d); /* still low: no second strobe */
        rig_out(r, 0x37a, 0x0c);
    }
    expect_output(s, "ok");
    assert_int_equal(r->rises[7], 0);
    rig_out(r, 0x37a, 0x1d);
    assert_int_equal(r->rises[7], 1);
    rig_round_trip(r);
    assert_int_equal(rig_in(r, 0x37a), 0xdd);
}

static void the_debug_console_prints_and_is_found(void **state)
{
    struct serial *s = *state;

    s->d = rig_add_with(s->r, &debugcon_class, "chardev", "c0", "iobase",
                        "0x402", NULL);
    assert_int_equal(rig_in(s->r, 0x402), 0xe9);
    rig_out(s->r, 0x402, 'h');
    rig_out(s->r, 0x402, 'i');
    expect_output(s, "hi");
}

static void quit_later(void *arg)
{
    loop_quit(arg, 99);
}

static void debug_exit_gives_twice_the_value_plus_one(void **state)
{
    struct serial *s = *state;
    struct loop_timer t = { 0 };
    int rc;

    s->d = rig_add(s->r, &debugexit_class);
    assert_int_equal(rig_in(s->r, 0x501), 0);
    port_write_locked(s->r->vm, 0x501, 1, 0x10);
    vm_unlock(s->r->vm);
    loop_timer_init(&t, s->r->loop, quit_later, s->r->loop);
    loop_timer_arm_ms(&t, 2000); /* only if nothing else ends the loop */
    rc = loop_run(s->r->loop);
    loop_timer_disarm(&t);
    vm_lock(s->r->vm);
    assert_int_equal(rc, 0x21);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(registers_reset_as_table_i_says),
        T(octets_go_out_in_order),
        T(thre_interrupts_when_enabled_and_after_each_write),
        T(received_octets_interrupt_at_the_trigger_level),
        T(a_full_fifo_holds_the_rest_back),
        T(loopback_connects_both_sides),
        T(modem_status_changes_interrupt),
        T(the_uart_survives_saving),
        T(bad_properties_are_refused),
        T(com2_sits_at_2f8),
        T(the_printer_takes_an_octet_per_strobe),
        T(the_debug_console_prints_and_is_found),
        T(debug_exit_gives_twice_the_value_plus_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
