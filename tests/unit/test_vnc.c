/* SPDX-License-Identifier: GPL-2.0-or-later */
/* link: ui monitor hw support block core */
/*
 * The VNC display against a raw RFB 3.8 client (RFC 6143): picture, resize,
 * keys, pointer, password, listeners.
 */
#include "tests/unit/support/video_rig.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/input-event-codes.h>
#include <malloc.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/host/input.h"
#include "core/loop/loop.h"
#include "core/vm/vm.h"
#include "ui/display/vnc.h"

#include "config.h"

#ifdef HAVE_VNC

#include <rfb/keysym.h>
#include <rfb/rfb.h>

enum { ENC_RAW = 0, ENC_NEW_SIZE = -223, MAX_EVENTS = 64 };

struct vnc_rig {
    struct vrig *r;
    struct vnc_display *vnc;
    int port;
    unsigned key[MAX_EVENTS]; /* key code, 0x8000 added when released */
    unsigned keys;
    int dx, dy, dz;
    unsigned buttons, moves;
};

static void on_key(void *arg, unsigned keycode, bool is_down)
{
    struct vnc_rig *t = arg;

    if (t->keys < MAX_EVENTS)
        t->key[t->keys++] = keycode | (is_down ? 0 : 0x8000);
}

static void on_mouse(void *arg, int dx, int dy, int dz, unsigned buttons)
{
    struct vnc_rig *t = arg;

    t->dx += dx;
    t->dy += dy;
    t->dz += dz;
    t->buttons = buttons;
    t->moves++;
}

/* A port nobody has, as a display number. */
static int free_port(void)
{
    struct sockaddr_in sa = { .sin_family = AF_INET };
    socklen_t n = sizeof(sa);
    int fd, port;

    do {
        fd = socket(AF_INET, SOCK_STREAM, 0);
        sa.sin_port = 0;
        sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
        assert_int_equal(getsockname(fd, (struct sockaddr *)&sa, &n), 0);
        port = ntohs(sa.sin_port);
        close(fd);
    } while (port < 5900);
    return port;
}

static int setup(void **state)
{
    struct vnc_rig *t = calloc(1, sizeof(*t));
    struct input_handler h = { .key = on_key, .mouse = on_mouse, .arg = t };
    void *r;

    if (t == NULL || vrig_setup(&r) < 0) return -1;
    t->r = r;
    input_add_handler_locked(vm_input(t->r->vm), &h);
    *state = t;
    return 0;
}

static void open_vnc(struct vnc_rig *t, const char *options)
{
    struct vnc_options o = { .name = "test" };
    struct err e = ERR_INIT;
    char address[64];

    t->port = free_port();
    snprintf(address, sizeof(address), "127.0.0.1:%d%s", t->port - 5900,
             options);
    o.address = address;
    vm_unlock(t->r->vm);
    if (vnc_display_open(t->r->vm, &o, &t->vnc, &e) < 0) fail_msg("%s", e.text);
    vm_lock(t->r->vm);
    assert_int_equal(vnc_display_port(t->vnc), t->port);
}

static int teardown(void **state)
{
    struct vnc_rig *t = *state;
    void *r = t->r;
    int rc;

    vm_unlock(t->r->vm);
    vnc_display_close(t->vnc);
    vm_lock(t->r->vm);
    rc = vrig_teardown(&r);
    free(t);
    return rc;
}

/* --------------------------------------------------------------- RFB client */

static void step(struct vnc_rig *t)
{
    vm_unlock(t->r->vm);
    loop_step(t->r->base->loop, 20);
    vm_lock(t->r->vm);
}

static int connect_tcp(struct vnc_rig *t)
{
    struct sockaddr_in sa = { .sin_family = AF_INET,
                              .sin_port = htons((uint16_t)t->port) };
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
    return fd;
}

