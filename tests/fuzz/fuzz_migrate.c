/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a machine arrives as: version and frames, into memory between pages
 * nobody may touch; descriptions compared with a machine. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "monitor/migrate_int.h"
#include "monitor/migrate_stream.h"
#include "tests/fuzz/fuzz_monitor.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

enum { RAM_BYTES = 2 << 20, STREAM_MAX = 1 << 16 };

struct source {
    uint8_t data[STREAM_MAX];
    size_t bytes, pos;
};

static int get(void *arg, void *to, size_t bytes)
{
    struct source *s = arg;

    if (bytes > s->bytes - s->pos) return -ENODATA;
    memcpy(to, s->data + s->pos, bytes);
    s->pos += bytes;
    return 0;
}

static uint8_t *memory(void)
{
    static uint8_t *ram;
    uint8_t *p;

    if (ram != NULL) return ram;
    p = mmap(NULL, RAM_BYTES + 8192, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
             0);
    if (p == MAP_FAILED ||
        mprotect(p + 4096, RAM_BYTES, PROT_READ | PROT_WRITE) < 0)
        abort();
    return ram = p + 4096;
}

/* Checksums right, so that what is behind them is reached. */
static void sign(struct source *s)
{
    size_t at = sizeof(uint32_t);

    while (at < s->bytes && s->bytes - at >= sizeof(struct migrate_frame)) {
        struct migrate_frame f;

        memcpy(&f, s->data + at, sizeof(f));
        if (f.bytes > s->bytes - at - sizeof(f)) return;
        f.crc = migrate_crc(s->data + at + sizeof(f), f.bytes);
        memcpy(s->data + at, &f, sizeof(f));
        at += sizeof(f) + f.bytes;
    }
}

static int take(struct migrate_in *i, struct vm *vm, struct err *e)
{
    static uint64_t used[RAM_BYTES / MIGRATE_PAGE / 64];
    uint8_t *state = NULL;
    size_t bytes;
    bool flag;
    int rc = 0;

    if (migrate_is_frame(i, "HEAD")) {
        vm_lock(vm);
        migrate_compare_locked(vm, (const char *)i->body, &flag, e);
        vm_unlock(vm);
    } else if (migrate_is_frame(i, "PAGE")) {
        rc = migrate_apply_pages(i, memory(), RAM_BYTES, used, e);
    } else if (migrate_is_frame(i, "STAT")) {
        rc = migrate_take_state(i, &state, &bytes, &flag, e);
        free(state);
    }
    if (rc < 0 && e->text[0] == '\0') abort(); /* says nothing */
    return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static struct source s;
    struct migrate_in i;
    struct err e = ERR_INIT;

    if (bytes < 5 || bytes > STREAM_MAX) return 0;
    memcpy(s.data, data + 1, bytes - 1);
    s.bytes = bytes - 1;
    s.pos = 0;
    if (data[0] & 1) sign(&s);
    if (migrate_in_init(&i, get, &s) < 0) abort();
    if (migrate_get_version(&i, &e) == 0) {
        while (migrate_get_frame(&i, &e) == 0) {
            if (take(&i, fuzz_machine()->vm, &e) < 0) break;
        }
    }
    migrate_in_free(&i);
    return 0;
}
