/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_VM_VM_PRIVATE_H
#define ORRERY_VM_VM_PRIVATE_H

/* The insides of struct vm, for core/vm alone. */

#include <pthread.h>
#include <stdatomic.h>

#include "core/loop/loop.h"
#include "core/vm/clock.h"
#include "core/vm/debug.h"
#include "core/vm/dirty.h"
#include "core/vm/eventfd.h"
#include "core/vm/intr.h"
#include "core/vm/mem.h"
#include "core/vm/vm.h"

enum { MAX_SERVICES = 64, MAX_INFO = 64, MAX_LISTENERS = 16 };

struct flat_view {
    struct mem_frag *frag;
    size_t count;
};

struct port_space;

struct info_page {
    const char *name, *help;
    void (*print)(void *arg, FILE *out);
    void *arg;
};

struct vm {
    const struct vm_config *cfg;
    struct loop *loop;
    pthread_mutex_t lock;     /* the VM lock */
    pthread_mutex_t gate;     /* held by a thread that waits for lock */
    _Atomic unsigned waiting; /* threads other than vCPUs at the gate */
    pthread_cond_t parked;    /* with lock: a vCPU parked or may go on */
    _Atomic pthread_t owner;  /* of lock, 0 = free */
    _Atomic bool has_owner;

    struct vcpu *vcpu[VM_MAX_CPUS];
    unsigned vcpu_count;
    unsigned parked_count;
    enum run_state state;
    int pause_depth; /* > 0: vCPUs stay parked although running */
    _Atomic unsigned requests;

    /* Exclusive section; excl_lock guards the condition, not the data. */
    pthread_mutex_t excl_lock;
    pthread_cond_t excl_cond;
    _Atomic bool is_exclusive;
    unsigned excl_depth;

    /* Clock: seqlock around base_ns/host_start_ns/is_ticking. */
    _Atomic unsigned clock_seq;
    _Atomic uint64_t base_ns, host_start_ns;
    _Atomic bool is_ticking;
    struct timer *timers; /* sorted */
    struct loop_timer host_timer;

    /* Memory */
    struct mem_region root;
    struct flat_view *_Atomic view;
    /* What CPUs in SMM see: smm_rest, the alias of root, behind what devices
     * have added.  The view is NULL while they have enabled nothing. */
    struct mem_region smm_root, smm_rest;
    struct flat_view *_Atomic smm_view;
    unsigned mem_depth;
    bool is_mem_dirty;
    _Atomic uint64_t a20_mask;
    struct mem_listener mem_listener;
    struct mem_region ram;

    struct vm_dirty *_Atomic dirty; /* NULL: off */

    struct port_space *ports;

    struct vm_ioevent *ioevent;
    unsigned ioevent_count;
    struct vm_irqfd *irqfd[VM_IRQFD_MAX];

    struct vm_point point[VM_POINTS_MAX];
    unsigned point_count;

    struct dev *root_dev;
    unsigned dev_serial;

    /* Interrupts */
    const struct intr_sink *sink;
    const struct lapic_ops *lapic;
    void *lapics;
    int (*pic_ack)(void *pic);
    void *pic;
    bool pic_level;

    const struct vm_accel_ops *accel;
    void *accel_priv;
    const char *accel_name;

    struct {
        const char *name;
        void *p;
    } service[MAX_SERVICES];
    struct info_page info[MAX_INFO];
    struct {
        void (*fn)(void *arg, enum vm_event ev);
        void *arg;
    } listener[MAX_LISTENERS];
    char error_text[256];
};

int vm_mem_init(struct vm *vm, struct err *e);
void vm_mem_exit(struct vm *vm);
int vm_port_init(struct vm *vm, struct err *e);
void vm_port_exit(struct vm *vm);
void vm_clock_init(struct vm *vm);
void vm_vcpus_exit(struct vm *vm);
void vm_notify_locked(struct vm *vm, enum vm_event ev);

#endif
