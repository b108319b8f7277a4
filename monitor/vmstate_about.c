/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a saved machine is, for people: META, NOTE and SCRN.
 *
 * META counts when a state is loaded and its checksum has to be right.  NOTE
 * may be written anew in its place, and SCRN is a convenience: when they are
 * damaged they are missing, nothing more.
 */
#include "monitor/vmstate.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/size.h"
#include "core/cpu/cpu.h"
#include "core/cpu/cpuid.h"
#include "core/host/display.h"
#include "core/vm/clock.h"
#include "core/vm/config.h"
#include "core/vm/dev.h"
#include "core/vm/mem.h"
#include "core/vm/vm.h"
#include "monitor/monitor.h"
#include "monitor/vmstate_int.h"

enum { MAX_SCREEN_BYTES = 1 << 20 };

/* At the start of a SCRN section; the picture and the text follow. */
struct screen_head {
    uint32_t width_px, height_px, thumb_width_px, thumb_height_px;
};

/* ------------------------------------------------------------ the screen */

/* Mean of the box of the surface that one pixel stands for. */
static void shrink_pixel(const struct surface *s, const int box[4],
                         uint8_t out[3])
{
    unsigned sum[3] = { 0, 0, 0 }, n = 0;

    for (int y = box[1]; y < box[3]; y++) {
        const uint32_t *row = s->px + (size_t)y * (size_t)s->stride_px;

        for (int x = box[0]; x < box[2]; x++, n++) {
            sum[0] += row[x] >> 16 & 0xff;
            sum[1] += row[x] >> 8 & 0xff;
            sum[2] += row[x] & 0xff;
        }
    }
    for (unsigned i = 0; i < 3; i++)
        out[i] = (uint8_t)(n == 0 ? 0 : sum[i] / n);
}

static void shrink(const struct surface *s, struct vmstate_about *a)
{
    int tw = VMSTATE_THUMB_WIDTH, th, w = s->width_px, h = s->height_px;

    if (w < tw) tw = w;
    th = h * tw / w;
    if (th > VMSTATE_THUMB_HEIGHT) {
        th = VMSTATE_THUMB_HEIGHT;
        tw = w * th / h;
    }
    if (tw < 1) tw = 1;
    if (th < 1) th = 1;
    a->thumb = malloc((size_t)tw * (size_t)th * 3);
    if (a->thumb == NULL) return;
    for (int y = 0; y < th; y++) {
        for (int x = 0; x < tw; x++) {
            const int box[4] = { x * w / tw, y * h / th, (x + 1) * w / tw,
                                 (y + 1) * h / th };

            shrink_pixel(s, box,
                         a->thumb + ((size_t)y * (size_t)tw + (size_t)x) * 3);
        }
    }
    a->thumb_width_px = (unsigned)tw;
    a->thumb_height_px = (unsigned)th;
}

static void put_utf8(uint16_t u, FILE *f)
{
    if (u < 0x20) u = ' ';
    if (u >= 0x800) {
        fputc(0xe0 | u >> 12, f);
        fputc(0x80 | (u >> 6 & 0x3f), f);
        fputc(0x80 | (u & 0x3f), f);
    } else if (u >= 0x80) {
        fputc(0xc0 | u >> 6, f);
        fputc(0x80 | (u & 0x3f), f);
    } else {
        fputc(u, f);
    }
}

static bool is_blank(uint8_t ch)
{
    return ch == 0 || ch == ' ' || ch == 0xff;
}

/* Lines without the blanks at their ends. */
static void print_text(const struct text_screen *t, FILE *f)
{
    for (int row = 0; row < t->rows && row < TEXT_MAX_ROWS; row++) {
        int end = t->cols < TEXT_MAX_COLS ? t->cols : TEXT_MAX_COLS;

        while (end > 0 && is_blank(t->ch[row][end - 1]))
            end--;
        for (int col = 0; col < end; col++) {
            uint8_t ch = t->ch[row][col];

            put_utf8(is_blank(ch) ? ' ' : display_cp437_to_unicode(ch), f);
        }
        fputc('\n', f);
    }
}

void vmstate_look_locked(struct vm *vm, struct vmstate_about *a)
{
    struct display *d = vm_display(vm);
    const struct surface *s;
    const struct text_screen *t;
    size_t bytes = 0;
    FILE *f;

    if (d == NULL) return;
    display_refresh_locked(d);
    s = display_surface(d);
    t = display_text(d);
    if (s == NULL || s->px == NULL || s->width_px <= 0 || s->height_px <= 0)
        return;
    a->width_px = (unsigned)s->width_px;
    a->height_px = (unsigned)s->height_px;
    shrink(s, a);
    if (t == NULL || !t->is_text) return;
    f = open_memstream(&a->text, &bytes);
    if (f == NULL) return;
    print_text(t, f);
    fclose(f);
}

void vmstate_about_free(struct vmstate_about *a)
{
    free(a->thumb);
    free(a->text);
    a->thumb = NULL;
    a->text = NULL;
}

/* --------------------------------------------------------------- writing */

