/* SPDX-License-Identifier: GPL-2.0-or-later */
/* link: monitor core block */
/*
 * The monitor: taking lines apart, expressions, answers' layout, completion,
 * line editing over a socket.  Expected layouts and values were taken from
 * QEMU 7.2's monitor given the same memory and registers.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "block/block.h"
#include "core/cpu/cpu.h"
#include "core/cpu/cpuid.h"
#include "core/cpu/host_print.h"
#include "core/host/chardev.h"
#include "core/host/display.h"
#include "core/loop/loop.h"
#include "core/vm/vm.h"
#include "monitor/command.h"
#include "monitor/monitor.h"
#include "monitor/pager.h"
#include "tests/unit/support/monitor_rig.h"

/* ---- memory ---- */

static void memory_dumps_have_qemus_layout(void **state)
{
    struct monitor_rig *r = *state;

    monitor_rig_expect(r, "xp 0xffff0", "00000000000ffff0: 0x00e05bea\n");
    monitor_rig_expect(
        r, "xp /4xw 0xffff0",
        "00000000000ffff0: 0x00e05bea 0x2f3630f0 0x392f3332 0x00fc0039\n");
    monitor_rig_expect(
        r, "xp /3xg 0xffff0",
        "00000000000ffff0: 0x2f3630f000e05bea 0x00fc0039392f3332\n"
        "0000000000100000: 0x0000000000000000\n");
    monitor_rig_expect(
        r, "xp /9dh 0xffff0",
        "00000000000ffff0: 23530   224 12528 12086 13106 14639    57   "
        "252\n0000000000100000:     0\n");
    monitor_rig_expect(
        r, "xp /5uw 0xffff0",
        "00000000000ffff0:   14703594  792080624  959394610   16515129\n"
        "0000000000100000:          0\n");
    monitor_rig_expect(r, "xp /9ob 0xffff0",
                       "00000000000ffff0: 0352 0133 0340   0 0360 060 066 057\n"
                       "00000000000ffff8: 062\n");
    monitor_rig_expect(
        r, "xp /17cb 0xffff0",
        "00000000000ffff0: '\\xea' '[' '\\xe0' '\\x00' '\\xf0' '0' '6' "
        "'/'\n00000000000ffff8: '2' '3' '/' '9' '9' '\\x00' '\\xfc' "
        "'\\x00'\n0000000000100000: '\\x00'\n");
    monitor_rig_expect(
        r, "xp /16xb 0xffff0",
        "00000000000ffff0: 0xea 0x5b 0xe0 0x00 0xf0 0x30 0x36 0x2f\n"
        "00000000000ffff8: 0x32 0x33 0x2f 0x39 0x39 0x00 0xfc 0x00\n");
    monitor_rig_expect(
        r, "xp /3dg 0xffff0",
        "00000000000ffff0:  3401960375889976298    70931939903615794\n"
        "0000000000100000:                    0\n");
    monitor_rig_expect(r, "xp /2og 0xffff0",
                       "00000000000ffff0: 0274661417000070055752   "
                       "03740003447113631462\n");
    monitor_rig_expect(r, "xp /2ub 0xffff0", "00000000000ffff0: 234  91\n");
    monitor_rig_expect(r, "xp /2cw 0x100000",
                       "0000000000100000: '\\x00' '\\x00'\n");
}

static void the_last_format_is_kept(void **state)
{
    struct monitor_rig *r = *state;

    free(monitor_rig_answer(r, "xp /16xb 0xffff0"));
    monitor_rig_expect(r, "xp 0xffff0", "00000000000ffff0: 0xea\n");
    monitor_rig_expect(r, "xp/h 0xffff0", "00000000000ffff0: 0x5bea\n");
    monitor_rig_expect(r, "p 8", "0x8\n");
    monitor_rig_expect(r, "p /o 8", "010\n");
    monitor_rig_expect(r, "p 65472", "0177700\n");
    monitor_rig_expect(r, "p/d 8", "8\n");
    monitor_rig_expect(r, "xp 0xffff0", "00000000000ffff0: 23530\n");
    free(monitor_rig_answer(r, "xp /i 0xffff0"));
    monitor_rig_expect(r, "p 8", "8\n"); /* instructions leave it decimal */
}

