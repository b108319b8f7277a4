/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sections of a machine's state: what all readers and writers share. */
#include "monitor/vmstate.h"

#include <errno.h>
#include <string.h>

#include "core/vm/state.h"
#include "monitor/migrate_stream.h"
#include "monitor/vmstate_int.h"

const char vmstate_magic[8] = "ORRERYVM";

const struct field vmstate_cpu_head[] = {
    U32_MAX(cpu_head, index, VM_MAX_CPUS - 1),
    U32_MAX(cpu_head, events, VMSTATE_EVENTS),
    U64(cpu_head, tsc),
    U8(cpu_head, sipi_vector),
    STATE_END,
};

uint32_t vmstate_crc(const void *data, size_t bytes)
{
    return migrate_crc(data, bytes);
}

void vmstate_append(struct state_out *out, const char *type,
                    const struct state_out *body)
{
    struct section s = { .crc = vmstate_crc(body->data, body->bytes),
                         .bytes = body->bytes };

    memcpy(s.type, type, 4);
    state_append(out, &s, sizeof(s));
    state_append(out, body->data, body->bytes);
    if (body->status < 0) out->status = body->status;
}

int vmstate_damaged(struct err *e, const char *what)
{
    return err_set(e, -EINVAL, "the saved state is damaged: %s", what);
}

int vmstate_cut_short(struct err *e, int rc)
{
    return err_set(e, rc, "the saved state cannot be read to its end: %s",
                   strerror(-rc));
}

/* A section's head, its length at most max. */
int vmstate_read_section(vmstate_read_fn read, void *arg, struct section *s,
                         uint64_t max, struct err *e)
{
    int rc = read(arg, s, sizeof(*s));

    if (rc < 0) return vmstate_cut_short(e, rc);
    if (s->bytes > max) return vmstate_damaged(e, "a section is too long");
    return 0;
}

int vmstate_read_body(vmstate_read_fn read, void *arg, const struct section *s,
                      uint8_t *to, struct err *e)
{
    int rc = s->bytes == 0 ? 0 : read(arg, to, s->bytes);

    if (rc < 0) return vmstate_cut_short(e, rc);
    if (vmstate_crc(to, s->bytes) != s->crc)
        return vmstate_damaged(e, "wrong checksum");
    return 0;
}

int vmstate_read_start(vmstate_read_fn read, void *arg, struct err *e)
{
    char magic[sizeof(vmstate_magic)];
    uint32_t version;
    int rc = read(arg, magic, sizeof(magic));

    if (rc == 0 && memcmp(magic, vmstate_magic, sizeof(magic)) != 0)
        return err_set(e, -EINVAL,
                       "this is not a machine's state as orrery saves it");
    if (rc == 0) rc = read(arg, &version, sizeof(version));
    if (rc < 0) return vmstate_cut_short(e, rc);
    if (version != STREAM_VERSION)
        return err_set(e, -EINVAL,
                       "the state was saved by another version (%u, here %d)",
                       version, STREAM_VERSION);
    return 0;
}
