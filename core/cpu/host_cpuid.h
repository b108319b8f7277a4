/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_CPU_HOST_CPUID_H
#define ORRERY_CPU_HOST_CPUID_H

#include "core/cpu/cpuid.h"

/* For -cpu help: name and title of model n, name of feature n; NULL past the
 * end.  Any thread, outside guest context. */
const char *cpu_model_list(unsigned n, const char **title);
const char *cpu_feature_list(unsigned n);

/* Name of a feature bit of CPUID: reg 0 EAX ... 3 EDX; NULL: it has none. */
const char *cpu_feature_name(uint32_t leaf, uint32_t subleaf, unsigned reg,
                             unsigned bit);

#endif
