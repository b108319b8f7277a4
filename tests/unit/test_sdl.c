/* SPDX-License-Identifier: GPL-2.0-or-later */
/* link: ui monitor hw support block core */
/* The SDL window, with SDL's own "dummy" video driver. */
#include "tests/unit/support/video_rig.h"

#include <errno.h>
#include <linux/input-event-codes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/host/input.h"
#include "core/loop/loop.h"
#include "core/vm/vm.h"
#include "ui/display/sdl.h"

#include "config.h"

#ifdef HAVE_SDL

#include <SDL.h>

struct sdl_rig {
    struct vrig *r;
    struct sdl_display *sdl;
    unsigned key[16], keys;
    int dx, dy;
    unsigned buttons;
};

static void on_key(void *arg, unsigned keycode, bool is_down)
{
    struct sdl_rig *t = arg;

    if (t->keys < 16) t->key[t->keys++] = keycode | (is_down ? 0 : 0x8000);
}

static void on_mouse(void *arg, int dx, int dy, int dz, unsigned buttons)
{
    struct sdl_rig *t = arg;

    (void)dz;
    t->dx += dx;
    t->dy += dy;
    t->buttons = buttons;
}

static int setup(void **state)
{
    struct sdl_rig *t = calloc(1, sizeof(*t));
    struct input_handler h = { .key = on_key, .mouse = on_mouse, .arg = t };
    struct sdl_options o = { .name = "test" };
    struct err e = ERR_INIT;
    void *r;

    setenv("SDL_VIDEODRIVER", "dummy", 1);
    if (t == NULL || vrig_setup(&r) < 0) return -1;
    t->r = r;
    input_add_handler_locked(vm_input(t->r->vm), &h);
    vm_unlock(t->r->vm);
    if (sdl_display_open(t->r->vm, &o, &t->sdl, &e) < 0) {
        fprintf(stderr, "%s\n", e.text);
        return -1;
    }
    *state = t;
    return 0;
}

static int teardown(void **state)
{
    struct sdl_rig *t = *state;
    void *r = t->r;
    int rc;

    sdl_display_close(t->sdl);
    vm_lock(t->r->vm);
    rc = vrig_teardown(&r);
    free(t);
    return rc;
}

static void run_for_ms(struct sdl_rig *t, unsigned ms)
{
    uint64_t until_ns = loop_now_ns() + ms * 1000000ull;

    while (loop_now_ns() < until_ns)
        loop_step(t->r->base->loop, 10);
}

static void push_key(SDL_Scancode code, bool is_down, unsigned mod)
{
    SDL_Event ev = { .key = { .type = is_down ? SDL_KEYDOWN : SDL_KEYUP } };

    ev.key.keysym.scancode = code;
    ev.key.keysym.mod = (Uint16)mod;
    SDL_PushEvent(&ev);
}

static void the_window_takes_the_size_of_the_picture(void **state)
{
    struct sdl_rig *t = *state;
    SDL_Window *w;
    int width, height;

    vm_lock(t->r->vm);
    vrig_set_mode(t->r, &vrig_mode_12);
    display_refresh_locked(t->r->display);
    vm_unlock(t->r->vm);
    run_for_ms(t, 60);
    w = SDL_GetWindowFromID(1);
    assert_non_null(w);
    SDL_GetWindowSize(w, &width, &height);
    assert_int_equal(width, 640);
    assert_int_equal(height, 480);
    assert_non_null(strstr(SDL_GetWindowTitle(w), "Orrery (test)"));
}

