/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Power management function of the PIIX4 (00:01.3): ACPI fixed hardware, PM
 * timer, APM ports 0xb2/0xb3, SMBus host controller without devices, and the
 * general purpose event block the DSDT names.
 *
 * Documents: Intel 82371AB (PIIX4) data sheet (290562), chapter 7 (PM
 * registers, offsets below are from its PM base) and 11 (SMBus); ACPI
 * specification 4.8 (fixed hardware), PM timer 3.579545 MHz, 24 bits.
 *
 * Writing APMC asserts SMI#, where the machine has connected it, while
 * DEVACTB.APMC_EN and GLBCTL.SMI_EN are set.  Where it has not, DEVACTB reads
 * back with APMC_EN set, which firmware takes for "SMM is set up already".  The
 * two commands of the FADT are different: what an SMI handler would do for
 * ACPI enable and disable is done here, as firmware of this machine expects,
 * and no SMI is raised.
 */
#include "hw/pci/piix4pm.h"

#include <string.h>

#include "core/base/log.h"
#include "core/vm/clock.h"
#include "core/vm/port.h"
#include "core/vm/vm.h"
#include "hw/pci.h"
#include "hw/pci/i440fx.h"

/* Configuration registers */
enum {
    CFG_PMBA = 0x40,      /* PM base, bits 15:6, bit 0 reads 1 */
    CFG_DEVACTB3 = 0x5b,  /* bit 1, bit 25 of DEVACTB: APMC_EN */
    CFG_PMREGMISC = 0x80, /* bit 0: PM registers decoded */
    CFG_SMBBA = 0x90,
    CFG_SMBHSTCFG = 0xd2, /* bit 0: SMBus registers decoded */
};

/* I/O registers, from the PM base */
enum {
    PM1_STS = 0x00,
    PM1_EN = 0x02,
    PM1_CNT = 0x04,
    PM_TMR = 0x08,
    GLBSTS = 0x18,
    GLBCTL = 0x28,
    PM_BYTES = 64,
    SMB_BYTES = 16,
    APM_PORT = 0xb2,
};

#define STS_TMR        0x0001u
#define STS_PWRBTN     0x0100u
#define STS_WRITE1     0x8d31u /* bits that writing one clears */
#define EN_WRITABLE    0x0521u
#define CNT_SCI_EN     0x0001u
#define CNT_SLP_EN     0x2000u
#define CNT_SLP_TYP(v) ((v) >> 10 & 7)
#define CNT_WRITABLE   0x1c07u

#define APMC_EN       0x02u
#define GLBSTS_APM    0x20u
#define GLBCTL_SMI_EN 0x01u

#define PM_TIMER_HZ 3579545u
#define NS_PER_S    1000000000u

/* SMBus host controller */
#define SMBHSTSTS_ERROR 0x04 /* DEV_ERR: nobody acknowledged */
#define SMBHSTSTS_W1C   0x1e
#define SMBHSTCNT_START 0x40

struct piix4pm {
    struct pci_func pci; /* first */
    struct dev *d;
    struct irq_line sci, smi;
    struct timer timer; /* next carry into bit 23 of the PM timer */
    uint16_t pm1_sts, pm1_en, pm1_cnt;
    uint64_t timer_seen; /* PM timer half period that STS_TMR reflects */
    uint8_t gpe_sts[2], gpe_en[2];
    uint8_t apmc, apms;
    uint8_t glbsts, glbctl; /* the low octet of each */
    bool has_smi;           /* SMI# was connected at the last reset */
    uint8_t smb[SMB_BYTES];
    uint16_t pm_at, smb_at; /* where ports are mapped, 0: nowhere */
};

/* ---- PM timer ---- */

static uint64_t timer_ticks(const struct piix4pm *p)
{
    return muldiv64(clock_now_ns(p->d->vm), PM_TIMER_HZ, NS_PER_S);
}

