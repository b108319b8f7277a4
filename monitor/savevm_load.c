/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Loading.  Everything is read and checked while the machine goes on; then it
 * stops, devices, disks and memory become what was read, and it runs again if
 * it did.  Up to the disks everything can be taken back, and is.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/vm/mem.h"
#include "core/vm/vm.h"
#include "monitor/savevm_int.h"

/* -------------------------------------------------------------- reading */

int savevm_reader_open(struct savevm_reader *r, struct drive_table *t,
                       const struct snapshot_set *set, const char *name,
                       uint64_t bytes, struct err *e)
{
    int rc;

    *r = (struct savevm_reader){ .end = bytes };
    rc = vmstate_open(t, set, name, &r->file, e);
    if (rc < 0) return rc;
    r->buf = malloc(SAVEVM_BLOCK_BYTES);
    if (r->buf != NULL) return 0;
    savevm_reader_close(r);
    return err_set(e, -ENOMEM, "out of memory");
}

void savevm_reader_close(struct savevm_reader *r)
{
    vmstate_close(r->file);
    free(r->buf);
    r->file = NULL;
    r->buf = NULL;
}

static int read_some(struct savevm_reader *r)
{
    uint64_t left = r->end - r->pos;

    r->buf_pos = r->pos;
    r->held =
        left < SAVEVM_BLOCK_BYTES ? (size_t)left : (size_t)SAVEVM_BLOCK_BYTES;
    return vmstate_pread(r->file, r->pos, r->buf, r->held);
}

int savevm_read(void *reader, void *data, size_t bytes)
{
    struct savevm_reader *r = reader;
    uint8_t *to = data;

    if (bytes > r->end - r->pos) return -ENODATA;
    while (bytes > 0) {
        size_t at = (size_t)(r->pos - r->buf_pos), n;

        if (at >= r->held) {
            int rc = read_some(r);

            if (rc < 0) return rc;
            at = 0;
        }
        n = r->held - at;
        if (n > bytes) n = bytes;
        memcpy(to, r->buf + at, n);
        to += n;
        r->pos += n;
        bytes -= n;
    }
    return 0;
}

static void load_main(struct savevm_work *w)
{
    const struct mem_region *ram = vm_ram(w->vm);

    if (w->has_room)
        w->rc = vmstate_read_ram(ram, savevm_read, &w->reader, &w->moved,
                                 &w->is_cancelled, &w->fresh, &w->error);
    else
        w->rc = vmstate_verify_ram(w->vm, savevm_read, &w->reader, &w->error);
}

/* ---------------------------------------------------------------- begin */

static int find(struct savevm_work *w, struct drive_table *t,
                struct snapshot_info *s, struct err *e)
{
    int rc = snapshot_find(t, w->set, w->name, s, e);

    if (rc == -ENOENT && w->job != NULL)
        err_set(e, rc, "Snapshot '%s' does not exist in one or more devices",
                w->name);
    if (rc < 0 || s->vm_state_bytes != 0) return rc;
    return err_set(e, -EINVAL,
                   "snapshot '%s' holds disks but no machine (taken "
                   "without one, or its saving was interrupted); apply it "
                   "to the image with `orrery img snapshot -a'",
                   w->name);
}

int savevm_load_begin_locked(struct savevm_work *w, struct err *e)
{
    struct drive_table *t = vm_service(w->vm, "drives");
    struct snapshot_info s;
    int rc =
        vmstate_check_accel(w->vm, "snapshots of a running machine are", e);

    if (rc == 0) rc = snapshot_check(t, w->set, e);
    if (rc == 0) rc = find(w, t, &s, e);
    if (rc == 0)
        rc = savevm_reader_open(&w->reader, t, w->set, w->name,
                                s.vm_state_bytes, e);
    if (rc == 0)
        rc = vmstate_read_head(w->vm, savevm_read, &w->reader, &w->head, e);
    if (rc < 0) {
        vmstate_head_free(&w->head);
        savevm_reader_close(&w->reader);
        return rc;
    }
    strcpy(w->name, s.name); /* the id will do, too */
    w->memory_at = w->reader.pos;
    w->total = s.vm_state_bytes;
    atomic_store(&w->moved, w->memory_at);
    w->has_room = vmstate_has_room(vm_ram(w->vm)->size);
    savevm_start_thread(w, load_main);
    return 0;
}

/* ------------------------------------------------------------------ end */

struct switching {
    struct savevm_work *w;
    bool is_changed;
};

static int switch_disks(void *arg, struct err *e)
{
    struct switching *s = arg;

    return snapshot_apply(vm_service(s->w->vm, "drives"), s->w->set, s->w->name,
                          &s->is_changed, e);
}

static int switch_memory_locked(struct savevm_work *w, struct err *e)
{
    if (!w->has_room) {
        w->reader.pos = w->memory_at;
        return vmstate_load_ram_locked(w->vm, savevm_read, &w->reader, e);
    }
    vmstate_take_ram_locked(w->vm, w->fresh);
    w->fresh = NULL;
    return 0;
}

static int put_into_place_locked(struct savevm_work *w, struct err *e)
{
    struct drive_table *t = vm_service(w->vm, "drives");
    struct switching s = { .w = w };
    bool was_running = vm_run_state(w->vm) == RUN_RUNNING;
    int rc = snapshot_check(t, w->set, e); /* all may have changed since */

    if (rc < 0) return rc;
    if (was_running) vm_stop_locked(w->vm, RUN_PAUSED);
    for (struct drive *d = drive_next(t, NULL); d != NULL; d = drive_next(t, d))
        if (drive_blk(d) != NULL) blk_drain(drive_blk(d));
    vm_park_locked(w->vm);
    rc = vmstate_restore_then_locked(w->vm, &w->head, switch_disks, &s, e);
    if (rc == 0) rc = switch_memory_locked(w, e);
    vm_unpark_locked(w->vm);
    if (rc < 0 && s.is_changed) {
        vm_stop_locked(w->vm, RUN_INTERNAL_ERROR);
        return err_prefix(e, "the machine is stopped, its state is not whole");
    }
    if (rc == 0 && !was_running) vm_stop_locked(w->vm, RUN_PAUSED);
    if (was_running) vm_start_locked(w->vm);
    return rc;
}

static void move_on(struct savevm_work *w)
{
    const struct vmstate_about *a = &w->head.about;
    struct savevm *sv = w->sv;

    strcpy(sv->current, w->name);
    sv->ancestors = 0;
    if (a->uid != 0) sv->ancestor[sv->ancestors++] = a->uid;
    for (unsigned i = 0;
         i < a->ancestors && sv->ancestors < VMSTATE_MAX_ANCESTORS; i++)
        sv->ancestor[sv->ancestors++] = a->ancestor[i];
}

void savevm_load_end_locked(struct savevm_work *w)
{
    if (w->rc == 0) w->rc = put_into_place_locked(w, &w->error);
    if (w->rc == 0) move_on(w);
    vmstate_drop_ram(vm_ram(w->vm), w->fresh);
    w->fresh = NULL;
    vmstate_head_free(&w->head);
    savevm_reader_close(&w->reader);
}
