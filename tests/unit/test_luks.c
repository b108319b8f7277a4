/* SPDX-License-Identifier: GPL-2.0-or-later */
/* link: block core */
/* LUKS1: known answers of the ciphers, images of qemu-img read and written and
 * the other way round, hostile headers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "block/crypto.h"
#include "block/luks.h"
#include "config.h"
#include "tests/unit/support/image_rig.h"

enum { MiB = 1 << 20 };

static const char *const secret_arg = "--object secret,id=s,data=open-sesame";

static struct secret_table *secrets_with(const char *text)
{
    struct secret_table *t;
    struct err e = ERR_INIT;

    assert_int_equal(secret_table_create(&t), 0);
    assert_int_equal(secret_add(t, "s", text, strlen(text), &e), 0);
    return t;
}

static void need_nettle(void)
{
#ifndef HAVE_NETTLE
    print_message("built without nettle: no encrypted images\n");
    skip();
#endif
}

static int open_image(const struct q2_rig *r, const char *format,
                      const char *key, const struct secret_table *t,
                      struct node **out, struct err *e)
{
    struct node_kv kv[1] = { { key, "s", false } };
    const struct node_options o = { .kv = kv,
                                    .kv_count = t != NULL,
                                    .secrets = t };

    return node_open_image(r->image, format, true, false, &o, out, e);
}

static struct node *must_open(const struct q2_rig *r, const char *format,
                              const char *key, const struct secret_table *t)
{
    struct err e = ERR_INIT;
    struct node *n;

    if (open_image(r, format, key, t, &n, &e) < 0) fail_msg("%s", e.text);
    return n;
}

/* --------------------------------------------------------- known answers */

static unsigned from_hex(const char *text, uint8_t *out)
{
    unsigned n = 0;

    for (; text[0] != '\0'; text += 2, n++) {
        unsigned v;

        assert_int_equal(sscanf(text, "%2x", &v), 1);
        out[n] = (uint8_t)v;
    }
    return n;
}

/* IEEE 1619-2007, appendix B, vector 4: XTS-AES-128, sector 0, 512 octets
 * 00 01 .. ff twice. */
static void xts_gives_the_standards_answer(void **state)
{
    struct crypto *c;
    struct err e = ERR_INIT;
    uint8_t key[32], buf[512], want[16];

    (void)state;
    need_nettle();
    from_hex("27182818284590452353602874713526"
             "31415926535897932384626433832795",
             key);
    for (unsigned i = 0; i < 512; i++)
        buf[i] = (uint8_t)i;
    assert_int_equal(crypto_open("aes", "xts-plain64", key, 32, &c, &e), 0);
    crypto_encrypt(c, 0, buf, 512);
    from_hex("27a7479befa1d476489f308cd4cfa6e2", want);
    assert_memory_equal(buf, want, 16);
    from_hex("0a282df920147beabe421ee5319d0568", want);
    assert_memory_equal(buf + 496, want, 16);
    crypto_decrypt(c, 0, buf, 512);
    for (unsigned i = 0; i < 512; i++)
        assert_int_equal(buf[i], (uint8_t)i);
    crypto_close(c);
}

/* RFC 6070, and RFC 7914 section 11 for SHA-256. */
static void pbkdf2_gives_the_rfcs_answers(void **state)
{
    const struct crypto_hash *h;
    struct err e = ERR_INIT;
    uint8_t out[64], want[64];

    (void)state;
    need_nettle();
    assert_int_equal(crypto_hash_find("sha1", &h, &e), 0);
    assert_int_equal(crypto_pbkdf2(h, (const uint8_t *)"password", 8,
                                   (const uint8_t *)"salt", 4, 4096, out, 20),
                     0);
    from_hex("4b007901b765489abead49d926f721d065a429c1", want);
    assert_memory_equal(out, want, 20);
    assert_int_equal(crypto_hash_find("sha256", &h, &e), 0);
    assert_int_equal(crypto_pbkdf2(h, (const uint8_t *)"passwd", 6,
                                   (const uint8_t *)"salt", 4, 1, out, 64),
                     0);
    from_hex("55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc",
             want);
    assert_memory_equal(out, want, 32);
}

/* ------------------------------------------------------------- with qemu */