/* STS_TMR is set whenever bit 23 changes. */
static void catch_up(struct piix4pm *p)
{
    uint64_t half = timer_ticks(p) >> 23;

    if (half == p->timer_seen) return;
    p->timer_seen = half;
    p->pm1_sts |= STS_TMR;
}

static void update_sci(struct piix4pm *p)
{
    bool level = (p->pm1_sts & p->pm1_en & EN_WRITABLE) != 0 ||
                 (p->gpe_sts[0] & p->gpe_en[0]) != 0 ||
                 (p->gpe_sts[1] & p->gpe_en[1]) != 0;

    irq_set(&p->sci, level && p->pm1_cnt & CNT_SCI_EN);
    if (p->pm1_en & STS_TMR && !(p->pm1_sts & STS_TMR)) {
        uint64_t next = (p->timer_seen + 1) << 23;

        timer_arm_locked(&p->timer, muldiv64(next, NS_PER_S, PM_TIMER_HZ) + 1);
    } else {
        timer_disarm_locked(&p->timer);
    }
}

static void timer_carried(void *arg)
{
    struct piix4pm *p = arg;

    catch_up(p);
    update_sci(p);
}

/* ---- ACPI registers ---- */

static void control_write(struct piix4pm *p, uint16_t v)
{
    p->pm1_cnt = v & CNT_WRITABLE;
    if (v & CNT_SLP_EN && CNT_SLP_TYP(v) == 0) { /* S5, as _S5 says */
        vm_request(p->d->vm, VM_REQ_SHUTDOWN);
    }
}

static uint8_t pm_read8(struct piix4pm *p, unsigned at)
{
    uint32_t v = 0;

    switch (at & ~3u) {
    case PM1_STS: v = p->pm1_sts | (uint32_t)p->pm1_en << 16; break;
    case PM1_CNT: v = p->pm1_cnt; break;
    case PM_TMR: v = (uint32_t)timer_ticks(p) & 0xffffff; break;
    case GLBSTS: v = p->glbsts; break;
    case GLBCTL: v = p->glbctl; break;
    default: break;
    }
    return (uint8_t)(v >> 8 * (at & 3));
}

static uint32_t pm_read(void *arg, unsigned port, unsigned bytes)
{
    struct piix4pm *p = arg;
    uint32_t v = 0;

    catch_up(p);
    update_sci(p);
    for (unsigned i = 0; i < bytes; i++) {
        v |= (uint32_t)pm_read8(p, port + i) << 8 * i;
    }
    /* One sample of the timer: octets of two would not fit together. */
    if (port == PM_TMR && bytes == 4) {
        v = (uint32_t)timer_ticks(p) & 0xffffff;
    }
    return v;
}

static uint16_t merged(uint16_t old, unsigned at, uint8_t v)
{
    unsigned shift = at & 1 ? 8 : 0;

    return (uint16_t)((old & ~(0xff << shift)) | v << shift);
}

static void pm_write(void *arg, unsigned port, unsigned bytes, uint32_t v)
{
    struct piix4pm *p = arg;
    bool has_control = false;
    uint16_t control = p->pm1_cnt;

    catch_up(p);
    for (unsigned i = 0; i < bytes; i++) {
        unsigned at = port + i;
        uint8_t b = (uint8_t)(v >> 8 * i);

        switch (at & ~1u) {
        case PM1_STS:
            p->pm1_sts &= (uint16_t) ~(merged(0, at, b) & STS_WRITE1);
            break;
        case PM1_EN: p->pm1_en = merged(p->pm1_en, at, b) & EN_WRITABLE; break;
        case PM1_CNT:
            control = merged(control, at, b);
            has_control = true;
            break;
        default: break;
        }
        if (at == GLBSTS) p->glbsts &= (uint8_t)~b;
        if (at == GLBCTL) p->glbctl = b & GLBCTL_SMI_EN;
    }
    if (has_control) control_write(p, control);
    update_sci(p);
}

