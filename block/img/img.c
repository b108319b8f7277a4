/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * `orrery img`: the commands' table and the command line.  A command is a
 * record with its options; the order of options and operands is free, as with
 * qemu-img, except that what follows "--" is an operand.
 */
#include "block/img/img.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "core/base/size.h"

/* Options that many commands share. */
/* clang-format off */
#define OPT_OBJECT { IMG_OBJECT, "object", "objectdef", \
    "define a secret: secret,id=ID,file=FILE" }
#define OPT_IMAGE_OPTS { IMG_IMAGE_OPTS, "image-opts", NULL, \
    "the file name is a list of options: driver=qcow2,file.filename=..." }
#define OPT_FORMAT { 'f', "format", "fmt", "image format; guessed if absent" }
#define OPT_QUIET { 'q', NULL, NULL, "print errors alone" }
#define OPT_PROGRESS { 'p', NULL, NULL, "show progress" }
#define OPT_SHARE { 'U', "force-share", NULL, \
    "open it even if another program writes to it" }
#define OPT_CACHE { 't', NULL, "cache", \
    "cache mode: none, writeback, writethrough, directsync, unsafe" }
#define OPT_SRC_CACHE { 'T', NULL, "src_cache", \
    "cache mode of what is read" }
#define OPT_OUTPUT { IMG_OUTPUT, "output", "ofmt", "human or json" }
#define OPT_END { 0, NULL, NULL, NULL }

