/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * 82093AA I/O APIC at 0xfec00000: 24 pins, each with a redirection entry that
 * says what message the pin sends to the local APICs.
 *
 * Document: Intel 82093AA data sheet (290566).  Lines are asserted or not:
 * the polarity bit is kept but does not invert, because devices here drive
 * what they mean and not a voltage.  An edge on a masked pin is lost, as the
 * data sheet says.
 */
#include "core/vm/ioapic.h"
#include "core/base/trace.h"

#include "core/vm/intr.h"
#include "core/vm/mem.h"
#include "core/vm/vm.h"
#include "hw/chips/chips.h"

/* Data sheet, "I/O APIC Registers" */
#define IOAPIC_BASE    0xfec00000u
#define IOAPIC_BYTES   0x1000u
#define IOAPIC_SELECT  0x00
#define IOAPIC_WINDOW  0x10
#define IOAPIC_ID      0x00
#define IOAPIC_VER     0x01
#define IOAPIC_ARB     0x02
#define IOAPIC_TABLE   0x10
#define IOAPIC_VERSION 0x11u

/* "I/O Redirection Table Registers" */
#define RTE_VECTOR(v)   ((v)&0xff)
#define RTE_DELIVERY(v) ((v) >> 8 & 7)
#define RTE_LOGICAL     (UINT64_C(1) << 11)
#define RTE_STATUS      (UINT64_C(1) << 12)
#define RTE_LOW_ACTIVE  (UINT64_C(1) << 13)
#define RTE_REMOTE_IRR  (UINT64_C(1) << 14)
#define RTE_LEVEL       (UINT64_C(1) << 15)
#define RTE_MASK        (UINT64_C(1) << 16)
#define RTE_DEST(v)     ((v) >> 56)
#define RTE_READ_ONLY   (RTE_STATUS | RTE_REMOTE_IRR)
#define RTE_DEFINED     (UINT64_C(0xff) << 56 | UINT64_C(0x1ffff))

/* Message format, SDM 3A 10.11 */
#define MSI_ADDR       UINT64_C(0xfee00000)
#define MSI_LOGICAL    0x04
#define MSI_HINT       0x08
#define MSI_ASSERT     0x4000
#define MSI_LEVEL      0x8000
#define DELIVER_LOWEST 1

struct ioapic {
    uint64_t entry[IOAPIC_PINS];
    uint32_t lines; /* levels of the pins */
    uint8_t id, select;
    struct dev *d;
    struct mem_region mmio;
    struct ioapic_service service;
    uint64_t count[IOAPIC_PINS];
};

static struct ioapic_route ioapic_route(void *arg, unsigned pin)
{
    const struct ioapic *a = arg;
    struct ioapic_route r = { .is_masked = true };
    uint64_t e;

    if (pin >= IOAPIC_PINS) return r;
    e = a->entry[pin];
    r.is_masked = (e & RTE_MASK) != 0;
    r.is_level = (e & RTE_LEVEL) != 0;
    r.addr = MSI_ADDR | RTE_DEST(e) << 12;
    if ((e & RTE_LOGICAL) != 0) r.addr |= MSI_LOGICAL;
    if (RTE_DELIVERY(e) == DELIVER_LOWEST) r.addr |= MSI_HINT;
    r.data = (uint32_t)(RTE_VECTOR(e) | RTE_DELIVERY(e) << 8) | MSI_ASSERT;
    if (r.is_level) r.data |= MSI_LEVEL;
    return r;
}

static void ioapic_send(struct ioapic *a, unsigned pin)
{
    struct ioapic_route r = ioapic_route(a, pin);

    a->count[pin]++;
    if (r.is_level) a->entry[pin] |= RTE_REMOTE_IRR;
    intr_msi_locked(a->d->vm, r.addr, r.data);
}

/* Send for a level pin that is up and not waiting for its EOI. */
static void ioapic_service_level(struct ioapic *a, unsigned pin)
{
    uint64_t e = a->entry[pin];

    if ((e & RTE_LEVEL) == 0 || (e & (RTE_MASK | RTE_REMOTE_IRR)) != 0) return;
    if ((a->lines >> pin & 1) != 0) ioapic_send(a, pin);
}