const char *vmstate_machine_name(struct vm *vm)
{
    const struct monitor_catalog *c = vm_service(vm, "monitor-catalog");
    const char *asked = vm_config(vm)->machine, *name, *alias, *title;

    if (c == NULL) return asked != NULL ? asked : "default";
    if (asked == NULL) return c->default_machine;
    for (unsigned i = 0; c->machine(i, &name, &alias, &title); i++) {
        if (alias != NULL && strcmp(alias, asked) == 0) return name;
    }
    return asked;
}

static void print_cpuid(struct vm *vm, FILE *f)
{
    const struct vcpu *v = vm_vcpu(vm, 0);
    const struct cpu_model *m = v == NULL ? NULL : v->cpu->model;

    for (unsigned i = 0; m != NULL && i < m->leaf_count; i++) {
        const struct cpuid_leaf *l = &m->leaf[i];

        fprintf(f, "cpuid=%x.%x %x %x %x %x\n", l->leaf, l->subleaf, l->eax,
                l->ebx, l->ecx, l->edx);
    }
}

static void print_meta(struct vm *vm, const struct vmstate_about *a, FILE *f)
{
    const struct vm_config *cfg = vm_config(vm);
    const struct vm_accel_ops *ops = vm_accel(vm, NULL);
    uint64_t khz = ops->tsc_khz == NULL ? 0 : ops->tsc_khz(vm);

    fprintf(f,
            "machine=%s\nram=%" PRIu64 "\ncpus=%u\naccel=%s\nclock=%" PRIu64
            "\nparent=%.255s\ncpu=%.120s\n",
            vmstate_machine_name(vm), vm_ram(vm)->size, vm_vcpu_count(vm),
            vm_accel_name(vm), clock_now_ns(vm), a->parent,
            cfg->cpu_model != NULL ? cfg->cpu_model : "max");
    if (khz != 0) fprintf(f, "tsc_khz=%" PRIu64 "\n", khz);
    if (a->uid != 0) fprintf(f, "uid=%" PRIu64 "\n", a->uid);
    for (unsigned i = 0; i < a->ancestors; i++)
        fprintf(f, "ancestor=%" PRIu64 "\n", a->ancestor[i]);
    print_cpuid(vm, f);
}

void vmstate_make_note(const char *text,
                       uint8_t out[VMSTATE_NOTE_SECTION_BYTES])
{
    struct section s = { .type = { 'N', 'O', 'T', 'E' },
                         .bytes = VMSTATE_NOTE_BYTES };

    memset(out, 0, VMSTATE_NOTE_SECTION_BYTES);
    snprintf((char *)out + sizeof(s), VMSTATE_NOTE_BYTES, "%s", text);
    s.crc = vmstate_crc(out + sizeof(s), VMSTATE_NOTE_BYTES);
    memcpy(out, &s, sizeof(s));
}

static void append_screen(struct state_out *out, const struct vmstate_about *a)
{
    struct screen_head h = { a->width_px, a->height_px, a->thumb_width_px,
                             a->thumb_height_px };
    struct state_out body = { .data = NULL };

    if (a->width_px == 0) return;
    if (a->thumb == NULL) h.thumb_width_px = h.thumb_height_px = 0;
    state_append(&body, &h, sizeof(h));
    state_append(&body, a->thumb,
                 (size_t)h.thumb_width_px * h.thumb_height_px * 3);
    if (a->text != NULL) state_append(&body, a->text, strlen(a->text));
    vmstate_append(out, "SCRN", &body);
    state_out_free(&body);
}

void vmstate_append_about(struct vm *vm, struct state_out *out,
                          const struct vmstate_about *a)
{
    uint8_t note[VMSTATE_NOTE_SECTION_BYTES];
    struct state_out body = { .data = NULL };
    char *text = NULL;
    size_t bytes = 0;
    FILE *f = open_memstream(&text, &bytes);

    if (f != NULL) {
        print_meta(vm, a, f);
        fclose(f);
    }
    if (text == NULL) {
        out->status = -ENOMEM;
        return;
    }
    state_append(&body, text, bytes);
    vmstate_append(out, "META", &body);
    state_out_free(&body);
    free(text);
    if (a->uid == 0) return; /* nobody will look at it */
    vmstate_make_note(a->note, note);
    state_append(out, note, sizeof(note));
    append_screen(out, a);
}

/* --------------------------------------------------------------- reading */

bool vmstate_meta(const char *text, const char *key, unsigned n, char *out,
                  size_t cap)
{
    size_t len = strlen(key);

    while (*text != '\0') {
        size_t line = strcspn(text, "\n");

        if (line > len && strncmp(text, key, len) == 0 && text[len] == '=' &&
            n-- == 0) {
            snprintf(out, cap, "%.*s", (int)(line - len - 1), text + len + 1);
            return true;
        }
        text += line + (text[line] != '\0');
    }
    return false;
}

static uint64_t number(const char *text, const char *key, unsigned n)
{
    char value[32];
    uint64_t v = 0;

    if (!vmstate_meta(text, key, n, value, sizeof(value)) ||
        uint_parse(value, &v) < 0)
        return 0;
    return v;
}