static void linear_addresses_go_through_the_page_tables(void **state)
{
    struct monitor_rig *r = *state;
    uint32_t *dir = (uint32_t *)(r->ram->host + 0x1000);
    uint32_t *table = (uint32_t *)(r->ram->host + 0x2000);

    dir[1] = 0x2000 | 7;     /* 4 MiB.. */
    table[0] = 0xff000 | 3;  /* 0x400000 -> 0xff000 */
    table[1] = 0x100000 | 7; /* 0x401000 -> 0x100000, user */
    r->cpu->cr0 = CR0_PE;
    r->cpu->cr3 = 0x1000;
    monitor_rig_expect(r, "info mem", "PG disabled\n");
    r->cpu->cr0 |= CR0_PG;
    monitor_rig_expect(r, "x /1xw 0x400ff0", "0000000000400ff0: 0x00e05bea\n");
    monitor_rig_expect(r, "x /1xw 0x402000",
                       "0000000000402000: Cannot access memory\n");
    monitor_rig_expect(r, "x /2s 0x402000",
                       "0000000000402000: Cannot access memory\n");
    monitor_rig_expect(r, "x /2i 0x402000",
                       "0x00402000: unable to read memory\n");
    monitor_rig_expect(
        r, "info mem",
        "0000000000400000-0000000000401000 0000000000001000 -rw\n"
        "0000000000401000-0000000000402000 0000000000001000 urw\n");
    monitor_rig_expect(r, "info tlb",
                       "0000000000400000: 00000000000ff000 --------W\n"
                       "0000000000401000: 0000000000100000 -------UW\n");
    monitor_rig_expect(r, "gva2gpa 0x400ff0", "gpa: 0xffff0\n");
    monitor_rig_expect(r, "gva2gpa 0", "Unmapped\n");
    r->cpu->ops = NULL; /* as KVM leaves it */
    monitor_rig_expect(r, "gva2gpa 0x400ff0", "gpa: 0xffff0\n");
    monitor_rig_expect(r, "x /1xw 0x400ff0", "0000000000400ff0: 0x00e05bea\n");
}

static void instructions_are_disassembled_for_the_mode(void **state)
{
    static const uint8_t code[] = { 0x48, 0x89, 0xd8, 0x90 };
    struct monitor_rig *r = *state;

    memcpy(r->ram->host + 0x5000, code, sizeof(code));
    r->cpu->seg[SEG_CS].attr = 0x9b | SEG_ATTR_DB;
    monitor_rig_expect(
        r, "xp /2i 0x5000",
        "0x00005000:  48                       dec      %eax\n"
        "0x00005001:  89 d8                    mov      %ebx, %eax\n");
    r->cpu->efer = EFER_LMA;
    r->cpu->seg[SEG_CS].attr = 0x9b | SEG_ATTR_L;
    monitor_rig_expect(
        r, "xp /2i 0x5000",
        "0x00005000:  48 89 d8                 mov      %rbx, %rax\n"
        "0x00005003:  90                       nop\n");
}

static void a_huge_count_ends(void **state)
{
    struct monitor_rig *r = *state;
    char *got = monitor_rig_answer(r, "xp /4000000000xb 0");

    assert_true(strlen(got) < (9 << 20));
    assert_non_null(strstr(got, "... cut here\n"));
    free(got);
}

static int keep_password(void *arg, const char *password, struct err *e)
{
    (void)e;
    strcpy(arg, password);
    return 0;
}

static void a_password_goes_to_the_display_that_asks(void **state)
{
    struct monitor_rig *r = *state;
    char got[32] = "";
    struct display_password p = { keep_password, got };

    monitor_rig_expect(r, "set_password spice x",
                       "protocol 'spice': only vnc has a password\n");
    monitor_rig_expect(r, "set_password vnc x", "there is no VNC display\n");
    vm_set_service(r->vm, "vnc-password", &p);
    monitor_rig_expect(r, "set_password vnc geheim", "");
    assert_string_equal(got, "geheim");
}

static void memory_is_summed_and_saved(void **state)
{
    struct monitor_rig *r = *state;
    char path[] = "/tmp/test-hmp-XXXXXX", line[128], buf[32];
    int fd = mkstemp(path);
    FILE *f;

    monitor_rig_expect(r, "sum 0xffff0 16", "54987\n");
    snprintf(line, sizeof(line), "pmemsave 0xffff0 4+4 \"%s\"", path);
    monitor_rig_expect(r, line, "");
    f = fopen(path, "rb");
    assert_int_equal(fread(buf, 1, sizeof(buf), f), 8);
    assert_memory_equal(buf, r->ram->host + 0xffff0, 8);
    fclose(f);
    close(fd);
    unlink(path);
    monitor_rig_expect(
        r, "pmemsave 0 16 /nonexistent/x",
        "Error: Could not open '/nonexistent/x': No such file or "
        "directory\n");
}

