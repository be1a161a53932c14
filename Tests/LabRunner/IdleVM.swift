// SPDX-License-Identifier: Apache-2.0

import Foundation

/// One VM that exists as long as L1 and never runs.
///
/// KVM patches kernel text when the first VM comes and when the last one goes; under emulation
/// with several threads that has been seen to crash L1.
final class IdleVM {
  private let system: FileHandle
  private let vm: FileHandle

  init() throws {
    let createVM: UInt = 0xae01
    system = try FileHandle(forUpdating: URL(filePath: "/dev/kvm"))
    let descriptor = ioctl(system.fileDescriptor, createVM, 0)
    guard descriptor >= 0 else { throw LabError("L1: KVM_CREATE_VM: errno \(errno)") }
    vm = FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
  }
}
