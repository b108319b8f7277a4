/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_CPU_CPUID_H
#define ORRERY_CPU_CPUID_H

#include "core/base/err.h"
#include "core/cpu/cpu.h"

struct cpuid_leaf {
    uint32_t leaf, subleaf;
    uint32_t eax, ebx, ecx, edx;
};

/* Sets of instructions that are undefined where CPUID does not show them. */
enum cpu_set {
    CPU_SET_MMX = 1 << 0,
    CPU_SET_SSE = 1 << 1,
    CPU_SET_SSE2 = 1 << 2,
    CPU_SET_SSE3 = 1 << 3,
    CPU_SET_SSSE3 = 1 << 4,
    CPU_SET_SSE41 = 1 << 5,
    CPU_SET_SSE42 = 1 << 6,
    CPU_SET_AES = 1 << 7,
    CPU_SET_PCLMUL = 1 << 8,
    CPU_SET_SHA = 1 << 9,
    CPU_SET_GFNI = 1 << 10,
    CPU_SET_AVX = 1 << 11,
    CPU_SET_AVX2 = 1 << 12,
    CPU_SET_FMA = 1 << 13,
    CPU_SET_F16C = 1 << 14,
    CPU_SET_VAES = 1 << 15,
    CPU_SET_VPCLMUL = 1 << 16,
    CPU_SET_POPCNT = 1 << 17,
    CPU_SET_CMOV = 1 << 18,
    CPU_SET_CX16 = 1 << 19,
    CPU_SET_FXSR = 1 << 20,
    CPU_SET_CLFLUSH = 1 << 21,
    CPU_SET_CLFLUSHOPT = 1 << 22,
    CPU_SET_CLWB = 1 << 23,
    CPU_SET_XSAVEOPT = 1 << 24,
    CPU_SET_TSC = 1 << 25,
    CPU_SET_MSR = 1 << 26,
    CPU_SET_CX8 = 1 << 27,
    CPU_SET_SEP = 1 << 28,
    CPU_SET_SYSCALL = 1 << 29,
    CPU_SET_LAHF = 1 << 30, /* in 64-bit code */
    CPU_SETS_ALL = 0x7fffffff,
};

/* What one CPU model shows: built once, shared by all vCPUs, read only. */
struct cpu_model {
    char name[32];
    char missing[160]; /* features of the model that are not there: names */
    unsigned leaf_count;
    struct cpuid_leaf leaf[64];
    uint32_t sets;      /* enum cpu_set */
    uint64_t xcr0_mask; /* XSAVE components the guest may enable */
    unsigned phys_bits;
    uint64_t arch_capabilities; /* MSR 0x10a where CPUID announces it */
    bool is_amd;
    bool is_native; /* the host's CPU runs the guest: it and the kernel say
                       which CR4, EFER and XCR0 there can be */
    bool has_nx, has_1g_pages, has_pcid, has_invpcid, has_smep, has_smap,
        has_fsgsbase, has_umip, has_xsave, has_rdtscp, has_x2apic,
        has_tsc_deadline, has_mtrr, has_pat, has_long, has_spec_ctrl;
};

/*
 * Build the model called spec ("max", "host", "qemu64", "x86-64-v2", a name
 * followed by ",+feature,-feature") for the soft engine: the intersection of
 * the host's CPUID and what the engine implements.  cpus = number of vCPUs
 * (topology leaves).  What a named model has and the host lacks is left out
 * and told in m->missing; ",enforce" makes it an error.  Errors: -EINVAL naming
 * the model or feature.
 */
int cpu_model_build(struct cpu_model *m, const char *spec, unsigned cpus,
                    struct err *e);

/* Does the model (NULL: everything is there) have what i belongs to?  Else it
 * is undefined.  Any thread. */
struct insn;
bool insn_is_offered(const struct cpu_model *m, const struct insn *i);
/* The same of an instruction's octets; mode and no_vex as in insn_decode(). */
bool cpu_offers_bytes(const struct cpu_model *m, const uint8_t *bytes,
                      unsigned count, unsigned mode, bool no_vex);

/* CPUID as executed by c (APIC id, OSXSAVE, XSAVE size are per CPU). */
void cpu_cpuid(const struct cpu *c, uint32_t leaf, uint32_t subleaf,
               uint32_t out[4]);

#endif
