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
    .globl soft_exit_iret
    .hidden soft_exit_iret
soft_exit_iret:
    pop %r13
    SAVE_GUEST
    movl $CAUSE_IRET, %gs:GS_CAUSE
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
    mov -8(%rsp), %r14d         /* BRANCH_MARK */
    mov %r14, %gs:GS_TEMP
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
 * struct slow_site (24 bytes), then code that goes on with R13 = host
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
    and $TLB_ENTRY_MASK, %ecx
    mov %eax, %edx
    shl $TLB_SPAN_SHIFT, %edx
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
    addq $SITE_SIZE, (%rsp)
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
    addq $SITE_SIZE, (%rsp)
    ret
1:  pop %r13
    cmpb $0, SITE_GROUP(%r13)
    jne 2f
    SAVE_GUEST
    mov %r13, %gs:GS_LINK
    movl $CAUSE_SLOW, %gs:GS_CAUSE
    mov (%r13), %rax
    jmp leave
2:  add $SITE_SIZE + 5, %r13
    jmp *%r13

/*
 * SYSCALL and SYSRET of 64-bit code, if ring.c says that they are plain: from
 * block to block through the table of the other space.  Reached by jmp.
 */
#define ARITH    0x8d5
#define IF_BIT   0x200
#define FROM_R11 0x3c7fd7  /* flags that SYSRET takes */
#define ODD      0x1c4500  /* TF, DF, NT, AC, VIF, VIP: not plain */

/* CS and SS from a pair of struct cpu_segment. */
.macro COPY_SEGMENTS from
    mov %gs:\from, %r14
    mov %r14, %gs:GS_SEG_CS
    mov %gs:\from + 8, %r14
    mov %r14, %gs:GS_SEG_CS + 8
    mov %gs:\from + 16, %r14
    mov %r14, %gs:GS_SEG_CS + 16
    mov %gs:\from + 24, %r14
    mov %r14, %gs:GS_SEG_CS + 24
    movb $1, %gs:GS_STALE
.endm

/* R13: rip of the next instruction. */
    .globl soft_syscall
    .hidden soft_syscall
soft_syscall:
    pushfq
    pop %r14
    cmpb $0, %gs:GS_CAN_CALL
    je 1f
    mov %r13, %rcx
    and $ARITH, %r14d
    mov %gs:GS_IF_FLAG, %r13d
    or %r13, %r14
    or %gs:GS_OTHER_FLAGS, %r14
    mov %r14, %r11
    mov %gs:GS_RING_CLEAR, %r13
    andn %r14, %r13, %r14
    mov %r14d, %r13d
    and $IF_BIT, %r13d
    mov %r13d, %gs:GS_IF_FLAG
    and $~(ARITH | IF_BIT), %r14
    or $2, %r14
    mov %r14, %gs:GS_OTHER_FLAGS
    mov %r14, %gs:GS_RFLAGS
    COPY_SEGMENTS GS_RING_KERNEL
    /* ring.c has seen that the arithmetic flags are cleared. */
    xor %r14d, %r14d
    add $1, %r14d
    mov %gs:GS_RING_TARGET, %r13
    mov %gs:GS_RING_SLOT, %r14
    jmp *%gs:(%r14)
1:  sub $2, %r13
    jmp ring_emulate

/* R13: its rip. */
    .globl soft_sysret
    .hidden soft_sysret
soft_sysret:
    pushfq
    pop %r14
    cmpb $0, %gs:GS_CAN_RETURN
    je ring_emulate
    test $ODD, %r11d
    jnz ring_emulate
    mov %r13, %gs:GS_RIP
    mov %rcx, %r13
    shl $16, %r13
    sar $16, %r13
    cmp %rcx, %r13
    jne 1f
    COPY_SEGMENTS GS_RING_USER
    mov %r11d, %r14d
    and $IF_BIT, %r14d
    mov %r14d, %gs:GS_IF_FLAG
    jz 2f
    cmpl $0, %gs:GS_IS_WAITING
    je 2f
    movl $1, %gs:GS_ATTN
2:  mov %r11d, %r14d
    and $(FROM_R11 & ~(ARITH | IF_BIT)), %r14d
    or $2, %r14d
    mov %r14, %gs:GS_OTHER_FLAGS
    mov %r14, %gs:GS_RFLAGS
    mov %rax, %gs:GS_TEMP
    mov %r11d, %eax
    mov %r11d, %r14d
    shl $8, %eax
    shr $11, %r14d
    and $1, %r14d
    or %r14d, %eax
    add $0x7f, %al /* OF */
    sahf
    mov %gs:GS_TEMP, %rax
    mov %rcx, %r13
    pext %gs:GS_IBT_MASK, %r13, %r14
    jmp *%gs:GS_IBT(, %r14, 8)
