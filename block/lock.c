/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Image locks, interchangeable with QEMU's (its manual, "Disk image file
 * locking"): open file description locks on single octets of the file.  For
 * every permission p somebody uses, they hold a shared lock on octet 100 + p;
 * for every permission they deny to others, one on octet 200 + p.  A lock
 * conflicts with nothing by itself: after placing ours we ask whether the
 * opposite octets are held by somebody else.
 */
#include "block/block_int.h"

#include <errno.h>
#include <fcntl.h>
#include <time.h>

enum { LOCK_USES = 100, LOCK_DENIES = 200 };

static const struct perm {
    unsigned p;
    const char *name;
    bool reader_uses, reader_denies, writer_uses, writer_denies;
} perms[] = {
    /* clang-format off */
    { 0, "consistent read", true,  false, true,  false },
    { 1, "write",           false, true,  true,  true  },
    { 2, "write unchanged", false, false, false, false },
    { 3, "resize",          false, true,  false, true  },
    /* clang-format on */
};
enum { PERMS = sizeof(perms) / sizeof(perms[0]) };

static int lock_octet(int fd, unsigned at)
{
    struct flock fl = {
        .l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = at, .l_len = 1
    };
    return fcntl(fd, F_OFD_SETLK, &fl) < 0 ? -errno : 0;
}

static bool is_held_by_other(int fd, unsigned at)
{
    struct flock fl = {
        .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = at, .l_len = 1
    };
    return fcntl(fd, F_OFD_GETLK, &fl) == 0 && fl.l_type != F_UNLCK;
}

static int refuse(const char *name, const char *perm, bool is_writer,
                  struct err *e)
{
    return err_set(e, -EBUSY,
                   "%s: in use by another process (\"%s\" lock); stop the "
                   "other one%s",
                   name, perm,
                   is_writer ? ", or open the image read-only in both"
                             : ", or let it open the image read-only");
}

static int try_lock(int fd, const char *name, bool is_writer, struct err *e)
{
    unsigned i;

    for (i = 0; i < PERMS; i++) {
        const struct perm *p = &perms[i];
        bool uses = is_writer ? p->writer_uses : p->reader_uses;
        bool denies = is_writer ? p->writer_denies : p->reader_denies;
        int rc = uses ? lock_octet(fd, LOCK_USES + p->p) : 0;

        if (rc == 0 && denies) rc = lock_octet(fd, LOCK_DENIES + p->p);
        if (rc == -EAGAIN || rc == -EACCES)
            return refuse(name, p->name, is_writer, e);
        if (rc < 0) return 0; /* file system without locks: go on */
    }
    for (i = 0; i < PERMS; i++) {
        const struct perm *p = &perms[i];
        bool uses = is_writer ? p->writer_uses : p->reader_uses;
        bool denies = is_writer ? p->writer_denies : p->reader_denies;

        if ((uses && is_held_by_other(fd, LOCK_DENIES + p->p)) ||
            (denies && is_held_by_other(fd, LOCK_USES + p->p)))
            return refuse(name, p->name, is_writer, e);
    }
    return 0;
}

static void unlock(int fd)
{
    struct flock fl = {
        .l_type = F_UNLCK,
        .l_whence = SEEK_SET,
        .l_start = LOCK_USES,
        .l_len = LOCK_DENIES + PERMS - LOCK_USES,
    };

    fcntl(fd, F_OFD_SETLK, &fl);
}

/*
 * A process that has ended may hold its locks for a moment yet: the kernel
 * takes an io_uring apart, and closes what it had open, after the process can
 * be waited for.
 */
enum { PATIENCE_MS = 400, PAUSE_MS = 20 };

int image_lock(int fd, const char *name, bool is_writer, struct err *e)
{
    const struct timespec pause = { .tv_nsec = PAUSE_MS * 1000000 };
    int rc;

    for (unsigned ms = 0;; ms += PAUSE_MS) {
        rc = try_lock(fd, name, is_writer, e);
        if (rc == 0 && e) *e = (struct err)ERR_INIT;
        if (rc != -EBUSY || ms >= PATIENCE_MS) return rc;
        unlock(fd);
        nanosleep(&pause, NULL);
    }
}
