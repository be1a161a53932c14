// SPDX-License-Identifier: Apache-2.0

internal import Boot
internal import Gate
internal import GuestMemory
internal import PCI
internal import Passthrough
internal import Seams

/// The addition of a device while the VM runs. After an error, the VM is as before.
extension Hotplug {
  /// Opens a device by its descriptors for a port.
  ///
  /// - Parameters:
  ///   - device: The device.
  ///   - port: The port.
  ///   - replaced: The function that leaves the port before, or nil.
  ///   - files: The device's descriptors.
  func open(
    _ device: Configuration.AssignedDevice, for port: Port<B>, replacing replaced: AssignedFunction<B>? = nil,
    files: HostFiles
  ) throws(RunError) -> Arrival {
    let address = device.address.description
    guard !population.functions.contains(where: { $0.address == address && $0.isOpen }) else {
      throw .host(.alreadyAdded(address))
    }
    guard let backend = builder.devices.backend, let context = builder.devices.context,
      let dma = builder.devices.dma
    else { throw .operation(OperationError("device \(address): a VM without ports has no backend")) }
    let ready = try B.check([device], files: files)[0]
    for hole in ready.reserved {
      for region in builder.memory.regions
      where hole.lowerBound < region.end.rawValue && hole.upperBound >= region.base.rawValue {
        throw .host(.reservedMemory(device: address, group: ready.group, hole))
      }
    }
    let added = try backend.add(ready, files: files)
    do throws(RunError) {
      if let space = added.space {
        try step(RunError.operation) { () throws(OperationError) in
          try dma.add(
            space, shouldStop: { shutdown.isOver }, mapped: eventLog.pinned, unmapped: eventLog.unpinned)
        }
      }
      let function = try function(added.device, device, context, replacing: replaced)
      let (need, window) = (PortWindow(for: function.bars), port.window)
      guard need.memory32 <= window.memory32, need.memory64 <= window.memory64 else {
        throw .host(.portTooSmall(device: address, slot: port.slot, needs: need, has: window))
      }
      return Arrival(device: added.device, function: function, port: port, isFirst: added.space != nil)
    } catch {
      discard(added.device, isFirst: added.space != nil)
      throw error
    }
  }

  private func function(
    _ open: B.Device, _ device: Configuration.AssignedDevice, _ context: PassthroughContext<B>,
    replacing replaced: AssignedFunction<B>?
  ) throws(RunError) -> AssignedFunction<B> {
    let others = population.functions.filter {
      $0.isOpen && $0 !== replaced && DeviceName($0.address)?.path == nil
    }
    let isExpress = try step(RunError.operation) { () throws(OperationError) in try open.isExpress() }
    let isReached = builder.devices.backend?.peerObstacle == nil && !(others.isEmpty && isExpress)
    let peers =
      device.address.path == nil
      ? [isReached ? device.policies.peerDMA : .off]
      : [PeerPolicy](repeating: .off, count: context.windowMappings.count)
    let members = builder.root.ports.count + population.functions.count
    let budget = WindowBudget(
      [WindowBudget.Demand(open.mappableBARs, device.policies.barMap, peers: peers)],
      slots: context.slotCapacity / members, mappings: context.windowMappings)
    let configuration = FunctionConfiguration(
      policies: device.policies, peers: peers,
      reset: ResetMethod(open, devices: others.map(\.address) + [open.address]), budget: budget,
      isBehindPort: true)
    return try step(RunError.function) { () throws(FunctionError) in
      try AssignedFunction(
        open, context: context, configuration: configuration, observe: eventLog.observer(of: open.address))
    }
  }

  /// Puts an open device into the slot of its port, which is empty.
  func enter(_ arrival: Arrival) throws(RunError) {
    let (function, port) = (arrival.function, arrival.port)
    do throws(FunctionError) {
      // The guest assigns the addresses.
      let place = GuestSlot(slot: port.slot, function: 0, isShared: false, port: port.index)
      try function.attach(
        [UInt64](repeating: 0, count: function.bars.count), function: place.index, isMultifunction: false,
        gsi: PlatformLayout.gsi(slot: port.slot, pin: function.interruptPin ?? 0))
      try function.resetAtStart(begun: {})
      try port.insert(function, try function.link())
    } catch {
      discard(arrival)
      throw .function(error)
    }
    population.add(function)
  }

  /// Returns a device to the host that the guest has not seen.
  func discard(_ arrival: Arrival) { discard(arrival.device, isFirst: arrival.isFirst) }

  private func discard(_ device: B.Device, isFirst: Bool) {
    device.close()
    // The first space of a VM is added only after nothing is left to pin.
    if isFirst { _ = removeSpaces() }
    builder.devices.backend?.remove(device.address)
  }
}
