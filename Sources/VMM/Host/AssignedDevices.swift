// SPDX-License-Identifier: Apache-2.0

internal import Gate
internal import GuestMemory
internal import KVM
internal import Logging
internal import PCI
internal import Passthrough
internal import Seams

/// The assigned devices of a VM, with the host resources that they use.
struct AssignedDevices<B: HostBackend>: Sendable {
  let functions: [AssignedFunction<B>]
  /// The PCI slot of each function on the guest's bus.
  let guestSlots: [GuestSlot]
  /// The context that the functions share, or nil if the VM has no device.
  let context: PassthroughContext<B>?
  let dma: DMAMapper<B.Space>?
  /// The backend of the devices. It stays open as long as the devices.
  let backend: B?

  /// The interface to the IOMMU, or nil if the VM has no device of the host.
  var interface: IOMMUInterface? { backend?.choice?.interface }

  /// The first IOVA that the IOMMU does not translate.
  var ioLimit: UInt64 { dma?.limit ?? .max }

  /// Opens the devices and creates their functions.
  init(
    _ devices: [Configuration.AssignedDevice], ready: [ReadyDevice], machine: VirtualMachine,
    resources: MachineResources, memory: GuestMemory, iommu: IOMMUInterface?, files: HostFiles,
    ports: Int, eventLog: EventLog
  ) throws(RunError) {
    guestSlots = GuestSlot.all(devices)
    guard !devices.isEmpty || ports > 0 else {
      (functions, context, dma, backend) = ([], nil, nil, nil)
      return
    }
    let plan = AddressSpacePlan(devices, ready)
    let backend = try B(
      plan, ready: ready, machine: machine, memory: memory, iommu: iommu, files: files, ports: ports,
      eventLog: eventLog)
    if let choice = backend.choice { eventLog.note(choice) }
    let dma = try Self.mapper(backend.spaces, memory: memory)
    // There is nothing to pin.
    if dma.isEmpty { dma.finishPinning(nil) }
    let context = PassthroughContext<B>(machine: resources, dma: dma)
    // All devices are open before the first bus reset, because a bus reset requires every device that it
    // reaches. The kernel resets each device that is opened. This takes time, so that the devices are opened
    // concurrently.
    let open = try concurrentMap(ready) { device throws(RunError) in try backend.open(device) }
    functions = try Self.functions(
      devices, open, plan: plan, peerObstacle: backend.peerObstacle, context: context, eventLog: eventLog)
    self.context = context
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
    peerObstacle: String?,
    context: PassthroughContext<B>, eventLog: EventLog
  ) throws(RunError) -> [AssignedFunction<B>] {
    let addresses = open.map(\.address)
    var peers = try step(RunError.operation) { () throws(OperationError) in
      try open.map { device throws(OperationError) in
        plan.policies(of: device.address, reachesItself: try !device.isExpress())
      }
    }
    // No device of the host reaches the windows of a device in another process.
    for index in peers.indices where devices[index].address.path != nil {
      peers[index] = [PeerPolicy](repeating: .off, count: context.windowMappings.count)
    }
    if let peerObstacle {
      eventLog.log.warning("peer DMA is off: \(peerObstacle)")
      peers = peers.map { $0.map { _ in .off } }
    }
    let budget = WindowBudget(
      zip(zip(devices, open), peers).map { pair, peers in
        WindowBudget.Demand(pair.1.mappableBARs, pair.0.policies.barMap, peers: peers)
      }, slots: context.slotCapacity, mappings: context.windowMappings)
    var functions: [AssignedFunction<B>] = []
    for (index, device) in open.enumerated() {
      let configuration = FunctionConfiguration(
        policies: devices[index].policies, peers: peers[index],
        reset: ResetMethod(device, devices: addresses), budget: budget, isBehindPort: devices[index].hasPort)
      functions.append(
        try step(RunError.function) { () throws(FunctionError) in
          try AssignedFunction(
            device, context: context, configuration: configuration,
            observe: eventLog.observer(of: device.address))
        })
    }
    return functions
  }
}

extension AddressSpacePlan {
  /// Creates a plan for assigned devices. Devices in other processes have no part in it.
  init(_ devices: [Configuration.AssignedDevice], _ ready: [ReadyDevice]) {
    let host = zip(devices, ready).filter { $1.server == nil }
    self.init(host.map(\.0), groups: host.map(\.1.group))
  }

  /// Creates a plan for assigned devices of the host.
  ///
  /// - Parameters:
  ///   - devices: The devices.
  ///   - groups: The IOMMU group of each device.
  init(_ devices: [Configuration.AssignedDevice], groups: [String]) {
    self.init(
      zip(devices, groups).map { device, group in
        Member(address: device.address.description, group: group, policies: device.policies)
      })
  }
}
