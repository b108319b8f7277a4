/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/soft/engine.h"

#include <cpuid.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <x86intrin.h>

#include "core/cpu/emulate.h"
#include "core/soft/code.h"
#include "core/soft/host_signal.h"
#include "core/soft/verify.h"
#include "core/vm/mem.h"
#include "core/vm/vm.h"

/* Making and unmaking of the engine; nothing here runs with guest state. */

enum { CACHE_DEFAULT = 128 << 20, CACHE_MIN = 4 << 20, CACHE_MAX = 1 << 30 };

static int parse_switch(const char *name, const char *value, bool *out,
                        struct err *e)
{
    if (strcmp(value, "on") == 0) {
        *out = true;
    } else if (strcmp(value, "off") == 0) {
        *out = false;
    } else {
        return err_set(e, -EINVAL, "%s=%s: not on or off", name, value);
    }
    return 0;
}

static int parse_one(struct soft_options *o, const char *name,
                     const char *value, struct err *e)
{
    bool is_on = false;
    int rc;

    if (strcmp(name, "translate") == 0) {
        rc = parse_switch(name, value, &is_on, e);
        if (rc == 0) o->is_interpreted = !is_on;
        return rc;
    }
    if (strcmp(name, "verify") == 0) {
        return parse_switch(name, value, &o->is_verified, e);
    }
    if (strcmp(name, "hot") == 0 && strcmp(value, "all") == 0) {
        o->is_all_hot = true;
        return 0;
    }
    if (strcmp(name, "group") == 0) {
        rc = parse_switch(name, value, &is_on, e);
        if (rc == 0) o->is_ungrouped = !is_on;
        return rc;
    }
    if (strcmp(name, "tb-size") == 0) {
        char *end;
        unsigned long v = strtoul(value, &end, 10);
        if (end == value || *end || v < CACHE_MIN >> 20 ||
            v > CACHE_MAX >> 20) {
            return err_set(e, -EINVAL, "tb-size=%s: not 4 to 1024", value);
        }
        o->cache_bytes = (unsigned)v << 20;
        return 0;
    }
    return err_set(e, -EINVAL, "accelerator soft has no option %s", name);
}

int soft_options_parse(struct soft_options *o, const char *text, struct err *e)
{
    char *copy, *at, *word;
    int rc = 0;

    *o = (struct soft_options){ .cache_bytes = CACHE_DEFAULT };
    if (!text) return 0;
    copy = at = strdup(text);
    if (!copy) return err_set(e, -ENOMEM, "out of memory");
    while (rc == 0 && (word = strsep(&at, ","))) {
        char *value = strchr(word, '=');
        if (!*word) continue;
        if (value) *value++ = '\0';
        rc = parse_one(o, word, value ? value : "on", e);
    }
    free(copy);
    return rc;
}

/* getauxval(AT_HWCAP2) bit: the kernel lets us write the GS base. */
enum { HWCAP2_FSGSBASE_BIT = 2 };

int soft_probe(struct err *e)
{
    unsigned a, b, c, d;

    if (!(getauxval(AT_HWCAP2) & HWCAP2_FSGSBASE_BIT)) {
        return err_set(e, -ENOTSUP,
                       "the software CPU needs FSGSBASE (Linux 5.9 and a "
                       "processor of 2012 or later)");
    }
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(b & bit_BMI2) ||
        !(b & bit_AVX2)) {
        return err_set(e, -ENOTSUP,
                       "the software CPU needs a host with AVX2 and BMI2");
    }
    return 0;
}

int soft_vm_open(struct vm *vm, const struct soft_options *o,
                 struct soft_vm **out, struct err *e)
{
    struct soft_vm *s;
    int rc = soft_probe(e);

    if (rc < 0) return rc;
    s = calloc(1, sizeof(*s));
    if (!s) return err_set(e, -ENOMEM, "out of memory");
    s->vm = vm;
    s->options = *o;
    if (!s->options.cache_bytes) s->options.cache_bytes = CACHE_DEFAULT;
    rc = code_open(s, e);
    if (rc < 0) goto free_vm;
    if (o->is_verified && s->cache) {
        s->turn = verify_turn_new();
        if (!s->turn) {
            rc = err_set(e, -ENOMEM, "out of memory");
            goto close_code;
        }
    }
    rc = host_signal_install(e);
    if (rc < 0) goto free_turn;
    *out = s;
    return 0;
free_turn:
    verify_turn_free(s->turn);
close_code:
    code_close(s);
free_vm:
    free(s);
    return rc;
}

void soft_vm_close(struct soft_vm *s)
{
    if (!s) return;
    verify_turn_free(s->turn);
    code_close(s);
    free(s);
}

int soft_vcpu_open(struct soft_vm *s, struct vcpu *v,
                   const struct cpu_model *model, struct engine **out,
                   struct err *e)
{
    struct engine *eng;

