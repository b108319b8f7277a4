/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_MONITOR_COMMANDS_H
#define ORRERY_MONITOR_COMMANDS_H

#include "monitor/command.h"

/* What the records of cmd_table.c, info_table.c and json_table.c name.
 * cmd_: a line's command, info_: a page, query_ and json_: a JSON answer. */
typedef int command_fn(struct cmd *c, struct err *e);

/* cmd_help.c, cmd_info.c */
command_fn cmd_help, cmd_info;
/* cmd_run.c */
command_fn cmd_stop, cmd_cont, cmd_step, cmd_quit, cmd_reset, cmd_powerdown,
    cmd_wakeup, cmd_cpu, cmd_nmi, cmd_boot_set;
/* cmd_log.c */
command_fn cmd_log, cmd_logfile, cmd_trace_event, info_trace_events,
    json_trace_get, json_trace_set, cmd_singlestep;
/* cmd_chardev.c */
command_fn cmd_chardev_add, cmd_chardev_change, cmd_chardev_remove,
    cmd_chardev_break, cmd_ringbuf_read, cmd_ringbuf_write, json_chardev_add,
    json_chardev_change, json_ringbuf_read, json_ringbuf_write;
/* cmd_schema.c, cmd_query.c */
command_fn json_schema, query_command_line, json_type_list, json_cpu_expansion,
    query_dump, query_dump_formats, info_dump, info_memdev, json_text_page,
    json_generation_id, json_no_balloon, json_nothing_done;
/* cmd_mem.c */
command_fn cmd_print, cmd_x, cmd_xp, cmd_port_in, cmd_port_out, cmd_sum;
/* cmd_dump.c */
command_fn cmd_dump_memory;
/* cmd_save.c */
command_fn cmd_memsave, cmd_pmemsave, cmd_gva2gpa, cmd_gpa2hva, cmd_gpa2hpa;
/* cmd_input.c */
command_fn cmd_sendkey, cmd_mouse_move, cmd_mouse_button, cmd_mouse_set,
    json_send_events;
/* cmd_screen.c */
command_fn cmd_set_password, cmd_expire_password, json_vnc_password,
    cmd_screendump;
/* cmd_block.c */
command_fn cmd_eject, cmd_change, info_block;
/* cmd_blockdev.c */
command_fn cmd_object_add, cmd_object_del, cmd_block_resize, cmd_set_throttle,
    json_blockdev_add, json_blockdev_del, json_blockdev_reopen, query_nodes,
    json_object_add, json_open_tray, json_close_tray, json_insert_medium,
    json_remove_medium, json_block_resize, json_set_throttle;
/* cmd_snapshot.c */
command_fn cmd_savevm, cmd_savevm_wait, cmd_savevm_cancel, cmd_loadvm,
    cmd_delvm;
/* info_snapshot.c */
command_fn info_snapshots;
/* snapshot_about.c */
command_fn cmd_snapshot_note, query_snapshots;
/* cmd_snapshot_job.c */
command_fn json_snapshot_save, json_snapshot_load, json_snapshot_delete,
    query_jobs, json_job_cancel, json_job_complete, json_job_dismiss,
    json_job_finalize, json_job_pause, json_job_resume;
/* cmd_export.c */
command_fn cmd_snapshot_export, cmd_snapshot_export_cancel, info_export;
/* cmd_migrate.c */
command_fn cmd_migrate, cmd_migrate_cancel, cmd_migrate_incoming,
    cmd_migrate_parameter, cmd_migrate_capability, info_migrate,
    info_migrate_parameters, info_migrate_capabilities, query_migrate,
    query_migrate_parameters, query_migrate_capabilities,
    json_migrate_parameters, json_migrate_capabilities;
/* cmd_job.c */
command_fn cmd_drive_add, cmd_drive_del;
command_fn cmd_drive_backup, cmd_drive_mirror, cmd_block_stream, cmd_commit,
    json_block_commit, json_blockdev_backup, json_blockdev_mirror,
    json_block_job_dismiss, json_block_job_finalize,
    cmd_snapshot_blkdev, cmd_job_cancel, cmd_job_complete, cmd_job_pause,
    cmd_job_resume, cmd_job_speed, info_block_jobs, query_block_jobs;
/* cmd_nbd.c */
command_fn cmd_nbd_start, cmd_nbd_add, cmd_nbd_remove, cmd_nbd_stop,
    json_nbd_start, json_nbd_add;
/* cmd_device.c */
command_fn cmd_device_add, cmd_device_del, info_qdm, json_list_properties;
/* cmd_qom.c */
command_fn cmd_qom_list, cmd_qom_get, json_qom_list, json_qom_get,
    info_qom_tree;
/* cmd_gdb.c */
command_fn cmd_gdbserver;
/* cmd_qmp.c */
command_fn json_capabilities, json_commands, json_events, json_version,
    json_line, json_view;

/* info_vm.c */
command_fn info_status, info_version, info_name, info_uuid, info_kvm,
    info_accel, info_jit, info_cpus, info_chardev, info_history, info_mice,
    info_memory_size, info_hotpluggable, info_numa, info_vnc, info_balloon,
    info_nothing, info_generation_id;
command_fn info_registers, info_lapic;
/* cmd_paging.c, cmd_tree.c, cmd_roms.c */
command_fn info_mem, info_tlb, info_mtree, info_qtree, info_roms, info_ramblock;

/* query_vm.c */
command_fn query_status, query_name, query_uuid, query_kvm, query_cpus,
    query_chardev, query_mice, query_memory_size, query_hotpluggable,
    query_machines, query_cpu_models, query_target, query_current_machine,
    query_empty, query_chardev_kinds, query_vnc, query_vnc_servers, query_pci,
    query_display, query_memdev;
/* query_block.c */
command_fn query_block, info_block_stats, query_block_stats;

#endif
