/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Smallest guests of the two direct boot protocols. Each tells on the serial
 * port and in the text screen what it was given, then writes 0x10 to
 * isa-debug-exit (port 0xf4): the machine ends with status 0x21. Without that
 * device it halts.
 *
 * Multiboot Specification 0.6.96, sections 3.1 to 3.3.
 * PVH: Xen's docs/misc/pvh.pandoc and public/arch-x86/hvm/start_info.h.
 */
#define COM1   0x3f8
#define EXIT   0xf4

        .code32
#ifdef PVH
        .section .note.pvh, "a", @note
        .long   4, 4, 18                /* XEN_ELFNOTE_PHYS32_ENTRY */
        .asciz  "Xen"
        .long   start
#else
        .section .multiboot, "ax"
        .long   0x1badb002, 0x00000003, -(0x1badb002 + 0x00000003)
#endif

        .text
        .globl  start
start:
        movl    $stack, %esp
        cld
        movl    %eax, %ebp              /* ebp: magic, ebx: info */
        movl    $0xb8000, screen
        movl    $0xb8000, %edi          /* 80x25 blanks */
        movl    $0x07200720, %eax
        movl    $1000, %ecx
        rep stosl
        pushl   %ebx
        pushl   %ebp
        call    serial_init
        popl    %ebp
        popl    %ebx

        movl    %cr0, %eax
        testl   $1, %eax                /* PE set, PG clear: both protocols */
        jz      bad
        testl   $0x80000000, %eax
        jnz     bad

#ifdef PVH
        movl    $name_magic, %esi
        movl    0(%ebx), %eax
        call    line_hex
        cmpl    $0x336ec578, 0(%ebx)
        jne     bad
        movl    $name_version, %esi
        movl    4(%ebx), %eax
        call    line_hex
        movl    $name_modules, %esi
        movl    12(%ebx), %eax
        call    line_hex
        movl    $name_rsdp, %esi
        movl    32(%ebx), %eax
        call    line_hex
        movl    24(%ebx), %eax          /* cmdline_paddr */
        call    line_cmdline
        cmpl    $0, 12(%ebx)
        je      1f
        movl    16(%ebx), %edi          /* modlist_paddr: u64 addr, size, ... */
        movl    $name_mod_size, %esi
        movl    8(%edi), %eax
        call    line_hex
        movl    0(%edi), %eax
        movl    8(%edi), %ecx
        call    line_sum
1:      cmpl    $1, 4(%ebx)
        jb      2f
        movl    48(%ebx), %ecx          /* memmap_entries */
        movl    40(%ebx), %edi          /* memmap_paddr: u64, u64, u32, u32 */
        xorl    %edx, %edx
3:      jecxz   4f
        cmpl    $1, 16(%edi)            /* RAM */
        jne     5f
        movl    8(%edi), %eax
        shrl    $10, %eax
        addl    %eax, %edx
5:      addl    $24, %edi
        decl    %ecx
        jmp     3b
4:      movl    $name_ram, %esi
        movl    %edx, %eax
        call    line_hex
2:
#else
        movl    $name_magic, %esi
        movl    %ebp, %eax
        call    line_hex
        cmpl    $0x2badb002, %ebp
        jne     bad
        movl    $name_flags, %esi
        movl    0(%ebx), %eax
        call    line_hex
        testl   $1, 0(%ebx)
        jz      1f
        movl    $name_lower, %esi
        movl    4(%ebx), %eax
        call    line_hex
        movl    $name_upper, %esi
        movl    8(%ebx), %eax
        call    line_hex
1:      testl   $4, 0(%ebx)
        jz      2f
        movl    16(%ebx), %eax
        call    line_cmdline
2:      testl   $8, 0(%ebx)
        jz      3f
        movl    $name_modules, %esi
        movl    20(%ebx), %eax
        call    line_hex
        cmpl    $0, 20(%ebx)
        je      3f
        movl    24(%ebx), %edi          /* mods: start, end, string */
        movl    $name_mod_size, %esi
        movl    4(%edi), %eax
        subl    0(%edi), %eax
        call    line_hex
        movl    0(%edi), %eax
        movl    4(%edi), %ecx
        subl    %eax, %ecx
        call    line_sum
3:      testl   $0x40, 0(%ebx)          /* memory map: sum of RAM in KiB */
        jz      4f
        movl    48(%ebx), %edi
        movl    44(%ebx), %ecx
        addl    %edi, %ecx
        xorl    %edx, %edx
