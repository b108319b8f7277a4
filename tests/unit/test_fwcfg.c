/* SPDX-License-Identifier: GPL-2.0-or-later */
/* link: hw core */
/* fw_cfg against QEMU's specification of the device. */
#include "tests/unit/support/chips_rig.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/vm/mem.h"
#include "core/vm/port.h"
#include "core/vm/vm.h"
#include "hw/fw_cfg.h"

enum { SELECT = 0x510, DATA = 0x511, DMA_HIGH = 0x514, DMA_LOW = 0x518 };
enum { REQUEST = 0x1000, BUFFER = 0x2000, RAM_BYTES = 4 << 20 };

struct env {
    struct rig *r;
    struct fw_cfg *f;
    struct mem_region ram, mmio;
};

static uint64_t mmio_read(void *arg, uint64_t offset, unsigned bytes)
{
    (void)arg;
    (void)offset;
    (void)bytes;
    return 0;
}

static void mmio_write(void *arg, uint64_t offset, unsigned bytes, uint64_t v)
{
    (void)arg;
    (void)offset;
    (void)bytes;
    (void)v;
    fail_msg("%s", "DMA reached a device");
}

static const struct mem_ops mmio_ops = { mmio_read, mmio_write, 1, 8 };

static int setup(void **state)
{
    struct env *x = calloc(1, sizeof(*x));

    if (x == NULL || rig_setup((void **)&x->r) < 0) return -1;
    rig_add(x->r, &fw_cfg_class);
    x->f = vm_fw_cfg(x->r->vm);
    mem_init_alias(&x->ram, "ram", vm_ram(x->r->vm), 0, RAM_BYTES);
    mem_add_locked(x->r->vm, mem_root(x->r->vm), 0, &x->ram, 0);
    mem_init_mmio(&x->mmio, "mmio", 0x1000, &mmio_ops, NULL);
    mem_add_locked(x->r->vm, mem_root(x->r->vm), 0x80000000, &x->mmio, 0);
    *state = x;
    return 0;
}

static int teardown(void **state)
{
    struct env *x = *state;
    void *r = x->r;

    mem_del_locked(x->r->vm, &x->ram);
    mem_del_locked(x->r->vm, &x->mmio);
    free(x);
    return rig_teardown(&r);
}

static void take(struct env *x, uint16_t key, void *buf, size_t bytes)
{
    uint8_t *p = buf;

    port_write_locked(x->r->vm, SELECT, 2, key);
    for (size_t i = 0; i < bytes; i++) {
        p[i] = rig_in(x->r, DATA);
    }
}

/* Returns the control word as the device leaves it. */
static uint32_t dma(struct env *x, uint32_t control, uint32_t bytes,
                    uint64_t addr)
{
    uint32_t words[4] = { htobe32(control), htobe32(bytes),
                          htobe32((uint32_t)(addr >> 32)),
                          htobe32((uint32_t)addr) };
    uint32_t left;

    mem_write_locked(x->r->vm, REQUEST, words, sizeof(words));
    port_write_locked(x->r->vm, DMA_HIGH, 4, 0);
    port_write_locked(x->r->vm, DMA_LOW, 4, htobe32(REQUEST));
    mem_read_locked(x->r->vm, REQUEST, &left, sizeof(left));
    return be32toh(left);
}

static uint8_t *ram(struct env *x, size_t at)
{
    return vm_ram(x->r->vm)->host + at;
}

static void signature_and_features_are_there(void **state)
{
    struct env *x = *state;
    uint8_t id[4];

    take(x, FW_CFG_SIGNATURE, id, 4);
    assert_memory_equal(id, "QEMU", 4);
    take(x, FW_CFG_ID, id, 4);
    assert_int_equal(id[0] & 3, 3); /* traditional and DMA */
    assert_int_equal(port_read_locked(x->r->vm, DMA_HIGH, 4),
                     htobe32(0x51454d55)); /* "QEMU" */
    assert_int_equal(port_read_locked(x->r->vm, DMA_LOW, 4),
                     htobe32(0x20434647)); /* " CFG" */
}

