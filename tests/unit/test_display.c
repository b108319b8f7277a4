/* SPDX-License-Identifier: GPL-2.0-or-later */
/* link: hw support block core */
/* The display hub: sinks, damage, refresh timer, screen dumps, code page. */
#include "tests/unit/support/video_rig.h"

#include <png.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/loop/loop.h"
#include "core/vm/vm.h"

struct recorder {
    int width_px, height_px;
    struct rect damage; /* union */
    unsigned damages, frames, resizes;
    uint32_t px[4096]; /* top left, 64 x 64 */
};

static void on_resize(void *arg, const struct surface *s)
{
    struct recorder *c = arg;

    c->width_px = s->width_px;
    c->height_px = s->height_px;
    c->resizes++;
}

static void on_damage(void *arg, const struct surface *s, struct rect r)
{
    struct recorder *c = arg;

    if (c->damages++ == 0) {
        c->damage = r;
    } else {
        int x1 = c->damage.x + c->damage.w, y1 = c->damage.y + c->damage.h;
        if (r.x + r.w > x1) x1 = r.x + r.w;
        if (r.y + r.h > y1) y1 = r.y + r.h;
        if (r.x < c->damage.x) c->damage.x = r.x;
        if (r.y < c->damage.y) c->damage.y = r.y;
        c->damage.w = x1 - c->damage.x;
        c->damage.h = y1 - c->damage.y;
    }
    for (int y = r.y; y < r.y + r.h && y < 64; y++)
        for (int x = r.x; x < r.x + r.w && x < 64; x++)
            c->px[y * 64 + x] = s->px[y * s->stride_px + x];
}

static void on_frame(void *arg, const struct surface *s,
                     const struct text_screen *t)
{
    struct recorder *c = arg;

    (void)s, (void)t;
    c->frames++;
}

static void add_recorder(struct vrig *r, struct recorder *c)
{
    struct display_sink sink = { "test", on_resize, on_damage, on_frame, c };

    memset(c, 0, sizeof(*c));
    assert_int_equal(display_add_sink(r->display, &sink), 0);
}

static void set_text(struct vrig *r)
{
    vrig_set_mode(r, &vrig_mode_03);
    vrig_cr(r, 0x0a, 0x20);
    vrig_dac(r, 7, 0x2a, 0x2a, 0x2a);
    vrig_dac(r, 1, 0, 0, 0x2a);
}

static void a_new_sink_gets_size_and_whole_picture(void **state)
{
    struct vrig *r = *state;
    struct recorder c;

    set_text(r);
    vrig_poke(r, 0xb8001, 0x10);
    display_refresh_locked(r->display);
    add_recorder(r, &c);
    assert_int_equal(c.width_px, 720);
    display_refresh_locked(r->display);
    assert_int_equal(c.damage.w, 720);
    assert_int_equal(c.damage.h, 400);
    assert_int_equal(c.px[0] & 0xffffff, 0x0000aa);
    display_remove_sink(r->display, &c);
}

static void only_what_changed_is_reported(void **state)
{
    struct vrig *r = *state;
    struct recorder c;

    set_text(r);
    add_recorder(r, &c);
    display_refresh_locked(r->display);
    c.damages = 0;
    display_refresh_locked(r->display);
    assert_int_equal(c.damages, 0);
    assert_int_equal(c.frames, 2);
    vrig_poke(r, 0xb8000 + 2 * (80 * 2 + 3) + 1, 0x10); /* row 2, col 3 */
    display_refresh_locked(r->display);
    assert_int_equal(c.damage.x, 27);
    assert_int_equal(c.damage.y, 32);
    assert_int_equal(c.damage.w, 9);
    assert_int_equal(c.damage.h, 16);
    display_remove_sink(r->display, &c);
    display_refresh_locked(r->display);
    assert_int_equal(c.frames, 3);
}

static void the_timer_refreshes_while_a_sink_is_there(void **state)
{
    struct vrig *r = *state;
    struct recorder c;
    uint64_t until_ns = loop_now_ns() + 5000000000u;
    unsigned frames;

    set_text(r);
    add_recorder(r, &c);
    vm_unlock(r->vm);
    while (c.frames < 3 && loop_now_ns() < until_ns)
        loop_step(r->base->loop, 100);
    assert_true(c.frames >= 3);
    display_remove_sink(r->display, &c);
    frames = c.frames;
    loop_step(r->base->loop, 150);
    vm_lock(r->vm);
    assert_int_equal(c.frames, frames);
}