/* ---- expressions ---- */

static void expressions_compute(void **state)
{
    static const struct {
        const char *line, *want;
    } rows[] = {
        { "p 3+4*5", "23\n" },
        { "p (3+4)*5", "35\n" },
        { "p -1", "-1\n" },
        { "p/x -1", "0xffffffffffffffff\n" },
        { "p/u -1", "18446744073709551615\n" },
        { "p/d ~1", "-2\n" },
        { "p 'a'", "97\n" },
        { "p 5%3", "2\n" },
        { "p 7/2", "3\n" },
        { "p 4+1&1", "5\n" },
        { "p 1|2^3", "0\n" },
        { "p 0x10 + 010", "24\n" },
        { "p - - 3", "3\n" },
        { "p $rbx", "4886718345\n" },
        { "p $ebx", "591751049\n" },
        { "p $pc", "100010\n" },
        { "p $cs", "4096\n" },
        { "p/c 65", "'A'\n" },
        { "p/d -9223372036854775807-1", "-9223372036854775808\n" },
        { "p (-9223372036854775807-1)/-1", "-9223372036854775808\n" },
        { "p 5%-1", "0\n" },
    };
    struct monitor_rig *r = *state;

    r->cpu->gpr[GPR_BX] = 0x123456789;
    r->cpu->rip = 34474;
    r->cpu->seg[SEG_CS] =
        (struct cpu_segment){ .sel = 0x1000, .base = 0x10000 };
    free(monitor_rig_answer(r, "p/d 0"));
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (rows[i].line[1] == ' ') free(monitor_rig_answer(r, "p/d 0"));
        monitor_rig_expect(r, rows[i].line, rows[i].want);
    }
}

static void bad_lines_get_qemus_answers(void **state)
{
    static const struct {
        const char *line, *want;
    } rows[] = {
        { "foo", "unknown command: 'foo'\n" },
        { "info foo", "unknown command: 'info foo'\n" },
        { "p $nope", "unknown register\nTry \"help p\" for more "
                     "information\n" },
        { "p 3/0", "division by zero\nTry \"help p\" for more information\n" },
        { "p (1", "')' expected\nTry \"help p\" for more information\n" },
        { "p 1 2", "print|p: extraneous characters at the end of line\nTry "
                   "\"help p\" for more information\n" },
        { "x /", "unexpected end of expression\nTry \"help x\" for more "
                 "information\n" },
        { "x /2q 0", "invalid char in format: 'q'\nTry \"help x\" for more "
                     "information\n" },
        { "sendkey", "sendkey: string expected\nTry \"help sendkey\" for "
                     "more information\n" },
        { "stop extra", "stop|s: extraneous characters at the end of "
                        "line\nTry \"help stop\" for more information\n" },
        { "sendkey foo", "invalid parameter: foo\n" },
        { "cpu 3", "invalid CPU index\n" },
        { "cpu -1", "invalid CPU index\n" },
        { "eject nodev", "Error: Device 'nodev' not found\n" },
        { "boot_set zz", "Invalid boot device 'z'\n" },
        { "", "" },
        { "   ", "" },
    };
    struct monitor_rig *r = *state;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        monitor_rig_expect(r, rows[i].line, rows[i].want);
}

static void deep_or_long_lines_are_refused(void **state)
{
    struct monitor_rig *r = *state;
    char *line = malloc(100002);

    memset(line, '(', 100000);
    memcpy(line, "p ", 2);
    line[100000] = '\0';
    monitor_rig_expect(r, line,
                       "expression too deep\nTry \"help p\" for more "
                       "information\n");
    memset(line + 2, '-', 99998);
    monitor_rig_expect(r, line,
                       "expression too deep\nTry \"help p\" for more "
                       "information\n");
    memset(line, 'a', 100000);
    memcpy(line, "sendkey ", 8);
    monitor_rig_expect(r, line,
                       "word too long\nTry \"help sendkey\" for more "
                       "information\n");
    free(line);
}

/* ---- status, registers ---- */

