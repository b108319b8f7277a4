/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "block/passphrase.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

/* Up to the end of the line; Ctrl-C comes as octet 3, as ISIG is off. */
static int read_line(char *out, size_t cap, struct err *e)
{
    size_t used = 0;
    char c;

    for (;;) {
        ssize_t n = read(STDIN_FILENO, &c, 1);

        if (n < 0 && errno == EINTR) continue;
        if (n <= 0 || c == 3) return err_set(e, -EINTR, "no passphrase given");
        if (c == '\n' || c == '\r') break;
        if (used + 1 == cap)
            return err_set(e, -E2BIG, "passphrase longer than %zu", cap - 1);
        out[used++] = c;
    }
    out[used] = '\0';
    return 0;
}

int passphrase_ask(const char *image, char *out, size_t cap, struct err *e)
{
    struct termios old, quiet;
    int rc;

    if (tcgetattr(STDIN_FILENO, &old) < 0)
        return err_set(e, -ENOTTY, "standard input is no terminal");
    quiet = old;
    quiet.c_lflag &= ~(tcflag_t)(ECHO | ISIG);
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet);
    fprintf(stderr, "Passphrase for %s: ", image);
    fflush(stderr);
    rc = read_line(out, cap, e);
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &old);
    fputc('\n', stderr);
    if (rc < 0) {
        explicit_bzero(out, cap);
        err_prefix(e, "%s", image);
    }
    return rc;
}
