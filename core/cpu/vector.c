/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * MMX, SSE..SSE4.2, AES, SHA, AVX, AVX2, FMA, F16C, BMI: run natively.  The
 * tables say, for each opcode and mandatory prefix, what the memory operand
 * is and which operands are general registers, one letter each:
 *
 *   .  not here              x  full vector read (16 bytes legacy, aligned)
 *   u  the same, unaligned   a  the same, aligned in VEX form too
 *   U  unaligned store       A  aligned store
 *   X  16 bytes in any form  Y  16-byte store
 *   b w s d  1, 2, 4, 8 bytes read            S D  4, 8 bytes stored
 *   h q e    half, quarter, eighth of a vector read    H  half stored
 *   v  8 bytes, 32 with VEX.L (MOVDDUP)       t  4 or 8 bytes by W
 *   m  MMX, 8 bytes          M  MMX, 4 bytes  W  MMX, 8-byte store
 *   n  MMX, 4/8 by W, rm is a GPR (MOVD)      N  the same stored
 *   g  4/8 by W, rm is a GPR                  G  the same stored
 *   r R  reg is a GPR, 4 or 8 bytes read      k  reg is a GPR, rm a vector
 *   K  the same with an MMX register
 *   1 2 4  rm is a GPR or 1, 2, 4 bytes stored (PEXTRB and the like)
 *   i I  rm is a GPR or 1, 2 bytes read (PINSRB, PINSRW); J  MMX PINSRW
 *   o  registers alone       O  MMX registers alone
 *   B  all general registers (BMI)            z  EMMS, VZEROUPPER
 *   f F  masked load, store  c  gather        l L  MASKMOVDQU, MASKMOVQ
 *
 * What is wrong beyond that (VEX.L, vvvv, a form the host lacks) the host
 * finds: SIGILL comes back as #UD.
 */
#include "core/cpu/vector.h"

static const char map_0f[4][257] = {
    /* no prefix */
    "................"
    "uUdDxxdD........"
    "........aAmAmmss"
    "................"
    "................"
    "kxxxxxxxxxhxxxxx"
    "MMMmmmmmmmmm..nm"
    "mOOOmmmz......NW"
    "................"
    "................"
    "................"
    "................"
    "..x.JKx........."
    ".mmmmm.Kmmmmmmmm"
    "mmmmmm.Wmmmmmmmm"
    ".mmmmmmLmmmmmmm.",
    /* 66 */
    "................"
    "uUdDxxdD........"
    "........aAmAxxdd"
    "................"
    "................"
    "kx..xxxxxxxxxxxx"
    "xxxxxxxxxxxxxxga"
    "xoooxxx.....xxGA"
    "................"
    "................"
    "................"
    "................"
    "..x.Ikx........."
    "xXXXxxDkxxxxxxxx"
    "xXXxxxxAxxxxxxxx"
    ".XXXxxxlxxxxxxx.",
    /* F3 */
    "................"
    "sSx...x........."
    "..........g.rr.."
    "................"
    "................"
    ".sss....sssxssss"
    "...............u"
    "x.............dU"
    "................"
    "................"
    "................"
    "................"
    "..s............."
    "......O........."
    "......h........."
    "................",
    /* F2 */
    "................"
    "dDv............."
    "..........g.RR.."
    "................"
    "................"
    ".d......ddd.dddd"
    "................"
    "x...........xx.."
    "................"
    "................"
    "................"
    "................"
    "..d............."
    "x.....O........."
    "......x........."
    "u...............",
};

static const char map_0f38[4][257] = {
    /* no prefix */
    "mmmmmmmmmmmm...."
    "............mmm."
    "................"
    "................"
    "................"
    "................"
    "................"
    "................"
    "................"
    "................"
    "................"
    "................"
    "........xxxxxx.."
    "................"
    "................"
    "..BB.B.B........",
    /* 66 */
    "xxxxxxxxxxxxxxxx"
    "x..hxxxxsdX.xxx."
    "hqehqh..xxaxffFF"
    "hqehqhxxxxxxxxxx"
    "xX...xxx........"
    "........sdX....."
    "................"
    "........bw......"
    "............f.F."
    "cccc..xxxtxtxtxt"
    "......xxxtxtxtxt"
    "......xxxtxtxtxt"
    "...............x"
    "...........Xxxxx"
    "................"
    ".......B........",
    /* F3 */
    "................"
    "................"
    "................"
    "................"
    "................"
    "................"
    "................"
    "................"
    "................"
    "................"
    "................"
    "................"
    "................"
    "................"
    "................"
    ".....B.B........",
    /* F2 */
    "................"
    "................"
    "................"
    "................"
    "................"
    "................"
    "................"
    "................"
    "................"
    "................"
    "................"
    "................"
    "................"
    "................"
    "................"
    ".....BBB........",
};

