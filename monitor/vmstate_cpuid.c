/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A guest that was told of a feature uses it for as long as it lives.  So what
 * the saved CPUs showed, these have to have; what they have beyond it does no
 * harm.  Leaves and bits: Intel SDM volume 2A, CPUID; AMD APM volume 3,
 * appendix E.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/cpu/cpu.h"
#include "core/cpu/cpuid.h"
#include "core/cpu/host_cpuid.h"
#include "core/vm/vm.h"
#include "monitor/vmstate_int.h"

/* Words of feature bits.  Left out: what depends on the number of CPUs or on
 * CR4, tells of hardware that no guest of ours has, or of speed alone. */
static const struct word {
    uint32_t leaf, subleaf;
    unsigned reg;
    uint32_t bits;
} words[] = {
    /* DTES64 DS-CPL EST TM2 CNXT xTPR PDCM OSXSAVE hypervisor */
    { 1, 0, 2, ~0x8800c594u },
    /* DS ACPI SS HTT TM PBE */
    { 1, 0, 3, ~0xb8600000u },
    /* FDP_EXCPTN ERMS FCS_FDS */
    { 7, 0, 1, ~0x2240u },
    { 7, 0, 2, ~0u },
    /* FSRM MD_CLEAR */
    { 7, 0, 3, ~0x410u },
    { 7, 1, 0, ~0u },
    { 0xd, 1, 0, ~0u },
    { 0x80000001, 0, 2, ~0u },
    { 0x80000001, 0, 3, ~0u },
};
enum { WORDS = sizeof(words) / sizeof(words[0]) };

static uint32_t word_of(const struct cpuid_leaf *l, unsigned reg)
{
    const uint32_t v[4] = { l->eax, l->ebx, l->ecx, l->edx };

    return v[reg];
}

static uint32_t word_here(const struct cpu_model *m, const struct word *w)
{
    for (unsigned i = 0; i < m->leaf_count; i++) {
        if (m->leaf[i].leaf == w->leaf && m->leaf[i].subleaf == w->subleaf)
            return word_of(&m->leaf[i], w->reg);
    }
    return 0;
}

static int missing(struct vm *vm, const struct word *w, unsigned bit,
                   struct err *e)
{
    static const char *const reg[] = { "EAX", "EBX", "ECX", "EDX" };
    const char *name = cpu_feature_name(w->leaf, w->subleaf, w->reg, bit);
    char text[64];

    if (name == NULL) {
        snprintf(text, sizeof(text), "CPUID %x.%x %s bit %u", w->leaf,
                 w->subleaf, reg[w->reg], bit);
        name = text;
    }
    return err_set(e, -EINVAL,
                   "the saved machine's CPUs have %s, those of this one under "
                   "accelerator %s do not; give both the same -cpu",
                   name, vm_accel_name(vm));
}

static int check_leaf(struct vm *vm, const struct cpu_model *m,
                      const struct cpuid_leaf *l, struct err *e)
{
    for (unsigned i = 0; i < WORDS; i++) {
        const struct word *w = &words[i];
        uint32_t lacks;

        if (w->leaf != l->leaf || w->subleaf != l->subleaf) continue;
        lacks = word_of(l, w->reg) & w->bits & ~word_here(m, w);
        if (lacks != 0)
            return missing(vm, w, (unsigned)__builtin_ctz(lacks), e);
    }
    return 0;
}

int vmstate_check_cpuid(struct vm *vm, const char *meta, struct err *e)
{
    const struct vcpu *v = vm_vcpu(vm, 0);
    const struct cpu_model *m = v == NULL ? NULL : v->cpu->model;
    char line[80];
    int rc = 0;

    for (unsigned n = 0; m != NULL && rc == 0 && n < 1000 &&
                         vmstate_meta(meta, "cpuid", n, line, sizeof(line));
         n++) {
        struct cpuid_leaf l;

        if (sscanf(line, "%x.%x %x %x %x %x", &l.leaf, &l.subleaf, &l.eax,
                   &l.ebx, &l.ecx, &l.edx) != 6)
            return vmstate_damaged(e, "its CPUs' features");
        rc = check_leaf(vm, m, &l, e);
    }
    return rc;
}
