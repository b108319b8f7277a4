/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/support/cpu_signal.h"

#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <ucontext.h>

/* core/cpu/emulate.h cannot be included here: its register names are
 * glibc's too. */
bool cpu_native_fault(struct cpu *c, int signo, uint64_t *host_rip);

enum { STACK_BYTES = 64 << 10 };
static const int caught[] = { SIGILL, SIGFPE, SIGSEGV, SIGBUS, SIGTRAP };

static struct cpu *cpu;
static sigjmp_buf env;
static volatile sig_atomic_t is_inside, vector;
static uint8_t *stack;

static void handle(int sig, siginfo_t *info, void *context)
{
    ucontext_t *uc = context;
    uint64_t *rip = (uint64_t *)&uc->uc_mcontext.gregs[REG_RIP];
    (void)info;
    if (is_inside) {
        is_inside = 0;
        vector = (sig_atomic_t)uc->uc_mcontext.gregs[REG_TRAPNO];
        siglongjmp(env, sig);
    }
    if (cpu_native_fault(cpu, sig, rip)) return;
    signal(sig, SIG_DFL); /* a fault of the test itself */
}

void signals_open(struct cpu *c)
{
    cpu = c;
    stack = malloc(STACK_BYTES);
    stack_t st = { .ss_sp = stack, .ss_size = STACK_BYTES };
    struct sigaction sa = { .sa_sigaction = handle,
                            .sa_flags = SA_SIGINFO | SA_ONSTACK };
    if (!stack || sigaltstack(&st, NULL) < 0) abort();
    for (unsigned n = 0; n < sizeof(caught) / sizeof(caught[0]); n++) {
        sigaction(caught[n], &sa, NULL);
    }
}

void signals_close(void)
{
    stack_t st = { .ss_flags = SS_DISABLE };
    for (unsigned n = 0; n < sizeof(caught) / sizeof(caught[0]); n++) {
        signal(caught[n], SIG_DFL);
    }
    sigaltstack(&st, NULL);
    free(stack);
    stack = NULL;
}

int signals_vector(void)
{
    return vector;
}

int signals_call(void (*fn)(void))
{
    int sig = sigsetjmp(env, 1);
    if (sig) return sig;
    is_inside = 1;
    fn();
    is_inside = 0;
    return 0;
}
