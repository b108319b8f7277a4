/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/support/amd.h"

#include <cpuid.h>

bool amd_is_host(void)
{
    static int known = -1;
    unsigned a, b, c, d;

    if (known < 0) {
        known = __get_cpuid(0, &a, &b, &c, &d) && b == signature_AMD_ebx;
    }
    return known;
}

static bool has_prefix(const ZydisDecodedInstruction *d, uint8_t value)
{
    for (unsigned i = 0; i < d->raw.prefix_count; i++) {
        if (d->raw.prefixes[i].value == value) return true;
    }
    return false;
}

static bool is_near_branch(const ZydisDecodedInstruction *d)
{
    switch (d->meta.category) {
    case ZYDIS_CATEGORY_COND_BR:
    case ZYDIS_CATEGORY_UNCOND_BR:
    case ZYDIS_CATEGORY_CALL:
    case ZYDIS_CATEGORY_RET: return true;
    default: return false;
    }
}

/* VEX.W of the three-byte form. */
static bool is_w1(const ZydisDecodedInstruction *d, const uint8_t *p)
{
    p += d->raw.vex.offset;
    return p[0] == 0xc4 && p[2] & 0x80;
}

static bool differs_decoded(const ZydisDecodedInstruction *d, const uint8_t *p,
                            unsigned mode)
{
    /* APM 3: targets of branches are cut to 16 bits in 64-bit code, too; the
     * SDM ignores the prefix there. */
    if (mode == 8 && is_near_branch(d) && has_prefix(d, 0x66)) return true;
    switch (d->mnemonic) {
    case ZYDIS_MNEMONIC_LOOPE: /* F2 and F3 are reserved; they win */
    case ZYDIS_MNEMONIC_LOOPNE:
        return has_prefix(d, 0xf2) || has_prefix(d, 0xf3);
    case ZYDIS_MNEMONIC_LFS: /* APM 3: no pointer has more than 32 bits */
    case ZYDIS_MNEMONIC_LGS:
    case ZYDIS_MNEMONIC_LSS: return d->operand_width == 64;
    case ZYDIS_MNEMONIC_SYSEXIT: return true; /* #UD and #GP: who is first */
    case ZYDIS_MNEMONIC_SYSCALL:              /* 32-bit code has them, too */
    case ZYDIS_MNEMONIC_SYSRET: return mode != 8;
    case ZYDIS_MNEMONIC_PAUSE: /* with REX.B it is XCHG R8, RAX */
        return d->attributes & ZYDIS_ATTRIB_HAS_REX && d->raw.rex.B;
    case ZYDIS_MNEMONIC_VPEXTRD: /* #UD where no register has 64 bits */
    case ZYDIS_MNEMONIC_VPINSRD: return mode != 8 && is_w1(d, p);
    default: break;
    }
    /* APM 3, PREFETCHW: #UD of a register. */
    return d->opcode_map == ZYDIS_OPCODE_MAP_0F && d->opcode == 0x0d &&
           d->raw.modrm.mod == 3;
}

/* LOCK MOV CR0, which APM 3 makes CR8, and VEX behind prefixes. */
static bool differs_undecoded(const uint8_t *p)
{
    const uint8_t *start = p, *end = p + 14;
    bool has_lock = false;

    while (p < end) {
        switch (*p) {
        case 0xf0: has_lock = true; break;
        case 0xc4:
        case 0xc5: return p > start;
        case 0x0f: return has_lock && (p[1] & 0xfc) == 0x20;
        case 0x26:
        case 0x2e:
        case 0x36:
        case 0x3e:
        case 0x64:
        case 0x65:
        case 0x66:
        case 0x67:
        case 0xf2:
        case 0xf3: break;
        default:
            if ((*p & 0xf0) != 0x40) return false;
        }
        p++;
    }
    return false;
}

bool amd_differs(const uint8_t *bytes, const ZydisDecodedInstruction *d,
                 unsigned mode)
{
    if (!amd_is_host()) return false;
    return d ? differs_decoded(d, bytes, mode) : differs_undecoded(bytes);
}
