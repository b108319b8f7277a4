/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * 16550A UART on the ISA bus, attached to a character device.
 *
 * Document: National PC16550D data sheet.  Octets leave at once: there is no
 * baud rate, so the transmitter is always empty again when the guest looks,
 * and only the order of THRE interrupts is kept.  Received octets wait in the
 * back end until the FIFO has room; the character timeout runs on the guest's
 * clock with the programmed rate.
 */
#include "hw/chips/chips.h"

#include <errno.h>

#include "core/host/chardev.h"
#include "core/vm/clock.h"
#include "core/vm/port.h"
#include "core/vm/vm.h"

/* PC16550D data sheet, table II */
enum {
    UART_RBR,
    UART_IER,
    UART_IIR,
    UART_LCR,
    UART_MCR,
    UART_LSR,
    UART_MSR,
    UART_SCR,
    UART_PORTS
};

#define IER_RDA  0x01
#define IER_THRE 0x02
#define IER_RLS  0x04
#define IER_MSI  0x08

#define IIR_NONE 0x01
#define IIR_MSI  0x00
#define IIR_THRE 0x02
#define IIR_RDA  0x04
#define IIR_RLS  0x06
#define IIR_CTI  0x0c
#define IIR_FIFO 0xc0

#define FCR_ENABLE      0x01
#define FCR_RX_RESET    0x02
#define FCR_RX_LEVEL(v) ((v) >> 6 & 3)

#define LCR_BREAK 0x40
#define LCR_DLAB  0x80

#define MCR_DTR  0x01
#define MCR_RTS  0x02
#define MCR_OUT1 0x04
#define MCR_OUT2 0x08
#define MCR_LOOP 0x10
#define MCR_BITS 0x1f

#define LSR_DR       0x01
#define LSR_OE       0x02
#define LSR_BI       0x10
#define LSR_ERRORS   0x1e
#define LSR_THRE     0x20
#define LSR_TEMT     0x40
#define LSR_FIFO_ERR 0x80

#define MSR_DELTAS 0x0f
#define MSR_TERI   0x04
#define MSR_CTS    0x10
#define MSR_DSR    0x20
#define MSR_RI     0x40
#define MSR_DCD    0x80

enum { UART_FIFO = 16 };
#define UART_CLOCK_HZ 1843200u

struct uart {
    uint8_t ier, lcr, mcr, msr, scr, fcr;
    uint16_t divisor;
    uint8_t rx[UART_FIFO], rx_error[UART_FIFO]; /* LSR bits of each octet */
    uint8_t rx_head, rx_len;
    bool has_overrun;
    bool has_thre;    /* THRE interrupt pending */
    bool has_timeout; /* character timeout pending */
    /* properties */
    uint32_t iobase, irq_number, number;
    char *chardev;
    struct dev *d;
    struct chardev *chr;
    bool is_starved; /* the back end was told to wait */
    struct timer timer;
    struct irq_line irq;
};

static unsigned uart_capacity(const struct uart *u)
{
    return (u->fcr & FCR_ENABLE) != 0 ? UART_FIFO : 1;
}

static unsigned uart_trigger(const struct uart *u)
{
    static const uint8_t level[4] = { 1, 4, 8, 14 };

    return (u->fcr & FCR_ENABLE) != 0 ? level[FCR_RX_LEVEL(u->fcr)] : 1;
}

static uint8_t uart_lsr(const struct uart *u)
{
    uint8_t v = LSR_THRE | LSR_TEMT;

    if (u->has_overrun) v |= LSR_OE;
    if (u->rx_len == 0) return v;
    v |= LSR_DR | u->rx_error[u->rx_head % UART_FIFO];
    for (unsigned i = 0; i < u->rx_len; i++) {
        if (u->rx_error[(u->rx_head + i) % UART_FIFO] != 0 &&
            (u->fcr & FCR_ENABLE) != 0)
            v |= LSR_FIFO_ERR;
    }
    return v;
}

/* Highest pending interrupt, data sheet table IV. */
static uint8_t uart_iir(const struct uart *u)
{
    if ((u->ier & IER_RLS) != 0 && (uart_lsr(u) & LSR_ERRORS) != 0)
        return IIR_RLS;
    if ((u->ier & IER_RDA) != 0) {
        if (u->rx_len >= uart_trigger(u)) return IIR_RDA;
        if (u->has_timeout && u->rx_len != 0) return IIR_CTI;
    }
    if ((u->ier & IER_THRE) != 0 && u->has_thre) return IIR_THRE;
    if ((u->ier & IER_MSI) != 0 && (u->msr & MSR_DELTAS) != 0) return IIR_MSI;
    return IIR_NONE;
}

