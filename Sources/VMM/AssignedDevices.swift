// SPDX-License-Identifier: Apache-2.0

internal import GuestMemory
internal import KVM
internal import Linux
internal import PCI
internal import Passthrough
internal import VFIO

/// The host devices of a VM, with the groups and the container that they came through.
final class AssignedDevices: Sendable {
  let functions: [AssignedFunction]
  /// nil where there are none.
  let host: Host?
  let dma: DMAMapper?
  private let groups: [Group]
  /// KVM knows the groups as long as this is open.
  private let registration: VirtualMachine.VFIODevice?

  /// The first I/O address that the IOMMU does not translate.
  var ioLimit: UInt64 { dma?.limit ?? .max }

  /// The host's view of the devices, each found to be ready.
  static func check(
    _ devices: [Configuration.AssignedDevice]
  ) throws(RunError) -> [HostDevice] {
    var hosts: [HostDevice] = []
    for device in devices {
      let address = device.address.description
      guard let host = HostDevice(address: address) else { throw .vfio(.noDevice(address)) }
      let state = host.readiness
      guard state == .ready else { throw .vfio(.notReady(address, state)) }
      hosts.append(host)
    }
    return hosts
  }

  /// Takes the devices over.
  init(
    _ devices: [HostDevice], machine: VirtualMachine, slots: MemorySlots, memory: GuestMemory,
    recorder: Recorder
  ) throws(RunError) {
    guard !devices.isEmpty else {
      (functions, host, dma, groups) = ([], nil, nil, [])
      registration = nil
      return
    }
    let container = try step(RunError.vfio) { () throws(VFIOError) in try Container() }
    let groups = try step(RunError.vfio) { () throws(VFIOError) in
      try Self.groups(of: devices, container)
    }
    let (dma, registration) = try Self.mapper(
      container, groups, machine: machine, memory: memory, count: devices.count)
    let host = Host(
      machine: machine, slots: slots, routes: InterruptRoutes(machine), dma: dma)
    var functions: [AssignedFunction] = []
    for device in devices {
      guard let group = groups.first(where: { $0.number == device.group }) else { continue }
      let open = try step(RunError.vfio) { () throws(VFIOError) in
        try Device(address: device.address, group: group)
      }
      functions.append(
        try step(RunError.function) { () throws(FunctionError) in
          try AssignedFunction(open, host: host, observe: recorder.observer(of: device.address))
        })
    }
    self.functions = functions
    self.host = host
    self.dma = dma
    self.groups = groups
    self.registration = registration
  }

  private static func groups(
    of devices: [HostDevice], _ container: Container
  ) throws(VFIOError) -> [Group] {
    var groups: [Group] = []
    for device in devices {
      guard let number = device.group else { throw .notReady(device.address, .noGroup) }
      if groups.contains(where: { $0.number == number }) { continue }
      groups.append(
        try Group(
          number: number, device: device.address, container: container, isFirst: groups.isEmpty))
    }
    return groups
  }

  private static func mapper(
    _ container: Container, _ groups: [Group], machine: VirtualMachine, memory: GuestMemory, count: Int
  ) throws(RunError) -> (DMAMapper, VirtualMachine.VFIODevice) {
    do throws(KernelError) {
      let registration = try machine.makeVFIODevice()
      for group in groups { try registration.add(group: group.descriptorNumber) }
      let dma = try DMAMapper(container, memory: memory, hasPeers: count > 1)
      if let region = dma.unreachable() {
        throw KernelError(
          "the IOMMU does not translate guest RAM at \(region.base), \(region.size) bytes; give a smaller "
            + "--memory", errno: KernelError.invalid)
      }
      return (dma, registration)
    } catch { throw .kernel(error) }
  }
}
