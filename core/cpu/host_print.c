/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/cpu/host_print.h"

#include <Zydis/Zydis.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/log.h"
#include "core/cpu/cpu.h"

static void print_gprs(const struct cpu *c, bool is_64, FILE *out)
{
    static const struct {
        const char *name;
        unsigned reg;
    } order[16] = {
        { "AX", GPR_AX }, { "BX", GPR_BX }, { "CX", GPR_CX }, { "DX", GPR_DX },
        { "SI", GPR_SI }, { "DI", GPR_DI }, { "BP", GPR_BP }, { "SP", GPR_SP },
        { "R8 ", 8 },     { "R9 ", 9 },     { "R10", 10 },    { "R11", 11 },
        { "R12", 12 },    { "R13", 13 },    { "R14", 14 },    { "R15", 15 },
    };

    for (unsigned i = 0; i < (is_64 ? 16 : 8); i++) {
        uint64_t v = c->gpr[order[i].reg];

        if (is_64) {
            fprintf(out, "%s%s=%016llx", i < 8 ? "R" : "", order[i].name,
                    (unsigned long long)v);
        } else {
            fprintf(out, "E%s=%08x", order[i].name, (uint32_t)v);
        }
        fputc(i % 4 == 3 ? '\n' : ' ', out);
    }
}

/* SDM volume 3, table 3-2: system descriptor types. */
static const char *system_type(unsigned type, bool is_long)
{
    static const char *const names[16] = {
        "Reserved",   "TSS16-avl", "LDT",       "TSS16-busy",
        "CallGate16", "TaskGate",  "IntGate16", "TrapGate16",
        "Reserved",   "TSS32-avl", "Reserved",  "TSS32-busy",
        "CallGate32", "Reserved",  "IntGate32", "TrapGate32",
    };
    static const char *const long_names[16] = {
        [2] = "LDT",         [9] = "TSS64-avl",  [11] = "TSS64-busy",
        [12] = "CallGate64", [14] = "IntGate64", [15] = "TrapGate64",
    };

    if (!is_long) return names[type];
    return long_names[type] != NULL ? long_names[type] : "Reserved";
}

static void print_segment(const struct cpu *c, const char *name,
                          const struct cpu_segment *s, bool is_64, FILE *out)
{
    uint32_t limit = s->attr & SEG_ATTR_G ? s->limit >> 12 : s->limit;
    uint32_t flags = (uint32_t)(s->attr & 0xf0ff) << 8 | (limit >> 16 & 15)
                                                             << 16;
    unsigned t = SEG_ATTR_TYPE(s->attr);

    if (is_64) {
        fprintf(out, "%-3s=%04x %016llx %08x %08x", name, s->sel,
                (unsigned long long)s->base, s->limit, flags);
    } else {
        fprintf(out, "%-3s=%04x %08x %08x %08x", name, s->sel,
                (uint32_t)s->base, s->limit, flags);
    }
    if ((c->cr0 & CR0_PE) && (s->attr & SEG_ATTR_P)) {
        fprintf(out, " DPL=%d ", SEG_ATTR_DPL(s->attr));
        if (!(s->attr & SEG_ATTR_S)) {
            fputs(system_type(t, cpu_is_long(c)), out);
        } else if (t & 8) { /* code: conforming, readable, accessed */
            fprintf(out, "%s [%c%c%c]",
                    s->attr & SEG_ATTR_L    ? "CS64"
                    : s->attr & SEG_ATTR_DB ? "CS32"
                                            : "CS16",
                    t & 4 ? 'C' : '-', t & 2 ? 'R' : '-', t & 1 ? 'A' : '-');
        } else { /* data: expand down, writable, accessed */
            fprintf(out, "%s [%c%c%c]",
                    s->attr & SEG_ATTR_DB || cpu_is_long(c) ? "DS  " : "DS16",
                    t & 4 ? 'E' : '-', t & 2 ? 'W' : '-', t & 1 ? 'A' : '-');
        }
    }
    fputc('\n', out);
}

static void print_tables(const struct cpu *c, bool is_64, FILE *out)
{
    const struct cpu_table *t[2] = { &c->gdt, &c->idt };

    for (unsigned i = 0; i < 2; i++)
        fprintf(out, "%s=     %0*llx %08x\n", i ? "IDT" : "GDT", is_64 ? 16 : 8,
                (unsigned long long)t[i]->base, t[i]->limit);
}

static void print_control(const struct cpu *c, bool is_64, FILE *out)
{
    int w = is_64 ? 16 : 8;

    fprintf(out, "CR0=%08x CR2=%0*llx CR3=%0*llx CR4=%08x\n", (uint32_t)c->cr0,
            w, (unsigned long long)c->cr2, w, (unsigned long long)c->cr3,
            (uint32_t)c->cr4);
    for (unsigned i = 0; i < 4; i++)
        fprintf(out, "DR%u=%016llx ", i, (unsigned long long)c->dr[i]);
    fprintf(out, "\nDR6=%016llx DR7=%016llx\nEFER=%016llx\n",
            (unsigned long long)c->dr[6], (unsigned long long)c->dr[7],
            (unsigned long long)c->efer);
}