1:  mov %gs:GS_RIP, %r13

/* R13: rip; R14: the flags. */
ring_emulate:
    push %r14
    popfq
    SAVE_GUEST
    mov %r13, %gs:GS_RIP
    movl $CAUSE_EMULATE, %gs:GS_CAUSE
    jmp soft_exit_saved

/*
 * REP STOS and REP MOVS, 64-bit addresses.  R13: see REP_ bits; R14: rip.
 * Upwards what lies in one page that the TLB knows is done here, the rest by
 * soft_rep; what that cannot do is left to the emulator, which goes on with
 * the registers as they are.
 */
#define REP_PARAM %gs:GS_TEMP + 16
#define REP_RDX   %gs:GS_TEMP + 24
#define REP_RAX   %gs:GS_TEMP + 8

/* R14 = gs offset of the TLB entry of the page of reg; uses R13. */
.macro TLB_SLOT reg
    mov REP_PARAM, %r13d
    mov \reg, %r14
    and $~15, %r13d
    shr $7, %r14
    and $TLB_ENTRY_MASK, %r14d
    add %r13d, %r14d
.endm

/* RDX = bytes in all. */
.macro REP_BYTES
    mov %r14, %gs:GS_RIP
    mov %r13, REP_PARAM
    mov %rdx, REP_RDX
    test $REP_DOWN_BIT, %r13b
    jnz 1f
    cmp $4096, %rcx
    ja 1f
    and $3, %r13d
    shlx %r13, %rcx, %rdx
.endm

/* to = host address, if RDX bytes are in the page of guest. */
.macro TLB_HOST guest, to, tag, page
    mov %gs:\tag(%r14), \to
    xor \guest, \to
    cmp $4095, \to
    ja 1f
    lea (\to, %rdx), %r13
    cmp $4096, %r13
    ja 1f
    add %gs:\page(%r14), \to
.endm

    .globl soft_rep_stos
    .hidden soft_rep_stos
soft_rep_stos:
    mov %rax, REP_RAX
    REP_BYTES
    TLB_SLOT %rdi
    TLB_HOST %rdi, %rax, 8, 24
    mov REP_PARAM, %r13d
    mov %rdi, %rdx
    sub %rax, %rdx
    mov %rax, %rdi
    mov REP_RAX, %rax
    and $3, %r13d
    jz 3f
    cmp $2, %r13d
    je 4f
    jb 5f
    rep stosq
2:  add %rdx, %rdi
    mov REP_RDX, %rdx
    ret
3:  rep stosb
    jmp 2b
4:  rep stosl
    jmp 2b
5:  rep stosw
    jmp 2b
1:  movq $0, %gs:GS_TEMP
    jmp rep_slow

    .globl soft_rep_movs
    .hidden soft_rep_movs
soft_rep_movs:
    mov %rax, REP_RAX
    REP_BYTES
    TLB_SLOT %rsi
    TLB_HOST %rsi, %rax, 0, 16
    mov %rax, %gs:GS_TEMP
    TLB_SLOT %rdi
    TLB_HOST %rdi, %rax, 8, 24
    mov %gs:GS_TEMP, %r14
    mov %rdi, %rdx
    sub %rax, %rdx
    mov %rax, %rdi
    mov %rsi, %rax
    sub %r14, %rax
    mov REP_PARAM, %r13d
    mov %r14, %rsi
    and $3, %r13d
    jz 3f
    cmp $2, %r13d
    je 4f
    jb 5f
    rep movsq
2:  add %rdx, %rdi
    add %rax, %rsi
    mov REP_RDX, %rdx
    mov REP_RAX, %rax
    ret
3:  rep movsb
    jmp 2b
4:  rep movsl
    jmp 2b
5:  rep movsw
    jmp 2b
1:  movq $1, %gs:GS_TEMP

rep_slow:
    mov REP_RDX, %rdx
    mov REP_RAX, %rax
    SAVE_GUEST
    mov %gs:GS_TEMP, %edi
    mov REP_PARAM, %esi
    mov %rsp, %rbx
    and $-16, %rsp
    call soft_rep
    mov %rbx, %rsp
    test %eax, %eax
    jz 1f
    LOAD_GUEST
    ret
1:  testb $4, REP_PARAM
    jz 2f
    mov %gs:GS_SAVED_AX, %rax
    add $0x7f, %al
    sahf
    pushfq
    popq %gs:GS_HOST_FLAGS
2:  movl $CAUSE_EMULATE, %gs:GS_CAUSE
    jmp soft_exit_saved

    .section .note.GNU-stack, "", @progbits
