/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Power cuts: all writes to the image file are logged; an image is put together
 * as a disk would hold it after a cut between two of them.  What came before
 * the last flush is there; of what came later nothing, everything, a random
 * half, a random half with torn writes, or only the last ones.
 *
 * With --mutants each place in the driver that flushes is left out in turn, and
 * the rig must notice: that shows it can fail.
 *
 * usage: crash_power [CUTS [SEED]] | crash_power --mutants [CUTS [SEED]]
 * Links with -Wl,--wrap=node_flush.
 */
#include <errno.h>
#include <execinfo.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tests/crash/rig.h"

enum {
    OPS = 300,
    MAX_ENTRIES = 200000,
    MAX_SITES = 64,
    MAX_HITS = 1000,
    CUTS_PER_RUN = 25
};
enum { LOG_FLUSH = 1, LOG_DISCARD = 4, LOG_MARK = 8 };

/* ------------------------------------------------- places that flush */

static struct {
    void *site[MAX_SITES];
    unsigned count;
    void *dropped; /* this one does nothing */
    bool is_recording;
    unsigned hit[MAX_HITS], hits; /* length of the log when it did nothing */
    const char *dir;
} flushes;
static unsigned log_count(const char *dir);

int __real_node_flush(struct node *n);
int __wrap_node_flush(struct node *n);
int __wrap_node_flush(struct node *n)
{
    void *caller = __builtin_return_address(0);
    unsigned i = 0;

    /* Only the driver's own flushes of what it stands on. */
    if (n->drv != &block_logwrites) return __real_node_flush(n);
    if (caller == flushes.dropped) {
        if (flushes.hits < MAX_HITS)
            flushes.hit[flushes.hits++] = log_count(flushes.dir);
        return 0;
    }
    while (i < flushes.count && flushes.site[i] != caller)
        i++;
    if (flushes.is_recording && i == flushes.count && i < MAX_SITES)
        flushes.site[flushes.count++] = caller;
    return __real_node_flush(n);
}

/* ------------------------------------------------------------ the log */

struct entry {
    uint64_t sector, sectors, flags, data_len;
    const uint8_t *data;
};
static struct {
    uint8_t *bytes;
    struct entry *entry;
    unsigned count;
    uint8_t *start; /* the image before the first write */
    size_t start_bytes;
} log_;

static uint8_t *slurp(const char *dir, const char *name, size_t *bytes)
{
    char file[200];
    uint8_t *data;
    FILE *f;

    snprintf(file, sizeof(file), "%s/%s", dir, name);
    f = fopen(file, "rb");
    if (f == NULL || fseek(f, 0, SEEK_END) != 0) exit(1);
    *bytes = (size_t)ftell(f);
    rewind(f);
    data = malloc(*bytes + 1);
    if (data == NULL || fread(data, 1, *bytes, f) != *bytes) exit(1);
    fclose(f);
    return data;
}

static void log_load(const char *dir)
{
    uint64_t head[4];
    size_t bytes, at = 512;

    free(log_.bytes);
    log_.bytes = slurp(dir, "log", &bytes);
    memcpy(head, log_.bytes, sizeof(head));
    if (log_.entry == NULL)
        log_.entry = calloc(MAX_ENTRIES, sizeof(struct entry));
    log_.count = (unsigned)head[2];
    if (log_.entry == NULL || log_.count > MAX_ENTRIES) exit(1);
    for (unsigned i = 0; i < log_.count; i++) {
        struct entry *x = &log_.entry[i];

        memcpy(x, log_.bytes + at, 32);
        x->data = log_.bytes + at + 512;
        at += 512 + x->data_len;
    }
}

/* Number of entries at this moment. */
static unsigned log_count(const char *dir)
{
    uint64_t head[4] = { 0 };
    char file[200];
    FILE *f;

    snprintf(file, sizeof(file), "%s/log", dir);
    f = fopen(file, "rb");
    if (f == NULL || fread(head, sizeof(head), 1, f) != 1) exit(1);
    fclose(f);
    return (unsigned)head[2];
}

/* ------------------------------------------------------------- one run */

static struct op ops[OPS];
static unsigned begun[OPS], done[OPS]; /* entries logged before and after */
static unsigned ops_run;

