/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * 8042 keyboard controller of a PS/2 PC: ports 0x60 and 0x64, keyboard and
 * auxiliary device, A20 gate and reset line on the output port.
 *
 * Document: IBM PS/2 Hardware Interface Technical Reference, "Keyboard and
 * Auxiliary Device Controller".  The output buffer holds one octet.  The
 * controller's own answer goes first, then the keyboard, then the mouse.
 * Answers to commands follow each other at once; key and motion octets keep
 * the distance they have on a real cable, because old programs read port 0x60
 * several times for one key.
 */
#include "hw/chips/chips.h"

#include <errno.h>

#include "core/base/log.h"
#include "core/host/input.h"
#include "core/vm/clock.h"
#include "core/vm/port.h"
#include "core/vm/vm.h"
#include "hw/chips/ps2.h"

/* Status register */
#define ST_OBF  0x01
#define ST_SYS  0x04
#define ST_A2   0x08 /* last write went to port 0x64 */
#define ST_KEYL 0x10 /* not locked */
#define ST_AUX  0x20 /* the octet is the mouse's */

/* Command byte (RAM octet 0) */
#define CB_KBD_INT 0x01
#define CB_AUX_INT 0x02
#define CB_SYS     0x04
#define CB_KBD_OFF 0x10
#define CB_AUX_OFF 0x20
#define CB_XLATE   0x40

/* Output port */
#define OUT_RESET   0x01 /* 0 resets the CPU */
#define OUT_A20     0x02
#define OUT_KBD_OBF 0x10
#define OUT_AUX_OBF 0x20

enum {
    CMD_READ_RAM = 0x20,  /* ..0x3f */
    CMD_WRITE_RAM = 0x60, /* ..0x7f */
    CMD_TEST_PASSWORD = 0xa4,
    CMD_AUX_OFF = 0xa7,
    CMD_AUX_ON = 0xa8,
    CMD_AUX_TEST = 0xa9,
    CMD_SELF_TEST = 0xaa,
    CMD_KBD_TEST = 0xab,
    CMD_KBD_OFF = 0xad,
    CMD_KBD_ON = 0xae,
    CMD_READ_INPUT = 0xc0,
    CMD_POLL_LOW = 0xc1,
    CMD_POLL_HIGH = 0xc2,
    CMD_READ_OUTPUT = 0xd0,
    CMD_WRITE_OUTPUT = 0xd1,
    CMD_WRITE_KBD_OBF = 0xd2,
    CMD_WRITE_AUX_OBF = 0xd3,
    CMD_WRITE_AUX = 0xd4,
    CMD_A20_OFF = 0xdd,
    CMD_A20_ON = 0xdf,
    CMD_READ_TEST = 0xe0,
    CMD_PULSE = 0xf0, /* ..0xff */

    INPUT_PORT = 0x80, /* keyboard not locked */
    EVENT_GAP_NS = 500000,
};

struct i8042 {
    struct ps2_kbd kbd;
    struct ps2_mouse mouse;
    uint8_t ram[32]; /* octet 0: command byte */
    uint8_t status;
    uint8_t out;     /* output buffer */
    uint8_t command; /* waits for its parameter, 0 = none */
    uint8_t outport; /* bits OUT_RESET, OUT_A20 and others as written */
    bool has_reply, is_reply_aux;
    uint8_t reply;          /* of the controller, waits for the buffer */
    bool is_break;          /* translation: 0xf0 seen */
    uint64_t next_event_ns; /* no key or motion octet before this */
    struct dev *d;
    struct timer timer;
    struct irq_line kbd_irq, aux_irq;
};

/*
 * What the controller makes of scan code set 2 when it translates to set 1;
 * the rest (0x80 and up) passes, but for 0x83 and 0x84.
 */
