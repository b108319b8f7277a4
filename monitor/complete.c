/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Completion from the commands' declared parameters. */
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "block/block.h"
#include "core/base/trace.h"
#include "core/host/chardev.h"
#include "core/host/input.h"
#include "core/vm/dev.h"
#include "core/vm/vm.h"
#include "monitor/command.h"

struct completion {
    struct monitor_session *s;
    const char *word; /* to be completed; len octets of it */
    size_t len;
    void (*fn)(void *arg, const char *word);
    void *arg;
};

static void try_word(struct completion *k, const char *word)
{
    if (strncmp(word, k->word, k->len) == 0) k->fn(k->arg, word);
}

static void try_names(struct completion *k, const struct command *table)
{
    for (; table->name != NULL; table++) {
        const char *p = table->name;

        while (*p != '\0') {
            size_t n = strcspn(p, "|");
            char name[64];

            snprintf(name, sizeof(name), "%.*s", (int)n, p);
            try_word(k, name);
            p += n + (p[n] == '|');
        }
    }
}

static void try_page(void *arg, const char *name, const char *help)
{
    (void)help;
    try_word(arg, name);
}

static void try_drives(struct completion *k)
{
    struct drive_table *t = vm_service(k->s->vm, "drives");
    struct drive *d = NULL;

    if (t == NULL) return;
    while ((d = drive_next(t, d)) != NULL)
        try_word(k, drive_id(d));
}

/* The name behind the last dash; the part before stays. */
static void try_keys(struct completion *k)
{
    size_t keep = 0;
    char whole[256];

    for (size_t i = 0; i < k->len; i++) {
        if (k->word[i] == '-') keep = i + 1;
    }
    for (unsigned i = 0; input_key_name_at(i) != NULL; i++) {
        snprintf(whole, sizeof(whole), "%.*s%s", (int)keep, k->word,
                 input_key_name_at(i));
        try_word(k, whole);
    }
}

static void try_files(struct completion *k)
{
    char dir[4096], whole[8192];
    size_t keep = 0;
    struct dirent *d;
    struct stat st;
    DIR *dp;

    for (size_t i = 0; i < k->len; i++) {
        if (k->word[i] == '/') keep = i + 1;
    }
    if (keep >= sizeof(dir)) return;
    memcpy(dir, k->word, keep);
    dir[keep] = '\0';
    dp = opendir(keep ? dir : ".");
    if (dp == NULL) return;
    while ((d = readdir(dp)) != NULL) {
        if (d->d_name[0] == '.' && (k->len == keep || k->word[keep] != '.'))
            continue;
        snprintf(whole, sizeof(whole), "%s%s", dir, d->d_name);
        if (stat(whole, &st) == 0 && S_ISDIR(st.st_mode)) strcat(whole, "/");
        try_word(k, whole);
    }
    closedir(dp);
}

static void try_devices(struct completion *k, const struct dev *d,
                        unsigned depth)
{
    for (; d != NULL && depth < 16; d = d->next_sibling) {
        try_word(k, d->id);
        try_devices(k, d->first_child, depth + 1);
    }
}

static void try_chardevs(struct completion *k)
{
    struct chardev *c = NULL;

    while ((c = chardev_next(k->s->vm, c)) != NULL)
        try_word(k, chardev_name(c));
}

/* The item behind the last comma; the part before stays. */
static void try_log_items(struct completion *k)
{
    const struct log_item_row *r = log_item_rows;
    size_t keep = 0;
    char whole[256];

    for (size_t i = 0; i < k->len; i++) {
        if (k->word[i] == ',') keep = i + 1;
    }
    if (keep == 0) try_word(k, "none");
    for (; r->name != NULL; r++) {
        snprintf(whole, sizeof(whole), "%.*s%s", (int)keep, k->word, r->name);
        try_word(k, whole);
    }
}

static void try_events(struct completion *k)
{
    for (unsigned i = 0; i < TRACE_COUNT; i++)
        try_word(k, trace_name(i));
}

static void try_registers(struct completion *k)
{
    char whole[64];

    if (k->len == 0 || k->word[0] != '$') return;
    for (unsigned i = 0; cpu_register_name_at(i) != NULL; i++) {
        snprintf(whole, sizeof(whole), "$%s", cpu_register_name_at(i));
        try_word(k, whole);
    }
}

