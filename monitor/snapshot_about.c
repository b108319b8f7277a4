/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What snapshots tell of themselves: read, changed, told to programs. */
#include "monitor/snapshot_about.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/vm/vm.h"
#include "monitor/commands.h"
#include "monitor/savevm_int.h"

/* A state that is not ours, or not whole, has nothing to tell. */
static void read_entry(struct drive_table *t, struct snapshot_entry *s)
{
    struct savevm_reader r;
    struct err ignored = ERR_INIT;

    s->parent = -1;
    if (s->info.vm_state_bytes == 0 ||
        savevm_reader_open(&r, t, NULL, s->info.id, s->info.vm_state_bytes,
                           &ignored) < 0)
        return;
    s->has_about =
        vmstate_read_about(savevm_read, &r, &s->about, &ignored) == 0;
    if (!s->has_about) {
        vmstate_about_free(&s->about);
        memset(&s->about, 0, sizeof(s->about));
    }
    savevm_reader_close(&r);
}

static int find_uid(const struct snapshot_entries *all, uint64_t uid)
{
    for (unsigned i = 0; i < all->count; i++) {
        if (uid != 0 && all->v[i].about.uid == uid) return (int)i;
    }
    return -1;
}

/* The nearest of a list that is there, other than itself. */
static int nearest(const struct snapshot_entries *all, const uint64_t *uid,
                   unsigned count, int self)
{
    for (unsigned i = 0; i < count; i++) {
        int at = find_uid(all, uid[i]);

        if (at >= 0 && at != self) return at;
    }
    return -1;
}

/* What is said may be a lie: parents that go round in a circle. */
static bool is_below(const struct snapshot_entries *all, int at, int top)
{
    for (unsigned steps = 0; at >= 0 && steps <= all->count; steps++) {
        if (at == top) return true;
        at = all->v[at].parent;
    }
    return at >= 0;
}

static void find_parents(struct snapshot_entries *all, const struct savevm *sv)
{
    for (unsigned i = 0; i < all->count; i++) {
        const struct vmstate_about *a = &all->v[i].about;
        int at = nearest(all, a->ancestor, a->ancestors, (int)i);

        if (at >= 0 && !is_below(all, at, (int)i)) all->v[i].parent = at;
    }
    all->current =
        sv == NULL ? -1 : nearest(all, sv->ancestor, sv->ancestors, -1);
}

int snapshot_entries_load_locked(struct vm *vm, const char *name,
                                 struct snapshot_entries *out, struct err *e)
{
    struct drive_table *t = vm_service(vm, "drives");
    struct snapshot_info *all = NULL;
    struct snapshot_info one;
    unsigned count = 0;
    int rc = 0;

    *out = (struct snapshot_entries){ .current = -1 };
    if (t == NULL) return 0;
    if (name != NULL) rc = snapshot_find(t, NULL, name, &one, e);
    if (rc == 0) rc = snapshot_list(t, &all, &count, e);
    if (rc < 0) return rc;
    out->v = calloc(count + 1, sizeof(*out->v));
    for (unsigned i = 0; out->v != NULL && i < count; i++) {
        if (name != NULL && strcmp(all[i].id, one.id) != 0) continue;
        out->v[out->count].info = all[i];
        read_entry(t, &out->v[out->count++]);
    }
    free(all);
    if (out->v == NULL) return err_set(e, -ENOMEM, "out of memory");
    find_parents(out, vm_service(vm, "savevm"));
    return 0;
}

void snapshot_entries_free(struct snapshot_entries *s)
{
    for (unsigned i = 0; i < s->count; i++)
        vmstate_about_free(&s->v[i].about);
    free(s->v);
    s->v = NULL;
    s->count = 0;
}

/* ------------------------------------------------------------- the note */

static int write_note(struct drive_table *t, const struct snapshot_entry *s,
                      const char *text, struct err *e)
{
    uint8_t note[VMSTATE_NOTE_SECTION_BYTES];
    struct vmstate_file *f;
    int rc = vmstate_open(t, NULL, s->info.id, &f, e);

    if (rc < 0) return rc;
    vmstate_make_note(text, note);
    rc = vmstate_patch(f, s->about.note_at, note, sizeof(note));
    vmstate_close(f);
    return rc < 0 ? err_set(e, rc, "the note of '%s' cannot be changed: %s",
                            s->info.name, strerror(-rc))
                  : 0;
}

