/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Into translated code and out of it.  Register plan: engine.h.  None of
 * this touches a flag before the guest's are saved or after they are loaded.
 */
#include "core/soft/layout.h"

#define GPR(n) %gs:(GS_GPR + 8 * (n))

.macro SAVE_GUEST
    mov %rax, GPR(0)
    mov %rcx, GPR(1)
    mov %rdx, GPR(2)
    mov %rbx, GPR(3)
    mov %r12, GPR(4)
    mov %rbp, GPR(5)
    mov %rsi, GPR(6)
    mov %rdi, GPR(7)
    mov %r8, GPR(8)
    mov %r9, GPR(9)
    mov %r10, GPR(10)
    mov %r11, GPR(11)
    mov %r15, GPR(12)
    pushfq
    popq %gs:GS_HOST_FLAGS
.endm

.macro LOAD_GUEST
    pushq %gs:GS_HOST_FLAGS
    popfq
    mov GPR(0), %rax
    mov GPR(1), %rcx
    mov GPR(2), %rdx
    mov GPR(3), %rbx
    mov GPR(4), %r12
    mov GPR(5), %rbp
    mov GPR(6), %rsi
    mov GPR(7), %rdi
    mov GPR(8), %r8
    mov GPR(9), %r9
    mov GPR(10), %r10
    mov GPR(11), %r11
    mov GPR(12), %r15
.endm

    .text

/* void soft_enter_code(uint64_t code, uint64_t rip): rip goes to R13, where
 * landing pads look for it.  Returns when translated code leaves. */
    .globl soft_enter_code
    .hidden soft_enter_code
    .type soft_enter_code, @function
soft_enter_code:
    push %rbx
    push %rbp
    push %r12
    push %r13
    push %r14
    push %r15
    sub $8, %rsp
    mov %rsp, %gs:GS_HOST_RSP
    mov %rdi, %gs:GS_TEMP
    mov %rsi, %r13
    LOAD_GUEST
    jmp *%gs:GS_TEMP
    .size soft_enter_code, . - soft_enter_code

/* Reached by call; behind it: quad rip, quad link. */
    .globl soft_exit_link
    .hidden soft_exit_link
soft_exit_link:
    pop %r13
    SAVE_GUEST
    mov 8(%r13), %rax
    mov %rax, %gs:GS_LINK
    movl $CAUSE_LOOKUP, %gs:GS_CAUSE
    mov (%r13), %rax
    jmp leave

/* Reached by call; behind it: quad rip. */
    .globl soft_exit_emulate
    .hidden soft_exit_emulate
soft_exit_emulate:
    pop %r13
    SAVE_GUEST
    movl $CAUSE_EMULATE, %gs:GS_CAUSE
    mov (%r13), %rax
    jmp leave

/* Reached by call; behind it: quad rip. */
    .globl soft_exit_attend
    .hidden soft_exit_attend
soft_exit_attend:
    pop %r13
    SAVE_GUEST
    movl $CAUSE_ATTEND, %gs:GS_CAUSE
    mov (%r13), %rax
    jmp leave

/* Reached by jmp from a landing pad or an empty table slot; R13: rip. */
    .globl soft_exit_miss
    .hidden soft_exit_miss
soft_exit_miss:
    SAVE_GUEST
    movq $0, %gs:GS_LINK
    movl $CAUSE_LOOKUP, %gs:GS_CAUSE
    mov %r13, %rax
leave:
    mov %rax, %gs:GS_RIP
    /* A host signal arrives here too, with RSP anywhere. */
    .globl soft_exit_saved
    .hidden soft_exit_saved
soft_exit_saved:
    mov %gs:GS_HOST_RSP, %rsp
    cld
    add $8, %rsp
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbp
    pop %rbx
    ret

/*
 * Memory slow path.  Reached by call with R13 = linear address; behind it
 * struct slow_site (16 bytes), then code that goes on with R13 = host
 * address.  When the access must be emulated it leaves instead; when the
 * check of a group fails it goes on 5 bytes later (engine.h).
 */
    .globl soft_slow
    .hidden soft_slow
soft_slow:
    push %rax
    push %rcx
    push %rdx
    push %rsi
    /* Often the stack has come to another page that is in the table. */
    mov 32(%rsp), %rsi
    movzbl SITE_STACK(%rsi), %eax
    sub $1, %eax
    jb 3f
    mov %r13d, %ecx
    shr $7, %ecx
    and $0x7fe0, %ecx
    mov %eax, %edx
    shl $15, %edx
    add %edx, %ecx
    mov %gs:8(%rcx), %rdx       /* wtag */
    mov %r13, %r14
    xor %rdx, %r14
    movzwl SITE_BYTES(%rsi), %esi
    add %r14, %rsi
    jc 3f
    cmp $4096, %rsi
    ja 3f
    mov %gs:24(%rcx), %rcx      /* wpage */
    lea (%rax, %rax, 2), %eax
    mov %rdx, %gs:GS_STACK(, %rax, 8)
    mov %rcx, %gs:GS_STACK + 8(, %rax, 8)
    lea (%rcx, %r14), %r13
    sub %rdx, %rcx
    mov %rcx, %gs:GS_STACK + 16(, %rax, 8)
    pop %rsi
    pop %rdx
    pop %rcx
    pop %rax
    addq $16, (%rsp)
    ret
3:
    push %rdi
    push %r8
    push %r9
    push %r10
    push %r11
    mov %r13, %rdi
    mov 72(%rsp), %rsi
    call soft_slow_access
    mov %rax, %r13
    test %rax, %rax
    pop %r11
    pop %r10
    pop %r9
    pop %r8
    pop %rdi
    pop %rsi
    pop %rdx
    pop %rcx
    pop %rax
    jz 1f
    addq $16, (%rsp)
    ret
1:  pop %r13
    cmpb $0, SITE_GROUP(%r13)
    jne 2f
    SAVE_GUEST
    mov %r13, %gs:GS_LINK
    movl $CAUSE_SLOW, %gs:GS_CAUSE
    mov (%r13), %rax
    jmp leave
2:  add $21, %r13
    jmp *%r13

    .section .note.GNU-stack, "", @progbits
