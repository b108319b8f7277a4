/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_CPU_CPU_H
#define ORRERY_CPU_CPU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * x86 architecture state of one CPU, shared by both accelerators, snapshots,
 * the monitor and the gdb stub.  Numbers and layouts are those of the Intel
 * SDM volume 3 and AMD APM volume 2.
 *
 * Threads: the owning vCPU thread while it runs; anybody with the VM lock
 * while the vCPU is at a safe point.
 *
 * Vector state: in the soft engine the guest's x87/SSE/AVX registers live in
 * the host's registers while guest code, core/cpu and core/soft run (those
 * folders are compiled -mgeneral-regs-only and call no libc function that
 * might use vector registers); xsave[] is valid at safe points only.
 */

enum cpu_reg {
    GPR_AX,
    GPR_CX,
    GPR_DX,
    GPR_BX,
    GPR_SP,
    GPR_BP,
    GPR_SI,
    GPR_DI,
    GPR_R8,
    GPR_R9,
    GPR_R10,
    GPR_R11,
    GPR_R12,
    GPR_R13,
    GPR_R14,
    GPR_R15,
};

enum cpu_seg { SEG_ES, SEG_CS, SEG_SS, SEG_DS, SEG_FS, SEG_GS, SEG_COUNT };

enum cpu_exception {
    EXC_DE = 0,
    EXC_DB = 1,
    EXC_NMI = 2,
    EXC_BP = 3,
    EXC_OF = 4,
    EXC_BR = 5,
    EXC_UD = 6,
    EXC_NM = 7,
    EXC_DF = 8,
    EXC_TS = 10,
    EXC_NP = 11,
    EXC_SS = 12,
    EXC_GP = 13,
    EXC_PF = 14,
    EXC_MF = 16,
    EXC_AC = 17,
    EXC_MC = 18,
    EXC_XM = 19,
};

/* Hidden part of a segment register; attr as in the descriptor's bytes 5-6
 * shifted down: type[3:0] S[4] DPL[6:5] P[7] AVL[12] L[13] D/B[14] G[15]
 * (the VMX access-rights layout without "unusable"; a null selector has
 * P clear). */
struct cpu_segment {
    uint16_t sel;
    uint16_t attr;
    uint32_t limit; /* in bytes, granularity applied */
    uint64_t base;
};

#define SEG_ATTR_TYPE(a) ((a)&15)
#define SEG_ATTR_S       (1u << 4)
#define SEG_ATTR_DPL(a)  ((a) >> 5 & 3)
#define SEG_ATTR_P       (1u << 7)
#define SEG_ATTR_L       (1u << 13)
#define SEG_ATTR_DB      (1u << 14)
#define SEG_ATTR_G       (1u << 15)

struct cpu_table { /* GDTR, IDTR */
    uint64_t base;
    uint16_t limit;
};

#define FLAG_CF     (1u << 0)
#define FLAG_PF     (1u << 2)
#define FLAG_AF     (1u << 4)
#define FLAG_ZF     (1u << 6)
#define FLAG_SF     (1u << 7)
#define FLAG_TF     (1u << 8)
#define FLAG_IF     (1u << 9)
#define FLAG_DF     (1u << 10)
#define FLAG_OF     (1u << 11)
#define FLAG_IOPL   (3u << 12)
#define FLAG_NT     (1u << 14)
#define FLAG_RF     (1u << 16)
#define FLAG_VM     (1u << 17)
#define FLAG_AC     (1u << 18)
#define FLAG_VIF    (1u << 19)
#define FLAG_VIP    (1u << 20)
#define FLAG_ID     (1u << 21)
#define FLAGS_ARITH (FLAG_CF | FLAG_PF | FLAG_AF | FLAG_ZF | FLAG_SF | FLAG_OF)

#define CR0_PE (1u << 0)
#define CR0_MP (1u << 1)
#define CR0_EM (1u << 2)
#define CR0_TS (1u << 3)
#define CR0_ET (1u << 4)
#define CR0_NE (1u << 5)
#define CR0_WP (1u << 16)
#define CR0_AM (1u << 18)
#define CR0_NW (1u << 29)
#define CR0_CD (1u << 30)
#define CR0_PG (1u << 31)

#define CR3_PCID 0xfffu /* with CR4.PCIDE */

#define CR4_VME        (1u << 0)
#define CR4_PVI        (1u << 1)
#define CR4_TSD        (1u << 2)
#define CR4_DE         (1u << 3)
#define CR4_PSE        (1u << 4)
#define CR4_PAE        (1u << 5)
#define CR4_MCE        (1u << 6)
#define CR4_PGE        (1u << 7)
#define CR4_PCE        (1u << 8)
#define CR4_OSFXSR     (1u << 9)
#define CR4_OSXMMEXCPT (1u << 10)
#define CR4_UMIP       (1u << 11)
#define CR4_FSGSBASE   (1u << 16)
#define CR4_PCIDE      (1u << 17)
#define CR4_OSXSAVE    (1u << 18)
#define CR4_SMEP       (1u << 20)
#define CR4_SMAP       (1u << 21)

