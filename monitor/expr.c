/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Expressions: 64-bit, wrapping.  Precedence from weak to strong: + -, then
 * & | ^, then * / %, then unary.  (QEMU's, where the bit operators bind
 * tighter than the sum: scripts that pass sums to x rely on it.)
 */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "monitor/command.h"

enum { EXPR_MAX_DEPTH = 64 };

struct expr {
    struct monitor_session *s;
    const char *p;
    unsigned depth;
    struct err *e;
};

static int parse_sum(struct expr *x, uint64_t *v);

static void blanks(struct expr *x)
{
    while (isspace((unsigned char)*x->p))
        x->p++;
}

static int parse_register(struct expr *x, uint64_t *v)
{
    char name[16];
    size_t n = 0;
    struct cpu *c;
    int rc;

    for (x->p++; isalnum((unsigned char)*x->p) || *x->p == '_' || *x->p == '.';
         x->p++) {
        if (n + 1 < sizeof(name)) name[n++] = *x->p;
    }
    name[n] = '\0';
    if (x->s == NULL || x->s->vm == NULL)
        return err_set(x->e, -ENODEV, "no CPU");
    c = monitor_cpu_begin(x->s, x->s->cpu);
    if (c == NULL) return err_set(x->e, -ENODEV, "no CPU");
    rc = cpu_register(c, name, v);
    monitor_cpu_end(x->s);
    return rc < 0 ? err_set(x->e, rc, "unknown register") : 0;
}

static int parse_char(struct expr *x, uint64_t *v)
{
    x->p++;
    if (*x->p == '\0')
        return err_set(x->e, -EINVAL, "character constant expected");
    *v = (unsigned char)*x->p++;
    if (*x->p != '\'')
        return err_set(x->e, -EINVAL, "missing terminating \' character");
    x->p++;
    return 0;
}

static int parse_number(struct expr *x, uint64_t *v)
{
    char *end;

    if (*x->p == '\0')
        return err_set(x->e, -EINVAL, "unexpected end of expression");
    if (!isdigit((unsigned char)*x->p))
        return err_set(x->e, -EINVAL, "invalid char '%c' in expression",
                       isprint((unsigned char)*x->p) ? *x->p : '?');
    errno = 0;
    *v = strtoull(x->p, &end, 0);
    if (errno == ERANGE) return err_set(x->e, -ERANGE, "number too large");
    x->p = end;
    return 0;
}

static int parse_unary(struct expr *x, uint64_t *v)
{
    char op;
    int rc;

    blanks(x);
    op = *x->p;
    if (x->depth >= EXPR_MAX_DEPTH)
        return err_set(x->e, -E2BIG, "expression too deep");
    x->depth++;
    switch (op) {
    case '+':
    case '-':
    case '~':
        x->p++;
        rc = parse_unary(x, v);
        if (op == '-') *v = 0 - *v;
        if (op == '~') *v = ~*v;
        break;
    case '(':
        x->p++;
        rc = parse_sum(x, v);
        if (rc == 0 && *x->p != ')')
            rc = err_set(x->e, -EINVAL, "')' expected");
        if (rc == 0) x->p++;
        break;
    case '\'': rc = parse_char(x, v); break;
    case '$': rc = parse_register(x, v); break;
    default: rc = parse_number(x, v); break;
    }
    x->depth--;
    blanks(x);
    return rc;
}

static int parse_product(struct expr *x, uint64_t *v)
{
    int rc = parse_unary(x, v);

    while (rc == 0 && *x->p != '\0' && strchr("*/%", *x->p) != NULL) {
        char op = *x->p++;
        uint64_t r = 0;

        rc = parse_unary(x, &r);
        if (rc < 0) return rc;
        if (op == '*') {
            *v *= r;
        } else if (r == 0) {
            return err_set(x->e, -EDOM, "division by zero");
        } else if (r == UINT64_MAX) { /* by -1, the one that overflows */
            *v = op == '/' ? 0 - *v : 0;
        } else if (op == '/') {
            *v = (uint64_t)((int64_t)*v / (int64_t)r);
        } else {
            *v = (uint64_t)((int64_t)*v % (int64_t)r);
        }
    }
    return rc;
}

static int parse_bits(struct expr *x, uint64_t *v)
{
    int rc = parse_product(x, v);

    while (rc == 0 && *x->p != '\0' && strchr("&|^", *x->p) != NULL) {
        char op = *x->p++;
        uint64_t r = 0;

        rc = parse_product(x, &r);
        if (op == '&') *v &= r;
        if (op == '|') *v |= r;
        if (op == '^') *v ^= r;
    }
    return rc;
}

static int parse_sum(struct expr *x, uint64_t *v)
{
    int rc = parse_bits(x, v);

    while (rc == 0 && (*x->p == '+' || *x->p == '-')) {
        char op = *x->p++;
        uint64_t r = 0;

        rc = parse_bits(x, &r);
        *v = op == '+' ? *v + r : *v - r;
    }
    return rc;
}

int expr_eval(struct monitor_session *s, const char **at, int64_t *out,
              struct err *e)
{
    struct expr x = { .s = s, .p = *at, .e = e };
    uint64_t v = 0;
    int rc = parse_sum(&x, &v);

    if (rc < 0) return rc;
    *at = x.p;
    *out = (int64_t)v;
    return 0;
}