static const char *const kinds[] = {
    "",
    "cipher-alg=aes-128",
    "cipher-alg=aes-256,cipher-mode=cbc,ivgen-alg=essiv,ivgen-hash-alg=sha256",
    "cipher-alg=aes-128,cipher-mode=cbc,ivgen-alg=plain64",
    "cipher-alg=aes-256,cipher-mode=cbc,ivgen-alg=plain,hash-alg=sha1",
    "cipher-alg=serpent-256,hash-alg=sha512",
    "cipher-alg=twofish-128,hash-alg=ripemd160",
};
enum { KINDS = sizeof(kinds) / sizeof(kinds[0]) };

/* qemu-img takes seconds to measure its hash: it makes some of them only. */
static bool is_made_by_qemu(unsigned kind)
{
    return kind == 0 || kind == 2 || kind == 5;
}

/* "a=1,b=2" as "encrypt.a=1,encrypt.b=2" */
static void prefixed(const char *options, char *out, size_t cap)
{
    size_t used = 0;

    out[0] = '\0';
    while (*options != '\0') {
        size_t word = strcspn(options, ",");

        used += (size_t)snprintf(out + used, cap - used, ",encrypt.%.*s",
                                 (int)word, options);
        options += word + (options[word] == ',');
    }
}

/* qemu-io on the encrypted image; "format" options of its --image-opts. */
static int qemu_io(const struct q2_rig *r, const char *driver, const char *key,
                   const char *command)
{
    return q2_run(r,
                  "qemu-io %s -c '%s' --image-opts driver=%s,%s=s,"
                  "file.driver=file,file.filename=image >out 2>&1 && "
                  "! grep -q failed out",
                  secret_arg, command, driver, key);
}

static void use_both(const struct q2_rig *r, const char *driver,
                     const char *key, const struct secret_table *t)
{
    struct node *n;

    assert_int_equal(qemu_io(r, driver, key, "write -P 7 100k 300k"), 0);
    n = must_open(r, driver, key, t);
    assert_true(n->is_encrypted);
    for (unsigned i = 0; i < 4; i++) {
        uint8_t b[1000];

        assert_int_equal(node_pread(n, 102400 + i * 70000, b, sizeof(b)), 0);
        assert_int_equal(b[0], 7);
        assert_int_equal(b[999], 7);
    }
    ir_write(n, MiB + 100, 200000, 1);
    ir_expect(n, MiB + 100, 200000, 1);
    for (unsigned i = 0; i < 8; i++)
        ir_write(n, 102400 + i * 512, 512, 9);
    node_unref(n);
    assert_int_equal(qemu_io(r, driver, key, "write -P 8 100k 4k"), 0);
    assert_int_equal(qemu_io(r, driver, key, "read -P 7 104k 296k"), 0);
    n = must_open(r, driver, key, t);
    ir_expect(n, MiB + 100, 200000, 1);
    ir_write(n, 3 * MiB - 512, 512, 2);
    node_unref(n);
    n = must_open(r, driver, key, t);
    ir_expect(n, 3 * MiB - 512, 512, 2);
    node_unref(n);
}

static void luks_images_of_qemu_are_used(void **state)
{
    const struct q2_rig *r = *state;
    struct secret_table *t = secrets_with("open-sesame");

    q2_need_qemu();
    need_nettle();
    for (unsigned i = Q2_FIRST(0); i < KINDS; i += Q2_STEP) {
        int rc;

        if (!is_made_by_qemu(i)) continue;
        rc = q2_run(r,
                    "for i in 1 2 3 4 5; do qemu-img create -q %s -f luks -o "
                    "key-secret=s,iter-time=100%s%s image 3M 2>err && exit 0; "
                    "done; exit 1",
                    secret_arg, kinds[i][0] ? "," : "", kinds[i]);

        if (rc != 0) {
            print_message("qemu-img does not make: %s\n", kinds[i]);
            continue;
        }
        use_both(r, "luks", "key-secret", t);
    }
    secret_table_destroy(t);
}

static void qemu_uses_our_luks_images(void **state)
{
    const struct q2_rig *r = *state;
    struct secret_table *t = secrets_with("open-sesame");
    char options[300];

    q2_need_qemu();
    need_nettle();
    for (unsigned i = Q2_FIRST(1); i < KINDS; i += Q2_STEP) {
        struct err e = ERR_INIT;

        snprintf(options, sizeof(options), "key-secret=s,iter-time=20%s%s",
                 kinds[i][0] ? "," : "", kinds[i]);
        q2_run(r, "rm -f image");
        if (ir_create(r, "luks", options, 3 * MiB, t, &e) < 0)
            fail_msg("%s: %s", options, e.text);
        use_both(r, "luks", "key-secret", t);
    }
    secret_table_destroy(t);
}