static const struct port_ops pm_ops = { pm_read, pm_write, 4 };

/* General purpose events: two status octets, two enable octets. */
static uint32_t gpe_read(void *arg, unsigned port, unsigned bytes)
{
    const struct piix4pm *p = arg;

    (void)bytes;
    return port < 2 ? p->gpe_sts[port & 1] : p->gpe_en[port & 1];
}

static void gpe_write(void *arg, unsigned port, unsigned bytes, uint32_t v)
{
    struct piix4pm *p = arg;

    (void)bytes;
    if (port < 2) {
        p->gpe_sts[port & 1] &= (uint8_t)~v;
    } else {
        p->gpe_en[port & 1] = (uint8_t)v;
    }
    update_sci(p);
}

static const struct port_ops gpe_ops = { gpe_read, gpe_write, 1 };

/* ---- APM ---- */

static uint32_t apm_read(void *arg, unsigned port, unsigned bytes)
{
    const struct piix4pm *p = arg;

    (void)bytes;
    return port == 0 ? p->apmc : p->apms;
}

static void assert_smi(struct piix4pm *p)
{
    if (!p->has_smi || !(p->pci.config[CFG_DEVACTB3] & APMC_EN)) return;
    p->glbsts |= GLBSTS_APM;
    if (p->glbctl & GLBCTL_SMI_EN) {
        irq_set(&p->smi, true);
        irq_set(&p->smi, false);
    }
}

static void apm_write(void *arg, unsigned port, unsigned bytes, uint32_t v)
{
    struct piix4pm *p = arg;

    (void)bytes;
    if (port == 1) {
        p->apms = (uint8_t)v;
        return;
    }
    p->apmc = (uint8_t)v;
    switch (v) {
    case PIIX4PM_ACPI_ENABLE: p->pm1_cnt |= CNT_SCI_EN; break;
    case PIIX4PM_ACPI_DISABLE: p->pm1_cnt &= (uint16_t)~CNT_SCI_EN; break;
    default: assert_smi(p); return;
    }
    update_sci(p);
}

static const struct port_ops apm_ops = { apm_read, apm_write, 1 };

/* ---- SMBus: registers, and no device that answers ---- */

enum { SMBHSTSTS = 0, SMBHSTCNT = 2, SMBBLKDAT = 7 };

static uint32_t smb_read(void *arg, unsigned port, unsigned bytes)
{
    const struct piix4pm *p = arg;

    (void)bytes;
    return p->smb[port % SMB_BYTES];
}

static void smb_write(void *arg, unsigned port, unsigned bytes, uint32_t v)
{
    struct piix4pm *p = arg;

    (void)bytes;
    port %= SMB_BYTES;
    if (port == SMBHSTSTS) {
        p->smb[SMBHSTSTS] &= (uint8_t) ~(v & SMBHSTSTS_W1C);
    } else if (port <= SMBBLKDAT) {
        p->smb[port] = (uint8_t)v;
    }
    if (port == SMBHSTCNT && v & SMBHSTCNT_START) {
        p->smb[SMBHSTCNT] &= (uint8_t)~SMBHSTCNT_START;
        p->smb[SMBHSTSTS] |= SMBHSTSTS_ERROR;
    }
}

static const struct port_ops smb_ops = { smb_read, smb_write, 1 };

/* ---- configuration ---- */

static uint16_t base_of(const struct piix4pm *p, unsigned reg, unsigned bytes)
{
    unsigned v = p->pci.config[reg] | p->pci.config[reg + 1] << 8;

    return (uint16_t)(v & ~(bytes - 1));
}

static void move_ports(struct piix4pm *p, uint16_t *at, uint16_t to,
                       unsigned bytes, const struct port_ops *ops,
                       const char *name)
{
    if (*at == to) return;
    if (*at != 0) port_unmap_locked(p->d->vm, *at, bytes, p);
    *at = 0;
    if (to != 0 &&
        port_map_locked(p->d->vm, to, bytes, ops, p, name, NULL) == 0) {
        *at = to;
    }
}