/* OUT2 enables the driver of the interrupt line on a PC card. */
static void uart_update_irq(struct uart *u)
{
    irq_set(&u->irq, uart_iir(u) != IIR_NONE && (u->mcr & MCR_OUT2) != 0 &&
                         (u->mcr & MCR_LOOP) == 0);
}

/* Four character times without a read, "FIFO Interrupt Mode Operation". */
static void uart_arm_timeout(struct uart *u)
{
    unsigned bits =
        2 + 5 + (u->lcr & 3) + (u->lcr >> 2 & 1) + (u->lcr >> 3 & 1);
    uint32_t divisor = u->divisor != 0 ? u->divisor : 1;

    if ((u->fcr & FCR_ENABLE) == 0 || u->rx_len == 0) {
        timer_disarm_locked(&u->timer);
        return;
    }
    timer_arm_locked(&u->timer, clock_now_ns(u->d->vm) +
                                    muldiv64(4ull * bits * 16 * divisor,
                                             1000000000u, UART_CLOCK_HZ));
}

static void uart_timeout(void *arg)
{
    struct uart *u = arg;

    u->has_timeout = u->rx_len != 0;
    uart_update_irq(u);
}

static void uart_put(struct uart *u, uint8_t v, uint8_t error)
{
    if (u->rx_len >= uart_capacity(u)) {
        u->has_overrun = true;
        if ((u->fcr & FCR_ENABLE) != 0) return; /* the new one is lost */
        u->rx_len = 0; /* without FIFO it overwrites the holding register */
    }
    u->rx[(u->rx_head + u->rx_len) % UART_FIFO] = v;
    u->rx_error[(u->rx_head + u->rx_len) % UART_FIFO] = error;
    u->rx_len++;
    uart_arm_timeout(u);
}

static uint8_t uart_get(struct uart *u)
{
    uint8_t v = u->rx[u->rx_head % UART_FIFO];

    if (u->rx_len == 0) return v; /* the last one again */
    u->rx_len--;
    if (u->rx_len != 0 || (u->fcr & FCR_ENABLE) != 0)
        u->rx_head = (u->rx_head + 1) % UART_FIFO;
    u->has_timeout = false;
    uart_arm_timeout(u);
    return v;
}

/* Tell the back end when there is room again. */
static void uart_accept(struct uart *u)
{
    if (u->chr == NULL || !u->is_starved || (u->mcr & MCR_LOOP) != 0 ||
        u->rx_len >= uart_capacity(u)) {
        return;
    }
    u->is_starved = false;
    chardev_accept_input(u->chr);
}

/* Modem lines: the peer's, or looped back from MCR. */
static void uart_set_lines(struct uart *u)
{
    uint8_t was = u->msr, now = 0;

    if ((u->mcr & MCR_LOOP) != 0) {
        if ((u->mcr & MCR_RTS) != 0) now |= MSR_CTS;
        if ((u->mcr & MCR_DTR) != 0) now |= MSR_DSR;
        if ((u->mcr & MCR_OUT1) != 0) now |= MSR_RI;
        if ((u->mcr & MCR_OUT2) != 0) now |= MSR_DCD;
    } else {
        now = MSR_CTS | MSR_DSR | MSR_DCD;
    }
    u->msr = now | (was & MSR_DELTAS) | ((was ^ now) >> 4 & ~MSR_TERI & 0x0f);
    if ((was & MSR_RI) != 0 && (now & MSR_RI) == 0) u->msr |= MSR_TERI;
}

static void uart_send(struct uart *u, uint8_t v)
{
    if ((u->mcr & MCR_LOOP) != 0) {
        uart_put(u, v, 0);
    } else if (u->chr != NULL) {
        chardev_write(u->chr, &v, 1);
    }
    /* Writing THR clears the interrupt; it is empty again right away. */
    u->has_thre = false;
    uart_update_irq(u);
    u->has_thre = true;
}

