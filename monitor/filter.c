/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "monitor/filter.h"

#include <errno.h>
#include <string.h>

#include "core/base/size.h"
#include "monitor/command.h"

static bool is_name(const char *p, const char *name)
{
    size_t n = strlen(name);

    return strncmp(p, name, n) == 0 && (p[n] == ' ' || p[n] == '\0');
}

/* Does a filter begin at the '|' at p? */
static bool is_filter(const char *p)
{
    p++;
    p += strspn(p, " ");
    return is_name(p, "grep") || is_name(p, "head") || is_name(p, "tail");
}

static int parse_grep(struct filter *f, const char **at, struct err *e)
{
    size_t n;

    f->kind = FILTER_GREP;
    while (**at == '-' && (*at)[1] != '\0') {
        switch ((*at)[1]) {
        case 'i': f->ignores_case = true; break;
        case 'v': f->is_inverted = true; break;
        case 'c': f->counts = true; break;
        default: return err_set(e, -EINVAL, "grep: unknown flag -%c", (*at)[1]);
        }
        *at += 2;
        *at += strspn(*at, " ");
    }
    if (word_next(at, f->text, sizeof(f->text), e) <= 0)
        return e->text[0] ? -EINVAL
                          : err_set(e, -EINVAL, "grep: text expected");
    n = strlen(f->text);
    if (f->text[0] == '^') {
        f->at_start = true;
        memmove(f->text, f->text + 1, n--);
    }
    if (n > 0 && f->text[n - 1] == '$') {
        f->at_end = true;
        f->text[n - 1] = '\0';
    }
    return 0;
}

static int parse_lines(struct filter *f, const char **at, struct err *e)
{
    char word[32];
    uint64_t n = 0;
    int rc = 0;

    f->lines = 10;
    if (**at == '\0' || **at == '|') return 0;
    if (**at == '-') ++*at; /* head -5 */
    if (strncmp(*at, "n ", 2) == 0) *at += 2;
    rc = word_next(at, word, sizeof(word), e);
    if (rc < 0) return rc;
    if (rc == 0 || uint_parse(word, &n) < 0 || n > 1000000)
        return err_set(e, -EINVAL, "number of lines expected");
    f->lines = (unsigned)n;
    return 0;
}

static int parse_one(struct filter *f, const char **at, struct err *e)
{
    const char *p = *at + strspn(*at, " ");
    char name = *p;
    int rc;

    *f = (struct filter){ .kind = name == 'h' ? FILTER_HEAD : FILTER_TAIL };
    *at = p + 4;
    *at += strspn(*at, " ");
    rc = name == 'g' ? parse_grep(f, at, e) : parse_lines(f, at, e);
    if (rc < 0) return rc;
    *at += strspn(*at, " ");
    if (**at != '\0' && (**at != '|' || !is_filter(*at)))
        return err_set(e, -EINVAL, "extraneous characters at the end of line");
    return 0;
}

int filter_split(const char *line, size_t *len, struct filter f[FILTERS_MAX],
                 struct err *e)
{
    const char *p = line;
    bool is_quoted = false;
    unsigned n = 0;

    for (; *p != '\0' && (is_quoted || *p != '|' || !is_filter(p)); p++) {
        if (*p == '\\' && p[1] != '\0') {
            p++;
        } else if (*p == '"') {
            is_quoted = !is_quoted;
        }
    }
    *len = (size_t)(p - line);
    while (*p == '|') {
        int rc;

        if (n == FILTERS_MAX)
            return err_set(e, -E2BIG, "more than %d filters", FILTERS_MAX);
        p++;
        rc = parse_one(&f[n++], &p, e);
        if (rc < 0) return rc;
    }
    return (int)n;
}

static bool has_text(const struct filter *f, const char *line, size_t n)
{
    size_t want = strlen(f->text);
    size_t first = 0, last = n >= want ? n - want : 0;

    if (n < want) return false;
    if (f->at_start) last = 0;
    if (f->at_end) first = n - want;
    for (size_t i = first; i <= last; i++) {
        if (f->ignores_case ? strncasecmp(line + i, f->text, want) == 0
                            : memcmp(line + i, f->text, want) == 0)
            return true;
    }
    return false;
}

void filter_print(const struct filter *f, const char *text, size_t bytes,
                  FILE *out)
{
    size_t total = 0, line = 0, found = 0;

    for (size_t i = 0; i < bytes; i++)
        total += text[i] == '\n' || i + 1 == bytes;
    while (bytes > 0) {
        const char *nl = memchr(text, '\n', bytes);
        size_t n = nl != NULL ? (size_t)(nl - text) : bytes;
        size_t whole = nl != NULL ? n + 1 : n;
        bool is_shown = f->kind == FILTER_HEAD ? line < f->lines
                        : f->kind == FILTER_TAIL
                            ? line + f->lines >= total
                            : has_text(f, text, n) != f->is_inverted;

        found += is_shown;
        if (is_shown && !f->counts) fwrite(text, 1, whole, out);
        line++;
        text += whole;
        bytes -= whole;
    }
    if (f->counts) fprintf(out, "%zu\n", found);
}
