/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_VM_EVENTFD_H
#define ORRERY_VM_EVENTFD_H

#include <stdbool.h>
#include <stdint.h>

#include "core/base/err.h"
#include "core/vm/irq.h"
#include "core/vm/mem.h"

/*
 * Doorbells and interrupts as event file descriptors (eventfd(2)): what a
 * virtio queue needs to be served off the vCPU's thread.  The accelerator
 * does it in the kernel where it can (KVM_IOEVENTFD, KVM_IRQFD); otherwise
 * the dispatch of ports and memory and the event loop do the same thing.
 */
struct vm;

/*
 * A guest write of bytes octets (0: any width) to addr, that stores match if
 * has_match, adds 1 to fd instead of reaching the device behind the address.
 * Where both match, the one added first gets it.
 */
struct vm_ioevent {
    bool is_port; /* I/O port, else guest-physical address */
    gpa_t addr;
    unsigned bytes; /* 0, 1, 2, 4, and 8 for memory */
    bool has_match; /* needs bytes != 0 */
    uint64_t match;
    int fd; /* the caller's, open until after the del */
};

/*
 * VM lock held, any thread.  The address is fixed: who moves (a PCI BAR) takes
 * it away and adds it again.  -EINVAL: no such width or address; -EEXIST: the
 * same write is attached already; -ENOMEM.
 */
int vm_ioevent_add_locked(struct vm *vm, const struct vm_ioevent *ev,
                          struct err *e);
/* Fields as they were given; -ENOENT. */
int vm_ioevent_del_locked(struct vm *vm, const struct vm_ioevent *ev);

/* For the dispatch: was the write taken by an eventfd?  VM lock held. */
bool vm_ioevent_hit_locked(struct vm *vm, bool is_port, uint64_t addr,
                           unsigned bytes, uint64_t v);

/*
 * The other way: each time fd is signalled, an interrupt is raised.  A message
 * is sent once per wake-up of the fd (the count is folded, as KVM does).  A
 * line is raised and stays so until the device lowers it with irq_set, as
 * level-triggered INTx does when its status register is read.  Messages skip
 * our process under KVM; lines end at our own PIC and I/O APIC under every
 * accelerator, so the loop thread raises them.
 */
enum { VM_IRQFD_MAX = 512 }; /* of one machine */

struct vm_irqfd; /* opaque */
struct vm_irq_target {
    bool is_msi;
    uint64_t msi_addr; /* SDM 3A 10.11 */
    uint32_t msi_data;
    struct irq_line line; /* copied */
};

/* VM lock held, any thread.  fd is duplicated: the caller may close its own.
 * -ENOSPC past VM_IRQFD_MAX. */
int vm_irqfd_add_locked(struct vm *vm, int fd, const struct vm_irq_target *to,
                        struct vm_irqfd **out, struct err *e);
/* The guest wrote another message.  Signals already made may use either. */
void vm_irqfd_retarget_locked(struct vm_irqfd *f,
                              const struct vm_irq_target *to);
/* No interrupt comes from it after this; what was signalled and not yet
 * raised is lost.  Before the VM goes. */
void vm_irqfd_del_locked(struct vm_irqfd *f);

#endif
