/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The signal that interrupts KVM_RUN.  Apart from the rest because signal.h
 * claims the names of the registers for itself. */
#include <pthread.h>
#include <signal.h>

void kvm_signals_init(void);
void kvm_signal_thread(pthread_t thread);

static void on_signal(int sig)
{
    (void)sig; /* only to make KVM_RUN return */
}

void kvm_signals_init(void)
{
    struct sigaction sa = { .sa_handler = on_signal };

    sigaction(SIGUSR1, &sa, NULL);
}

void kvm_signal_thread(pthread_t thread)
{
    pthread_kill(thread, SIGUSR1);
}