/* clang-format off */
static const uint8_t set2_to_set1[128] = {
    0xff, 0x43, 0x41, 0x3f, 0x3d, 0x3b, 0x3c, 0x58,
    0x64, 0x44, 0x42, 0x40, 0x3e, 0x0f, 0x29, 0x59,
    0x65, 0x38, 0x2a, 0x70, 0x1d, 0x10, 0x02, 0x5a,
    0x66, 0x71, 0x2c, 0x1f, 0x1e, 0x11, 0x03, 0x5b,
    0x67, 0x2e, 0x2d, 0x20, 0x12, 0x05, 0x04, 0x5c,
    0x68, 0x39, 0x2f, 0x21, 0x14, 0x13, 0x06, 0x5d,
    0x69, 0x31, 0x30, 0x23, 0x22, 0x15, 0x07, 0x5e,
    0x6a, 0x72, 0x32, 0x24, 0x16, 0x08, 0x09, 0x5f,
    0x6b, 0x33, 0x25, 0x17, 0x18, 0x0b, 0x0a, 0x60,
    0x6c, 0x34, 0x35, 0x26, 0x27, 0x19, 0x0c, 0x61,
    0x6d, 0x73, 0x28, 0x74, 0x1a, 0x0d, 0x62, 0x6e,
    0x3a, 0x36, 0x1c, 0x1b, 0x75, 0x2b, 0x63, 0x76,
    0x55, 0x56, 0x77, 0x78, 0x79, 0x7a, 0x0e, 0x7b,
    0x7c, 0x4f, 0x7d, 0x4b, 0x47, 0x7e, 0x7f, 0x6f,
    0x52, 0x53, 0x50, 0x4c, 0x4d, 0x48, 0x01, 0x45,
    0x57, 0x4e, 0x51, 0x4a, 0x37, 0x49, 0x46, 0x54,
};
/* clang-format on */

static uint8_t i8042_translate(uint8_t v)
{
    if (v < 0x80) return set2_to_set1[v];
    return v == 0x83 ? 0x41 : v == 0x84 ? 0x54 : v;
}

static void i8042_update_irq(struct i8042 *k)
{
    bool is_full = (k->status & ST_OBF) != 0;
    bool is_aux = (k->status & ST_AUX) != 0;
    uint8_t cb = k->ram[0];

    irq_set(&k->kbd_irq, is_full && !is_aux && (cb & CB_KBD_INT) != 0);
    irq_set(&k->aux_irq, is_full && is_aux && (cb & CB_AUX_INT) != 0);
}

static void i8042_fill(struct i8042 *k, uint8_t v, bool is_aux)
{
    k->out = v;
    k->status |= ST_OBF;
    k->status = is_aux ? k->status | ST_AUX : k->status & ~ST_AUX;
}

/* Next octet of the keyboard, translated; false: none (any more). */
static bool i8042_take_kbd(struct i8042 *k, uint8_t *v, bool *is_answer)
{
    while (ps2_kbd_read(&k->kbd, v, is_answer)) {
        if ((k->ram[0] & CB_XLATE) == 0) return true;
        if (*v == 0xf0) { /* break prefix becomes bit 7 */
            k->is_break = true;
            continue;
        }
        *v = i8042_translate(*v);
        if (k->is_break) *v |= 0x80;
        k->is_break = false;
        return true;
    }
    return false;
}

/* Move the next octet into the output buffer if it is empty. */
static void i8042_update(struct i8042 *k)
{
    uint64_t now_ns = clock_now_ns(k->d->vm);
    bool is_answer = true, is_aux = false, has = false;
    bool kbd_on = (k->ram[0] & CB_KBD_OFF) == 0;
    bool aux_on = (k->ram[0] & CB_AUX_OFF) == 0;
    bool is_early = now_ns < k->next_event_ns;
    uint8_t v = 0;

    if ((k->status & ST_OBF) != 0) goto out;
    if (k->has_reply) {
        k->has_reply = false;
        i8042_fill(k, k->reply, k->is_reply_aux);
        goto out;
    }
    if (kbd_on && (!is_early || k->kbd.answers.len != 0))
        has = i8042_take_kbd(k, &v, &is_answer);
    if (!has && aux_on && (!is_early || k->mouse.answers.len != 0)) {
        is_aux = true;
        has = ps2_mouse_read(&k->mouse, &v, &is_answer);
    }
    if (has) {
        i8042_fill(k, v, is_aux);
        if (!is_answer) k->next_event_ns = now_ns + EVENT_GAP_NS;
    } else if (is_early && ((kbd_on && ps2_kbd_has_data(&k->kbd)) ||
                            (aux_on && ps2_mouse_has_data(&k->mouse)))) {
        timer_arm_locked(&k->timer, k->next_event_ns);
    }
out:
    i8042_update_irq(k);
}

static void i8042_due(void *arg)
{
    i8042_update(arg);
}

/* An answer of the controller itself. */
static void i8042_reply(struct i8042 *k, uint8_t v, bool is_aux)
{
    k->reply = v;
    k->is_reply_aux = is_aux;
    k->has_reply = true;
}

static uint8_t i8042_outport(const struct i8042 *k)
{
    uint8_t v = k->outport & ~(OUT_KBD_OBF | OUT_AUX_OBF);

    if ((k->status & ST_OBF) != 0)
        v |= (k->status & ST_AUX) != 0 ? OUT_AUX_OBF : OUT_KBD_OBF;
    return v;
}