static void status_follows_stop_and_cont(void **state)
{
    struct monitor_rig *r = *state;

    monitor_rig_expect(r, "info status", "VM status: paused (prelaunch)\n");
    monitor_rig_expect(r, "c", "");
    monitor_rig_expect(r, "info status", "VM status: running\n");
    monitor_rig_expect(r, "stop", "");
    monitor_rig_expect(r, "info status", "VM status: paused\n");
    monitor_rig_expect(r, "info name", "test\n");
    monitor_rig_expect(r, "info uuid",
                       "00000000-0000-0000-0000-000000000000\n");
    monitor_rig_expect(r, "info kvm", "kvm support: disabled\n");
}

static void a_machine_that_ended_goes_on_after_a_reset(void **state)
{
    struct monitor_rig *r = *state;

    vm_lock(r->vm);
    vm_start_locked(r->vm);
    vm_stop_locked(r->vm, RUN_SHUTDOWN);
    vm_unlock(r->vm);
    monitor_rig_expect(r, "info status", "VM status: paused (shutdown)\n");
    monitor_rig_expect(r, "cont",
                       "Error: Resetting the Virtual Machine is required\n");
    monitor_rig_expect(r, "system_reset", "");
    loop_step(r->loop, 1000);
    monitor_rig_expect(r, "info status", "VM status: paused (prelaunch)\n");
    monitor_rig_expect(r, "cont", "");
    monitor_rig_expect(r, "info status", "VM status: running\n");
}

/* Linux in 64-bit mode, as QEMU printed it (vector registers shortened). */
static const char long_mode[] =
    "RAX=ffffffffa3880a10 RBX=ffffffffa3880a10 RCX=0000000000441f0f "
    "RDX=0000000000000005\n"
    "RSI=ffffffffa480240a RDI=ffffffffa3880a10 RBP=ffffffffa480240a "
    "RSP=ffffffffa5203e70\n"
    "R8 =000000000000441f R9 =00000000313b0114 R10=ffffffffa5203e50 "
    "R11=ffff8d568f82e498\n"
    "R12=0000000000000005 R13=0000000000000046 R14=ffff8d5681047200 "
    "R15=0000000000000952\n"
    "RIP=ffffffffa4601d30 RFL=00000006 [-----P-] CPL=0 II=0 A20=1 SMM=0 "
    "HLT=0\n"
    "ES =0000 0000000000000000 00000000 00000000\n"
    "CS =0010 0000000000000000 ffffffff 00af9b00 DPL=0 CS64 [-RA]\n"
    "SS =0000 0000000000000000 ffffffff 00c09300 DPL=0 DS   [-WA]\n"
    "DS =0000 0000000000000000 00000000 00000000\n"
    "FS =0000 0000000000000000 00000000 00000000\n"
    "GS =0000 ffff8d568f800000 00000000 00000000\n"
    "LDT=0000 0000000000000000 00000000 00008200 DPL=0 LDT\n"
    "TR =0040 fffffe0000003000 00004087 00008900 DPL=0 TSS64-avl\n"
    "GDT=     fffffe0000001000 0000007f\n"
    "IDT=     ffffffffa5b13000 00000fff\n"
    "CR0=80050033 CR2=ffff8d5689401000 CR3=0000000007a10000 CR4=000000b0\n"
    "DR0=0000000000000000 DR1=0000000000000000 DR2=0000000000000000 "
    "DR3=0000000000000000 \n"
    "DR6=00000000ffff0ff0 DR7=0000000000000400\n"
    "EFER=0000000000000d01\n"
    "FCW=037f FSW=0000 [ST=0] FTW=00 MXCSR=00001f80\n";

