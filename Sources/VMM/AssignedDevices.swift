// SPDX-License-Identifier: Apache-2.0

internal import Gate
internal import GuestMemory
internal import KVM
internal import Linux
internal import PCI
internal import Passthrough
internal import VFIO

/// The host devices of a VM, with the groups and the container that they came through.
final class AssignedDevices: Sendable {
  let functions: [AssignedFunction]
  /// Where each function is on the guest's bus.
  let places: [GuestPlace]
  /// nil where there are none.
  let host: Host?
  let dma: DMAMapper?
  private let groups: [Group]
  /// KVM knows the groups as long as this is open.
  private let registration: VirtualMachine.VFIODevice?

  /// The first I/O address that the IOMMU does not translate.
  var ioLimit: UInt64 { dma?.limit ?? .max }

  /// A device of the host that can be passed through.
  struct ReadyDevice {
    let address: String
    let group: String
    /// The VF token, as text; nil for none.
    let token: String?
    /// I/O addresses that its IOMMU group cannot use.
    let reserved: [ClosedRange<UInt64>]
  }

  /// The host's view of the devices, each found to be ready.
  static func check(
    _ devices: [Configuration.AssignedDevice]
  ) throws(RunError) -> [ReadyDevice] {
    var hosts: [ReadyDevice] = []
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
      hosts.append(ReadyDevice(address: address, group: group, token: device.token, reserved: found.reserved))
    }
    return hosts
  }

  /// Takes the devices over.
  init(
    _ devices: [Configuration.AssignedDevice], hosts: [ReadyDevice], machine: VirtualMachine,
    slots: MemorySlots, routeLimit: Int, memory: GuestMemory, recorder: Recorder
  ) throws(RunError) {
    places = GuestPlace.all(devices.map(\.address))
    guard !devices.isEmpty else {
      (functions, host, dma, groups) = ([], nil, nil, [])
      registration = nil
      return
    }
    let plan = PeerPlan(
      zip(devices, hosts).map { device, host in
        PeerPlan.Member(address: host.address, group: host.group, policies: device.policies)
      })
    let (groups, spaces) = try Self.spaces(plan, of: hosts)
    let (dma, registration) = try Self.mapper(spaces, groups, machine: machine, memory: memory)
    let host = Host(
      machine: machine, slots: slots, routes: InterruptRoutes(machine, limit: routeLimit), dma: dma)
    functions = try Self.functions(
      devices, hosts, groups: groups, plan: plan, host: host, recorder: recorder)
    self.host = host
    self.dma = dma
    self.groups = groups
    self.registration = registration
  }

  /// Attaches every group to the I/O address space that the plan has for it.
  private static func spaces(
    _ plan: PeerPlan, of hosts: [ReadyDevice]
  ) throws(RunError) -> ([Group], [DMAMapper.Space]) {
    var groups: [Group] = []
    var spaces: [DMAMapper.Space] = []
    for (numbers, devices) in zip(plan.spaces, plan.devices) {
      let container = try step(RunError.vfio) { () throws(VFIOError) in try Container() }
      for (index, number) in numbers.enumerated() {
        let device = hosts.first { $0.group == number }?.address ?? ""
        groups.append(
          try step(RunError.vfio) { () throws(VFIOError) in
            try Group(number: number, device: device, container: container, isFirst: index == 0)
          })
      }
      spaces.append(
        try step(RunError.kernel) { () throws(KernelError) in
          try DMAMapper.Space(container, devices: devices)
        })
    }
    return (groups, spaces)
  }

  private static func mapper(
    _ spaces: [DMAMapper.Space], _ groups: [Group], machine: VirtualMachine, memory: GuestMemory
  ) throws(RunError) -> (DMAMapper, VirtualMachine.VFIODevice) {
    do throws(KernelError) {
      let registration = try machine.makeVFIODevice()
      for group in groups { try registration.add(group: group.descriptorNumber) }
      let dma = try DMAMapper(spaces, memory: memory)
      if let region = dma.unreachable() {
        throw KernelError(
          "the IOMMU does not translate guest RAM at \(region.base), \(region.size) bytes; give a smaller "
            + "--memory", errno: KernelError.invalid)
      }
      return (dma, registration)
    } catch { throw .kernel(error) }
  }

  /// Opens all devices before the first is reset: a bus reset asks for those that it reaches. The kernel resets
  /// what it opens, which takes its time and is done for all at once.
  private static func functions(
    _ devices: [Configuration.AssignedDevice], _ hosts: [ReadyDevice], groups: [Group], plan: PeerPlan,
    host: Host, recorder: Recorder
  ) throws(RunError) -> [AssignedFunction] {
    let open = try each(hosts) { host throws(RunError) in
      guard let group = groups.first(where: { $0.number == host.group }) else {
        throw .vfio(.noDevice(host.address))
      }
      return try step(RunError.vfio) { () throws(VFIOError) in
        try Device(address: host.address, group: group, token: host.token)
      }
    }
    let addresses = hosts.map(\.address)
    let peers = try step(RunError.kernel) { () throws(KernelError) in
      try open.map { device throws(KernelError) in
        plan.policies(of: device.address, reachesItself: try !device.isExpress())
      }
    }
    let budget = WindowBudget(
      zip(zip(devices, open), peers).map { pair, peers in
        WindowBudget.Demand(pair.1.mappableBARs, pair.0.policies.barMap, peers: peers)
      }, slots: host.slotCapacity, mappings: host.windowMappings)
    var functions: [AssignedFunction] = []
    for (index, device) in open.enumerated() {
      let configuration = devices[index]
      let assignment = Assignment(
        policies: configuration.policies, peers: peers[index],
        reset: ResetMethod(device, groups: groups, devices: addresses), budget: budget)
      functions.append(
        try step(RunError.function) { () throws(FunctionError) in
          try AssignedFunction(
            device, host: host, assignment: assignment, observe: recorder.observer(of: device.address))
        })
    }
    return functions
  }
}
