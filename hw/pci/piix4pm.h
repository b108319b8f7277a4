/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_HW_PCI_PIIX4PM_H
#define ORRERY_HW_PCI_PIIX4PM_H

/* What the ACPI tables say about the power management function; where its
 * registers are is up to firmware, which follows the FADT. */
enum {
    PIIX4PM_BASE = 0x600,
    PIIX4PM_GPE_PORT = 0xafe0,
    PIIX4PM_GPE_BYTES = 4,
    PIIX4PM_SMI_CMD = 0xb2,
    PIIX4PM_ACPI_ENABLE = 0xf1,
    PIIX4PM_ACPI_DISABLE = 0xf0,
};

#endif
