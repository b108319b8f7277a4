/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The registers gdb is told about, in its order, and the target description
 * made from the same table.  Features and names: gdb manual, "Standard Target
 * Features: i386"; org.orrery.i386.sys is ours.
 */
#include "monitor/gdb_int.h"

#include "core/cpu/cpu.h"

#define GPR(n, i, ty, b)           \
    {                              \
        n, ty, b, i, GDB_GPR, NULL \
    }
#define SEG(n, i)                                  \
    {                                              \
        n, "int32", 32, SEG_##i, GDB_SEGMENT, NULL \
    }
#define ST(i)                                    \
    {                                            \
        "st" #i, "i387_ext", 80, i, GDB_ST, NULL \
    }
#define FPU(n, i)                      \
    {                                  \
        n, "int", 32, i, GDB_FPU, NULL \
    }
#define XMM(i)                                    \
    {                                             \
        "xmm" #i, "vec128", 128, i, GDB_XMM, NULL \
    }
#define YMM(i)                                              \
    {                                                       \
        "ymm" #i "h", "uint128", 128, i, GDB_YMM_HIGH, NULL \
    }
#define COMMON                                                                 \
    SEG("cs", CS), SEG("ss", SS), SEG("ds", DS), SEG("es", ES), SEG("fs", FS), \
        SEG("gs", GS), ST(0), ST(1), ST(2), ST(3), ST(4), ST(5), ST(6), ST(7), \
        FPU("fctrl", 0), FPU("fstat", 1), FPU("ftag", 2), FPU("fiseg", 3),     \
        FPU("fioff", 4), FPU("foseg", 5), FPU("fooff", 6), FPU("fop", 7)
#define SYSTEM                                               \
    { "cr0", "i386_cr0", 64, 0, GDB_CONTROL, sys },          \
        { "cr2", "int64", 64, 2, GDB_CONTROL, NULL },        \
        { "cr3", "int64", 64, 3, GDB_CONTROL, NULL },        \
        { "cr4", "i386_cr4", 64, 4, GDB_CONTROL, NULL },     \
    {                                                        \
        "efer", "i386_efer", 64, GDB_EFER, GDB_CONTROL, NULL \
    }

static const char core[] = "org.gnu.gdb.i386.core";
static const char sse[] = "org.gnu.gdb.i386.sse";
static const char sys[] = "org.orrery.i386.sys";

static const struct gdb_register registers64[] = {
    { "rax", "int64", 64, GPR_AX, GDB_GPR, core },
    GPR("rbx", GPR_BX, "int64", 64),
    GPR("rcx", GPR_CX, "int64", 64),
    GPR("rdx", GPR_DX, "int64", 64),
    GPR("rsi", GPR_SI, "int64", 64),
    GPR("rdi", GPR_DI, "int64", 64),
    GPR("rbp", GPR_BP, "data_ptr", 64),
    GPR("rsp", GPR_SP, "data_ptr", 64),
    GPR("r8", 8, "int64", 64),
    GPR("r9", 9, "int64", 64),
    GPR("r10", 10, "int64", 64),
    GPR("r11", 11, "int64", 64),
    GPR("r12", 12, "int64", 64),
    GPR("r13", 13, "int64", 64),
    GPR("r14", 14, "int64", 64),
    GPR("r15", 15, "int64", 64),
    { "rip", "code_ptr", 64, 0, GDB_PC, NULL },
    { "eflags", "i386_eflags", 32, 0, GDB_FLAGS, NULL },
    COMMON,
    { "xmm0", "vec128", 128, 0, GDB_XMM, sse },
    XMM(1),
    XMM(2),
    XMM(3),
    XMM(4),
    XMM(5),
    XMM(6),
    XMM(7),
    XMM(8),
    XMM(9),
    XMM(10),
    XMM(11),
    XMM(12),
    XMM(13),
    XMM(14),
    XMM(15),
    { "mxcsr", "i386_mxcsr", 32, 0, GDB_MXCSR, NULL },
    { "fs_base", "int64", 64, SEG_FS, GDB_SEGMENT_BASE,
      "org.gnu.gdb.i386.segments" },
    { "gs_base", "int64", 64, SEG_GS, GDB_SEGMENT_BASE, NULL },
    { "ymm0h", "uint128", 128, 0, GDB_YMM_HIGH, "org.gnu.gdb.i386.avx" },
    YMM(1),
    YMM(2),
    YMM(3),
    YMM(4),
    YMM(5),
    YMM(6),
    YMM(7),
    YMM(8),
    YMM(9),
    YMM(10),
    YMM(11),
    YMM(12),
    YMM(13),
    YMM(14),
    YMM(15),
    SYSTEM,
    { "k_gs_base", "int64", 64, 0, GDB_KERNEL_GS, NULL },
};