static const char map_0f3a[4][257] = {
    /* no prefix */
    "...............m"
    "................"
    "................"
    "................"
    "................"
    "................"
    "................"
    "................"
    "................"
    "................"
    "................"
    "................"
    "............x..."
    "................"
    "................"
    "................",
    /* 66 */
    "xxx.xxx.xxsdxxxx"
    "....12G4XY...H.."
    "isg............."
    "........XY......"
    "xxx.x.x...xxx..."
    "................"
    "uuuu............"
    "................"
    "................"
    "................"
    "................"
    "................"
    "..............xx"
    "...............X"
    "................"
    "................",
    /* F3 */
    "................"
    "................"
    "................"
    "................"
    "................"
    "................"
    "................"
    "................"
    "................"
    "................"
    "................"
    "................"
    "................"
    "................"
    "................"
    "................",
    /* F2 */
    "................"
    "................"
    "................"
    "................"
    "................"
    "................"
    "................"
    "................"
    "................"
    "................"
    "................"
    "................"
    "................"
    "................"
    "................"
    "B...............",
};

static char kind_of(const struct insn *i)
{
    switch (i->map) {
    case MAP_0F: return map_0f[i->pp][i->op];
    case MAP_0F38: return map_0f38[i->pp][i->op];
    case MAP_0F3A: return map_0f3a[i->pp][i->op];
    default: return '.';
    }
}

static bool is_one_of(char kind, const char *set)
{
    for (; *set; set++) {
        if (*set == kind) return true;
    }
    return false;
}

/* ModRM.reg, ModRM.rm (mod 3), VEX.vvvv name general registers. */
static bool reg_is_gpr(char kind)
{
    return is_one_of(kind, "rRkKB");
}
static bool rm_is_gpr(char kind)
{
    return is_one_of(kind, "gGnN124iIJB");
}

/* W as far as it counts: outside 64-bit code it does not widen GPRs. */
static unsigned insn_w(const struct insn *i, char kind)
{
    bool is_gpr = reg_is_gpr(kind) || rm_is_gpr(kind);
    /* VPCMPESTRx has its lengths in RAX and RDX. */
    if (i->map == MAP_0F3A && (i->op & 0xfe) == 0x60) is_gpr = true;
    return i->mode != 8 && is_gpr ? 0 : i->rex & REX_W;
}

/* Bytes of the memory operand. */
static unsigned operand_bytes(const struct insn *i, char kind)
{
    unsigned full = i->has_vex && i->vl ? 32 : 16;
    unsigned by_w = insn_w(i, kind) ? 8 : 4;
    switch (kind) {
    case 'x':
    case 'u':
    case 'a':
    case 'U':
    case 'A': return full;
    case 'X':
    case 'Y': return 16;
    case 'h':
    case 'H': return full / 2;
    case 'q': return full / 4;
    case 'e': return full / 8;
    case 'b':
    case 'i':
    case '1': return 1;
    case 'w':
    case 'I':
    case 'J':
    case '2': return 2;
    case 's':
    case 'S':
    case 'r':
    case 'M':
    case '4': return 4;
    case 'v': return full == 32 ? 32 : 8;
    case 't':
    case 'n':
    case 'N':
    case 'g':
    case 'G':
    case 'B': return by_w;
    case 'd':
    case 'D':
    case 'R':
    case 'm':
    case 'W': return 8;
    default: return 0; /* registers alone */
    }
}

