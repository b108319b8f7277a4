/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/support/cpu_oracle.h"

#include <Zydis/Zydis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/support/amd.h"
#include "tests/unit/support/cpu_rig.h"

struct oracle {
    struct cpu_rig *rig;
    ZydisDecoder decoder;
    uint64_t random;
    enum oracle_class class;
    uint8_t bytes[16];
    unsigned count;
    ZydisDecodedInstruction zi;
    ZydisDecodedOperand op[ZYDIS_MAX_OPERAND_COUNT];
    struct native_state start;
    uint8_t memory[2][RIG_DATA_BYTES];
    uint8_t image[3][VECTOR_BYTES] __attribute__((aligned(64)));
};

static uint64_t rnd(struct oracle *o)
{
    o->random ^= o->random << 13;
    o->random ^= o->random >> 7;
    o->random ^= o->random << 17;
    return o->random * 0x2545f4914f6cdd1d;
}

/* Values instructions find interesting more often than chance does. */
static uint64_t interesting(struct oracle *o)
{
    uint64_t v = rnd(o);
    switch (rnd(o) % 8) {
    case 0: return v & 0xff;
    case 1: return v & 0xffff;
    case 2: return (uint64_t)(int64_t)(int8_t)v;
    case 3: return (uint64_t)1 << (v & 63);
    case 4: return ((uint64_t)1 << (v & 63)) - 1;
    case 5: return v & 0x8000000080008080;
    default: return v;
    }
}

static bool is_excluded_category(const ZydisDecodedInstruction *z)
{
    switch (z->meta.category) {
    case ZYDIS_CATEGORY_SYSTEM:
    case ZYDIS_CATEGORY_INTERRUPT:
    case ZYDIS_CATEGORY_IO:
    case ZYDIS_CATEGORY_IOSTRINGOP:
    case ZYDIS_CATEGORY_SYSCALL:
    case ZYDIS_CATEGORY_SYSRET:
    case ZYDIS_CATEGORY_CALL:
    case ZYDIS_CATEGORY_RET:
    case ZYDIS_CATEGORY_COND_BR:
    case ZYDIS_CATEGORY_UNCOND_BR:
    case ZYDIS_CATEGORY_SEGOP:
    case ZYDIS_CATEGORY_XSAVE:
    case ZYDIS_CATEGORY_XSAVEOPT:
    case ZYDIS_CATEGORY_RDRAND:
    case ZYDIS_CATEGORY_RDSEED:
    case ZYDIS_CATEGORY_RDWRFSGS:
    case ZYDIS_CATEGORY_CLDEMOTE:
    case ZYDIS_CATEGORY_WAITPKG:
    case ZYDIS_CATEGORY_UINTR:
    case ZYDIS_CATEGORY_AMX_TILE:
    case ZYDIS_CATEGORY_CET:
    case ZYDIS_CATEGORY_VTX: return true;
    default: return false;
    }
}

static bool is_excluded_mnemonic(const ZydisDecodedInstruction *z)
{
    switch (z->mnemonic) {
    case ZYDIS_MNEMONIC_POPF: /* may set TF */
    case ZYDIS_MNEMONIC_POPFD:
    case ZYDIS_MNEMONIC_POPFQ:
    case ZYDIS_MNEMONIC_PUSHF: /* shows the host's system flags */
    case ZYDIS_MNEMONIC_PUSHFD:
    case ZYDIS_MNEMONIC_PUSHFQ:
    case ZYDIS_MNEMONIC_CPUID:
    case ZYDIS_MNEMONIC_RDTSC:
    case ZYDIS_MNEMONIC_RDTSCP:
    case ZYDIS_MNEMONIC_RDPID:
    case ZYDIS_MNEMONIC_RDPMC:
    case ZYDIS_MNEMONIC_RDPKRU:
    case ZYDIS_MNEMONIC_WRPKRU:
    case ZYDIS_MNEMONIC_XGETBV:
    case ZYDIS_MNEMONIC_SERIALIZE:
    case ZYDIS_MNEMONIC_STD: /* leaves the host's DF set */
    case ZYDIS_MNEMONIC_LAR: /* look at the host's descriptors */
    case ZYDIS_MNEMONIC_LSL:
    case ZYDIS_MNEMONIC_VERR:
    case ZYDIS_MNEMONIC_VERW:
    case ZYDIS_MNEMONIC_LSS:
    case ZYDIS_MNEMONIC_LFS:
    case ZYDIS_MNEMONIC_LGS:
    case ZYDIS_MNEMONIC_FXSAVE: /* tested apart */
    case ZYDIS_MNEMONIC_FXSAVE64:
    case ZYDIS_MNEMONIC_FXRSTOR:
    case ZYDIS_MNEMONIC_FXRSTOR64:
    case ZYDIS_MNEMONIC_ENQCMD:
    case ZYDIS_MNEMONIC_ENQCMDS:
    case ZYDIS_MNEMONIC_ENCLU:
    case ZYDIS_MNEMONIC_XRESLDTRK:
    case ZYDIS_MNEMONIC_XSUSLDTRK:
    case ZYDIS_MNEMONIC_SEAMCALL:
    case ZYDIS_MNEMONIC_MOVDIRI: /* not offered to guests */
    case ZYDIS_MNEMONIC_MOVDIR64B:
    case ZYDIS_MNEMONIC_MONITORX:
    case ZYDIS_MNEMONIC_MWAITX:
    case ZYDIS_MNEMONIC_XTEST:
    case ZYDIS_MNEMONIC_ENTER: /* deep levels read far below the stack */
    case ZYDIS_MNEMONIC_PTWRITE: return true;
    default: return false;
    }
}