/* Read n octets while the loop runs; how many came within five seconds. */
static size_t try_read(struct vnc_rig *t, int fd, void *buf, size_t n)
{
    uint64_t until_ns = loop_now_ns() + 5000000000u;
    size_t got = 0;

    while (got < n && loop_now_ns() < until_ns) {
        ssize_t k = recv(fd, (char *)buf + got, n - got, MSG_DONTWAIT);
        if (k > 0)
            got += (size_t)k;
        else if (k == 0 || (errno != EAGAIN && errno != EINTR))
            break;
        else
            step(t);
    }
    return got;
}

static void get(struct vnc_rig *t, int fd, void *buf, size_t n)
{
    assert_int_equal(try_read(t, fd, buf, n), n);
}

static void put(int fd, const void *buf, size_t n)
{
    assert_int_equal(send(fd, buf, n, MSG_NOSIGNAL), (ssize_t)n);
}

static unsigned get16(struct vnc_rig *t, int fd)
{
    uint16_t x;

    get(t, fd, &x, 2);
    return ntohs(x);
}

static uint32_t get32(struct vnc_rig *t, int fd)
{
    uint32_t x;

    get(t, fd, &x, 4);
    return ntohl(x);
}

/* Up to the list of security types; returns the one offered. */
static unsigned hello(struct vnc_rig *t, int fd)
{
    char version[12];
    uint8_t types[2];

    get(t, fd, version, 12);
    assert_memory_equal(version, "RFB 003.008\n", 12);
    put(fd, "RFB 003.008\n", 12);
    get(t, fd, types, 2);
    assert_int_equal(types[0], 1);
    put(fd, &types[1], 1);
    return types[1];
}

/* ClientInit, ServerInit, then 32 bits as XRGB, Raw and resize. */
static void initialise(struct vnc_rig *t, int fd, unsigned *w, unsigned *h)
{
    static const uint8_t format[20] = { 0, 0,   0, 0,   32, 24, 0, 1, 0, 255,
                                        0, 255, 0, 255, 16, 8,  0, 0, 0, 0 };
    uint8_t encodings[12] = { 2, 0, 0, 2 };
    int32_t raw = (int32_t)htonl(ENC_RAW);
    int32_t size = (int32_t)htonl((uint32_t)ENC_NEW_SIZE);
    uint8_t server_format[16], shared = 1;
    char name[64];
    uint32_t n;

    put(fd, &shared, 1);
    *w = get16(t, fd);
    *h = get16(t, fd);
    get(t, fd, server_format, 16);
    n = get32(t, fd);
    assert_true(n < sizeof(name));
    get(t, fd, name, n);
    name[n] = '\0';
    assert_string_equal(name, "Orrery (test)");
    put(fd, format, sizeof(format));
    memcpy(encodings + 4, &raw, 4);
    memcpy(encodings + 8, &size, 4);
    put(fd, encodings, sizeof(encodings));
}

static int open_client(struct vnc_rig *t, unsigned *w, unsigned *h)
{
    int fd = connect_tcp(t);

    assert_int_equal(hello(t, fd), 1); /* None */
    assert_int_equal(get32(t, fd), 0);
    initialise(t, fd, w, h);
    return fd;
}

static void request(int fd, bool is_incremental, unsigned w, unsigned h)
{
    uint8_t m[10] = { 3, is_incremental };

    m[6] = (uint8_t)(w >> 8);
    m[7] = (uint8_t)w;
    m[8] = (uint8_t)(h >> 8);
    m[9] = (uint8_t)h;
    put(fd, m, sizeof(m));
}

/* Take one update into px (stride w); returns true if it was a new size. */
static bool take_update(struct vnc_rig *t, int fd, uint32_t *px, unsigned *w,
                        unsigned *h)
{
    unsigned rects;
    uint8_t head[2];
    bool is_resize = false;

    get(t, fd, head, 2);
    assert_int_equal(head[0], 0);
    rects = get16(t, fd);
    for (unsigned i = 0; i < rects; i++) {
        unsigned x = get16(t, fd), y = get16(t, fd);
        unsigned rw = get16(t, fd), rh = get16(t, fd);
        int32_t encoding = (int32_t)get32(t, fd);
        if (encoding == ENC_NEW_SIZE) {
            *w = rw;
            *h = rh;
            is_resize = true;
            continue;
        }
        assert_int_equal(encoding, ENC_RAW);
        assert_true(x + rw <= *w && y + rh <= *h);
        for (unsigned row = 0; row < rh; row++)
            get(t, fd, px + (y + row) * *w + x, rw * 4);
    }
    return is_resize;
}

