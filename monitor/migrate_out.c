/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Sending a machine away.
 *
 * All of memory goes once, then again and again what was written meanwhile,
 * until the rest would take no longer than the guest may stand still.  Then
 * it is stopped; the rest, CPUs and devices go.  Over a socket the other side
 * says that it could load all that before the disks are let go of, and that
 * it has the disks before we believe it has the machine.  A file or a command
 * has the machine when it took every octet and ended well.  In every other
 * case the disks are taken back and the guest goes on.
 */
#include "monitor/migrate.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "block/block.h"
#include "block/snapshot.h"
#include "core/base/log.h"
#include "core/loop/loop.h"
#include "core/vm/dirty.h"
#include "core/vm/mem.h"
#include "core/vm/vm.h"
#include "monitor/export.h"
#include "monitor/migrate_int.h"
#include "monitor/migrate_stream.h"
#include "monitor/monitor.h"
#include "monitor/savevm.h"
#include "monitor/vmstate.h"

enum {
    ANSWER_MS = 120000,   /* LOAD, DONE */
    WINDOW_NS = 50000000, /* over which max-bandwidth holds */
    STATE_MS = 20,        /* set aside for CPUs and devices */
};

/* One migration, on its thread's stack. */
struct sending {
    struct migrate *m;
    struct migrate_out out;
    const uint8_t *ram;
    uint64_t pages;
    uint64_t *todo; /* one bit per page */
    uint64_t left;  /* bits set in it */
    struct state_out state;
    bool is_tracking, is_limited;
    bool was_running, has_stopped, has_let_go;
    enum run_state before;
    uint64_t stop_ns, window_ns, window_bytes;
    uint64_t page_ns; /* how long one takes to go */
};

/* ------------------------------------------------------------- figures */

static void tell(struct sending *s)
{
    struct migrate *m = s->m;
    struct migrate_status *st = &m->status;
    uint64_t ns = loop_now_ns() - m->start_ns;

    pthread_mutex_lock(&m->lock);
    st->sent_bytes = s->out.sent_bytes;
    st->total_bytes = s->pages * MIGRATE_PAGE;
    st->left_bytes = s->left * MIGRATE_PAGE;
    st->zero_pages = s->out.zero_pages;
    st->normal_pages = s->out.normal_pages;
    st->expected_downtime_ms = s->left * s->page_ns / 1000000 + STATE_MS;
    if (ns > 0) {
        st->mbps = (double)s->out.sent_bytes * 8000 / (double)ns;
        st->pages_per_s =
            (uint64_t)((double)(s->out.zero_pages + s->out.normal_pages) * 1e9 /
                       (double)ns);
    }
    if (s->stop_ns == 0)
        st->precopy_bytes = s->out.sent_bytes;
    else
        st->downtime_bytes = s->out.sent_bytes - st->precopy_bytes;
    pthread_mutex_unlock(&m->lock);
}

/* ---------------------------------------------------------- dirty pages */

static void count_left(struct sending *s)
{
    s->left = 0;
    for (uint64_t w = 0; w < (s->pages + 63) / 64; w++)
        s->left += (uint64_t)__builtin_popcountll(s->todo[w]);
}

static void take_block(void *arg, const struct vm_dirty_block *b)
{
    struct sending *s = arg;

    if (b->region != vm_ram(s->m->vm)) return; /* devices save theirs */
    for (uint64_t w = 0; w < (s->pages + 63) / 64; w++)
        s->todo[w] |= b->now[w];
}

static int collect_locked(struct sending *s, struct err *e)
{
    int rc = vm_dirty_collect_locked(s->m->vm, take_block, s);

    if (rc < 0)
        return err_set(e, rc, "written pages are lost: %s", strerror(-rc));
    count_left(s);
    return 0;
}

static int begin_tracking(struct sending *s, struct err *e)
{
    struct vm *vm = s->m->vm;
    int rc;

    vm_lock(vm);
    rc = vm_dirty_start_locked(vm, e);
    if (rc == 0) s->is_tracking = true;
    vm_unlock(vm);
    for (uint64_t p = 0; p < s->pages; p++)
        s->todo[p / 64] |= 1ull << (p % 64);
    count_left(s);
    return rc;
}

