/* SPDX-License-Identifier: Apache-2.0 */
/* Accesses of 8 bytes to memory that may be taken away: guarded.S and guarded.c. */
#pragma once

#include <stdint.h>

/* 0, or -EFAULT where the memory raised SIGBUS; only after cl_install_guard. */
int cl_guarded_load(uint64_t address, uint64_t *value);
int cl_guarded_store(uint64_t address, uint64_t value);

/* From now on SIGBUS anywhere else ends the process with a status and a line that says where. */
int cl_install_guard(int status);
