/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Workload of `make bench`: prints one line "R name value unit" per figure, higher
 * is better unless the unit is a time. Arguments: int fp mem os smp [dur=SECONDS] */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>
static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}
static double DUR = 0.7;
static volatile uint64_t sink;
static void rep(const char *n, double v, const char *u)
{
    printf("R %s %.6g %s\n", n, v, u);
    fflush(stdout);
}
#define LOOP(name, unit, scale, ...)                      \
    do {                                                  \
        {                                                 \
            __VA_ARGS__;                                  \
        }                                                 \
        double _s = now(), _b = 0, _e;                    \
        int _k = 0;                                       \
        do {                                              \
            double _t = now();                            \
            uint64_t _n = 0;                              \
            do {                                          \
                {                                         \
                    __VA_ARGS__;                          \
                }                                         \
                asm volatile("" ::: "memory");            \
                _n++;                                     \
                _e = now();                               \
            } while (_e - _t < DUR / 8);                  \
            double _r = _n * (double)(scale) / (_e - _t); \
            if (_r > _b) _b = _r;                         \
            _k++;                                         \
        } while (_e - _s < DUR || _k < 3);                \
        rep(name, _b, unit);                              \
    } while (0)
/* sha256 */
static const uint32_t K[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1,
    0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3,
    0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786,
    0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147,
    0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13,
    0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b,
    0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a,
    0x5b9cca4f, 0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208,
    0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2
};
#define RR(x, n) ((x >> n) | (x << (32 - n)))
__attribute__((noipa)) static void sha(uint32_t *s, const uint8_t *p)
{
    uint32_t w[64];
    for (int i = 0; i < 16; i++)
        w[i] = __builtin_bswap32(((const uint32_t *)p)[i]);
    for (int i = 16; i < 64; i++) {
        uint32_t a = RR(w[i - 15], 7) ^ RR(w[i - 15], 18) ^ (w[i - 15] >> 3),
                 b = RR(w[i - 2], 17) ^ RR(w[i - 2], 19) ^ (w[i - 2] >> 10);
        w[i] = w[i - 16] + a + w[i - 7] + b;
    }
    uint32_t a = s[0], b = s[1], c = s[2], d = s[3], e = s[4], f = s[5],
             g = s[6], h = s[7];
    for (int i = 0; i < 64; i++) {
        uint32_t t1 = h + (RR(e, 6) ^ RR(e, 11) ^ RR(e, 25)) +
                      ((e & f) ^ (~e & g)) + K[i] + w[i],
                 t2 = (RR(a, 2) ^ RR(a, 13) ^ RR(a, 22)) +
                      ((a & b) ^ (a & c) ^ (b & c));
        h = g;
        g = f;
        f = e;
        e = d + t1;
        d = c;
        c = b;
        b = a;
        a = t1 + t2;
    }
    s[0] += a;
    s[1] += b;
    s[2] += c;
    s[3] += d;
    s[4] += e;
    s[5] += f;
    s[6] += g;
    s[7] += h;
}
static uint32_t rng = 12345;
static inline uint32_t rnd(void)
{
    rng ^= rng << 13;
    rng ^= rng >> 17;
    rng ^= rng << 5;
    return rng;
}
static int cmp(const void *a, const void *b)
{
    int x = *(int *)a, y = *(int *)b;
    return (x > y) - (x < y);
}
__attribute__((noipa, optimize("O1"))) static int fib(int n)
{
    return n < 2 ? n : fib(n - 1) + fib(n - 2);
}
/* bytecode interp */
enum { PUSH, ADD, SUB, LD, ST, JNZ, END, XOR };
static uint64_t interp(const int *c, int64_t n)
{
    int64_t st[16], v[4] = { n, 0, 1, 0 };
    int sp = 0;
    uint64_t ops = 0;
    for (const int *p = c;;) {
        ops++;
        switch (*p++) {
        case PUSH: st[sp++] = *p++; break;
        case ADD:
            sp--;
            st[sp - 1] += st[sp];
            break;
        case SUB:
            sp--;
            st[sp - 1] -= st[sp];
            break;
        case XOR:
            sp--;
            st[sp - 1] ^= st[sp];
            break;
        case LD: st[sp++] = v[*p++]; break;
        case ST: v[*p++] = st[--sp]; break;
        case JNZ: {
            int o = *p++;
            if (st[--sp]) p = c + o;
            break;
        }
        case END: sink += v[1]; return ops;
        }
    }
}
static const int prog[] = { LD,   1,  LD,  0,  ADD, ST,  1, LD,   1,
                            PUSH, 3,  XOR, ST, 1,   LD,  0, PUSH, 1,
                            SUB,  ST, 0,   LD, 0,   JNZ, 0, END };