static const struct gdb_register registers32[] = {
    { "eax", "int32", 32, GPR_AX, GDB_GPR, core },
    GPR("ecx", GPR_CX, "int32", 32),
    GPR("edx", GPR_DX, "int32", 32),
    GPR("ebx", GPR_BX, "int32", 32),
    GPR("esp", GPR_SP, "data_ptr", 32),
    GPR("ebp", GPR_BP, "data_ptr", 32),
    GPR("esi", GPR_SI, "int32", 32),
    GPR("edi", GPR_DI, "int32", 32),
    { "eip", "code_ptr", 32, 0, GDB_PC, NULL },
    { "eflags", "i386_eflags", 32, 0, GDB_FLAGS, NULL },
    COMMON,
    { "xmm0", "vec128", 128, 0, GDB_XMM, sse },
    XMM(1),
    XMM(2),
    XMM(3),
    XMM(4),
    XMM(5),
    XMM(6),
    XMM(7),
    { "mxcsr", "i386_mxcsr", 32, 0, GDB_MXCSR, NULL },
    SYSTEM,
};
#undef GPR
#undef SEG
#undef ST
#undef FPU
#undef XMM
#undef YMM
#undef COMMON
#undef SYSTEM

const struct gdb_register *gdb_register_at(enum gdb_arch arch, unsigned n)
{
    bool is_64 = arch == GDB_ARCH_X86_64;
    unsigned count = is_64 ? sizeof(registers64) / sizeof(registers64[0])
                           : sizeof(registers32) / sizeof(registers32[0]);

    if (n >= count) return NULL;
    return is_64 ? &registers64[n] : &registers32[n];
}

struct flag {
    const char *name; /* NULL ends */
    unsigned first, last;
};

/* SDM volume 1, 3.4.3 */
static const struct flag eflags[] = {
    { "CF", 0, 0 },    { "", 1, 1 },     { "PF", 2, 2 },     { "AF", 4, 4 },
    { "ZF", 6, 6 },    { "SF", 7, 7 },   { "TF", 8, 8 },     { "IF", 9, 9 },
    { "DF", 10, 10 },  { "OF", 11, 11 }, { "IOPL", 12, 13 }, { "NT", 14, 14 },
    { "RF", 16, 16 },  { "VM", 17, 17 }, { "AC", 18, 18 },   { "VIF", 19, 19 },
    { "VIP", 20, 20 }, { "ID", 21, 21 }, { NULL, 0, 0 },
};

/* SDM volume 1, 10.2.3 */
static const struct flag mxcsr[] = {
    { "IE", 0, 0 },   { "DE", 1, 1 },   { "ZE", 2, 2 },   { "OE", 3, 3 },
    { "UE", 4, 4 },   { "PE", 5, 5 },   { "DAZ", 6, 6 },  { "IM", 7, 7 },
    { "DM", 8, 8 },   { "ZM", 9, 9 },   { "OM", 10, 10 }, { "UM", 11, 11 },
    { "PM", 12, 12 }, { "RC", 13, 14 }, { "FZ", 15, 15 }, { NULL, 0, 0 },
};

