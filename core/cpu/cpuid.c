/* SPDX-License-Identifier: GPL-2.0-or-later */

/* CPUID as one CPU executes it: the model's leaves plus what depends on the
 * CPU (APIC id, OSXSAVE, size of the enabled state). */
#include "core/cpu/cpuid.h"

#include "core/cpu/emu.h"

static const struct cpuid_leaf *find(const struct cpu_model *m, uint32_t leaf,
                                     uint32_t subleaf)
{
    for (unsigned n = 0; n < m->leaf_count; n++) {
        const struct cpuid_leaf *l = &m->leaf[n];
        if (l->leaf == leaf && l->subleaf == subleaf) return l;
    }
    return NULL;
}

/* Leaves whose ECX on input selects nothing. */
static bool has_subleaves(uint32_t leaf)
{
    return leaf == 4 || leaf == 7 || leaf == 0xb || leaf == 0xd;
}

void cpu_cpuid(const struct cpu *c, uint32_t leaf, uint32_t subleaf,
               uint32_t out[4])
{
    out[0] = out[1] = out[2] = out[3] = 0;
    if (!c->model) return;
    uint32_t sub = has_subleaves(leaf) ? subleaf : 0;
    const struct cpuid_leaf *l = find(c->model, leaf, sub);
    if (l) {
        out[0] = l->eax;
        out[1] = l->ebx;
        out[2] = l->ecx;
        out[3] = l->edx;
    }
    switch (leaf) {
    case 1:
        out[1] = (out[1] & 0x00ffffff) | c->index << 24;
        if (c->cr4 & CR4_OSXSAVE) out[2] |= 1u << 27;
        if (!(c->apic_base & 1u << 11)) out[3] &= ~(1u << 9);
        break;
    case 0xb:
        out[2] |= subleaf & 0xff;
        out[3] = c->index;
        break;
    case 0xd:
        if (!l) break;
        if (subleaf < 2) out[1] = c->xcr0 & 4 ? 832 : 576;
        break;
    default: break;
    }
}
