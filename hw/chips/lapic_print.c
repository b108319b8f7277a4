/* SPDX-License-Identifier: GPL-2.0-or-later */
/* `info lapic`, laid out as QEMU's.  Bits: SDM volume 3, chapter 11. */
#include "core/vm/vm.h"
#include "hw/chips/lapic.h"

#define LVT_PENDING    0x1000u
#define LVT_ACTIVE_LOW 0x2000u
#define LVT_LEVEL      0x8000u
#define SVR_ENABLE     0x100u
#define SVR_FOCUS      0x200u
#define ICR_LOGICAL    0x800u
#define ICR_ASSERT     0x4000u
#define ICR_LEVEL      0x8000u

static void print_entry(const struct lapic *l, const char *name,
                        enum lapic_lvt n, FILE *out)
{
    static const char *const delivery[8] = {
        "Fixed", "Lowest", "SMI", "...", "NMI", "INIT", "SIPI", "ExtINT"
    };
    static const char *const modes[4] = { "one-shot", "periodic",
                                          "tsc-deadline", "" };
    uint32_t v = l->lvt[n];
    unsigned how = LVT_DELIVERY(v);

    fprintf(out, "%s\t 0x%08x %s %-5s %-6s %-7s %-12s %-6s", name, v,
            v & LVT_ACTIVE_LOW ? "active-lo" : "active-hi",
            v & LVT_LEVEL ? "level" : "edge", v & LVT_MASK ? "masked" : "",
            v & LVT_PENDING ? "pending" : "",
            n == LVT_TIMER ? modes[LVT_TIMER_MODE(v)] : "", delivery[how]);
    if (how != DELIVER_NMI) fprintf(out, " (vec %u)", LVT_VECTOR(v));
    fputc('\n', out);
}

static void print_vectors(const char *name, const uint32_t bits[8],
                          const uint32_t tmr[8], FILE *out)
{
    bool is_any = false;

    fprintf(out, "%s\t ", name);
    for (unsigned i = 0; i < 256; i++) {
        if (!(bits[i / 32] >> i % 32 & 1)) continue;
        fprintf(out, "%u%s ", i,
                tmr != NULL && tmr[i / 32] >> i % 32 & 1 ? "(level)" : "");
        is_any = true;
    }
    fputs(is_any ? "\n" : "(none)\n", out);
}

/* SDM 11.5.4: bits 3, 1 and 0 of the divide register. */
static unsigned divisor(uint32_t v)
{
    unsigned n = (v & 3) | (v >> 1 & 4);

    return n == 7 ? 1 : 2u << n;
}

static void print_icr(const struct lapic *l, FILE *out)
{
    static const char *const shorthand[4] = { "no-shorthand", "self",
                                              "all-self", "all" };
    uint32_t low = (uint32_t)l->icr, high = (uint32_t)(l->icr >> 32);

    fprintf(out, "ICR\t 0x%08x %s %s %s %s\n", low,
            low & ICR_LOGICAL ? "logical" : "physical",
            low & ICR_LEVEL ? "level" : "edge",
            low & ICR_ASSERT ? "assert" : "de-assert",
            shorthand[low >> 18 & 3]);
    fprintf(out, "ICR2\t 0x%08x ", high);
    if (lapic_is_x2(l)) {
        fprintf(out, "%s %08x (X2APIC ID)\n",
                low & ICR_LOGICAL ? "mask" : "cpu", high);
    } else if (low & ICR_LOGICAL) {
        fputs("mask ", out);
        for (unsigned i = 32; i-- > 24;)
            fputc(high >> i & 1 ? '1' : '0', out);
        fputs(" (APIC ID)\n", out);
    } else {
        fprintf(out, "cpu %u (APIC ID)\n", high >> 24);
    }
}

static void print_one(const struct lapic *l, unsigned cpu, FILE *out)
{
    fprintf(out, "dumping local APIC state for CPU %u \n\n", cpu);
    print_entry(l, "LVT0", LVT_LINT0, out);
    print_entry(l, "LVT1", LVT_LINT1, out);
    print_entry(l, "LVTPC", LVT_PMC, out);
    print_entry(l, "LVTERR", LVT_ERROR, out);
    print_entry(l, "LVTTHMR", LVT_THERMAL, out);
    print_entry(l, "LVTT", LVT_TIMER, out);
    fprintf(out,
            "Timer\t DCR=0x%x (divide by %u) initial_count = %u "
            "current_count = %u\n",
            l->divide, divisor(l->divide), l->initial, lapic_timer_current(l));
    fprintf(out, "SPIV\t 0x%08x APIC %s, focus=%s, spurious vec %u\n", l->svr,
            l->svr & SVR_ENABLE ? "enabled" : "disabled",
            l->svr & SVR_FOCUS ? "on" : "off", l->svr & 0xff);
    print_icr(l, out);
    fprintf(out, "ESR\t 0x%08x\n", l->esr);
    print_vectors("ISR", l->isr, NULL, out);
    print_vectors("IRR", l->irr, l->tmr, out);
    fprintf(out, "\nAPR 0x00 TPR 0x%02x DFR 0x%02x LDR 0x%02x PPR 0x%02x\n",
            l->tpr, l->dfr >> 28, l->ldr >> 24, lapic_ppr(l));
}

void lapic_print(void *lapics, FILE *out)
{
    const struct lapics *a = lapics;

    for (unsigned i = 0; i < vm_vcpu_count(a->d->vm); i++)
        print_one(&a->cpu[i & (VM_MAX_CPUS - 1)], i, out);
}