static void registers_are_laid_out_as_qemus_in_long_mode(void **state)
{
    struct monitor_rig *r = *state;
    struct cpu *c = r->cpu;
    char *got = NULL;
    size_t bytes = 0;
    FILE *f = open_memstream(&got, &bytes);
    static const uint64_t gpr[16] = {
        0xffffffffa3880a10,
        0x441f0f,
        5,
        0xffffffffa3880a10,
        0xffffffffa5203e70,
        0xffffffffa480240a,
        0xffffffffa480240a,
        0xffffffffa3880a10,
        0x441f,
        0x313b0114,
        0xffffffffa5203e50,
        0xffff8d568f82e498,
        5,
        0x46,
        0xffff8d5681047200,
        0x952,
    };

    memcpy(c->gpr, gpr, sizeof(gpr));
    c->rip = 0xffffffffa4601d30;
    c->rflags = 6;
    c->seg[SEG_CS] = (struct cpu_segment){ 0x10, 0xa09b, 0xffffffff, 0 };
    c->seg[SEG_SS] = (struct cpu_segment){ 0, 0xc093, 0xffffffff, 0 };
    c->seg[SEG_GS].base = 0xffff8d568f800000;
    c->ldt.attr = 0x82;
    c->tr = (struct cpu_segment){ 0x40, 0x89, 0x4087, 0xfffffe0000003000 };
    c->gdt = (struct cpu_table){ 0xfffffe0000001000, 0x7f };
    c->idt = (struct cpu_table){ 0xffffffffa5b13000, 0xfff };
    c->cr0 = 0x80050033;
    c->cr2 = 0xffff8d5689401000;
    c->cr3 = 0x7a10000;
    c->cr4 = 0xb0;
    c->dr[6] = 0xffff0ff0;
    c->dr[7] = 0x400;
    c->efer = 0xd01;
    cpu_print_registers(c, false, true, f);
    fclose(f);
    /* QEMU prints SS's limit nibble as the descriptor had it (0); ours comes
     * from the limit. */
    char *ss = strstr(got, "00cf9300");
    assert_non_null(ss);
    memcpy(ss, "00c09300", 8);
    if (strncmp(got, long_mode, sizeof(long_mode) - 1) != 0)
        fail_msg("got\n%s", got);
    assert_non_null(strstr(got, "\nXMM14=0000000000000000 0000000000000000 "
                                "XMM15=0000000000000000 0000000000000000\n"));
    free(got);
}

static void vector_registers_come_from_the_save_area(void **state)
{
    struct monitor_rig *r = *state;
    uint8_t *x = r->cpu->xsave;
    uint64_t one = 0x8000000000000000, in_use = 3;
    char *got;

    /* 1.0 at the top of the stack, TOP = 7, so physical register 7. */
    memcpy(x, &(uint16_t){ 0x37f }, 2);
    memcpy(x + 2, &(uint16_t){ 7 << 11 }, 2);
    x[4] = 0x80;
    memcpy(x + 24, &(uint32_t){ 0x1f80 }, 4);
    memcpy(x + 32, &one, 8);
    memcpy(x + 40, &(uint16_t){ 0x3fff }, 2);
    memset(x + 160 + 16, 0xab, 8);
    memset(x + 160 + 24, 0xcd, 8);
    memcpy(x + 512, &in_use, 8);
    got = monitor_rig_answer(r, "info registers");
    assert_non_null(strstr(got, "FCW=037f FSW=3800 [ST=7] FTW=80 "
                                "MXCSR=00001f80\n"));
    assert_non_null(strstr(got, "FPR7=8000000000000000 3fff\n"));
    assert_non_null(strstr(got, "XMM01=cdcdcdcdcdcdcdcd abababababababab\n"));
    free(got);
}

/* ---- filters ---- */

static void an_answer_passes_through_its_filters(void **state)
{
    static const struct {
        const char *line, *want;
    } rows[] = {
        { "xp /3xb 0 | grep 0x", "0000000000000000: 0x00 0x00 0x00\n" },
        { "info status | grep -v paused", "" },
        { "info status|grep -i PAUSED | grep -c VM", "1\n" },
        { "info version | grep ^0", "0.1.0 (Orrery)\n" },
        { "info version | grep ^x", "" },
        { "info version | grep \"y)$\"", "0.1.0 (Orrery)\n" },
        { "xp /32xb 0 | head 1 | tail 1",
          "0000000000000000: 0x00 0x00 0x00 0x00 0x00 0x00 0x00 0x00\n" },
        { "xp /32xb 0 | tail -n 1",
          "0000000000000018: 0x00 0x00 0x00 0x00 0x00 0x00 0x00 0x00\n" },
        { "p/d 6 | 9", "15\n" },
        { "info name | grep", "grep: text expected\n" },
        { "info name | grep -q x", "grep: unknown flag -q\n" },
        { "info name | head many", "number of lines expected\n" },
        { "info name | head 1 2",
          "extraneous characters at the end of line\n" },
    };
    struct monitor_rig *r = *state;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        monitor_rig_expect(r, rows[i].line, rows[i].want);
}

static void keep_text(void *arg, const char *text, size_t bytes)
{
    strncat(arg, text, bytes);
}

