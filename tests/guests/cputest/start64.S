/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Way into 64-bit mode for the CPU test: Multiboot image (a 64-bit program in
 * a 32-bit file), 4 GiB mapped one to one with 2 MiB pages, one stub for each
 * vector, the start of application processors at 0x8000.
 */
#define STACK 0x10000

        .section .multiboot, "ax"
        .balign 4
        .long   0x1badb002, 0x00000003, -(0x1badb002 + 0x00000003)

        .text
        .code32
        .globl  start
start:
        movl    $stack_end, %esp
        movl    %ebx, boot_info
        call    to_long
        ljmp    $8, $1f
        .code64
1:      movl    $stack_end, %esp
        call    main
2:      cli
        hlt
        jmp     2b

        .code32
to_long:                                /* page tables are static */
        movl    %cr4, %eax
        orl     $0x6a0, %eax            /* PAE, PGE, OSFXSR, OSXMMEXCPT */
        movl    %eax, %cr4
        movl    $pml4, %eax
        movl    %eax, %cr3
        movl    $0xc0000080, %ecx
        rdmsr
        orl     $0x901, %eax            /* NXE, LME, SCE */
        wrmsr
        movl    %cr0, %eax
        andl    $0x9ffffff3, %eax       /* caches on; EM, TS clear */
        orl     $0x80010022, %eax       /* PG, WP, NE, MP */
        movl    %eax, %cr0
        lgdt    gdt_pointer
        movl    $16, %eax
        movl    %eax, %ds
        movl    %eax, %es
        movl    %eax, %ss
        ret

        /* Copied to 0x8000: real mode to long mode, then ap_main(). */
        .code16
        .globl  ap_code, ap_code_end
ap_code:
        cli
        xorw    %ax, %ax
        movw    %ax, %ds
        lgdtl   0x8000 + ap_gdt_pointer - ap_code
        movl    %cr0, %eax
        orl     $1, %eax
        movl    %eax, %cr0
        ljmpl   $24, $ap32
ap_gdt_pointer:
        .word   gdt_end - gdt - 1
        .long   gdt
ap_code_end:
        .code32
ap32:   movl    $16, %eax
        movl    %eax, %ds
        movl    %eax, %ss
        movl    $ap_stack_end, %esp
        call    to_long
        ljmp    $8, $1f
        .code64
1:      movl    $ap_stack_end, %esp
        call    ap_main
2:      cli
        hlt
        jmp     2b

/* ---- traps: every vector pushes (error,) vector and comes to on_trap */

        .altmacro
        .macro  stub n
        .balign 16
        .if     !(\n == 8 || (\n >= 10 && \n <= 14) || \n == 17 || \n == 21)
        pushq   $0
        .endif
        pushq   $\n
        jmp     common
        .endm
        .balign 16
        .globl  stubs
stubs:
        n = 0
        .rept   256
        stub    %n
        n = n + 1
        .endr

common: pushq   %rax
        pushq   %rcx
        pushq   %rdx
        pushq   %rbx
        pushq   %rbp
        pushq   %rsi
        pushq   %rdi
        pushq   %r8
        pushq   %r9
        pushq   %r10
        pushq   %r11
        cld
        movq    %rsp, %rdi
        movq    %rsp, %rbx
        andq    $-16, %rsp
        call    on_trap
        movq    %rbx, %rsp
        popq    %r11
        popq    %r10
        popq    %r9
        popq    %r8
        popq    %rdi
        popq    %rsi
        popq    %rbp
        popq    %rbx
        popq    %rdx
        popq    %rcx
        popq    %rax
        addq    $16, %rsp
        iretq

/* int save(struct place *), returns 0, and 1 again after back(place) */
        .globl  save, back
save:   movq    %rbx, (%rdi)
        movq    %rbp, 8(%rdi)
        movq    %r12, 16(%rdi)
        movq    %r13, 24(%rdi)
        movq    %r14, 32(%rdi)
        movq    %r15, 40(%rdi)
        movq    %rsp, 48(%rdi)
        movq    (%rsp), %rax
        movq    %rax, 56(%rdi)
        xorl    %eax, %eax
        ret
back:   movq    (%rdi), %rbx
        movq    8(%rdi), %rbp
        movq    16(%rdi), %r12
        movq    24(%rdi), %r13
        movq    32(%rdi), %r14
        movq    40(%rdi), %r15
        movq    48(%rdi), %rsp
        movq    56(%rdi), %rax
        movq    %rax, (%rsp)
        movl    $1, %eax
        ret

        .data
        .balign 16
        .globl  gdt, gdt_end
gdt:    .quad   0
        .quad   0x00af9b000000ffff      /* 8: 64-bit code */
        .quad   0x00cf93000000ffff      /* 16: data */
        .quad   0x00cf9b000000ffff      /* 24: 32-bit code */
        .quad   0x00cf93000000ffff      /* 32 */
        .quad   0x00cffb000000ffff      /* 40: 32-bit user code */
        .quad   0x00cff3000000ffff      /* 48: user data */
        .quad   0x00affb000000ffff      /* 56: 64-bit user code */
        .quad   0, 0                    /* 64: TSS */
        .fill   16, 8, 0                /* 80..: for tests */
gdt_end:
gdt_pointer:
        .word   gdt_end - gdt - 1
        .long   gdt
        .long   0

        .balign 4096
        .globl  pml4, pdpt, pd
pml4:   .quad   pdpt + 7
        .fill   511, 8, 0
pdpt:   .quad   pd + 7, pd + 0x1007, pd + 0x2007, pd + 0x3007
        .fill   508, 8, 0
pd:     a = 0
        .rept   2048
        .quad   a + 0x83                /* supervisor, 2 MiB */
        a = a + 0x200000
        .endr

        .bss
        .globl  boot_info
boot_info: .skip 4
        .balign 4096
        .skip   STACK
stack_end:
        .skip   STACK
        .globl  ap_stack_end
ap_stack_end:
