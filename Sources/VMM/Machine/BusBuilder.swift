// SPDX-License-Identifier: Apache-2.0

internal import Boot
internal import GuestMemory
internal import KVM
internal import Logging
internal import PCI
internal import Passthrough
internal import Seams

/// The addresses and the ports of the guest's PCI buses.
extension MachineBuilder {
  /// Returns the range of 64-bit addresses for BARs, which the ACPI tables report.
  static func window64(
    _ devices: AssignedDevices<B>, memory: GuestMemory, addressBits: Int, reserved: [ClosedRange<UInt64>]
  ) -> Range<UInt64> {
    let largest = devices.functions.flatMap(\.bars).map(\.size).max() ?? 0
    let start = max(GuestMemory.holeEnd, memory.regions.last?.end.rawValue ?? 0)
      .roundedUp(to: max(1 << 30, largest))
    let end = min(1 << UInt64(addressBits), devices.ioLimit)
    return DeviceWindows.largest(start..<max(start, end), without: reserved)
  }

  /// Assigns an address to every BAR and every window of a port, and attaches the functions to the buses.
  static func place(
    _ devices: AssignedDevices<B>, _ configuration: Configuration, _ window: Range<UInt64>
  ) throws(RunError) -> BARPlacement {
    let functions = zip(devices.functions, devices.guestSlots).map { function, slot in
      BARPlacement.Function(function.bars, port: slot.port)
    }
    let allocator = BARAllocator(
      io: PlatformLayout.ioWindow, memory32: PlatformLayout.pciWindow32, memory64: window)
    let placement: BARPlacement
    do throws(BARPlacement.NoRoom) {
      placement = try fit(functions, configuration, allocator)
    } catch {
      switch error {
      case .bar(let index, let position):
        let function = devices.functions[index]
        let bar = function.bars[position]
        throw .host(
          .noRoom(device: function.address, bar, in: DeviceWindows.range(of: bar.kind, memory64: window)))
      case .window(let port, let size):
        throw .host(
          .noWindowRoom(port: port, size: size, memory32: PlatformLayout.pciWindow32, memory64: window))
      }
    }
    for (index, (function, slot)) in zip(devices.functions, devices.guestSlots).enumerated() {
      try step(RunError.function) { () throws(FunctionError) in
        try function.attach(
          placement.addresses[index], function: slot.index, isMultifunction: slot.isShared,
          gsi: PlatformLayout.gsi(slot: slot.slot, pin: function.interruptPin ?? 0))
      }
    }
    return placement
  }

  /// Places the windows of the requested size. Without a request, halves the standard size until the windows fit.
  private static func fit(
    _ functions: [BARPlacement.Function], _ configuration: Configuration, _ allocator: BARAllocator
  ) throws(BARPlacement.NoRoom) -> BARPlacement {
    let count = configuration.portCount
    if let size = configuration.portWindow {
      return try BARPlacement(functions, ports: Array(repeating: size, count: count), in: allocator)
    }
    var size = PortWindow.standard
    while true {
      do throws(BARPlacement.NoRoom) {
        return try BARPlacement(functions, ports: Array(repeating: size, count: count), in: allocator)
      } catch {
        guard case .window = error, size.memory64 > PortWindow.granule else { throw error }
        size.memory64 /= 2
        size.memory32 = min(size.memory32, max(PortWindow.granule, size.memory64))
      }
    }
  }

  /// Creates the ports: a port for each device that has its own, then the empty ports.
  static func ports(
    _ devices: AssignedDevices<B>, _ configuration: Configuration, _ placement: BARPlacement,
    resources: MachineResources, hotplug: HotplugQueue<B>, eventLog: EventLog
  ) throws(RunError) -> [Port<B>] {
    let slots = GuestSlot.ports(devices.guestSlots, empty: configuration.emptyPorts)
    var ports: [Port<B>] = []
    for (index, slot) in slots.enumerated() {
      let function = zip(devices.functions, devices.guestSlots).first { $1.port == index }?.0
      let link = try function.map { function throws(RunError) in
        try step(RunError.function) { () throws(FunctionError) in try function.link() }
      }
      let gsi = PlatformLayout.gsi(slot: slot, pin: RootPort.interruptPin)
      let windows = placement.windows[index]
      let bus = UInt8(index + 1)
      let layout = RootPort.Layout(
        slot: UInt16(slot), secondaryBus: bus, subordinateBus: bus, memory32: windows.memory32,
        memory64: windows.memory64, interruptLine: UInt8(gsi))
      let interrupt = try step(RunError.operation) { () throws(OperationError) in
        try PortInterrupt(resources, gsi: gsi)
      }
      ports.append(
        try step(RunError.function) { () throws(FunctionError) in
          try Port(
            index: index, slot: slot, RootPort(layout, link: link), function, interrupt,
            hotplug: hotplug, warn: { eventLog.log.warning("port \(slot): \($0)") })
        })
    }
    return ports
  }
}