void ioapic_set_pin(struct dev *d, unsigned pin, bool level)
{
    struct ioapic *a = d->s;
    bool was;

    if (pin >= IOAPIC_PINS) return;
    was = (a->lines >> pin & 1) != 0;
    if (level == was) return;
    a->lines ^= 1u << pin;
    if (!level) return;
    if ((a->entry[pin] & RTE_LEVEL) != 0) {
        ioapic_service_level(a, pin);
    } else if ((a->entry[pin] & RTE_MASK) == 0) {
        ioapic_send(a, pin);
    }
}

static void ioapic_line(void *arg, unsigned n, bool level)
{
    trace(TRACE_IOAPIC_SET_IRQ, "pin %u level %d", n, level);
    ioapic_set_pin(arg, n, level);
}

struct irq_line ioapic_input(struct dev *d, unsigned pin)
{
    return (struct irq_line){ .set = ioapic_line, .arg = d, .n = pin };
}

static void ioapic_eoi(void *arg, uint8_t vector)
{
    struct ioapic *a = arg;

    for (unsigned pin = 0; pin < IOAPIC_PINS; pin++) {
        uint64_t e = a->entry[pin];

        if ((e & RTE_REMOTE_IRR) == 0 || RTE_VECTOR(e) != vector) continue;
        a->entry[pin] = e & ~RTE_REMOTE_IRR;
        ioapic_service_level(a, pin);
    }
}

static void ioapic_write_entry(struct ioapic *a, unsigned pin, bool is_high,
                               uint32_t v)
{
    uint64_t e = a->entry[pin];

    if (is_high) {
        e = (e & UINT32_MAX) | (uint64_t)v << 32;
    } else {
        e = (e & (RTE_READ_ONLY | UINT64_C(0xffffffff00000000))) |
            (v & ~RTE_READ_ONLY);
    }
    /* An edge pin waits for nothing: software uses this as an EOI. */
    if ((e & RTE_LEVEL) == 0) e &= ~RTE_REMOTE_IRR;
    a->entry[pin] = e & RTE_DEFINED;
    if (a->service.changed != NULL)
        a->service.changed(a->service.changed_arg, pin);
    ioapic_service_level(a, pin);
}

static uint32_t ioapic_window_read(const struct ioapic *a)
{
    unsigned at = a->select - IOAPIC_TABLE;

    switch (a->select) {
    case IOAPIC_ID:
    case IOAPIC_ARB: return (uint32_t)a->id << 24;
    case IOAPIC_VER: return (IOAPIC_PINS - 1) << 16 | IOAPIC_VERSION;
    default: break;
    }
    if (a->select < IOAPIC_TABLE || at / 2 >= IOAPIC_PINS) return 0;
    return (uint32_t)(a->entry[at / 2] >> ((at & 1) != 0 ? 32 : 0));
}

static uint64_t ioapic_read(void *arg, uint64_t offset, unsigned bytes)
{
    const struct ioapic *a = arg;

    (void)bytes;
    switch (offset & 0xff) {
    case IOAPIC_SELECT: return a->select;
    case IOAPIC_WINDOW: return ioapic_window_read(a);
    default: return 0;
    }
}

static void ioapic_write(void *arg, uint64_t offset, unsigned bytes, uint64_t v)
{
    struct ioapic *a = arg;
    unsigned at = a->select - IOAPIC_TABLE;

    (void)bytes;
    switch (offset & 0xff) {
    case IOAPIC_SELECT: a->select = v & 0xff; break;
    case IOAPIC_WINDOW:
        if (a->select == IOAPIC_ID) {
            a->id = v >> 24 & 0x0f;
        } else if (a->select >= IOAPIC_TABLE && at / 2 < IOAPIC_PINS) {
            ioapic_write_entry(a, at / 2, (at & 1) != 0, (uint32_t)v);
        }
        break;
    default: break;
    }
}

static const struct mem_ops ioapic_ops = {
    .read = ioapic_read,
    .write = ioapic_write,
    .min_bytes = 4,
    .max_bytes = 4,
};

static void print_pins(const struct ioapic *a, const char *name, uint64_t bit,
                       FILE *out)
{
    bool is_any = false;

    fprintf(out, "  %s", name);
    for (unsigned i = 0; i < IOAPIC_PINS; i++) {
        bool on = bit != 0 ? (a->entry[i] & bit) != 0 : a->lines >> i & 1;

        if (on) fprintf(out, " %u", i);
        is_any |= on;
    }
    fputs(is_any ? "\n" : " (none)\n", out);
}

