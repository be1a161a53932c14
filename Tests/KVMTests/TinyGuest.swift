// SPDX-License-Identifier: Apache-2.0

import GuestMemory
import Linux
import Seams
import Testing

@testable import KVM

/// A VM with one vCPU in flat 32-bit protected mode. The program is given as bytes. It reports results by
/// writes to ports, and ends with a write to port 0xFF.
final class TinyGuest {
  static let code: UInt64 = 0x1000
  let memory: GuestMemory
  let machine: VirtualMachine
  let cpu: VirtualCPU

  /// A value that a guest writes to a port.
  struct Output: Equatable {
    let port: UInt64
    let value: UInt64
  }

  init(_ code: [UInt8], cpus: Int = 1, _ change: (inout CPUState) -> Void = { _ in }) throws {
    let system = try KVMSystem()
    memory = try GuestMemory(size: 2 << 20)
    machine = try KVMDevice.machine(system)
    let region = memory.regions[0]
    try machine.setMemory(slot: 0, at: region.base, size: region.size, host: region.hostAddress)
    cpu = try VirtualCPU(machine, index: 0, features: try CPUFeatures(system, cpus: cpus))
    var state = CPUState(
      rip: Self.code, cr0: 0x11, cs: .init(selector: 0x10, type: 0xB, db: 1),
      data: .init(selector: 0x18, type: 3, db: 1),
      tr: .init(limit: 0x67, selector: 0, type: 0xB, db: 0, s: 0),
      ldt: .init(limit: 0, selector: 0, type: 2, present: 0, db: 0, s: 0), gdt: .init(base: 0x500, limit: 31))
    change(&state)
    try cpu.setState(state)
    try memory.write(code + Self.out(0xFF), at: GuestAddress(Self.code))
    // Flat code and data at selectors 0x10 and 0x18 (Intel SDM vol. 3 §3.4.5).
    try memory.store(0x00CF_9B00_0000_FFFF as UInt64, at: GuestAddress(0x510))
    try memory.store(0x00CF_9300_0000_FFFF as UInt64, at: GuestAddress(0x518))
    cpu.adopt()
  }

  /// The properties of an access. The access itself cannot be copied.
  struct Seen: Equatable {
    let address: UInt64
    let width: Int
    let count: Int
    let isWrite: Bool

    init(_ access: borrowing VirtualCPU.Access) {
      (address, width, count, isWrite) = (access.address, access.width, access.count, access.isWrite)
    }

    init(_ address: UInt64, width: Int, count: Int = 1, isWrite: Bool) {
      (self.address, self.width, self.count, self.isWrite) = (address, width, count, isWrite)
    }
  }

  static func bytes(_ value: UInt32) -> [UInt8] {
    (0..<4).map { UInt8(truncatingIfNeeded: value >> ($0 * 8)) }
  }

  /// out port, eax
  static func out(_ port: UInt8) -> [UInt8] { [0xE7, port] }
  /// mov dword [address], value
  static func store(_ address: UInt32, _ value: UInt32) -> [UInt8] {
    [0xC7, 0x05] + bytes(address) + bytes(value)
  }
  /// mov eax, [address]
  static func load(_ address: UInt32) -> [UInt8] { [0xA1] + bytes(address) }
  /// mov eax, value
  static func set(_ value: UInt32) -> [UInt8] { [0xB8] + bytes(value) }
  /// mov ecx, value
  static func count(_ value: UInt32) -> [UInt8] { [0xB9] + bytes(value) }

  /// Runs until the guest ends, and returns its output.
  func run() throws -> [Output] {
    var outputs: [Output] = []
    for _ in 0..<10_000 {
      switch cpu.run() {
      case .port(let access):
        if access.address == 0xFF { return outputs }
        guard access.isWrite else { throw OperationError("the guest reads a port") }
        for index in 0..<access.count {
          outputs.append(Output(port: access.address, value: access.value(index)))
        }
      case .interrupted: continue
      case .failed(let cause): throw OperationError(cause)
      case .notDelivered(_, let cause): throw OperationError(cause)
      case .shutdown: throw OperationError("triple fault")
      case .memory(let access): throw OperationError("access to memory at \(access.address)")
      case .notEmulated(let location): throw OperationError("not emulated: \(location)")
      default: throw OperationError("unexpected exit of the guest")
      }
    }
    throw OperationError("the guest does not end")
  }
}