5:      cmpl    %ecx, %edi
        jae     6f
        cmpl    $1, 20(%edi)
        jne     7f
        movl    12(%edi), %eax
        shrl    $10, %eax
        addl    %eax, %edx
7:      movl    0(%edi), %eax
        leal    4(%edi,%eax), %edi
        jmp     5b
6:      movl    $name_ram, %esi
        movl    %edx, %eax
        call    line_hex
4:
#endif
        movl    $done, %esi
        call    puts
        movb    $0x10, %al
        jmp     leave
bad:    movl    $wrong, %esi
        call    puts
        movb    $0x01, %al
leave:  outb    %al, $EXIT
        cli
1:      hlt
        jmp     1b

/* line_hex: esi name, eax value */
line_hex:
        pushl   %ecx
        pushl   %edx
        pushl   %eax
        call    puts
        popl    %edx
        movl    $8, %ecx
1:      roll    $4, %edx
        movl    %edx, %eax
        andl    $15, %eax
        movb    digits(%eax), %al
        call    putc
        loop    1b
        movb    $'\n', %al
        call    putc
        popl    %edx
        popl    %ecx
        ret

/* line_cmdline: eax address of the string, 0 if none */
line_cmdline:
        pushl   %eax
        movl    $name_cmdline, %esi
        call    puts
        popl    %esi
        testl   %esi, %esi
        jz      1f
        call    puts
1:      movl    $newline, %esi
        jmp     puts

/* line_sum: sum of the bytes of a module, eax address, ecx size */
line_sum:
        pushl   %ebx
        pushl   %edx
        movl    %eax, %esi
        xorl    %edx, %edx
        xorl    %eax, %eax
1:      jecxz   2f
        lodsb
        addl    %eax, %edx
        decl    %ecx
        jmp     1b
2:      movl    $name_sum, %esi
        movl    %edx, %eax
        call    line_hex
        popl    %edx
        popl    %ebx
        ret

puts:   lodsb
        testb   %al, %al
        jz      1f
        call    putc
        jmp     puts
1:      ret

/* putc: al to the serial port (waits for the holding register) and screen */
putc:
        pushl   %edx
        pushl   %ebx
        movb    %al, %bl
        movw    $(COM1 + 5), %dx
1:      inb     %dx, %al
        testb   $0x20, %al
        jz      1b
        movb    %bl, %al
        movw    $COM1, %dx
        outb    %al, %dx
        movl    screen, %edx
        cmpb    $'\n', %bl
        jne     2f
        subl    $0xb8000, %edx          /* next row of 160 bytes */
        movl    %edx, %eax
        pushl   %ecx
        movl    $160, %ecx
        xorl    %edx, %edx
        divl    %ecx
        incl    %eax
        mull    %ecx
        popl    %ecx
        leal    0xb8000(%eax), %edx
        jmp     3f
2:      movb    %bl, (%edx)
        movb    $0x07, 1(%edx)
        addl    $2, %edx
3:      movl    %edx, screen
        movb    %bl, %al
        popl    %ebx
        popl    %edx
        ret

/* 115200 baud, 8N1 (PC16550D, table II) */
serial_init:
        movw    $(COM1 + 3), %dx
        movb    $0x80, %al
        outb    %al, %dx
        movw    $COM1, %dx
        movb    $1, %al
        outb    %al, %dx
        movw    $(COM1 + 1), %dx
        movb    $0, %al
        outb    %al, %dx
        movw    $(COM1 + 3), %dx
        movb    $0x03, %al
        outb    %al, %dx
        ret

        .section .rodata
digits: .ascii  "0123456789abcdef"
newline: .asciz "\n"
name_magic: .asciz "magic "
name_version: .asciz "version "
name_flags: .asciz "flags "
name_lower: .asciz "mem_lower "
name_upper: .asciz "mem_upper "
name_cmdline: .asciz "cmdline "
name_modules: .asciz "modules "
name_mod_size: .asciz "module size "
name_sum: .asciz "module sum "
name_rsdp: .asciz "rsdp "
name_ram: .asciz "ram KiB "
done:   .asciz  "boottest: OK\n"
wrong:  .asciz  "boottest: WRONG\n"

        .section .bss
        .balign 16
        .skip   4096
stack:
screen: .skip   4
