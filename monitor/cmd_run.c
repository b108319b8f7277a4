/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands that steer the machine. */
#include <errno.h>
#include <string.h>

#include "core/vm/boot.h"
#include "core/vm/vm.h"
#include "monitor/commands.h"
#include "monitor/hub.h"
#include "monitor/migrate.h"

int cmd_stop(struct cmd *c, struct err *e)
{
    (void)e;
    if (vm_run_state(c->vm) == RUN_INMIGRATE)
        migrate_incoming_start_locked(c->vm, false);
    if (vm_run_state(c->vm) == RUN_RUNNING) vm_stop_locked(c->vm, RUN_PAUSED);
    return 0;
}

static int needs_reset(struct cmd *c, struct err *e)
{
    if (vm_run_state(c->vm) == RUN_SHUTDOWN ||
        vm_run_state(c->vm) == RUN_INTERNAL_ERROR)
        return err_set(e, -EPERM, "Resetting the Virtual Machine is required");
    return 0;
}

int cmd_cont(struct cmd *c, struct err *e)
{
    int rc = needs_reset(c, e);

    if (rc < 0) return rc;
    if (vm_run_state(c->vm) == RUN_INMIGRATE)
        migrate_incoming_start_locked(c->vm, true);
    rc = migrate_take_back_locked(c->vm, e);
    if (rc < 0) return rc;
    vm_start_locked(c->vm);
    return 0;
}

int cmd_step(struct cmd *c, struct err *e)
{
    int rc = needs_reset(c, e);

    if (rc == 0 && vm_is_elsewhere(c->vm))
        rc = err_set(e, -EPERM, "the machine is not here: %s",
                     run_state_name(vm_run_state(c->vm)));
    return rc < 0 ? rc : hub_step_locked(c->vm, c->s->cpu, e);
}

int cmd_quit(struct cmd *c, struct err *e)
{
    (void)e;
    c->s->is_quitting = true;
    hub_caused_locked(c->vm, HUB_QUIT);
    vm_request(c->vm, VM_REQ_QUIT);
    return 0;
}

int cmd_reset(struct cmd *c, struct err *e)
{
    if (vm_run_state(c->vm) == RUN_FINISH_MIGRATE)
        return err_set(e, -EBUSY, "the machine is being handed over");
    hub_caused_locked(c->vm, HUB_RESET);
    vm_request(c->vm, VM_REQ_RESET);
    return 0;
}

int cmd_powerdown(struct cmd *c, struct err *e)
{
    (void)e;
    vm_request(c->vm, VM_REQ_POWERDOWN);
    return 0;
}

int cmd_wakeup(struct cmd *c, struct err *e)
{
    (void)c;
    return err_set(e, -EPERM,
                   "Unable to wake up: guest is not in suspended state");
}

int cmd_cpu(struct cmd *c, struct err *e)
{
    uint64_t i = (uint64_t)c->arg[0].number;

    if (i >= vm_vcpu_count(c->vm))
        return err_set(e, -EINVAL, "invalid CPU index");
    c->s->cpu = (unsigned)i;
    return 0;
}

int cmd_nmi(struct cmd *c, struct err *e)
{
    (void)e;
    for (unsigned i = 0; i < vm_vcpu_count(c->vm); i++)
        vcpu_raise(vm_vcpu(c->vm, i), VCPU_NMI);
    return 0;
}

int cmd_boot_set(struct cmd *c, struct err *e)
{
    const struct boot_set_service *boot = vm_service(c->vm, "boot_set");
    int rc;

    for (const char *p = c->arg[0].text; *p != '\0'; p++) {
        if (*p < 'a' || *p > 'p')
            return err_set(e, -EINVAL, "Invalid boot device '%c'", *p);
        if (strchr(p + 1, *p) != NULL)
            return err_set(e, -EINVAL, "Boot device '%c' was given twice", *p);
    }
    if (boot == NULL)
        return err_set(e, -ENOTSUP, "this machine's boot order is fixed");
    rc = boot->set(boot->arg, c->arg[0].text, e);
    if (rc == 0)
        fprintf(c->out, "boot device list now set to %s\n", c->arg[0].text);
    return rc;
}