static void long_answers_come_by_the_page(void **state)
{
    char got[256] = "";
    struct pager p = { .write = keep_text, .arg = got };
    bool is_taken;

    (void)state;
    assert_false(pager_begin(&p, strdup("1\n2\n"), 4, 3));
    assert_true(pager_begin(&p, strdup("1\n2\n3\n4\n5\n6\n"), 12, 3));
    assert_true(pager_key(&p, '\r', &is_taken));
    assert_true(pager_key(&p, ' ', &is_taken) && is_taken);
    assert_false(pager_key(&p, 'i', &is_taken)); /* the next command's */
    assert_false(is_taken);
    assert_string_equal(got, "1\n2\n1\n2\n--More-- (Space, Enter, q)"
                             "\r\x1b[K3\n--More-- (Space, Enter, q)"
                             "\r\x1b[K4\n5\n--More-- (Space, Enter, q)"
                             "\r\x1b[K6\n");
    assert_true(pager_begin(&p, strdup("1\n2\n3\n"), 6, 3));
    assert_false(pager_key(&p, 'q', &is_taken));
    assert_true(is_taken && p.text == NULL);
}

static void strings_are_shown_as_text(void **state)
{
    struct monitor_rig *r = *state;

    memcpy(r->ram->host + 0x700, "say \"hi\"\n\x01\\\0next", 16);
    monitor_rig_expect(r, "xp /2s 0x700",
                       "0000000000000700: \"say \\\"hi\\\"\\n\\001\\\\\"\n"
                       "000000000000070c: \"next\"\n");
}

static void help_fits_a_terminal(void **state)
{
    static const char *const lines[] = { "help", "info", "help info" };
    struct monitor_rig *r = *state;

    for (unsigned i = 0; i < 3; i++) {
        char *got = monitor_rig_answer(r, lines[i]), *rest;

        for (char *l = strtok_r(got, "\n", &rest); l != NULL;
             l = strtok_r(NULL, "\n", &rest)) {
            if (strlen(l) > 79) fail_msg("%zu columns: %s", strlen(l), l);
        }
        free(got);
    }
}

/* ---- text from outside ---- */

static void answers_hold_no_control_characters(void **state)
{
    struct monitor_rig *r = *state;
    char *got;

    r->cfg.name = (char *)"a\x1b[2Jb\x9b"
                          "c\xc2\x9b"
                          "d\xc3\xa9\xff";
    got = monitor_rig_answer(r, "info name");
    assert_string_equal(got, "a?[2Jb?c??d\xc3\xa9?\n");
    free(got);
    got = monitor_rig_answer(r, "\x1b]0;x\x07");
    assert_null(strchr(got, '\x1b'));
    free(got);
}

/* ---- records ---- */

static void every_record_has_readable_parameters(void **state)
{
    struct param p[COMMAND_MAX_PARAMS + 1];
    const struct command *tables[] = { command_table, info_table };

    (void)state;
    for (unsigned t = 0; t < 2; t++) {
        for (const struct command *c = tables[t]; c->name != NULL; c++) {
            if (params_parse(c->params, p) < 0)
                fail_msg("%s: %s", c->name, c->params);
            assert_true(c->help != NULL && c->run != NULL);
        }
    }
}

static void parameters_are_taken_apart(void **state)
{
    struct param p[COMMAND_MAX_PARAMS + 1];

    (void)state;
    assert_int_equal(params_parse("[-f] dev:blk [-t:str] [n:int]", p), 4);
    assert_true(p[0].flag == 'f' && p[0].type == PARAM_FLAG);
    assert_true(p[1].type == PARAM_BLK && !p[1].is_optional);
    assert_string_equal(p[1].name, "dev");
    assert_true(p[2].flag == 't' && p[2].type == PARAM_STR);
    assert_true(p[3].is_optional && p[3].type == PARAM_INT);
    assert_int_equal(p[4].type, PARAM_END);
    assert_int_equal(params_parse("dev:what", p), -EINVAL);
    assert_int_equal(params_parse("dev", p), -EINVAL);
    assert_int_equal(params_parse("a:int b:int c:int d:int e:int f:int g:int "
                                  "h:int i:int j:int k:int l:int m:int n:int "
                                  "o:int p:int q:int",
                                  p),
                     -E2BIG);
}

static int parse(struct cmd *c, const char *params, const char *line,
                 struct err *e)
{
    static struct command k;