static const struct img_option amend_options[] = {
    OPT_OBJECT, OPT_IMAGE_OPTS, OPT_PROGRESS, OPT_QUIET, OPT_FORMAT, OPT_CACHE,
    { IMG_FORCE, "force", NULL, "allow what may make the image unreadable" },
    { 'o', NULL, "options", "format's options; -o help lists them" },
    OPT_END
};
static const struct img_option bitmap_options[] = {
    { IMG_MERGE, "merge", "SOURCE", "add the bits of another bitmap" },
    { IMG_ADD, "add", NULL, "make it, enabled" },
    { IMG_REMOVE, "remove", NULL, "delete it" },
    { IMG_CLEAR, "clear", NULL, "clear all its bits" },
    { IMG_ENABLE, "enable", NULL, "let it record what is written" },
    { IMG_DISABLE, "disable", NULL, "let it record nothing more" },
    { 'b', NULL, "source_file", "image SOURCE is in" },
    { 'F', NULL, "source_fmt", "its format" },
    { 'g', NULL, "granularity", "octets a bit stands for (64k)" },
    OPT_OBJECT, OPT_IMAGE_OPTS, OPT_FORMAT, OPT_END
};
static const struct img_option bench_options[] = {
    { 'c', NULL, "count", "number of requests (75000)" },
    { 'd', NULL, "depth", "requests in flight (64)" },
    OPT_FORMAT,
    { IMG_FLUSH_INTERVAL, "flush-interval", "flush_interval",
      "flush after so many writes" },
    { 'i', NULL, "aio", "threads, native or io_uring; chosen by itself" },
    { 'n', NULL, NULL, "native asynchronous I/O; chosen by itself" },
    { IMG_NO_DRAIN, "no-drain", NULL, "flush without waiting for writes" },
    { 'o', NULL, "offset", "where to start" },
    { IMG_PATTERN, "pattern", "pattern", "octet to write (0)" },
    OPT_QUIET,
    { 's', NULL, "buffer_size", "size of a request (4096)" },
    { 'S', NULL, "step_size", "distance between requests (their size)" },
    OPT_CACHE,
    { 'w', NULL, NULL, "write (destroys the content)" },
    OPT_IMAGE_OPTS, OPT_SHARE, OPT_END
};
static const struct img_option check_options[] = {
    OPT_OBJECT, OPT_IMAGE_OPTS, OPT_QUIET, OPT_FORMAT, OPT_OUTPUT,
    { 'r', "repair", "leaks|all", "repair leaks, or all errors" },
    OPT_SRC_CACHE, OPT_SHARE, OPT_PROGRESS, OPT_END
};
static const struct img_option commit_options[] = {
    OPT_OBJECT, OPT_IMAGE_OPTS, OPT_QUIET, OPT_FORMAT, OPT_CACHE,
    { 'b', NULL, "base", "commit into this file of the chain" },
    { 'r', NULL, "rate_limit", "octets a second" },
    { 'd', NULL, NULL, "leave the image as it is, do not empty it" },
    OPT_PROGRESS, OPT_END
};
static const struct img_option compare_options[] = {
    OPT_OBJECT, OPT_IMAGE_OPTS,
    { 'f', "a-format", "fmt", "format of the first image" },
    { 'F', "b-format", "fmt", "format of the second image" },
    OPT_SRC_CACHE, OPT_PROGRESS, OPT_QUIET,
    { 's', "strict", NULL, "sizes and allocation must match too" },
    OPT_SHARE, OPT_END
};
static const struct img_option convert_options[] = {
    OPT_OBJECT, OPT_IMAGE_OPTS,
    { IMG_TARGET_IMAGE_OPTS, "target-image-opts", NULL,
      "the target's name is a list of options (with -n)" },
    { IMG_TARGET_IS_ZERO, "target-is-zero", NULL,
      "the target reads as zeros (with -n)" },
    OPT_SHARE,
    { 'C', NULL, NULL, "let the kernel copy where it can" },
    { 'c', NULL, NULL, "compress" },
    OPT_PROGRESS, OPT_QUIET,
    { 'n', NULL, NULL, "do not create the target" },
    { 'f', NULL, "fmt", "format of the source" },
    { 't', NULL, "cache", "cache mode of the target (unsafe)" },
    OPT_SRC_CACHE,
    { 'O', NULL, "output_fmt", "format of the target (raw)" },
    { 'B', NULL, "backing_file", "backing file of the target" },
    { 'F', NULL, "backing_fmt", "its format" },
    { 'o', NULL, "options", "target's options; -o help lists them" },
    { 'l', NULL, "snapshot_param", "convert an internal snapshot" },
    { 'S', NULL, "sparse_size", "zeros of this length are left out (4k)" },
    { 'r', NULL, "rate_limit", "octets a second" },
    { 'm', NULL, "num_coroutines", "threads, 1 to 16 (8)" },
    { 'W', NULL, NULL, "write out of order" },
    { IMG_SALVAGE, "salvage", NULL, "unreadable sectors become zeros" },
    { IMG_BITMAPS, "bitmaps", NULL, "copy dirty bitmaps too" },
    { IMG_SKIP_BROKEN, "skip-broken-bitmaps", NULL,
      "leave out those that are inconsistent" },
    OPT_END
};
static const struct img_option create_options[] = {
    OPT_OBJECT, OPT_QUIET,
    { 'f', NULL, "fmt", "format (raw)" },
    { 'b', NULL, "backing_file", "backing file" },
    { 'F', NULL, "backing_fmt", "its format" },
    { 'u', NULL, NULL, "do not look at the backing file" },
    { 'o', NULL, "options", "format's options; -o help lists them" },
    OPT_END
};
static const struct img_option dd_options[] = {
    OPT_OBJECT, OPT_IMAGE_OPTS, OPT_SHARE,
    { 'f', NULL, "fmt", "format of the input" },
    { 'O', NULL, "output_fmt", "format of the output (raw)" },
    OPT_END
};
static const struct img_option info_options[] = {
    OPT_OBJECT, OPT_IMAGE_OPTS, OPT_FORMAT, OPT_OUTPUT,
    { IMG_BACKING_CHAIN, "backing-chain", NULL,
      "describe the backing files too" },
    OPT_SHARE, OPT_END
};
static const struct img_option map_options[] = {
    OPT_OBJECT, OPT_IMAGE_OPTS, OPT_FORMAT,
    { 's', "start-offset", "offset", "where to begin" },
    { 'l', "max-length", "len", "how much to look at" },
    OPT_OUTPUT, OPT_SHARE, OPT_END
};
static const struct img_option measure_options[] = {
    OPT_OUTPUT,
    { 'O', NULL, "output_fmt", "format to be measured (raw)" },
    { 'o', NULL, "options", "its options" },
    { IMG_SIZE, "size", "N", "size of a new image" },
    OPT_OBJECT, OPT_IMAGE_OPTS, OPT_FORMAT,
    { 'l', NULL, "snapshot_param", "measure an internal snapshot" },
    OPT_SHARE, OPT_END
};
static const struct img_option nbd_options[] = {
    OPT_OBJECT, OPT_IMAGE_OPTS, OPT_FORMAT,
    { 'k', "socket", "path", "listen on a unix socket" },
    { 'p', "port", "port", "listen on a TCP port (10809)" },
    { 'b', "bind", "address", "its address (127.0.0.1)" },
    { 'r', "read-only", NULL, "let nobody write" },
    { 'x', "export-name", "name", "name of the export ('')" },
    { 'D', "description", "text", "text that describes it" },
    { 'e', "shared", "clients", "clients at a time (1; 0: many)" },
    { 't', "persistent", NULL, "go on when the last client has gone" },
    { 'l', "load-snapshot", "snapshot_param", "export an internal snapshot" },
    { 'v', "verbose", NULL, "say where it listens" },
    { IMG_CACHE, "cache", "cache", "cache mode (writeback)" },
    OPT_SHARE, OPT_END
};
static const struct img_option rebase_options[] = {
    OPT_OBJECT, OPT_IMAGE_OPTS, OPT_SHARE, OPT_QUIET, OPT_FORMAT, OPT_CACHE,
    OPT_SRC_CACHE, OPT_PROGRESS,
    { 'u', NULL, NULL, "change the name alone" },
    { 'b', NULL, "backing_file", "new backing file; '' for none" },
    { 'F', NULL, "backing_fmt", "its format" },
    OPT_END
};
static const struct img_option resize_options[] = {
    OPT_OBJECT, OPT_IMAGE_OPTS, OPT_FORMAT,
    { IMG_PREALLOCATION, "preallocation", "prealloc",
      "off, metadata, falloc or full for what is added" },
    OPT_QUIET,
    { IMG_SHRINK, "shrink", NULL, "may become smaller; data are lost" },
    OPT_END
};
static const struct img_option snapshot_options[] = {
    OPT_OBJECT, OPT_IMAGE_OPTS, OPT_SHARE, OPT_QUIET,
    { 'l', NULL, NULL, "list snapshots" },
    { 'a', NULL, "snapshot", "go back to a snapshot" },
    { 'c', NULL, "snapshot", "make a snapshot" },
    { 'd', NULL, "snapshot", "delete a snapshot" },
    OPT_FORMAT, OPT_END
};

