// SPDX-License-Identifier: Apache-2.0

internal import Gate
internal import KVM
internal import Linux
internal import PCI
internal import Passthrough
internal import Seams
internal import VFIO

/// The backend for devices of VFIO groups in type1 containers.
struct VFIOBackend: HostBackend {
  typealias Device = VFIO.Device
  typealias Space = Container
  typealias Machine = MachineResources

  let spaces: [DMAMapper<Container>.Member]
  private let groups: [Group]
  /// The KVM device that holds the groups. KVM knows the groups as long as it is open.
  private let registration: VirtualMachine.KVMVFIODevice

  static func check(_ devices: [Configuration.AssignedDevice]) throws(RunError) -> [ReadyDevice] {
    var ready: [ReadyDevice] = []
    for device in devices {
      let address = device.address.description
      let found = try step(RunError.kernel) { () throws(KernelError) in
        try HostDevice(address: address).map { host throws(KernelError) in
          (state: try host.readiness, group: try host.group, reserved: try host.reservedAddresses)
        }
      }
      guard let found else { throw .vfio(.noDevice(address)) }
      guard found.state == .ready, let group = found.group else {
        throw .vfio(.notReady(address, found.state))
      }
      ready.append(ReadyDevice(address: address, group: group, token: device.token, reserved: found.reserved))
    }
    return ready
  }

  init(_ plan: AddressSpacePlan, ready: [ReadyDevice], machine: VirtualMachine) throws(RunError) {
    var groups: [Group] = []
    var spaces: [DMAMapper<Container>.Member] = []
    for (numbers, devices) in zip(plan.spaces, plan.devices) {
      let container = try step(RunError.vfio) { () throws(VFIOError) in try Container() }
      for (index, number) in numbers.enumerated() {
        let device = ready.first { $0.group == number }?.address ?? ""
        groups.append(
          try step(RunError.vfio) { () throws(VFIOError) in
            try Group(number: number, device: device, container: container, isFirst: index == 0)
          })
      }
      spaces.append(
        try step(RunError.operation) { () throws(OperationError) in try .init(container, devices: devices) })
    }
    registration = try step(RunError.kernel) { () throws(KernelError) in
      let registration = try machine.makeVFIODevice()
      for group in groups { try registration.add(group: group.descriptorNumber) }
      return registration
    }
    self.groups = groups
    self.spaces = spaces
  }

  func open(_ device: ReadyDevice) throws(RunError) -> VFIO.Device {
    guard let group = groups.first(where: { $0.number == device.group }) else {
      throw .vfio(.noDevice(device.address))
    }
    return try step(RunError.vfio) { () throws(VFIOError) in
      try VFIO.Device(address: device.address, group: group, groups: groups, token: device.token)
    }
  }
}
