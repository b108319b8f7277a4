/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_VM_CONFIG_H
#define ORRERY_VM_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

/*
 * What the user asked for, parsed and range-checked, before anything is made.
 * Strings are owned by the config; NULL = not given.  The struct is filled by
 * ui/ (command line, machine.conf) and read by machines.
 */
enum drive_if { DRIVE_IDE, DRIVE_FLOPPY, DRIVE_VIRTIO, DRIVE_NONE };
enum {
    VM_MAX_DRIVES = 16,
    VM_MAX_SERIAL = 4,
    VM_MAX_DEVICES = 32,
    VM_MAX_CPUS = 8
};

struct drive_config {
    enum drive_if iface;
    int index; /* bus*2+unit for IDE, 0/1 for floppy; -1 = next free */
    bool is_cdrom;
    bool is_readonly;
    bool is_snapshot; /* writes go to a temporary file */
    char *id;         /* backend name, e.g. "ide1-cd0" */
    char *file;       /* NULL: empty removable drive */
    char *format;     /* "raw", ...; NULL = probe */
    char *block_options; /* what the block layer checked, "k=v,k=v" */
    char *tree; /* options with dots, "file.driver=nbd,...", or NULL */
};

struct vm_config {
    char *machine;      /* "pc" */
    char *machine_opts; /* rest of -M after the name, "a=b,c=d" */
    uint64_t ram_bytes;
    unsigned cpus;
    char *cpu_model; /* -cpu text, NULL = max */
    char *accel;     /* "auto", "soft", "kvm" plus options, QEMU's form */
    char *name;

    char *boot_order; /* "cad" letters; NULL = machine's default */
    char *boot_once;
    bool has_boot_menu;
    bool is_boot_strict;
    int boot_splash_ms; /* splash-time, menu wait; -1 = default */

    char *kernel, *initrd, *append, *dtb;
    char *bios;     /* -bios file */
    char *data_dir; /* -L */

    struct drive_config drive[VM_MAX_DRIVES];
    unsigned drive_count;
    char *serial[VM_MAX_SERIAL];  /* chardev names; NULL: no device */
    char *parallel;               /* chardev name */
    char *device[VM_MAX_DEVICES]; /* -device texts */
    unsigned device_count;
    char *vga;      /* "std", "none" */
    char *debugcon; /* chardev name for port 0xe9, NULL none */

    int64_t rtc_base_s; /* seconds since 1970; INT64_MIN: now, UTC */
    bool is_rtc_local;
    bool has_no_reboot, has_no_shutdown, is_start_paused, has_no_hpet,
        has_no_acpi;
    uint8_t uuid[16];
    bool has_uuid;
};

#endif