static void end_tracking(struct sending *s)
{
    if (!s->is_tracking) return;
    vm_lock(s->m->vm);
    vm_dirty_stop_locked(s->m->vm);
    vm_unlock(s->m->vm);
    s->is_tracking = false;
}

/* -------------------------------------------------------------- memory */

static uint64_t bandwidth(struct sending *s)
{
    uint64_t limit;

    vm_lock(s->m->vm);
    limit = s->m->settings.max_bandwidth;
    vm_unlock(s->m->vm);
    return limit;
}

/* Not more than the limit in any window. */
static void hold_back(struct sending *s, uint64_t limit)
{
    struct pollfd p = { .fd = s->m->cancel_fd, .events = POLLIN };
    uint64_t now = loop_now_ns(), sent = s->out.sent_bytes - s->window_bytes;
    uint64_t due =
        s->window_ns + (uint64_t)((double)sent * 1e9 / (double)limit);

    if (due > now + 1000000) poll(&p, 1, (int)((due - now) / 1000000));
    if (now - s->window_ns > WINDOW_NS) {
        s->window_ns = loop_now_ns();
        s->window_bytes = s->out.sent_bytes;
    }
}

/* What was found out on the way says more than "broken pipe". */
static int write_failed(struct migrate *m, int rc, struct err *e)
{
    if (atomic_load(&m->is_cancelled)) return -ECANCELED;
    if (rc == -EPIPE || rc == -ECONNRESET)
        return err_set(e, rc, "the other side has gone away");
    return err_set(e, rc, "the state cannot be sent: %s", strerror(-rc));
}

/* Every page of todo, once. */
static int send_pages(struct sending *s, struct err *e)
{
    uint64_t limit = bandwidth(s), words = (s->pages + 63) / 64;
    int rc = 0;

    s->window_ns = loop_now_ns();
    s->window_bytes = s->out.sent_bytes;
    for (uint64_t w = 0; w < words && rc == 0; w += MIGRATE_CHUNK_WORDS) {
        uint64_t bits[MIGRATE_CHUNK_WORDS] = { 0 }, any = 0;

        for (uint64_t i = 0; i < MIGRATE_CHUNK_WORDS && w + i < words; i++) {
            bits[i] = s->todo[w + i];
            any |= bits[i];
            s->left -= (uint64_t)__builtin_popcountll(bits[i]);
            s->todo[w + i] = 0;
        }
        if (any == 0) continue;
        rc = migrate_put_pages(&s->out, s->ram, w * 64, bits);
        if (atomic_load(&s->m->is_cancelled)) rc = -ECANCELED;
        if (rc == 0 && s->is_limited && limit > 0) hold_back(s, limit);
        if (w % 64 == 0) tell(s);
    }
    tell(s);
    return rc < 0 ? write_failed(s->m, rc, e) : 0;
}

static bool is_little(struct sending *s)
{
    uint64_t limit_ms;

    vm_lock(s->m->vm);
    limit_ms = s->m->settings.downtime_limit_ms;
    vm_unlock(s->m->vm);
    if (s->left == 0) return true;
    limit_ms = limit_ms > 2 * STATE_MS ? limit_ms - STATE_MS : limit_ms / 2;
    return s->left * s->page_ns <= limit_ms * 1000000;
}

/* One pass and what was written meanwhile. */
static int pass(struct sending *s, struct err *e)
{
    struct vm *vm = s->m->vm;
    uint64_t start = loop_now_ns(), pages = s->out.normal_pages, ns;
    int rc = send_pages(s, e);

    if (rc < 0) return rc;
    ns = loop_now_ns() - start;
    pages = s->out.normal_pages - pages;
    if (pages > 0) s->page_ns = ns / pages;
    vm_lock(vm);
    rc = collect_locked(s, e);
    vm_unlock(vm);
    pthread_mutex_lock(&s->m->lock);
    s->m->status.passes++;
    if (ns > 0)
        s->m->status.dirty_pages_per_s =
            (uint64_t)((double)s->left * 1e9 / (double)ns);
    pthread_mutex_unlock(&s->m->lock);
    tell(s);
    return rc;
}

/* --------------------------------------------- steps on the loop thread */

