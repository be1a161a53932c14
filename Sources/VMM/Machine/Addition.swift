// SPDX-License-Identifier: Apache-2.0

internal import Boot
internal import Gate
internal import GuestMemory
internal import PCI
internal import Passthrough
internal import Seams

/// The addition of a device while the VM runs.
extension VM {
  /// Opens a device by its descriptors and puts it into an empty port. After an error, the VM is as before.
  ///
  /// - Parameters:
  ///   - device: The device.
  ///   - slot: The device number of the port, or nil for the first empty port.
  ///   - files: The device's descriptors.
  /// - Returns: The device number of the port, and the number of the function in ``population``.
  func add(
    _ device: Configuration.AssignedDevice, to slot: UInt8?, files: HostFiles
  ) throws(RunError) -> (slot: UInt8, number: Int) {
    let address = device.address.description
    guard !functions.contains(where: { $0.address == address && $0.isOpen }) else {
      throw .host(.alreadyAdded(address))
    }
    guard let port = ports.first(where: { slot == nil ? $0.isFree : $0.slot == slot }), port.isFree,
      let backend = builder.devices.backend, let context = builder.devices.context,
      let dma = builder.devices.dma
    else { throw .host(.noEmptyPort(address, slot)) }
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
          try dma.add(space, mapped: eventLog.pinned)
        }
      }
      let function = try function(added.device, device, context)
      try insert(function, into: port)
      return (port.slot, population.add(function))
    } catch {
      added.device.close()
      // The first space of a VM is added only after nothing is left to pin.
      if added.space != nil { _ = removeSpaces() }
      backend.remove(address)
      throw error
    }
  }

  private func function(
    _ open: B.Device, _ device: Configuration.AssignedDevice, _ context: PassthroughContext<B>
  ) throws(RunError) -> AssignedFunction<B> {
    let others = functions.filter(\.isOpen)
    let isExpress = try step(RunError.operation) { () throws(OperationError) in try open.isExpress() }
    let isReached = builder.devices.backend?.peerObstacle == nil && !(others.isEmpty && isExpress)
    let peers = [isReached ? device.policies.peerDMA : .off]
    let budget = WindowBudget(
      [WindowBudget.Demand(open.mappableBARs, device.policies.barMap, peers: peers)],
      slots: context.slotCapacity / (ports.count + functions.count), mappings: context.windowMappings)
    let configuration = FunctionConfiguration(
      policies: device.policies, peers: peers,
      reset: ResetMethod(open, devices: others.map(\.address) + [open.address]), budget: budget,
      isBehindPort: true)
    return try step(RunError.function) { () throws(FunctionError) in
      try AssignedFunction(
        open, context: context, configuration: configuration, observe: eventLog.observer(of: open.address))
    }
  }

  private func insert(_ function: AssignedFunction<B>, into port: Port<B>) throws(RunError) {
    let (need, window) = (PortWindow(for: function.bars), port.window)
    guard need.memory32 <= window.memory32, need.memory64 <= window.memory64 else {
      throw .host(.portTooSmall(device: function.address, slot: port.slot, needs: need, has: window))
    }
    try step(RunError.function) { () throws(FunctionError) in
      // The guest assigns the addresses.
      let place = GuestSlot(slot: port.slot, function: 0, isShared: false, port: port.index)
      try function.attach(
        [UInt64](repeating: 0, count: function.bars.count), function: place.index, isMultifunction: false,
        gsi: PlatformLayout.gsi(slot: port.slot, pin: function.interruptPin ?? 0))
      try function.resetAtStart(begun: {})
      try port.insert(function, try function.link())
    }
  }
}