/* SDM volume 3, 2.5 */
static const struct flag cr0[] = {
    { "PE", 0, 0 },   { "MP", 1, 1 },   { "EM", 2, 2 },   { "TS", 3, 3 },
    { "ET", 4, 4 },   { "NE", 5, 5 },   { "WP", 16, 16 }, { "AM", 18, 18 },
    { "NW", 29, 29 }, { "CD", 30, 30 }, { "PG", 31, 31 }, { NULL, 0, 0 },
};
static const struct flag cr4[] = {
    { "VME", 0, 0 },        { "PVI", 1, 1 },          { "TSD", 2, 2 },
    { "DE", 3, 3 },         { "PSE", 4, 4 },          { "PAE", 5, 5 },
    { "MCE", 6, 6 },        { "PGE", 7, 7 },          { "PCE", 8, 8 },
    { "OSFXSR", 9, 9 },     { "OSXMMEXCPT", 10, 10 }, { "UMIP", 11, 11 },
    { "LA57", 12, 12 },     { "VMXE", 13, 13 },       { "SMXE", 14, 14 },
    { "FSGSBASE", 16, 16 }, { "PCIDE", 17, 17 },      { "OSXSAVE", 18, 18 },
    { "SMEP", 20, 20 },     { "SMAP", 21, 21 },       { "PKE", 22, 22 },
    { NULL, 0, 0 },
};

/* SDM volume 3, 2.2.1 */
static const struct flag efer[] = {
    { "SCE", 0, 0 },   { "LME", 8, 8 }, { "LMA", 10, 10 },
    { "NXE", 11, 11 }, { NULL, 0, 0 },
};

/* The types a feature's registers use have to be declared in it. */
static void print_flags(FILE *out, const char *type, unsigned bytes,
                        const struct flag *f)
{
    fprintf(out, "<flags id=\"%s\" size=\"%u\">\n", type, bytes);
    for (; f->name != NULL; f++)
        fprintf(out, "<field name=\"%s\" start=\"%u\" end=\"%u\"/>\n", f->name,
                f->first, f->last);
    fputs("</flags>\n", out);
}

static void print_sse_types(FILE *out)
{
    static const struct {
        const char *id, *type, *field;
        unsigned count;
    } vector[] = {
        { "v4f", "ieee_single", "v4_float", 4 },
        { "v2d", "ieee_double", "v2_double", 2 },
        { "v16i8", "int8", "v16_int8", 16 },
        { "v8i16", "int16", "v8_int16", 8 },
        { "v4i32", "int32", "v4_int32", 4 },
        { "v2i64", "int64", "v2_int64", 2 },
    };
    enum { VECTORS = sizeof(vector) / sizeof(vector[0]) };

    for (unsigned i = 0; i < VECTORS; i++) {
        fprintf(out, "<vector id=\"%s\" type=\"%s\" count=\"%u\"/>\n",
                vector[i].id, vector[i].type, vector[i].count);
    }
    fputs("<union id=\"vec128\">\n", out);
    for (unsigned i = 0; i < VECTORS; i++) {
        fprintf(out, "<field name=\"%s\" type=\"%s\"/>\n", vector[i].field,
                vector[i].id);
    }
    fputs("<field name=\"uint128\" type=\"uint128\"/>\n</union>\n", out);
    print_flags(out, "i386_mxcsr", 4, mxcsr);
}

void gdb_print_target(enum gdb_arch arch, FILE *out)
{
    static const char *const name[] = {
        [GDB_ARCH_AUTO] = "i386:x86-64",
        [GDB_ARCH_X86_64] = "i386:x86-64",
        [GDB_ARCH_I386] = "i386",
        [GDB_ARCH_I8086] = "i8086",
    };
    const struct gdb_register *r;

    fprintf(out,
            "<?xml version=\"1.0\"?>\n"
            "<!DOCTYPE target SYSTEM \"gdb-target.dtd\">\n"
            "<target version=\"1.0\">\n"
            "<architecture>%s</architecture>\n",
            name[arch]);
    for (unsigned n = 0; (r = gdb_register_at(arch, n)) != NULL; n++) {
        if (r->feature != NULL) {
            if (n > 0) fputs("</feature>\n", out);
            fprintf(out, "<feature name=\"%s\">\n", r->feature);
            if (r->feature == core) print_flags(out, "i386_eflags", 4, eflags);
            if (r->feature == sse) print_sse_types(out);
            if (r->feature == sys) {
                print_flags(out, "i386_cr0", 8, cr0);
                print_flags(out, "i386_cr4", 8, cr4);
                print_flags(out, "i386_efer", 8, efer);
            }
        }
        fprintf(out, "<reg name=\"%s\" bitsize=\"%u\" type=\"%s\"%s/>\n",
                r->name, r->bits, r->type,
                r->kind == GDB_FPU ? " group=\"float\"" : "");
    }
    fputs("</feature>\n</target>\n", out);
}
