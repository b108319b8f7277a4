/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * CPUID under KVM: what the kernel says it supports, then the user's
 * +feature/-feature list through the same model builder as the software CPU
 * so that names and errors are the same.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/accel/kvm.h"

enum { MAX_LEAVES = 128 };

static int get_supported(struct kvm_accel *a, struct err *e)
{
    struct kvm_cpuid2 *t =
        calloc(1, sizeof(*t) + MAX_LEAVES * sizeof(t->entries[0]));
    int rc;

    if (t == NULL) return err_set(e, -ENOMEM, "out of memory");
    t->nent = MAX_LEAVES;
    rc = kvm_call(a->dev_fd, KVM_GET_SUPPORTED_CPUID, t);
    if (rc < 0) {
        free(t);
        return err_set(e, rc, "KVM: cannot read its CPUID: %s", strerror(-rc));
    }
    a->cpuid = t;
    return 0;
}

static struct kvm_cpuid_entry2 *find(struct kvm_cpuid2 *t, uint32_t leaf,
                                     uint32_t subleaf)
{
    for (uint32_t i = 0; i < t->nent; i++) {
        struct kvm_cpuid_entry2 *en = &t->entries[i];

        if (en->function == leaf &&
            (!(en->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX) ||
             en->index == subleaf)) {
            return en;
        }
    }
    return NULL;
}

static const struct cpuid_leaf *model_leaf(const struct cpu_model *m,
                                           uint32_t leaf, uint32_t subleaf)
{
    for (unsigned i = 0; i < m->leaf_count; i++) {
        if (m->leaf[i].leaf == leaf && m->leaf[i].subleaf == subleaf) {
            return &m->leaf[i];
        }
    }
    return NULL;
}

/* A named model hides what it lacks; "host" and "max" show all KVM has. */
static void apply_model(struct kvm_accel *a, bool is_host)
{
    static const struct {
        uint32_t leaf, subleaf;
        bool has_eax, has_ebx; /* these hold features, too */
    } row[] = {
        { 1, 0, false, false },
        { 7, 0, false, true },
        { 7, 1, true, true },
        { 0xd, 1, true, false },
        { 0x80000001, 0, false, false },
    };

    for (unsigned i = 0; i < sizeof(row) / sizeof(row[0]) && !is_host; i++) {
        struct kvm_cpuid_entry2 *en =
            find(a->cpuid, row[i].leaf, row[i].subleaf);
        const struct cpuid_leaf *m =
            model_leaf(&a->model, row[i].leaf, row[i].subleaf);

        if (en == NULL) continue;
        if (row[i].has_eax) en->eax &= m ? m->eax : 0;
        if (row[i].has_ebx) en->ebx &= m ? m->ebx : 0;
        en->ecx &= m ? m->ecx : 0;
        en->edx &= m ? m->edx : 0;
    }
}

static struct kvm_cpuid_entry2 *find_or_add(struct kvm_cpuid2 *t, uint32_t leaf)
{
    struct kvm_cpuid_entry2 *en = find(t, leaf, 0);

    if (en != NULL || t->nent == MAX_LEAVES) return en;
    en = &t->entries[t->nent++];
    memset(en, 0, sizeof(*en));
    en->function = leaf;
    return en;
}

/*
 * A named model shows its own vendor, signature and brand; "host" and "max"
 * show the kernel's, but not every kernel tells a brand (APM vol. 3 E.4.3).
 */
static void apply_identity(struct kvm_accel *a, bool is_host)
{
    struct kvm_cpuid_entry2 *max = find(a->cpuid, 0x80000000, 0);

    for (uint32_t leaf = 0x80000002; leaf <= 0x80000004; leaf++) {
        const struct cpuid_leaf *m = model_leaf(&a->model, leaf, 0);
        struct kvm_cpuid_entry2 *en = m ? find_or_add(a->cpuid, leaf) : NULL;

        if (en == NULL) continue;
        if (is_host && (en->eax | en->ebx | en->ecx | en->edx)) continue;
        en->eax = m->eax;
        en->ebx = m->ebx;
        en->ecx = m->ecx;
        en->edx = m->edx;
        if (max != NULL && max->eax < leaf) max->eax = leaf;
    }
    if (is_host) return;
    for (uint32_t leaf = 0; leaf <= 1; leaf++) {
        const struct cpuid_leaf *m = model_leaf(&a->model, leaf, 0);
        struct kvm_cpuid_entry2 *en = find(a->cpuid, leaf, 0);

        if (m == NULL || en == NULL) continue;
        if (leaf == 1) en->eax = m->eax; /* family, model, stepping */
        if (leaf == 0) {
            en->ebx = m->ebx;
            en->ecx = m->ecx;
            en->edx = m->edx;
        }
    }
}

