/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Instruction decoder against Zydis: lengths of random byte strings in 16-,
 * 32- and 64-bit code, and #UD for what is no instruction.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <Zydis/Zydis.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/cpu/insn.h"
#include "tests/unit/support/cpu_rig.h"

static uint64_t state;

static uint64_t rnd(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state * 0x2545f4914f6cdd1d;
}

static void seed(void)
{
    const char *given = getenv("ORRERY_TEST_SEED");
    uint64_t v = given ? strtoull(given, NULL, 0) : (uint64_t)time(NULL);
    print_message("seed %llu\n", (unsigned long long)v);
    state = v * 0x9e3779b97f4a7c15 | 1;
}

/* Random bytes, opcode maps and prefixes more often than chance has them. */
static void make_bytes(uint8_t b[16])
{
    static const uint8_t starts[] = { 0x66, 0x67, 0xf0, 0xf2, 0xf3, 0x2e,
                                      0x65, 0x48, 0x0f, 0x0f, 0x0f, 0xc4,
                                      0xc5, 0x41, 0x4f, 0x0f };
    unsigned n = 0;
    for (unsigned k = 0; k < 16; k++) {
        b[k] = (uint8_t)rnd();
    }
    while (rnd() % 3 == 0 && n < 6) {
        b[n++] = starts[rnd() % sizeof(starts)];
    }
    if (n && b[n - 1] == 0x0f && rnd() % 3 == 0) {
        b[n] = rnd() & 1 ? 0x38 : 0x3a;
    }
}

/*
 * What Zydis decodes and this decoder refuses on purpose: EVEX and MVEX (not
 * offered to guests), XOP and 3DNow! (AMD, gone), and with them everything of
 * processors never modelled.  Zydis takes the AMD forms of branches with
 * prefix 66 in 64-bit code as Intel does, like us.
 */
static bool is_left_out(const ZydisDecodedInstruction *z)
{
    switch (z->encoding) {
    case ZYDIS_INSTRUCTION_ENCODING_EVEX:
    case ZYDIS_INSTRUCTION_ENCODING_MVEX:
    case ZYDIS_INSTRUCTION_ENCODING_XOP:
    case ZYDIS_INSTRUCTION_ENCODING_3DNOW: return true;
    default: break;
    }
    if (z->meta.isa_ext == ZYDIS_ISA_EXT_PADLOCK || /* VIA */
        z->meta.isa_ext == ZYDIS_ISA_EXT_KNC ||     /* Knights Corner */
        z->meta.isa_ext == ZYDIS_ISA_EXT_KNCE ||
        z->meta.isa_ext == ZYDIS_ISA_EXT_KNCV) {
        return true;
    }
    switch (z->mnemonic) {
    case ZYDIS_MNEMONIC_FEMMS:
    case ZYDIS_MNEMONIC_GETSEC:
    case ZYDIS_MNEMONIC_VMREAD:
    case ZYDIS_MNEMONIC_VMWRITE:
    case ZYDIS_MNEMONIC_EXTRQ: /* SSE4A */
    case ZYDIS_MNEMONIC_INSERTQ: return true;

    default: return false;
    }
}

static void check_lengths(ZydisMachineMode machine, ZydisStackWidth width,
                          unsigned mode)
{
    ZydisDecoder d;
    ZydisDecodedInstruction z;
    unsigned compared = 0;
    seed();
    assert_true(ZYAN_SUCCESS(ZydisDecoderInit(&d, machine, width)));
    for (unsigned n = 0; n < 2000000; n++) {
        struct insn i;
        make_bytes(i.bytes);
        if (ZYAN_FAILED(
                ZydisDecoderDecodeInstruction(&d, NULL, i.bytes, 15, &z))) {
            continue;
        }
        if (is_left_out(&z)) continue;
        enum insn_result r = insn_decode(&i, 15, mode, false);
        compared++;
        if (r == INSN_OK && i.len == z.length) continue;
        fail_msg("%u-bit %02x %02x %02x %02x %02x %02x %02x %02x (%s): Zydis "
                 "%u bytes, here result %d, %u bytes",
                 mode * 8, i.bytes[0], i.bytes[1], i.bytes[2], i.bytes[3],
                 i.bytes[4], i.bytes[5], i.bytes[6], i.bytes[7],
                 ZydisMnemonicGetString(z.mnemonic), z.length, (int)r, i.len);
    }
    assert_true(compared > 500000);
}

