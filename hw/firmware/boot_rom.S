/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Option ROM that boots a kernel given on the command line.
 *
 * Firmware runs it as an initial program load device (Plug and Play BIOS
 * Specification 1.0a, boot entry vector).  It does what a script says: DMA
 * requests of the firmware configuration device, 16 octets each and already in
 * the device's byte order, up to one whose first word is 0.  Then it can fill
 * in the memory map (INT 15h, AX=E820h) and the address of the RSDP, and
 * enters the image in real mode or in 32-bit protected mode.
 *
 * The loader (boot_rom.c) copies this code, fills in boot_rom_params, and
 * appends the script.  The ROM is loaded at a segment's offset 0; it may be
 * read-only by the time it runs, so all that changes is on the stack.
 */
    .section .rodata
    .globl  boot_rom_start, boot_rom_end, boot_rom_params
    .hidden boot_rom_start, boot_rom_end, boot_rom_params

#define OFF(label) (label - boot_rom_start)
#define PARAM(at)  (boot_rom_params - boot_rom_start + at)

/* struct boot_rom_params (boot_rom.h) */
#define P_SCRIPT    0
#define P_MODE      2
#define P_ENTRY     4
#define P_EAX       8
#define P_EBX       12
#define P_SEGMENT   16
#define P_STACK     18
#define P_MAP       20
#define P_MAP_COUNT 24
#define P_MAP_BYTES 28
#define P_RSDP      32
#define P_MAP_MAX   36

    .code16
boot_rom_start:
    .word   0xaa55
    .byte   0                   /* size in 512 octets */
    jmp     init
    .org    boot_rom_start + 0x1a
    .word   OFF(pnp)

pnp:
    .ascii  "$PnP"
    .byte   1, 2                /* version, length / 16 */
    .word   0                   /* no other header */
    .byte   0, 0                /* reserved, checksum */
    .long   0
    .word   OFF(maker), OFF(product)
    .byte   0, 0, 2             /* mass storage, other */
    .byte   0x14                /* may be IPL device, not shadowed twice */
    .word   0, 0                /* no connection vectors */
    .word   OFF(boot)
    .word   0, 0
    .org    pnp + 32

    .p2align 2
boot_rom_params:
    .fill   40, 1, 0

maker:
    .asciz  "Orrery"
product:
    .asciz  "Kernel from the command line"
message:
    .asciz  "The kernel could not be loaded.\r\n"

init:
    mov     $0x20, %ax          /* IPL device attached */
    lret

boot:
    cld
    push    %cs
    pop     %ds
    mov     PARAM(P_SCRIPT), %si

/* ---- the script ---- */
next_request:
    cmpl    $0, (%si)
    je      loaded
    pushl   12(%si)
    pushl   8(%si)
    pushl   4(%si)
    pushl   (%si)
    xor     %eax, %eax
    mov     $0x514, %dx
    outl    %eax, %dx           /* high half of the address */
    mov     %ss, %ax
    shl     $4, %eax
    movzwl  %sp, %ecx
    add     %ecx, %eax
    bswap   %eax
    mov     $0x518, %dx
    outl    %eax, %dx           /* low half: starts */
    mov     %sp, %bp
1:  movl    (%bp), %eax
    test    $0x01000000, %eax   /* error, big-endian */
    jnz     failed
    test    %eax, %eax
    jnz     1b
    add     $16, %sp
    add     $16, %si
    jmp     next_request

failed:
    mov     $OFF(message), %si
1:  lodsb
    test    %al, %al
    jz      2f
    mov     $7, %bx
    mov     $0x0e, %ah
    int     $0x10
    jmp     1b
2:  add     $16, %sp
    int     $0x18               /* try the next device */

/* ---- memory map: 24 octets per entry ---- */
loaded:
    movl    PARAM(P_MAP), %eax
    test    %eax, %eax
    jz      find_rsdp
    call    address
    xor     %ebx, %ebx
    xor     %bp, %bp
1:  mov     $0xe820, %eax
    mov     $20, %ecx
    mov     $0x534d4150, %edx
    push    %ds
    int     $0x15
    pop     %ds
    jc      2f
    cmp     $0x534d4150, %eax
    jne     2f
    inc     %bp
    add     $24, %di
    cmp     PARAM(P_MAP_MAX), %bp
    jae     2f
    test    %ebx, %ebx
    jnz     1b
2:  movzwl  %bp, %ecx
    movl    PARAM(P_MAP_COUNT), %eax
    call    store
    imul    $24, %ecx, %ecx
    movl    PARAM(P_MAP_BYTES), %eax
    call    store

/* ---- RSDP: on 16 octets in 0xe0000-0xfffff ---- */
find_rsdp:
    movl    PARAM(P_RSDP), %eax
    test    %eax, %eax
    jz      enter
    mov     $0xe000, %dx
1:  mov     %dx, %es
    cmpl    $0x20445352, %es:0  /* "RSD " */
    jne     2f
    cmpl    $0x20525450, %es:4  /* "PTR " */
    je      3f
2:  inc     %dx
    jnz     1b
    jmp     enter
3:  movzwl  %dx, %ecx
    shl     $4, %ecx
    call    store

/* ---- entry ---- */
enter:
    cli
    cmpw    $0, PARAM(P_MODE)
    jne     protected
    mov     PARAM(P_SEGMENT), %ax
    mov     PARAM(P_STACK), %cx
    movl    PARAM(P_ENTRY), %ebx
    mov     %ax, %ss
    movzwl  %cx, %esp
    mov     %ax, %ds
    mov     %ax, %es
    mov     %ax, %fs
    mov     %ax, %gs
    pushl   %ebx
    lret

protected:
    movl    PARAM(P_ENTRY), %edi
    movl    PARAM(P_EAX), %esi
    movl    PARAM(P_EBX), %ebx
    xor     %ecx, %ecx
    mov     %cs, %cx
    shl     $4, %ecx
    lea     OFF(gdt)(%ecx), %eax
    pushl   %eax
    pushw   $(gdt_end - gdt - 1)
    mov     %sp, %bp
    lgdtl   (%bp)
    lea     OFF(flat)(%ecx), %eax
    pushl   $0x08
    pushl   %eax
    mov     $0x11, %eax         /* PE, ET */
    mov     %eax, %cr0
    lretl

    .code32
flat:
    mov     $0x10, %eax
    mov     %eax, %ds
    mov     %eax, %es
    mov     %eax, %fs
    mov     %eax, %gs
    mov     %eax, %ss
    mov     $0x7000, %esp
    xor     %ebp, %ebp
    xor     %ecx, %ecx
    xor     %edx, %edx
    mov     %esi, %eax
    jmp     *%edi

    .code16
/* %eax below 1 MiB -> %es:%di */
address:
    mov     %ax, %di
    and     $0x0f, %di
    shr     $4, %eax
    mov     %ax, %es
    ret

/* Store %ecx at %eax unless that is 0. */
store:
    test    %eax, %eax
    jz      1f
    call    address
    movl    %ecx, %es:(%di)
1:  ret

/* Accessed bits are set: nothing is to be written to the ROM. */
    .p2align 3
gdt:
    .quad   0
    .quad   0x00cf9b000000ffff  /* flat code */
    .quad   0x00cf93000000ffff  /* flat data */
gdt_end:

    .p2align 4
boot_rom_end:
    .section .note.GNU-stack, "", @progbits