static void put_key(int fd, bool is_down, uint32_t keysym)
{
    uint8_t m[8] = { 4, is_down };

    keysym = htonl(keysym);
    memcpy(m + 4, &keysym, 4);
    put(fd, m, sizeof(m));
}

static void put_pointer(int fd, unsigned buttons, unsigned x, unsigned y)
{
    uint8_t m[6] = { 5,          (uint8_t)buttons,  (uint8_t)(x >> 8),
                     (uint8_t)x, (uint8_t)(y >> 8), (uint8_t)y };

    put(fd, m, sizeof(m));
}

static void wait_keys(struct vnc_rig *t, unsigned count)
{
    uint64_t until_ns = loop_now_ns() + 5000000000u;

    while (t->keys < count && loop_now_ns() < until_ns)
        step(t);
    assert_int_equal(t->keys, count);
}

/* -------------------------------------------------------------------- tests */

static void picture_equals_the_surface(void **state)
{
    struct vnc_rig *t = *state;
    uint32_t *px = calloc(1024 * 768, 4);
    unsigned w, h;
    int fd;

    vrig_set_mode(t->r, &vrig_mode_13);
    for (unsigned i = 0; i < 256; i++)
        vrig_dac(t->r, i, i & 63, i >> 2, 63 - (i & 63));
    for (unsigned i = 0; i < 64000; i++)
        vrig_poke(t->r, 0xa0000 + i, (uint8_t)(i * 7 + i / 320));
    display_refresh_locked(t->r->display);
    open_vnc(t, "");
    fd = open_client(t, &w, &h);
    assert_int_equal(w, 640);
    assert_int_equal(h, 400);
    step(t); /* the hub shows the new sink everything */
    request(fd, false, w, h);
    take_update(t, fd, px, &w, &h);
    for (int y = 0; y < 400; y++)
        for (int x = 0; x < 640; x++)
            assert_int_equal(
                px[y * 640 + x] & 0xffffff,

                (display_surface(t->r->display)->px[y * 640 + x] & 0xffffff));
    close(fd);
    free(px);
}

static void changes_and_new_sizes_are_sent(void **state)
{
    struct vnc_rig *t = *state;
    uint32_t *px = calloc(1024 * 768, 4);
    unsigned w, h;
    int fd;

    vrig_set_mode(t->r, &vrig_mode_13);
    vrig_dac(t->r, 9, 63, 0, 0);
    display_refresh_locked(t->r->display);
    open_vnc(t, "");
    fd = open_client(t, &w, &h);
    request(fd, false, w, h);
    take_update(t, fd, px, &w, &h);
    vrig_poke(t->r, 0xa0000 + 320 * 50 + 60, 9);
    do { /* an update of what was drawn before may come first */
        request(fd, true, w, h);
        assert_false(take_update(t, fd, px, &w, &h));
    } while (px[100 * 640 + 120] == 0);
    assert_int_equal(px[101 * 640 + 121] & 0xffffff, 0xff0000);
    vrig_vbe(t->r, 1, 800);
    vrig_vbe(t->r, 2, 600);
    vrig_vbe(t->r, 3, 32);
    vrig_vbe(t->r, 4, 0x41);
    do {
        request(fd, true, w, h);
    } while (!take_update(t, fd, px, &w, &h));
    assert_int_equal(w, 800);
    assert_int_equal(h, 600);
    close(fd);
    free(px);
}