static void behind_the_end_of_an_item_are_zeros(void **state)
{
    struct env *x = *state;
    uint8_t v[8];

    fw_cfg_add_u16(x->f, FW_CFG_NB_CPUS, 0x1234);
    take(x, FW_CFG_NB_CPUS, v, 8);
    assert_memory_equal(v, "\x34\x12\0\0\0\0\0\0", 8);
    take(x, 0x1f, v, 8); /* no such item */
    assert_memory_equal(v, "\0\0\0\0\0\0\0\0", 8);
    take(x, 0xffff, v, 8);
    assert_memory_equal(v, "\0\0\0\0\0\0\0\0", 8);
}

static void selecting_starts_over(void **state)
{
    struct env *x = *state;
    uint8_t v[4];

    take(x, FW_CFG_SIGNATURE, v, 2);
    take(x, FW_CFG_SIGNATURE, v, 4);
    assert_memory_equal(v, "QEMU", 4);
    rig_out(x->r, DATA, 0x55); /* data can not be written */
    rig_out(x->r, SELECT, 1);  /* nor an octet of the selector */
    take(x, FW_CFG_SIGNATURE, v, 4);
    assert_memory_equal(v, "QEMU", 4);
}

static void the_directory_lists_files_by_name(void **state)
{
    static const char *const name[] = { "etc/zoo", "bootorder", "etc/ape" };
    static const char *const sorted[] = { "bootorder", "etc/ape", "etc/zoo" };
    static const unsigned index[] = { 1, 2, 0 };
    struct env *x = *state;
    struct err e = ERR_INIT;
    uint8_t dir[4 + 3 * 64], v[3];

    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(fw_cfg_add_file(x->f, name[i], "abc" + i, 3 - i, &e),
                         0);
    }
    take(x, FW_CFG_FILE_DIR, dir, sizeof(dir));
    assert_memory_equal(dir, "\0\0\0\3", 4);
    for (unsigned i = 0; i < 3; i++) {
        const uint8_t *p = dir + 4 + 64 * i;
        uint16_t key = (uint16_t)(p[4] << 8 | p[5]);

        assert_string_equal((const char *)p + 8, sorted[i]);
        assert_int_equal(p[3], 3 - index[i]);
        assert_int_equal(key, fw_cfg_file_key(x->f, sorted[i]));
        take(x, key, v, 1);
        assert_int_equal(v[0], 'a' + index[i]);
    }
}

static void a_replaced_file_keeps_its_key(void **state)
{
    struct env *x = *state;
    struct err e = ERR_INIT;
    uint8_t v[4], dir[4 + 64];
    uint16_t key;

    assert_int_equal(fw_cfg_add_file(x->f, "f", "old", 3, &e), 0);
    key = fw_cfg_file_key(x->f, "f");
    assert_int_equal(fw_cfg_replace_file(x->f, "f", "newer", 5, &e), 0);
    assert_int_equal(fw_cfg_file_key(x->f, "f"), key);
    take(x, key, v, 4);
    assert_memory_equal(v, "newe", 4);
    take(x, FW_CFG_FILE_DIR, dir, sizeof(dir));
    assert_int_equal(dir[3], 1);
    assert_int_equal(dir[7], 5);
}

static void impossible_files_are_refused(void **state)
{
    static const char longest[] =
        "1234567890123456789012345678901234567890123456789012345";
    struct env *x = *state;
    struct err e = ERR_INIT;
    char name[8];

    assert_int_equal(sizeof(longest), 56);
    assert_int_equal(fw_cfg_add_file(x->f, longest, "", 0, &e), 0);
    assert_int_equal(fw_cfg_add_file(x->f, longest, "", 0, &e), -EINVAL);
    assert_int_equal(fw_cfg_add_file(x->f, "", "", 0, &e), -EINVAL);
    assert_int_equal(
        fw_cfg_add_file(
            x->f, "12345678901234567890123456789012345678901234567890123456",
            "", 0, &e),
        -EINVAL);
    for (unsigned i = 1; i < 128; i++) {
        snprintf(name, sizeof(name), "n%u", i);
        assert_int_equal(fw_cfg_add_file(x->f, name, "", 0, &e), 0);
    }
    assert_int_equal(fw_cfg_add_file(x->f, "last", "", 0, &e), -EINVAL);
}