int cmd_snapshot_note(struct cmd *c, struct err *e)
{
    const char *text = c->arg[1].is_given ? c->arg[1].text : "";
    struct snapshot_entries all;
    int rc;

    if (strlen(text) >= VMSTATE_NOTE_BYTES)
        return err_set(e, -EINVAL, "a note has at most %d octets",
                       VMSTATE_NOTE_BYTES - 1);
    rc = snapshot_entries_load_locked(c->vm, c->arg[0].text, &all, e);
    if (rc == 0 && all.count == 0)
        rc = err_set(e, -ENOENT, "there is no snapshot '%s'", c->arg[0].text);
    if (rc == 0 && all.v[0].about.note_at == 0)
        rc = err_set(e, -ENOTSUP, "snapshot '%s' has no place for a note",
                     all.v[0].info.name);
    if (rc == 0) rc = write_note(vm_service(c->vm, "drives"), all.v, text, e);
    snapshot_entries_free(&all);
    return rc;
}

/* ----------------------------------------------------------- for programs */

/* RFC 4648, section 4 */
static char *to_base64(const uint8_t *p, size_t bytes)
{
    static const char digit[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrst"
                                "uvwxyz0123456789+/";
    char *out = malloc((bytes + 2) / 3 * 4 + 1), *to = out;

    if (out == NULL) return NULL;
    for (size_t i = 0; i < bytes; i += 3) {
        size_t n = bytes - i < 3 ? bytes - i : 3;
        uint32_t v = (uint32_t)p[i] << 16 |
                     (n > 1 ? (uint32_t)p[i + 1] << 8 : 0) |
                     (n > 2 ? p[i + 2] : 0);

        *to++ = digit[v >> 18];
        *to++ = digit[v >> 12 & 63];
        *to++ = n > 1 ? digit[v >> 6 & 63] : '=';
        *to++ = n > 2 ? digit[v & 63] : '=';
    }
    *to = '\0';
    return out;
}

static void put_screen(struct json_out *o, const struct vmstate_about *a,
                       bool has_thumb)
{
    if (a->width_px == 0) return;
    json_open(o, "screen", '{');
    json_uint(o, "width", a->width_px);
    json_uint(o, "height", a->height_px);
    if (a->text != NULL && a->text[0] != '\0') json_str(o, "text", a->text);
    if (has_thumb && a->thumb_width_px > 0) {
        char *rgb = to_base64(a->thumb, (size_t)a->thumb_width_px *
                                            a->thumb_height_px * 3);

        json_open(o, "thumbnail", '{');
        json_uint(o, "width", a->thumb_width_px);
        json_uint(o, "height", a->thumb_height_px);
        json_str(o, "rgb", rgb != NULL ? rgb : "");
        json_close(o, '}');
        free(rgb);
    }
    json_close(o, '}');
}

static void put_entry(struct json_out *o, const struct snapshot_entries *all,
                      unsigned i, bool has_thumb)
{
    const struct snapshot_entry *s = &all->v[i];
    const struct vmstate_about *a = &s->about;

    json_open(o, NULL, '{');
    json_str(o, "id", s->info.id);
    json_str(o, "name", s->info.name);
    json_uint(o, "date-sec", s->info.date_sec);
    json_uint(o, "date-nsec", s->info.date_nsec);
    json_uint(o, "vm-clock-ns", s->info.vm_clock_ns);
    json_uint(o, "vm-state-size", s->info.vm_state_bytes);
    json_bool(o, "is-current", all->current == (int)i);
    if (s->has_about) {
        json_str(o, "machine", a->machine);
        json_uint(o, "ram", a->ram_bytes);
        json_uint(o, "cpus", a->cpus);
        json_str(o, "cpu", a->cpu);
        json_str(o, "accel", a->accel);
        json_str(o, "note", a->note);
        if (s->parent >= 0) json_str(o, "parent", all->v[s->parent].info.name);
        put_screen(o, a, has_thumb);
    }
    json_close(o, '}');
}

/* tag thumbnails */
int query_snapshots(struct cmd *c, struct err *e)
{
    const char *tag = c->arg[0].is_given ? c->arg[0].text : NULL;
    bool has_thumb = c->arg[1].is_given && c->arg[1].number != 0;
    struct snapshot_entries all;
    int rc = snapshot_entries_load_locked(c->vm, NULL, &all, e);
    unsigned put = 0;

    if (rc == 0) json_open(c->json, NULL, '[');
    for (unsigned i = 0; rc == 0 && i < all.count; i++) {
        const struct snapshot_info *s = &all.v[i].info;

        if (tag != NULL && strcmp(s->name, tag) != 0 && strcmp(s->id, tag) != 0)
            continue;
        put_entry(c->json, &all, i, has_thumb);
        put++;
    }
    if (rc == 0) json_close(c->json, ']');
    snapshot_entries_free(&all);
    if (rc == 0 && tag != NULL && put == 0)
        return err_set(e, -ENOENT, "there is no snapshot '%s'", tag);
    return rc;
}
