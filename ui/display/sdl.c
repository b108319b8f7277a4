/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The SDL2 window.
 *
 * SDL wants its events pumped by the thread that made the window, and the
 * loop is the main thread, so a loop timer polls.  The hub's damage goes
 * straight into a streaming texture under the VM lock; presenting it, which
 * may wait for the display server, happens in the timer without the lock.
 *
 * Ctrl-Alt-G takes and releases the mouse, Ctrl-Alt-F is full screen,
 * Ctrl-Alt-U sets the window back to the guest's size.
 */
#include "ui/display/sdl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"

#ifdef HAVE_SDL

#include <SDL.h>

#include "core/host/display.h"
#include "core/host/input.h"
#include "core/loop/loop.h"
#include "core/vm/vm.h"
#include "ui/display/sdl_keys.h"

enum { POLL_MS = 15, TABLET_MAX = 32767 };

struct sdl_display {
    struct vm *vm;
    struct sdl_options opt;
    char name[64];
    SDL_Window *window;
    SDL_Renderer *renderer;
    SDL_Texture *texture;
    int width_px, height_px; /* of the guest's picture */
    struct loop_timer timer;
    enum run_state state;
    unsigned buttons; /* INPUT_BTN_* */
    bool needs_present, has_grab, is_fullscreen, has_tablet;
    bool lost_texture; /* make a new one, ask for the whole picture */
};

/* ------------------------------------------------------------------- window */

static void set_title(struct sdl_display *s)
{
    char title[160];

    snprintf(title, sizeof(title), "%s%s%s", s->name,
             s->state == RUN_RUNNING ? "" : " [stopped]",
             s->has_grab ? " - Ctrl-Alt-G releases the mouse" : "");
    SDL_SetWindowTitle(s->window, title);
}

static void set_grab(struct sdl_display *s, bool on)
{
    s->has_grab = on;
    SDL_SetRelativeMouseMode(on && !s->has_tablet ? SDL_TRUE : SDL_FALSE);
    SDL_SetWindowKeyboardGrab(s->window, on ? SDL_TRUE : SDL_FALSE);
    set_title(s);
}

static void set_fullscreen(struct sdl_display *s, bool on)
{
    s->is_fullscreen = on;
    SDL_SetWindowFullscreen(s->window, on ? SDL_WINDOW_FULLSCREEN_DESKTOP : 0);
    set_grab(s, on);
    s->needs_present = true;
}

static bool make_texture(struct sdl_display *s, int width_px, int height_px)
{
    if (s->texture != NULL) SDL_DestroyTexture(s->texture);
    s->texture =
        SDL_CreateTexture(s->renderer, SDL_PIXELFORMAT_RGB888,
                          SDL_TEXTUREACCESS_STREAMING, width_px, height_px);
    s->width_px = width_px;
    s->height_px = height_px;
    SDL_RenderSetLogicalSize(s->renderer, width_px, height_px);
    return s->texture != NULL;
}

static void present(struct sdl_display *s)
{
    s->needs_present = false;
    SDL_SetRenderDrawColor(s->renderer, 0, 0, 0, 255);
    SDL_RenderClear(s->renderer);
    if (s->texture != NULL) SDL_RenderCopy(s->renderer, s->texture, NULL, NULL);
    SDL_RenderPresent(s->renderer);
}

/* --------------------------------------------------------------------- sink */

static void sink_resize(void *arg, const struct surface *sf)
{
    struct sdl_display *s = arg;

    if (!make_texture(s, sf->width_px, sf->height_px)) return;
    if (!s->is_fullscreen &&
        (SDL_GetWindowFlags(s->window) & SDL_WINDOW_MAXIMIZED) == 0)
        SDL_SetWindowSize(s->window, sf->width_px, sf->height_px);
    s->needs_present = true;
}

static void sink_damage(void *arg, const struct surface *sf, struct rect r)
{
    struct sdl_display *s = arg;
    SDL_Rect area = { r.x, r.y, r.w, r.h };

    if (s->texture == NULL || sf->width_px != s->width_px ||
        sf->height_px != s->height_px)
        return;
    SDL_UpdateTexture(s->texture, &area,
                      sf->px + (size_t)r.y * (size_t)sf->stride_px + r.x,
                      sf->stride_px * (int)sizeof(*sf->px));
    s->needs_present = true;
}

static void sink_frame(void *arg, const struct surface *sf,
                       const struct text_screen *t)
{
    struct sdl_display *s = arg;
    enum run_state state = vm_run_state(s->vm);

    (void)t;
    s->has_tablet = input_has_tablet(vm_input(s->vm));
    if (s->lost_texture && make_texture(s, sf->width_px, sf->height_px)) {
        s->lost_texture = false;
        sink_damage(s, sf, (struct rect){ 0, 0, sf->width_px, sf->height_px });
    }
    if (state != s->state) {
        s->state = state;
        set_title(s);
    }
}

/* ------------------------------------------------------------------- events */

static void release_all(struct sdl_display *s)
{
    vm_lock(s->vm);
    input_release_all_locked(vm_input(s->vm));
    vm_unlock(s->vm);
}