static int step_flush(struct migrate *m, void *arg, struct err *e)
{
    struct drive_table *t = vm_service(m->vm, "drives");

    (void)arg, (void)e;
    if (t != NULL) snapshot_flush(t); /* what need not wait for the stop */
    return 0;
}

static int step_stop(struct migrate *m, void *arg, struct err *e)
{
    struct drive_table *t = vm_service(m->vm, "drives");
    struct sending *s = arg;
    int rc = t == NULL ? 0 : drives_check_handover(t, e);

    if (rc < 0) return rc;
    s->before = vm_run_state(m->vm);
    s->was_running = s->before == RUN_RUNNING;
    s->stop_ns = loop_now_ns();
    s->has_stopped = true;
    vm_stop_locked(m->vm, RUN_FINISH_MIGRATE);
    if (t != NULL) drives_drain(t);
    return 0;
}

/* What was asked for before the stop (a reset) has happened by now. */
static int step_capture(struct migrate *m, void *arg, struct err *e)
{
    struct drive_table *t = vm_service(m->vm, "drives");
    struct sending *s = arg;
    int rc;

    if (t != NULL) drives_drain(t);
    if (vm_run_state(m->vm) != RUN_FINISH_MIGRATE) {
        s->was_running = false; /* a disk failed, or the like */
        s->before = vm_run_state(m->vm);
        return err_set(e, -EIO, "the machine stopped meanwhile (%s)",
                       run_state_name(s->before));
    }
    rc = collect_locked(s, e);
    if (rc < 0) return rc;
    vmstate_prepare_locked(m->vm);
    return vmstate_capture(m->vm, &s->state, "", e);
}

/* From here on the other side may have the machine. */
static int step_let_go(struct migrate *m, void *arg, struct err *e)
{
    struct drive_table *t = vm_service(m->vm, "drives");
    struct sending *s = arg;

    s->has_let_go = true;
    m->is_late = true;
    return t == NULL ? 0 : drives_inactivate(t, e);
}

/* It went wrong: everything as before, if the disks can be had again. */
static int step_take_back(struct migrate *m, void *arg, struct err *e)
{
    struct drive_table *t = vm_service(m->vm, "drives");
    struct sending *s = arg;
    int rc = 0;

    (void)e;
    if (!s->has_stopped || m->is_ending) return 0;
    if (s->has_let_go && t != NULL) {
        struct err why = ERR_INIT;

        rc = drives_activate(t, &why);
        if (rc < 0)
            log_warn("the machine stays stopped: its disks cannot be taken "
                     "back: %s",
                     why.text);
    }
    if (rc < 0) {
        vm_stop_locked(m->vm, RUN_POSTMIGRATE);
    } else {
        vm_stop_locked(m->vm, s->was_running ? RUN_PAUSED : s->before);
        if (s->was_running) vm_start_locked(m->vm);
    }
    return rc;
}

/* ------------------------------------------------------------- protocol */

static int put_head(struct sending *s, struct err *e)
{
    struct migrate *m = s->m;
    char *text = NULL;
    size_t bytes = 0;
    FILE *f = open_memstream(&text, &bytes);
    int rc;

    if (f == NULL) return err_set(e, -ENOMEM, "out of memory");
    vm_lock(m->vm);
    migrate_describe_locked(m->vm, migrate_channel_answers(m->channel), f);
    vm_unlock(m->vm);
    fclose(f);
    rc = text == NULL ? -ENOMEM : migrate_put_magic(&s->out);
    if (rc == 0) rc = migrate_put_frame(&s->out, "HEAD", text, bytes);
    free(text);
    return rc < 0 ? write_failed(m, rc, e) : 0;
}