static void i8042_set_outport(struct i8042 *k, uint8_t v)
{
    k->outport = v | OUT_RESET;
    port92_set_kbd_a20(k->d->vm, (v & OUT_A20) != 0);
    if ((v & OUT_RESET) == 0) vm_request(k->d->vm, VM_REQ_RESET);
}

static void i8042_set_command_byte(struct i8042 *k, uint8_t v)
{
    k->ram[0] = v;
    k->status = (v & CB_SYS) != 0 ? k->status | ST_SYS : k->status & ~ST_SYS;
}

static void i8042_command(struct i8042 *k, uint8_t v)
{
    k->status |= ST_A2;
    k->command = 0;
    if (v >= CMD_READ_RAM && v < CMD_READ_RAM + 32) {
        i8042_reply(k, k->ram[v & 31], false);
        return;
    }
    if (v >= CMD_WRITE_RAM && v < CMD_WRITE_RAM + 32) {
        k->command = v;
        return;
    }
    if (v >= CMD_PULSE) { /* low bits: lines that are not pulsed */
        if ((v & OUT_RESET) == 0) vm_request(k->d->vm, VM_REQ_RESET);
        return;
    }
    switch (v) {
    case CMD_TEST_PASSWORD: i8042_reply(k, 0xf1, false); break; /* none */
    case CMD_AUX_OFF: k->ram[0] |= CB_AUX_OFF; break;
    case CMD_AUX_ON: k->ram[0] &= ~CB_AUX_OFF; break;
    case CMD_AUX_TEST:
    case CMD_KBD_TEST: i8042_reply(k, 0x00, false); break;
    case CMD_SELF_TEST:
        i8042_set_command_byte(k, k->ram[0] | CB_SYS);
        i8042_reply(k, 0x55, false);
        break;
    case CMD_KBD_OFF: k->ram[0] |= CB_KBD_OFF; break;
    case CMD_KBD_ON: k->ram[0] &= ~CB_KBD_OFF; break;
    case CMD_READ_INPUT: i8042_reply(k, INPUT_PORT, false); break;
    case CMD_POLL_LOW: /* port bits into status 7:4, which hold errors */
    case CMD_POLL_HIGH: break;
    case CMD_READ_OUTPUT: i8042_reply(k, i8042_outport(k), false); break;
    case CMD_A20_OFF: i8042_set_outport(k, k->outport & ~OUT_A20); break;
    case CMD_A20_ON: i8042_set_outport(k, k->outport | OUT_A20); break;
    case CMD_READ_TEST: i8042_reply(k, 0x00, false); break;
    case CMD_WRITE_OUTPUT:
    case CMD_WRITE_KBD_OBF:
    case CMD_WRITE_AUX_OBF:
    case CMD_WRITE_AUX: k->command = v; break;
    default: log_guest("i8042", "command 0x%02x is not known", v); break;
    }
}

static void i8042_data(struct i8042 *k, uint8_t v)
{
    uint8_t command = k->command;

    k->status &= ~ST_A2;
    k->command = 0;
    switch (command) {
    case 0: /* to the keyboard, which switches its cable on */
        k->ram[0] &= ~CB_KBD_OFF;
        ps2_kbd_write(&k->kbd, v);
        break;
    case CMD_WRITE_RAM: i8042_set_command_byte(k, v); break;
    case CMD_WRITE_OUTPUT: i8042_set_outport(k, v); break;
    case CMD_WRITE_KBD_OBF: i8042_reply(k, v, false); break;
    case CMD_WRITE_AUX_OBF: i8042_reply(k, v, true); break;
    case CMD_WRITE_AUX:
        k->ram[0] &= ~CB_AUX_OFF;
        ps2_mouse_write(&k->mouse, v);
        break;
    default: k->ram[command & 31] = v; break;
    }
}

static uint32_t i8042_read_data(void *arg, unsigned port, unsigned bytes)
{
    struct i8042 *k = arg;
    uint8_t v = k->out;

    (void)port;
    (void)bytes;
    k->status &= ~(ST_OBF | ST_AUX);
    i8042_update_irq(k); /* falls, so that the next octet is an edge */
    i8042_update(k);
    return v;
}

static void i8042_write_data(void *arg, unsigned port, unsigned bytes,
                             uint32_t v)
{
    (void)port;
    (void)bytes;
    i8042_data(arg, v & 0xff);
    i8042_update(arg);
}

static uint32_t i8042_read_status(void *arg, unsigned port, unsigned bytes)
{
    const struct i8042 *k = arg;

    (void)port;
    (void)bytes;
    return k->status | ST_KEYL;
}

static void i8042_write_command(void *arg, unsigned port, unsigned bytes,
                                uint32_t v)
{
    (void)port;
    (void)bytes;
    i8042_command(arg, v & 0xff);
    i8042_update(arg);
}