static void encrypted_qcow2_goes_both_ways(void **state)
{
    const struct q2_rig *r = *state;
    struct secret_table *t = secrets_with("open-sesame");
    char options[400], words[300];

    q2_need_qemu();
    need_nettle();
    for (unsigned i = Q2_FIRST(2); i < KINDS; i += Q2_STEP) {
        struct err e = ERR_INIT;

        prefixed(kinds[i], words, sizeof(words));
        snprintf(options, sizeof(options),
                 "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time="
                 "20%s",
                 words);
        q2_run(r, "rm -f image");
        if (ir_create(r, "qcow2", options, 3 * MiB, t, &e) < 0)
            fail_msg("%s: %s", options, e.text);
        ir_check(r, 0, 0);
        use_both(r, "qcow2", "encrypt.key-secret", t);
        ir_check(r, 0, 0);
        if (!is_made_by_qemu(i)) continue;
        q2_run(r, "rm -f image");
        if (q2_run(r,
                   "for i in 1 2 3 4 5; do qemu-img create -q %s -f qcow2 -o "
                   "encrypt.format=luks,encrypt.key-secret=s,"
                   "encrypt.iter-time=100%s image 3M 2>err && exit 0; done; "
                   "exit 1",
                   secret_arg, words) != 0) {
            print_message("qemu-img does not make: %s\n", kinds[i]);
            continue;
        }
        use_both(r, "qcow2", "encrypt.key-secret", t);
        ir_check(r, 0, 0);
        assert_int_equal(
            q2_run(r,
                   "qemu-img check -q %s --image-opts driver=qcow2,"
                   "encrypt.key-secret=s,file.filename=image",
                   secret_arg),
            0);
    }
    secret_table_destroy(t);
}

static void vm_state_and_snapshots_are_encrypted(void **state)
{
    const struct q2_rig *r = *state;
    struct secret_table *t = secrets_with("open-sesame");
    struct image_snapshot sn = { .name = "vm", .icount = UINT64_MAX };
    struct err e = ERR_INIT;
    struct iovec iov;
    struct node *n;
    uint8_t *p = malloc(200000), *q = malloc(200000);

    q2_need_qemu();
    need_nettle();
    assert_int_equal(ir_create(r, "qcow2",
                               "encrypt.format=luks,encrypt.key-secret=s,"
                               "encrypt.iter-time=20,cluster_size=4k",
                               3 * MiB, t, &e),
                     0);
    n = must_open(r, "qcow2", "encrypt.key-secret", t);
    ir_write(n, 0, MiB, 1);
    assert_int_equal(n->drv->snapshot_create(n, &sn, &e), 0);
    memset(p, 'V', 200000);
    for (unsigned i = 0; i < 200; i++) {
        iov = (struct iovec){ p, 1000 };
        assert_int_equal(
            n->drv->vmstate_write(n, sn.id, i * 1000, &iov, 1, 1000), 0);
        ir_write(n, i * 5000, 5000, 2);
    }
    assert_int_equal(n->drv->vmstate_end(n, sn.id, 200000, &e), 0);
    node_unref(n);
    n = must_open(r, "qcow2", "encrypt.key-secret", t);
    iov = (struct iovec){ q, 199999 };
    assert_int_equal(n->drv->vmstate_read(n, sn.id, 1, &iov, 1, 199999), 0);
    assert_memory_equal(p, q, 199999);
    /* A part of it can be written anew, over sectors and clusters. */
    memset(p + 4000, 'W', 5000);
    assert_int_equal(n->drv->vmstate_patch(n, sn.id, 4000, p + 4000, 5000), 0);
    assert_int_equal(n->drv->vmstate_read(n, sn.id, 1, &iov, 1, 199999), 0);
    assert_memory_equal(p + 1, q, 199999);
    assert_int_equal(n->drv->snapshot_apply(n, sn.id, &e), 0);
    ir_expect(n, 0, MiB, 1);
    node_unref(n);
    ir_check(r, 0, 0);
    /* The file has no word of it in clear. */
    assert_int_equal(q2_run(r, "grep -qc VVVVVVVVVVVVVVVV image"), 1);
    assert_int_equal(q2_run(r, "grep -qc WWWWWWWWWWWWWWWW image"), 1);
    free(p);
    free(q);
    secret_table_destroy(t);
}

