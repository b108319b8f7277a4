/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_BLOCK_IMG_IMG_H
#define ORRERY_BLOCK_IMG_IMG_H

#include <stdbool.h>
#include <stdint.h>

#include "block/image.h"

/*
 * The image tool, `orrery img COMMAND ...`: options, output and exit statuses
 * of qemu-img.  One record per command (table in img.c) drives parsing, help,
 * completion and the manual page.  Everything here runs on the thread of
 * img_main unless it says otherwise.
 */

/* Options without a short letter. */
enum img_option_id {
    IMG_OBJECT = 256,
    IMG_IMAGE_OPTS,
    IMG_TARGET_IMAGE_OPTS,
    IMG_TARGET_IS_ZERO,
    IMG_SALVAGE,
    IMG_OUTPUT,
    IMG_BACKING_CHAIN,
    IMG_SIZE,
    IMG_SHRINK,
    IMG_PREALLOCATION,
    IMG_FLUSH_INTERVAL,
    IMG_NO_DRAIN,
    IMG_PATTERN,
    IMG_FORCE,
    IMG_CACHE,
    IMG_ADD,
    IMG_REMOVE,
    IMG_CLEAR,
    IMG_ENABLE,
    IMG_DISABLE,
    IMG_MERGE,
    IMG_BITMAPS,
    IMG_SKIP_BROKEN,
};

struct img_option {
    int id;           /* letter or enum img_option_id; 0 ends a table */
    const char *name; /* long name, NULL: none */
    const char *arg;  /* name of its value, NULL: takes none */
    const char *help;
};

struct img;
struct img_command {
    const char *name;
    const char *operands; /* for the usage line */
    const char *help;     /* one line */
    const struct img_option *options;
    int (*run)(struct img *m); /* exit status */
    bool has_signed_operand;   /* last operand may start with '-' */
};

struct img_given {
    int id;
    const char *value; /* "" for options without one */
};

struct img {
    const struct img_command *cmd;
    struct img_given *given; /* in the order of the command line */
    unsigned given_count;
    char **operands;
    unsigned operand_count;
    bool is_quiet; /* -q */
    struct secret_table *secrets;
};

/* The tool; argv[0] is "img".  Returns the exit status. */
int img_main(int argc, char **argv);

/* Last value of an option, NULL if it was not given. */
const char *img_get(const struct img *m, int id);
bool img_has(const struct img *m, int id);
/* Size option; without if absent.  0, or -1 after printing why. */
int img_get_size(const struct img *m, int id, const char *what,
                 uint64_t without, uint64_t *out);
/* "--output": 0 and *is_json, or -1 after printing why. */
int img_get_output(const struct img *m, bool *is_json);

/* Lines for the user: "orrery img: ..." on standard error. */
void img_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
int img_usage_error(const char *fmt, ...)
    __attribute__((format(printf, 1,
                          2))); /* with a pointer to help; returns 1 */
