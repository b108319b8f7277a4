/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * System management mode for its test: what is copied to SMBASE + 8000h, the
 * instruction that raises an SMI with all registers known, and a way through
 * all modes that raises one in each.  The rest is the CPU test's start64.S.
 */

/* struct box, as smmtest.h has it */
#define BOX_ESP    0
#define BOX_SEL    4
#define BOX_FLAGS  16
#define BOX_CR0    20
#define BOX_CR4    24
#define BOX_DR7    28
#define BOX_EFER   32
#define BOX_STACK16 36
#define BOX_GDT    40
#define BOX_WAY    48
#define BOX_STACK  56

        .text
        .code16
        .globl  smi_entry, smi_box, smi_entry_end
smi_entry:
        movl    %cs:(0x8000 + smi_box - smi_entry), %ebx
        movl    %esp, BOX_ESP(%ebx)
        movw    %es, BOX_SEL(%ebx)
        movw    %cs, BOX_SEL + 2(%ebx)
        movw    %ss, BOX_SEL + 4(%ebx)
        movw    %ds, BOX_SEL + 6(%ebx)
        movw    %fs, BOX_SEL + 8(%ebx)
        movw    %gs, BOX_SEL + 10(%ebx)
        movl    BOX_STACK16(%ebx), %esp
        pushfl
        popl    BOX_FLAGS(%ebx)
        movl    %cr0, %eax
        movl    %eax, BOX_CR0(%ebx)
        movl    %cr4, %eax
        movl    %eax, BOX_CR4(%ebx)
        movl    %dr7, %eax
        movl    %eax, BOX_DR7(%ebx)
        movl    $0xc0000080, %ecx
        rdmsr
        movl    %eax, BOX_EFER(%ebx)
        lgdtl   BOX_GDT(%ebx)
        movl    $0x6a0, %eax            /* PAE, PGE, OSFXSR, OSXMMEXCPT */
        movl    %eax, %cr4
        movl    $pml4, %eax
        movl    %eax, %cr3
        movl    $0x901, %eax            /* NXE, LME, SCE */
        xorl    %edx, %edx
        wrmsr
        movl    %cr0, %eax
        orl     $0x80010023, %eax       /* PG, WP, NE, MP, PE */
        movl    %eax, %cr0
        ljmpl   *BOX_WAY(%ebx)
smi_box: .long  0
smi_entry_end:

        .code64
        .globl  smi_way
smi_way:
        movl    $16, %eax
        movl    %eax, %ds
        movl    %eax, %es
        movl    %eax, %ss
        movl    BOX_STACK(%rbx), %esp
        movl    %ebx, %edi
        call    smi_main
        rsm

/* ---- regs_before[] into the registers, SMI, the registers to regs_after[]
 *
 * A processor need not take the SMI before some more instructions are done.
 * So what follows the OUT is a jump to itself, and the handler goes on behind
 * it. */

        .globl  smi_all, smi_spin, smi_next, smi_other
smi_all:
        pushq   %rbx
        pushq   %rbp
        pushq   %r12
        pushq   %r13
        pushq   %r14
        pushq   %r15
        movq    %rsp, regs_before + 32
        pushq   flags_before
        popfq
        movq    regs_before, %rax
        movq    regs_before + 8, %rcx
        movq    regs_before + 16, %rdx
        movq    regs_before + 24, %rbx
        movq    regs_before + 40, %rbp
        movq    regs_before + 48, %rsi
        movq    regs_before + 56, %rdi
        movq    regs_before + 64, %r8
        movq    regs_before + 72, %r9
        movq    regs_before + 80, %r10
        movq    regs_before + 88, %r11
        movq    regs_before + 96, %r12
        movq    regs_before + 104, %r13
        movq    regs_before + 112, %r14
        movq    regs_before + 120, %r15
        outb    %al, $0xb2
smi_spin:
        jmp     smi_spin