/* What the other side says: 0 when it is the frame that is expected. */
static int get_answer(struct sending *s, const char *type, struct err *e)
{
    struct migrate_in in;
    struct err why = ERR_INIT;
    int rc;

    if (!migrate_channel_answers(s->m->channel)) return 0;
    migrate_channel_set_timeout(s->m->channel, ANSWER_MS);
    rc = migrate_in_init(&in, migrate_channel_read, s->m->channel);
    if (rc == 0) rc = migrate_get_frame(&in, &why);
    if (atomic_load(&s->m->is_cancelled) && rc == -ECANCELED) {
        /* nothing to say */
    } else if (rc == -ENODATA || rc == -ECONNRESET || rc == -EPIPE) {
        err_set(e, rc, "the other side has gone away without an answer");
    } else if (rc < 0) {
        err_set(e, rc, "the other side's answer: %s", why.text);
    } else if (migrate_is_frame(&in, "FAIL")) {
        for (uint8_t *p = in.body; *p != 0; p++)
            if (*p < 32 || *p > 126) *p = '?';
        rc = err_set(e, -EREMOTEIO, "the other side refuses: %s",
                     (const char *)in.body);
    } else if (!migrate_is_frame(&in, type)) {
        rc = err_set(e, -EPROTO, "the other side's answer makes no sense");
    }
    migrate_in_free(&in);
    return rc;
}

/* The refusal may be waiting there while our write fails. */
static int explain(struct sending *s, int rc, struct err *e)
{
    struct err why = ERR_INIT;

    if ((rc != -EPIPE && rc != -ECONNRESET) || s->m->channel == NULL) return rc;
    get_answer(s, "FAIL", &why);
    if (why.code == -EREMOTEIO) *e = why;
    return rc;
}

static int precopy(struct sending *s, struct err *e)
{
    int rc = put_head(s, e);

    /* The other side compares before it takes anything. */
    if (rc == 0) rc = get_answer(s, "LOAD", e);
    if (rc == 0) rc = begin_tracking(s, e);
    s->is_limited = true;
    while (rc == 0) {
        rc = pass(s, e);
        if (rc == 0 && is_little(s)) break;
    }
    return rc;
}

/* The guest stands still. */
static int complete(struct sending *s, struct err *e)
{
    struct migrate *m = s->m;
    int rc = migrate_call(m, step_capture, s, false, e);

    s->is_limited = false;
    end_tracking(s);
    if (rc == 0) rc = send_pages(s, e);
    if (rc == 0) {
        rc = migrate_put_state(&s->out, s->state.data, s->state.bytes,
                               s->was_running);
        if (rc < 0) write_failed(m, rc, e);
    }
    /* The disks are written back while the other side loads. */
    if (rc == 0) rc = migrate_call(m, step_flush, s, false, e);
    if (rc == 0) rc = get_answer(s, "LOAD", e);
    if (rc == 0) rc = migrate_call(m, step_let_go, s, false, e);
    if (rc == 0) {
        rc = migrate_put_frame(&s->out, "END ", NULL, 0);
        if (rc < 0) write_failed(m, rc, e);
    }
    if (rc == 0) rc = get_answer(s, "DONE", e);
    if (rc == 0) rc = migrate_channel_finish(m->channel, e);
    return rc;
}

static int set_active(struct migrate *m, void *arg, struct err *e)
{
    (void)arg, (void)e;
    pthread_mutex_lock(&m->lock);
    m->status.setup_ms = (loop_now_ns() - m->start_ns) / 1000000;
    pthread_mutex_unlock(&m->lock);
    migrate_set_state_locked(m, MIGRATE_ACTIVE);
    return 0;
}

static bool is_file(const char *uri)
{
    return strncmp(uri, "file:", 5) == 0;
}

static int send_machine(struct sending *s, struct err *e)
{
    struct migrate *m = s->m;
    int rc = migrate_channel_connect(m->uri, m->cancel_fd, &m->channel, e);

    if (rc == 0)
        rc = migrate_out_init(&s->out, migrate_channel_write, m->channel,
                              m->settings.is_compressed || is_file(m->uri));
    s->todo = calloc((s->pages + 63) / 64, sizeof(*s->todo));
    if (rc == -ENOMEM || s->todo == NULL)
        return err_set(e, -ENOMEM, "out of memory");
    if (rc == 0) rc = migrate_call(m, set_active, s, false, e);
    if (rc == 0) rc = precopy(s, e);
    if (rc == 0) rc = migrate_call(m, step_flush, s, false, e);
    if (rc == 0) rc = migrate_call(m, step_stop, s, false, e);
    if (rc == 0) rc = complete(s, e);
    return rc < 0 ? explain(s, rc, e) : 0;
}

/* ------------------------------------------------------------- the end */