/* What the guest sees, for whoever asks the model. */
static void show_in_model(struct kvm_accel *a)
{
    struct cpu_model *m = &a->model;

    m->is_native = true;
    m->leaf_count = 0;
    for (uint32_t i = 0; i < a->cpuid->nent; i++) {
        const struct kvm_cpuid_entry2 *en = &a->cpuid->entries[i];

        if (m->leaf_count == sizeof(m->leaf) / sizeof(m->leaf[0])) break;
        m->leaf[m->leaf_count++] =
            (struct cpuid_leaf){ en->function, en->index, en->eax,
                                 en->ebx,      en->ecx,   en->edx };
    }
}

/* -cpu NAME,-kvm or kvm=off, QEMU's spelling: the guest is not to use what KVM
 * alone has, so that it can go on elsewhere. */
static bool is_kvm_hidden(const char *spec)
{
    for (const char *s = strchr(spec, ','); s != NULL; s = strchr(s, ',')) {
        size_t n = strcspn(++s, ",");

        if ((n == 4 && memcmp(s, "-kvm", 4) == 0) ||
            (n == 7 && memcmp(s, "kvm=off", 7) == 0))
            return true;
    }
    return false;
}

static void hide_kvm(struct kvm_cpuid2 *t)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < t->nent; i++) {
        if (t->entries[i].function >> 8 == 0x400000) continue;
        t->entries[n++] = t->entries[i];
    }
    t->nent = n;
}

int kvm_cpuid_build(struct kvm_accel *a, const char *spec, struct err *e)
{
    const struct vm_config *cfg = vm_config(a->vm);
    bool is_host;
    int rc;

    if (spec == NULL) spec = "host";
    is_host = strcmp(spec, "host") == 0 || strcmp(spec, "max") == 0;
    rc = cpu_model_build(&a->model, spec, cfg->cpus, e);
    if (rc == 0) rc = get_supported(a, e);
    if (rc < 0) return rc;
    apply_model(a, is_host);
    apply_identity(a, is_host);
    if (is_kvm_hidden(spec)) hide_kvm(a->cpuid);
    show_in_model(a);
    return 0;
}

/* Leaves that differ per CPU: APIC id and topology (SDM 2A CPUID). */
static void set_topology(struct kvm_cpuid_entry2 *en, unsigned index,
                         unsigned cpus)
{
    switch (en->function) {
    case 1:
        en->ebx = (en->ebx & 0x0000ffff) | index << 24 | cpus << 16;
        if (cpus > 1) en->edx |= 1u << 28; /* HTT: more than one id */
        en->ecx |= 1u << 31;               /* hypervisor present */
        break;
    case 4:
        en->eax &= 0x3fff; /* caches and package not shared */
        en->eax |= (cpus - 1) << 26;
        break;
    case 0xb:
    case 0x1f:
        en->edx = index;
        if (en->index == 0) {
            en->eax = 0;
            en->ebx = 1;
            en->ecx = 0x100; /* thread level: one per core */
        } else if (en->index == 1) {
            en->eax = 4;
            en->ebx = cpus;
            en->ecx = 0x201;
        } else {
            en->eax = en->ebx = 0;
            en->ecx = en->index & 0xff;
        }
        break;
    default: break;
    }
}

int kvm_cpuid_set(struct kvm_vcpu *k, struct err *e)
{
    const struct kvm_cpuid2 *from = k->a->cpuid;
    size_t bytes = sizeof(*from) + from->nent * sizeof(from->entries[0]);
    struct kvm_cpuid2 *t = malloc(bytes);
    int rc;

    if (t == NULL) return err_set(e, -ENOMEM, "out of memory");
    memcpy(t, from, bytes);
    for (uint32_t i = 0; i < t->nent; i++) {
        set_topology(&t->entries[i], k->v->index, vm_config(k->a->vm)->cpus);
    }
    rc = kvm_call(k->fd, KVM_SET_CPUID2, t);
    free(t);
    return rc < 0 ? err_set(e, rc, "KVM refuses the CPUID: %s", strerror(-rc))
                  : 0;
}
