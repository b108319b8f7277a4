/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/soft/host_signal.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

enum { ALT_STACK_BYTES = 64 << 10 };

static const int signals[] = { SIGFPE, SIGILL, SIGSEGV, SIGBUS };

/* Encoding order: AX CX DX BX SP BP SI DI, R8..R15 */
static const int greg_of[16] = {
    REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
    REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15,
};

static void handle(int sig, siginfo_t *info, void *context)
{
    ucontext_t *uc = context;
    greg_t *r = uc->uc_mcontext.gregs;
    struct host_fault f = {
        .signo = sig,
        .rip = (uint64_t)r[REG_RIP],
        .flags = (uint64_t)r[REG_EFL],
    };

    (void)info;
    for (int i = 0; i < 16; i++)
        f.gpr[i] = (uint64_t)r[greg_of[i]];
    if (soft_host_fault(&f)) {
        r[REG_RIP] = (greg_t)f.rip;
        r[REG_EFL] = (greg_t)f.flags;
        return;
    }
    /* Not ours: the fault happens again and kills. */
    signal(sig, SIG_DFL);
}

int host_signal_install(struct err *e)
{
    struct sigaction a;

    memset(&a, 0, sizeof(a));
    a.sa_sigaction = handle;
    a.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
    sigemptyset(&a.sa_mask);
    for (unsigned i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
        if (sigaction(signals[i], &a, NULL) < 0) {
            return err_set(e, -errno, "sigaction: %s", strerror(errno));
        }
    }
    return 0;
}

void *host_signal_stack_new(void)
{
    stack_t st = { .ss_size = ALT_STACK_BYTES };

    st.ss_sp = malloc(ALT_STACK_BYTES);
    if (!st.ss_sp) return NULL;
    if (sigaltstack(&st, NULL) == 0) return st.ss_sp;
    free(st.ss_sp);
    return NULL;
}

void host_signal_stack_free(void *stack)
{
    stack_t st = { .ss_flags = SS_DISABLE };

    sigaltstack(&st, NULL);
    free(stack);
}
