/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * QEMU's commands and pages that nothing here could serve: whoever types one
 * out of habit is told why, and help does not list it.  A row goes when its
 * command comes.
 */
#include "monitor/absent.h"

#include <stddef.h>
#include <string.h>

static const char no_net[] = "there are no network devices in this version";
static const char no_usb[] = "there is no USB controller in this version";
static const char no_sound[] = "there is no sound in this version";
static const char no_virtio[] = "there are no virtio devices in this version";
static const char no_dirty[] = "the rate of writes is neither measured nor "
                               "limited";
static const char no_postcopy[] = "machines move before they go on, never "
                                  "after (no postcopy)";
static const char no_fd[] = "descriptors cannot be handed over; give a path";
static const char no_replay[] = "execution is not recorded";
static const char no_single[] = "snapshots are of the whole machine: see "
                                "savevm, delvm and orrery img snapshot";
static const char no_figures[] = "no such figures are kept; see info jit";

struct absent {
    const char *name, *why;
};

static const struct absent commands[] = {
    { "announce_self", no_net },
    { "balloon", "No balloon device has been activated" },
    { "calc_dirty_rate", no_dirty },
    { "cancel_vcpu_dirty_limit", no_dirty },
    { "client_migrate_info", "there is no SPICE display" },
    { "closefd", no_fd },
    { "dumpdtb", "a PC has no device tree" },
    { "exit_preconfig", "the machine is made already" },
    { "getfd", no_fd },
    { "hostfwd_add", no_net },
    { "hostfwd_remove", no_net },
    { "mce", "machine checks cannot be raised in this version" },
    { "migrate_continue", no_postcopy },
    { "migrate_pause", no_postcopy },
    { "migrate_recover", no_postcopy },
    { "migrate_start_postcopy", no_postcopy },
    { "netdev_add", no_net },
    { "netdev_del", no_net },
    { "pcie_aer_inject_error", "there is no PCI Express bus" },
    { "qemu-io", "images in use are not poked at; see orrery img" },
    { "qom-set", "properties are given when a device is made (-device)" },
    { "replay_break", no_replay },
    { "replay_delete_break", no_replay },
    { "replay_seek", no_replay },
    { "set_link", no_net },
    { "set_vcpu_dirty_limit", no_dirty },
    { "snapshot_blkdev_internal", no_single },
    { "snapshot_delete_blkdev_internal", no_single },
    { "stopcapture", no_sound },
    { "sync-profile", no_figures },
    { "watchdog_action", "there is no watchdog device in this version" },
    { "wavcapture", no_sound },
    { "x_colo_lost_heartbeat", "there is no second machine (COLO)" },
    { NULL, NULL },
};

static const struct absent pages[] = {
    { "capture", no_sound },
    { "dirty_rate", no_dirty },
    { "network", no_net },
    { "opcount", no_figures },
    { "profile", no_figures },
    { "rdma", no_net },
    { "replay", no_replay },
    { "rocker", no_net },
    { "rocker-of-dpa-flows", no_net },
    { "rocker-of-dpa-groups", no_net },
    { "rocker-ports", no_net },
    { "sev", "SEV is not enabled" },
    { "sgx", "SGX is not enabled" },
    { "spice", "there is no SPICE display" },
    { "stats", no_figures },
    { "sync-profile", no_figures },
    { "usb", no_usb },
    { "usbhost", no_usb },
    { "usernet", no_net },
    { "vcpu_dirty_limit", no_dirty },
    { "virtio", no_virtio },
    { "virtio-queue-element", no_virtio },
    { "virtio-queue-status", no_virtio },
    { "virtio-status", no_virtio },
    { "virtio-vhost-queue-status", no_virtio },
    { NULL, NULL },
};

static const char *find(const struct absent *a, const char *name, size_t len)
{
    for (; a->name != NULL; a++) {
        if (strlen(a->name) == len && strncmp(a->name, name, len) == 0)
            return a->why;
    }
    return NULL;
}

const char *absent_command(const char *name, size_t len)
{
    return find(commands, name, len);
}

const char *absent_page(const char *name, size_t len)
{
    return find(pages, name, len);
}