smi_next:
        movq    %rax, regs_after
        movq    %rcx, regs_after + 8
        movq    %rdx, regs_after + 16
        movq    %rbx, regs_after + 24
        movq    %rsp, regs_after + 32
        movq    %rbp, regs_after + 40
        movq    %rsi, regs_after + 48
        movq    %rdi, regs_after + 56
        movq    %r8, regs_after + 64
        movq    %r9, regs_after + 72
        movq    %r10, regs_after + 80
        movq    %r11, regs_after + 88
        movq    %r12, regs_after + 96
        movq    %r13, regs_after + 104
        movq    %r14, regs_after + 112
        movq    %r15, regs_after + 120
        movq    regs_before + 32, %rsp
        pushfq
        popq    flags_after
        cli
        cld
        popq    %r15
        popq    %r14
        popq    %r13
        popq    %r12
        popq    %rbp
        popq    %rbx
        ret
smi_other:                              /* where a handler sends us instead */
        movl    $0x600d, %eax
        jmp     smi_next

/* ---- an SMI in compatibility mode, in 32-bit protected mode without paging,
 * in 16-bit protected mode, in real mode */

        .globl  smi_modes, smi_compat, smi_flat
smi_modes:
        pushq   %rbx
        pushq   %rbp
        pushq   %r12
        pushq   %r13
        pushq   %r14
        pushq   %r15
        movq    %rsp, regs_before + 32
        sidt    idt_kept
        movl    $compat, %eax
        movl    %eax, way
        movl    $24, way + 4
        ljmp    *way
        .code32
compat: movl    $16, %eax
        movl    %eax, %ds
        movl    %eax, %es
        movl    %eax, %ss
        movl    $0x6000, %esp
        outb    %al, $0xb2
smi_compat:
        jmp     smi_compat
        movl    %cr0, %eax
        andl    $0x7fffffff, %eax
        movl    %eax, %cr0
        movl    $0xc0000080, %ecx
        rdmsr
        andl    $~0x100, %eax
        wrmsr
        outb    %al, $0xb2
smi_flat:
        jmp     smi_flat
        ljmp    $80, $0x5000
back32: movl    $16, %eax
        movl    %eax, %ds
        movl    %eax, %es
        movl    %eax, %ss
        movl    $0xc0000080, %ecx
        rdmsr
        orl     $0x100, %eax
        wrmsr
        movl    %cr0, %eax
        orl     $0x80000000, %eax
        movl    %eax, %cr0
        ljmp    $8, $back64
        .code64
back64: movq    regs_before + 32, %rsp
        lidt    idt_kept
        popq    %r15
        popq    %r14
        popq    %r13
        popq    %r12
        popq    %rbp
        popq    %rbx
        ret

        /* Copied to 0x5000 */
        .code16
        .globl  real_code, real_code_end, smi_pm16, smi_real
real_code:
        movw    $88, %ax
        movw    %ax, %ds
        movw    %ax, %es
        movw    %ax, %ss
        movw    %ax, %fs
        movw    %ax, %gs
        outb    %al, $0xb2
smi_pm16:
        jmp     smi_pm16
        movl    %cr0, %eax
        andl    $~1, %eax
        movl    %eax, %cr0
        ljmp    $0x500, $(1f - real_code)
1:      movw    $0x1234, %ax
        movw    %ax, %ds
        movw    $0xb000, %ax
        movw    %ax, %es
        xorw    %ax, %ax
        movw    %ax, %ss
        movw    $0x6000, %sp
        movl    $0xcafe0000, %ebx
        outb    %al, $0xb2
smi_real:
        jmp     smi_real
        movl    %cr0, %eax
        orl     $1, %eax
        movl    %eax, %cr0
        ljmpl   $24, $back32
real_code_end:

        .code64
/* IRET to the next instruction: NMIs are no longer blocked. */
        .globl  unblock_nmi
unblock_nmi:
        movq    (%rsp), %rax
        leaq    8(%rsp), %rcx
        movl    %ss, %edx
        pushq   %rdx
        pushq   %rcx
        pushfq
        movl    %cs, %edx
        pushq   %rdx
        pushq   %rax
        iretq

        .bss
        .balign 16
        .globl  regs_before, regs_after, flags_before, flags_after
regs_before: .skip 128
regs_after: .skip 128
flags_before: .skip 8
flags_after: .skip 8
way:    .skip   8
idt_kept: .skip 16
