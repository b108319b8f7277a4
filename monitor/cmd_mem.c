/* SPDX-License-Identifier: GPL-2.0-or-later */
/* x, xp, print, i, o, sum. */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/cpu/cpu.h"
#include "core/cpu/host_print.h"
#include "core/vm/mem.h"
#include "core/vm/port.h"
#include "core/vm/vm.h"
#include "monitor/commands.h"

static unsigned size_bytes(char size)
{
    switch (size) {
    case 'b': return 1;
    case 'h': return 2;
    case 'g': return 8;
    default: return 4;
    }
}

static int64_t sign_extend(uint64_t v, unsigned bytes)
{
    unsigned shift = 64 - 8 * bytes;

    return (int64_t)(v << shift) >> shift;
}

static void print_char(FILE *out, uint64_t ch)
{
    fputc('\'', out);
    switch (ch) {
    case '\'': fputs("\\'", out); break;
    case '\\': fputs("\\\\", out); break;
    case '\n': fputs("\\n", out); break;
    case '\r': fputs("\\r", out); break;
    default:
        if (ch >= 32 && ch < 127) {
            fputc((int)ch, out);
        } else {
            fprintf(out, "\\x%02llx", (unsigned long long)ch);
        }
    }
    fputc('\'', out);
}

void print_value(FILE *out, uint64_t v, char format, unsigned bytes,
                 bool is_padded)
{
    static const int decimal_width[9] = { 0, 3, 5, 0, 10, 0, 0, 0, 20 };
    int width = is_padded ? decimal_width[bytes] : 0;

    switch (format) {
    case 'o':
        fprintf(out, "%#*llo", is_padded ? (int)(bytes * 8 + 2) / 3 : 0,
                (unsigned long long)v);
        break;
    case 'x':
        if (is_padded) {
            fprintf(out, "0x%0*llx", (int)bytes * 2, (unsigned long long)v);
        } else {
            fprintf(out, "%#llx", (unsigned long long)v);
        }
        break;
    case 'u': fprintf(out, "%*llu", width, (unsigned long long)v); break;
    case 'c': print_char(out, v); break;
    default:
        fprintf(out, "%*lld", width, (long long)sign_extend(v, bytes));
        break;
    }
}

/* Where x (a CPU's linear) or xp (physical) reads from. */
struct source {
    struct vm *vm;
    struct cpu *c; /* NULL: physical */
};

static int source_read(const struct source *s, uint64_t at, void *buf,
                       size_t bytes)
{
    if (s->c != NULL) return cpu_read_linear(s->vm, s->c, at, buf, bytes);
    for (size_t i = 0; i < bytes; i++) {
        if (mem_find(s->vm, at + i) == NULL) return -EFAULT;
    }
    mem_read_locked(s->vm, at, buf, bytes);
    return 0;
}

static bool is_answer_full(FILE *out)
{
    long at = ftell(out);

    if (at < ANSWER_MAX_BYTES) return false;
    fputs("... cut here\n", out);
    return true;
}

static void dump_values(FILE *out, const struct source *s, uint64_t at,
                        uint64_t count, char format, unsigned bytes)
{
    unsigned per_line = (bytes == 1 ? 8 : 16) / bytes;

    while (count > 0 && !is_answer_full(out)) {
        uint64_t n = count < per_line ? count : per_line;

        fprintf(out, "%016llx:", (unsigned long long)at);
        for (uint64_t i = 0; i < n; i++) {
            uint64_t v = 0;

            if (source_read(s, at, &v, bytes) < 0) {
                fputs(" Cannot access memory\n", out);
                return;
            }
            fputc(' ', out);
            print_value(out, v, format, bytes, true);
            at += bytes;
        }
        fputc('\n', out);
        count -= n;
    }
}

/* Text up to a zero octet, as gdb prints it; long text goes on at the next
 * line. */
static void dump_strings(FILE *out, const struct source *s, uint64_t at,
                         uint64_t count)
{
    enum { PER_LINE = 60 };

    for (; count > 0 && !is_answer_full(out); count--) {
        bool has_end = false;

        fprintf(out, "%016llx: ", (unsigned long long)at);
        for (unsigned i = 0; i < PER_LINE && !has_end; i++) {
            uint8_t ch = 0;

            if (source_read(s, at++, &ch, 1) < 0) {
                fputs(i == 0 ? "" : "\" ", out);
                fputs("Cannot access memory\n", out);
                return;
            }
            if (i == 0) fputc('"', out);
            has_end = ch == 0;
            if (ch == '"' || ch == '\\') {
                fprintf(out, "\\%c", ch);
            } else if (ch >= 32 && ch < 127) {
                fputc(ch, out);
            } else if (ch == '\n') {
                fputs("\\n", out);
            } else if (!has_end) {
                fprintf(out, "\\%03o", ch);
            }
        }
        fprintf(out, "\"%s\n", has_end ? "" : "...");
    }
}