#define EFER_SCE (1u << 0)
#define EFER_LME (1u << 8)
#define EFER_LMA (1u << 10)
#define EFER_NXE (1u << 11)

enum cpu_activity { CPU_ACTIVE, CPU_HALTED, CPU_SHUTDOWN, CPU_WAIT_SIPI };

enum { CPU_XSAVE_BYTES = 1024 }; /* 512 legacy + 64 header + 256 YMM, room */
enum { CPU_MTRR_COUNT = 8 };

/* What kind of access; more than one bit only where noted. */
enum cpu_access {
    ACC_READ = 1,
    ACC_WRITE = 2,
    ACC_EXEC = 4,
    ACC_SYSTEM = 8, /* implicit supervisor access (GDT, IDT, TSS, stacks
                       pushed during delivery to an inner ring) */
};

struct cpu;
struct vcpu;

/* SDM volume 3A 4.10.4.1.  An entry belongs to a PCID, CR3 11:0 (0 with
 * CR4.PCIDE clear), or is global. */
enum cpu_flush {
    CPU_FLUSH_ALL,       /* all entries, global ones too */
    CPU_FLUSH_NONGLOBAL, /* those of all PCIDs, none that is global */
    CPU_FLUSH_PAGE,      /* the page of lin: of the present PCID, and global */
    CPU_FLUSH_PCID,      /* those of one PCID; it is in lin */
    CPU_FLUSH_SWITCH,    /* none: CR3 was lin; those of both are good */
};

/*
 * What instruction emulation needs from the engine around it.  All are called
 * on the vCPU's thread with the guest's vector registers live.  The ones that
 * take a linear address raise #PF and the like by cpu_throw(), before any
 * part of the access has been done (both pages of a crossing access are
 * checked first).
 */
struct cpu_ops {
    void (*load)(struct cpu *c, uint64_t lin, void *buf, unsigned bytes,
                 unsigned access);
    void (*store)(struct cpu *c, uint64_t lin, const void *buf, unsigned bytes,
                  unsigned access);
    /* Host address of the byte at lin, good up to the end of its 4 KiB page,
     * or NULL when the page must go through load/store (MMIO, ROM write,
     * page that holds translated code, dirty tracking).  access may be
     * ACC_READ | ACC_WRITE for read-modify-write (atomics). */
    void *(*lin_ptr)(struct cpu *c, uint64_t lin, unsigned access);
    /* Guest-physical RAM for page walks: host address of the 8-aligned
     * entry, NULL if not RAM. */
    void *(*phys_ptr)(struct cpu *c, uint64_t gpa);
    /* Guest-physical memory of any kind, as the CPU sees it: for the save area
     * of SMM.  Holes read ones, what cannot be written stays. */
    void (*phys_load)(struct cpu *c, uint64_t gpa, void *buf, unsigned bytes);
    void (*phys_store)(struct cpu *c, uint64_t gpa, const void *buf,
                       unsigned bytes);
    /* is_smm has changed, and what is seen of memory with it. */
    void (*view_changed)(struct cpu *c);
    /* The walk has changed the entry at host; may be NULL. */
    void (*phys_written)(struct cpu *c, const void *host);
    /* Between true and false no other CPU and no device touches memory: for
     * a locked operation that no single host access can do.  May be NULL. */
    void (*bus_lock)(struct cpu *c, bool on);
    /* Address of the guest instruction that host code at host belongs to, 0
     * if that is gone; host itself if it is not the engine's code.  Below
     * 4 GiB host is the lower half of an address.  May be NULL. */
    uint64_t (*guest_rip)(struct cpu *c, uint64_t host);
    /* Linear address at which the guest has last reached host memory, 0 if
     * that is not known (any more).  May be NULL. */
    uint64_t (*guest_lin)(struct cpu *c, uint64_t host);
    /* An unmasked x87 exception is pending and CR0.NE clear: assert FERR#;
     * off: it has been cleared.  True: IGNNE# is asserted, go on.  May be
     * NULL: the same. */
    bool (*ferr)(struct cpu *c, bool on);
    uint32_t (*in)(struct cpu *c, unsigned port, unsigned bytes);
    void (*out)(struct cpu *c, unsigned port, unsigned bytes, uint32_t v);
    void (*flush)(struct cpu *c, enum cpu_flush what, uint64_t lin);
    /* CR0/CR3/CR4/EFER/CS/SS/flags changed so that translation, block mode
     * or interruptibility may differ. */
    void (*mode_changed)(struct cpu *c);
    uint64_t (*tsc)(struct cpu *c); /* guest TSC without tsc_adjust */
    /* Local APIC as seen by MSRs and CR8: reg is the x2APIC MSR index
     * 0x800..0x8ff; return 0, or -1 for #GP. */
    int (*apic_read)(struct cpu *c, unsigned reg, uint64_t *v);
    int (*apic_write)(struct cpu *c, unsigned reg, uint64_t v);
    uint8_t (*get_tpr)(struct cpu *c);
    void (*set_tpr)(struct cpu *c, uint8_t tpr);
    void (*apic_base_changed)(struct cpu *c);
    uint64_t (*tsc_deadline)(struct cpu *c, bool set, uint64_t v);
    /* An exception or interrupt is about to be delivered; may be NULL. */
    void (*event)(struct cpu *c, unsigned vector, const char *kind,
                  bool has_error, uint32_t error);
};

