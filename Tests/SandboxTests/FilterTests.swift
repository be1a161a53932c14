// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
import Linux
import Synchronization
import Testing

@testable import Sandbox

/// Loaded filters, each in a separate process. The tests are skipped if the kernel or a container does not
/// allow a thread to load a filter.
@Suite(.enabled(if: Confinement.isPossible, "seccomp filters cannot be loaded here"))
struct FilterTests {
  @Test(
    "a forbidden call kills the process, on every kind of thread",
    arguments: ForbiddenCall.allCases, ThreadKind.allCases)
  func forbidden(_ call: ForbiddenCall, _ kind: ThreadKind) async {
    await #expect(processExitsWith: .signal(SIGSYS)) {
      [call = call.rawValue as String, kind = kind.rawValue as String] in
      Confinement.enter(kind)
      ForbiddenCall(rawValue: call)?.make()
      _exit(0)
    }
  }

  @Test("without a filter, none of these calls kills the process", arguments: ForbiddenCall.allCases)
  func harmless(_ call: ForbiddenCall) async {
    await #expect(processExitsWith: .exitCode(0)) { [call = call.rawValue as String] in
      ForbiddenCall(rawValue: call)?.make()
      _exit(0)
    }
  }

  @Test("memory, locks, messages and exit work on every kind of thread", arguments: ThreadKind.allCases)
  func allowed(_ kind: ThreadKind) async {
    await #expect(processExitsWith: .exitCode(7)) { [kind = kind.rawValue as String] in
      Confinement.enter(kind)
      let lock = Mutex(0)
      for size in [1 << 8, 1 << 16, 1 << 24] {
        let bytes = [UInt8](repeating: 1, count: size)
        lock.withLock { $0 += bytes.count }
      }
      writeStandardError("")
      endProcess(lock.withLock { $0 } > 0 ? 7 : 1)
    }
  }

  private final class Vector: Sendable {
    let event: EventFD
    init() throws { event = try EventFD() }
  }

  @Test("a vCPU thread creates, signals and reads the eventfd of a vector")
  func vectors() async {
    await #expect(processExitsWith: .exitCode(7)) {
      Confinement.enter("vcpu")
      guard let vector = try? Vector() else { _exit(1) }
      // The eventfd stays open, because a vCPU thread may not call close.
      withExtendedLifetime(vector) {
        vector.event.signal()
        guard (try? vector.event.isSignaled()) == true, (try? vector.event.take()) == 1 else { _exit(2) }
        _exit(7)
      }
    }
  }

  // These descriptors are not open. A call that the filter allows returns EBADF.
  @Test("an ioctl with an allowed request reaches the kernel")
  func allowedRequests() async {
    await #expect(processExitsWith: .exitCode(7)) {
      Confinement.enter("vcpu")
      guard cl_kvm_run(-1) == -EBADF, cl_vfio_number(-1, IOC_VFIO_DEVICE_RESET, 0) == -EBADF,
        cl_vfio_map_dma(-1, 0, 0, 0) == -EBADF, cl_kvm_set_memory_slot(-1, 0, 0, 0, 0, 0) == -EBADF
      else { _exit(1) }
      _exit(7)
    }
    await #expect(processExitsWith: .exitCode(7)) {
      Confinement.enter("control")
      _exit(cl_vfio_number(-1, IOC_VFIO_DEVICE_RESET, 0) == -EBADF ? 7 : 1)
    }
    await #expect(processExitsWith: .exitCode(7)) {
      Confinement.enter("pin")
      _exit(cl_vfio_map_dma(-1, 0, 0, 0) == -EBADF ? 7 : 1)
    }
  }

  @Test("the upper 32 bits of a request are ignored, as in the kernel")
  func upperHalf() async {
    await #expect(processExitsWith: .exitCode(7)) {
      Confinement.enter("vcpu")
      _exit(cl_kvm_number(-1, IOC_KVM_RUN | 1 << 32, 0) == -EBADF ? 7 : 1)
    }
    await #expect(processExitsWith: .signal(SIGSYS)) {
      Confinement.enter("vcpu")
      _ = cl_kvm_number(-1, IOC_KVM_CREATE_VM | 1 << 32, 0)
      _exit(0)
    }
  }

  @Test("an ioctl with a request of another kind of thread kills the process")
  func forbiddenRequests() async {
    await #expect(processExitsWith: .signal(SIGSYS)) {
      Confinement.enter("control")
      _ = cl_kvm_run(-1)
      _exit(0)
    }
    await #expect(processExitsWith: .signal(SIGSYS)) {
      Confinement.enter("pin")
      _ = cl_vfio_unmap_dma(-1, 0, 0)
      _exit(0)
    }
    await #expect(processExitsWith: .signal(SIGSYS)) {
      Confinement.enter("control")
      _ = cl_vfio_set_container(-1, -1)
      _exit(0)
    }
    await #expect(processExitsWith: .signal(SIGSYS)) {
      Confinement.enter("vcpu")
      _ = cl_kvm_number(-1, IOC_KVM_CREATE_VM, 0)
      _exit(0)
    }
  }

  @Test("a filter confines only the thread that loads it")
  func oneThread() async {
    await #expect(processExitsWith: .exitCode(7)) {
      let thread = try? Thread(name: "confined") { Confinement.enter("pin") }
      thread?.join()
      ForbiddenCall.dup.make()
      _exit(7)
    }
  }
}
