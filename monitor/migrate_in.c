/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Taking a machine in.
 *
 * Memory is written as it arrives, the machine has not run yet.  What cannot
 * be taken ends the program with one line and status 1: there is nothing to go
 * on with here, and the sender still has everything.  Somebody at a listening
 * socket who does not even begin as a machine does is sent away, and the next
 * one waited for.
 *
 * The state stream of a snapshot is taken as well (a machine that was
 * exported).
 */
#include "monitor/migrate.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "block/block.h"
#include "core/base/log.h"
#include "core/loop/loop.h"
#include "core/vm/mem.h"
#include "core/vm/vm.h"
#include "monitor/migrate_int.h"
#include "monitor/migrate_stream.h"
#include "monitor/vmstate.h"

enum {
    LOW_BYTES = 1 << 20, /* where a reset puts firmware */
    GREET_MS = 30000,    /* for the first octets of whoever connects */
};

struct receiving {
    struct migrate *m;
    struct migrate_in in;
    struct migrate_out out; /* answers */
    bool answers, has_begun, has_state, was_running;
    uint64_t received;
    uint64_t *used; /* pages that may hold something but zeros */
    /* An ORRERYVM stream in memory, or the one that comes in, whose first
     * octets were read already. */
    const uint8_t *state;
    size_t state_bytes, state_at;
    bool is_snapshot;
};

static int read_channel(void *arg, void *data, size_t bytes)
{
    struct receiving *r = arg;
    int rc = migrate_channel_read(r->m->channel, data, bytes);

    if (rc == 0) r->received += bytes;
    return rc;
}

static int read_state(void *arg, void *data, size_t bytes)
{
    struct receiving *r = arg;
    size_t n = r->state_bytes - r->state_at;

    if (n > bytes) n = bytes;
    memcpy(data, r->state + r->state_at, n);
    r->state_at += n;
    if (n == bytes) return 0;
    return r->is_snapshot ? read_channel(r, (uint8_t *)data + n, bytes - n)
                          : -ENODATA;
}

/* --------------------------------------------- steps on the loop thread */

static int step_compare(struct migrate *m, void *arg, struct err *e)
{
    struct receiving *r = arg;

    struct mem_region *ram = vm_ram(m->vm);
    int rc;

    migrate_set_state_locked(m, MIGRATE_ACTIVE);
    rc =
        migrate_compare_locked(m->vm, (const char *)r->in.body, &r->answers, e);
    if (rc < 0) return rc;
    r->used = calloc(ram->size / MIGRATE_CHUNK_BYTES + 1,
                     MIGRATE_CHUNK_WORDS * sizeof(*r->used));
    if (r->used == NULL) return err_set(e, -ENOMEM, "out of memory");
    /* Every page comes; what firmware left there would only be in the way. */
    if (madvise(ram->host, ram->size, MADV_DONTNEED) < 0)
        return err_set(e, -errno, "memory: %s", strerror(errno));
    return 0;
}

/* CPUs and devices; memory is here already and stays as it came. */
static int step_load(struct migrate *m, void *arg, struct err *e)
{
    struct receiving *r = arg;
    struct mem_region *ram = vm_ram(m->vm);
    size_t low = ram->size < LOW_BYTES ? (size_t)ram->size : LOW_BYTES;
    struct vmstate_head h = { .cpus = NULL };
    uint8_t *keep = malloc(low);
    int rc = keep == NULL ? err_set(e, -ENOMEM, "out of memory") : 0;

    if (rc == 0) rc = vmstate_read_head(m->vm, read_state, r, &h, e);
    if (rc == 0) {
        memcpy(keep, ram->host, low);
        rc = vmstate_restore_locked(m->vm, &h, e);
        memcpy(ram->host, keep, low);
        mem_replaced_locked(m->vm);
    }
    vmstate_head_free(&h);
    free(keep);
    return rc;
}

/* All of a snapshot's stream, memory behind the devices. */
static int step_load_snapshot(struct migrate *m, void *arg, struct err *e)
{
    struct receiving *r = arg;
    struct vmstate_head h = { .cpus = NULL };
    int rc;

    migrate_set_state_locked(m, MIGRATE_ACTIVE);
    rc = vmstate_read_head(m->vm, read_state, r, &h, e);
    if (rc == 0) rc = vmstate_restore_locked(m->vm, &h, e);
    if (rc == 0) rc = vmstate_load_ram_locked(m->vm, read_state, r, e);
    vmstate_head_free(&h);
    return rc;
}