static bool run_workload(const char *dir, const struct flavour *f,
                         unsigned seed, struct verdict *v)
{
    struct err e = ERR_INIT;
    struct node *n;
    char log_file[200];
    unsigned hits;

    v->is_bad = false;
    rig_create(dir, f);
    ops_make(ops, OPS, seed, f);
    free(log_.start);
    log_.start = slurp(dir, "disk.qcow2", &log_.start_bytes);
    snprintf(log_file, sizeof(log_file), "%s/log", dir);
    flushes.dir = dir;
    flushes.hits = 0;
    n = rig_open(dir, NULL, log_file, &e);
    if (n == NULL) {
        v->is_bad = true;
        snprintf(v->why, sizeof(v->why), "%s", e.text);
        return false;
    }
    for (ops_run = 0; ops_run < OPS; ops_run++) {
        int rc;

        begun[ops_run] = log_count(dir);
        rc = op_run(n, &ops[ops_run]);
        done[ops_run] = log_count(dir);
        if (rc == 0) continue;
        v->is_bad = true;
        snprintf(v->why, sizeof(v->why), "operation %u: %s", ops_run,
                 strerror(-rc));
        break;
    }
    hits = flushes.hits; /* at closing nothing is promised any more */
    node_unref(n);
    flushes.hits = hits;
    log_load(dir);
    return !v->is_bad;
}

/* ------------------------------------------------------------- replay */

enum mode { NONE, ALL, HALF, TORN, LATE, MODES };
static const char *const mode_names[MODES] = { "none", "all", "half", "torn",
                                               "the last" };

struct picture {
    uint8_t *data;
    size_t bytes, cap;
};

static void grow(struct picture *p, size_t bytes)
{
    if (bytes > p->cap) {
        p->data = realloc(p->data, bytes * 2);
        if (p->data == NULL) exit(1);
        p->cap = bytes * 2;
    }
    if (bytes > p->bytes) {
        memset(p->data + p->bytes, 0, bytes - p->bytes);
        p->bytes = bytes;
    }
}

static void apply(struct picture *p, const struct entry *x, enum mode mode,
                  unsigned *seed)
{
    size_t at = x->sector * 512;

    if (x->flags & LOG_FLUSH) return;
    if (x->flags & LOG_MARK) {
        unsigned long long bytes;

        if (sscanf((const char *)x->data, "truncate %llu", &bytes) != 1) return;
        grow(p, bytes);
        p->bytes = bytes;
        return;
    }
    if (x->flags & LOG_DISCARD) {
        size_t end = at + x->sectors * 512;

        if (end > p->bytes) end = p->bytes;
        if (at < end) memset(p->data + at, 0, end - at);
        return;
    }
    grow(p, at + x->data_len);
    for (size_t i = 0; i < x->data_len; i += 512) {
        if (mode == TORN && rand_r(seed) % 2) continue;
        memcpy(p->data + at + i, x->data + i, 512);
    }
}

/* The file as it is after a cut when cut entries had been sent. */
static void power_cut(const char *dir, unsigned cut, enum mode mode,
                      unsigned seed)
{
    static struct picture p;
    unsigned safe = cut, i;
    char file[200];
    FILE *f;

    p.bytes = 0;
    grow(&p, log_.start_bytes);
    memcpy(p.data, log_.start, log_.start_bytes);
    while (safe > 0 && !(log_.entry[safe - 1].flags & LOG_FLUSH))
        safe--;
    for (i = 0; i < safe; i++)
        apply(&p, &log_.entry[i], ALL, &seed);
    if (mode == LATE && cut > safe) i += (unsigned)rand_r(&seed) % (cut - safe);
    for (; i < cut && mode != NONE; i++) {
        if (mode == ALL || mode == LATE || rand_r(&seed) % 2)
            apply(&p, &log_.entry[i], mode, &seed);
    }
    snprintf(file, sizeof(file), "%s/disk.qcow2", dir);
    f = fopen(file, "wb");
    if (f == NULL || fwrite(p.data, 1, p.bytes, f) != p.bytes || fclose(f) != 0)
        exit(1);
}

static struct model *model_at(const struct flavour *f, unsigned cut)
{
    struct model *m = model_new(f);

    for (unsigned i = 0; i < ops_run && begun[i] <= cut; i++) {
        model_begin(m, &ops[i]);
        if (done[i] <= cut) model_done(m, &ops[i]);
    }
    return m;
}

/* Anywhere; without one of the flushes, soon after it was left out. */
static unsigned pick_cut(unsigned *seed)
{
    unsigned cut = (unsigned)rand_r(seed) % (log_.count + 1);

    if (flushes.hits == 0) return cut;
    cut = flushes.hit[(unsigned)rand_r(seed) % flushes.hits] +
          (unsigned)rand_r(seed) % 4;
    return cut < log_.count ? cut : log_.count;
}