/* Not offered to guests by the software CPU. */
static bool is_excluded_set(const ZydisDecodedInstruction *z)
{
    switch (z->meta.isa_set) {
    case ZYDIS_ISA_SET_AVX_VNNI:
    case ZYDIS_ISA_SET_RTM:
    case ZYDIS_ISA_SET_SSE4A:
    case ZYDIS_ISA_SET_PREFETCHWT1: return true;
    default: break;
    }
    return z->encoding == ZYDIS_INSTRUCTION_ENCODING_EVEX ||
           z->encoding == ZYDIS_INSTRUCTION_ENCODING_MVEX ||
           z->encoding == ZYDIS_INSTRUCTION_ENCODING_XOP ||
           z->encoding == ZYDIS_INSTRUCTION_ENCODING_3DNOW;
}

static bool is_mask_instruction(const struct oracle *o)
{
    for (unsigned n = 0; n < o->zi.operand_count; n++) {
        if (o->op[n].type == ZYDIS_OPERAND_TYPE_REGISTER &&
            ZydisRegisterGetClass(o->op[n].reg.value) == ZYDIS_REGCLASS_MASK) {
            return true;
        }
    }
    return false;
}

static bool names_segment(const struct oracle *o)
{
    for (unsigned n = 0; n < o->zi.operand_count; n++) {
        if (o->op[n].type == ZYDIS_OPERAND_TYPE_REGISTER &&
            ZydisRegisterGetClass(o->op[n].reg.value) ==
                ZYDIS_REGCLASS_SEGMENT) {
            return true;
        }
        if (o->op[n].type == ZYDIS_OPERAND_TYPE_MEMORY &&
            (o->op[n].mem.segment == ZYDIS_REGISTER_FS ||
             o->op[n].mem.segment == ZYDIS_REGISTER_GS)) {
            return true;
        }
    }
    return false;
}

static bool is_wanted(struct oracle *o)
{
    const ZydisDecodedInstruction *z = &o->zi;
    if (amd_differs(o->bytes, z, o->class == ORACLE_32 ? 4 : 8)) return false;
    if (is_excluded_category(z) || is_excluded_mnemonic(z) ||
        is_excluded_set(z) || is_mask_instruction(o) || names_segment(o)) {
        return false;
    }
    bool is_x87 = z->meta.isa_ext == ZYDIS_ISA_EXT_X87;
    bool is_integer = z->meta.isa_ext == ZYDIS_ISA_EXT_BASE ||
                      z->meta.isa_ext == ZYDIS_ISA_EXT_BMI1 ||
                      z->meta.isa_ext == ZYDIS_ISA_EXT_BMI2 ||
                      z->meta.isa_ext == ZYDIS_ISA_EXT_LZCNT ||
                      z->meta.isa_ext == ZYDIS_ISA_EXT_ADOX_ADCX ||
                      z->meta.isa_ext == ZYDIS_ISA_EXT_MOVBE ||
                      z->meta.isa_ext == ZYDIS_ISA_EXT_LONGMODE;
    switch (o->class) {
    case ORACLE_X87: return is_x87;
    case ORACLE_VECTOR: return !is_x87 && !is_integer;
    default: return is_integer;
    }
}

