/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * PS/2 mouse with the wheel protocols: standard (three octets a packet), the
 * IntelliMouse's (four, id 3, after sample rates 200, 100, 80) and the
 * five-button one (id 4, after 200, 200, 80).  Motion that finds no room in
 * the queue adds up until there is.
 */
#include "hw/chips/ps2.h"

/* Mouse commands */
enum {
    MOUSE_SCALE_1 = 0xe6,
    MOUSE_SCALE_2 = 0xe7,
    MOUSE_RESOLUTION = 0xe8,
    MOUSE_STATUS = 0xe9,
    MOUSE_STREAM = 0xea,
    MOUSE_READ = 0xeb,
    MOUSE_WRAP_OFF = 0xec,
    MOUSE_WRAP = 0xee,
    MOUSE_REMOTE = 0xf0,
    MOUSE_GET_ID = 0xf2,
    MOUSE_RATE = 0xf3,
    MOUSE_ENABLE = 0xf4,
    MOUSE_DISABLE = 0xf5,
    MOUSE_DEFAULTS = 0xf6,
    MOUSE_RESEND = 0xfe,
    MOUSE_RESET = 0xff,

    PS2_ACK = 0xfa,
    PS2_BAT_OK = 0xaa,
    PS2_AGAIN = 0xfe, /* not understood */
};

/* Progress of the magic sequences: rates seen so far */
enum { KNOCK_NONE, KNOCK_200, KNOCK_200_100, KNOCK_200_200 };

static void mouse_defaults(struct ps2_mouse *m)
{
    ps2_queue_clear(&m->events);
    m->command = 0;
    m->rate = 100;
    m->resolution = 2;
    m->knock = KNOCK_NONE;
    m->is_enabled = m->is_remote = m->is_wrap = m->is_scaled = false;
    m->dx = m->dy = m->dz = 0;
}

void ps2_mouse_reset(struct ps2_mouse *m)
{
    ps2_queue_clear(&m->answers);
    mouse_defaults(m);
    m->id = 0;
    m->buttons = m->sent_buttons = 0;
    m->last = 0;
}

static int mouse_clamp(int v, int low, int high)
{
    return v < low ? low : v > high ? high : v;
}

/* IBM reference, "Scaling 2 to 1": of stream mode alone. */
static int mouse_scale(int v)
{
    static const int8_t small[6] = { 0, 1, 1, 3, 6, 9 };
    int size = v < 0 ? -v : v;

    size = size < 6 ? small[size] : 2 * size;
    return v < 0 ? -size : size;
}

/* One packet of what has added up. */
static void mouse_packet(struct ps2_mouse *m, struct ps2_queue *q,
                         bool is_stream)
{
    int limit = is_stream && m->is_scaled ? 127 : 255;
    int dx = mouse_clamp((int32_t)m->dx, -limit, limit);
    int dy = mouse_clamp((int32_t)m->dy, -limit, limit);
    int dz = mouse_clamp((int32_t)m->dz, -8, 7);

    m->dx -= (uint32_t)dx;
    m->dy -= (uint32_t)dy;
    m->sent_buttons = m->buttons;
    if (limit == 127) {
        dx = mouse_scale(dx);
        dy = mouse_scale(dy);
    }
    dy = -dy; /* up is positive on the cable */
    ps2_queue_put(q, (m->buttons & 7) | 0x08 | (dx < 0 ? 0x10 : 0) |
                         (dy < 0 ? 0x20 : 0));
    ps2_queue_put(q, (unsigned)dx & 0xff);
    ps2_queue_put(q, (unsigned)dy & 0xff);
    if (m->id == 0) {
        m->dz = 0;
        return;
    }
    m->dz -= (uint32_t)dz;
    if (m->id == 4) {
        ps2_queue_put(q, ((unsigned)dz & 0x0f) | (m->buttons & 0x18) << 1);
    } else {
        ps2_queue_put(q, (unsigned)dz & 0xff);
    }
}

static bool mouse_has_event(const struct ps2_mouse *m)
{
    uint8_t seen = m->id == 4 ? 0x1f : 7;

    return m->dx != 0 || m->dy != 0 || (m->id != 0 && m->dz != 0) ||
           ((m->buttons ^ m->sent_buttons) & seen) != 0;
}

static void mouse_stream(struct ps2_mouse *m)
{
    unsigned bytes = m->id == 0 ? 3 : 4;

    if (!m->is_enabled || m->is_remote || m->is_wrap) return;
    while (mouse_has_event(m) && ps2_queue_room(&m->events) >= bytes) {
        mouse_packet(m, &m->events, true);
    }
}

/* Add, but keep what is waiting within what a user can mean. */
static uint32_t mouse_add(uint32_t sum, int v)
{
    int64_t n = (int64_t)(int32_t)sum + v;

    return (uint32_t)(int32_t)(n < -32768 ? -32768 : n > 32767 ? 32767 : n);
}