static void keys_become_key_codes_with_the_shift_they_need(void **state)
{
    struct vnc_rig *t = *state;
    static const unsigned want[] = {
        KEY_A,
        KEY_A | 0x8000, /* 'a' */
        /* 'A' without shift: shift is added */
        KEY_LEFTSHIFT,
        KEY_A,
        KEY_LEFTSHIFT | 0x8000,
        KEY_A | 0x8000,
        /* shift held and ';' (as on a German keyboard): shift is lifted */
        KEY_LEFTSHIFT,
        KEY_LEFTSHIFT | 0x8000,
        KEY_SEMICOLON,
        KEY_LEFTSHIFT,
        KEY_SEMICOLON | 0x8000,
        KEY_LEFTSHIFT | 0x8000,
        KEY_ENTER,
        KEY_ENTER | 0x8000,
        KEY_F5,
        KEY_F5 | 0x8000,
    };
    unsigned w, h;
    int fd;

    open_vnc(t, "");
    fd = open_client(t, &w, &h);
    put_key(fd, true, 'a');
    put_key(fd, false, 'a');
    put_key(fd, true, 'A');
    put_key(fd, false, 'A');
    put_key(fd, true, XK_Shift_L);
    put_key(fd, true, ';');
    put_key(fd, false, ';');
    put_key(fd, false, XK_Shift_L);
    put_key(fd, true, XK_Return);
    put_key(fd, false, XK_Return);
    put_key(fd, true, XK_F5);
    put_key(fd, false, XK_F5);
    wait_keys(t, sizeof(want) / sizeof(want[0]));
    assert_memory_equal(t->key, want, sizeof(want));
    close(fd);
}

static void keys_held_by_a_viewer_that_leaves_are_released(void **state)
{
    struct vnc_rig *t = *state;
    unsigned w, h;
    int fd;

    open_vnc(t, "");
    fd = open_client(t, &w, &h);
    put_key(fd, true, XK_Control_L);
    wait_keys(t, 1);
    close(fd);
    wait_keys(t, 2);
    assert_int_equal(t->key[1], KEY_LEFTCTRL | 0x8000);
}

static void put_scancode(int fd, bool is_down, uint32_t keysym, uint32_t xt)
{
    uint8_t m[12] = { 255, 0, 0, is_down };

    keysym = htonl(keysym);
    xt = htonl(xt);
    memcpy(m + 4, &keysym, 4);
    memcpy(m + 8, &xt, 4);
    put(fd, m, sizeof(m));
}

/* QEMU Extended Key Event: a German viewer's "z" is where "y" is in the US. */
static void
scan_codes_of_viewers_go_before_what_is_printed_on_keys(void **state)
{
    static const uint8_t encodings[12] = { 2, 0, 0,    2,    0,    0,
                                           0, 0, 0xff, 0xff, 0xfe, 0xfe };
    static const uint8_t ack[16] = { 0, 0, 0, 1, 0,    0,    0,    0,
                                     0, 0, 0, 0, 0xff, 0xff, 0xfe, 0xfe };
    static const struct {
        uint32_t xt;
        unsigned key;
    } special[] = {
        { 0x2b, KEY_BACKSLASH }, { 0x56, KEY_102ND },   { 0x9d, KEY_RIGHTCTRL },
        { 0xb8, KEY_RIGHTALT },  { 0xc8, KEY_UP },      { 0x9c, KEY_KPENTER },
        { 0xb7, KEY_SYSRQ },     { 0xc6, KEY_PAUSE },   { 0xdb, KEY_LEFTMETA },
        { 0x58, KEY_F12 },       { 0xdd, KEY_COMPOSE },
    };
    enum { SPECIALS = sizeof(special) / sizeof(special[0]) };
    struct vnc_rig *t = *state;
    uint8_t got[16];
    unsigned w, h;
    int fd;

    open_vnc(t, "");
    fd = open_client(t, &w, &h);
    put(fd, encodings, sizeof(encodings));
    get(t, fd, got, sizeof(got));
    assert_memory_equal(got, ack, sizeof(ack));
    put_scancode(fd, true, 'z', 0x15);
    put_scancode(fd, false, 'z', 0x15);
    wait_keys(t, 2);
    assert_int_equal(t->key[0], KEY_Y);
    assert_int_equal(t->key[1], KEY_Y | 0x8000);
    for (unsigned i = 0; i < SPECIALS; i++)
        put_scancode(fd, true, 0, special[i].xt);
    wait_keys(t, 2 + SPECIALS);
    for (unsigned i = 0; i < SPECIALS; i++)
        assert_int_equal(t->key[2 + i], special[i].key);
    put_scancode(fd, true, 'q', 0xffffff); /* no code: the keysym counts */
    wait_keys(t, 3 + SPECIALS);
    assert_int_equal(t->key[2 + SPECIALS], KEY_Q);
    close(fd); /* all that is held is let go */
    wait_keys(t, 4 + 2 * SPECIALS);
}

