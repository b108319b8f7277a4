/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_MONITOR_COMMAND_H
#define ORRERY_MONITOR_COMMAND_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "core/base/err.h"
#include "core/base/json.h"
#include "monitor/monitor.h"

/*
 * One record per command, for lines (HMP) and for JSON (QMP).  params declares
 * the arguments, in order, separated by spaces: "name:type", "[name:type]"
 * optional, "[-f]" a flag, "[-f:type]" a flag with a value.  Types:
 *   str   a word, or "quoted with \" and \\"     rest  all that follows
 *   file  the same, completed as a path          int   an expression
 *   blk   a drive's name                         keys  key names, ctrl-alt-f1
 *   cmd   a command's name                       info  a page of info
 *   fmt   /FMT right after the command           chardev, words as they say
 *   dev   a device's name                        any   JSON of any type
 *   bool  on or off                              log  log items
 *   event  a trace event's name
 * In JSON an argument has the same name unless "name=other:type" says so
 * ("[-f=force]"; "name=:type" keeps it out), a flag is a boolean, an int an
 * integer, all others strings.  "name?:type" is optional there although a
 * line must have it; "{name:type}" exists there alone and is optional,
 * "{name!:type}" has to be given.
 * Parsing, help and completion all come from it.
 */
enum param_type {
    PARAM_END,
    PARAM_FLAG,
    PARAM_STR,
    PARAM_FILE,
    PARAM_BLK,
    PARAM_DEV,
    PARAM_CHARDEV,
    PARAM_KEYS,
    PARAM_CMD,
    PARAM_INFO,
    PARAM_INT,
    PARAM_SIZE, /* a line: MiB, or with a suffix; JSON: octets */
    PARAM_BOOL,
    PARAM_REST,
    PARAM_FMT,
    PARAM_ANY,
    PARAM_LOG,
    PARAM_EVENT,
};

enum { COMMAND_MAX_PARAMS = 14, COMMAND_MAX_LINE = 4096 };

struct param {
    char name[24];
    char json[24];        /* "" : lines alone */
    enum param_type type; /* of a flag's value, or PARAM_FLAG for none */
    bool is_optional;
    bool is_json_optional;
    bool is_json_only;
    char flag; /* its letter, 0 if the parameter is no flag */
};

/* /FMT of x, p, i, o */
struct cmd_format {
    bool is_given;
    uint64_t count;
    char format; /* x d u o c i s, 0 not given */
    char size;   /* b h w g, 0 not given */
};

struct cmd_arg {
    bool is_given;
    int64_t number; /* int; bool and flag in JSON: 0 or 1 */
    char *text;
    const struct json *json; /* keys, any: as it came */
};

/* A request taken apart; index as in params. */
struct cmd {
    struct monitor_session *s;
    struct vm *vm;
    FILE *out;             /* answer of a line */
    struct json_out *json; /* answer of a JSON request, else NULL */
    const struct command *c;
    struct cmd_format format;
    struct cmd_arg arg[COMMAND_MAX_PARAMS];
    const struct json *all;  /* every argument of a JSON request */
    const char *error_class; /* QMP's; NULL: GenericError */
    struct qmp *qmp;         /* the connection it came from, or NULL */
};

struct command {
    const char *name; /* "stop|s"; a page's name in info_table */
    const char *params;
    const char *help;
    /* VM lock held.  0, or -errno with a text that is printed.  NULL: JSON
     * alone. */
    int (*run)(struct cmd *c, struct err *e);
    const char *json; /* QMP's name, NULL: lines alone */
    /* Writes exactly one value to c->json; NULL: run, and {} is the answer. */
    int (*answer)(struct cmd *c, struct err *e);
    /* Told to a person when it went well and printed nothing; or NULL. */
    const char *done;
    bool has_plain_errors; /* a line's error is printed without "Error: " */
    bool takes_any;        /* JSON: unknown arguments are not refused */
};
extern const struct command command_table[]; /* ends with name NULL */
extern const struct command info_table[];
extern const struct command json_table[]; /* JSON alone */

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
/* cmd_info.c: what help prints, at most 79 columns wide. */
void command_print_help(const struct command *p, const char *prefix, FILE *out);

/* parse_json.c */
const struct command *command_find_json(const char *name);
/* Next record that has a QMP name, in the order of the tables; NULL: first
 * and end. */
const struct command *command_next_json(const struct command *c);
/* Members of c->all into c->arg. */
int command_parse_json(struct cmd *c, struct err *e);

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
/* Kernel's number of vCPU n's thread, -1 unknown (cmd_info.c). */
int cpu_thread_id(unsigned n);

/* cmd_screen.c: no password ends any more. */
void password_expiry_close(struct vm *vm);
/* cmd_log.c: one instruction at a time (singlestep)? */
bool monitor_is_single(struct vm *vm);

/* Answers longer than this are cut. */
enum { ANSWER_MAX_BYTES = 8 << 20 };

/* cmd_block.c: -ENODEV with QMP's class and "Device 'id' not found". */
struct drive;
struct drive *cmd_drive(struct cmd *c, const char *id, struct err *e);
/* By either of two names: the drive's, or the device's that shows it (id). */
struct drive *cmd_drive_by(struct cmd *c, const char *device, const char *id,
                           struct err *e);
/* Move the tray and tell of it; nothing happens where there is none. */
int cmd_open_tray(struct cmd *c, struct drive *d, bool is_forced,
                  struct err *e);
int cmd_close_tray(struct cmd *c, struct drive *d, struct err *e);
int cmd_no_device(struct cmd *c, const char *id, struct err *e);

/* Value of one item for x, xp, p, i (format, size b h w g). */
void print_value(FILE *out, uint64_t v, char format, unsigned bytes,
                 bool is_padded);

#endif