void ps2_mouse_move(struct ps2_mouse *m, int dx, int dy, int dz,
                    unsigned buttons)
{
    m->buttons = buttons & 0x1f;
    if (!m->is_enabled && !m->is_remote) return;
    m->dx = mouse_add(m->dx, dx);
    m->dy = mouse_add(m->dy, dy);
    m->dz = mouse_add(m->dz, dz);
    mouse_stream(m);
}

static void mouse_set_rate(struct ps2_mouse *m, uint8_t rate)
{
    m->rate = rate;
    if (rate == 200 && m->knock != KNOCK_200) {
        m->knock = KNOCK_200;
    } else if (rate == 200) {
        m->knock = KNOCK_200_200;
    } else if (rate == 100 && m->knock == KNOCK_200) {
        m->knock = KNOCK_200_100;
    } else {
        if (rate == 80 && m->knock == KNOCK_200_100) m->id = 3;
        if (rate == 80 && m->knock == KNOCK_200_200) m->id = 4;
        m->knock = KNOCK_NONE;
    }
}

static bool mouse_parameter(struct ps2_mouse *m, uint8_t v)
{
    uint8_t command = m->command;

    m->command = 0;
    if (command == MOUSE_RATE && v <= 200 && v >= 10) {
        mouse_set_rate(m, v);
    } else if (command == MOUSE_RESOLUTION && v <= 3) {
        m->resolution = v;
    } else if (command != 0 && v < MOUSE_SCALE_1) {
        ps2_queue_put(&m->answers, PS2_AGAIN);
        return true;
    } else {
        return false;
    }
    ps2_queue_put(&m->answers, PS2_ACK);
    return true;
}

static void mouse_status(struct ps2_mouse *m)
{
    unsigned b = m->buttons;

    /* Here the right button is bit 0 and the left one bit 2. */
    ps2_queue_put(&m->answers, (m->is_remote ? 0x40 : 0) |
                                   (m->is_enabled ? 0x20 : 0) |
                                   (m->is_scaled ? 0x10 : 0) | (b & 1) << 2 |
                                   (b & 4) >> 1 | (b & 2) >> 1);
    ps2_queue_put(&m->answers, m->resolution);
    ps2_queue_put(&m->answers, m->rate);
}

void ps2_mouse_write(struct ps2_mouse *m, uint8_t v)
{
    if (m->is_wrap && v != MOUSE_RESET && v != MOUSE_WRAP_OFF) {
        ps2_queue_put(&m->answers, v);
        return;
    }
    if (mouse_parameter(m, v)) return;
    if (v == MOUSE_RESEND) {
        ps2_queue_put(&m->answers, m->last);
        return;
    }
    /* A command stops the packet that was on its way. */
    ps2_queue_clear(&m->answers);
    ps2_queue_clear(&m->events);
    ps2_queue_put(&m->answers, PS2_ACK);
    switch (v) {
    case MOUSE_SCALE_1: m->is_scaled = false; break;
    case MOUSE_SCALE_2: m->is_scaled = true; break;
    case MOUSE_RESOLUTION:
    case MOUSE_RATE: m->command = v; break;
    case MOUSE_STATUS: mouse_status(m); break;
    case MOUSE_STREAM: m->is_remote = false; break;
    case MOUSE_READ: mouse_packet(m, &m->answers, false); break;
    case MOUSE_WRAP_OFF: m->is_wrap = false; break;
    case MOUSE_WRAP: m->is_wrap = true; break;
    case MOUSE_REMOTE: m->is_remote = true; break;
    case MOUSE_GET_ID: ps2_queue_put(&m->answers, m->id); break;
    case MOUSE_ENABLE: m->is_enabled = true; break;
    case MOUSE_DISABLE: m->is_enabled = false; break;
    case MOUSE_DEFAULTS: mouse_defaults(m); break;
    case MOUSE_RESET:
        ps2_mouse_reset(m);
        ps2_queue_put(&m->answers, PS2_ACK);
        ps2_queue_put(&m->answers, PS2_BAT_OK);
        ps2_queue_put(&m->answers, m->id);
        break;
    default:
        ps2_queue_clear(&m->answers);
        ps2_queue_put(&m->answers, PS2_AGAIN);
        break;
    }
}

bool ps2_mouse_read(struct ps2_mouse *m, uint8_t *v, bool *is_answer)
{
    bool has_answer = ps2_queue_get(&m->answers, v);

    if (is_answer != NULL) *is_answer = has_answer;
    if (!has_answer && !ps2_queue_get(&m->events, v)) return false;
    m->last = *v;
    mouse_stream(m); /* there is room now */
    return true;
}

bool ps2_mouse_has_data(const struct ps2_mouse *m)
{
    return m->answers.len != 0 || m->events.len != 0;
}

bool ps2_mouse_is_valid(const struct ps2_mouse *m)
{
    return ps2_queue_is_valid(&m->answers) && ps2_queue_is_valid(&m->events) &&
           (m->id == 0 || m->id == 3 || m->id == 4);
}