static void take_meta(const char *text, struct vmstate_about *a)
{
    vmstate_meta(text, "machine", 0, a->machine, sizeof(a->machine));
    vmstate_meta(text, "accel", 0, a->accel, sizeof(a->accel));
    vmstate_meta(text, "cpu", 0, a->cpu, sizeof(a->cpu));
    vmstate_meta(text, "parent", 0, a->parent, sizeof(a->parent));
    a->ram_bytes = number(text, "ram", 0);
    a->clock_ns = number(text, "clock", 0);
    a->cpus = (unsigned)number(text, "cpus", 0);
    a->uid = number(text, "uid", 0);
    for (a->ancestors = 0; a->ancestors < VMSTATE_MAX_ANCESTORS;) {
        uint64_t uid = number(text, "ancestor", a->ancestors);

        if (uid == 0) break;
        a->ancestor[a->ancestors++] = uid;
    }
}

/* What comes out of it is shown: no zeros inside, no end missing. */
static void take_screen(const uint8_t *body, size_t bytes,
                        struct vmstate_about *a)
{
    struct screen_head h;
    size_t picture, text;

    if (bytes < sizeof(h)) return;
    memcpy(&h, body, sizeof(h));
    if (h.width_px > 16384 || h.height_px > 16384 ||
        h.thumb_width_px > VMSTATE_THUMB_WIDTH ||
        h.thumb_height_px > VMSTATE_THUMB_HEIGHT)
        return;
    picture = (size_t)h.thumb_width_px * h.thumb_height_px * 3;
    if (picture > bytes - sizeof(h)) return;
    text = bytes - sizeof(h) - picture;
    vmstate_about_free(a);
    a->thumb = malloc(picture + 1);
    a->text = calloc(1, text + 1);
    if (a->thumb == NULL || a->text == NULL) {
        vmstate_about_free(a);
        return;
    }
    memcpy(a->thumb, body + sizeof(h), picture);
    memcpy(a->text, body + sizeof(h) + picture, text);
    a->width_px = h.width_px;
    a->height_px = h.height_px;
    a->thumb_width_px = h.thumb_width_px;
    a->thumb_height_px = h.thumb_height_px;
}

static void take_note(const uint8_t *body, struct vmstate_about *a)
{
    memcpy(a->note, body, sizeof(a->note));
    a->note[sizeof(a->note) - 1] = '\0';
}

/* One of the sections that may be missing; its checksum may be wrong. */
static int read_optional(vmstate_read_fn read, void *arg,
                         const struct section *s, struct vmstate_about *a,
                         struct err *e)
{
    uint8_t *body;
    int rc;

    if (s->bytes > MAX_SCREEN_BYTES)
        return vmstate_damaged(e, "a section is too long");
    body = malloc(s->bytes + 1);
    if (body == NULL) return err_set(e, -ENOMEM, "out of memory");
    rc = s->bytes == 0 ? 0 : read(arg, body, s->bytes);
    if (rc < 0) {
        free(body);
        return vmstate_cut_short(e, rc);
    }
    if (vmstate_crc(body, s->bytes) == s->crc) {
        if (memcmp(s->type, "SCRN", 4) == 0) take_screen(body, s->bytes, a);
        if (memcmp(s->type, "NOTE", 4) == 0 && s->bytes == VMSTATE_NOTE_BYTES)
            take_note(body, a);
    }
    free(body);
    return 0;
}

int vmstate_read_begin(vmstate_read_fn read, void *arg, struct vmstate_about *a,
                       char **meta, struct section *next, struct err *e)
{
    uint64_t at = sizeof(vmstate_magic) + sizeof(uint32_t);
    int rc = vmstate_read_start(read, arg, e);

    if (rc == 0) rc = vmstate_read_section(read, arg, next, MAX_META_BYTES, e);
    if (rc < 0) return rc;
    if (memcmp(next->type, "META", 4) != 0)
        return vmstate_damaged(e, "it does not begin with a description");
    *meta = calloc(1, next->bytes + 1);
    if (*meta == NULL) return err_set(e, -ENOMEM, "out of memory");
    rc = vmstate_read_body(read, arg, next, (uint8_t *)*meta, e);
    if (rc < 0) return rc;
    take_meta(*meta, a);
    for (;;) {
        at += sizeof(*next) + next->bytes;
        rc = vmstate_read_section(read, arg, next, MAX_STATE_BYTES, e);
        if (rc < 0) return rc;
        if (memcmp(next->type, "NOTE", 4) == 0) {
            a->note_at = next->bytes == VMSTATE_NOTE_BYTES ? at : 0;
        } else if (memcmp(next->type, "SCRN", 4) != 0) {
            return 0;
        }
        rc = read_optional(read, arg, next, a, e);
        if (rc < 0) return rc;
    }
}

int vmstate_read_about(vmstate_read_fn read, void *arg, struct vmstate_about *a,
                       struct err *e)
{
    struct section next;
    char *meta = NULL;
    int rc = vmstate_read_begin(read, arg, a, &meta, &next, e);

    free(meta);
    return rc;
}