static void dma_reads_selects_and_skips(void **state)
{
    struct env *x = *state;
    struct err e = ERR_INIT;
    uint16_t key;

    assert_int_equal(fw_cfg_add_file(x->f, "f", "0123456789", 10, &e), 0);
    key = fw_cfg_file_key(x->f, "f");
    memset(ram(x, BUFFER), 0xee, 32);
    assert_int_equal(
        dma(x, (uint32_t)key << 16 | FW_CFG_DMA_SELECT | FW_CFG_DMA_READ, 3,
            BUFFER),
        0);
    assert_memory_equal(ram(x, BUFFER), "012\xee", 4);
    assert_int_equal(dma(x, FW_CFG_DMA_SKIP, 2, 0), 0);
    assert_int_equal(dma(x, FW_CFG_DMA_READ, 8, BUFFER), 0);
    assert_memory_equal(ram(x, BUFFER), "56789\0\0\0\xee", 9);
    assert_int_equal(rig_in(x->r, DATA), 0); /* at the end */
    assert_int_equal(dma(x, (uint32_t)key << 16 | FW_CFG_DMA_SELECT, 0, 0), 0);
    assert_int_equal(rig_in(x->r, DATA), '0');
}

/* An item of 200,000 octets that is the end of a file. */
static void an_item_is_read_from_its_file(void **state)
{
    enum { BYTES = 200000, OFFSET = 777, CUT = 100000 };
    struct env *x = *state;
    struct err e = ERR_INIT;
    char path[] = "/tmp/fwcfg.XXXXXX";
    int fd = mkstemp(path);
    uint8_t *all = malloc(OFFSET + BYTES), *data = malloc(BYTES), v[3];
    uint32_t get =
        FW_CFG_KERNEL_DATA << 16 | FW_CFG_DMA_SELECT | FW_CFG_DMA_READ;

    assert_true(fd >= 0 && all && data);
    for (unsigned i = 0; i < OFFSET + BYTES; i++) {
        all[i] = (uint8_t)(i * 7 + i / 251);
    }
    memcpy(data, all + OFFSET, BYTES);
    assert_int_equal(write(fd, all, OFFSET + BYTES), OFFSET + BYTES);
    assert_int_equal(
        fw_cfg_take_item(x->f, FW_CFG_KERNEL_DATA, data, BYTES, &e), 0);
    fw_cfg_back_item(x->f, FW_CFG_KERNEL_DATA, "/dev/zero", 0);
    fw_cfg_back_item(x->f, FW_CFG_KERNEL_DATA, path, OFFSET + 1);
    fw_cfg_back_item(x->f, FW_CFG_KERNEL_DATA, path, OFFSET);
    unlink(path);
    take(x, FW_CFG_KERNEL_DATA, v, 3);
    assert_memory_equal(v, all + OFFSET, 3);
    assert_int_equal(dma(x, get, BYTES + 8, BUFFER), 0);
    assert_memory_equal(ram(x, BUFFER), all + OFFSET, BYTES);
    assert_memory_equal(ram(x, BUFFER + BYTES), "\0\0\0\0\0\0\0\0", 8);
    assert_int_equal(ftruncate(fd, OFFSET + CUT), 0);
    assert_int_equal(dma(x, get, BYTES, BUFFER), 0);
    assert_memory_equal(ram(x, BUFFER), all + OFFSET, CUT);
    assert_int_equal(*ram(x, BUFFER + CUT), 0);
    assert_int_equal(*ram(x, BUFFER + BYTES - 1), 0);
    close(fd);
    free(all);
}

