/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Octets on a gdb connection: first as they are, then each line of them as the
 * payload of a well-formed packet.  The machine below is real: a CPU that
 * interprets a loop.  What comes back is framed right, and the machine can be
 * stopped afterwards.  Inputs that have the monitor write files are left out.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "monitor/gdb_int.h"
#include "tests/fuzz/fuzz_monitor.h"
#include "tests/unit/support/accel_rig.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

struct peer {
    struct rig *r;
    struct gdb *g;
    struct gdb_reader reader;
};

static void on_write(void *arg, const void *data, size_t bytes)
{
    const uint8_t *p = data;
    struct peer *peer = arg;

    for (size_t i = 0; i < bytes; i++) {
        if (gdb_reader_feed(&peer->reader, p[i]) == GDB_DAMAGED) abort();
    }
}

/* inc eax; jmp to itself */
static struct peer *make_peer(void)
{
    static const uint8_t code[] = { 0x40, 0xeb, 0xfd };
    static struct peer *p;
    struct err e = ERR_INIT;

    if (p != NULL) return p;
    p = calloc(1, sizeof(*p));
    if (p == NULL) abort();
    p->r = accel_rig_new("soft,translate=off");
    set_up(p->r, code, sizeof(code));
    vm_unlock(p->r->vm);
    if (gdb_open(p->r->vm, GDB_ARCH_X86_64, on_write, p, &p->g, &e) < 0)
        abort();
    return p;
}

/* qRcmd,HEX: would the line do something outside? */
static bool has_outside_line(const char *text)
{
    for (const char *p = text; (p = strstr(p, "qRcmd,")) != NULL; p++) {
        uint8_t line[512];
        const char *hex = p + 6;
        size_t n = gdb_get_hex(&hex, line, sizeof(line) - 1);

        line[n] = '\0';
        if (fuzz_is_outside((char *)line)) return true;
    }
    return false;
}

static void send_line(struct peer *p, const char *line, size_t bytes)
{
    char *text = NULL;
    size_t n = 0;
    FILE *f = open_memstream(&text, &n);

    if (f == NULL) abort();
    gdb_frame(f, line, bytes);
    fclose(f);
    gdb_input(p->g, (uint8_t *)text, n);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct peer *p = make_peer();
    char *text = malloc(bytes + 1), *at = text;

    if (text == NULL) abort();
    for (size_t i = 0; i < bytes; i++)
        text[i] = data[i] != 0 ? (char)data[i] : ' ';
    text[bytes] = '\0';
    if (!has_outside_line(text)) {
        gdb_connected(p->g, true);
        gdb_input(p->g, data, bytes);
        gdb_input(p->g, (const uint8_t *)"#00\3", 4);
        while (at < text + bytes) {
            size_t n = strcspn(at, "\n");

            send_line(p, at, n);
            loop_step(p->r->loop, 0);
            at += n + 1;
        }
        gdb_input(p->g, (const uint8_t *)"\3", 1);
        gdb_connected(p->g, false);
        vm_lock(p->r->vm);
        if (vm_point_count(p->r->vm) != 0) abort();
        vm_stop_locked(p->r->vm, RUN_PAUSED);
        if (vm_run_state(p->r->vm) == RUN_RUNNING) abort();
        vm_unlock(p->r->vm);
        loop_step(p->r->loop, 0);
    }
    free(text);
    return 0;
}