/* SDM volume 1, 10.5.1 (FXSAVE layout) and 13.4 (XSAVE header). */
static void print_vector(const struct cpu *c, bool is_64, FILE *out)
{
    uint16_t fcw = 0x37f, fsw = 0;
    uint8_t ftw = 0;
    uint32_t mxcsr = 0x1f80;
    uint64_t in_use, part[2];
    unsigned regs = is_64 ? 16 : 8, top;

    memcpy(&in_use, c->xsave + 512, 8);
    if (in_use & 1) {
        memcpy(&fcw, c->xsave, 2);
        memcpy(&fsw, c->xsave + 2, 2);
        ftw = c->xsave[4];
    }
    if (in_use & 6) memcpy(&mxcsr, c->xsave + 24, 4);
    top = fsw >> 11 & 7;
    fprintf(out, "FCW=%04x FSW=%04x [ST=%u] FTW=%02x MXCSR=%08x\n", fcw, fsw,
            top, ftw, mxcsr);
    for (unsigned i = 0; i < 8; i++) { /* saved from the top of the stack */
        uint64_t mantissa = 0;
        uint16_t exponent = 0;
        const uint8_t *st = c->xsave + 32 + 16 * ((i - top) & 7);

        if (in_use & 1) {
            memcpy(&mantissa, st, 8);
            memcpy(&exponent, st + 8, 2);
        }
        fprintf(out, "FPR%u=%016llx %04x%c", i, (unsigned long long)mantissa,
                exponent, i % 2 ? '\n' : ' ');
    }
    for (unsigned i = 0; i < regs; i++) {
        memset(part, 0, sizeof(part));
        if (in_use & 2) memcpy(part, c->xsave + 160 + 16 * i, 16);
        fprintf(out, "XMM%02u=%016llx %016llx%c", i,
                (unsigned long long)part[1], (unsigned long long)part[0],
                i % 2 ? '\n' : ' ');
    }
}

