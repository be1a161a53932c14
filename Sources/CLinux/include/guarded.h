/* SPDX-License-Identifier: Apache-2.0 */
/* Accesses of 8 bytes to memory that may disappear: guarded.S and guarded.c. */
#pragma once

#include <stdint.h>

/* Return 0, or CL_NO_MEMORY if the memory raised SIGBUS. Call cl_install_guard first. */
int cl_guarded_load(uint64_t address, uint64_t *value);
int cl_guarded_store(uint64_t address, uint64_t value);

/* Makes SIGBUS of other code end the process, with a status and a line that has the address. */
int cl_install_guard(int status);