static void pointer_positions_become_motion(void **state)
{
    struct vnc_rig *t = *state;
    uint64_t until_ns = loop_now_ns() + 5000000000u;
    unsigned w, h;
    int fd;

    open_vnc(t, "");
    fd = open_client(t, &w, &h);
    put_pointer(fd, 0, 100, 100);
    put_pointer(fd, 1, 110, 95);
    put_pointer(fd, 5, 113, 95);
    put_pointer(fd, 16, 113, 95);
    while (t->moves < 4 && loop_now_ns() < until_ns)
        step(t);
    assert_int_equal(t->moves, 4);
    assert_int_equal(t->dx, 13);
    assert_int_equal(t->dy, -5);
    assert_int_equal(t->dz, 1);
    assert_int_equal(t->buttons, 0);
    close(fd);
}

static bool try_password(struct vnc_rig *t, char *password, uint8_t *challenge)
{
    uint8_t response[16];
    int fd = connect_tcp(t);
    bool is_ok;

    assert_int_equal(hello(t, fd), 2); /* VNC authentication */
    get(t, fd, challenge, 16);
    memcpy(response, challenge, 16);
    rfbEncryptBytes(response, password);
    put(fd, response, 16);
    is_ok = get32(t, fd) == 0;
    close(fd);
    return is_ok;
}

static void password_is_asked_for_and_checked(void **state)
{
    struct vnc_rig *t = *state;
    char right[] = "secret", wrong[] = "Secret";
    uint8_t a[16], b[16];
    struct err e = ERR_INIT;

    open_vnc(t, ",password=on");
    assert_false(try_password(t, right, a)); /* none set: nobody gets in */
    assert_int_equal(vnc_display_set_password(t->vnc, right, &e), 0);
    assert_true(try_password(t, right, a));
    assert_false(try_password(t, wrong, b));
    assert_memory_not_equal(a, b, 16);
}

static void web_pages_are_not_answered(void **state)
{
    struct vnc_rig *t = *state;
    static const char get_request[] = "GET / HTTP/1.1\r\nUpgrade: websocket\r\n"
                                      "Origin: http://example.com\r\n\r\n";
    char buf[128] = "";
    int fd;

    open_vnc(t, "");
    fd = connect_tcp(t);
    put(fd, get_request, sizeof(get_request) - 1);
    try_read(t, fd, buf, 12);
    assert_memory_equal(buf, "RFB 003.008\n", 12);
    assert_int_equal(try_read(t, fd, buf, 4), 0); /* hung up */
    close(fd);
}

static void a_port_in_use_is_one_clear_error(void **state)
{
    struct vnc_rig *t = *state;
    struct vnc_display *second = NULL;
    struct vnc_options o = { 0 };
    struct err e = ERR_INIT;
    char address[32], port[16];

    open_vnc(t, "");
    snprintf(address, sizeof(address), ":%d", t->port - 5900);
    snprintf(port, sizeof(port), "%d", t->port);
    o.address = address;
    assert_int_equal(vnc_display_open(t->r->vm, &o, &second, &e), -EADDRINUSE);
    assert_non_null(strstr(e.text, port));
    assert_non_null(strstr(e.text, "in use"));
}

