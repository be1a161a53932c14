// SPDX-License-Identifier: Apache-2.0

import Fakes
import Gate
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

  static func check(
    _ devices: [Configuration.AssignedDevice], files: HostFiles
  ) throws(RunError) -> [ReadyDevice] {
    devices.map { ReadyDevice(address: $0.address.description, group: "7", token: nil, reserved: []) }
  }

  let choice = IOMMUChoice(.type1, IOMMUChoice.Facts(withoutCdev: []))
  let peerObstacle: String? = nil

  init(
    _ plan: AddressSpacePlan, ready: [ReadyDevice], machine: VirtualMachine, iommu: IOMMUInterface?,
    files: HostFiles
  ) throws(RunError) {
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

  func open(_ device: ReadyDevice) throws(RunError) -> FakeDevice {
    guard let fake = Self.devices.withLock({ $0[device.address]?.device }) else {
      throw .operation(OperationError("fake device \(device.address): not found"))
    }
    return fake
  }
}
