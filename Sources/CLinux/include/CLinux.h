/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel interfaces that Sluice uses, as functions that return -errno. A
 * function takes scalars instead of a small struct of the kernel, so that
 * Swift creates no pointer for it.
 */
#pragma once

#include "calls.h"
#include "events.h"
#include "files.h"
#include "guarded.h"
#include "iommufd.h"
#include "kvm.h"
#include "memory.h"
#include "messages.h"
#include "passed.h"
#include "process.h"
#include "run.h"
#include "sandbox.h"
#include "sockets.h"
#include "threads.h"
#include "vfio.h"