static const struct port_ops i8042_data_ops = {
    .read = i8042_read_data,
    .write = i8042_write_data,
};
static const struct port_ops i8042_command_ops = {
    .read = i8042_read_status,
    .write = i8042_write_command,
};

static void i8042_key(void *arg, unsigned keycode, bool is_down)
{
    struct i8042 *k = arg;

    ps2_kbd_key(&k->kbd, keycode, is_down);
    i8042_update(k);
}

static void i8042_mouse(void *arg, int dx, int dy, int dz, unsigned buttons)
{
    struct i8042 *k = arg;

    ps2_mouse_move(&k->mouse, dx, dy, dz, buttons);
    i8042_update(k);
}

void i8042_connect(struct dev *d, struct irq_line kbd, struct irq_line aux)
{
    struct i8042 *k = d->s;

    k->kbd_irq = kbd;
    k->aux_irq = aux;
}

static int i8042_create(struct dev *d, struct err *e)
{
    const struct input_handler h = {
        .key = i8042_key,
        .mouse = i8042_mouse,
        .arg = d->s,
    };
    struct i8042 *k = d->s;
    struct input *in = vm_input(d->vm);
    int rc;

    if (in == NULL) return err_set(e, -ENOMEM, "no memory for input");
    k->d = d;
    timer_init(&k->timer, d->vm, i8042_due, k);
    rc = port_map_locked(d->vm, 0x60, 1, &i8042_data_ops, k, "i8042", e);
    if (rc < 0) return rc;
    rc = port_map_locked(d->vm, 0x64, 1, &i8042_command_ops, k, "i8042", e);
    if (rc < 0) {
        port_unmap_locked(d->vm, 0x60, 1, k);
        return rc;
    }
    ps2_kbd_reset(&k->kbd);
    ps2_mouse_reset(&k->mouse);
    input_add_handler_locked(in, &h);
    return 0;
}

static void i8042_destroy(struct dev *d)
{
    struct i8042 *k = d->s;

    input_remove_handler_locked(vm_service(d->vm, "input"), k);
    timer_disarm_locked(&k->timer);
    port_unmap_locked(d->vm, 0x60, 1, k);
    port_unmap_locked(d->vm, 0x64, 1, k);
}

static void i8042_reset(struct dev *d)
{
    struct i8042 *k = d->s;

    ps2_kbd_reset(&k->kbd);
    ps2_mouse_reset(&k->mouse);
    for (unsigned i = 0; i < sizeof(k->ram); i++) {
        k->ram[i] = 0;
    }
    k->ram[0] = CB_KBD_INT | CB_AUX_INT;
    k->status = 0;
    k->out = k->command = k->reply = 0;
    k->has_reply = k->is_reply_aux = k->is_break = false;
    k->next_event_ns = 0;
    k->outport = OUT_RESET | OUT_A20;
    timer_disarm_locked(&k->timer);
    port92_set_kbd_a20(d->vm, true);
    i8042_update_irq(k);
}

static int i8042_loaded(struct dev *d, unsigned version, struct err *e)
{
    struct i8042 *k = d->s;
    uint64_t now_ns = clock_now_ns(d->vm);

    (void)version;
    if (!ps2_kbd_is_valid(&k->kbd))
        return err_set(e, -EINVAL, "keyboard state is not consistent");
    if (!ps2_mouse_is_valid(&k->mouse))
        return err_set(e, -EINVAL, "mouse state is not consistent");
    if (k->next_event_ns > now_ns + EVENT_GAP_NS) k->next_event_ns = now_ns;
    k->outport |= OUT_RESET;
    port92_set_kbd_a20(d->vm, (k->outport & OUT_A20) != 0);
    i8042_update(k);
    return 0;
}

static const struct field i8042_state[] = {
    STRUCT(i8042, kbd, ps2_kbd_state),
    STRUCT(i8042, mouse, ps2_mouse_state),
    BYTES(i8042, ram),
    U8(i8042, status),
    U8(i8042, out),
    U8(i8042, command),
    U8(i8042, outport),
    BOOL(i8042, has_reply),
    BOOL(i8042, is_reply_aux),
    U8(i8042, reply),
    BOOL(i8042, is_break),
    U64(i8042, next_event_ns),
    STATE_END,
};

const struct dev_class i8042_class = {
    .name = "i8042",
    .title = "8042 controller, PS/2 keyboard and mouse",
    .bus = BUS_SYSTEM,
    .size = sizeof(struct i8042),
    .state = i8042_state,
    .version = 1,
    .is_internal = true,
    .create = i8042_create,
    .reset = i8042_reset,
    .loaded = i8042_loaded,
    .destroy = i8042_destroy,
};
