/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <string.h>

#include "monitor/command.h"

const struct command command_table[] = {
    { "help|?", "[name:cmd] [page:rest]", "list the commands, or explain one",
      cmd_help, true },
    { "boot_set", "bootdevice:str",
      "boot from these devices, in order, from the next reset on", cmd_boot_set,
      true },
    { "change",
      "[-f] device:blk filename:file [format:str] [read-only-mode:str]",
      "put another image into a drive", cmd_change, false },
    { "cont|c", "", "let the machine go on", cmd_cont, false },
    { "cpu", "index:int", "choose the CPU that x, print and info look at",
      cmd_cpu, true },
    { "eject", "[-f] device:blk",
      "take the medium out (-f: even if the guest locked it)", cmd_eject,
      false },
    { "gva2gpa", "addr:int",
      "where a linear address is in guest-physical memory", cmd_gva2gpa,
      false },
    { "i", "/fmt:fmt addr:int [index:int]", "read an I/O port", cmd_port_in,
      false },
    { "info", "[subcommand:rest]",
      "show a page about the machine (info alone lists them)", cmd_info, true },
    { "log", "items:str",
      "log these items, comma between them (log help lists them)", cmd_log,
      true },
    { "logfile", "filename:file", "write log lines to a file", cmd_logfile,
      false },
    { "memsave", "addr:int size:int file:file",
      "write memory to a file, by the CPU's linear address", cmd_memsave,
      false },
    { "mouse_button", "state:int",
      "press and release mouse buttons (1 left, 2 middle, 4 right)",
      cmd_mouse_button, true },
    { "mouse_move", "dx:int dy:int [dz:int]",
      "move the mouse, turn its wheel by dz", cmd_mouse_move, true },
    { "nmi", "", "send every CPU a non-maskable interrupt", cmd_nmi, false },
    { "o", "/fmt:fmt addr:int value:int", "write an I/O port", cmd_port_out,
      false },
    { "pmemsave", "addr:int size:int file:file",
      "write guest-physical memory to a file", cmd_pmemsave, false },
    { "print|p", "/fmt:fmt expr:int",
      "value of an expression; $eax and the like are registers", cmd_print,
      true },
    { "quit|q", "", "end the machine", cmd_quit, false },
    { "screendump", "filename:file [-f:str]",
      "write the guest's screen to a file (-f png or ppm; else by suffix)",
      cmd_screendump, false },
    { "sendkey", "keys:keys [hold_ms:int]",
      "press keys together, as in ctrl-alt-delete (hold time 100 ms unless given)",
      cmd_sendkey, true },
    { "set_password", "protocol:str password:rest",
      "set the password of the VNC display (protocol vnc)", cmd_set_password,
      true },
    { "stop|s", "", "pause the machine", cmd_stop, false },
    { "sum", "addr:int size:int", "checksum of guest-physical memory", cmd_sum,
      false },
    { "system_powerdown", "", "press the power button", cmd_powerdown, false },
    { "system_reset", "", "press the reset button", cmd_reset, false },
    { "x", "/fmt:fmt addr:int",
      "show memory at a linear address (/16xb, /4i ...)", cmd_x, true },
    { "xp", "/fmt:fmt addr:int", "show memory at a guest-physical address",
      cmd_xp, true },
    { NULL, NULL, NULL, NULL, false },
};

const struct command info_table[] = {
    { "accel", "", "what runs the CPUs, and why that", info_accel, false },
    { "block", "[device:blk]", "drives and the images in them", info_block,
      false },
    { "chardev", "", "character devices", info_chardev, false },
    { "cpus", "", "CPUs of the machine", info_cpus, false },
    { "jit", "", "figures of the software CPU", info_jit, false },
    { "kvm", "", "whether KVM runs this machine", info_kvm, false },
    { "mem", "", "linear memory that is mapped, and how", info_mem, false },
    { "mtree", "[-f]", "memory map as a tree (-f: as the CPU sees it)",
      info_mtree, false },
    { "name", "", "name of the machine", info_name, false },
    { "qtree", "", "devices and their properties", info_qtree, false },
    { "registers", "[-a] [vcpu:int]", "registers of a CPU (-a: of all)",
      info_registers, false },
    { "status", "", "running or paused, and why", info_status, false },
    { "tlb", "", "every page that is mapped", info_tlb, false },
    { "uuid", "", "UUID of the machine", info_uuid, false },
    { "version", "", "version of this program", info_version, false },
    { NULL, NULL, NULL, NULL, false },
};

static void print_help(const struct command *p, const char *prefix, FILE *out)
{
    fprintf(out, "%s%s", prefix, p->name);
    command_print_params(p, out);
    fprintf(out, " %s-- %s\n", p->params[0] ? "" : " ", p->help);
}

int cmd_help(struct cmd *c, struct err *e)
{
    const struct command *p;
    const char *name = c->arg[0].text, *page = c->arg[1].text;

    if (!c->arg[0].is_given) {
        for (p = command_table; p->name != NULL; p++)
            print_help(p, "", c->out);
        return 0;
    }
    p = command_find(command_table, name, strlen(name));
    if (p == NULL) return err_set(e, -ENOENT, "unknown command: '%s'", name);
    if (strcmp(p->name, "info") != 0) {
        print_help(p, "", c->out);
        return 0;
    }
    if (!c->arg[1].is_given) {
        struct cmd info = { .s = c->s, .vm = c->vm, .out = c->out };
        return cmd_info(&info, e);
    }
    p = command_find(info_table, page, strlen(page));
    if (p == NULL)
        return err_set(e, -ENOENT, "unknown command: 'info %s'", page);
    print_help(p, "info ", c->out);
    return 0;
}
