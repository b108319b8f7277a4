/* SPDX-License-Identifier: GPL-2.0-or-later */
/* -d in_asm: guest code as it is translated; singlestep. */
#include "core/soft/host_log.h"

#include <stdlib.h>

#include "core/base/log.h"
#include "core/cpu/host_print.h"
#include "core/soft/code.h"
#include "core/soft/engine.h"

enum { INSN_MAX_BYTES = 15 };

/* Octets at offset of the block's first page, which goes on at next. */
static unsigned fetch(const uint8_t *start, const uint8_t *next, unsigned at,
                      uint8_t *out)
{
    unsigned room = PAGE_BYTES - (unsigned)((uintptr_t)start % PAGE_BYTES);
    unsigned n = 0;

    for (; n < INSN_MAX_BYTES; n++, at++) {
        if (at < room) {
            out[n] = start[at];
        } else if (next != NULL && at - room < PAGE_BYTES) {
            out[n] = next[at - room];
        } else {
            break;
        }
    }
    return n;
}

void host_log_block(const struct engine *eng, const struct block *b,
                    const uint8_t *start, uint64_t lin, const uint8_t *next)
{
    unsigned at = 0, count = b->insn_count;
    uint8_t code[INSN_MAX_BYTES];
    bool is_jump = false;
    char *text = NULL;
    size_t bytes = 0;
    FILE *f = open_memstream(&text, &bytes);

    if (f == NULL) return;
    fprintf(f, "----------------\nIN: CPU %u\n", eng->cpu.index);
    /* Behind a block that ends with no jump is what is not rewritten. */
    for (unsigned i = 0; i < count || (i == count && !is_jump); i++) {
        unsigned n = fetch(start, next, at, code);

        n = cpu_print_insn(&eng->cpu, lin + at, code, n, f, &is_jump);
        if (n == 0) break;
        at += n;
    }
    fclose(f);
    log_text(LOG_IN_ASM, text);
    free(text);
}

void soft_set_single(struct soft_vm *s, bool on)
{
    s->options.is_single = on;
}

bool soft_is_single(const struct soft_vm *s)
{
    return s->options.is_single;
}