/* The opcode with operands where native_enter() puts them. */
void vector_encode(const struct insn *i, char kind, struct native_code *k)
{
    unsigned reg = reg_is_gpr(kind) ? 8 : i->reg;
    unsigned rm = i->mod != 3 ? 6 : rm_is_gpr(kind) ? 9 : i->rm;
    unsigned vvvv = kind == 'B' ? 10 : i->vvvv;
    if (kind == 'B' && is_group17(i)) reg = i->reg & 7; /* an opcode */
    static const uint8_t prefix[4] = { 0, 0x66, 0xf3, 0xf2 };
    unsigned w = insn_w(i, kind);
    code_open(k);
    if (i->has_vex) {
        /* vvvv stays 1111 where the guest has it so: not an operand. */
        if (kind == 'B' && i->map == MAP_0F3A) vvvv = 0;
        code_add(k, 0xc4);
        code_add(k, (reg & 8 ? 0 : 0x80) | 0x40 | (rm & 8 ? 0 : 0x20) | i->map);
        code_add(k, (w ? 0x80 : 0) | (~vvvv & 15) << 3 | i->vl << 2 | i->pp);
    } else {
        if (i->pp) code_add(k, prefix[i->pp]);
        code_add(k, 0x40 | w | (reg & 8 ? 4 : 0) | (rm & 8 ? 1 : 0));
        code_add(k, 0x0f);
        if (i->map == MAP_0F38) code_add(k, 0x38);
        if (i->map == MAP_0F3A) code_add(k, 0x3a);
    }
    code_add(k, i->op);
    if (i->has_modrm) {
        unsigned mod = i->mod == 3 ? 0xc0 : 0;
        code_add(k, mod | (reg & 7) << 3 | (rm & 7));
    }
    if (i->len > i->imm_at && i->imm_at) {
        bool is_is4 =
            i->map == MAP_0F3A && (i->op & 0xf0) == 0x40 && i->op >= 0x4a;
        code_add(k, (unsigned)i->imm & (is_is4 && i->mode != 8 ? 0x7f : 0xff));
    }
}

/* SHA1RNDS4 and the rest of SHA. */
static bool is_sha(const struct insn *i)
{
    return (i->map == MAP_0F38 && i->op >= 0xc8 && i->op <= 0xcd) ||
           (i->map == MAP_0F3A && i->op == 0xcc);
}

static void check_alignment(struct cpu *c, const struct insn *i, char kind,
                            unsigned bytes, uint64_t lin)
{
    bool is_aligned =
        i->has_vex ? is_one_of(kind, "aA") : is_one_of(kind, "xXaA");
    /* AMD's takes these from anywhere, as translated code does there. */
    if (c->model && c->model->is_amd && is_sha(i)) return;
    if (is_aligned && (lin & (bytes - 1))) throw_gp(c, 0);
}

static void load_gprs(const struct cpu *c, const struct insn *i,
                      struct native_regs *r)
{
    r->ax = c->gpr[GPR_AX];
    r->cx = c->gpr[GPR_CX];
    r->dx = c->gpr[GPR_DX];
    r->r8 = c->gpr[i->reg];
    r->r9 = c->gpr[i->rm];
    r->r10 = c->gpr[i->vvvv];
}

/* Write the general registers and flags the instruction has changed. */
static void store_gprs(struct cpu *c, const struct insn *i, char kind,
                       const struct native_regs *r)
{
    unsigned width = insn_w(i, kind) ? 8 : 4;
    if (kind == 'B') {
        if (is_group17(i)) {
            reg_set(c, i->vvvv, width, r->r10);
        } else {
            if (i->op == 0xf6) reg_set(c, i->vvvv, width, r->r10); /* MULX */
            reg_set(c, i->reg, width, r->r8);
        }
    } else if (reg_is_gpr(kind)) {
        reg_set(c, i->reg, 8, r->r8);
    } else if (i->mod == 3 && is_one_of(kind, "GN124")) {
        reg_set(c, i->rm, 8, r->r9);
    }
    bool is_string = i->map == MAP_0F3A && (i->op & 0xfc) == 0x60;
    if (is_string && (i->op & 1)) c->gpr[GPR_CX] = r->cx; /* PCMPxSTRI */
    flags_set(c, FLAGS_ARITH, r->flags);
}