static int step_take_over(struct migrate *m, void *arg, struct err *e)
{
    struct drive_table *t = vm_service(m->vm, "drives");
    struct receiving *r = arg;
    int rc = t == NULL ? 0 : drives_activate(t, e);

    if (rc < 0) return rc;
    vm_stop_locked(m->vm, RUN_PAUSED);
    if (r->was_running && m->may_start) vm_start_locked(m->vm);
    return 0;
}

/* ------------------------------------------------------------- protocol */

static void tell(struct receiving *r)
{
    struct migrate *m = r->m;

    pthread_mutex_lock(&m->lock);
    m->status.sent_bytes = r->received;
    pthread_mutex_unlock(&m->lock);
}

static int answer(struct receiving *r, const char *type, const char *text)
{
    if (!r->answers || !migrate_channel_answers(r->m->channel)) return 0;
    return migrate_put_frame(&r->out, type, text, strlen(text));
}

static int answer_or_fail(struct receiving *r, const char *type, struct err *e)
{
    int rc = answer(r, type, "");

    if (rc < 0) err_set(e, rc, "the sender has gone away: %s", strerror(-rc));
    return rc;
}

static int take_state(struct receiving *r, struct err *e)
{
    uint8_t *state = NULL;
    int rc;

    if (r->has_state)
        return err_set(e, -EINVAL, "the stream is damaged: two states");
    rc =
        migrate_take_state(&r->in, &state, &r->state_bytes, &r->was_running, e);
    if (rc < 0) return rc;
    r->state = state;
    r->state_at = 0;
    rc = migrate_call(r->m, step_load, r, false, e);
    free(state);
    r->state = NULL;
    r->has_state = rc == 0;
    return rc == 0 ? answer_or_fail(r, "LOAD", e) : rc;
}

static int take_frame(struct receiving *r, struct err *e)
{
    struct mem_region *ram = vm_ram(r->m->vm);

    if (migrate_is_frame(&r->in, "PAGE") && !r->has_state)
        return migrate_apply_pages(&r->in, ram->host, ram->size, r->used, e);
    if (migrate_is_frame(&r->in, "STAT")) return take_state(r, e);
    return err_set(e, -EINVAL,
                   "the stream is damaged: its parts are out of order");
}

static int take_machine(struct receiving *r, struct err *e)
{
    int rc = migrate_get_frame(&r->in, e);

    if (rc == 0 && !migrate_is_frame(&r->in, "HEAD"))
        rc = err_set(e, -EINVAL,
                     "the stream is damaged: it does not begin with a "
                     "description");
    if (rc == 0) rc = migrate_call(r->m, step_compare, r, false, e);
    if (rc == 0) rc = answer_or_fail(r, "LOAD", e);
    migrate_channel_set_timeout(r->m->channel, 0);
    while (rc == 0) {
        rc = migrate_get_frame(&r->in, e);
        if (rc == 0 && r->has_state && migrate_is_frame(&r->in, "END "))
            return 0;
        if (rc == 0) rc = take_frame(r, e);
        tell(r);
    }
    return rc;
}

static int take_snapshot(struct receiving *r, struct err *e)
{
    static const uint8_t magic[8] = "ORRERYVM";

    r->is_snapshot = true;
    r->was_running = true;
    r->state = magic;
    r->state_bytes = sizeof(magic);
    r->state_at = 0;
    return migrate_call(r->m, step_load_snapshot, r, false, e);
}

/* What a machine begins with: 1 a migration, 2 a snapshot's state. */
static int greet(struct receiving *r, struct err *e)
{
    char magic[8];
    int rc = migrate_channel_accept(r->m->channel, e);

    if (rc < 0) return rc;
    migrate_channel_set_timeout(r->m->channel, GREET_MS);
    rc = read_channel(r, magic, sizeof(magic));
    if (rc == -ENODATA)
        return err_set(e, rc, "the stream ends before it has begun");
    if (rc < 0) return err_set(e, rc, "the stream: %s", strerror(-rc));
    if (memcmp(magic, "ORRERYVM", sizeof(magic)) == 0) return 2;
    if (memcmp(magic, migrate_magic, sizeof(magic)) != 0)
        return err_set(e, -EINVAL, "this is no machine as orrery sends it");
    rc = migrate_get_version(&r->in, e);
    return rc < 0 ? rc : 1;
}