/* Laid out as QEMU's. */
static void ioapic_print(void *arg, FILE *out)
{
    static const char *const delivery[8] = {
        "fixed", "lowest", "SMI", "...", "NMI", "INIT", "...", "ExtINT"
    };
    const struct ioapic *a = arg;

    fprintf(out, "ioapic0: ver=0x%x id=0x%02x sel=0x%02x", IOAPIC_VERSION,
            a->id, a->select);
    if (a->select >= 0x10)
        fprintf(out, " (redir[%u])", (a->select - 0x10u) / 2);
    fputc('\n', out);
    for (unsigned i = 0; i < IOAPIC_PINS; i++) {
        uint64_t e = a->entry[i];

        fprintf(out,
                "  pin %-2u 0x%016llx dest=%u vec=%-3u %s %-5s %-6s %-6s %s\n",
                i, (unsigned long long)e, (unsigned)RTE_DEST(e),
                (unsigned)RTE_VECTOR(e),
                (e & RTE_LOW_ACTIVE) != 0 ? "active-lo" : "active-hi",
                (e & RTE_LEVEL) != 0 ? "level" : "edge",
                (e & RTE_MASK) != 0 ? "masked" : "", delivery[RTE_DELIVERY(e)],
                (e & RTE_LOGICAL) != 0 ? "logical" : "physical");
    }
    print_pins(a, "IRR     ", 0, out);
    print_pins(a, "Remote IRR", RTE_REMOTE_IRR, out);
}

/* For `info irq`. */
static void ioapic_print_counts(void *arg, FILE *out)
{
    const struct ioapic *a = arg;

    fputs("IRQ statistics for ioapic:\n", out);
    for (unsigned i = 0; i < IOAPIC_PINS; i++) {
        if (a->count[i] > 0)
            fprintf(out, "%2u: %llu\n", i, (unsigned long long)a->count[i]);
    }
}

static int ioapic_create(struct dev *d, struct err *e)
{
    struct ioapic *a = d->s;

    (void)e;
    a->d = d;
    a->service = (struct ioapic_service){ .arg = a,
                                          .eoi = ioapic_eoi,
                                          .route = ioapic_route };
    for (unsigned i = 0; i < IOAPIC_PINS; i++) {
        a->entry[i] = RTE_MASK;
    }
    mem_init_mmio(&a->mmio, "ioapic", IOAPIC_BYTES, &ioapic_ops, a);
    mem_add_locked(d->vm, mem_root(d->vm), IOAPIC_BASE, &a->mmio, 1);
    vm_set_service(d->vm, "ioapic", &a->service);
    vm_add_info(d->vm, "ioapic", "show the I/O APIC", ioapic_print, a);
    vm_add_info(d->vm, "irq", "show how often each line was raised",
                ioapic_print_counts, a);
    return 0;
}

static void ioapic_destroy(struct dev *d)
{
    struct ioapic *a = d->s;

    vm_set_service(d->vm, "ioapic", NULL);
    mem_del_locked(d->vm, &a->mmio);
}

static void ioapic_reset(struct dev *d)
{
    struct ioapic *a = d->s;

    a->id = a->select = 0;
    for (unsigned i = 0; i < IOAPIC_PINS; i++) {
        a->entry[i] = RTE_MASK;
        if (a->service.changed != NULL)
            a->service.changed(a->service.changed_arg, i);
    }
}

static int ioapic_loaded(struct dev *d, unsigned version, struct err *e)
{
    struct ioapic *a = d->s;

    (void)version;
    (void)e;
    for (unsigned i = 0; i < IOAPIC_PINS; i++) {
        a->entry[i] &= RTE_DEFINED;
        if ((a->entry[i] & RTE_LEVEL) == 0) a->entry[i] &= ~RTE_REMOTE_IRR;
        if (a->service.changed != NULL)
            a->service.changed(a->service.changed_arg, i);
    }
    return 0;
}

static const struct field ioapic_state[] = {
    UINT_ARRAY(ioapic, entry, UINT64_MAX),
    U32_MAX(ioapic, lines, (1u << IOAPIC_PINS) - 1),
    U8_MAX(ioapic, id, 0x0f),
    U8(ioapic, select),
    STATE_END,
};

const struct dev_class ioapic_class = {
    .name = "ioapic",
    .title = "82093AA I/O APIC",
    .bus = BUS_SYSTEM,
    .size = sizeof(struct ioapic),
    .state = ioapic_state,
    .version = 1,
    .is_internal = true,
    .create = ioapic_create,
    .reset = ioapic_reset,
    .loaded = ioapic_loaded,
    .destroy = ioapic_destroy,
};
