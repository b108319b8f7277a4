/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Way into the 32-bit CPU test: Multiboot, stubs of all vectors, and the
 * pieces of code that run in other rings, segments and tasks. */
        .section .multiboot, "ax"
        .balign 4
        .long   0x1badb002, 0x00000003, -(0x1badb002 + 0x00000003)

        .text
        .globl  start
start:  movl    $stack_end, %esp
        movl    %ebx, boot_info
        lgdt    gdt_pointer
        movl    $16, %eax
        movl    %eax, %ds
        movl    %eax, %es
        movl    %eax, %fs
        movl    %eax, %gs
        movl    %eax, %ss
        ljmp    $8, $1f
1:      call    main
2:      cli
        hlt
        jmp     2b

        .altmacro
        .macro  stub n
        .balign 16
        .if     !(\n == 8 || (\n >= 10 && \n <= 14) || \n == 17)
        pushl   $0
        .endif
        pushl   $\n
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

common: pusha
        pushl   %ds
        pushl   %es
        movl    $16, %eax
        movl    %eax, %ds
        movl    %eax, %es
        cld
        pushl   %esp
        call    on_trap
        addl    $4, %esp
        popl    %es
        popl    %ds
        popa
        addl    $8, %esp
        iret

        .globl  save, back
save:   movl    4(%esp), %edx
        movl    %ebx, (%edx)
        movl    %ebp, 4(%edx)
        movl    %esi, 8(%edx)
        movl    %edi, 12(%edx)
        movl    %esp, 16(%edx)
        movl    (%esp), %eax
        movl    %eax, 20(%edx)
        xorl    %eax, %eax
        ret
back:   movl    4(%esp), %edx
        movl    $16, %eax
        movl    %eax, %ds
        movl    %eax, %es
        movl    %eax, %fs
        movl    %eax, %gs
        movl    %eax, %ss
        movl    (%edx), %ebx
        movl    4(%edx), %ebp
        movl    8(%edx), %esi
        movl    12(%edx), %edi
        movl    16(%edx), %esp
        movl    20(%edx), %eax
        movl    %eax, (%esp)
        movl    $1, %eax
        ret

/* ---- ring 3 (flat segments; every piece ends by a trap) */
        .globl  u_int, u_gate, u_conforming, u_hlt, u_in
u_int:  int     $0x80
u_gate: pushl   $0x1111
        pushl   $0x2222
        lcall   $80 + 3, $0
        int     $0x80
u_conforming:
        lcall   $88 + 3, $conforming
u_hlt:  hlt
u_in:   inb     $0x80, %al
        int     $0x80
conforming:
        movl    %cs, %eax
        int     $0x80

/* ---- behind a 16-bit interrupt gate */
        .globl  gate16
gate16: movl    %esp, seen_esp
        int     $0x80

/* ---- other tasks */
        .globl  task_hlt, task_iret, task_error
task_iret:                              /* CALLed: sees NT, comes back */
        pushfl
        popl    seen_flags
        movw    other_tss, %ax
        movw    %ax, seen_link
        incl    task_runs
        iret
        incl    task_runs               /* a second call goes on here */
        iret
task_hlt:                               /* JMPed to */
        movl    %cr0, %eax
        movl    %eax, seen_cr0
        pushfl
        popl    seen_flags
        ljmp    $40, $0                 /* back */
task_error:                             /* task gate of a fault */
        popl    seen_error
        pushfl
        popl    seen_flags
        movl    main_tss + 0x20, %eax   /* EIP of the interrupted task */
        movl    %eax, seen_eip
        addl    $2, main_tss + 0x20     /* step over its UD2 or the like */
        movw    $16, main_tss + 0x54    /* its DS is good again */
        iret
        jmp     task_error

/* ---- 16-bit protected code: base 0x20000, copied there */
        .globl  wrap16, wrap16_end
        .code16
wrap16: movw    $0x50, %ax              /* 16-bit stack segment */
        movw    %ax, %ss
        movl    $0x00120002, %esp
        pushw   $0x1234
        pushw   $0x5678                 /* at FFFE */
        movl    %esp, %ebx
        movw    $16, %ax
        movw    %ax, %ss
        int     $0x80
wrap16_end:

/* ---- VM86 pieces, copied to 0x10000 */
        .globl  v_int, v_pushf, v_cli, v_sti, v_in, v_iret, v_hlt, v_end
v_int:  int     $0x21
        hlt
v_pushf: pushfw
        popw    %ax
        hlt
v_cli:  cli
        pushfw
        popw    %ax
        hlt
v_sti:  sti
        hlt
v_in:   inb     $0x80, %al
        hlt
v_iret: pushw   $0x0202
        pushw   $0x1000
        pushw   $0x0ff0
        iretw
v_hlt:  hlt
v_end:
        .code32

        .data
        .balign 16
        .globl  gdt
gdt:    .quad   0
        .quad   0x00cf9b000000ffff      /* 8: code */
        .quad   0x00cf93000000ffff      /* 16: data */
        .quad   0x00cffb000000ffff      /* 24: user code */
        .quad   0x00cff3000000ffff      /* 32: user data */
        .fill   27, 8, 0                /* 40 main TSS, 48 other TSS, ... */
gdt_end:
gdt_pointer:
        .word   gdt_end - gdt - 1
        .long   gdt

        .bss
        .globl  boot_info, seen_esp, seen_flags, seen_link, seen_cr0
        .globl  seen_error, seen_eip, task_runs
boot_info: .skip 4
seen_esp: .skip 4
seen_flags: .skip 4
seen_link: .skip 4
seen_cr0: .skip 4
seen_error: .skip 4
seen_eip: .skip 4
task_runs: .skip 4
        .balign 16
        .skip   16384
stack_end:
