/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_MONITOR_COMMAND_H
#define ORRERY_MONITOR_COMMAND_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "core/base/err.h"
#include "monitor/monitor.h"

/*
 * One record per command.  params declares the arguments, in order, separated
 * by spaces: "name:type", "[name:type]" optional, "[-f]" a flag, "[-f:type]" a
 * flag with a value.  Types:
 *   str   a word, or "quoted with \" and \\"     rest  all that follows
 *   file  the same, completed as a path          int   an expression
 *   blk   a drive's name                         keys  key names, ctrl-alt-f1
 *   cmd   a command's name                       info  a page of info
 *   fmt   /FMT right after the command           chardev, words as they say
 * Parsing, help and completion all come from it.
 */
enum param_type {
    PARAM_END,
    PARAM_FLAG,
    PARAM_STR,
    PARAM_FILE,
    PARAM_BLK,
    PARAM_KEYS,
    PARAM_CMD,
    PARAM_INFO,
    PARAM_INT,
    PARAM_REST,
    PARAM_FMT,
};

enum { COMMAND_MAX_PARAMS = 8, COMMAND_MAX_LINE = 4096 };

struct param {
    char name[24];
    enum param_type type; /* of a flag's value, or PARAM_FLAG for none */
    bool is_optional;
    char flag; /* its letter, 0 if the parameter is no flag */
};

/* /FMT of x, p, i, o */
struct cmd_format {
    bool is_given;
    uint64_t count;
    char format; /* x d u o c i, 0 not given */
    char size;   /* b h w g, 0 not given */
};

struct cmd_arg {
    bool is_given;
    int64_t number;
    char *text;
};

/* A line taken apart; index as in params. */
struct cmd {
    struct monitor_session *s;
    struct vm *vm;
    FILE *out;
    const struct command *c;
    struct cmd_format format;
    struct cmd_arg arg[COMMAND_MAX_PARAMS];
};

struct command {
    const char *name; /* "stop|s" */
    const char *params;
    const char *help;
    /* VM lock held.  0, or -errno with a text that is printed. */
    int (*run)(struct cmd *c, struct err *e);
    bool has_plain_errors; /* printed without "Error: " before them */
};
extern const struct command command_table[]; /* ends with name NULL */
extern const struct command info_table[];

/* parse.c */
int params_parse(const char *params, struct param out[COMMAND_MAX_PARAMS + 1]);
/* "a|b" is called name? */
bool command_is_called(const struct command *c, const char *name, size_t len);
const struct command *command_find(const struct command *table,
                                   const char *name, size_t len);
/* Arguments of line (what follows the command's name) into c->arg. */
int command_parse(struct cmd *c, const char *line, struct err *e);
void command_free(struct cmd *c);
/* One word, quotes removed; *at moves on.  1, 0 at the end, -EINVAL. */
int word_next(const char **at, char *out, size_t cap, struct err *e);
/* "[-f] name [hold]" for help. */
void command_print_params(const struct command *c, FILE *out);

/*
 * expr.c: numbers, 'c', $register, + - * / % & | ^ ~ ( ).  *at moves to the
 * first character that is not part of it.  Registers are those of the
 * session's CPU.
 */
int expr_eval(struct monitor_session *s, const char **at, int64_t *out,
              struct err *e);

/* cpu_access.c: the chosen CPU at a safe point with complete registers. */
struct cpu;
struct cpu *monitor_cpu_begin(struct monitor_session *s, unsigned index);
void monitor_cpu_end(struct monitor_session *s);
/* Value of a register by QEMU's name ("eip", "rax", "cs", "cr3").  -ENOENT. */
int cpu_register(const struct cpu *c, const char *name, uint64_t *out);
const char *cpu_register_name_at(unsigned i); /* NULL at the end */
/* Linear to guest-physical as the CPU would, without side effects: 0, -1. */
int monitor_walk(struct vm *vm, struct cpu *c, uint64_t lin, uint64_t *gpa);
/* Octets at a linear address of the CPU: 0, or -EFAULT. */
int cpu_read_linear(struct vm *vm, struct cpu *c, uint64_t lin, void *buf,
                    size_t bytes);

/* registers.c */
void cpu_print_registers(const struct cpu *c, bool is_halted, bool has_a20,
                         FILE *out);

/* Answers longer than this are cut. */
enum { ANSWER_MAX_BYTES = 8 << 20 };

/* Commands, cmd_*.c */
int cmd_help(struct cmd *c, struct err *e);
int cmd_info(struct cmd *c, struct err *e);
int cmd_stop(struct cmd *c, struct err *e);
int cmd_cont(struct cmd *c, struct err *e);
int cmd_quit(struct cmd *c, struct err *e);
int cmd_reset(struct cmd *c, struct err *e);
int cmd_powerdown(struct cmd *c, struct err *e);
int cmd_cpu(struct cmd *c, struct err *e);
int cmd_nmi(struct cmd *c, struct err *e);
int cmd_boot_set(struct cmd *c, struct err *e);
int cmd_log(struct cmd *c, struct err *e);
int cmd_logfile(struct cmd *c, struct err *e);
int cmd_print(struct cmd *c, struct err *e);

int cmd_x(struct cmd *c, struct err *e);
int cmd_xp(struct cmd *c, struct err *e);
int cmd_port_in(struct cmd *c, struct err *e);
int cmd_port_out(struct cmd *c, struct err *e);
int cmd_memsave(struct cmd *c, struct err *e);
int cmd_pmemsave(struct cmd *c, struct err *e);
int cmd_sum(struct cmd *c, struct err *e);
int cmd_gva2gpa(struct cmd *c, struct err *e);

int cmd_sendkey(struct cmd *c, struct err *e);
int cmd_mouse_move(struct cmd *c, struct err *e);
int cmd_mouse_button(struct cmd *c, struct err *e);
int cmd_set_password(struct cmd *c, struct err *e);
int cmd_screendump(struct cmd *c, struct err *e);

int cmd_eject(struct cmd *c, struct err *e);
int cmd_change(struct cmd *c, struct err *e);
int info_block(struct cmd *c, struct err *e);

int info_status(struct cmd *c, struct err *e);
int info_version(struct cmd *c, struct err *e);
int info_name(struct cmd *c, struct err *e);
int info_uuid(struct cmd *c, struct err *e);
int info_kvm(struct cmd *c, struct err *e);
int info_accel(struct cmd *c, struct err *e);
int info_jit(struct cmd *c, struct err *e);
int info_cpus(struct cmd *c, struct err *e);
int info_chardev(struct cmd *c, struct err *e);
int info_registers(struct cmd *c, struct err *e);
int info_mem(struct cmd *c, struct err *e);
int info_tlb(struct cmd *c, struct err *e);
int info_mtree(struct cmd *c, struct err *e);
int info_qtree(struct cmd *c, struct err *e);

/* Value of one item for x, xp, p, i (format, size b h w g). */
void print_value(FILE *out, uint64_t v, char format, unsigned bytes,
                 bool is_padded);

#endif