static const struct img_command cmd_amend = { "amend", "filename",
    "change options of an image", amend_options, img_amend, false };
static const struct img_command cmd_bench = { "bench", "filename",
    "measure how fast an image is", bench_options, img_bench, false };
static const struct img_command cmd_bitmap = { "bitmap", "filename bitmap",
    "make, remove and merge dirty bitmaps", bitmap_options, img_bitmap, false };
static const struct img_command cmd_check = { "check", "filename",
    "look for errors in an image", check_options, img_check, false };
static const struct img_command cmd_commit = { "commit", "filename",
    "write an image's changes into its backing file", commit_options,
    img_commit, false };
static const struct img_command cmd_compare = { "compare",
    "filename1 filename2", "compare the content of two images",
    compare_options, img_compare, false };
static const struct img_command cmd_convert = { "convert",
    "filename [filename2 [...]] output_filename",
    "copy images into a new one of another format", convert_options,
    img_convert, false };
static const struct img_command cmd_create = { "create", "filename [size]",
    "make an image", create_options, img_create, false };
static const struct img_command cmd_dd = { "dd",
    "[bs=block_size] [count=blocks] [skip=blocks] if=input of=output",
    "copy part of an image (up to block COUNT of the input)", dd_options,
    img_dd, false };
static const struct img_command cmd_info = { "info", "filename",
    "describe an image", info_options, img_info, false };
static const struct img_command cmd_map = { "map", "filename",
    "show where an image's data lie", map_options, img_map, false };
static const struct img_command cmd_measure = { "measure", "[filename]",
    "compute how large an image would become", measure_options, img_measure,
    false };
static const struct img_command cmd_nbd = { "nbd", "filename",
    "export an image as a network block device", nbd_options, img_nbd, false };
static const struct img_command cmd_rebase = { "rebase", "filename",
    "change an image's backing file", rebase_options, img_rebase, false };
static const struct img_command cmd_resize = { "resize",
    "filename [+ | -]size", "change an image's size", resize_options,
    img_resize, true };
static const struct img_command cmd_snapshot = { "snapshot", "filename",
    "list, make, apply or delete internal snapshots", snapshot_options,
    img_snapshot, false };
/* clang-format on */

const struct img_command *const img_commands[] = {
    &cmd_amend,   &cmd_bench,   &cmd_bitmap, &cmd_check,    &cmd_commit,
    &cmd_compare, &cmd_convert, &cmd_create, &cmd_dd,       &cmd_info,
    &cmd_map,     &cmd_measure, &cmd_nbd,    &cmd_snapshot, &cmd_rebase,
    &cmd_resize,  NULL,
};

/* ------------------------------------------------------------- messages */

