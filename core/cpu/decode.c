/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Table-driven x86 decoder (SDM volume 2, chapter 2 and appendix A).
 *
 * One character per opcode says what follows it:
 *   .  nothing               m  ModRM              i  ModRM, imm8
 *   z  ModRM, imm16/32       b  imm8               v  imm16/32
 *   V  imm16/32/64 (MOV)     w  imm16              e  imm16, imm8 (ENTER)
 *   F  far pointer           o  offset of address size (MOV AL, [..])
 *   j  rel8                  J  rel16/32           g G  group 3: imm for /0, /1
 *   p  prefix or escape      x  not defined
 * It is our own because the emulator runs while the guest's vector registers
 * are live, and a library's code might use vector registers.
 */
#include "core/cpu/insn.h"

static const char map_one[] = "mmmmbv..mmmmbv.p"
                              "mmmmbv..mmmmbv.."
                              "mmmmbvp.mmmmbvp."
                              "mmmmbvp.mmmmbvp."
                              "................"
                              "................"
                              "..mmppppvzbi...."
                              "jjjjjjjjjjjjjjjj"
                              "iziimmmmmmmmmmmm"
                              "..........F....."
                              "oooo....bv......"
                              "bbbbbbbbVVVVVVVV"
                              "iiw.mmize.w..b.."
                              "mmmmbb..mmmmmmmm"
                              "jjjjbbbbJJFj...."
                              "p.pp..gG......mm";

static const char map_0f[] = "mmmmx.....x.xmxx"
                             "mmmmmmmmmmmmmmmm"
                             "mmmmxxxxmmmmmmmm"
                             "......x.pxpxxxxx"
                             "mmmmmmmmmmmmmmmm"
                             "mmmmmmmmmmmmmmmm"
                             "mmmmmmmmmmmmmmmm"
                             "iiiimmm.mmxxmmmm"
                             "JJJJJJJJJJJJJJJJ"
                             "mmmmmmmmmmmmmmmm"
                             "...mimxx...mimmm"
                             "mmmmmmmmmmimmmmm"
                             "mmimiiim........"
                             "mmmmmmmmmmmmmmmm"
                             "mmmmmmmmmmmmmmmm"
                             "mmmmmmmmmmmmmmmm";

struct cursor {
    const uint8_t *bytes;
    unsigned at, have;
    bool is_short;
    bool is_undefined; /* #UD, unless it is too long */
};

static uint64_t take(struct cursor *s, unsigned bytes)
{
    if (s->at + bytes > s->have) {
        s->is_short = true;
        s->at += bytes;
        return 0;
    }
    uint64_t v = 0;
    for (unsigned n = 0; n < bytes; n++) {
        v |= (uint64_t)s->bytes[s->at + n] << 8 * n;
    }
    s->at += bytes;
    return v;
}

static int64_t take_signed(struct cursor *s, unsigned bytes)
{
    unsigned shift = 64 - 8 * bytes;
    return (int64_t)(take(s, bytes) << shift) >> shift;
}

static void set_segment(struct insn *i, unsigned seg)
{
    /* ES, CS, SS, DS overrides mean nothing in 64-bit code. */
    if (i->mode == 8 && seg < 4) return;
    i->has_seg = true;
    i->seg = (uint8_t)seg;
}

/* Take one prefix into i; false when b is none. */
static bool take_prefix(struct insn *i, uint8_t b, bool *has_67)
{
    switch (b) {
    case 0x26: set_segment(i, 0); return true;
    case 0x2e: set_segment(i, 1); return true;
    case 0x36: set_segment(i, 2); return true;
    case 0x3e: set_segment(i, 3); return true;
    case 0x64: set_segment(i, 4); return true;
    case 0x65: set_segment(i, 5); return true;
    case 0x66: i->has_66 = true; return true;
    case 0x67: *has_67 = true; return true;
    case 0xf0: i->has_lock = true; return true;
    case 0xf2:
    case 0xf3: i->rep = b; return true;
    default: return false;
    }
}

static void take_sib(struct insn *i, struct cursor *s)
{
    unsigned sib = (unsigned)take(s, 1);
    i->scale = sib >> 6;
    i->index = (sib >> 3 & 7) | (i->rex & 2 ? 8 : 0);
    i->base = (sib & 7) | (i->rex & 1 ? 8 : 0);
    if (i->index == 4) i->index = INSN_NO_REG;
    if ((sib & 7) == 5 && i->mod == 0) {
        i->base = INSN_NO_REG;
        i->disp_bytes = 4;
    }
}

