// SPDX-License-Identifier: Apache-2.0

import Foundation

/// A VM with one vCPU that never runs. It exists while the runner inside L1 runs.
///
/// KVM patches kernel text when the first VM is created and when the last VM is destroyed. It does the same
/// for the first and the last vCPU whose local APIC is disabled, as it is at reset. Without this VM, each
/// start of a guest would patch kernel text. Under emulation with several threads, patching sometimes crashes
/// L1 (`Oops: int3`).
final class IdleVM {
  private let descriptors: [FileHandle]

  init() throws {
    let (createVM, createIRQChip, createVCPU): (UInt, UInt, UInt) = (0xae01, 0xae60, 0xae41)
    let system = try FileHandle(forUpdating: URL(filePath: "/dev/kvm"))
    let vm = ioctl(system.fileDescriptor, createVM, 0)
    guard vm >= 0 else { throw LabError("L1: KVM_CREATE_VM: errno \(errno)") }
    guard ioctl(vm, createIRQChip, 0) == 0 else { throw LabError("L1: KVM_CREATE_IRQCHIP: errno \(errno)") }
    let vcpu = ioctl(vm, createVCPU, 0)
    guard vcpu >= 0 else { throw LabError("L1: KVM_CREATE_VCPU: errno \(errno)") }
    descriptors = [system] + [vm, vcpu].map { FileHandle(fileDescriptor: $0, closeOnDealloc: true) }
  }
}