void img_error(const char *fmt, ...)
{
    va_list ap;

    fflush(stdout);
    fputs("orrery img: ", stderr);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
}

int img_usage_error(const char *fmt, ...)
{
    va_list ap;

    fputs("orrery img: ", stderr);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputs("\nTry 'orrery img --help' for more information\n", stderr);
    return 1;
}

void img_say(const struct img *m, const char *fmt, ...)
{
    va_list ap;

    if (m->is_quiet) return;
    va_start(ap, fmt);
    vprintf(fmt, ap);
    va_end(ap);
}

/* -------------------------------------------------------------- options */

const char *img_get(const struct img *m, int id)
{
    for (unsigned i = m->given_count; i > 0; i--) {
        if (m->given[i - 1].id == id) return m->given[i - 1].value;
    }
    return NULL;
}

bool img_has(const struct img *m, int id)
{
    return img_get(m, id) != NULL;
}

int img_get_size(const struct img *m, int id, const char *what,
                 uint64_t without, uint64_t *out)
{
    const char *text = img_get(m, id);
    int rc;

    *out = without;
    if (text == NULL) return 0;
    rc = size_parse(text, 1, out);
    if (rc == -ERANGE || (rc == 0 && *out > INT64_MAX)) {
        img_error("Invalid %s specified. Must be between 0 and %lld.", what,
                  (long long)INT64_MAX);
        return -1;
    }
    if (rc == 0) return 0;
    img_error("Invalid %s specified. You may use k, M, G, T, P or E suffixes "
              "for",
              what);
    img_error("kilobytes, megabytes, gigabytes, terabytes, petabytes and "
              "exabytes.");
    return -1;
}

int img_get_output(const struct img *m, bool *is_json)
{
    const char *text = img_get(m, IMG_OUTPUT);

    *is_json = text != NULL && strcmp(text, "json") == 0;
    if (text == NULL || *is_json || strcmp(text, "human") == 0) return 0;
    img_error("--output must be used with human or json as argument.");
    return -1;
}

static const struct img_option *find_option(const struct img_command *c, int id,
                                            const char *name, size_t bytes)
{
    const struct img_option *o, *found = NULL;

    for (o = c->options; o->id != 0; o++) {
        if (name == NULL && o->id == id) return o;
        if (name == NULL || o->name == NULL ||
            strncmp(o->name, name, bytes) != 0)
            continue;
        if (o->name[bytes] == '\0') return o;
        if (found != NULL) return NULL; /* two have this beginning */
        found = o;
    }
    return found;
}

static void give(struct img *m, int id, const char *value)
{
    m->given[m->given_count++] = (struct img_given){ id, value };
}

static int no_argument(const char *option)
{
    return img_usage_error("missing argument for option '%s'", option);
}

enum { PARSE_OK = -1, PARSE_HELP = -2 };

/* One word that starts with "--".  Uses up next if it is its value. */
static int parse_long(struct img *m, const char *word, const char *next,
                      bool *is_next_used)
{
    const char *name = word + 2, *equal = strchr(name, '=');
    size_t bytes = equal != NULL ? (size_t)(equal - name) : strlen(name);
    const struct img_option *o = find_option(m->cmd, 0, name, bytes);

    if (bytes == 4 && strncmp(name, "help", 4) == 0) return PARSE_HELP;
    if (o == NULL || (o->arg == NULL && equal != NULL))
        return img_usage_error("unrecognized option '%s'", word);
    if (o->arg == NULL) {
        give(m, o->id, "");
    } else if (equal != NULL) {
        give(m, o->id, equal + 1);
    } else {
        if (next == NULL) return no_argument(word);
        give(m, o->id, next);
        *is_next_used = true;
    }
    return PARSE_OK;
}

/* One word of short options, "-cp" or "-fraw". */
static int parse_short(struct img *m, const char *word, const char *next,
                       bool *is_next_used)
{
    for (const char *p = word + 1; *p != '\0'; p++) {
        const struct img_option *o = find_option(m->cmd, *p, NULL, 0);
        char text[3] = { '-', *p, '\0' };

        if (o == NULL && *p == 'h') return PARSE_HELP;
        if (o == NULL) return img_usage_error("unrecognized option '%s'", text);
        if (o->arg == NULL) {
            give(m, o->id, "");
            continue;
        }
        if (p[1] != '\0') {
            give(m, o->id, p + 1);
            return PARSE_OK;
        }
        if (next == NULL) return no_argument(text);
        give(m, o->id, next);
        *is_next_used = true;
    }
    return PARSE_OK;
}

