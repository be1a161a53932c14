// SPDX-License-Identifier: Apache-2.0

import CLinux
import GuestMemory
import Linux
import Testing

@testable import KVM

@Suite struct SystemErrorTests {
  private static func failure(_ path: String) -> String? {
    do throws(KVMError) {
      _ = try KVMSystem(path: path)
      return nil
    } catch { return error.description }
  }

  @Test("a missing /dev/kvm means that KVM is not loaded")
  func absent() {
    #expect(
      Self.failure("/nonexistent")
        == "open /nonexistent: No such file or directory: KVM is not loaded")
  }

  @Test("a file that is not /dev/kvm has another version")
  func notKVM() {
    #expect(Self.failure("/dev/null")?.contains("KVM_GET_API_VERSION") == true)
  }

  @Test(
    "an error contains the operation and the cause",
    arguments: [
      (.unavailable(KernelError("open /dev/kvm", errno: KernelError.accessDenied)), "this user may not"),
      (.unavailable(KernelError("open /dev/kvm", errno: KernelError.notPermitted)), "this user may not"),
      (.unavailable(KernelError("open /dev/kvm", errno: KernelError.noDevice)), "no VT-x or SVM"),
      (.unavailable(KernelError("open /dev/kvm", errno: KernelError.io)), "Input/output error"),
      (.version(11), "version 11, Sluice needs 12"), (.missing("KVM_CAP_IRQFD"), "lacks KVM_CAP_IRQFD"),
    ] as [(KVMError, String)])
  func advice(_ error: KVMError, _ text: String) {
    #expect(error.description.contains(text))
  }
}

@Suite struct NestingTests {
  @Test("only VMX and SVM are hidden")
  func hidden() {
    let leaves = ([0, 1, 7, 0x8000_0001, 0x8000_000A] as [UInt32]).map { function in
      kvm_cpuid_entry2(
        function: function, index: 0, flags: 0, eax: .max, ebx: .max, ecx: .max, edx: .max, padding: (0, 0, 0)
      )
    }
    var features = CPUFeatures(entries: leaves)
    features.hideVirtualization()
    #expect(features.leaf(1).map { $0 == (.max, .max, ~(1 << 5), .max) } == true)
    #expect(features.leaf(0x8000_0001).map { $0 == (.max, .max, ~(1 << 2), .max) } == true)
    #expect(features.leaf(0x8000_000A).map { $0 == (0, 0, 0, 0) } == true)
    #expect(features.leaf(7).map { $0 == (.max, .max, .max, .max) } == true)
  }
}

/// Skipped if this machine has no KVM or does not permit its use.
@Suite(.enabled(if: KVMDevice.isUsable, "/dev/kvm is not usable here"))
struct KVMSystemTests {
  @Test("KVM has enough memory slots and vCPUs")
  func limits() throws {
    let system = try KVMSystem()
    #expect(system.memorySlotCount >= 32)
    #expect(system.cpuLimit >= 1)
    #expect(try system.runSize() >= 4096)
  }

  @Test("CPUID reports the address width for every number of vCPUs", arguments: [1, 2, 3, 255])
  func features(_ cpus: Int) throws {
    let features = try CPUFeatures(try KVMSystem(), cpus: cpus)
    #expect((36...57).contains(features.addressBits))
  }

  @Test("a VM accepts and removes memory, and refuses an unaligned address")
  func memory() throws {
    let machine = try KVMDevice.machine(try KVMSystem())
    let memory = try GuestMemory(size: 4 << 20)
    let region = memory.regions[0]
    try machine.setMemory(slot: 0, at: region.base, size: region.size, host: region.hostAddress)
    try machine.removeMemory(slot: 0)
    let error = #expect(throws: KernelError.self) {
      try machine.setMemory(slot: 0, at: GuestAddress(1), size: 4096, host: region.hostAddress)
    }
    #expect(error?.errno == KernelError.invalid)
    #expect(error?.operation == "KVM_SET_USER_MEMORY_REGION slot 0, 4096 bytes at GPA 0x1")
  }
}
