// SPDX-License-Identifier: Apache-2.0

import Foundation

/// One VM with one vCPU that exists as long as L1 and never runs.
///
/// KVM patches kernel text when the first VM comes and the last one goes, and likewise for the first and the last
/// vCPU whose local APIC is not enabled, as it is at reset: that is at every start of a guest. Under emulation
/// with several threads such patching now and then crashes L1 (`Oops: int3`). With this one there is always one.
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