static bool run_hotkey(struct sdl_display *s, SDL_Scancode code)
{
    switch (code) {
    case SDL_SCANCODE_G: set_grab(s, !s->has_grab); break;
    case SDL_SCANCODE_F: set_fullscreen(s, !s->is_fullscreen); break;
    case SDL_SCANCODE_U:
        SDL_SetWindowSize(s->window, s->width_px, s->height_px);
        break;
    default: return false;
    }
    release_all(s);
    return true;
}

static void on_key(struct sdl_display *s, const SDL_KeyboardEvent *k)
{
    bool is_down = k->type == SDL_KEYDOWN;
    bool is_ctrl_alt =
        (k->keysym.mod & KMOD_LCTRL) != 0 && (k->keysym.mod & KMOD_LALT) != 0;
    unsigned code = sdl_key_code(k->keysym.scancode);

    if (is_down && k->repeat == 0 && is_ctrl_alt &&
        run_hotkey(s, k->keysym.scancode))
        return;
    if (code == 0) return;
    vm_lock(s->vm);
    input_key_locked(vm_input(s->vm), code, is_down);
    vm_unlock(s->vm);
}

static void send_motion(struct sdl_display *s, int dx, int dy, int dz)
{
    vm_lock(s->vm);
    input_mouse_locked(vm_input(s->vm), dx, dy, dz, s->buttons);
    vm_unlock(s->vm);
}

static int scale(int at, int size)
{
    if (at < 0) at = 0;
    if (at >= size) at = size - 1;
    return size > 1 ? (int)((int64_t)at * TABLET_MAX / (size - 1)) : 0;
}

/* x, y are in the guest's pixels: SDL_RenderSetLogicalSize maps events. */
static void send_position(struct sdl_display *s, int x, int y, int dz)
{
    vm_lock(s->vm);
    input_tablet_locked(vm_input(s->vm), scale(x, s->width_px),
                        scale(y, s->height_px), dz, s->buttons);
    vm_unlock(s->vm);
}

static unsigned button_bit(unsigned sdl_button)
{
    switch (sdl_button) {
    case SDL_BUTTON_LEFT: return INPUT_BTN_LEFT;
    case SDL_BUTTON_MIDDLE: return INPUT_BTN_MIDDLE;
    case SDL_BUTTON_RIGHT: return INPUT_BTN_RIGHT;
    default: return 0;
    }
}

static void on_button(struct sdl_display *s, const SDL_MouseButtonEvent *b)
{
    bool is_down = b->type == SDL_MOUSEBUTTONDOWN;

    if (!s->has_tablet && !s->has_grab) {
        if (is_down && b->button == SDL_BUTTON_LEFT) set_grab(s, true);
        return;
    }
    if (is_down)
        s->buttons |= button_bit(b->button);
    else
        s->buttons &= ~button_bit(b->button);
    if (s->has_tablet)
        send_position(s, b->x, b->y, 0);
    else
        send_motion(s, 0, 0, 0);
}

static void on_wheel(struct sdl_display *s, const SDL_MouseWheelEvent *w)
{
    int dz = w->y > 0 ? -1 : 1;

    if (w->y == 0) return;
    if (s->has_tablet)
        send_position(s, w->mouseX, w->mouseY, dz);
    else if (s->has_grab)
        send_motion(s, 0, 0, dz);
}

static void on_window(struct sdl_display *s, const SDL_WindowEvent *w)
{
    switch (w->event) {
    case SDL_WINDOWEVENT_FOCUS_LOST:
        if (s->has_grab && !s->is_fullscreen) set_grab(s, false);
        s->buttons = 0;
        release_all(s);
        break;
    case SDL_WINDOWEVENT_EXPOSED:
    case SDL_WINDOWEVENT_SIZE_CHANGED: s->needs_present = true; break;
    case SDL_WINDOWEVENT_CLOSE:
        if (!s->opt.has_no_quit) vm_request(s->vm, VM_REQ_QUIT);
        break;
    default: break;
    }
}

static void on_event(struct sdl_display *s, const SDL_Event *ev)
{
    switch (ev->type) {
    case SDL_KEYDOWN:
    case SDL_KEYUP: on_key(s, &ev->key); break;
    case SDL_MOUSEMOTION:
        if (s->has_tablet)
            send_position(s, ev->motion.x, ev->motion.y, 0);
        else if (s->has_grab)
            send_motion(s, ev->motion.xrel, ev->motion.yrel, 0);
        break;
    case SDL_MOUSEBUTTONDOWN:
    case SDL_MOUSEBUTTONUP: on_button(s, &ev->button); break;
    case SDL_MOUSEWHEEL: on_wheel(s, &ev->wheel); break;
    case SDL_WINDOWEVENT: on_window(s, &ev->window); break;
    case SDL_RENDER_TARGETS_RESET:
    case SDL_RENDER_DEVICE_RESET: s->lost_texture = true; break;
    default: break;
    }
}

static void poll_events(void *arg)
{
    struct sdl_display *s = arg;
    SDL_Event ev;

    while (SDL_PollEvent(&ev))
        on_event(s, &ev);
    if (s->needs_present) present(s);
    loop_timer_arm_ms(&s->timer, POLL_MS);
}

