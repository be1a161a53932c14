// SPDX-License-Identifier: Apache-2.0

internal import Gate
internal import GuestMemory
internal import KVM
internal import Passthrough
internal import Seams

/// The assigned devices of a VM, with the host resources that they use.
struct AssignedDevices<B: HostBackend>: Sendable {
  let functions: [AssignedFunction<B>]
  /// The place of each function on the guest's bus.
  let guestSlots: [GuestSlot]
  /// The context that the functions share, or nil if the VM has no device.
  let host: PassthroughContext<B>?
  let dma: DMAMapper<B.Space>?
  /// The backend of the devices. It stays open as long as the devices.
  private let backend: B?

  /// The first I/O address that the IOMMU does not translate.
  var ioLimit: UInt64 { dma?.limit ?? .max }

  /// Opens the devices and creates their functions.
  init(
    _ devices: [Configuration.AssignedDevice], hosts: [ReadyDevice], machine: VirtualMachine,
    slots: MemorySlots, routeLimit: Int, memory: GuestMemory, eventLog: EventLog
  ) throws(RunError) {
    guestSlots = GuestSlot.all(devices.map(\.address))
    guard !devices.isEmpty else {
      (functions, host, dma, backend) = ([], nil, nil, nil)
      return
    }
    let plan = AddressSpacePlan(
      zip(devices, hosts).map { device, host in
        AddressSpacePlan.Member(address: host.address, group: host.group, policies: device.policies)
      })
    let backend = try B(plan, hosts: hosts, machine: machine)
    let dma = try Self.mapper(backend.spaces, memory: memory)
    let host = PassthroughContext<B>(
      machine: MachineResources(machine, slots: slots, routes: InterruptRoutes(machine, limit: routeLimit)),
      dma: dma)
    // All devices are open before the first bus reset, because a bus reset requires every device that it
    // reaches. The kernel resets each device that it opens. This takes time, so it is done for all devices
    // concurrently.
    let open = try concurrentMap(hosts) { host throws(RunError) in try backend.open(host) }
    functions = try Self.functions(devices, open, plan: plan, host: host, eventLog: eventLog)
    self.host = host
    self.dma = dma
    self.backend = backend
  }

  private static func mapper(
    _ spaces: [DMAMapper<B.Space>.Member], memory: GuestMemory
  ) throws(RunError) -> DMAMapper<B.Space> {
    let dma = try step(RunError.operation) { () throws(OperationError) in
      try DMAMapper(spaces, memory: memory)
    }
    if let region = dma.unreachable() {
      throw .host(.untranslated(region.base, size: region.size))
    }
    return dma
  }

  private static func functions(
    _ devices: [Configuration.AssignedDevice], _ open: [B.Device], plan: AddressSpacePlan,
    host: PassthroughContext<B>,
    eventLog: EventLog
  ) throws(RunError) -> [AssignedFunction<B>] {
    let addresses = open.map(\.address)
    let peers = try step(RunError.operation) { () throws(OperationError) in
      try open.map { device throws(OperationError) in
        plan.policies(of: device.address, reachesItself: try !device.isExpress())
      }
    }
    let budget = WindowBudget(
      zip(zip(devices, open), peers).map { pair, peers in
        WindowBudget.Demand(pair.1.mappableBARs, pair.0.policies.barMap, peers: peers)
      }, slots: host.slotCapacity, mappings: host.windowMappings)
    var functions: [AssignedFunction<B>] = []
    for (index, device) in open.enumerated() {
      let assignment = FunctionConfiguration(
        policies: devices[index].policies, peers: peers[index],
        reset: ResetMethod(device, devices: addresses), budget: budget)
      functions.append(
        try step(RunError.function) { () throws(FunctionError) in
          try AssignedFunction(
            device, context: host, configuration: assignment, observe: eventLog.observer(of: device.address))
        })
    }
    return functions
  }
}