/* 16-bit addressing: SDM volume 2, table 2-1. */
static void take_modrm16(struct insn *i)
{
    static const uint8_t base[8] = { 3, 3, 5, 5, 6, 7, 5, 3 };
    static const uint8_t index[8] = { 6,           7,           6,
                                      7,           INSN_NO_REG, INSN_NO_REG,
                                      INSN_NO_REG, INSN_NO_REG };
    i->base = base[i->rm & 7];
    i->index = index[i->rm & 7];
    i->disp_bytes = i->mod == 1 ? 1 : i->mod == 2 ? 2 : 0;
    if (i->mod == 0 && i->rm == 6) {
        i->base = INSN_NO_REG;
        i->disp_bytes = 2;
    }
}

static void take_modrm(struct insn *i, struct cursor *s)
{
    i->has_modrm = true;
    i->modrm_at = (uint8_t)s->at;
    i->modrm = (uint8_t)take(s, 1);
    i->mod = i->modrm >> 6;
    i->reg = (i->modrm >> 3 & 7) | (i->rex & 4 ? 8 : 0);
    i->rm = (i->modrm & 7) | (i->rex & 1 ? 8 : 0);
    /* MOV to and from control and debug registers ignores mod. */
    if (i->map == MAP_0F && (i->op & 0xfc) == 0x20) i->mod = 3;
    if (i->mod == 3) return;
    if (i->asize == 2) {
        take_modrm16(i);
    } else {
        i->disp_bytes = i->mod == 1 ? 1 : i->mod == 2 ? 4 : 0;
        if ((i->modrm & 7) == 4) {
            take_sib(i, s);
        } else if ((i->modrm & 7) == 5 && i->mod == 0) {
            i->base = i->mode == 8 ? INSN_RIP : INSN_NO_REG;
            i->disp_bytes = 4;
        } else {
            i->base = i->rm;
        }
    }
    if (i->disp_bytes) i->disp = take_signed(s, i->disp_bytes);
    if (!i->has_seg) i->seg = i->base == 4 || i->base == 5 ? 2 : 3;
}

/* VEX prefix, first byte (C4 or C5) already taken. */
static void take_vex(struct insn *i, struct cursor *s, uint8_t first)
{
    unsigned b = (unsigned)take(s, 1);
    unsigned map = 1;
    i->has_vex = true;
    i->rex = b & 0x80 ? 0 : 4;
    if (first == 0xc4) {
        map = b & 0x1f;
        if (!(b & 0x40)) i->rex |= 2;
        if (!(b & 0x20)) i->rex |= 1;
        b = (unsigned)take(s, 1);
        if (b & 0x80) i->rex |= REX_W;
    }
    if (i->mode != 8) i->rex &= REX_W;
    i->vvvv = ~(b >> 3) & 15;
    if (i->mode != 8) i->vvvv &= 7;
    i->vl = b >> 2 & 1;
    i->pp = b & 3;
    i->map = map <= 3 ? (uint8_t)map : 0;
    i->op = (uint8_t)take(s, 1);
}

static void set_sizes(struct insn *i, bool has_67)
{
    if (i->mode == 8) {
        i->osize = i->rex & REX_W ? 8 : i->has_66 ? 2 : 4;
        i->asize = has_67 ? 4 : 8;
    } else {
        i->osize = (i->mode == 4) != i->has_66 ? 4 : 2;
        i->asize = (i->mode == 4) != has_67 ? 4 : 2;
    }
}

static void take_far_pointer(struct insn *i, struct cursor *s)
{
    i->imm = take(s, i->osize);
    i->imm2 = (uint16_t)take(s, 2);
}

