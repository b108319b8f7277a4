/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * CPU models of the software CPU: what CPUID shows.  A model is a feature
 * set (named as on QEMU's command line), cut down to what the emulation
 * implements and the host has, and the leaves that follow from it.
 * Called outside guest context only.
 */
#include "core/cpu/host_cpuid.h"

#include <cpuid.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <x86intrin.h>

/* Feature words. */
enum word { W1D, W1C, W7B, W7C, W7D, W8D, W8C, WXSAVE, W87D, WORDS };

static const struct feature {
    const char *name;
    uint8_t word, bit;
} features[] = {
    { "fpu", W1D, 0 },
    { "vme", W1D, 1 },
    { "de", W1D, 2 },
    { "pse", W1D, 3 },
    { "tsc", W1D, 4 },
    { "msr", W1D, 5 },
    { "pae", W1D, 6 },
    { "mce", W1D, 7 },
    { "cx8", W1D, 8 },
    { "apic", W1D, 9 },
    { "sep", W1D, 11 },
    { "mtrr", W1D, 12 },
    { "pge", W1D, 13 },
    { "mca", W1D, 14 },
    { "cmov", W1D, 15 },
    { "pat", W1D, 16 },
    { "pse36", W1D, 17 },
    { "clflush", W1D, 19 },
    { "mmx", W1D, 23 },
    { "fxsr", W1D, 24 },
    { "sse", W1D, 25 },
    { "sse2", W1D, 26 },
    { "ss", W1D, 27 },
    { "ht", W1D, 28 },
    { "pni", W1C, 0 },
    { "sse3", W1C, 0 },
    { "pclmulqdq", W1C, 1 },
    { "ssse3", W1C, 9 },
    { "fma", W1C, 12 },
    { "cx16", W1C, 13 },
    { "pcid", W1C, 17 },
    { "sse4.1", W1C, 19 },
    { "sse4_1", W1C, 19 },
    { "sse4.2", W1C, 20 },
    { "sse4_2", W1C, 20 },
    { "x2apic", W1C, 21 },
    { "movbe", W1C, 22 },
    { "popcnt", W1C, 23 },
    { "tsc-deadline", W1C, 24 },
    { "aes", W1C, 25 },
    { "xsave", W1C, 26 },
    { "avx", W1C, 28 },
    { "f16c", W1C, 29 },
    { "rdrand", W1C, 30 },
    { "hypervisor", W1C, 31 },
    { "fsgsbase", W7B, 0 },
    { "tsc_adjust", W7B, 1 },
    { "tsc-adjust", W7B, 1 },
    { "bmi1", W7B, 3 },
    { "avx2", W7B, 5 },
    { "fdp-excptn-only", W7B, 6 },
    { "smep", W7B, 7 },
    { "bmi2", W7B, 8 },
    { "erms", W7B, 9 },
    { "invpcid", W7B, 10 },
    { "zero-fcs-fds", W7B, 13 },
    { "rdseed", W7B, 18 },
    { "adx", W7B, 19 },
    { "smap", W7B, 20 },
    { "clflushopt", W7B, 23 },
    { "clwb", W7B, 24 },
    { "sha-ni", W7B, 29 },
    { "umip", W7C, 2 },
    { "gfni", W7C, 8 },
    { "vaes", W7C, 9 },
    { "vpclmulqdq", W7C, 10 },
    { "rdpid", W7C, 22 },
    { "fsrm", W7D, 4 },
    { "spec-ctrl", W7D, 26 },
    { "arch-capabilities", W7D, 29 },
    { "syscall", W8D, 11 },
    { "nx", W8D, 20 },
    { "xd", W8D, 20 },
    { "pdpe1gb", W8D, 26 },
    { "rdtscp", W8D, 27 },
    { "lm", W8D, 29 },
    { "i64", W8D, 29 },
    { "lahf-lm", W8C, 0 },
    { "lahf_lm", W8C, 0 },
    { "abm", W8C, 5 },
    { "lzcnt", W8C, 5 },
    { "3dnowprefetch", W8C, 8 },
    { "xsaveopt", WXSAVE, 0 },
    { "xsavec", WXSAVE, 1 },
    { "xgetbv1", WXSAVE, 2 },
    { "invtsc", W87D, 8 },
};
enum { FEATURES = sizeof(features) / sizeof(features[0]) };

/*
 * IA32_ARCH_CAPABILITIES (SDM volume 4, MSR 10AH).  What a guest could do
 * against flaws of speculation (page-table isolation, retpolines, buffer
 * clearing) does not carry over into rewritten code and would only cost
 * time; RDCL_NO, IBRS_ALL, SKIP_L1DFL, SSB_NO, MDS_NO, PSCHANGE_MC_NO,
 * TAA_NO, SBDR_SSDP_NO, FBSDP_NO, PSDP_NO, BHI_NO, PBRSB_NO, GDS_NO, RFDS_NO
 * and ITS_NO tell it not to.  -cpu max,-arch-capabilities,-spec-ctrl takes
 * the word back.
 */
#define ARCH_CAPABILITIES                                                     \
    (0x1ull << 0 | 0x1ull << 1 | 0x1ull << 3 | 0x1ull << 4 | 0x1ull << 5 |    \
     0x1ull << 6 | 0x1ull << 8 | 0x7ull << 13 | 0x1ull << 20 | 0x1ull << 24 | \
     0x3ull << 26 | 0x1ull << 62)

/* The same where AMD says it (APM volume 3, appendix E): leaf 80000008 EBX,
 * 80000021 EAX and ECX. */
enum {
    AMD_RESTORES_ERROR_POINTERS = 1 << 2,
    AMD_SSB_NO = 1 << 26,
    AMD_BTC_NO = 1 << 29,
    AMD_NULL_CLEARS = 1 << 6, /* base and limit of a null segment */
    AMD_SRSO_NO = 1 << 29,
    AMD_TSA_NO = 3 << 1,
};

/* Implemented without help of the host CPU's bit. */
#define SOFT_1D 0x1fcbfbffu & ~(1u << 25 | 1u << 26 | 1u << 23 | 1u << 24)

#define F_486      "fpu vme pse "
#define F_PENTIUM  F_486 "de tsc msr mce cx8 mmx apic "
#define F_PENTIUM2 F_PENTIUM "pae sep mtrr pge mca cmov pat pse36 fxsr "
#define F_PENTIUM3 F_PENTIUM2 "sse "
#define F_N270     F_PENTIUM3 "apic clflush sse2 ss ht sse3 ssse3 movbe nx lahf-lm "
#define F_BASE                                                        \
    F_PENTIUM3 "apic clflush sse2 ht sse3 cx16 syscall nx lm x2apic " \
               "hypervisor arch-capabilities spec-ctrl "
#define F_V1 F_BASE
#define F_V2 F_V1 "lahf-lm popcnt ssse3 sse4.1 sse4.2 "
#define F_V3 F_V2 "avx avx2 bmi1 bmi2 f16c fma lzcnt movbe xsave "
#define F_V4 F_V3

static const struct base_model {
    const char *name, *title, *features; /* features NULL: all there are */
    unsigned family, model, stepping;    /* family 0: the host's */
    const char *brand;
} models[] = {
    { "max", "everything the host and the software CPU have", NULL, 0, 0, 0,
      NULL },
    { "host", "the same as max", NULL, 0, 0, 0, NULL },
    { "qemu64", "plain 64-bit CPU", F_BASE, 15, 107, 1,
      "QEMU Virtual CPU version 2.5+" },
    { "kvm64", "plain 64-bit CPU", F_BASE, 15, 6, 1, "Common KVM processor" },
    { "x86-64-v1", "64-bit baseline", F_V1, 15, 107, 1, "x86-64-v1" },
    { "x86-64-v2", "baseline with SSE4.2 and POPCNT", F_V2, 6, 26, 3,
      "x86-64-v2" },
    { "x86-64-v3", "baseline with AVX2, BMI and FMA", F_V3, 6, 60, 3,
      "x86-64-v3" },
    { "qemu32", "plain 32-bit CPU", F_PENTIUM3 "apic sse2 sse3 ", 6, 6, 3,
      "QEMU Virtual CPU version 2.5+" },
    { "kvm32", "plain 32-bit CPU", F_PENTIUM3 "apic clflush sse2 sse3 ", 15, 6,
      1, "Common 32-bit KVM processor" },
    { "486", "Intel 486", F_486, 4, 8, 0, "" },
    { "pentium", "Intel Pentium", F_PENTIUM, 5, 4, 3, "" },
    { "pentium2", "Intel Pentium II", F_PENTIUM2, 6, 5, 2, "" },
    { "pentium3", "Intel Pentium III", F_PENTIUM3 "apic ", 6, 8, 3, "" },
    { "coreduo", "Intel Core Duo",
      F_PENTIUM3 "apic clflush sse2 ss ht sse3 nx ", 6, 14, 8,
      "Genuine Intel(R) CPU           T2600  @ 2.16GHz" },
    { "n270", "Intel Atom N270", F_N270, 6, 28, 2,
      "Intel(R) Atom(TM) CPU N270   @ 1.60GHz" },
};
enum { MODELS = sizeof(models) / sizeof(models[0]) };

const char *cpu_model_list(unsigned n, const char **title)
{
    if (n >= MODELS) return NULL;
    *title = models[n].title;
    return models[n].name;
}

const char *cpu_feature_list(unsigned n)
{
    return n < FEATURES ? features[n].name : NULL;
}

const char *cpu_feature_name(uint32_t leaf, uint32_t subleaf, unsigned reg,
                             unsigned bit)
{
    static const struct {
        uint32_t leaf, subleaf;
        unsigned reg;
    } at[WORDS] = {
        [W1D] = { 1, 0, 3 },           [W1C] = { 1, 0, 2 },
        [W7B] = { 7, 0, 1 },           [W7C] = { 7, 0, 2 },
        [W7D] = { 7, 0, 3 },           [W8D] = { 0x80000001, 0, 3 },
        [W8C] = { 0x80000001, 0, 2 },  [WXSAVE] = { 0xd, 1, 0 },
        [W87D] = { 0x80000007, 0, 3 },
    };

    for (unsigned n = 0; n < FEATURES; n++) {
        const struct feature *f = &features[n];

        if (f->bit == bit && at[f->word].leaf == leaf &&
            at[f->word].subleaf == subleaf && at[f->word].reg == reg)
            return f->name;
    }
    return NULL;
}

static void host_leaf(uint32_t leaf, uint32_t sub, uint32_t v[4])
{
    v[0] = v[1] = v[2] = v[3] = 0;
    if ((uint32_t)__get_cpuid_max(leaf & 0x80000000, NULL) < leaf) return;
    __cpuid_count(leaf, sub, v[0], v[1], v[2], v[3]);
}

/* Features the software CPU offers on this host. */
static void offered(uint32_t w[WORDS])
{
    uint32_t all[WORDS] = { 0 }, v[4], x[4];
    for (unsigned n = 0; n < FEATURES; n++) {
        all[features[n].word] |= 1u << features[n].bit;
    }
    host_leaf(1, 0, v);
    const uint32_t soft_1d = SOFT_1D;
    w[W1D] = all[W1D] & (v[3] | soft_1d);
    w[W1C] = all[W1C] &
             (v[2] | 1u << 17 | 1u << 21 | 1u << 22 | 1u << 24 | 1u << 31);
    bool has_avx = (v[2] & 1u << 27) && (v[2] & 1u << 28);
    host_leaf(7, 0, x);
    w[W7B] = all[W7B] &
             (x[1] | 1u << 0 | 1u << 1 | 1u << 6 | 1u << 7 | 1u << 9 |
              1u << 10 | 1u << 13 | 1u << 19 | 1u << 20 | 1u << 23 | 1u << 24);
    w[W7C] = all[W7C] & (x[2] | 1u << 2 | 1u << 22);
    w[W7D] = 0; /* not by itself: short copies are better without REP here */
    host_leaf(0x80000001, 0, x);
    w[W8D] = all[W8D];
    w[W8C] = all[W8C] & (x[2] | 1u | 1u << 8);
    host_leaf(0xd, 1, x);
    w[WXSAVE] = all[WXSAVE] & x[0];
    host_leaf(0x80000007, 0, x);
    w[W87D] = all[W87D] & x[3];
    if (!(v[2] & 1u << 27)) { /* the host's kernel does not use XSAVE */
        w[W1C] &= ~(1u << 26);
        w[WXSAVE] = 0;
    }
    if (!has_avx) {
        w[W1C] &= ~(1u << 12 | 1u << 28 | 1u << 29);
        w[W7B] &= ~(1u << 5);
        w[W7C] &= ~(1u << 9 | 1u << 10);
    }
}

static const struct feature *find_feature(const char *name, size_t bytes)
{
    for (unsigned n = 0; n < FEATURES; n++) {
        if (strlen(features[n].name) == bytes &&
            memcmp(features[n].name, name, bytes) == 0) {
            return &features[n];
        }
    }
    return NULL;
}

static void add_words(const char *list, uint32_t w[WORDS])
{
    while (*list) {
        size_t n = strcspn(list, " ");
        const struct feature *f = find_feature(list, n);
        if (f) w[f->word] |= 1u << f->bit;
        list += n;
        list += strspn(list, " ");
    }
}

/* QEMU options that change nothing here. */
static bool is_ignored(const char *s, size_t bytes)
{
    static const char *const names[] = { "check",      "enforce",
                                         "migratable", "host-phys-bits",
                                         "phys-bits",  "pmu",
                                         "kvm" };
    for (unsigned n = 0; n < sizeof(names) / sizeof(names[0]); n++) {
        size_t len = strlen(names[n]);
        if (len <= bytes && memcmp(s, names[n], len) == 0) return true;
    }
    return false;
}

/* Changes of one character that lead from a to b; 9 or more: many. */
static unsigned distance(const char *a, size_t bytes, const char *b)
{
    unsigned row[32], n = (unsigned)strlen(b);
    if (bytes > 30 || n > 30) return 9;
    for (unsigned j = 0; j <= n; j++) {
        row[j] = j;
    }
    for (unsigned i = 1; i <= bytes; i++) {
        unsigned corner = row[0];
        row[0] = i;
        for (unsigned j = 1; j <= n; j++) {
            unsigned best = corner + (a[i - 1] != b[j - 1]);
            corner = row[j];
            if (row[j] + 1 < best) best = row[j] + 1;
            if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
            row[j] = best;
        }
    }
    return row[n];
}

/* The name most like the one given; NULL: none is. */
static const char *nearest(const char *name, size_t bytes,
                           const char *(*list)(unsigned n))
{
    const char *best = NULL, *other;
    unsigned least = (unsigned)bytes / 3 + 1; /* fewer changes than that */
    for (unsigned n = 0; (other = list(n)) != NULL; n++) {
        unsigned d = distance(name, bytes, other);
        if (d < least && d < bytes) {
            least = d;
            best = other;
        }
    }
    return best;
}

static const char *model_name(unsigned n)
{
    return n < MODELS ? models[n].name : NULL;
}

static int not_known(const char *what, const char *name, size_t bytes,
                     const char *(*list)(unsigned n), struct err *e)
{
    const char *like = nearest(name, bytes, list);
    if (like) {
        return err_set(e, -EINVAL,
                       "CPU %s '%.*s' is not known; did you mean '%s'?", what,
                       (int)bytes, name, like);
    }
    return err_set(e, -EINVAL, "CPU %s '%.*s' is not known", what, (int)bytes,
                   name);
}

/* "+feature", "-feature", "feature", "feature=on|off" after the name. */
static int apply_options(const char *s, const uint32_t has[WORDS],
                         uint32_t w[WORDS], struct err *e)
{
    while (*s == ',') {
        s++;
        size_t bytes = strcspn(s, ","), len = bytes;
        const char *name = s;
        bool is_on = true;
        s += bytes;
        if (len && (*name == '+' || *name == '-')) {
            is_on = *name == '+';
            name++;
            len--;
        } else if (len > 4 && memcmp(name + len - 4, "=off", 4) == 0) {
            is_on = false;
            len -= 4;
        } else if (len > 3 && memcmp(name + len - 3, "=on", 3) == 0) {
            len -= 3;
        }
        const struct feature *f = find_feature(name, len);
        if (!f && is_ignored(name, len)) continue;
        if (!f) return not_known("feature", name, len, cpu_feature_list, e);
        uint32_t bit = 1u << f->bit;
        if (is_on && !(has[f->word] & bit)) {
            return err_set(e, -EINVAL,
                           "CPU feature '%s' is not there on this host",
                           f->name);
        }
        w[f->word] = is_on ? w[f->word] | bit : w[f->word] & ~bit;
    }
    return 0;
}

/* Names of the features in w that are not in has. */
static void name_missing(const uint32_t w[WORDS], const uint32_t has[WORDS],
                         char *text, size_t cap)
{
    uint32_t left[WORDS];
    size_t n = 0;
    for (unsigned i = 0; i < WORDS; i++) {
        left[i] = w[i] & ~has[i];
    }
    for (unsigned i = 0; i < FEATURES && n < cap; i++) {
        const struct feature *f = &features[i];
        if (!(left[f->word] >> f->bit & 1)) continue;
        left[f->word] &= ~(1u << f->bit); /* it may have another name */
        n +=
            (size_t)snprintf(text + n, cap - n, "%s%s", n ? ", " : "", f->name);
    }
}

static bool has_option(const char *s, const char *name)
{
    size_t len = strlen(name);
    while (*s == ',') {
        s++;
        size_t bytes = strcspn(s, ",");
        if (bytes == len && memcmp(s, name, len) == 0) return true;
        s += bytes;
    }
    return false;
}

/* Take away what cannot be without something else. */
static void drop_dependent(uint32_t w[WORDS])
{
    if (!(w[W1D] & 1u << 24)) w[W1D] &= ~(1u << 25 | 1u << 26);
    if (!(w[W1D] & 1u << 9)) w[W1C] &= ~(1u << 21 | 1u << 24);
    if (!(w[W1C] & 1u << 26)) {
        w[W1C] &= ~(1u << 28);
        w[WXSAVE] = 0;
    }
    if (!(w[W1C] & 1u << 28)) {
        w[W1C] &= ~(1u << 12 | 1u << 29);
        w[W7B] &= ~(1u << 5);
        w[W7C] &= ~(1u << 9 | 1u << 10);
    }
    if (!(w[W1C] & 1u << 17)) w[W7B] &= ~(1u << 10);
    if (!(w[W8D] & 1u << 29)) w[W8D] &= ~(1u << 11 | 1u << 26);
}

static void add_leaf(struct cpu_model *m, uint32_t leaf, uint32_t sub,
                     uint32_t a, uint32_t b, uint32_t c, uint32_t d)
{
    if (m->leaf_count >= sizeof(m->leaf) / sizeof(m->leaf[0])) return;
    m->leaf[m->leaf_count++] = (struct cpuid_leaf){ leaf, sub, a, b, c, d };
}

/* Frequency of the host's TSC: its CPUID if it says, else measured. */
static unsigned tsc_mhz(void)
{
    uint32_t v[4];
    host_leaf(0x15, 0, v);
    if (v[0] && v[1] && v[2]) {
        return (unsigned)((uint64_t)v[2] * v[1] / v[0] / 1000000);
    }
    struct timespec a, b;
    clock_gettime(CLOCK_MONOTONIC, &a);
    uint64_t from = __rdtsc(), ns;
    do {
        clock_gettime(CLOCK_MONOTONIC, &b);
        ns = (uint64_t)(b.tv_sec - a.tv_sec) * 1000000000u +
             (uint64_t)(b.tv_nsec - a.tv_nsec);
    } while (ns < 2000000);
    return (unsigned)(((__rdtsc() - from) * 1000 + ns / 2) / ns);
}

/*
 * Compilers' run-time libraries choose code by family and model alone, without
 * a look at the features (target_clones("arch=rocketlake")), so "max" may not
 * show a model that has more than is offered: of the host's AVX-512 and the
 * like nothing is.  Haswell, Zen 3, Nehalem and K8 have what they imply.
 */
static const struct base_model *identity(const struct cpu_model *m,
                                         const struct base_model *b,
                                         const uint32_t w[WORDS])
{
    static const struct base_model
        haswell = { .family = 6, .model = 60, .stepping = 3 },
        nehalem = { .family = 6, .model = 26, .stepping = 3 },
        zen3 = { .family = 25, .model = 33 },
        k8 = { .family = 15, .model = 107, .stepping = 1 };
    bool has_avx2 = w[W7B] & 1u << 5;

    if (b->family) return b;
    if (!m->is_amd) return has_avx2 ? &haswell : &nehalem;
    return has_avx2 ? &zen3 : &k8;
}

static uint32_t signature(const struct base_model *b)
{
    uint32_t v[4];
    if (!b->family) {
        host_leaf(1, 0, v);
        return v[0];
    }
    uint32_t family = b->family > 15 ? 15 : b->family;
    uint32_t extended = b->family > 15 ? b->family - 15 : 0;
    return extended << 20 | (b->model >> 4) << 16 | family << 8 |
           (b->model & 15) << 4 | b->stepping;
}

static void basic_leaves(struct cpu_model *m, const struct base_model *b,
                         const uint32_t w[WORDS], unsigned cpus)
{
    uint32_t v[4], logical = cpus > 255 ? 255 : cpus;
    bool is_old = b->family && b->family < 6;
    bool is_intel32 = b->family == 6 && !m->has_long;
    host_leaf(0, 0, v);
    if (is_old || is_intel32) { /* "GenuineIntel" */
        v[1] = 0x756e6547;
        v[2] = 0x6c65746e;
        v[3] = 0x49656e69;
    }
    m->is_amd = v[1] == 0x68747541;
    uint32_t max = is_old                        ? 1
                   : is_intel32 && b->model < 14 ? 2
                   : is_intel32                  ? 0xa
                                                 : 0x16;
    add_leaf(m, 0, 0, max, v[1], v[2], v[3]);
    uint32_t d = w[W1D];
    if (cpus > 1) d |= 1u << 28;
    add_leaf(m, 1, 0, signature(identity(m, b, w)), logical << 16 | 8 << 8,
             w[W1C], d);
    /* Cache descriptors: 32 KiB code and data, 2 MiB unified. */
    if (max >= 2) add_leaf(m, 2, 0, 0x00000001, 0, 0, 0x002c307d);
    if (max < 7) return;
    uint32_t cores = (cpus > 64 ? 64 : cpus) - 1;
    if (!m->is_amd) {
        add_leaf(m, 4, 0, cores << 26 | 0x121, 0x01c0003f, 63, 1);
        add_leaf(m, 4, 1, cores << 26 | 0x122, 0x01c0003f, 63, 1);
        add_leaf(m, 4, 2, cores << 26 | cores << 14 | 0x143, 0x03c0003f, 2047,
                 1);
    }
    /* BHI_CTRL: branch history is kept apart on request (SPEC_CTRL bit 10),
     * so that Linux does not clear it by hand at each system call. */
    uint32_t bhi_ctrl = m->has_spec_ctrl ? 1u << 4 : 0;
    add_leaf(m, 7, 0, bhi_ctrl ? 2 : 0, w[W7B], w[W7C], w[W7D]);
    if (bhi_ctrl) add_leaf(m, 7, 2, 0, 0, 0, bhi_ctrl);
    if (max < 0xb) return;
    unsigned shift = 0;
    while (1u << shift < cpus) {
        shift++;
    }
    add_leaf(m, 0xb, 0, 0, 1, 0x100, 0);
    add_leaf(m, 0xb, 1, shift, cpus, 0x200, 0);
    if (m->has_xsave) {
        add_leaf(m, 0xd, 0, (uint32_t)m->xcr0_mask, 576,
                 m->xcr0_mask & 4 ? 832 : 576, 0);
        add_leaf(m, 0xd, 1, w[WXSAVE], 576, 0, 0);
        if (m->xcr0_mask & 4) add_leaf(m, 0xd, 2, 256, 576, 0, 0);
    }
    unsigned mhz = tsc_mhz();
    add_leaf(m, 0x16, 0, mhz, mhz, 100, 0);
}

static void extended_leaves(struct cpu_model *m, const struct base_model *b,
                            const uint32_t w[WORDS], unsigned cpus)
{
    bool is_old = b->family && b->family <= 6 && !m->has_long && b->model < 14;
    bool is_safe = w[W7D] & 1u << 29;
    uint32_t v[12] = { 0 };
    if (is_old) return;
    uint32_t d = w[W8D], vendor[4] = { 0 };
    if (m->is_amd) {
        d |= w[W1D] & 0x0183f3ff;
        host_leaf(0, 0, vendor);
    }
    add_leaf(m, 0x80000000, 0, m->is_amd ? 0x80000021 : 0x80000008, vendor[1],
             vendor[2], vendor[3]);
    add_leaf(m, 0x80000001, 0, m->is_amd ? signature(identity(m, b, w)) : 0, 0,
             w[W8C], d);
    if (b->brand) {
        strncpy((char *)v, b->brand, sizeof(v) - 1);
    } else {
        for (unsigned n = 0; n < 3; n++) {
            host_leaf(0x80000002 + n, 0, v + 4 * n);
        }
    }
    for (unsigned n = 0; n < 3; n++) {
        add_leaf(m, 0x80000002 + n, 0, v[4 * n], v[4 * n + 1], v[4 * n + 2],
                 v[4 * n + 3]);
    }
    if (m->is_amd) add_leaf(m, 0x80000005, 0, 0, 0, 0x20080140, 0x20080140);
    add_leaf(m, 0x80000006, 0, 0, 0, 0x08007040, 0);
    add_leaf(m, 0x80000007, 0, 0, 0, 0, w[W87D]);
    host_leaf(0x80000008, 0, v);
    uint32_t more = m->is_amd ? v[1] & AMD_RESTORES_ERROR_POINTERS : 0;
    if (m->is_amd && is_safe) more |= AMD_SSB_NO | AMD_BTC_NO;
    add_leaf(m, 0x80000008, 0, (m->has_long ? 48u : 32u) << 8 | m->phys_bits,
             more, m->is_amd ? cpus - 1 : 0, 0);
    if (!m->is_amd) return;
    add_leaf(m, 0x80000021, 0, AMD_NULL_CLEARS | (is_safe ? AMD_SRSO_NO : 0), 0,
             is_safe ? AMD_TSA_NO : 0, 0);
}

static void hypervisor_leaves(struct cpu_model *m, const uint32_t w[WORDS])
{
    if (!(w[W1C] & 1u << 31)) return;
    static const char name[] = "OrreryOrrery";
    uint32_t v[3];
    memcpy(v, name, sizeof(v));
    add_leaf(m, 0x40000000, 0, 0x40000000, v[0], v[1], v[2]);
}

static uint32_t sets_of(const uint32_t w[WORDS])
{
    static const struct {
        uint32_t set;
        uint8_t word, bit;
    } table[] = {
        { CPU_SET_MMX, W1D, 23 },        { CPU_SET_SSE, W1D, 25 },
        { CPU_SET_SSE2, W1D, 26 },       { CPU_SET_SSE3, W1C, 0 },
        { CPU_SET_SSSE3, W1C, 9 },       { CPU_SET_SSE41, W1C, 19 },
        { CPU_SET_SSE42, W1C, 20 },      { CPU_SET_AES, W1C, 25 },
        { CPU_SET_PCLMUL, W1C, 1 },      { CPU_SET_SHA, W7B, 29 },
        { CPU_SET_GFNI, W7C, 8 },        { CPU_SET_AVX, W1C, 28 },
        { CPU_SET_AVX2, W7B, 5 },        { CPU_SET_FMA, W1C, 12 },
        { CPU_SET_F16C, W1C, 29 },       { CPU_SET_VAES, W7C, 9 },
        { CPU_SET_VPCLMUL, W7C, 10 },    { CPU_SET_POPCNT, W1C, 23 },
        { CPU_SET_CMOV, W1D, 15 },       { CPU_SET_CX16, W1C, 13 },
        { CPU_SET_FXSR, W1D, 24 },       { CPU_SET_CLFLUSH, W1D, 19 },
        { CPU_SET_CLFLUSHOPT, W7B, 23 }, { CPU_SET_CLWB, W7B, 24 },
        { CPU_SET_XSAVEOPT, WXSAVE, 0 }, { CPU_SET_TSC, W1D, 4 },
        { CPU_SET_MSR, W1D, 5 },         { CPU_SET_CX8, W1D, 8 },
        { CPU_SET_SEP, W1D, 11 },        { CPU_SET_SYSCALL, W8D, 11 },
        { CPU_SET_LAHF, W8C, 0 },
    };
    uint32_t sets = 0;
    for (unsigned n = 0; n < sizeof(table) / sizeof(table[0]); n++) {
        if (w[table[n].word] >> table[n].bit & 1) sets |= table[n].set;
    }
    return sets;
}

static void set_facts(struct cpu_model *m, const uint32_t w[WORDS])
{
    m->sets = sets_of(w);
    m->has_nx = w[W8D] >> 20 & 1;
    m->has_1g_pages = w[W8D] >> 26 & 1;
    m->has_pcid = w[W1C] >> 17 & 1;
    m->has_invpcid = w[W7B] >> 10 & 1;
    m->has_smep = w[W7B] >> 7 & 1;
    m->has_smap = w[W7B] >> 20 & 1;
    m->has_fsgsbase = w[W7B] & 1;
    m->has_umip = w[W7C] >> 2 & 1;
    m->has_xsave = w[W1C] >> 26 & 1;
    m->has_rdtscp = w[W8D] >> 27 & 1;
    m->has_x2apic = w[W1C] >> 21 & 1;
    m->has_tsc_deadline = w[W1C] >> 24 & 1;
    m->has_mtrr = w[W1D] >> 12 & 1;
    m->has_pat = w[W1D] >> 16 & 1;
    m->has_long = w[W8D] >> 29 & 1;
    m->phys_bits = m->has_long || (w[W1D] & 1u << 17) ? 40 : 32;
    if (!m->has_long && (w[W1D] & 1u << 17)) m->phys_bits = 36;
    m->xcr0_mask = w[W1C] & 1u << 28 ? 7 : 3;
    m->has_spec_ctrl = w[W7D] >> 26 & 1;
    m->arch_capabilities = w[W7D] & 1u << 29 ? ARCH_CAPABILITIES : 0;
}

int cpu_model_build(struct cpu_model *m, const char *spec, unsigned cpus,
                    struct err *e)
{
    uint32_t has[WORDS], w[WORDS] = { 0 };
    size_t len = strcspn(spec, ",");
    const struct base_model *b = NULL;
    for (unsigned n = 0; n < MODELS && !b; n++) {
        if (strlen(models[n].name) == len &&
            memcmp(models[n].name, spec, len) == 0) {
            b = &models[n];
        }
    }
    if (!b) return not_known("model", spec, len, model_name, e);
    memset(m, 0, sizeof(*m));
    snprintf(m->name, sizeof(m->name), "%s", b->name);
    offered(has);
    has[W7D] |= 1u << 26 | 1u << 29; /* all ours */
    if (b->features) {
        add_words(b->features, w);
        name_missing(w, has, m->missing, sizeof(m->missing));
        if (m->missing[0] && has_option(spec + len, "enforce")) {
            return err_set(e, -EINVAL,
                           "CPU model '%s' has features that are not there on "
                           "this host: %s",
                           b->name, m->missing);
        }
        for (unsigned n = 0; n < WORDS; n++) {
            w[n] &= has[n];
        }
    } else {
        memcpy(w, has, sizeof(w));
    }
    has[W7D] |= 1u << 4; /* FSRM is ours as well, but only on request */
    int rc = apply_options(spec + len, has, w, e);
    if (rc < 0) return rc;
    drop_dependent(w);
    set_facts(m, w);
    basic_leaves(m, b, w, cpus ? cpus : 1);
    extended_leaves(m, b, w, cpus ? cpus : 1);
    hypervisor_leaves(m, w);
    return 0;
}