static void uart_set_fcr(struct uart *u, uint8_t v)
{
    bool is_switched = ((v ^ u->fcr) & FCR_ENABLE) != 0;

    if ((v & FCR_ENABLE) == 0) v = 0; /* other bits need it */
    if (is_switched || (v & FCR_RX_RESET) != 0) {
        u->rx_head = u->rx_len = 0;
        u->has_timeout = false;
        uart_arm_timeout(u);
    }
    u->fcr = v & 0xc9; /* the reset bits clear themselves */
}

static void uart_set_lcr(struct uart *u, uint8_t v)
{
    bool is_break = (v & ~u->lcr & LCR_BREAK) != 0;

    u->lcr = v;
    if (is_break && (u->mcr & MCR_LOOP) != 0) uart_put(u, 0, LSR_BI);
}

static void uart_write(void *arg, unsigned port, unsigned bytes, uint32_t v)
{
    struct uart *u = arg;
    bool is_divisor = (u->lcr & LCR_DLAB) != 0;

    (void)bytes;
    v &= 0xff;
    switch (port) {
    case UART_RBR:
        if (is_divisor) {
            u->divisor = (u->divisor & 0xff00) | v;
        } else {
            uart_send(u, v);
        }
        break;
    case UART_IER:
        if (is_divisor) {
            u->divisor = (u->divisor & 0x00ff) | v << 8;
            break;
        }
        /* Enabling THRE while the register is empty interrupts at once. */
        if ((v & ~u->ier & IER_THRE) != 0) u->has_thre = true;
        u->ier = v & 0x0f;
        break;
    case UART_IIR: uart_set_fcr(u, v); break;
    case UART_LCR: uart_set_lcr(u, v); break;
    case UART_MCR:
        u->mcr = v & MCR_BITS;
        uart_set_lines(u);
        break;
    case UART_SCR: u->scr = v; break;
    default: break; /* LSR and MSR: factory test */
    }
    uart_accept(u);
    uart_update_irq(u);
}

static uint32_t uart_read(void *arg, unsigned port, unsigned bytes)
{
    struct uart *u = arg;
    bool is_divisor = (u->lcr & LCR_DLAB) != 0;
    uint8_t v = 0xff;

    (void)bytes;
    switch (port) {
    case UART_RBR: v = is_divisor ? u->divisor & 0xff : uart_get(u); break;
    case UART_IER: v = is_divisor ? u->divisor >> 8 : u->ier; break;
    case UART_IIR:
        v = uart_iir(u);
        if (v == IIR_THRE) u->has_thre = false;
        if ((u->fcr & FCR_ENABLE) != 0) v |= IIR_FIFO;
        break;
    case UART_LCR: v = u->lcr; break;
    case UART_MCR: v = u->mcr; break;
    case UART_LSR: /* a read clears the error bits */
        v = uart_lsr(u);
        u->has_overrun = false;
        if (u->rx_len != 0) u->rx_error[u->rx_head % UART_FIFO] = 0;
        break;
    case UART_MSR:
        v = u->msr;
        u->msr &= ~MSR_DELTAS;
        break;
    default: v = u->scr; break;
    }
    uart_accept(u);
    uart_update_irq(u);
    return v;
}

static const struct port_ops uart_ops = {
    .read = uart_read,
    .write = uart_write,
};

/* The back end calls from the loop thread without the lock, and may do so
 * from inside chardev_accept_input(), where this thread has it. */
static size_t uart_can_receive(void *arg)
{
    struct uart *u = arg;
    struct vm *vm = u->d->vm;
    bool has_lock = vm_is_locked(vm);
    unsigned cap;
    size_t room = 0;

    if (!has_lock) vm_lock(vm);
    cap = uart_capacity(u);
    if ((u->mcr & MCR_LOOP) == 0 && u->rx_len < cap) room = cap - u->rx_len;
    u->is_starved = room == 0;
    if (!has_lock) vm_unlock(vm);
    return room;
}

static void uart_receive(void *arg, const uint8_t *buf, size_t bytes)
{
    struct uart *u = arg;
    struct vm *vm = u->d->vm;
    bool has_lock = vm_is_locked(vm);

    if (!has_lock) vm_lock(vm);
    for (size_t i = 0; i < bytes; i++) {
        uart_put(u, buf[i], 0);
    }
    uart_update_irq(u);
    if (!has_lock) vm_unlock(vm);
}

