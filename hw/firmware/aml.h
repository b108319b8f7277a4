/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_HW_FIRMWARE_AML_H
#define ORRERY_HW_FIRMWARE_AML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Builder for ACPI tables and AML (ACPI specification 6.4, chapters 19.6 and
 * 20).  Calls emit octets in order; an error sticks and is asked for once at
 * the end.  What has a package length is opened and closed; the length is
 * filled in at the close.
 *
 *   aml_open_device(a, "PCI0");
 *   aml_name_int(a, "_ADR", 0);
 *   aml_close(a);
 */
enum { AML_MAX_DEPTH = 16 };

struct aml {
    uint8_t *data;
    size_t bytes, cap;
    int status; /* sticky: 0, -ENOMEM, -EINVAL (unbalanced) */
    unsigned depth;
    struct {
        size_t start; /* first octet after where the length goes */
        bool is_buffer;
    } open[AML_MAX_DEPTH];
};

void aml_free(struct aml *a);

/* Plain octets, little-endian integers */
void aml_put(struct aml *a, const void *data, size_t bytes);
void aml_u8(struct aml *a, uint8_t v);
void aml_u16(struct aml *a, uint16_t v);
void aml_u32(struct aml *a, uint32_t v);
void aml_u64(struct aml *a, uint64_t v);

/* Data and references; path as ASL writes it ("\\_SB.PCI0", "LNKA") */
void aml_path(struct aml *a, const char *path);
void aml_int(struct aml *a, uint64_t v);
void aml_string(struct aml *a, const char *text);
void aml_eisa_id(struct aml *a, const char *id); /* "PNP0A03" */
void aml_name(struct aml *a, const char *path);  /* object follows */
void aml_name_int(struct aml *a, const char *path, uint64_t v);
void aml_name_eisa(struct aml *a, const char *path, const char *id);

/* What aml_close() ends */
void aml_open_scope(struct aml *a, const char *path);
void aml_open_device(struct aml *a, const char *path);
void aml_open_method(struct aml *a, const char *path, unsigned args,
                     bool is_serialized);
void aml_open_package(struct aml *a, unsigned elements);
void aml_open_if(struct aml *a);       /* predicate follows */
void aml_open_template(struct aml *a); /* ResourceTemplate */
void aml_close_template(struct aml *a);
void aml_open_field(struct aml *a, const char *region, unsigned flags);
void aml_close(struct aml *a);

void aml_field(struct aml *a, const char *name, unsigned bits);
void aml_region(struct aml *a, const char *name, unsigned space,
                uint64_t offset, uint64_t bytes);

/* Operators whose operands follow */
enum aml_op {
    AML_LOCAL0 = 0x60,
    AML_ARG0 = 0x68,
    AML_STORE = 0x70, /* value, target */
    AML_AND = 0x7b,   /* value, value, target (0: none) */
    AML_OR = 0x7d,
    AML_CREATE_DWORD_FIELD = 0x8a, /* buffer, octet, name */
    AML_LLESS = 0x95,
    AML_RETURN = 0xa4,
};
void aml_op(struct aml *a, enum aml_op op);

/* Resource descriptors (6.4) */
void aml_res_io(struct aml *a, uint16_t port, uint8_t align, uint8_t ports);
void aml_res_irq(struct aml *a, unsigned irq); /* edge, ISA */
void aml_res_dma(struct aml *a, unsigned channel);
/* Level, active high, shared */
void aml_res_interrupts(struct aml *a, const uint32_t *irq, unsigned count);
void aml_res_memory32(struct aml *a, uint32_t base, uint32_t bytes,
                      bool is_writable);
void aml_res_bus_numbers(struct aml *a, unsigned first, unsigned last);
void aml_res_io_window(struct aml *a, unsigned first, unsigned last);
void aml_res_memory_window(struct aml *a, uint64_t first, uint64_t last,
                           bool is_cacheable);

#endif