static void take_immediate(struct insn *i, struct cursor *s, char kind)
{
    unsigned z = i->osize == 2 ? 2 : 4;
    i->imm_at = (uint8_t)s->at;
    switch (kind) {
    case 'i':
    case 'b':
    case 'j': i->imm = take(s, 1); break;
    case 'z':
    case 'v': i->imm = take(s, z); break;
    case 'V': i->imm = take(s, i->osize); break;
    case 'w': i->imm = take(s, 2); break;
    case 'e':
        i->imm = take(s, 2);
        i->imm2 = (uint16_t)take(s, 1);
        break;
    case 'F': take_far_pointer(i, s); break;
    case 'o': i->imm = take(s, i->asize); break;
    case 'J': /* near branches are 32 bits wide in 64-bit code (Intel) */
        i->imm = take(s, i->mode == 8 ? 4 : z);
        break;
    case 'g':
        if ((i->reg & 7) < 2) i->imm = take(s, 1);
        break;
    case 'G':
        if ((i->reg & 7) < 2) i->imm = take(s, z);
        break;
    default: break;
    }
}

static bool has_modrm(char kind)
{
    return kind == 'm' || kind == 'i' || kind == 'z' || kind == 'g' ||
           kind == 'G';
}

/* Opcode map and byte, prefixes having been taken; returns its kind. */
static char take_opcode(struct insn *i, struct cursor *s, bool no_vex)
{
    uint8_t b = (uint8_t)take(s, 1);
    if ((b == 0xc4 || b == 0xc5) &&
        (i->mode == 8 ||
         (!no_vex && s->at < s->have && s->bytes[s->at] >= 0xc0))) {
        s->is_undefined = i->has_66 || i->rep || i->has_lock || i->rex;
        take_vex(i, s, b);
        if (s->is_short) return '.';
        if (i->map == MAP_ONE) return 'x';
    } else if (b == 0x0f) {
        b = (uint8_t)take(s, 1);
        i->map = b == 0x38 ? MAP_0F38 : b == 0x3a ? MAP_0F3A : MAP_0F;
        i->op = i->map == MAP_0F ? b : (uint8_t)take(s, 1);
    } else {
        if ((b == 0xc4 || b == 0xc5) && s->at >= s->have && !no_vex) {
            s->is_short = true; /* the next byte tells LES from VEX */
        }
        i->op = b;
        /* No far pointers in 64-bit code: of unknown length. */
        return i->mode == 8 && map_one[b] == 'F' ? 'x' : map_one[b];
    }
    return i->map == MAP_0F38 ? 'm' : i->map == MAP_0F3A ? 'i' : map_0f[i->op];
}

static void clear(struct insn *i, unsigned mode)
{
    i->mode = (uint8_t)mode;
    i->len = i->map = i->op = 0;
    i->rex = i->rep = i->pp = 0;
    i->seg = 3;
    i->has_66 = i->has_lock = i->has_seg = i->has_vex = i->has_modrm = false;
    i->modrm = i->mod = i->reg = i->rm = 0;
    i->base = i->index = INSN_NO_REG;
    i->scale = i->vvvv = i->vl = i->modrm_at = i->imm_at = i->disp_bytes = 0;
    i->disp = 0;
    i->imm = 0;
    i->imm2 = 0;
    i->next = 0;
    i->shadows = i->no_trap = i->keeps_rf = i->goes_on = false;
}

enum insn_result insn_decode(struct insn *i, unsigned have, unsigned mode,
                             bool no_vex)
{
    struct cursor s = { .bytes = i->bytes, .have = have };
    bool has_67 = false;
    clear(i, mode);
    for (;; s.at++) {
        if (s.at >= have) goto incomplete;
        uint8_t b = s.bytes[s.at];
        if (take_prefix(i, b, &has_67)) {
            i->rex = 0; /* REX counts only right before the opcode */
        } else if (mode == 8 && (b & 0xf0) == 0x40) {
            i->rex = REX_PRESENT | (b & 15);
        } else {
            break;
        }
    }
    i->pp = i->rep ? (i->rep == 0xf3 ? 2 : 3) : i->has_66;
    char kind = take_opcode(i, &s, no_vex);
    set_sizes(i, has_67);
    if (kind == 'x' && !s.is_short) {
        i->len = (uint8_t)s.at;
        return INSN_INVALID;
    }
    if (has_modrm(kind)) take_modrm(i, &s);
    take_immediate(i, &s, kind);
    if (s.is_short) goto incomplete;
    if (s.at > INSN_MAX_BYTES) return INSN_LONG;
    i->len = (uint8_t)s.at;
    return s.is_undefined ? INSN_INVALID : INSN_OK;
incomplete:
    return have >= INSN_MAX_BYTES ? INSN_LONG : INSN_SHORT;
}