static void the_window_shows_the_picture(void **state)
{
    struct sdl_rig *t = *state;
    uint32_t px[640 * 480];
    SDL_Renderer *renderer;
    SDL_Window *w = SDL_GetWindowFromID(1);

    if (w == NULL) w = SDL_GetWindowFromID(2);
    assert_non_null(w);
    vm_lock(t->r->vm);
    vrig_set_mode(t->r, &vrig_mode_12);
    vrig_dac(t->r, 4, 63, 0, 0);
    vrig_sr(t->r, 2, 4);
    vrig_poke(t->r, 0xa0000 + 80 * 10 + 2, 0xff);
    display_refresh_locked(t->r->display);
    vm_unlock(t->r->vm);
    run_for_ms(t, 60);
    renderer = SDL_GetRenderer(w);
    assert_int_equal(SDL_RenderReadPixels(renderer, NULL,
                                          SDL_PIXELFORMAT_RGB888, px, 640 * 4),
                     0);
    assert_int_equal(px[10 * 640 + 16] & 0xffffff, 0xff0000);
    assert_int_equal(px[10 * 640 + 24] & 0xffffff, 0);
}

static void scancodes_become_key_codes(void **state)
{
    struct sdl_rig *t = *state;

    push_key(SDL_SCANCODE_A, true, 0);
    push_key(SDL_SCANCODE_A, false, 0);
    push_key(SDL_SCANCODE_RCTRL, true, 0);
    push_key(SDL_SCANCODE_KP_ENTER, true, 0);
    run_for_ms(t, 60);
    assert_int_equal(t->keys, 4);
    assert_int_equal(t->key[0], KEY_A);
    assert_int_equal(t->key[1], KEY_A | 0x8000);
    assert_int_equal(t->key[2], KEY_RIGHTCTRL);
    assert_int_equal(t->key[3], KEY_KPENTER);
}

static void the_mouse_counts_only_while_it_is_grabbed(void **state)
{
    struct sdl_rig *t = *state;
    SDL_Event motion = { .motion = {
                             .type = SDL_MOUSEMOTION, .xrel = 3, .yrel = -2 } };

    SDL_PushEvent(&motion);
    run_for_ms(t, 40);
    assert_int_equal(t->dx, 0);
    push_key(SDL_SCANCODE_G, true, KMOD_LCTRL | KMOD_LALT);
    run_for_ms(t, 40); /* grabbing throws waiting motion away */
    SDL_PushEvent(&motion);
    run_for_ms(t, 40);
    assert_int_equal(t->dx, 3);
    assert_int_equal(t->dy, -2);
    assert_int_equal(t->keys, 0); /* Ctrl-Alt-G is ours */
    push_key(SDL_SCANCODE_G, true, KMOD_LCTRL | KMOD_LALT);
    run_for_ms(t, 40); /* grabbing throws waiting motion away */
    SDL_PushEvent(&motion);
    run_for_ms(t, 40);
    assert_int_equal(t->dx, 3);
}

static void no_display_is_a_clear_error(void **state)
{
    struct sdl_options o = { .name = "test" };
    struct sdl_display *sdl = NULL;
    struct err e = ERR_INIT;
    void *r;

    (void)state;
    if (access("/dev/dri/card0", F_OK) == 0) {
        print_message("skipped: SDL may use the screen of /dev/dri/card0\n");
        skip();
    }
    unsetenv("SDL_VIDEODRIVER");
    unsetenv("DISPLAY");
    unsetenv("WAYLAND_DISPLAY");
    assert_int_equal(vrig_setup(&r), 0);
    vm_unlock(((struct vrig *)r)->vm);
    assert_int_equal(sdl_display_open(((struct vrig *)r)->vm, &o, &sdl, &e),
                     -ENODEV);
    assert_non_null(strstr(e.text, "finds no display"));
    vm_lock(((struct vrig *)r)->vm);
    assert_int_equal(vrig_teardown(&r), 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(the_window_takes_the_size_of_the_picture),
        T(the_window_shows_the_picture),
        T(scancodes_become_key_codes),
        T(the_mouse_counts_only_while_it_is_grabbed),
        cmocka_unit_test(no_display_is_a_clear_error),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

#else

int main(void)
{
    puts("SKIP: built without SDL2");
    return 0;
}

#endif