static int receive(struct receiving *r, struct err *e)
{
    struct migrate *m = r->m;
    int kind;

    for (;;) {
        kind = greet(r, e);
        if (kind >= 0 || kind == -ECANCELED ||
            !migrate_channel_is_listener(m->channel))
            break;
        log_warn("-incoming %s: %s; waiting for the next one", m->uri, e->text);
        *e = (struct err)ERR_INIT;
    }
    if (kind < 0) return kind;
    r->has_begun = true;
    migrate_channel_stop_listening(m->channel);
    return kind == 1 ? take_machine(r, e) : take_snapshot(r, e);
}

/* ------------------------------------------------------------- the end */

static void over(void *arg)
{
    struct migrate *m = arg;
    bool is_over = m->status.error[0] == '\0';
    bool is_quit = atomic_load(&m->is_cancelled);

    if (!is_over && !is_quit)
        log_warn("-incoming %s: %s", m->uri, m->status.error);
    migrate_join(m);
    vm_lock(m->vm);
    m->status.total_ms = (loop_now_ns() - m->start_ns) / 1000000;
    migrate_set_state_locked(m, is_over ? MIGRATE_COMPLETED : MIGRATE_FAILED);
    if (!is_over && !is_quit) vm_exit_locked(m->vm, 1);
    vm_unlock(m->vm);
}

static void *incoming_main(void *arg)
{
    struct migrate *m = arg;
    struct receiving r = { .m = m };
    struct err e = ERR_INIT;
    int rc = migrate_in_init(&r.in, read_channel, &r);

    if (rc == 0)
        rc = migrate_out_init(&r.out, migrate_channel_write, m->channel, false);
    if (rc == 0) rc = receive(&r, &e);
    if (rc == 0) rc = migrate_call(m, step_take_over, &r, false, &e);
    if (rc == 0) {
        answer(&r, "DONE", "");
    } else {
        if (e.text[0] == '\0') err_set(&e, rc, "%s", strerror(-rc));
        e.text[MIGRATE_MAX_TEXT - 1] = '\0';
        r.answers |= r.has_begun; /* it may not have got that far */
        answer(&r, "FAIL", e.text);
    }
    pthread_mutex_lock(&m->lock);
    memcpy(m->status.error, e.text, sizeof(m->status.error));
    pthread_mutex_unlock(&m->lock);
    tell(&r);
    free(r.used);
    migrate_in_free(&r.in);
    migrate_out_free(&r.out);
    migrate_post_over(m, over);
    return NULL;
}

/* --------------------------------------------------------------- begin */

/* Open or listen: what is wrong with the place is known at once. */
static int begin(struct migrate *m, const char *uri, struct err *e)
{
    int rc = migrate_channel_listen(uri, m->cancel_fd, &m->channel, e);

    if (rc < 0) return rc;
    rc = migrate_start_thread(m, uri, incoming_main, e);
    if (rc < 0) {
        migrate_channel_close(m->channel);
        m->channel = NULL;
    }
    return rc;
}

int migrate_incoming_prepare(struct vm *vm, const char *uri, bool may_start,
                             struct err *e)
{
    struct migrate *m = migrate_of(vm);
    int rc = m == NULL ? err_set(e, -ENOMEM, "out of memory")
                       : vmstate_check_accel(vm, "moving a machine is", e);

    if (rc < 0) return rc;
    m->is_incoming = true;
    m->may_start = may_start;
    m->is_deferred = strcmp(uri, "defer") == 0;
    vm_lock(vm);
    vm_stop_locked(vm, RUN_INMIGRATE);
    vm_unlock(vm);
    return m->is_deferred ? 0 : begin(m, uri, e);
}

int migrate_incoming_begin_locked(struct vm *vm, const char *uri, struct err *e)
{
    struct migrate *m = vm_service(vm, "migrate");
    int rc;

    if (m == NULL || !m->is_incoming)
        return err_set(e, -EPERM,
                       "'-incoming' was not specified on the command line");
    if (!m->is_deferred || vm_run_state(vm) != RUN_INMIGRATE)
        return err_set(e, -EPERM,
                       "The incoming migration has already been started");
    rc = begin(m, uri, e);
    if (rc == 0) m->is_deferred = false;
    return rc;
}

void migrate_incoming_start_locked(struct vm *vm, bool may_start)
{
    struct migrate *m = vm_service(vm, "migrate");

    if (m != NULL) m->may_start = may_start;
}