/* Some cuts of the run that is logged; number of bad ones. */
static unsigned cuts(const char *dir, const struct flavour *f, unsigned count,
                     unsigned seed, bool is_quiet, unsigned *made)
{
    unsigned bad = 0;

    for (unsigned i = 0; i < count && log_.count > 0; i++) {
        unsigned cut = pick_cut(&seed);
        enum mode mode = (enum mode)(i % MODES);
        struct model *m = model_at(f, cut);
        struct verdict v;

        power_cut(dir, cut, mode, seed);
        judge(dir, m, &v);
        model_free(m);
        ++*made;
        if (!v.is_bad) continue;
        bad++;
        if (is_quiet) break;
        printf("# cut at write %u of %u, later writes: %s: %s\n", cut,
               log_.count, mode_names[mode], v.why);
    }
    return bad;
}

/* --------------------------------------------------------------- modes */

static int check_cuts(const char *dir, unsigned total, unsigned seed)
{
    unsigned per = (total + flavour_count - 1) / flavour_count, all_bad = 0;

    printf("1..%u\n", flavour_count);
    for (unsigned i = 0; i < flavour_count; i++) {
        const struct flavour *f = &flavours[i];
        unsigned made = 0, bad = 0, run = 0;
        struct verdict v;

        while (made < per) {
            unsigned count =
                per - made < CUTS_PER_RUN ? per - made : CUTS_PER_RUN;

            if (!run_workload(dir, f, seed + i * 100 + run++, &v)) {
                printf("# %s\n", v.why);
                bad++;
                break;
            }
            bad += cuts(dir, f, count, seed + run, false, &made);
        }
        printf("%sok %u - %u power cuts, %s: flushed data are there\n",
               bad ? "not " : "", i + 1, made, f->name);
        fflush(stdout);
        all_bad += bad;
    }
    return all_bad > 0;
}

static const char *site_name(void *site)
{
    static char name[200];
    char **text = backtrace_symbols(&site, 1);

    snprintf(name, sizeof(name), "%s", text == NULL ? "?" : text[0]);
    free(text);
    return strchr(name, '(') != NULL ? strchr(name, '(') : name;
}

enum result { NEVER_MET, MISSED, CAUGHT };

static enum result try_mutant(const char *dir, unsigned total, unsigned seed)
{
    enum result result = NEVER_MET;

    for (unsigned run = 0; run < 3 * flavour_count; run++) {
        const struct flavour *f = &flavours[run % flavour_count];
        struct verdict v;
        unsigned made = 0;

        if (!run_workload(dir, f, seed + run, &v)) return CAUGHT;
        if (flushes.hits == 0) continue;
        result = MISSED;
        if (cuts(dir, f, total, seed + run, true, &made) > 0) return CAUGHT;
    }
    return result;
}

static int check_mutants(const char *dir, unsigned total, unsigned seed)
{
    unsigned bad = 0;
    struct verdict v;

    flushes.is_recording = true;
    for (unsigned i = 0; i < flavour_count; i++)
        run_workload(dir, &flavours[i], seed + i, &v);
    flushes.is_recording = false;
    printf("1..%u\n", flushes.count + 1);
    printf("%sok 1 - the driver flushes somewhere (%u places)\n",
           flushes.count ? "" : "not ", flushes.count);
    for (unsigned i = 0; i < flushes.count; i++) {
        enum result r;

        flushes.dropped = flushes.site[i];
        r = try_mutant(dir, total, seed);
        printf("%sok %u - without the flush at %s data are lost, and it is "
               "noticed%s\n",
               r == MISSED ? "not " : "", i + 2, site_name(flushes.site[i]),
               r == NEVER_MET ? " # SKIP only met when an image is closed"
                              : "");
        fflush(stdout);
        bad += r == MISSED;
    }
    return bad > 0 || flushes.count == 0;
}

int main(int argc, char **argv)
{
    bool is_mutants = argc > 1 && strcmp(argv[1], "--mutants") == 0;
    char dir[] = "/tmp/orrery-power-XXXXXX";
    unsigned total, seed;
    int rc;

    argc -= is_mutants;
    argv += is_mutants;
    total = argc > 1 ? (unsigned)atoi(argv[1]) : is_mutants ? 40 : 500;
    seed = argc > 2 ? (unsigned)atoi(argv[2]) : (unsigned)time(NULL);
    if (rig_system("command -v qemu-img >/dev/null") != 0) {
        printf("1..0 # SKIP qemu-img is missing\n");
        return 0;
    }
    if (mkdtemp(dir) == NULL) return 1;
    printf("# seed %u\n", seed);
    rc = is_mutants ? check_mutants(dir, total, seed)
                    : check_cuts(dir, total, seed);
    rig_system("rm -r %s", dir);
    return rc;
}