static void update_ports(struct piix4pm *p)
{
    const uint8_t *c = p->pci.config;
    bool has_pm = (c[CFG_PMREGMISC] & 1) != 0;
    bool has_smb = (c[CFG_SMBHSTCFG] & 1) != 0;

    move_ports(p, &p->pm_at, has_pm ? base_of(p, CFG_PMBA, PM_BYTES) : 0,
               PM_BYTES, &pm_ops, "piix4-pm");
    move_ports(p, &p->smb_at, has_smb ? base_of(p, CFG_SMBBA, SMB_BYTES) : 0,
               SMB_BYTES, &smb_ops, "pm-smbus");
}

static void config_written(struct pci_func *f, unsigned off, unsigned bytes)
{
    (void)off;
    (void)bytes;
    update_ports(f->d->s);
}

static void init_config(struct pci_func *f)
{
    memset(f->wmask + CFG_PMBA, 0xff, 4);
    f->wmask[CFG_PMBA] = 0xc0;
    memset(f->wmask + CFG_PMBA + 2, 0, 2);
    f->wmask[CFG_PMREGMISC] = 0x01;
    f->wmask[CFG_SMBBA] = 0xf0;
    f->wmask[CFG_SMBBA + 1] = 0xff;
    f->wmask[CFG_SMBHSTCFG] = 0x0f;
}

/* ---- device ---- */

static void power_event(void *arg, enum vm_event ev)
{
    struct piix4pm *p = arg;

    if (ev != VM_EVENT_POWERDOWN) return;
    p->pm1_sts |= STS_PWRBTN;
    update_sci(p);
}

void piix4pm_connect(struct dev *d, struct irq_line sci)
{
    struct piix4pm *p = d->s;

    p->sci = sci;
}

void piix4pm_connect_smi(struct dev *d, struct irq_line smi)
{
    struct piix4pm *p = d->s;

    p->smi = smi;
}

static int piix4pm_create(struct dev *d, struct err *e)
{
    static const struct pci_ids ids = {
        .vendor = 0x8086,
        .device = 0x7113,
        .subvendor = 0x1af4,
        .subdevice = 0x1100,
        .revision = 0x03,
        .subclass = 0x80,
        .base_class = 0x06,
        .intx_pin = 1,
    };
    struct piix4pm *p = d->s;
    int rc;

    p->d = d;
    timer_init(&p->timer, d->vm, timer_carried, p);
    rc = pci_func_init(d, &p->pci, &ids, 8 + 3, e);
    if (rc < 0) return rc;
    init_config(&p->pci);
    p->pci.config_written = config_written;
    rc = port_map_locked(d->vm, APM_PORT, 2, &apm_ops, p, "apm-io", e);
    if (rc < 0) goto exit_func;
    rc = port_map_locked(d->vm, PIIX4PM_GPE_PORT, PIIX4PM_GPE_BYTES, &gpe_ops,
                         p, "acpi-gpe0", e);
    if (rc < 0) goto unmap;
    vm_add_listener(d->vm, power_event, p);
    return 0;
unmap:
    port_unmap_locked(d->vm, APM_PORT, 2, p);
exit_func:
    pci_func_exit(&p->pci);
    return rc;
}