static int parse(struct img *m, int argc, char **argv)
{
    const char *last = NULL;
    bool has_ended = false;

    if (m->cmd->has_signed_operand && argc > 0 && argv[argc - 1][0] == '-' &&
        argv[argc - 1][1] >= '0' && argv[argc - 1][1] <= '9')
        last = argv[--argc];
    for (int i = 0; i < argc; i++) {
        const char *next = i + 1 < argc ? argv[i + 1] : NULL;
        bool is_next_used = false;
        int rc = PARSE_OK;

        if (has_ended || argv[i][0] != '-' || argv[i][1] == '\0') {
            m->operands[m->operand_count++] = argv[i];
        } else if (strcmp(argv[i], "--") == 0) {
            has_ended = true;
        } else if (argv[i][1] == '-') {
            rc = parse_long(m, argv[i], next, &is_next_used);
        } else {
            rc = parse_short(m, argv[i], next, &is_next_used);
        }
        if (rc != PARSE_OK) return rc;
        if (is_next_used) i++;
    }
    if (last != NULL) m->operands[m->operand_count++] = (char *)(uintptr_t)last;
    return PARSE_OK;
}

/* Every --object, in order. */
static int take_objects(struct img *m)
{
    for (unsigned i = 0; i < m->given_count; i++) {
        const char *text = m->given[i].value;
        struct err e = ERR_INIT;

        if (m->given[i].id != IMG_OBJECT) continue;
        if (strncmp(text, "qom-type=", 9) == 0) text += 9;
        if (strcspn(text, ",") != 6 || strncmp(text, "secret", 6) != 0) {
            img_error("invalid object type: %.*s", (int)strcspn(text, ","),
                      text);
            return -1;
        }
        text += text[6] == ',' ? 7 : 6;
        if (secret_parse(m->secrets, text, &e) < 0) {
            img_error("%s", e.text);
            return -1;
        }
    }
    return 0;
}

static int run(const struct img_command *c, int argc, char **argv)
{
    struct img m = { .cmd = c };
    int rc;

    /* A word gives at most as many options as it has letters. */
    size_t room = 1;
    for (int i = 0; i < argc; i++)
        room += strlen(argv[i]);
    m.given = calloc(room, sizeof(*m.given));
    m.operands = calloc((size_t)argc + 1, sizeof(*m.operands));
    if (m.given == NULL || m.operands == NULL ||
        secret_table_create(&m.secrets) < 0) {
        img_error("out of memory");
        rc = 1;
    } else if ((rc = parse(&m, argc, argv)) == PARSE_HELP) {
        img_print_command_help(c);
        rc = 0;
    } else if (rc == PARSE_OK) {
        m.is_quiet = find_option(c, 'q', NULL, 0) != NULL && img_has(&m, 'q');
        rc = take_objects(&m) < 0 ? 1 : c->run(&m);
    }
    secret_table_destroy(m.secrets);
    free(m.operands);
    free(m.given);
    if (fflush(stdout) != 0 && rc == 0) {
        img_error("standard output: %s", strerror(errno));
        rc = 1;
    }
    return rc;
}

static bool is_word(const char *text, const char *a, const char *b)
{
    return strcmp(text, a) == 0 || strcmp(text, b) == 0;
}

int img_main(int argc, char **argv)
{
    int i = 1;

    if (argc < 2) return img_usage_error("Not enough arguments");
    if (is_word(argv[1], "-T", "--trace")) i += 2; /* accepted, no effect */
    if (i >= argc) return img_usage_error("Not enough arguments");
    if (is_word(argv[i], "-h", "--help") || strcmp(argv[i], "help") == 0) {
        img_print_help(img_commands);
        return 0;
    }
    if (is_word(argv[i], "-V", "--version")) {
        puts("orrery img version " ORRERY_VERSION);
        return 0;
    }
    if (strcmp(argv[i], "--man") == 0) {
        img_print_man(img_commands);
        return 0;
    }
    if (strcmp(argv[i], "--bash-completion") == 0) {
        img_print_completion(img_commands);
        return 0;
    }
    if (argv[i][0] == '-')
        return img_usage_error("unrecognized option '%s'", argv[i]);
    for (const struct img_command *const *c = img_commands; *c != NULL; c++) {
        if (strcmp((*c)->name, argv[i]) == 0)
            return run(*c, argc - i - 1, argv + i + 1);
    }
    return img_usage_error("Command not found: %s", argv[i]);
}
