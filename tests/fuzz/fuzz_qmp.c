/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Octets on a JSON connection: every answer and event is JSON again.  Inputs
 * that name commands which write files are left out.
 */
#include <stdint.h>

#include "core/base/json.h"
#include "monitor/monitor.h"
#include "tests/fuzz/fuzz_monitor.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void check(void *arg, const char *text, size_t bytes)
{
    struct json *j = NULL;

    (void)arg;
    if (bytes > JSON_MAX_BYTES) return;
    if (json_parse(text, bytes, &j, NULL) < 0) abort();
    json_free(j);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static const char hello[] = "{\"execute\":\"qmp_capabilities\"}";
    static struct qmp *q;
    struct monitor_rig *r = fuzz_machine();
    struct qmp_options o = { .write = check };
    char *text = malloc(bytes + 1);

    if (text == NULL) abort();
    for (size_t i = 0; i < bytes; i++)
        text[i] = data[i] != 0 ? (char)data[i] : ' ';
    text[bytes] = '\0';
    /* "\u0073" spells a command too */
    if (!fuzz_is_outside(text) && strstr(text, "\\u00") == NULL) {
        if (q == NULL && qmp_open(r->vm, &o, &q, NULL) < 0) abort();
        qmp_connected(q, true);
        qmp_input(q, (const uint8_t *)hello, sizeof(hello) - 1);
        qmp_input(q, data, bytes);
        qmp_connected(q, false);
        loop_step(r->loop, 0);
    }
    free(text);
    return 0;
}
