/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel interfaces that Sluice uses, as calls that return -errno. A call
 * takes scalars wherever the kernel takes a small struct, so that no pointer
 * is made in Swift for it.
 */
#pragma once

#include "calls.h"
#include "events.h"
#include "files.h"
#include "guarded.h"
#include "kvm.h"
#include "memory.h"
#include "process.h"
#include "run.h"
#include "sandbox.h"
#include "threads.h"
#include "vfio.h"
