/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A process that is killed, or aborts on any of its threads, cannot put its
 * terminal back; signal handlers would also collide with the software CPU's.
 * So a small shell waits on a pipe: a line means all is well, end of file
 * means that we died, and then it restores the terminal.
 */
#include <curses.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <term.h>
#include <unistd.h>

#include "ui/display/term_int.h"

extern char **environ;

/* Standard input: the pipe; standard output: the terminal; $1: sequences. */
static char script[] = "trap '' TTOU HUP INT TERM QUIT TSTP\n"
                       "read -r x && exit 0\n"
                       "stty sane <&1 2>/dev/null\n"
                       "printf '%s\\r\\n' \"$1\"\n";

static void append(char *buf, size_t cap, const char *s)
{
    if (s != NULL && s != (char *)-1 && strlen(buf) + strlen(s) < cap)
        strcat(buf, s);
}

static int spawn(struct term_guard *g, int read_fd, int out_fd, char *sequences)
{
    char *argv[] = { "sh", "-c", script, "orrery-guard", sequences, NULL };
    posix_spawn_file_actions_t fa;
    posix_spawnattr_t attr;
    sigset_t none;
    int rc;

    posix_spawn_file_actions_init(&fa);
    posix_spawn_file_actions_adddup2(&fa, read_fd, 0);
    posix_spawn_file_actions_adddup2(&fa, out_fd, 1);
    /* locks, disks and sockets are none of its business */
    posix_spawn_file_actions_addclosefrom_np(&fa, 3);
    posix_spawnattr_init(&attr);
    sigemptyset(&none);
    posix_spawnattr_setsigmask(&attr, &none);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK);
    rc = posix_spawn(&g->pid, "/bin/sh", &fa, &attr, argv, environ);
    posix_spawnattr_destroy(&attr);
    posix_spawn_file_actions_destroy(&fa);
    return rc;
}

void term_guard_start(struct term_guard *g, int out_fd)
{
    char sequences[256] = "";
    int fds[2];

    g->fd = -1;
    if (pipe2(fds, O_CLOEXEC) < 0) return;
    append(sequences, sizeof(sequences), tigetstr("sgr0"));
    append(sequences, sizeof(sequences), tigetstr("rmkx"));
    append(sequences, sizeof(sequences), tigetstr("rmcup"));
    append(sequences, sizeof(sequences), tigetstr("cnorm"));
    if (spawn(g, fds[0], out_fd, sequences) == 0)
        g->fd = fds[1];
    else
        close(fds[1]);
    close(fds[0]);
}

void term_guard_stop(struct term_guard *g)
{
    if (g->fd < 0) return;
    while (write(g->fd, "x\n", 2) < 0 && errno == EINTR)
        continue;
    close(g->fd);
    g->fd = -1;
    while (waitpid(g->pid, NULL, 0) < 0 && errno == EINTR)
        continue;
}
