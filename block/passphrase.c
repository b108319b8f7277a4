/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "block/passphrase.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

enum { CTRL_C = 3, CTRL_D = 4, BACKSPACE = 8, CTRL_U = 21, DELETE = 127 };

/* Up to the end of the line; the terminal hands over every key. */
static int read_line(char *out, size_t cap, struct err *e)
{
    size_t used = 0;
    char c;

    for (;;) {
        ssize_t n = read(STDIN_FILENO, &c, 1);

        if (n < 0 && errno == EINTR) continue;
        if (n <= 0 || c == CTRL_C || (c == CTRL_D && used == 0))
            return err_set(e, -EINTR, "no passphrase given");
        if (c == '\n' || c == '\r' || c == CTRL_D) break;
        if (c == BACKSPACE || c == DELETE) {
            used -= used > 0;
        } else if (c == CTRL_U) {
            used = 0;
        } else if (used + 1 == cap) {
            return err_set(e, -E2BIG, "passphrase longer than %zu", cap - 1);
        } else {
            out[used++] = c;
        }
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
    quiet.c_cc[VMIN] = 1;
    quiet.c_cc[VTIME] = 0;
    quiet.c_lflag &= ~(tcflag_t)(ECHO | ISIG | ICANON);
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
