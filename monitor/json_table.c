/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "monitor/commands.h"

#define JSON(n, p, h, fn)                                          \
    {                                                              \
        .name = n, .params = p, .help = h, .json = n, .answer = fn \
    }

/* Commands programs alone have. */
const struct command json_table[] = {
    JSON("qmp_capabilities", "{enable:any}", "end the negotiation",
         json_capabilities),
    JSON("block-commit",
         "{device!:str} {speed:int} {base:str} {top:str} {job-id:str} "
         "{backing-file:str}",
         "write changes into a backing file while the guest goes on",
         json_block_commit),
    JSON("device-list-properties", "{typename!:str}",
         "properties of a device class", json_list_properties),
    JSON("human-monitor-command", "{command-line!:str} {cpu-index:int}",
         "run a line, return what it prints", json_line),
    JSON("input-send-event", "{device:str} {head:int} {events!:any}",
         "keys, buttons and motion", json_send_events),
    JSON("migrate-set-capabilities", "{capabilities!:any}",
         "switch ways to migrate on or off", json_migrate_capabilities),
    JSON("migrate-set-parameters",
         "{max-bandwidth:int} {downtime-limit:int}", "limits of migrations",
         json_migrate_parameters),
    JSON("nbd-server-add",
         "{device!:str} {name:str} {description:str} {writable:bool}",
         "let clients of the NBD server use a drive", json_nbd_add),
    JSON("nbd-server-start", "{addr!:any} {max-connections:int}",
         "export drives over the network", json_nbd_start),
    JSON("query-chardev-backends", "", "kinds of character devices",
         query_chardev_kinds),
    JSON("query-commands", "", "this list", json_commands),
    JSON("query-cpu-definitions", "", "CPU models", query_cpu_models),
    JSON("query-current-machine", "", "what the machine can do",
         query_current_machine),
    JSON("query-display-options", "", "display", query_display),
    JSON("query-events", "", "events that may come", json_events),
    JSON("query-machines", "", "machine types", query_machines),
    JSON("query-memdev", "", "memory backends", query_memdev),
    JSON("query-pci", "", "PCI functions", query_pci),
    JSON("query-target", "", "architecture", query_target),
    JSON("query-vnc-servers", "", "VNC servers", query_vnc_servers),
    JSON("x-orrery-view", "",
         "turn a control connection into a picture and input stream",
         json_view),
    { .name = NULL },
};
#undef JSON