/* dhry-like: records & strings */
struct rec {
    struct rec *n;
    int d, e;
    char s[31];
    int i;
};
static struct rec ra, rb;
static char s1[31], s2[31];
__attribute__((noinline)) static int f7(int a, int b)
{
    return a + 2 + b;
}
__attribute__((noinline)) static int fstr(char *a, char *b)
{
    int i = 2;
    while (i <= 2)
        if (a[i] != b[i + 1])
            i += 1;
        else
            break;
    return strcmp(a, b) > 0;
}
__attribute__((noinline)) static void pr(struct rec *p)
{
    struct rec *n = p->n;
    *n = ra;
    p->i = 5;
    n->i = p->i;
    n->n = p->n;
    n->d = 0;
    n->i = f7(n->i, 10);
    n->e = fstr(s1, s2);
}
static int arr[50][50];
static void dhry(int n)
{
    ra.n = &rb;
    rb.n = &ra;
    strcpy(ra.s, "DHRYSTONE PROGRAM, SOME STRING");
    strcpy(s1, "DHRYSTONE PROGRAM, 1'ST STRING");
    for (int r = 0; r < n; r++) {
        strcpy(s2, "DHRYSTONE PROGRAM, 2'ND STRING");
        int x = 2, y = 3, z = 0;
        int e = !fstr(s1, s2);
        while (x < y) {
            z = 5 * x - y;
            z = f7(x, y);
            x++;
        }
        arr[8][7] = z;
        arr[8][8] = arr[8][7] + e;
        pr(&ra);
        for (int i = 0; i < 5; i++)
            arr[9][i] += x * y / (z | 1);
        sink += z;
    }
}
#define N 96
static double A[N][N], B[N][N], C[N][N];
static long double LA[48][48], LB[48][48], LC[48][48];
__attribute__((noipa)) static void mm(void)
{
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) {
            double s = 0;
            for (int k = 0; k < N; k++)
                s += A[i][k] * B[k][j];
            C[i][j] = s;
        }
}
__attribute__((noipa)) static void mmv(void)
{
    for (int i = 0; i < N; i++) {
        for (int j = 0; j < N; j++)
            C[i][j] = 0;
        for (int k = 0; k < N; k++) {
            double a = A[i][k];
            for (int j = 0; j < N; j++)
                C[i][j] += a * B[k][j];
        }
    }
}
__attribute__((noipa)) static void mml(void)
{
    for (int i = 0; i < 48; i++)
        for (int j = 0; j < 48; j++) {
            long double s = 0;
            for (int k = 0; k < 48; k++)
                s += LA[i][k] * LB[k][j];
            LC[i][j] = s;
        }
    asm volatile("" ::"r"(LC) : "memory");
}
static void nbody(int n)
{
    static double p[5][7];
    static int in;
    if (!in) {
        in = 1;
        for (int i = 0; i < 5; i++)
            for (int j = 0; j < 7; j++)
                p[i][j] = (i + 1) * 0.7 + j * 0.31;
    }
    for (int s = 0; s < n; s++) {
        for (int i = 0; i < 5; i++)
            for (int j = i + 1; j < 5; j++) {
                double dx = p[i][0] - p[j][0], dy = p[i][1] - p[j][1],
                       dz = p[i][2] - p[j][2];
                double d2 = dx * dx + dy * dy + dz * dz + 0.01,
                       m = 1e-5 / (d2 * sqrt(d2));
                p[i][3] -= dx * m;
                p[i][4] -= dy * m;
                p[i][5] -= dz * m;
                p[j][3] += dx * m;
                p[j][4] += dy * m;
                p[j][5] += dz * m;
            }
        for (int i = 0; i < 5; i++) {
            p[i][0] += 1e-3 * p[i][3];
            p[i][1] += 1e-3 * p[i][4];
            p[i][2] += 1e-3 * p[i][5];
        }
    }
    sink += p[0][0] * 1000;
}
static void fillt(uint8_t *b, size_t n)
{
    static const char *w[] = { "the ",    "kernel ",    "virtual ", "machine ",
                               "of ",     "disk ",      "0x1f ",    "page ",
                               "and\n",   "interrupt ", "a ",       "to ",
                               "segment " };
    size_t o = 0;
    while (o < n) {
        const char *s = w[rnd() % 13];
        size_t l = strlen(s);
        if (o + l > n) l = n - o;
        memcpy(b + o, s, l);
        o += l;
    }
}
static void t_int(void)
{
    uint8_t *b = malloc(1 << 20), *z = malloc(2 << 20), *y = malloc(1 << 20);
    fillt(b, 1 << 20);
    LOOP("int.sha256", "MB/s", 0.0625, uint32_t s[8] = { 1 };
         for (int i = 0; i < 65536; i += 64) sha(s, b + i); sink += s[0]);
    uLongf zl = 0;
    LOOP("int.deflate6", "MB/s", 0.125, zl = 2 << 20;
         compress2(z, &zl, b, 131072, 6));
    zl = 2 << 20;
    compress2(z, &zl, b, 1 << 20, 6);
    LOOP("int.inflate", "MB/s", 1, uLongf yl = 1 << 20;
         uncompress(y, &yl, z, zl));
    LOOP("int.crc32", "MB/s", 1, sink += crc32(0, b, 1 << 20));
    int *q = (int *)z;
    LOOP("int.qsort64k", "Melem/s", 0.065536,
         for (int i = 0; i < 65536; i++) q[i] = rnd();
         qsort(q, 65536, 4, cmp));
    LOOP("int.interp", "Mbytecode/s", 1, sink += interp(prog, 83333));
    LOOP("int.fib", "Mcall/s", 0.242785, int fn = 25; asm volatile(""
                                                                   : "+r"(fn));
         sink += fib(fn));
    LOOP("int.dhry", "Mloop/s", 0.02, dhry(20000));
}
static void t_fp(void)
{
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++)
            A[i][j] = i * .5 + j, B[i][j] = i - j * .25;
    for (int i = 0; i < 48; i++)
        for (int j = 0; j < 48; j++)
            LA[i][j] = i * .5 + j, LB[i][j] = i - j * .25;
    LOOP("fp.matmul_scalar", "MFLOP/s", 2e-6 * N * N * N, mm());
    LOOP("fp.matmul_sse2", "MFLOP/s", 2e-6 * N * N * N, mmv());
    LOOP("fp.nbody", "Kstep/s", 1, nbody(1000));
    LOOP("fp.libm_sin", "Mcall/s", .02, double s = 0;
         for (int i = 0; i < 20000; i++) s += sin(i * .37); sink += s);
    LOOP("fp.libm_exp_log_pow", "Mcall/s", .03, double s = 0;
         for (int i = 1; i <= 10000; i++) s +=
         exp(i * 1e-3) + log(i) + pow(i, .33);
         sink += s);
    LOOP("fp.x87_matmul", "MFLOP/s", 2e-6 * 48 * 48 * 48, mml());
    LOOP("fp.x87_sinl", "Mcall/s", .01, long double s = 0;
         for (int i = 0; i < 10000; i++) s += sinl(i * .37L); sink += (int)s);
}
static void t_mem(void)
{
    size_t n = 64 << 20;
    uint8_t *a = mmap(0, n, 3, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
            *b = mmap(0, n, 3, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memset(a, 1, n);
    memset(b, 2, n);
    LOOP("mem.memcpy64M", "MB/s", 64, memcpy(a, b, n));
    LOOP("mem.memset64M", "MB/s", 64, memset(a, 3, n));
    LOOP(
        "mem.rep_movsb4K", "MB/s", 1, for (int i = 0; i < 256; i++) {
            void *d = a, *s = b;
            size_t c = 4096;
            asm volatile("rep movsb" : "+D"(d), "+S"(s), "+c"(c)::"memory");
        });
    LOOP("mem.read64M_u64", "MB/s", 64, uint64_t s = 0;
         for (uint64_t *p = (void *)a; p < (uint64_t *)(a + n); p += 4) s +=
         p[0] + p[1] + p[2] + p[3];
         sink += s);
    size_t m = n / 64;
    uint32_t *ix = malloc(m * 4);
    for (size_t i = 0; i < m; i++)
        ix[i] = i;
    for (size_t i = m - 1; i; i--) {
        size_t j = rnd() % i;
        uint32_t t = ix[i];
        ix[i] = ix[j];
        ix[j] = t;
    }
    for (size_t i = 0; i < m; i++)
        *(void **)(a + 64ul * ix[i]) = a + 64ul * ix[(i + 1) % m];
    LOOP("mem.chase64M", "Mload/s", .1, void **p = (void **)a;
         for (int i = 0; i < 100000; i++) p = *p; sink += (uintptr_t)p);
    m = 4096;
    for (size_t i = 0; i < m; i++)
        ix[i] = i;
    for (size_t i = m - 1; i; i--) {
        size_t j = rnd() % i;
        uint32_t t = ix[i];
        ix[i] = ix[j];
        ix[j] = t;
    }
    for (size_t i = 0; i < m; i++)
        *(void **)(a + 64ul * ix[i]) = a + 64ul * ix[(i + 1) % m];
    LOOP("mem.chase256K", "Mload/s", .1, void **p = (void **)a;
         for (int i = 0; i < 100000; i++) p = *p; sink += (uintptr_t)p);
    munmap(a, n);
    munmap(b, n);
    free(ix);
}
static volatile int sg;
static void onsig(int s)
{
    sg++;
}
static void t_os(const char *self)
{
    LOOP("os.getppid", "K/s", 2,
         for (int i = 0; i < 2000; i++) syscall(SYS_getppid));
    LOOP("os.clock_gettime", "K/s", 2, struct timespec t;
         for (int i = 0; i < 2000; i++) clock_gettime(CLOCK_MONOTONIC, &t));
    {
        int p[2], q[2];
        if (pipe(p) || pipe(q)) return;
        pid_t c = fork();
        char x = 0;
        if (!c) {
            close(p[1]);
            close(q[0]);
            while (read(p[0], &x, 1) == 1)
                if (write(q[1], &x, 1) != 1) break;
            _exit(0);
        }
        close(p[0]);
        close(q[1]);
        LOOP(
            "os.pipe_pingpong", "Krt/s", .2, for (int i = 0; i < 200; i++) {
                write(p[1], &x, 1);
                read(q[0], &x, 1);
            });
        close(p[1]);
        close(q[0]);
        waitpid(c, 0, 0);
    }
    LOOP("os.fork_exit_wait", "/s", 1, pid_t c = fork(); if (!c) _exit(0);
         waitpid(c, 0, 0));
    LOOP(
        "os.fork_exec_wait", "/s", 1, pid_t c = fork(); if (!c) {
            execl(self, self, "true", (char *)0);
            _exit(1);
        } waitpid(c, 0, 0));
    LOOP("os.pagefault", "Kfault/s", 4.096,
         char *a = mmap(0, 16 << 20, 3, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
         madvise(a, 16 << 20, MADV_NOHUGEPAGE);
         for (int i = 0; i < 4096; i++) a[i * 4096] = 1; munmap(a, 16 << 20));
    LOOP(
        "os.mmap_munmap", "Kpair/s", .2, for (int i = 0; i < 200; i++) {
            char *a = mmap(0, 4096, 3, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            a[0] = 1;
            munmap(a, 4096);
        });
    signal(SIGUSR1, onsig);
    LOOP("os.signal_self", "K/s", .2,
         for (int i = 0; i < 200; i++) raise(SIGUSR1));
    LOOP("os.sched_yield", "K/s", 1,
         for (int i = 0; i < 1000; i++) sched_yield());
    {
        int f = open("/dev/zero", O_RDONLY);
        static char zb[65536];
        LOOP("os.read_zero64K", "MB/s", 6.25,
             for (int i = 0; i < 100; i++) read(f, zb, 65536));
        close(f);
    }
    {
        int f = open("/proc/self/stat", O_RDONLY);
        char zb[1024];
        LOOP("os.read_procstat", "K/s", .1,
             for (int i = 0; i < 100; i++) pread(f, zb, 1024, 0));
        close(f);
    }
}
static void *th(void *x)
{
    double t = now();
    uint64_t n = 0;
    while (now() - t < DUR * 1.5) {
        sha((uint32_t[8]){ 1 }, (uint8_t *)K);
        for (int i = 0; i < 200; i++) {
            uint32_t s[8] = { i };
            sha(s, (uint8_t *)K);
        }
        n += 200;
    }
    *(double *)x = n * 64 / 1e6 / (DUR * 1.5);
    return 0;
}
static pthread_mutex_t mx = PTHREAD_MUTEX_INITIALIZER;
static uint64_t cnt, at;
static void *thm(void *x)
{
    for (int i = 0; i < 100000; i++) {
        pthread_mutex_lock(&mx);
        cnt++;
        pthread_mutex_unlock(&mx);
        __atomic_fetch_add(&at, 1, 5);
    }
    return 0;
}
static void t_smp(void)
{
    for (int k = 1; k <= 2; k++) {
        pthread_t t[2];
        double r[2] = { 0 };
        for (int i = 0; i < k; i++)
            pthread_create(&t[i], 0, th, &r[i]);
        for (int i = 0; i < k; i++)
            pthread_join(t[i], 0);
        char nm[32];
        sprintf(nm, "smp.sha256_%dthr", k);
        rep(nm, r[0] + r[1], "MB/s");
    }
    for (int k = 1; k <= 2; k++) {
        pthread_t t[2];
        double s = now();
        for (int i = 0; i < k; i++)
            pthread_create(&t[i], 0, thm, 0);
        for (int i = 0; i < k; i++)
            pthread_join(t[i], 0);
        char nm[32];
        sprintf(nm, "smp.mutex_%dthr", k);
        rep(nm, k * .1 / (now() - s), "Mlock/s");
    }
}
/* An empty disk: grows, is filled, then read and written again. */
static void t_disk(const char *tag, const char *path)
{
    int f = open(path, O_RDWR | O_DIRECT);
    if (f < 0) {
        printf("X open %s %d\n", path, errno);
        return;
    }
    size_t sz = lseek(f, 0, SEEK_END);
    char *b = mmap(0, 1 << 20, 3, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char nm[64];
    size_t o = 0;
    memset(b, 0x5a, 1 << 20);
#define DISK(what, unit, scale, n, call)      \
    sprintf(nm, "disk.%s_%s", tag, what);     \
    o = 0;                                    \
    LOOP(                                     \
        nm, unit, scale, for (int i = 0; i < (n); i++) call)
#define AT(bytes) (o = (o + (bytes)) % (sz & ~((size_t)(bytes)-1)))
#define RANDOM ((rnd() % (sz / 4096)) * 4096ul)
    DISK("4k_rand_write_growing", "KIOPS", .016, 16,
         pwrite(f, b, 4096, RANDOM));
    for (size_t at = 0; at + (1 << 20) <= sz; at += 1 << 20)
        pwrite(f, b, 1 << 20, at);
    DISK("4k_rand_read", "KIOPS", .016, 16, pread(f, b, 4096, RANDOM));
    DISK("4k_rand_write", "KIOPS", .016, 16, pwrite(f, b, 4096, RANDOM));
    DISK("4k_seq_read", "KIOPS", .016, 16, pread(f, b, 4096, AT(4096)));
    DISK("64k_seq_read", "MB/s", .065536 * 4, 4, pread(f, b, 65536, AT(65536)));
    DISK("64k_seq_write", "MB/s", .065536 * 4, 4,
         pwrite(f, b, 65536, AT(65536)));
    DISK("1M_seq_read", "MB/s", 1.048576, 1, pread(f, b, 1 << 20, AT(1 << 20)));
    DISK("1M_seq_write", "MB/s", 1.048576, 1,
         pwrite(f, b, 1 << 20, AT(1 << 20)));
    close(f);
}
static void t_net(const char *ip, int port)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(port) };
    inet_aton(ip, &a.sin_addr);
    int s = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(s, (void *)&a, sizeof a)) {
        printf("X connect %d\n", errno);
        return;
    }
    static char b[65536];
    /* phase 1: receive 2 s; phase 2: rr */
    b[0] = 'R';
    write(s, b, 1);
    double t = now();
    uint64_t n = 0;
    while (now() - t < 2) {
        ssize_t r = read(s, b, 65536);
        if (r <= 0) break;
        n += r;
    }
    rep("net.recv", n / 1e6 / (now() - t), "MB/s");
    close(s);
    s = socket(AF_INET, SOCK_STREAM, 0);
    connect(s, (void *)&a, sizeof a);
    b[0] = 'S';
    write(s, b, 1);
    t = now();
    n = 0;
    while (now() - t < 2) {
        ssize_t r = write(s, b, 65536);
        if (r <= 0) break;
        n += r;
    }
    rep("net.send", n / 1e6 / (now() - t), "MB/s");
    close(s);
    s = socket(AF_INET, SOCK_STREAM, 0);
    connect(s, (void *)&a, sizeof a);
    b[0] = 'P';
    write(s, b, 1);
    LOOP(
        "net.rr", "K/s", .02, for (int i = 0; i < 20; i++) {
            write(s, b, 1);
            read(s, b, 1);
        });
    close(s);
}
static void srv(int port)
{
    struct sockaddr_in a = { .sin_family = AF_INET,
                             .sin_port = htons(port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int l = socket(AF_INET, SOCK_STREAM, 0), o = 1;
    setsockopt(l, SOL_SOCKET, SO_REUSEADDR, &o, 4);
    bind(l, (void *)&a, sizeof a);
    listen(l, 8);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGCHLD, SIG_IGN);
    static char b[65536];
    for (;;) {
        int s = accept(l, 0, 0);
        if (s < 0) continue;
        if (!fork()) {
            char c;
            if (read(s, &c, 1) != 1) _exit(0);
            if (c == 'R')
                while (write(s, b, 65536) > 0)
                    ;
            else if (c == 'S')
                while (read(s, b, 65536) > 0)
                    ;
            else
                while (read(s, &c, 1) == 1)
                    write(s, &c, 1);
            _exit(0);
        }
        close(s);
    }
}
int main(int c, char **v)
{
    setvbuf(stdout, 0, _IOLBF, 0);
    if (c > 1 && !strcmp(v[1], "true")) return 0;
    if (c > 1 && !strcmp(v[1], "srv")) {
        srv(atoi(v[2]));
    }
    if (c > 1 && !strcmp(v[1], "net")) {
        t_net(v[2], atoi(v[3]));
        return 0;
    }
    if (c > 1 && !strcmp(v[1], "disk")) {
        t_disk(v[2], v[3]);
        return 0;
    }
    for (int i = 1; i < c; i++) {
        if (!strcmp(v[i], "int"))
            t_int();
        else if (!strcmp(v[i], "fp"))
            t_fp();
        else if (!strcmp(v[i], "mem"))
            t_mem();
        else if (!strcmp(v[i], "os"))
            t_os("/proc/self/exe");
        else if (!strcmp(v[i], "smp"))
            t_smp();
        else if (!strncmp(v[i], "dur=", 4))
            DUR = atof(v[i] + 4);
    }
    return 0;
}