/* Standard output, not when quiet. */
void img_say(const struct img *m, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* ------------------------------------------------------- open.c: opening */

enum {
    IMG_WRITE = 1,
    IMG_NO_BACKING = 2,
    IMG_CHECK = 4,
    IMG_UNLOCKED = 8,      /* also set by -U */
    IMG_DESCRIBED = 16,    /* file is a list of options, not a name */
    IMG_SOURCE_CACHE = 32, /* messages: "source cache" */
    IMG_QUIET = 64,        /* no warning about guessed formats */
    IMG_UNSAFE = 128,      /* no flush before the work is done */
};
/* IMG_DESCRIBED if --image-opts was given, IMG_UNLOCKED if -U was. */
unsigned img_flags(const struct img *m);
/* Open a graph; prints what went wrong.  cache NULL: writeback. */
int img_open(const struct img *m, const char *file, const char *format,
             const char *cache, unsigned flags, struct node **out);
/* A cache mode's name is known; prints if not. */
int img_check_cache(const char *cache, unsigned flags);
/* e's text without the name of the file at its start. */
const char *img_reason(const struct err *e, const char *file);

/* Key and value pairs of all -o options and more; freed by img_pairs_free. */
struct img_pairs {
    char **kv;      /* key, value, ..., NULL */
    unsigned count; /* of strings */
};
int img_pairs_from_o(const struct img *m, struct img_pairs *p);
/* text: k=v,k=v with ",," for a comma. */
int img_pairs_parse(struct img_pairs *p, const char *text);
int img_pairs_add(struct img_pairs *p, const char *key, const char *value);
const char *img_pairs_get(const struct img_pairs *p, const char *key);
/* Take a pair out; the value is the caller's, NULL if absent. */
char *img_pairs_take(struct img_pairs *p, const char *key);
void img_pairs_free(struct img_pairs *p);
/* "-o help" (or "?"): the format's options were printed. */
bool img_options_help(const struct img *m, const char *format);

/* What a range is, looking through backing files down to (not into) base. */
struct img_extent {
    struct node_extent e;    /* of the node that decides */
    const struct node *node; /* that node */
    unsigned depth;
    bool is_present; /* some node above base has it */
};
int img_status(struct node *n, const struct node *base, uint64_t offset,
               uint64_t bytes, struct img_extent *out);
/* Read; what lies past the end is zero. */
int img_read_padded(struct node *n, uint64_t offset, void *buf, size_t bytes);
/* n becomes what "-l param" names (snapshot.id=, snapshot.name=, or either);
 * prints if it cannot. */
int img_show_snapshot(struct node *n, const char *param);
/* "1.21 MiB" as qemu-img writes it. */
const char *img_size_text(uint64_t bytes, char *buf, size_t cap);

/* ------------------------------------- progress.c: long work, its signals */

struct img_work {
    atomic_bool is_cancelled;
    struct image_progress progress; /* to hand to the block layer */
    struct img_work_state *s;
};
/* From here on SIGINT, SIGTERM and SIGHUP set is_cancelled, a second one
 * kills; SIGUSR1 prints the progress.  is_shown: -p. */
int img_work_begin(struct img_work *w, bool is_shown);
void img_work_set(struct img_work *w, uint64_t done, uint64_t total);
/* Ends the line of -p, gives the signals back; if one came, dies of it. */
void img_work_end(struct img_work *w, bool is_done);
/* img_work_end without dying; the signal that came, or 0. */
int img_work_stop(struct img_work *w, bool is_done);
void img_die_of(int sig);

/* -------------------------- target.c: a new image under a temporary name */

struct img_target {
    char *file;  /* final name, links followed */
    char *temp;  /* where it is made; equal to file if in place */
    int lock_fd; /* the file that is replaced, locked; -1 none */
    bool is_temp;
};
int img_target_begin(struct img_target *t, const char *file);
/* Give it its name; prints if that fails. */
int img_target_commit(struct img_target *t);
void img_target_abort(struct img_target *t); /* removes what is half-made */
/* Text with the temporary name replaced by the final one; returns buf. */
const char *img_target_text(const struct img_target *t, const char *text,
                            char *buf, size_t cap);

/* convert.c and dd.c: how the bytes get there */
struct img_copy {
    struct node **sources;
    unsigned source_count;
    struct node *target;
    uint64_t bytes;          /* of all sources, to copy */
    uint64_t skip_bytes;     /* of the first source */
    const struct node *base; /* below it nothing is copied, or NULL */
    bool has_backing;        /* the target has a backing file (-B) */
    uint64_t backing_bytes;  /* its size */
    bool is_compressed, is_out_of_order, is_salvaging, is_zero_target;
    bool is_offloaded;     /* -C: let the kernel copy */
    uint32_t sparse_bytes; /* 0: write all */
    unsigned threads;
    uint64_t rate_bytes; /* per second, 0: no limit */
    struct img_work *work;
};
int img_copy_run(struct img_copy *c, struct err *e);

int img_create(struct img *m);
int img_info(struct img *m);
int img_check(struct img *m);
int img_convert(struct img *m);
int img_resize(struct img *m);
int img_snapshot(struct img *m);
int img_compare(struct img *m);
int img_rebase(struct img *m);
int img_commit(struct img *m);
int img_map(struct img *m);
int img_measure(struct img *m);
int img_dd(struct img *m);
int img_bench(struct img *m);
int img_amend(struct img *m);
int img_nbd(struct img *m);
int img_bitmap(struct img *m);

/* help.c */
/* bitmap.c: the bitmaps of one image into another; prints what goes wrong. */
int img_check_bitmaps(const struct node *from, bool skips_broken);
int img_copy_bitmaps(struct node *from, struct node *to, bool skips_broken);
void img_print_help(const struct img_command *const *all);
void img_print_command_help(const struct img_command *c);
void img_print_man(const struct img_command *const *all);
void img_print_completion(const struct img_command *const *all);
extern const struct img_command *const img_commands[]; /* NULL at the end */

#endif