/* Random bytes of a likely form. */
static void make_bytes(struct oracle *o)
{
    unsigned n = 0;
    uint8_t *b = o->bytes;
    for (unsigned k = 0; k < 16; k++) {
        b[k] = (uint8_t)rnd(o);
    }
    unsigned form = rnd(o) % 8;
    static const uint8_t prefixes[] = { 0x66, 0xf2, 0xf3, 0x66, 0xf3, 0x67 };
    if (rnd(o) % 3 == 0) b[n++] = prefixes[rnd(o) % 6];
    if (o->class == ORACLE_INTEGER && rnd(o) % 16 == 0) b[n++] = 0xf0;
    if (o->class == ORACLE_X87) {
        b[n++] = 0xd8 | (rnd(o) & 7);
        return;
    }
    if (form < 2 && n == 0) { /* VEX */
        b[n++] = rnd(o) & 1 ? 0xc5 : 0xc4;
        if (b[0] == 0xc4) {
            b[n] = (uint8_t)((rnd(o) & 0xe0) | (1 + rnd(o) % 3));
            n++;
        }
        if (rnd(o) & 1) b[n] |= 0x78; /* vvvv not used */
        return;
    }
    if (o->class != ORACLE_32 && (rnd(o) & 1)) b[n++] = 0x40 | (rnd(o) & 15);
    if (o->class == ORACLE_VECTOR || rnd(o) % 2 == 0) b[n++] = 0x0f;
    if (n && b[n - 1] == 0x0f) {
        unsigned map = rnd(o) % 4;
        if (map == 0) b[n++] = 0x38;
        if (map == 1) b[n++] = 0x3a;
        if (map == 0 && o->class == ORACLE_INTEGER) {
            b[n] = 0xf0 | (rnd(o) & 7);
        }
    }
}

/* Make register values so that a memory operand lands in the data area. */
static void aim(struct oracle *o)
{
    uint64_t *g = o->start.gpr;
    uint64_t to =
        RIG_BASE + RIG_DATA + 0x800 + rnd(o) % (RIG_DATA_BYTES - 0x1000);
    if (rnd(o) & 1) to &= ~(uint64_t)63;
    for (unsigned n = 0; n < o->zi.operand_count; n++) {
        const ZydisDecodedOperand *p = &o->op[n];
        if (p->type != ZYDIS_OPERAND_TYPE_MEMORY) continue;
        int64_t disp = p->mem.disp.value;
        uint64_t mask = o->zi.address_width == 32 ? UINT32_MAX : UINT64_MAX;
        int base = -1, index = -1;
        if (p->mem.base != ZYDIS_REGISTER_NONE &&
            p->mem.base != ZYDIS_REGISTER_RIP &&
            p->mem.base != ZYDIS_REGISTER_EIP) {
            base = ZydisRegisterGetId(p->mem.base);
        }
        bool is_vsib = o->op[n].mem.type == ZYDIS_MEMOP_TYPE_VSIB;
        if (p->mem.index != ZYDIS_REGISTER_NONE && !is_vsib) {
            index = ZydisRegisterGetId(p->mem.index);
        }
        if (index >= 0 && base >= 0 && base != index) {
            g[index] = rnd(o) & 0xff;
            g[base] = (to - g[index] * p->mem.scale - (uint64_t)disp) & mask;
        } else if (base >= 0 && index < 0) {
            g[base] = (to - (uint64_t)disp) & mask;
        } else if (o->zi.raw.disp.size == 32 && index < 0) {
            uint64_t d = to;
            if (base < 0 && p->mem.base != ZYDIS_REGISTER_NONE) {
                d = to - (RIG_BASE + RIG_CODE + o->zi.length);
            }
            uint32_t d32 = (uint32_t)d;
            memcpy(o->bytes + o->zi.raw.disp.offset, &d32, 4);
        }
        break;
    }
}

/* A bit offset in a register reaches anywhere: keep it near. */
static void tame_bit_offset(struct oracle *o)
{
    switch (o->zi.mnemonic) {
    case ZYDIS_MNEMONIC_BT:
    case ZYDIS_MNEMONIC_BTS:
    case ZYDIS_MNEMONIC_BTR:
    case ZYDIS_MNEMONIC_BTC:
        if (o->op[1].type != ZYDIS_OPERAND_TYPE_REGISTER) return;
        o->start.gpr[(uint8_t)ZydisRegisterGetId(o->op[1].reg.value)] =
            (rnd(o) % 8192 - 4096) &
            (o->class == ORACLE_32 ? UINT32_MAX : UINT64_MAX);
        return;
    default: return;
    }
}