static void lengths_of_64_bit_code_agree_with_zydis(void **unused)
{
    (void)unused;
    check_lengths(ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64, 8);
}

static void lengths_of_32_bit_code_agree_with_zydis(void **unused)
{
    (void)unused;
    check_lengths(ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32, 4);
}

static void lengths_of_16_bit_code_agree_with_zydis(void **unused)
{
    (void)unused;
    check_lengths(ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_STACK_WIDTH_16, 2);
}

/* Every prefix of an instruction is too short, the whole is not. */
static void missing_bytes_are_asked_for(void **unused)
{
    (void)unused;
    seed();
    for (unsigned n = 0; n < 200000; n++) {
        struct insn i;
        make_bytes(i.bytes);
        if (insn_decode(&i, 15, 8, false) != INSN_OK) continue;
        unsigned len = i.len;
        for (unsigned have = 0; have < len; have++) {
            assert_int_equal(insn_decode(&i, have, 8, false), INSN_SHORT);
        }
        assert_int_equal(insn_decode(&i, len, 8, false), INSN_OK);
    }
}

static void sixteen_bytes_are_too_long(void **unused)
{
    (void)unused;
    struct insn i;
    memset(i.bytes, 0x66, 16);
    assert_int_equal(insn_decode(&i, 15, 8, false), INSN_LONG);
    i.bytes[14] = 0x90;
    assert_int_equal(insn_decode(&i, 15, 8, false), INSN_OK);
    i.bytes[13] = 0xb8; /* a word immediate would end past byte 15 */
    assert_int_equal(insn_decode(&i, 15, 8, false), INSN_LONG);
}

/* Encodings Zydis refuses that processors execute: the hint NOP space,
 * SETcc with any ModRM.reg, undocumented aliases. */
static bool is_known_alias(const struct insn *i)
{
    if (i->map == MAP_0F && i->op >= 0x0d && i->op <= 0x1f) return true;
    return false;
}

static void no_instruction_is_invalid_opcode(void **unused)
{
    (void)unused;
    struct cpu_rig *r = rig_open(true, "max");
    ZydisDecoder d;
    ZydisDecodedInstruction z;
    unsigned checked = 0, odd = 0;
    seed();
    ZydisDecoderInit(&d, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
    for (unsigned n = 0; n < 1000000; n++) {
        struct insn i;
        uint64_t image[VECTOR_BYTES / 8] __attribute__((aligned(64))) = { 0 };
        make_bytes(i.bytes);
        if (ZYAN_SUCCESS(
                ZydisDecoderDecodeInstruction(&d, NULL, i.bytes, 15, &z))) {
            continue;
        }
        rig_flat_state(r);
        for (unsigned k = 0; k < 16; k++) {
            r->c.gpr[k] = RIG_BASE + RIG_DATA + 0x1000;
        }
        memcpy(r->ram + RIG_CODE, i.bytes, 15);
        image[0] = 0x37f;
        image[3] = 0x1f80;
        image[64] = 7;
        enum cpu_step step = emulate_vector_state(r, image);
        checked++;
        if (step == STEP_FAULT) continue;
        insn_decode(&i, 15, 8, false);
        if (is_known_alias(&i)) continue;
        if (odd++ < 20) {
            print_message("executed: %02x %02x %02x %02x %02x %02x %02x\n",
                          i.bytes[0], i.bytes[1], i.bytes[2], i.bytes[3],
                          i.bytes[4], i.bytes[5], i.bytes[6]);
        }
    }
    rig_close(r);
    print_message("%u byte strings, %u executed\n", checked, odd);
    assert_int_equal(odd, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lengths_of_64_bit_code_agree_with_zydis),
        cmocka_unit_test(lengths_of_32_bit_code_agree_with_zydis),
        cmocka_unit_test(lengths_of_16_bit_code_agree_with_zydis),
        cmocka_unit_test(missing_bytes_are_asked_for),
        cmocka_unit_test(sixteen_bytes_are_too_long),
        cmocka_unit_test(no_instruction_is_invalid_opcode),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