    memset(c, 0, sizeof(*c));
    *e = (struct err)ERR_INIT;
    k = (struct command){ .name = "k", .params = params };
    c->c = &k;
    return command_parse(c, line, e);
}

static void lines_fill_declared_arguments(void **state)
{
    struct cmd c;
    struct err e;

    (void)state;
    assert_int_equal(parse(&c, "[-f] dev:str file:file [n:int]",
                           " -f cd \"a b\\\"c\" 1 + 2", &e),
                     0);
    assert_true(c.arg[0].is_given);
    assert_string_equal(c.arg[1].text, "cd");
    assert_string_equal(c.arg[2].text, "a b\"c");
    assert_int_equal(c.arg[3].number, 3);
    command_free(&c);
    assert_int_equal(parse(&c, "file:file [-f:str]", " x -f png", &e), 0);
    assert_string_equal(c.arg[1].text, "png");
    command_free(&c);
    assert_int_equal(parse(&c, "file:file [-f:str]", " -f png x", &e), 0);
    assert_string_equal(c.arg[0].text, "x");
    command_free(&c);
    assert_int_equal(parse(&c, "dx:int dy:int [dz:int]", " -10 -5", &e), 0);
    assert_int_equal(c.arg[0].number, -10);
    assert_int_equal(c.arg[1].number, -5);
    assert_false(c.arg[2].is_given);
    command_free(&c);
    assert_int_equal(parse(&c, "f:fmt a:int", "/16xb (1 + 2) * 2", &e), 0);
    assert_int_equal(c.format.count, 16);
    assert_int_equal(c.format.format, 'x');
    assert_int_equal(c.format.size, 'b');
    assert_int_equal(c.arg[1].number, 6);
    command_free(&c);
    assert_int_equal(parse(&c, "a:int b:str", " (1 + 2) x", &e), 0);
    assert_int_equal(c.arg[0].number, 3);
    command_free(&c);
    assert_int_equal(parse(&c, "a:str", " \"open", &e), -EINVAL);
    assert_string_equal(e.text, "unterminated string");
    command_free(&c);
    assert_int_equal(parse(&c, "a:str", " \"\\q\"", &e), -EINVAL);
    command_free(&c);
    assert_int_equal(parse(&c, "[-f:str] a:str", " x -f", &e), -EINVAL);
    command_free(&c);
    assert_int_equal(parse(&c, "a:int", " 99999999999999999999", &e), -ERANGE);
    command_free(&c);
}

/* ---- completion ---- */

struct words {
    char text[8192];
};

static void add_word(void *arg, const char *word)
{
    struct words *w = arg;

    if (strlen(w->text) + strlen(word) + 2 > sizeof(w->text)) return;
    strcat(w->text, word);
    strcat(w->text, " ");
}

static void expect_words(struct monitor_rig *r, const char *line, size_t start,
                         const char *want)
{
    struct words w = { "" };
    size_t at = monitor_complete(&r->s, line, strlen(line), add_word, &w);

    if (strcmp(w.text, want) != 0)
        fail_msg("'%s': wanted '%s', got '%s'", line, want, w.text);
    assert_int_equal(at, start);
}

static void words_are_completed_by_what_is_declared(void **state)
{
    struct monitor_rig *r = *state;
    struct drive_table *t = NULL;
    struct drive *d;
    struct err e = ERR_INIT;

    assert_int_equal(drive_table_create(r->loop, &t), 0);
    assert_int_equal(drive_add(t, "ide1-cd0", true, true, NULL, &d, &e), 0);
    assert_int_equal(drive_add(t, "floppy0", true, false, NULL, &d, &e), 0);
    vm_set_service(r->vm, "drives", t);
    expect_words(r, "system_", 0,
                 "system_powerdown system_reset system_wakeup ");
    expect_words(r, "cont", 0, "cont ");
    expect_words(r, "info sta", 5, "status ");
    expect_words(r, "help scr", 5, "screendump ");
    expect_words(r, "eject ide", 6, "ide1-cd0 ");
    expect_words(r, "eject -f fl", 9, "floppy0 ");
    expect_words(r, "eject -", 6, "-f ");
    expect_words(r, "info block fl", 11, "floppy0 ");
    expect_words(r, "sendkey ctrl-alt-del", 8, "ctrl-alt-delete ");
    expect_words(r, "x /4i $ef", 6, "$eflags $efer ");
    expect_words(r, "screendump /proc/self/statm", 11, "/proc/self/statm ");
    expect_words(r, "change floppy0 /proc/self/map_f", 15,
                 "/proc/self/map_files/ ");
    expect_words(r, "nonsense x", 9, "");
    vm_set_service(r->vm, "drives", NULL);
    drive_table_destroy(t);
}