void cpu_print_registers(const struct cpu *c, bool is_halted, bool has_a20,
                         FILE *out)
{
    static const struct {
        const char *name;
        unsigned seg;
    } order[] = { { "ES", SEG_ES }, { "CS", SEG_CS }, { "SS", SEG_SS },
                  { "DS", SEG_DS }, { "FS", SEG_FS }, { "GS", SEG_GS } };
    static const struct {
        uint32_t bit;
        char name;
    } flags[] = { { FLAG_DF, 'D' }, { FLAG_OF, 'O' }, { FLAG_SF, 'S' },
                  { FLAG_ZF, 'Z' }, { FLAG_AF, 'A' }, { FLAG_PF, 'P' },
                  { FLAG_CF, 'C' } };
    bool is_64 = cpu_is_code64(c);

    print_gprs(c, is_64, out);
    if (is_64) {
        fprintf(out, "RIP=%016llx RFL=%08x [", (unsigned long long)c->rip,
                (uint32_t)c->rflags);
    } else {
        fprintf(out, "EIP=%08x EFL=%08x [", (uint32_t)c->rip,
                (uint32_t)c->rflags);
    }
    for (unsigned i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
        fputc(c->rflags & flags[i].bit ? flags[i].name : '-', out);
    fprintf(out, "] CPL=%u II=%d A20=%d SMM=%d HLT=%d\n", cpu_cpl(c),
            c->has_intr_shadow, has_a20, c->is_smm, is_halted);
    for (unsigned i = 0; i < sizeof(order) / sizeof(order[0]); i++)
        print_segment(c, order[i].name, &c->seg[order[i].seg], is_64, out);
    print_segment(c, "LDT", &c->ldt, is_64, out);
    print_segment(c, "TR", &c->tr, is_64, out);
    print_tables(c, is_64, out);
    print_control(c, is_64, out);
    print_vector(c, is_64, out);
}

/* ---- instructions ---- */

static void print_insn(FILE *out, uint64_t at, const uint8_t *code, unsigned n,
                       const char *text)
{
    char hex[64] = "";
    size_t len = strcspn(text, " ");

    for (unsigned i = 0; i < n; i++)
        snprintf(hex + 3 * i, sizeof(hex) - 3 * i, "%02x ", code[i]);
    if (text[len] == '\0') {
        fprintf(out, "0x%08llx:  %-24s %s\n", (unsigned long long)at, hex,
                text);
    } else {
        fprintf(out, "0x%08llx:  %-24s %-8.*s %s\n", (unsigned long long)at,
                hex, (int)len, text, text + len + 1);
    }
}

static bool ends_block(const ZydisDecodedInstruction *i)
{
    switch (i->meta.category) {
    case ZYDIS_CATEGORY_COND_BR:
    case ZYDIS_CATEGORY_UNCOND_BR:
    case ZYDIS_CATEGORY_CALL:
    case ZYDIS_CATEGORY_RET:
    case ZYDIS_CATEGORY_INTERRUPT:
    case ZYDIS_CATEGORY_SYSCALL:
    case ZYDIS_CATEGORY_SYSRET: return true;
    default: return false;
    }
}

unsigned cpu_print_insn(const struct cpu *c, uint64_t lin, const uint8_t *code,
                        size_t bytes, FILE *out, bool *is_jump)
{
    ZydisMachineMode mode = ZYDIS_MACHINE_MODE_LONG_COMPAT_16;
    ZydisStackWidth width = ZYDIS_STACK_WIDTH_16;
    ZydisDecodedOperand ops[ZYDIS_MAX_OPERAND_COUNT];
    ZydisDecodedInstruction insn;
    ZydisFormatter formatter;
    ZydisDecoder decoder;
    bool is_end = false;
    unsigned n = 1;
    char text[160];

    if (bytes == 0) return 0;
    if (cpu_is_code64(c)) {
        mode = ZYDIS_MACHINE_MODE_LONG_64;
        width = ZYDIS_STACK_WIDTH_64;
    } else if (c->seg[SEG_CS].attr & SEG_ATTR_DB) {
        mode = ZYDIS_MACHINE_MODE_LONG_COMPAT_32;
        width = ZYDIS_STACK_WIDTH_32;
    }
    ZydisDecoderInit(&decoder, mode, width);
    ZydisFormatterInit(&formatter, ZYDIS_FORMATTER_STYLE_ATT);
    ZydisFormatterSetProperty(&formatter, ZYDIS_FORMATTER_PROP_HEX_UPPERCASE,
                              ZYAN_FALSE);
    if (ZYAN_SUCCESS(
            ZydisDecoderDecodeFull(&decoder, code, bytes, &insn, ops)) &&
        ZYAN_SUCCESS(ZydisFormatterFormatInstruction(
            &formatter, &insn, ops, insn.operand_count_visible, text,
            sizeof(text), lin, NULL))) {
        n = insn.length;
        is_end = ends_block(&insn);
    } else {
        snprintf(text, sizeof(text), ".byte    0x%02x", code[0]);
    }
    if (is_jump != NULL) *is_jump = is_end;
    print_insn(out, lin, code, n, text);
    return n;
}

/* ---- log ---- */

static void log_registers(const struct cpu *c, unsigned item, const char *head)
{
    char *text = NULL;
    size_t bytes = 0;
    FILE *f;

    if (!(log_items() & item)) return;
    f = open_memstream(&text, &bytes);
    if (f == NULL) return;
    fputs(head, f);
    cpu_print_registers(c, c->activity != CPU_ACTIVE, true, f);
    fclose(f);
    log_text(item, text);
    free(text);
}

void cpu_log_reset(const struct cpu *c, const char *what)
{
    char head[64];

    snprintf(head, sizeof(head), "CPU Reset (CPU %u): %s\n", c->index, what);
    log_registers(c, LOG_CPU_RESET, head);
}

void cpu_log_step(const struct cpu *c)
{
    uint64_t lin = c->seg[SEG_CS].base + c->rip;

    if (cpu_is_code64(c)) lin = c->rip;
    log_item(LOG_EXEC, "Trace %u: %04x:%0*llx %016llx", c->index,
             c->seg[SEG_CS].sel, cpu_is_code64(c) ? 16 : 8,
             (unsigned long long)c->rip, (unsigned long long)lin);
    log_registers(c, LOG_CPU, "");
}

void cpu_log_smm(const struct cpu *c)
{
    log_item(LOG_INT, "CPU %u: SMM: %s IP=%04x:%016llx", c->index,
             c->is_smm ? "enter" : "leave", c->seg[SEG_CS].sel,
             (unsigned long long)c->rip);
}

void cpu_log_event(const struct cpu *c, const char *kind, unsigned vector,
                   bool has_error, uint32_t error)
{
    char code[24] = "", address[32] = "";

    if (has_error) snprintf(code, sizeof(code), " e=%04x", error);
    if (has_error && vector == 14) {
        snprintf(address, sizeof(address), " CR2=%016llx",
                 (unsigned long long)c->cr2);
    }
    log_item(LOG_INT,
             "CPU %u: v=%02x%s %s cpl=%u IP=%04x:%016llx SP=%04x:%016llx%s",
             c->index, vector, code, kind, cpu_cpl(c), c->seg[SEG_CS].sel,
             (unsigned long long)c->rip, c->seg[SEG_SS].sel,
             (unsigned long long)c->gpr[GPR_SP], address);
}
