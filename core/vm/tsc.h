/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_VM_TSC_H
#define ORRERY_VM_TSC_H

#include <stdint.h>

/*
 * Time stamp counter of the guest, published by the accelerator as service
 * "tsc" so that the local APIC's TSC-deadline timer can translate.  Without
 * it the local APIC takes a 1 GHz counter that runs with guest time.
 */
struct vm_tsc {
    uint64_t khz; /* not 0 */
    /* Counter as the guest's RDTSC on that CPU sees it (with IA32_TSC_ADJUST).
     * VM lock held. */
    uint64_t (*read)(void *arg, unsigned cpu);
    void *arg;
};

#endif