struct cpu {
    /* Fixed order: the soft engine addresses these off GS. */
    uint64_t gpr[16];
    uint64_t rip;
    uint64_t rflags; /* all bits, bit 1 set; complete at safe points */
    struct cpu_segment seg[SEG_COUNT];
    struct cpu_segment ldt, tr;
    struct cpu_table gdt, idt;
    uint64_t cr0, cr2, cr3, cr4, xcr0;
    uint64_t efer;
    uint64_t dr[8];
    uint64_t pdpte[4]; /* PAE: loaded with CR3 */

    /* Model-specific registers, by SDM name */
    uint64_t star, lstar, cstar, fmask, kernel_gs_base;
    uint64_t sysenter_cs, sysenter_esp, sysenter_eip;
    uint64_t apic_base, pat, tsc_adjust, tsc_aux, misc_enable, spec_ctrl;
    uint64_t mtrr_def_type, mtrr_fixed[11];
    uint64_t mtrr_base[CPU_MTRR_COUNT], mtrr_mask[CPU_MTRR_COUNT];
    uint64_t tsc_deadline;
    uint64_t mcg_status, feature_control;
    uint64_t smbase;

    /* Event state */
    uint8_t activity;     /* enum cpu_activity */
    bool has_intr_shadow; /* after STI / MOV SS, for one instruction */
    bool is_nmi_blocked;
    bool is_smm;
    bool is_nmi_blocked_outside; /* in SMM: as RSM leaves is_nmi_blocked */
    bool has_pending_exception;  /* found in a snapshot between fault and
                                   delivery (KVM) */
    uint8_t pending_vector;
    bool has_pending_error;
    uint32_t pending_error;

    /* Not architecture */
    const struct cpu_ops *ops;
    const struct cpu_model *model; /* what CPUID shows */
    struct vcpu *vcpu;
    void *engine;
    unsigned index;
    void *throw_env[5]; /* __builtin_setjmp buffer of the innermost
                           cpu_catch */
    uint8_t exc_vector;
    bool exc_has_error;
    uint32_t exc_error;
    uint8_t debug_hits; /* breakpoints met by the instruction being emulated */
    bool is_stepwise;   /* cpu_emulate() does one element of a REP form */
    /* The I/O instruction that has just raised an SMI: as the save area has it
     * (smm.c), 0 for none; RIP, RCX, RSI and RDI before it, RIP after it. */
    uint32_t smi_io;
    uint64_t smi_io_regs[4], smi_io_next;
    struct cpu_native *native; /* stubs of vector instructions (native.h) */

    uint8_t xsave[CPU_XSAVE_BYTES] __attribute__((aligned(64)));
};

/* Current privilege level: DPL of SS (SDM 3A 5.5; 3 in VM86, 0 real mode). */
static inline unsigned cpu_cpl(const struct cpu *c)
{
    if (!(c->cr0 & CR0_PE)) return 0;
    if (c->rflags & FLAG_VM) return 3;
    return SEG_ATTR_DPL(c->seg[SEG_SS].attr);
}

/* Debug register n as SDM volume 3B 17.2.4 reads it: what it breaks on, and
 * the watched bytes. */
enum { BREAK_EXEC, BREAK_WRITE, BREAK_IO, BREAK_ACCESS, BREAK_NONE };
unsigned cpu_break_kind(const struct cpu *c, unsigned n);
uint64_t cpu_break_range(const struct cpu *c, unsigned n, unsigned *bytes);
#define DR7_ENABLES 0xffu

static inline bool cpu_is_long(const struct cpu *c)
{
    return c->efer & EFER_LMA;
}

/* Executing 64-bit code: LMA and CS.L. */
static inline bool cpu_is_code64(const struct cpu *c)
{
    return cpu_is_long(c) && (c->seg[SEG_CS].attr & SEG_ATTR_L);
}

#endif