/* ----------------------------------------------------------- open and close */

static int make_window(struct sdl_display *s, struct err *e)
{
    const struct surface *sf = display_surface(vm_display(s->vm));

    s->window = SDL_CreateWindow(s->name, SDL_WINDOWPOS_UNDEFINED,
                                 SDL_WINDOWPOS_UNDEFINED, sf->width_px,
                                 sf->height_px, SDL_WINDOW_RESIZABLE);
    if (s->window == NULL)
        return err_set(e, -ENODEV, "SDL cannot make a window: %s",
                       SDL_GetError());
    /* no vsync: presenting must not hold the loop */
    s->renderer = SDL_CreateRenderer(s->window, -1, 0);
    if (s->renderer == NULL)
        s->renderer = SDL_CreateRenderer(s->window, -1, SDL_RENDERER_SOFTWARE);
    if (s->renderer == NULL)
        return err_set(e, -ENODEV, "SDL cannot draw: %s", SDL_GetError());
    return 0;
}

static void free_display(struct sdl_display *s)
{
    if (s->texture != NULL) SDL_DestroyTexture(s->texture);
    if (s->renderer != NULL) SDL_DestroyRenderer(s->renderer);
    if (s->window != NULL) SDL_DestroyWindow(s->window);
    SDL_QuitSubSystem(SDL_INIT_VIDEO);
    free(s);
}

/* SDL falls back to a driver that shows nothing; nobody asked for that. */
static bool shows_nothing(void)
{
    const char *driver = SDL_GetCurrentVideoDriver();

    if (getenv("SDL_VIDEODRIVER") != NULL) return false;
    return driver == NULL || strcmp(driver, "offscreen") == 0 ||
           strcmp(driver, "dummy") == 0;
}

static int no_display(struct err *e)
{
    return err_set(e, -ENODEV,
                   "SDL finds no display: neither DISPLAY nor "
                   "WAYLAND_DISPLAY leads to one");
}

/* SDL tries one driver after the other, and libraries below it write to
 * standard error what they miss: let it try those alone that the environment
 * names.  False: it names none. */
static bool choose_driver(struct err *e)
{
    if (getenv("SDL_VIDEODRIVER") != NULL) return true;
    if (getenv("WAYLAND_DISPLAY") != NULL || getenv("WAYLAND_SOCKET") != NULL)
        return true;
    if (getenv("DISPLAY") == NULL) return no_display(e), false;
    SDL_SetHint(SDL_HINT_VIDEODRIVER, "x11");
    return true;
}

int sdl_display_open(struct vm *vm, const struct sdl_options *o,
                     struct sdl_display **out, struct err *e)
{
    struct display_sink sink = { .name = "sdl",
                                 .resize = sink_resize,
                                 .damage = sink_damage,
                                 .frame = sink_frame };
    struct sdl_display *s;
    int rc;

    SDL_SetHint(SDL_HINT_NO_SIGNAL_HANDLERS, "1"); /* signals are main's */
    SDL_SetHint(SDL_HINT_VIDEO_ALLOW_SCREENSAVER, "1");
    if (!choose_driver(e)) return e->code;
    if (SDL_InitSubSystem(SDL_INIT_VIDEO) < 0)
        return err_set(e, -ENODEV, "SDL finds no display: %s", SDL_GetError());
    if (shows_nothing()) {
        SDL_QuitSubSystem(SDL_INIT_VIDEO);
        return no_display(e);
    }
    s = calloc(1, sizeof(*s));
    if (s == NULL) {
        SDL_QuitSubSystem(SDL_INIT_VIDEO);
        return err_set(e, -ENOMEM, "no memory for the display");
    }
    s->vm = vm;
    s->opt = *o;
    if (o->name != NULL)
        snprintf(s->name, sizeof(s->name), "Orrery (%s)", o->name);
    else
        snprintf(s->name, sizeof(s->name), "Orrery");
    s->state = vm_run_state(vm);
    rc = make_window(s, e);
    if (rc < 0) goto free_it;
    sink.arg = s;
    rc = display_add_sink(vm_display(vm), &sink);
    if (rc < 0) {
        err_set(e, rc, "too many displays");
        goto free_it;
    }
    set_title(s);
    if (o->is_fullscreen) set_fullscreen(s, true);
    loop_timer_init(&s->timer, vm_loop(vm), poll_events, s);
    loop_timer_arm_ms(&s->timer, 0);
    *out = s;
    return 0;
free_it:
    free_display(s);
    return rc;
}

void sdl_display_close(struct sdl_display *s)
{
    if (s == NULL) return;
    loop_timer_disarm(&s->timer);
    display_remove_sink(vm_display(s->vm), s);
    free_display(s);
}

#else

int sdl_display_open(struct vm *vm, const struct sdl_options *o,
                     struct sdl_display **out, struct err *e)
{
    (void)vm, (void)o, (void)out;
    return err_set(e, -ENOTSUP,
                   "SDL is not built in: install libsdl2-dev, then run "
                   "configure and make");
}

void sdl_display_close(struct sdl_display *s)
{
    (void)s;
}

#endif