static uint64_t register_value(const struct oracle *o, ZydisRegister reg)
{
    if (reg == ZYDIS_REGISTER_NONE) return 0;
    if (reg == ZYDIS_REGISTER_RIP || reg == ZYDIS_REGISTER_EIP) {
        return RIG_BASE + RIG_CODE + o->count;
    }
    return o->start.gpr[(uint8_t)ZydisRegisterGetId(reg) & 15];
}

/* Is a register both bit offset and address? */
static bool has_wild_bit(const struct oracle *o)
{
    switch (o->zi.mnemonic) {
    case ZYDIS_MNEMONIC_BT:
    case ZYDIS_MNEMONIC_BTS:
    case ZYDIS_MNEMONIC_BTR:
    case ZYDIS_MNEMONIC_BTC: break;
    default: return false;
    }
    if (o->op[1].type != ZYDIS_OPERAND_TYPE_REGISTER) return false;
    return register_value(o, o->op[1].reg.value) + 4096 >= 8192;
}

/* Does the operand lie in the rig's RAM but outside what is compared? */
static bool is_stray(const struct oracle *o)
{
    if (has_wild_bit(o)) return true;
    for (unsigned n = 0; n < o->zi.operand_count; n++) {
        const ZydisDecodedOperand *p = &o->op[n];
        if (p->type != ZYDIS_OPERAND_TYPE_MEMORY) continue;
        if (p->mem.type == ZYDIS_MEMOP_TYPE_VSIB) continue;
        uint64_t at = register_value(o, p->mem.base) +
                      register_value(o, p->mem.index) * p->mem.scale +
                      (uint64_t)p->mem.disp.value;
        if (o->zi.address_width == 32) at = (uint32_t)at;
        uint64_t low = at - (RIG_BASE - 64), high = at - (RIG_BASE + RIG_DATA);
        if (low < RIG_BYTES + 64 && high >= RIG_DATA_BYTES - 512) return true;
    }
    return false;
}

static void make_state(struct oracle *o)
{
    uint64_t data = RIG_BASE + RIG_DATA + RIG_DATA_BYTES / 2;
    for (unsigned n = 0; n < 16; n++) {
        o->start.gpr[n] = interesting(o);
    }
    o->start.gpr[GPR_SP] = data + (rnd(o) & 0x3f8);
    o->start.gpr[GPR_DI] = data + (rnd(o) & 0x3ff);
    o->start.gpr[GPR_SI] = data + (rnd(o) & 0x3ff);
    if (rnd(o) & 1) o->start.gpr[GPR_BX] = data;
    if (rnd(o) & 1) o->start.gpr[GPR_BP] = data;
    if (o->zi.attributes & (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE |
                            ZYDIS_ATTRIB_HAS_REPNE)) {
        o->start.gpr[GPR_CX] = rnd(o) % 64;
    }
    if (o->class == ORACLE_32) {
        for (unsigned n = 0; n < 16; n++) {
            o->start.gpr[n] = n < 8 ? (uint32_t)o->start.gpr[n] : 0;
        }
    }
    o->start.flags = rnd(o) & 0x8d5;
    if (rnd(o) % 4 == 0) o->start.flags |= FLAG_DF;
    tame_bit_offset(o);
    aim(o);
    uint64_t *m = (uint64_t *)(o->rig->ram + RIG_DATA);
    for (unsigned n = 0; n < RIG_DATA_BYTES / 8; n++) {
        m[n] = n & 3 ? m[n] * 0x9e3779b97f4a7c15 + n : interesting(o);
    }
    memcpy(o->memory[0], m, RIG_DATA_BYTES);
}

/* Floats of all kinds, small integers and noise. */
static uint64_t vector_value(struct oracle *o)
{
    double d = (double)(int64_t)(rnd(o) % 2001 - 1000) / 8;
    float f[2] = { (float)d, (float)(rnd(o) % 1000) };
    uint64_t v;
    switch (rnd(o) % 6) {
    case 0: memcpy(&v, &d, 8); return v;
    case 1: memcpy(&v, f, 8); return v;
    case 2: return rnd(o) & 0x0000007f0000007f;
    default: return interesting(o);
    }
}