static void dma_reaches_memory_alone(void **state)
{
    static const uint64_t bad[] = { 0x80000000, RAM_BYTES, RAM_BYTES - 2,
                                    0xfffffffffffffffe };
    struct env *x = *state;
    uint32_t control = FW_CFG_DMA_SELECT | FW_CFG_DMA_READ;

    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(dma(x, control, 4, bad[i]), FW_CFG_DMA_ERROR);
    }
    assert_int_equal(dma(x, control, 4, BUFFER), 0);
    assert_memory_equal(ram(x, BUFFER), "QEMU", 4);
    /* A request that is not in memory is nobody's. */
    port_write_locked(x->r->vm, DMA_LOW, 4, htobe32(0x80000000));
    port_write_locked(x->r->vm, DMA_HIGH, 4, 0xffffffff);
    port_write_locked(x->r->vm, DMA_LOW, 4, 0xffffffff);
}

static void writes_and_endless_zeros_are_errors(void **state)
{
    enum { MIRRORS = 70 };
    static struct mem_region mirror[MIRRORS];
    struct env *x = *state;

    assert_int_equal(dma(x, FW_CFG_DMA_WRITE, 4, BUFFER), FW_CFG_DMA_ERROR);
    assert_int_equal(dma(x, FW_CFG_DMA_READ, UINT32_MAX, 0), FW_CFG_DMA_ERROR);
    /* Even where there is memory for all of them. */
    for (unsigned i = 0; i < MIRRORS; i++) {
        mem_init_alias(&mirror[i], "mirror", vm_ram(x->r->vm), 0, RAM_BYTES);
        mem_add_locked(x->r->vm, mem_root(x->r->vm),
                       0x10000000 + (uint64_t)i * RAM_BYTES, &mirror[i], 0);
    }
    assert_int_equal(dma(x, FW_CFG_DMA_READ, 5 << 20, 0x10000000), 0);
    assert_int_equal(dma(x, FW_CFG_DMA_READ, 257 << 20, 0x10000000),
                     FW_CFG_DMA_ERROR);
    for (unsigned i = 0; i < MIRRORS; i++) {
        mem_del_locked(x->r->vm, &mirror[i]);
    }
    assert_int_equal(dma(x, FW_CFG_DMA_SKIP, UINT32_MAX, 0), 0);
    assert_int_equal(rig_in(x->r, DATA), 0);
}

static void state_round_trips(void **state)
{
    struct env *x = *state;
    uint8_t v[2];

    take(x, FW_CFG_SIGNATURE, v, 2);
    rig_round_trip(x->r);
    assert_int_equal(rig_in(x->r, DATA), 'M');
    rig_load_garbage(x->r);
    rig_in(x->r, DATA);
}

static void random_accesses_do_no_harm(void **state)
{
    struct env *x = *state;

    srand(3);
    for (unsigned i = 0; i < 3000; i++) {
        uint64_t addr = (uint64_t)rand() % (2 * RAM_BYTES);

        port_write_locked(x->r->vm, 0x510 + (unsigned)rand() % 12,
                          1u << rand() % 3, (uint32_t)rand());
        port_read_locked(x->r->vm, 0x510 + (unsigned)rand() % 12,
                         1u << rand() % 3);
        dma(x, (uint32_t)rand() & 0x3ff001f, (uint32_t)rand() % 70000, addr);
        if (rand() % 100 == 0) dev_reset_tree(vm_root(x->r->vm));
    }
    signature_and_features_are_there(state);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(signature_and_features_are_there),
        TEST(behind_the_end_of_an_item_are_zeros),
        TEST(selecting_starts_over),
        TEST(the_directory_lists_files_by_name),
        TEST(a_replaced_file_keeps_its_key),
        TEST(impossible_files_are_refused),
        TEST(dma_reads_selects_and_skips),
        TEST(an_item_is_read_from_its_file),
        TEST(dma_reaches_memory_alone),
        TEST(writes_and_endless_zeros_are_errors),
        TEST(state_round_trips),
        TEST(random_accesses_do_no_harm),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