static void unix_sockets_are_private_and_work(void **state)
{
    struct vnc_rig *t = *state;
    struct vnc_options o = { .name = "test" };
    struct sockaddr_un sa = { .sun_family = AF_UNIX };
    struct err e = ERR_INIT;
    char dir[] = "/tmp/orrery-test-XXXXXX", address[128];
    struct stat st;
    unsigned w, h;
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    assert_non_null(mkdtemp(dir));
    snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/vnc", dir);
    snprintf(address, sizeof(address), "unix:%s", sa.sun_path);
    o.address = address;
    assert_int_equal(vnc_display_open(t->r->vm, &o, &t->vnc, &e), 0);
    assert_int_equal(stat(sa.sun_path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
    assert_int_equal(hello(t, fd), 1);
    assert_int_equal(get32(t, fd), 0);
    initialise(t, fd, &w, &h);
    close(fd);
    vm_unlock(t->r->vm);
    vnc_display_close(t->vnc);
    vm_lock(t->r->vm);
    t->vnc = NULL;
    assert_int_equal(stat(sa.sun_path, &st), -1);
    rmdir(dir);
}

static void info_tells_server_and_viewers(void **state)
{
    struct vnc_rig *t = *state;
    char *text = NULL, want[64];
    size_t n;
    unsigned w, h;
    FILE *f = open_memstream(&text, &n);
    int fd;

    open_vnc(t, "");
    fd = open_client(t, &w, &h);
    request(fd, false, 1, 1); /* answered: the viewer is established */
    get(t, fd, want, 4);
    assert_int_equal(vm_print_info_locked(t->r->vm, "vnc", f), 0);
    fclose(f);
    snprintf(want, sizeof(want), "Server: 127.0.0.1:%d (ipv4)", t->port);
    assert_non_null(strstr(text, want));
    assert_non_null(strstr(text, "Client: 127.0.0.1"));
    assert_non_null(strstr(text, "Auth: none"));
    free(text);
    close(fd);
}

/* A viewer presses a key and leaves; the display closes before the loop looks
 * again. */
static void use_and_close(struct vnc_rig *t)
{
    unsigned w, h;
    int fd;

    open_vnc(t, "");
    fd = open_client(t, &w, &h);
    put_key(fd, true, 'a');
    request(fd, false, 1, 1);
    /* the answer tells that the key was read */
    assert_int_equal(recv(fd, &w, 1, 0), 1);
    close(fd);
    vm_unlock(t->r->vm);
    vnc_display_close(t->vnc);
    vm_lock(t->r->vm);
    t->vnc = NULL;
}

/* A build with sanitizers has no mallinfo2(), but the leak checker. */
static void what_viewers_sent_last_is_dropped_at_the_end(void **state)
{
    enum { LEAK_BYTES = 20000 };
    struct vnc_rig *t = *state;
    size_t before, after;

    use_and_close(t); /* what the library keeps */
    step(t);
    before = mallinfo2().uordblks;
    use_and_close(t);
    after = mallinfo2().uordblks;
    assert_true(after < before + LEAK_BYTES);
    assert_int_equal(t->keys, 0);
}

static void wrong_addresses_are_refused_with_a_reason(void **state)
{
    static const char *const wrong[] = { "",          "1",       ":x",
                                         ":59636",    ":-1",     "unix:",
                                         ":1,foo=on", ":5,to=3", ":1,to=x" };
    struct vnc_rig *t = *state;

    for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct vnc_options o = { .address = wrong[i] };
        struct vnc_display *v = NULL;
        struct err e = ERR_INIT;
        assert_int_equal(vnc_display_open(t->r->vm, &o, &v, &e), -EINVAL);
        assert_true(strlen(e.text) > 0);
    }
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(picture_equals_the_surface),
        T(changes_and_new_sizes_are_sent),
        T(keys_become_key_codes_with_the_shift_they_need),
        T(keys_held_by_a_viewer_that_leaves_are_released),
        T(scan_codes_of_viewers_go_before_what_is_printed_on_keys),
        T(pointer_positions_become_motion),
        T(password_is_asked_for_and_checked),
        T(web_pages_are_not_answered),
        T(a_port_in_use_is_one_clear_error),
        T(unix_sockets_are_private_and_work),
        T(info_tells_server_and_viewers),
        T(what_viewers_sent_last_is_dropped_at_the_end),
        T(wrong_addresses_are_refused_with_a_reason),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

#else

int main(void)
{
    puts("SKIP: built without libvncserver");
    return 0;
}

#endif