static void wake_waiting(struct migrate *m)
{
    struct monitor_session *w = m->waiting;
    char text[500] = "";

    m->waiting = NULL;
    if (w == NULL || w->wake == NULL) return;
    if (m->status.state == MIGRATE_FAILED)
        snprintf(text, sizeof(text), "Error: %s\n", m->status.error);
    if (m->status.state == MIGRATE_CANCELLED)
        snprintf(text, sizeof(text), "The migration was cancelled\n");
    w->wake(w, text);
}

/* The thread is about to be gone. */
static void over(void *arg)
{
    struct migrate *m = arg;
    enum migrate_state s;

    migrate_join(m);
    vm_lock(m->vm);
    s = m->status.error[0] == '\0'      ? MIGRATE_COMPLETED
        : atomic_load(&m->is_cancelled) ? MIGRATE_CANCELLED
                                        : MIGRATE_FAILED;
    m->status.total_ms = (loop_now_ns() - m->start_ns) / 1000000;
    if (s == MIGRATE_CANCELLED) m->status.error[0] = '\0';
    if (s == MIGRATE_COMPLETED) vm_stop_locked(m->vm, RUN_POSTMIGRATE);
    migrate_set_state_locked(m, s);
    vm_unlock(m->vm);
    wake_waiting(m);
}

void *migrate_out_main(void *arg)
{
    struct migrate *m = arg;
    struct sending s = { .m = m,
                         .ram = vm_ram(m->vm)->host,
                         .pages = (vm_ram(m->vm)->size + MIGRATE_PAGE - 1) /
                                  MIGRATE_PAGE };
    struct err e = ERR_INIT, ignored = ERR_INIT;
    int rc = send_machine(&s, &e);

    end_tracking(&s);
    if (rc < 0) {
        if (e.text[0] == '\0') err_set(&e, rc, "%s", strerror(-rc));
        migrate_channel_close(m->channel); /* the other side hears of it */
        m->channel = NULL;
        migrate_call(m, step_take_back, &s, true, &ignored);
    }
    pthread_mutex_lock(&m->lock);
    memcpy(m->status.error, e.text, sizeof(m->status.error));
    if (s.stop_ns != 0)
        m->status.downtime_ms = (loop_now_ns() - s.stop_ns) / 1000000;
    pthread_mutex_unlock(&m->lock);
    if (s.out.plain != NULL) tell(&s);
    migrate_out_free(&s.out);
    state_out_free(&s.state);
    free(s.todo);
    migrate_post_over(m, over);
    return NULL;
}

/* --------------------------------------------------------------- begin */

/* A snapshot that is being written goes into an image of ours. */
static int check_saving_locked(struct vm *vm, struct err *e)
{
    char text[200];
    FILE *f = fmemopen(text, sizeof(text), "w");
    bool is_saving = f != NULL && savevm_progress_locked(vm, f);

    if (f != NULL) fclose(f);
    if (!is_saving) return 0;
    return err_set(e, -EBUSY,
                   "a snapshot is being written; savevm_wait waits for it");
}

int migrate_begin_locked(struct vm *vm, const char *uri,
                         struct monitor_session *session, struct err *e)
{
    struct drive_table *t = vm_service(vm, "drives");
    struct migrate *m = migrate_of(vm);
    int rc;

    if (m == NULL) return err_set(e, -ENOMEM, "out of memory");
    if (vm_run_state(vm) == RUN_POSTMIGRATE)
        return err_set(e, -EPERM,
                       "Can't migrate the vm that was paused due to previous "
                       "migration");
    rc = migrate_check_idle_locked(vm, e);
    if (rc == 0) rc = check_saving_locked(vm, e);
    if (rc == 0) rc = export_check_locked(vm, NULL, e);
    if (rc == 0) rc = migrate_uri_check(uri, e);
    if (rc == 0) rc = vmstate_check_accel(vm, "moving a machine is", e);
    if (rc == 0 && t != NULL) rc = drives_check_handover(t, e);
    if (rc < 0) return rc;
    m->is_incoming = false;
    rc = migrate_start_thread(m, uri, migrate_out_main, e);
    if (rc < 0) return rc;
    m->waiting = session;
    migrate_set_state_locked(m, MIGRATE_SETUP);
    return 0;
}
