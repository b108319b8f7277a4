/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Boot sector for crash tests: for ever writes a number into a sector of the
 * first hard disk (BIOS, INT 13h AH=43h), says FLUSH CACHE to the drive (ATA
 * command E7h, primary channel) and, when that is done, the number on the
 * first serial port, eight hexadecimal digits and a line feed.  Number n goes
 * to sector n * 7919 mod 65536 and fills it.
 */
    .code16
    .globl _start
_start:
    cli
    xorw %ax, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    movw $0x7c00, %sp
    sti
    cld
    movl $0, number
next:
    incl number
    imull $7919, number, %eax
    andl $0xffff, %eax
    movl %eax, packet + 8
    movl number, %eax
    movw $0x8000, %di
    movw $128, %cx
    rep stosl
    movb $0x43, %ah
    movb $0, %al
    movb $0x80, %dl
    movw $packet, %si
    int $0x13
    jc failed
    movw $0x1f6, %dx /* drive 0 */
    movb $0xe0, %al
    outb %al, %dx
    incw %dx
    movb $0xe7, %al
    outb %al, %dx
    movw $0x3f6, %dx /* alternate status */
1:  inb %dx, %al
    testb $0x80, %al
    jnz 1b
    testb $0x21, %al
    jnz failed
    movl number, %ebx
    movw $8, %cx
2:  roll $4, %ebx
    movb %bl, %al
    andb $15, %al
    addb $'0', %al
    cmpb $'9', %al
    jbe 3f
    addb $'a' - '9' - 1, %al
3:  call put
    loop 2b
    movb $'\n', %al
    call put
    jmp next
failed:
    movb $'E', %al
    call put
    movb $'\n', %al
    call put
4:  hlt
    jmp 4b

put:
    pushw %ax
    movw $0x3fd, %dx
5:  inb %dx, %al
    testb $0x20, %al
    jz 5b
    popw %ax
    movw $0x3f8, %dx
    outb %al, %dx
    ret

    .balign 4
packet: /* disk address packet: one sector at 0000:8000 */
    .byte 16, 0
    .word 1, 0x8000, 0
    .quad 0
number:
    .long 0

    .org _start + 510
    .word 0xaa55
