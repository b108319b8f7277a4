/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * kill -9: a child works on an image and reports each operation before and
 * after over a pipe; at a random moment it is killed.  The image that is left
 * must hold everything that was flushed, and be consistent but for leaks.
 * usage: crash_kill [KILLS [SEED]]
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/crash/rig.h"

struct report {
    uint32_t op;
    int32_t is_done;
};

static void work(const char *dir, const struct op *ops, int out)
{
    struct err e = ERR_INIT;
    struct node *n = rig_open(dir, NULL, NULL, &e);

    if (n == NULL) _exit(3);
    for (uint32_t i = 0; i < RIG_MAX_OPS; i++) {
        struct report r = { i, 0 };

        if (write(out, &r, sizeof(r)) != sizeof(r)) _exit(4);
        if (op_run(n, &ops[i]) < 0) _exit(5);
        r.is_done = 1;
        if (write(out, &r, sizeof(r)) != sizeof(r)) _exit(4);
    }
    _exit(0);
}

/* One image, killed once.  Counts the operations that were done. */
static unsigned kill_once(const char *dir, const struct flavour *f,
                          unsigned seed, struct verdict *v)
{
    static struct op ops[RIG_MAX_OPS];
    struct model *m = model_new(f);
    struct report r;
    unsigned done = 0;
    int pipes[2], status;
    pid_t child;

    rig_create(dir, f);
    ops_make(ops, RIG_MAX_OPS, seed, f);
    if (pipe(pipes) < 0) exit(1);
    child = fork();
    if (child == 0) {
        close(pipes[0]);
        work(dir, ops, pipes[1]);
    }
    close(pipes[1]);
    {
        long ms = 5 + rand_r(&seed) % 145;
        uint64_t end = rig_now_ms() + (uint64_t)ms;

        /* The pipe must not fill up meanwhile. */
        while (rig_now_ms() < end) {
            if (read(pipes[0], &r, sizeof(r)) != sizeof(r)) break;
            if (r.is_done)
                model_done(m, &ops[r.op]), done++;
            else
                model_begin(m, &ops[r.op]);
        }
    }
    kill(child, SIGKILL);
    while (read(pipes[0], &r, sizeof(r)) == sizeof(r)) {
        if (r.is_done)
            model_done(m, &ops[r.op]), done++;
        else
            model_begin(m, &ops[r.op]);
    }
    close(pipes[0]);
    waitpid(child, &status, 0);
    v->is_bad = false;
    if (WIFEXITED(status) && WEXITSTATUS(status) != 0) {
        v->is_bad = true;
        snprintf(v->why, sizeof(v->why), "the child failed with status %d",
                 WEXITSTATUS(status));
    } else {
        judge(dir, m, v);
    }
    model_free(m);
    return done;
}

int main(int argc, char **argv)
{
    unsigned kills = argc > 1 ? (unsigned)atoi(argv[1]) : 200;
    unsigned seed = argc > 2 ? (unsigned)atoi(argv[2]) : (unsigned)time(NULL);
    char dir[] = "/tmp/orrery-crash-XXXXXX";
    unsigned bad = 0, done = 0,
             per = (kills + flavour_count - 1) / flavour_count;

    if (rig_system("command -v qemu-img >/dev/null") != 0) {
        printf("1..0 # SKIP qemu-img is missing\n");
        return 0;
    }
    if (mkdtemp(dir) == NULL) return 1;
    printf("# seed %u\n1..%u\n", seed, flavour_count);
    for (unsigned i = 0; i < flavour_count; i++) {
        struct verdict v = { .is_bad = false };
        unsigned failed = 0, ops = 0;

        for (unsigned k = 0; k < per; k++) {
            ops += kill_once(dir, &flavours[i], seed + i * 1000 + k, &v);
            if (!v.is_bad) continue;
            failed++;
            printf("# kill %u (seed %u): %s\n", k, seed + i * 1000 + k, v.why);
        }
        printf("%sok %u - %u kills, %s: flushed data are there (%u "
               "operations)\n",
               failed ? "not " : "", i + 1, per, flavours[i].name, ops);
        fflush(stdout);
        bad += failed;
        done += ops;
    }
    rig_system("rm -r %s", dir);
    return bad > 0 || done == 0;
}
