// SPDX-License-Identifier: Apache-2.0

import Fakes
import Gate
import GuestMemory
import KVM
import PCI
import Passthrough
import Seams
import Synchronization
import Trace

@testable import VMM

/// A backend of fake devices with a KVM machine.
struct FakeHost: HostBackend {
  /// True if KVM is usable on this machine.
  static let hasKVM: Bool = {
    do throws(KVMError) {
      _ = try KVMSystem()
      return true
    } catch { return false }
  }()

  typealias Device = FakeDevice
  typealias Space = FakeSpace
  typealias Machine = MachineResources

  /// The existing devices by address, each with its world. Taken for a short time. No lock is taken inside
  /// it.
  static let devices = Mutex<[String: (device: FakeDevice, world: FakeWorld)]>([:])

  let spaces: [DMAMapper<FakeSpace>.Member]
  /// The devices that the VM has. Taken for a short time. No lock is taken inside it.
  private let members: Members

  private final class Members: Sendable {
    let addresses: Mutex<[String]>
    init(_ addresses: [String]) { self.addresses = Mutex(addresses) }
  }

  static func check(
    _ devices: [Configuration.AssignedDevice], files: HostFiles
  ) throws(RunError) -> [ReadyDevice] {
    devices.map { ReadyDevice(address: $0.address.description, group: "7", token: nil, reserved: []) }
  }

  let choice: IOMMUChoice? = IOMMUChoice(.type1, IOMMUChoice.Facts(withoutCdev: []))
  let peerObstacle: String? = nil
  let readers: ServerReaders? = nil
  let groups: [String] = []

  init(
    _ plan: AddressSpacePlan, ready: [ReadyDevice], machine: VirtualMachine, memory: GuestMemory,
    iommu: IOMMUInterface?, files: HostFiles, ports: Int, eventLog: EventLog
  ) throws(RunError) {
    members = Members(ready.map(\.address))
    var spaces: [DMAMapper<FakeSpace>.Member] = []
    for devices in plan.devices {
      guard let world = Self.devices.withLock({ all in devices.first.flatMap { all[$0]?.world } }) else {
        continue
      }
      spaces.append(
        try step(RunError.operation) { () throws(OperationError) in
          try .init(FakeSpace(world), devices: devices)
        })
    }
    self.spaces = spaces
  }

  func add(_ device: ReadyDevice, files: HostFiles) throws(RunError) -> AddedDevice<FakeHost> {
    let open = try open(device)
    guard let world = Self.devices.withLock({ $0[device.address]?.world }) else {
      throw .operation(OperationError("fake device \(device.address): not found"))
    }
    let isFirst = members.addresses.withLock { $0.isEmpty }
    let space = try step(RunError.operation) { () throws(OperationError) in
      try isFirst ? DMAMapper<FakeSpace>.Member(FakeSpace(world), devices: [device.address]) : nil
    }
    members.addresses.withLock { $0.append(device.address) }
    return AddedDevice(device: open, space: space)
  }

  func isLast(_ address: String) -> Bool {
    members.addresses.withLock { $0.allSatisfy { $0 == address } }
  }

  /// True if the VM has the files of a device.
  func has(_ address: String) -> Bool { members.addresses.withLock { $0.contains(address) } }

  func remove(_ address: String) { members.addresses.withLock { $0.removeAll { $0 == address } } }

  func open(_ device: ReadyDevice) throws(RunError) -> FakeDevice {
    guard let fake = Self.devices.withLock({ $0[device.address]?.device }) else {
      throw .operation(OperationError("fake device \(device.address): not found"))
    }
    return fake
  }
}