static void wrong_and_missing_secrets_are_refused(void **state)
{
    const struct q2_rig *r = *state;
    struct secret_table *t = secrets_with("open-sesame");
    struct secret_table *wrong = secrets_with("open sesame");
    const struct node_options look = { .is_readonly = true,
                                       .is_no_backing = true };
    struct err e = ERR_INIT;
    struct node *n;
    uint8_t b[512];

    need_nettle();
    assert_int_equal(
        ir_create(r, "luks", "key-secret=s,iter-time=20", MiB, t, &e), 0);
    assert_int_equal(open_image(r, "luks", "key-secret", wrong, &n, &e),
                     -EACCES);
    assert_non_null(strstr(e.text, "opens none of the key slots"));
    assert_int_equal(open_image(r, "luks", "key-secret", NULL, &n, &e),
                     -ENOKEY);
    assert_non_null(strstr(e.text, "key-secret=ID"));
    assert_int_equal(
        node_open_image(r->image, NULL, true, false, &look, &n, &e), 0);
    assert_string_equal(n->drv->name, "luks");
    assert_int_equal(node_pread(n, 0, b, 512), -EACCES);
    node_unref(n);
    assert_int_equal(ir_create(r, "luks", "", MiB, t, &e), -EINVAL);
    assert_int_equal(
        ir_create(r, "luks", "key-secret=s,cipher-alg=rot-128", MiB, t, &e),
        -ENOTSUP);
    assert_int_equal(ir_create(r, "luks", "key-secret=nobody", MiB, t, &e),
                     -ENOENT);
    secret_table_destroy(t);
    secret_table_destroy(wrong);
}

/* --------------------------------------------------------------- hostile */

static void hostile_headers_are_refused_quickly(void **state)
{
    /* Fields that lengths and places are made of. */
    static const unsigned at[] = { 6,   8,   40,  72,  104, 108, 164,
                                   168, 208, 212, 248, 252, 256 };
    static const uint32_t values[] = { 0,          1,          7,
                                       0xff,       0x10000,    0x7fffffff,
                                       0x80000000, 0xffffffff, 0x08000000,
                                       0x41414141 };
    const struct q2_rig *r = *state;
    struct secret_table *t = secrets_with("open-sesame");
    struct err e = ERR_INIT;
    unsigned refused = 0, opened = 0;

    need_nettle();
    assert_int_equal(
        ir_create(r, "luks", "key-secret=s,iter-time=1", MiB, t, &e), 0);
    for (unsigned i = 0; i < sizeof(at) / sizeof(at[0]); i++) {
        for (unsigned k = 0; k < sizeof(values) / sizeof(values[0]); k++) {
            uint8_t was[4],
                v[4] = { (uint8_t)(values[k] >> 24), (uint8_t)(values[k] >> 16),
                         (uint8_t)(values[k] >> 8), (uint8_t)values[k] };
            FILE *f = fopen(r->image, "r+b");
            struct node *n;

            assert_non_null(f);
            fseek(f, (long)at[i], SEEK_SET);
            assert_int_equal(fread(was, 1, 4, f), 4);
            fseek(f, (long)at[i], SEEK_SET);
            fwrite(v, 1, 4, f);
            fflush(f);
            if (open_image(r, "luks", "key-secret", t, &n, &e) == 0) {
                opened++;
                node_unref(n);
            } else {
                refused++;
            }
            fseek(f, (long)at[i], SEEK_SET);
            fwrite(was, 1, 4, f);
            fclose(f);
        }
    }
    print_message("%u refused, %u opened\n", refused, opened);
    assert_true(refused > 90);
    for (unsigned bytes = 0; bytes < 5000; bytes += 400) {
        struct node *n;

        assert_int_equal(
            q2_run(r, "cp image copy; truncate -s %u image", bytes), 0);
        assert_true(open_image(r, "luks", "key-secret", t, &n, &e) < 0);
        assert_int_equal(q2_run(r, "mv copy image"), 0);
    }
    secret_table_destroy(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, q2_rig_open, q2_rig_close)
        T(xts_gives_the_standards_answer),
        T(pbkdf2_gives_the_rfcs_answers),
        T(luks_images_of_qemu_are_used),
        T(qemu_uses_our_luks_images),
        T(encrypted_qcow2_goes_both_ways),
        T(vm_state_and_snapshots_are_encrypted),
        T(wrong_and_missing_secrets_are_refused),
        T(hostile_headers_are_refused_quickly),
#undef T
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