static void piix4pm_reset(struct dev *d)
{
    struct piix4pm *p = d->s;
    uint8_t *c = p->pci.config;

    pci_func_reset(&p->pci);
    c[0x07] = 0x02; /* medium DEVSEL timing */
    c[CFG_PMBA] = 0x01;
    c[CFG_PMBA + 1] = 0;
    p->has_smi = p->smi.set != NULL;
    c[CFG_DEVACTB3] = p->has_smi ? 0 : APMC_EN;
    p->pci.wmask[CFG_DEVACTB3] = p->has_smi ? APMC_EN : 0;
    c[CFG_PMREGMISC] = 0;
    c[CFG_SMBBA] = 0x01;
    c[CFG_SMBBA + 1] = 0;
    c[CFG_SMBHSTCFG] = 0;
    update_ports(p);
    p->pm1_sts = p->pm1_en = p->pm1_cnt = 0;
    p->timer_seen = timer_ticks(p) >> 23;
    memset(p->gpe_sts, 0, sizeof(p->gpe_sts));
    memset(p->gpe_en, 0, sizeof(p->gpe_en));
    p->apmc = p->apms = 0;
    p->glbsts = p->glbctl = 0;
    memset(p->smb, 0, sizeof(p->smb));
    update_sci(p);
}

/* Before version 2 no firmware was ever shown an SMI; and what was set up for
 * one stays as it is, without effect, where none can be raised. */
static void load_smi(struct piix4pm *p, unsigned version)
{
    if (version < 2) p->has_smi = false;
    if (!p->has_smi) p->pci.config[CFG_DEVACTB3] = APMC_EN;
    p->pci.config[CFG_DEVACTB3] &= APMC_EN;
    p->pci.wmask[CFG_DEVACTB3] = p->has_smi ? APMC_EN : 0;
    p->glbsts &= GLBSTS_APM;
    p->glbctl &= GLBCTL_SMI_EN;
    if (p->has_smi && p->smi.set == NULL) {
        log_warn("the state is of a machine with SMM, which this one is "
                 "without: firmware that is called in real mode may hang");
    }
}

static int piix4pm_loaded(struct dev *d, unsigned version, struct err *e)
{
    struct piix4pm *p = d->s;

    (void)e;
    pci_func_loaded(&p->pci);
    load_smi(p, version);
    p->pm1_sts &= STS_WRITE1;
    p->pm1_en &= EN_WRITABLE;
    p->pm1_cnt &= CNT_WRITABLE;
    p->timer_seen = timer_ticks(p) >> 23;
    update_ports(p);
    update_sci(p);
    return 0;
}

static void piix4pm_saving(struct dev *d)
{
    catch_up(d->s);
}

static void piix4pm_destroy(struct dev *d)
{
    struct piix4pm *p = d->s;

    vm_remove_listener(d->vm, p);
    timer_disarm_locked(&p->timer);
    p->pci.config[CFG_PMREGMISC] = p->pci.config[CFG_SMBHSTCFG] = 0;
    update_ports(p);
    port_unmap_locked(d->vm, APM_PORT, 2, p);
    port_unmap_locked(d->vm, PIIX4PM_GPE_PORT, PIIX4PM_GPE_BYTES, p);
    pci_func_exit(&p->pci);
}

static const struct field piix4pm_state[] = {
    STRUCT(piix4pm, pci, pci_func_state),
    U16(piix4pm, pm1_sts),
    U16(piix4pm, pm1_en),
    U16(piix4pm, pm1_cnt),
    BYTES(piix4pm, gpe_sts),
    BYTES(piix4pm, gpe_en),
    U8(piix4pm, apmc),
    U8(piix4pm, apms),
    U8(piix4pm, glbsts),
    U8(piix4pm, glbctl),
    BOOL(piix4pm, has_smi),
    BYTES(piix4pm, smb),
    STATE_END,
};

const struct dev_class piix4pm_class = {
    .name = "PIIX4_PM",
    .title = "Intel 82371AB power management",
    .bus = BUS_PCI,
    .size = sizeof(struct piix4pm),
    .state = piix4pm_state,
    .version = 2,
    .is_internal = true,
    .create = piix4pm_create,
    .reset = piix4pm_reset,
    .loaded = piix4pm_loaded,
    .saving = piix4pm_saving,
    .destroy = piix4pm_destroy,
};