void uart_connect(struct dev *d, struct irq_line irq)
{
    struct uart *u = d->s;

    u->irq = irq;
}

static void uart_reset(struct dev *d)
{
    struct uart *u = d->s;

    u->ier = u->lcr = u->mcr = u->scr = u->fcr = 0;
    u->divisor = 12; /* undefined by the data sheet: 9600 baud */
    u->rx_head = u->rx_len = 0;
    u->has_overrun = u->has_thre = u->has_timeout = false;
    u->msr = MSR_CTS | MSR_DSR | MSR_DCD;
    timer_disarm_locked(&u->timer);
    uart_update_irq(u);
    uart_accept(u);
}

static int uart_create(struct dev *d, struct err *e)
{
    static const uint16_t base[4] = { 0x3f8, 0x2f8, 0x3e8, 0x2e8 };
    static const uint8_t irq[4] = { 4, 3, 4, 3 };
    struct chardev_front front = {
        .can_receive = uart_can_receive,
        .receive = uart_receive,
        .arg = d->s,
    };
    struct uart *u = d->s;
    int rc;

    u->d = d;
    if (u->number > 3) return err_set(e, -ERANGE, "index is above 3");
    if (u->iobase == 0) u->iobase = base[u->number];
    if (u->irq_number == 0) u->irq_number = irq[u->number];
    if (u->chardev != NULL) {
        u->chr = chardev_find(d->vm, u->chardev);
        if (u->chr == NULL) {
            return err_set(e, -ENOENT, "there is no chardev '%s'", u->chardev);
        }
    }
    timer_init(&u->timer, d->vm, uart_timeout, u);
    rc = port_map_locked(d->vm, u->iobase, UART_PORTS, &uart_ops, u,
                         "isa-serial", e);
    if (rc < 0) return rc;
    u->irq = isa_irq_line(d->vm, u->irq_number);
    uart_reset(d);
    if (u->chr != NULL) chardev_set_front(u->chr, &front);
    return 0;
}

static void uart_destroy(struct dev *d)
{
    struct uart *u = d->s;

    if (u->chr != NULL) chardev_set_front(u->chr, NULL);
    timer_disarm_locked(&u->timer);
    port_unmap_locked(d->vm, u->iobase, UART_PORTS, u);
}

static int uart_loaded(struct dev *d, unsigned version, struct err *e)
{
    struct uart *u = d->s;

    (void)version;
    if (u->rx_len > uart_capacity(u))
        return err_set(e, -EINVAL, "rx_len is more than the FIFO holds");
    u->is_starved = true;
    uart_accept(u);
    uart_arm_timeout(u);
    uart_update_irq(u);
    return 0;
}

static const struct prop uart_props[] = {
    PROP("index", P_U32, uart, number, 0, 3, "0", NULL,
         "0 to 3 for COM1 to COM4"),
    PROP("iobase", P_U32, uart, iobase, 0, 0xfff8, "0", NULL,
         "first port; 0: by index"),
    PROP("irq", P_U32, uart, irq_number, 0, 15, "0", NULL,
         "interrupt line; 0: by index"),
    PROP("chardev", P_CHARDEV, uart, chardev, 0, 0, NULL, NULL,
         "character device at the other end"),
    PROP_END,
};

static const struct field uart_state[] = {
    U8_MAX(uart, ier, 0x0f),
    U8(uart, lcr),
    U8_MAX(uart, mcr, MCR_BITS),
    U8(uart, msr),
    U8(uart, scr),
    U8_MAX(uart, fcr, 0xc9),
    U16(uart, divisor),
    BYTES(uart, rx),
    BYTES(uart, rx_error),
    U8_MAX(uart, rx_head, UART_FIFO - 1),
    U8_MAX(uart, rx_len, UART_FIFO),
    BOOL(uart, has_overrun),
    BOOL(uart, has_thre),
    BOOL(uart, has_timeout),
    STATE_END,
};

const struct dev_class uart_class = {
    .name = "isa-serial",
    .title = "16550A serial port",
    .bus = BUS_ISA,
    .size = sizeof(struct uart),
    .props = uart_props,
    .state = uart_state,
    .version = 1,
    .create = uart_create,
    .reset = uart_reset,
    .loaded = uart_loaded,
    .destroy = uart_destroy,
};
