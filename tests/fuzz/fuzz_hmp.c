/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Octets a person or a script gives the monitor: each line is run, completed
 * and edited.  Commands that write files or listen are left out.
 */
#include <stdint.h>

#include "monitor/monitor.h"
#include "monitor/readline.h"
#include "tests/fuzz/fuzz_monitor.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void no_word(void *arg, const char *word)
{
    *(size_t *)arg += strlen(word);
}

static void no_text(void *arg, const char *text, size_t bytes)
{
    (void)arg, (void)text, (void)bytes;
}

/* Answers hold nothing that a terminal would take for a command. */
static void run_line(struct monitor_rig *r, const char *line)
{
    size_t n = 0, at = strlen(line);
    char *got, usage[256];

    if (monitor_complete(&r->s, line, at, no_word, &n) > at) abort();
    monitor_usage(line, usage, sizeof(usage));
    if (fuzz_is_outside(line)) return;
    got = monitor_rig_answer(r, line);
    for (const char *p = got; *p != '\0'; p++) {
        if ((unsigned char)*p < 32 && *p != '\n' && *p != '\t') abort();
    }
    free(got);
}

static bool on_line(void *arg, const char *line)
{
    run_line(arg, line);
    return true;
}

static size_t on_tab(void *arg, struct readline *r, const char *line, size_t at)
{
    size_t n = 0;

    (void)r;
    return monitor_complete(&((struct monitor_rig *)arg)->s, line, at, no_word,
                            &n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct monitor_rig *r = fuzz_machine();
    struct readline_ops ops = {
        .write = no_text, .line = on_line, .complete = on_tab, .arg = r
    };
    struct readline *editor = readline_new(&ops, "");
    char *text = strndup((const char *)data, bytes);

    if (editor == NULL || text == NULL) abort();
    readline_input(editor, data, bytes);
    readline_free(editor);
    run_line(r, text); /* as one line, whatever it holds */
    free(text);
    loop_step(r->loop, 0);
    return 0;
}