static void try_flags(struct completion *k, const struct param *p)
{
    char flag[3] = "-";

    for (; p->type != PARAM_END; p++) {
        flag[1] = p->flag;
        if (p->flag) try_word(k, flag);
    }
}

static void try_type(struct completion *k, enum param_type type)
{
    switch (type) {
    case PARAM_FILE: try_files(k); break;
    case PARAM_BLK: try_drives(k); break;
    case PARAM_KEYS: try_keys(k); break;
    case PARAM_INT: try_registers(k); break;
    case PARAM_DEV:
        if (vm_root(k->s->vm) != NULL)
            try_devices(k, vm_root(k->s->vm)->first_child, 0);
        break;
    case PARAM_CHARDEV: try_chardevs(k); break;
    case PARAM_LOG: try_log_items(k); break;
    case PARAM_EVENT: try_events(k); break;
    case PARAM_BOOL:
        try_word(k, "on");
        try_word(k, "off");
        break;
    case PARAM_CMD: try_names(k, command_table); break;
    case PARAM_INFO:
        try_names(k, info_table);
        vm_for_each_info(k->s->vm, try_page, k);
        break;
    default: break;
    }
}

/* Parameter that word number index (from 0) of the arguments fills; flags
 * given before do not count. */
static const struct param *param_at(const struct param *p, unsigned index)
{
    for (; p->type != PARAM_END; p++) {
        if (p->flag || p->type == PARAM_FMT || p->is_json_only) continue;
        if (index-- == 0 || p->type == PARAM_REST) return p;
    }
    return p;
}

static void complete_argument(struct completion *k, const struct command *c,
                              const char *args)
{
    struct param params[COMMAND_MAX_PARAMS + 1];
    unsigned index = 0;

    if (params_parse(c->params, params) < 0) return;
    if (k->len > 0 && k->word[0] == '-') {
        try_flags(k, params);
        return;
    }
    while (args < k->word) {
        size_t n = strcspn(args, " ");

        if (n > 0 && args[0] != '-' && args[0] != '/') index++;
        args += n + strspn(args + n, " ");
    }
    try_type(k, param_at(params, index)->type);
}

size_t monitor_complete(struct monitor_session *s, const char *line, size_t at,
                        void (*fn)(void *arg, const char *word), void *arg)
{
    size_t start = at, lead = strspn(line, " "), name_len;
    struct completion k = { .s = s, .fn = fn, .arg = arg };
    const struct command *c;

    while (start > 0 && line[start - 1] != ' ')
        start--;
    k.word = line + start;
    k.len = at - start;
    if (start <= lead) {
        try_names(&k, command_table);
        return start;
    }
    name_len = strcspn(line + lead, " /");
    c = command_find(command_table, line + lead, name_len);
    if (c == NULL) return start;
    if (strcmp(c->name, "info") == 0) {
        const char *page = line + lead + name_len;
        size_t n;

        page += strspn(page, " ");
        n = strcspn(page, " ");
        if (page == k.word) {
            try_type(&k, PARAM_INFO);
            return start;
        }
        c = command_find(info_table, page, n);
        if (c == NULL) return start;
        complete_argument(&k, c, page + n + strspn(page + n, " "));
        return start;
    }
    line += lead + name_len;
    complete_argument(&k, c, line + strspn(line, " "));
    return start;
}

bool monitor_usage(const char *line, char *out, size_t cap)
{
    const struct command *c;
    size_t n;
    FILE *f;

    line += strspn(line, " ");
    n = strcspn(line, " /");
    c = command_find(command_table, line, n);
    if (c == NULL || line[n] == '\0') return false;
    if (strcmp(c->name, "info") == 0) {
        line += n + strspn(line + n, " ");
        n = strcspn(line, " ");
        c = command_find(info_table, line, n);
        if (c == NULL) return false;
    }
    f = fmemopen(out, cap, "w");
    if (f == NULL) return false;
    fprintf(f, "%s", c->name);
    command_print_params(c, f);
    fprintf(f, "  -- %s", c->help);
    fclose(f);
    out[cap - 1] = '\0';
    return true;
}
