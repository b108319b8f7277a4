/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Choosing an accelerator.  Some hosts offer a /dev/kvm that emulates ring 0
 * at about two million instructions a second: it opens and runs, but is a
 * hundred times slower than the software CPU.  "auto" therefore takes KVM
 * only after timing it.
 */
#include "core/accel/accel.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/vm/vm.h"

static const struct accel *const accel_table[] = { &accel_kvm, &accel_soft };
enum { ACCELS = sizeof(accel_table) / sizeof(accel_table[0]) };

const struct accel *accel_at(unsigned i)
{
    return i < ACCELS ? accel_table[i] : NULL;
}

/* QEMU's name for its translator is accepted for ours. */
static const struct accel *find(const char *name, size_t len)
{
    if (len == 3 && memcmp(name, "tcg", 3) == 0) return &accel_soft;
    for (unsigned i = 0; i < ACCELS; i++) {
        if (strlen(accel_table[i]->name) == len &&
            memcmp(accel_table[i]->name, name, len) == 0) {
            return accel_table[i];
        }
    }
    return NULL;
}

static const struct accel *choose(char *why, size_t cap)
{
    struct err e = ERR_INIT;
    uint64_t speed = accel_kvm_speed(&e);

    if (speed == 0) {
        snprintf(why, cap, "soft: KVM is not usable (%s)", e.text);
        return &accel_soft;
    }
    if (speed < ACCEL_KVM_FAST_PER_S) {
        snprintf(why, cap,
                 "soft: /dev/kvm answers, but emulates ring 0 (%.1f million "
                 "instructions/s); the software CPU is faster",
                 (double)speed / 1e6);
        return &accel_soft;
    }
    snprintf(why, cap, "kvm: hardware virtualization works");
    return &accel_kvm;
}

int accel_open(struct vm *vm, const char *spec, char *why, size_t cap,
               struct err *e)
{
    const char *comma;
    const struct accel *a;
    size_t len;
    int rc;

    if (spec == NULL) spec = "auto";
    comma = strchr(spec, ',');
    len = comma != NULL ? (size_t)(comma - spec) : strlen(spec);
    if (len == 4 && memcmp(spec, "auto", 4) == 0) {
        a = choose(why, cap);
    } else {
        a = find(spec, len);
        if (a == NULL) {
            return err_set(e, -EINVAL,
                           "there is no accelerator %.*s (kvm, soft or auto)",
                           (int)len, spec);
        }
        rc = a->probe(e);
        if (rc < 0) return rc;
        snprintf(why, cap, "%s: as asked for", a->name);
    }
    return a->open(vm, comma != NULL ? comma + 1 : NULL, e);
}
