/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Stands in for libFuzzer where there is none: runs a target on its seeds, then
 * on mutations of them for a time.
 *
 *     fuzz_X [-t SECONDS] [-s SEED] FILE-OR-DIRECTORY...
 *
 * Repeats exactly for the same seed and number of runs.  The input being run
 * is kept in a file named crash-X beside the caller, removed at a good end, so
 * that what ends the process is left behind.
 */
#include <dirent.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

enum { MAX_BYTES = 4096, MAX_SEEDS = 4096 };

struct input {
    uint8_t data[MAX_BYTES];
    size_t bytes;
};

struct driver {
    struct input *seed[MAX_SEEDS];
    unsigned seeds;
    uint64_t random;
    uint8_t *kept; /* mapped file: length, then the input */
    unsigned long runs;
};

static uint64_t next(struct driver *d) /* xorshift64 */
{
    d->random ^= d->random << 13;
    d->random ^= d->random >> 7;
    d->random ^= d->random << 17;
    return d->random;
}

static size_t below(struct driver *d, size_t n)
{
    return n > 0 ? (size_t)(next(d) % n) : 0;
}

static void add_file(struct driver *d, const char *path)
{
    struct input *in = calloc(1, sizeof(*in));
    FILE *f = fopen(path, "rb");

    if (in == NULL || f == NULL || d->seeds == MAX_SEEDS) {
        fprintf(stderr, "%s: cannot be read\n", path);
        exit(2);
    }
    in->bytes = fread(in->data, 1, MAX_BYTES, f);
    fclose(f);
    d->seed[d->seeds++] = in;
}

static void add(struct driver *d, const char *path)
{
    struct dirent **list = NULL;
    int n = scandir(path, &list, NULL, alphasort);
    char file[4096];

    if (n < 0) {
        add_file(d, path);
        return;
    }
    for (int i = 0; i < n; i++) {
        snprintf(file, sizeof(file), "%s/%s", path, list[i]->d_name);
        if (list[i]->d_name[0] != '.') add_file(d, file);
        free(list[i]);
    }
    free(list);
}

static void remove_at(struct input *in, size_t at, size_t n)
{
    memmove(in->data + at, in->data + at + n, in->bytes - at - n);
    in->bytes -= n;
}

static void insert_at(struct input *in, size_t at, const uint8_t *p, size_t n)
{
    if (n > MAX_BYTES - in->bytes) n = MAX_BYTES - in->bytes;
    memmove(in->data + at + n, in->data + at, in->bytes - at);
    memcpy(in->data + at, p, n);
    in->bytes += n;
}

static void mutate_once(struct driver *d, struct input *in)
{
    static const char odd[] = "\0\xff\x7f\x80\n\r\t \"'\\/{}[]():,;|$%-+0";
    const struct input *other = d->seed[below(d, d->seeds)];
    size_t at = below(d, in->bytes + 1), from = below(d, other->bytes);
    uint8_t octet = (uint8_t)next(d);

    switch (below(d, 7)) {
    case 0:
        if (at < in->bytes) in->data[at] ^= (uint8_t)(1u << below(d, 8));
        break;
    case 1:
        if (at < in->bytes) in->data[at] = octet;
        break;
    case 2:
        if (at < in->bytes)
            in->data[at] = (uint8_t)odd[below(d, sizeof(odd) - 1)];
        break;
    case 3: insert_at(in, at, &octet, 1); break;
    case 4: remove_at(in, at, below(d, in->bytes - at + 1)); break;
    case 5: /* a piece of another */
        insert_at(in, at, other->data + from, below(d, other->bytes - from));
        break;
    default: { /* a piece of itself, again */
        struct input copy = *in;

        from = below(d, copy.bytes);
        insert_at(in, at, copy.data + from, below(d, copy.bytes - from));
    }
    }
}

static void run(struct driver *d, const struct input *in)
{
    uint64_t n = in->bytes;

    memcpy(d->kept, &n, sizeof(n));
    memcpy(d->kept + sizeof(n), in->data, in->bytes);
    d->runs++;
    LLVMFuzzerTestOneInput(in->data, in->bytes);
}

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void open_kept(struct driver *d, const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    size_t bytes = MAX_BYTES + sizeof(uint64_t);
    void *p;

    if (fd < 0 || ftruncate(fd, (off_t)bytes) < 0 ||
        (p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)) ==
            MAP_FAILED) {
        perror(path);
        exit(2);
    }
    close(fd);
    d->kept = p;
}

int main(int argc, char **argv)
{
    struct driver *d = calloc(1, sizeof(*d));
    double seconds = 5, end;
    char kept[256];
    int i = 1;

    if (d == NULL) return 2;
    d->random = 0x9e3779b97f4a7c15u;
    for (; i + 1 < argc && argv[i][0] == '-'; i += 2) {
        if (strcmp(argv[i], "-t") == 0) seconds = strtod(argv[i + 1], NULL);
        if (strcmp(argv[i], "-s") == 0)
            d->random ^= strtoull(argv[i + 1], NULL, 0) << 1;
    }
    for (; i < argc; i++)
        add(d, argv[i]);
    if (d->seeds == 0) {
        fprintf(stderr, "usage: %s [-t SECONDS] [-s SEED] SEEDS...\n", argv[0]);
        return 2;
    }
    snprintf(kept, sizeof(kept), "crash-%s", basename(argv[0]));
    open_kept(d, kept);
    for (unsigned n = 0; n < d->seeds; n++)
        run(d, d->seed[n]);
    end = now() + seconds;
    while (now() < end) {
        struct input in = *d->seed[below(d, d->seeds)];

        for (size_t n = 1 + below(d, 8); n > 0; n--)
            mutate_once(d, &in);
        run(d, &in);
    }
    unlink(kept);
    printf("%lu runs\n", d->runs);
    for (unsigned n = 0; n < d->seeds; n++)
        free(d->seed[n]);
    free(d);
    return 0;
}