/* As many octets of an instruction as can be read, at most 15. */
static unsigned fetch(const struct source *s, uint64_t at, uint8_t buf[16])
{
    unsigned n = 0;

    while (n < 15 && source_read(s, at + n, buf + n, 1) == 0)
        n++;
    return n;
}

static void dump_insns(FILE *out, const struct source *s, const struct cpu *c,
                       uint64_t at, uint64_t count)
{
    for (; count > 0 && !is_answer_full(out); count--) {
        uint8_t buf[16];
        unsigned n = fetch(s, at, buf);

        if (n == 0) {
            fprintf(out, "0x%08llx: unable to read memory\n",
                    (unsigned long long)at);
            return;
        }
        at += cpu_print_insn(c, at, buf, n, out, NULL);
    }
}

/* Fill what /FMT left open from the last time and remember it.  x, xp, p, i
 * and o share the memory, as in QEMU. */
static void settle_format(struct cmd *c)
{
    struct monitor_session *s = c->s;
    struct cmd_format *f = &c->format;

    if (f->count == 0) f->count = 1;
    if (f->format == 0) f->format = s->format ? s->format : 'x';
    if (f->size == 0) f->size = s->size ? s->size : 'w';
    if (f->format == 's') return; /* for this once */
    s->format = f->format;
    if (f->format != 'i') s->size = f->size;
    if (f->format == 'c') f->size = 'b';
}

static int dump(struct cmd *c, bool is_linear, struct err *e)
{
    uint64_t at = (uint64_t)c->arg[1].number;
    struct cpu *cpu = monitor_cpu_begin(c->s, c->s->cpu);
    struct source s = { .vm = c->vm, .c = is_linear ? cpu : NULL };

    settle_format(c);
    if (cpu == NULL && (is_linear || c->format.format == 'i'))
        return err_set(e, -ENODEV, "No CPU");
    if (c->format.format == 'i') {
        dump_insns(c->out, &s, cpu, at, c->format.count);
    } else if (c->format.format == 's') {
        dump_strings(c->out, &s, at, c->format.count);
    } else {
        dump_values(c->out, &s, at, c->format.count, c->format.format,
                    size_bytes(c->format.size));
    }
    if (cpu != NULL) monitor_cpu_end(c->s);
    return 0;
}

int cmd_x(struct cmd *c, struct err *e)
{
    return dump(c, true, e);
}

int cmd_xp(struct cmd *c, struct err *e)
{
    return dump(c, false, e);
}

int cmd_print(struct cmd *c, struct err *e)
{
    (void)e;
    settle_format(c);
    print_value(c->out, (uint64_t)c->arg[1].number, c->format.format, 8, false);
    fputc('\n', c->out);
    return 0;
}

/* A port and its width for i and o. */
static unsigned port_size(struct cmd *c, char *suffix)
{
    unsigned bytes = c->format.size ? size_bytes(c->format.size) : 1;

    if (bytes == 8) bytes = 4;
    *suffix = bytes == 1 ? 'b' : bytes == 2 ? 'w' : 'l';
    return bytes;
}

int cmd_port_in(struct cmd *c, struct err *e)
{
    unsigned port = (unsigned)c->arg[1].number & 0xffff;
    char suffix;
    unsigned bytes = port_size(c, &suffix);

    (void)e;
    if (c->arg[2].is_given) /* index register first: i /b 0x70 5 */
        port_write_locked(c->vm, port++, 1, (uint32_t)c->arg[2].number & 0xff);
    fprintf(c->out, "port%c[0x%04x] = 0x%0*x\n", suffix, port & 0xffff,
            (int)bytes * 2, port_read_locked(c->vm, port & 0xffff, bytes));
    return 0;
}

int cmd_port_out(struct cmd *c, struct err *e)
{
    char suffix;
    unsigned bytes = port_size(c, &suffix);

    (void)e;
    port_write_locked(c->vm, (unsigned)c->arg[1].number & 0xffff, bytes,
                      (uint32_t)c->arg[2].number);
    return 0;
}

/* BSD checksum: rotate right by one and add, 16 bits. */
int cmd_sum(struct cmd *c, struct err *e)
{
    uint64_t at = (uint64_t)c->arg[0].number;
    uint64_t bytes = (uint64_t)c->arg[1].number;
    uint16_t sum = 0;

    if (bytes > 1ull << 30) return err_set(e, -ERANGE, "size over 1 GiB");
    for (; bytes > 0; bytes--, at++) {
        uint8_t b = 0;

        mem_read_locked(c->vm, at, &b, 1);
        sum = (uint16_t)((sum >> 1 | sum << 15) + b);
    }
    fprintf(c->out, "%05d\n", sum);
    return 0;
}
