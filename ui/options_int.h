/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_UI_OPTIONS_INT_H
#define ORRERY_UI_OPTIONS_INT_H

#include "ui/options.h"

/*
 * Shared by the options_*.c files alone: the "key=value,key=value" walker,
 * value readers and the handlers the table names.
 */
struct keyval {
    char key[48];
    char value[4096]; /* commas undoubled */
    bool has_value;   /* "key" alone otherwise, value is "on" */
};

/*
 * Next item of *at, which moves on.  implied: key of an item without '=' if
 * it is the first one (is_first), NULL for none.  1 = filled, 0 = end,
 * -EINVAL.
 */
int keyval_next(const char **at, const char *implied, bool is_first,
                struct keyval *kv, struct err *e);
int keyval_unknown(const struct keyval *kv, const char *known, struct err *e);

int value_bool(const struct keyval *kv, bool *out, struct err *e);
int value_uint(const struct keyval *kv, uint64_t min, uint64_t max,
               uint64_t *out, struct err *e);
/* Replace *where by a copy of text (NULL: none). */
int value_text(char **where, const char *text, struct err *e);
bool value_is_help(const char *text);

/* Handlers, options_*.c */
int option_machine(struct options *o, const char *v, struct err *e);
int option_memory(struct options *o, const char *v, struct err *e);
int option_smp(struct options *o, const char *v, struct err *e);
int option_cpu(struct options *o, const char *v, struct err *e);
int option_accel(struct options *o, const char *v, struct err *e);
int option_enable_kvm(struct options *o, const char *v, struct err *e);
int option_boot(struct options *o, const char *v, struct err *e);
int option_name(struct options *o, const char *v, struct err *e);
int option_uuid(struct options *o, const char *v, struct err *e);
int option_rtc(struct options *o, const char *v, struct err *e);
int option_device(struct options *o, const char *v, struct err *e);
int option_vga(struct options *o, const char *v, struct err *e);
int option_display(struct options *o, const char *v, struct err *e);
int option_vnc(struct options *o, const char *v, struct err *e);
int option_keyboard(struct options *o, const char *v, struct err *e);
int option_log_items(struct options *o, const char *v, struct err *e);
int option_trace(struct options *o, const char *v, struct err *e);
int option_gdb_usual(struct options *o, const char *v, struct err *e);
int option_no_network(struct options *o, const char *v, struct err *e);
int option_no_audio(struct options *o, const char *v, struct err *e);
int option_action(struct options *o, const char *v, struct err *e);
int option_help(struct options *o, const char *v, struct err *e);
int option_man(struct options *o, const char *v, struct err *e);
int option_version(struct options *o, const char *v, struct err *e);

int option_drive(struct options *o, const char *v, struct err *e);
int option_blockdev(struct options *o, const char *v, struct err *e);
int option_object(struct options *o, const char *v, struct err *e);
int option_hda(struct options *o, const char *v, struct err *e);
int option_hdb(struct options *o, const char *v, struct err *e);
int option_hdc(struct options *o, const char *v, struct err *e);
int option_hdd(struct options *o, const char *v, struct err *e);
int option_cdrom(struct options *o, const char *v, struct err *e);
int option_fda(struct options *o, const char *v, struct err *e);
int option_fdb(struct options *o, const char *v, struct err *e);
int drives_finish(struct options *o, struct err *e);

int option_serial(struct options *o, const char *v, struct err *e);
int option_parallel(struct options *o, const char *v, struct err *e);
int option_monitor(struct options *o, const char *v, struct err *e);
int option_qmp(struct options *o, const char *v, struct err *e);
int option_qmp_pretty(struct options *o, const char *v, struct err *e);
int option_debugcon(struct options *o, const char *v, struct err *e);
int option_chardev(struct options *o, const char *v, struct err *e);
int option_mon(struct options *o, const char *v, struct err *e);
int chardevs_finish(struct options *o, struct err *e);

#endif