    if (s->engine_count == sizeof(s->engines) / sizeof(s->engines[0])) {
        return err_set(e, -ERANGE, "too many CPUs");
    }
    eng = mmap(NULL, sizeof(*eng), PROT_READ | PROT_WRITE,
               MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (eng == MAP_FAILED) return err_set(e, -ENOMEM, "out of memory");
    eng->soft = s;
    eng->v = v;
    eng->ibt_miss = code_miss_address(s);
    eng->arith_mask = FLAGS_ARITH;
    for (unsigned i = 0; i < 3; i++)
        eng->bit_mask[i] = (16u << i) - 1;
    eng->ibt_mask = (uint64_t)(IBT_ENTRIES - 1) << 1;
    eng->is_outside = true;
    eng->is_mode_stale = true;
    eng->cpu.ops = &soft_cpu_ops;
    eng->is_outside = true;
    eng->cpu.model = model;
    eng->cpu.vcpu = v;
    eng->cpu.engine = eng;
    eng->cpu.index = v->index;
    eng->tsc_offset = -__rdtsc();
    if (s->options.is_verified && s->cache) {
        eng->verify = verify_new();
        if (!eng->verify) {
            munmap(eng, sizeof(*eng));
            return err_set(e, -ENOMEM, "out of memory");
        }
    }
    tlb_init(eng);
    cpu_reset(&eng->cpu);
    s->engines[s->engine_count++] = eng;
    v->engine = eng;
    v->cpu = &eng->cpu;
    v->kick = soft_kick;
    *out = eng;
    return 0;
}

void soft_vcpu_close(struct engine *eng)
{
    struct soft_vm *s;

    if (!eng) return;
    s = eng->soft;
    for (unsigned i = 0; i < s->engine_count; i++) {
        if (s->engines[i] != eng) continue;
        s->engines[i] = s->engines[--s->engine_count];
        break;
    }
    eng->v->engine = NULL;
    cpu_native_close(&eng->cpu);
    verify_free(eng->verify);
    munmap(eng, sizeof(*eng));
}

const char *soft_error(const struct engine *eng)
{
    return eng->error;
}

const struct vm_stop *soft_stop(const struct engine *eng)
{
    return &eng->stop;
}

void soft_fail(struct engine *eng, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(eng->error, sizeof(eng->error), fmt, ap);
    va_end(ap);
}

void soft_state_changed(struct engine *eng)
{
    tlb_view_changed(eng); /* it may be in SMM now */
    eng->is_mode_stale = true;
    atomic_store(&eng->attn, 1);
}

void soft_view_changed(struct soft_vm *s)
{
    for (unsigned i = 0; i < s->engine_count; i++) {
        tlb_init(s->engines[i]);
    }
}

void soft_code_written(struct soft_vm *s, uint64_t gpa, uint64_t bytes)
{
    while (bytes > 0) {
        const struct mem_frag *f = mem_find(s->vm, gpa);
        uint64_t n = PAGE_BYTES - (gpa & (PAGE_BYTES - 1));
        if (n > bytes) n = bytes;
        if (f && f->host && gpa >= f->start && gpa - f->start < f->size) {
            code_written(s, f->host + (gpa - f->start), n);
        }
        gpa += n;
        bytes -= n;
    }
}

void soft_host_written(struct soft_vm *s, const uint8_t *host, uint64_t bytes)
{
    while (bytes > 0) {
        uint64_t n = PAGE_BYTES - ((uint64_t)host & (PAGE_BYTES - 1));
        if (n > bytes) n = bytes;
        code_written(s, host, n);
        host += n;
        bytes -= n;
    }
}

void soft_set_tsc(struct engine *eng, uint64_t v)
{
    eng->tsc_offset = 0;
    eng->tsc_offset = v - soft_tsc(eng);
}

void soft_set_tsc_khz(struct soft_vm *s, uint64_t khz, uint64_t host_khz)
{
    uint64_t ratio =
        khz == host_khz ? 0
                        : (uint64_t)(((unsigned __int128)khz << 48) / host_khz);

    for (unsigned i = 0; i < s->engine_count; i++)
        s->engines[i]->tsc_ratio = ratio;
    code_reset(s); /* RDTSC may be part of it */
}

void soft_print_stats(struct soft_vm *s, char *text, size_t cap)
{
    size_t n = code_print_stats(s, text, cap);

    for (unsigned i = 0; i < s->engine_count && n < cap; i++) {
        struct engine *g = s->engines[i];
        int k = snprintf(
            text + n, cap - n,
            "CPU %u: %llu entries, %llu lookups, %llu emulated, "
            "%llu TLB fills, %llu flushes, %llu page flushes, "
            "%llu changes of PCID (%llu to one kept), "
            "%llu interrupts, %llu host signals, %llu stores to code\n",
            g->cpu.index, (unsigned long long)g->stat.entries,
            (unsigned long long)g->stat.lookups,
            (unsigned long long)g->stat.emulated,
            (unsigned long long)g->stat.fills,
            (unsigned long long)g->stat.flushes,
            (unsigned long long)g->stat.page_flushes,
            (unsigned long long)g->stat.switches,
            (unsigned long long)g->stat.restored,
            (unsigned long long)g->stat.interrupts,
            (unsigned long long)g->stat.signals,
            (unsigned long long)g->stat.code_stores);
        if (k > 0) n += (size_t)k;
        if (g->verify && n < cap) n += verify_print_stats(g, text + n, cap - n);
    }
}