static void sizes_beyond_4096_are_refused(void **state)
{
    struct vrig *r = *state;

    assert_int_equal(display_resize(r->display, 4097, 10), -22);
    assert_int_equal(display_resize(r->display, 10, 4097), -22);
    assert_int_equal(display_resize(r->display, 0, 10), -22);
    assert_int_equal(display_resize(r->display, 4096, 16), 0);
}

static void draw_two_pixels(struct vrig *r)
{
    vrig_set_mode(r, &vrig_mode_13);
    vrig_map_bars(r);
    vrig_vbe(r, 1, 5);
    vrig_vbe(r, 2, 3);
    vrig_vbe(r, 3, 32);
    vrig_vbe(r, 4, 0x41);
    vrig_poke(r, VRIG_LFB + 2, 0x80);
    vrig_poke(r, VRIG_LFB + 2 * 20 + 4 * 4, 0x33);
}

static void ppm_screendump_is_exact(void **state)
{
    struct vrig *r = *state;
    struct err e = ERR_INIT;
    char path[] = "/tmp/orrery-test-XXXXXX";
    uint8_t got[100], want[11 + 45] = "P6\n5 3\n255\n";
    int fd = mkstemp(path);
    FILE *f = fdopen(fd, "rb");

    draw_two_pixels(r);
    assert_int_equal(display_screendump_locked(r->display, path, false, &e), 0);
    want[11] = 0x80;
    want[11 + 44] = 0x33;
    assert_int_equal(fread(got, 1, sizeof(got), f), sizeof(want));
    assert_memory_equal(got, want, sizeof(want));
    fclose(f);
    unlink(path);
}

static void png_screendump_reads_back(void **state)
{
    struct vrig *r = *state;
    struct err e = ERR_INIT;
    char path[] = "/tmp/orrery-test-XXXXXX";
    png_image img = { .version = PNG_IMAGE_VERSION };
    uint8_t rgb[45] = { 0 };

    close(mkstemp(path));
    draw_two_pixels(r);
    assert_int_equal(display_screendump_locked(r->display, path, true, &e), 0);
    assert_true(png_image_begin_read_from_file(&img, path));
    assert_int_equal(img.width, 5);
    assert_int_equal(img.height, 3);
    img.format = PNG_FORMAT_RGB;
    assert_true(png_image_finish_read(&img, NULL, rgb, 0, NULL));
    assert_int_equal(rgb[0], 0x80);
    assert_int_equal(rgb[44], 0x33);
    assert_int_equal(rgb[3], 0);
    unlink(path);
}

static void screendump_names_the_file_it_cannot_write(void **state)
{
    struct vrig *r = *state;
    struct err e = ERR_INIT;

    assert_int_equal(
        display_screendump_locked(r->display, "/nonexistent/x.ppm", false, &e),
        -2);
    assert_non_null(strstr(e.text, "/nonexistent/x.ppm"));
}

static void code_page_437_covers_all_octets(void **state)
{
    (void)state;
    assert_int_equal(display_cp437_to_unicode('A'), 'A');
    assert_int_equal(display_cp437_to_unicode(0xc4), 0x2500);
    assert_int_equal(display_cp437_to_unicode(0xdb), 0x2588);
    assert_int_equal(display_cp437_to_unicode(0x01), 0x263a);
    assert_int_equal(display_cp437_to_unicode(0x7f), 0x2302);
    assert_int_equal(display_cp437_to_unicode(0xe1), 0x00df);
    for (unsigned i = 0; i < 256; i++)
        for (unsigned k = 1; k < i; k++)
            assert_true(i == 32 || k == 32 ||
                        display_cp437_to_unicode((uint8_t)i) !=
                            display_cp437_to_unicode((uint8_t)k));
}

#define T(f) cmocka_unit_test_setup_teardown(f, vrig_setup, vrig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_new_sink_gets_size_and_whole_picture),
        T(only_what_changed_is_reported),
        T(the_timer_refreshes_while_a_sink_is_there),
        T(sizes_beyond_4096_are_refused),
        T(ppm_screendump_is_exact),
        T(png_screendump_reads_back),
        T(screendump_names_the_file_it_cannot_write),
        T(code_page_437_covers_all_octets),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