static void run(struct cpu *c, struct insn *i, char kind)
{
    struct native_code k;
    struct native_regs r;
    unsigned bytes = i->mod == 3 || !i->has_modrm ? 0 : operand_bytes(i, kind);
    bool is_store = is_one_of(kind, "UASDWGNHY124");
    uint8_t *buf = native_scratch(c);
    uint64_t ea = 0;
    vector_encode(i, kind, &k);
    if (i->has_modrm && i->mod != 3) {
        if (!bytes) throw_ud(c);
        native_check(c, &k);
        ea = insn_ea(c, i);
        check_alignment(c, i, kind, bytes, ea + c->seg[i->seg].base);
        uint64_t lin =
            seg_linear(c, i->seg, ea, bytes, is_store ? ACC_WRITE : ACC_READ);
        if (is_store) {
            lin_probe_write(c, lin, bytes, 0);
        } else if (bytes <= 8) {
            cpu_put(buf, 8, lin_read(c, lin, bytes, 0));
        } else {
            mem_load(c, i->seg, ea, buf, bytes);
        }
    }
    load_gprs(c, i, &r);
    native_run(c, &k, &r, buf);
    if (!is_store || !bytes) {
        store_gprs(c, i, kind, &r);
    } else if (bytes <= 8) {
        mem_write(c, i->seg, ea, bytes, cpu_get(buf, bytes));
    } else {
        mem_store(c, i->seg, ea, buf, bytes);
    }
}

static bool is_mmx(const struct insn *i, char kind)
{
    /* PADDx and the like have MMX forms without a prefix; conversions
     * CVTPI2PS/PD and CVTxPS/PD2PI use MMX registers in part. */
    if (is_one_of(kind, "mMWnNKJOL")) return true;
    return i->map == MAP_0F && (i->op == 0x2c || i->op == 0x2d) && i->pp == 1;
}

static void check_unit(struct cpu *c, const struct insn *i, char kind)
{
    if (kind == 'B') {
        /* VEX-encoded integer instructions need no enabled vector state. */
        if (!i->has_vex) throw_ud(c);
        bool is_bmi1 = i->map == MAP_0F38 && (i->op == 0xf2 || i->op == 0xf3 ||
                                              (i->op == 0xf7 && i->pp == 0));
        if (!model_bit(c, 7, 1, is_bmi1 ? 3 : 8)) throw_ud(c);
        /* RORX has no such operand (SDM 2B, "VEX.vvvv must be 1111b"). */
        if (i->map == MAP_0F3A && i->vvvv != 0) throw_ud(c);
    } else if (i->has_vex) {
        check_avx(c);
    } else if (is_mmx(i, kind) || kind == 'z') {
        bool is_sse = kind == 'O' && i->pp;
        if (i->map == MAP_0F && i->op < 0x30) is_sse = true;
        if (is_sse) check_sse(c);
        check_mmx(c);
    } else {
        check_sse(c);
    }
}

/* VZEROUPPER and VZEROALL outside 64-bit code: registers 0 to 7 alone.  By
 * VMOVAPS xmm, xmm or VPXOR xmm, xmm, xmm. */
static void zero_low(struct cpu *c, const struct insn *i)
{
    for (unsigned n = 0; n < 8; n++) {
        struct native_code k;
        struct native_regs r = { 0 };
        code_open(&k);
        code_add(&k, 0xc5);
        code_add(&k, i->vl ? 0x81 | (~n & 15) << 3 : 0xf8);
        code_add(&k, i->vl ? 0xef : 0x28);
        code_add(&k, 0xc0 | n << 3 | n);
        native_run(c, &k, &r, NULL);
    }
}

/* EMMS, VZEROUPPER, VZEROALL */
static void run_zero(struct cpu *c, struct insn *i, char kind)
{
    struct native_code k;
    struct native_regs r = { 0 };
    if (i->has_vex && i->vvvv) throw_ud(c);
    if (i->has_vex && i->mode != 8) {
        zero_low(c, i);
        return;
    }
    vector_encode(i, kind, &k);
    native_run(c, &k, &r, NULL);
}

bool emulate_vector(struct cpu *c, struct insn *i)
{
    char kind = kind_of(i);
    if (kind == '.') return false;
    if (i->has_vex && is_mmx(i, kind)) return false;
    check_unit(c, i, kind);
    if (kind == 'z') {
        run_zero(c, i, kind);
    } else if (is_one_of(kind, "fFclL")) {
        vector_masked(c, i, kind);
    } else {
        run(c, i, kind);
    }
    return true;
}