static void make_image(struct oracle *o)
{
    uint8_t *p = o->image[0];
    memset(p, 0, VECTOR_BYTES);
    uint64_t *q = (uint64_t *)p;
    for (unsigned n = 160 / 8; n < 416 / 8; n++) {
        q[n] = vector_value(o);
    }
    for (unsigned n = 576 / 8; n < 832 / 8; n++) {
        q[n] = vector_value(o);
    }
    uint16_t fcw = 0x037f, fsw = 0, tag = 0;
    if (o->class == ORACLE_X87) {
        fcw = (uint16_t)(0x007f | (rnd(o) & 0x0f00) | (rnd(o) % 8 ? 0x3f : 0));
        if (rnd(o) % 8 == 0) fcw &= (uint16_t) ~(rnd(o) & 0x3f);
        tag = (uint16_t)(rnd(o) & 0xff);
        fsw = (uint16_t)(rnd(o) & 0x3800);
    }
    for (unsigned n = 0; n < 8; n++) {
        long double v = (long double)(int64_t)interesting(o) / 1024;
        memcpy(p + 32 + 16 * n, &v, 10);
    }
    uint32_t mxcsr = 0x1f80 | (rnd(o) & 0xe040);
    if (rnd(o) % 8 == 0) mxcsr &= ~(uint32_t)(rnd(o) & 0x1f80);
    memcpy(p, &fcw, 2);
    memcpy(p + 2, &fsw, 2);
    p[4] = (uint8_t)tag;
    memcpy(p + 24, &mxcsr, 4);
    q[512 / 8] = 7;
    memcpy(o->image[1], p, VECTOR_BYTES);
    memcpy(o->image[2], p, VECTOR_BYTES);
}

/* Vectors of the guest a host signal may stand for. */
static bool is_same_fault(int sig, unsigned vector)
{
    switch (sig) {
    case 4: return vector == EXC_UD;
    case 5: return vector == EXC_OF || vector == EXC_BP;
    case 8: return vector == EXC_DE || vector == EXC_MF || vector == EXC_XM;
    case 11:
    case 7:
        return vector == EXC_BR || vector == EXC_PF || vector == EXC_GP ||
               vector == EXC_SS || vector == EXC_AC;
    default: return false;
    }
}

static void describe(struct oracle *o, struct oracle_report *rep,
                     const char *what, uint64_t native, uint64_t ours)
{
    char text[160] = "?";
    size_t at = strlen(rep->text);
    ZydisFormatter f;
    ZydisFormatterInit(&f, ZYDIS_FORMATTER_STYLE_INTEL);
    ZydisFormatterFormatInstruction(&f, &o->zi, o->op, o->zi.operand_count,
                                    text, sizeof(text), 0, NULL);
    if (at > sizeof(rep->text) - 300) return;
    at += (size_t)sprintf(rep->text + at, "\n  %s [", text);
    for (unsigned n = 0; n < o->count; n++) {
        at += (size_t)sprintf(rep->text + at, "%02x ", o->bytes[n]);
    }
    sprintf(rep->text + at, "] %s: host %llx, emulated %llx (flags %llx)", what,
            (unsigned long long)native, (unsigned long long)ours,
            (unsigned long long)o->start.flags);
}

/* BSF and BSR with a zero source leave the destination undefined by the
 * manual; processors keep it, and so must we: compared like the rest.
 * Pointers of saved x87 state are left out. */
static void clear_x87_pointers(uint8_t *image)
{
    memset(image + 6, 0, 18);
}

static void compare(struct oracle *o, const struct native_state *n,
                    struct oracle_report *rep)
{
    static const char *const names[] = { "rax", "rcx", "rdx", "rbx",
                                         "rsp", "rbp", "rsi", "rdi",
                                         "r8",  "r9",  "r10", "r11",
                                         "r12", "r13", "r14", "r15" };
    const struct cpu *c = &o->rig->c;
    uint64_t undefined = o->zi.cpu_flags ? o->zi.cpu_flags->undefined : 0;
    uint64_t mask = 0xcd5 & ~undefined;
    for (unsigned k = 0; k < 16; k++) {
        if (n->gpr[k] != c->gpr[k]) {
            describe(o, rep, names[k], n->gpr[k], c->gpr[k]);
            return;
        }
    }
    if ((n->flags ^ c->rflags) & mask) {
        describe(o, rep, "flags", n->flags & mask, c->rflags & mask);
        return;
    }
    const uint8_t *m = o->rig->ram + RIG_DATA;
    for (unsigned k = 0; k < RIG_DATA_BYTES; k++) {
        if (o->memory[1][k] != m[k]) {
            describe(o, rep, "memory", o->memory[1][k], m[k]);
            return;
        }
    }
    clear_x87_pointers(o->image[1]);
    clear_x87_pointers(o->image[2]);
    for (unsigned k = 0; k < VECTOR_BYTES; k++) {
        if (o->image[1][k] != o->image[2][k]) {
            char what[40];
            snprintf(what, sizeof(what), "vector state byte %u", k);
            describe(o, rep, what, o->image[1][k], o->image[2][k]);
            return;
        }
    }
}