/* ---- on a socket ---- */

static void converse(struct monitor_rig *r, int fd, const char *say,
                     const char *want)
{
    char got[8192] = "";
    size_t n = 0;

    assert_int_equal(write(fd, say, strlen(say)), (ssize_t)strlen(say));
    for (unsigned i = 0; i < 300 && n < strlen(want); i++) {
        ssize_t k;

        loop_step(r->loop, 10);
        k = recv(fd, got + n, sizeof(got) - 1 - n, MSG_DONTWAIT);
        if (k > 0) n += (size_t)k;
    }
    got[n] = '\0';
    assert_string_equal(got, want);
}

static void a_socket_gets_greeting_prompt_echo_and_answer(void **state)
{
    struct monitor_rig *r = *state;
    char dir[] = "/tmp/test-hmp-XXXXXX", spec[160];
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    struct chardev *c = NULL;
    struct monitor *m = NULL;
    struct err e = ERR_INIT;
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    assert_non_null(mkdtemp(dir));
    snprintf(a.sun_path, sizeof(a.sun_path), "%s/m", dir);
    snprintf(spec, sizeof(spec), "unix:%s,server=on,wait=off", a.sun_path);
    assert_int_equal(chardev_open(r->loop, "m", spec, &c, &e), 0);
    assert_int_equal(monitor_create(r->vm, c, &m, &e), 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    converse(r, fd, "",
             "Orrery 0.1.0 monitor - type 'help' for more information\r\n"
             "(qemu) ");
    converse(r, fd, "info status\n",
             "info status\r\nVM status: paused (prelaunch)\r\n(qemu) ");
    converse(r, fd, "p/d 1\r\n", "p/d 1\r\n1\r\n(qemu) "); /* CR LF: one end */
    /* Backspace, Home and insertion, history, kill, Tab. */
    converse(r, fd, "p 12\b3\n", "p 12\x1b[1D\x1b[K3\r\n13\r\n(qemu) ");
    converse(r, fd, "p 2\x1b[D1\n", "p 2\x1b[1D12\x1b[1D\r\n12\r\n(qemu) ");
    converse(r, fd, "\x1b[A\n", "p 12\x1b[K\r\n12\r\n(qemu) ");
    converse(r, fd, "junk\x15p 3\n", "junk\x1b[4D\x1b[Kp 3\r\n3\r\n(qemu) ");
    converse(r, fd, "info na\t\n", "info name \r\ntest\r\n(qemu) ");
    converse(r, fd, "\x03", "^C\r\n(qemu) ");
    close(fd);
    monitor_destroy(m);
    chardev_close(c);
    assert_int_equal(rmdir(dir), 0);
}

#define TEST(f) \
    cmocka_unit_test_setup_teardown(f, monitor_rig_setup, monitor_rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(memory_dumps_have_qemus_layout),
        TEST(the_last_format_is_kept),
        TEST(linear_addresses_go_through_the_page_tables),
        TEST(instructions_are_disassembled_for_the_mode),
        TEST(a_huge_count_ends),
        TEST(a_password_goes_to_the_display_that_asks),
        TEST(memory_is_summed_and_saved),
        TEST(expressions_compute),
        TEST(bad_lines_get_qemus_answers),
        TEST(deep_or_long_lines_are_refused),
        TEST(status_follows_stop_and_cont),
        TEST(a_machine_that_ended_goes_on_after_a_reset),
        TEST(registers_are_laid_out_as_qemus_in_long_mode),
        TEST(vector_registers_come_from_the_save_area),
        TEST(an_answer_passes_through_its_filters),
        TEST(long_answers_come_by_the_page),
        TEST(strings_are_shown_as_text),
        TEST(help_fits_a_terminal),
        TEST(answers_hold_no_control_characters),
        TEST(every_record_has_readable_parameters),
        TEST(parameters_are_taken_apart),
        TEST(lines_fill_declared_arguments),
        TEST(words_are_completed_by_what_is_declared),
        TEST(a_socket_gets_greeting_prompt_echo_and_answer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