/* An unmasked x87 exception keeps the host from storing at all, so that it
 * does not find a bad address; the emulation looks at the address first. */
static bool may_skip_store(const struct oracle *o)
{
    return o->class == ORACLE_X87 && (o->image[0][0] & 0x3f) != 0x3f;
}

/* The instruction's own saved environment holds host pointers. */
static bool stores_pointers(const struct oracle *o)
{
    switch (o->zi.mnemonic) {
    case ZYDIS_MNEMONIC_FNSTENV:
    case ZYDIS_MNEMONIC_FNSAVE: return true;
    default: return false;
    }
}

static void run_case(struct oracle *o, struct oracle_report *rep)
{
    struct cpu_rig *r = o->rig;
    struct native_state n = o->start;
    rig_flat_state(r);
    int sig = native_insn_vector(r, &n, o->bytes, o->count, o->image[1]);
    memcpy(o->memory[1], r->ram + RIG_DATA, RIG_DATA_BYTES);
    memcpy(r->ram + RIG_DATA, o->memory[0], RIG_DATA_BYTES);
    memcpy(r->c.gpr, o->start.gpr, sizeof(r->c.gpr));
    r->c.rflags = o->start.flags | 2;
    enum cpu_step step = emulate_vector_state(r, o->image[2]);
    uint64_t handlers = RIG_BASE + RIG_HANDLERS;
    if (step == STEP_FAULT) {
        unsigned vector = (unsigned)((r->c.rip - handlers) / 16);
        if (may_skip_store(o) && !sig) {
            rep->skipped++;
            return;
        }
        if (!is_same_fault(sig, vector)) {
            describe(o, rep, "fault: signal, vector", (uint64_t)sig, vector);
        }
        rep->faulted++;
    } else if (sig) {
        describe(o, rep, "no fault: signal, step", (uint64_t)sig, step);
    } else if (step != STEP_OK || r->c.rip != RIG_BASE + RIG_CODE + o->count) {
        describe(o, rep, "step, rip", (uint64_t)step, r->c.rip);
    } else if (!stores_pointers(o)) {
        compare(o, &n, rep);
        rep->compared++;
    }
}

void oracle_run(enum oracle_class class, uint64_t seed, uint64_t count,
                struct oracle_report *rep)
{
    struct oracle *o = aligned_alloc(64, (sizeof(*o) + 63) & ~63ul);
    memset(o, 0, sizeof(*o));
    memset(rep, 0, sizeof(*rep));
    o->rig = rig_open(true, "max");
    o->class = class;
    o->random = seed * 0x9e3779b97f4a7c15 | 1;
    o->rig->is_32 = class == ORACLE_32;
    if (class == ORACLE_32) {
        ZydisDecoderInit(&o->decoder, ZYDIS_MACHINE_MODE_LEGACY_32,
                         ZYDIS_STACK_WIDTH_32);
    } else {
        ZydisDecoderInit(&o->decoder, ZYDIS_MACHINE_MODE_LONG_64,
                         ZYDIS_STACK_WIDTH_64);
    }
    for (uint64_t n = 0; n < count; n++) {
        make_bytes(o);
        if (ZYAN_FAILED(ZydisDecoderDecodeFull(&o->decoder, o->bytes, 15,
                                               &o->zi, o->op)) ||
            !is_wanted(o)) {
            rep->skipped++;
            continue;
        }
        o->count = o->zi.length;
        make_state(o);
        if (is_stray(o)) {
            rep->skipped++;
            continue;
        }
        make_image(o);
        run_case(o, rep);
    }
    rig_close(o->rig);
    free(o);
}
