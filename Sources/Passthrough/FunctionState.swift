// SPDX-License-Identifier: Apache-2.0

internal import GuestMemory
internal import KVM
internal import Linux
internal import PCI
internal import VFIO

/// All that changes about an assigned function; its owner holds the lock.
struct FunctionState {
  let device: Device
  let host: Host
  let observe: FunctionObserver
  var config: ConfigSpace
  var gate: Gate
  var layout: WindowLayout
  var windows: [Window]
  var table: MSIXTable?
  var vectors: Vectors?
  var statistics = FunctionStatistics()

  /// What a write by the guest leaves to be done without the lock.
  enum Rest: Equatable { case nothing, reset }

  /// Takes a device that has just been reset and makes the guest's view of it.
  init(
    _ device: Device, host: Host, observe: @escaping FunctionObserver
  ) throws(KernelError) {
    self.device = device
    self.host = host
    self.observe = observe
    try device.write(Device.configRegion, offset: UInt64(Register.command), width: 2, 0)
    let bytes = try device.readAll(Device.configRegion, count: 4096)
    let sizes = (0..<6).map { device.regions[$0]?.size ?? 0 }
    config = ConfigSpace(bytes, bars: BaseAddress.decode(bytes, sizes: sizes))
    var structures: MSIXTable.Layout?
    if let capability = config.capabilities.first(CapabilityID.msix) {
      let found = MSIXTable.Layout(bytes, capability: capability)
      structures = found
      table = MSIXTable(found)
      vectors = try Vectors(
        device, machine: host.machine, routes: host.routes, count: found.count)
      statistics.vectors = found.count
    }
    layout = try WindowLayout(device, bars: config.bars, msix: structures)
    windows = layout.windows
    gate = Gate(bars: windows.map(\.bar), conditions: [.fullPower, .outOfReset, .alive])
    statistics.windows = windows.count
  }

  /// Runs an event through the gate and does what it says.
  ///
  /// - Parameter apply: The write to the device that the event is about.
  /// - Throws: When a mapping could not be taken away: then the device must not be written.
  mutating func pass(
    _ event: Gate.Event, _ reason: FunctionEvent.Reason, apply: (FunctionState) -> Void = { _ in }
  ) throws(KernelError) {
    var gate = gate
    // The states are true to what was done even when the event ends early.
    defer { self.gate = gate }
    let start = Clock.microseconds()
    var closed = false
    try gate.handle(event) { effect throws(KernelError) in
      switch effect {
      case .removeSlot(let window): try removeSlot(window)
      case .removeIOVA(let window): try removeIOVA(window)
      case .apply: apply(self)
      case .readBack: return isAnswering
      case .addSlot(let window): return addSlot(window)
      case .addIOVA(let window): addIOVA(window)
      case .changed(let window, let from, let to):
        if from == .open {
          closed = true
          statistics.closes += 1
        }
        observe(
          .gate(place(window, from: from), from: from, to: to, reason), Clock.microseconds() - start)
      }
      return true
    }
    if closed { host.generation.advance() }
  }

  /// Tells of something that did not work and that the VM goes on without.
  func warn(_ text: String) { observe(.warning(text), 0) }

  private func place(_ window: Int, from: Gate.State) -> FunctionEvent.Place {
    let one = windows[window]
    return .init(
      bar: one.bar, window: window, address: from == .open ? one.mappedAt : address(window),
      size: one.size)
  }

  /// The guest-physical address of a window, by the BAR's register.
  private func address(_ window: Int) -> UInt64 {
    let one = windows[window]
    guard let bar = config.bars.first(where: { $0.index == one.bar }) else { return 0 }
    return config.base(of: bar) &+ one.offset
  }

  private mutating func removeSlot(_ window: Int) throws(KernelError) {
    guard let slot = windows[window].slot else { return }
    try host.slots.remove(slot)
    windows[window].slot = nil
  }

  private mutating func removeIOVA(_ window: Int) throws(KernelError) {
    guard let address = windows[window].ioAddress else { return }
    let start = Clock.microseconds()
    try host.dma.unmap(window: address, size: windows[window].size)
    windows[window].ioAddress = nil
    observe(.peerDMA(place(window, from: .open), isMapped: false), Clock.microseconds() - start)
  }

  private mutating func addSlot(_ window: Int) -> Bool {
    let base = address(window)
    do throws(KernelError) {
      windows[window].slot = try host.slots.add(
        at: .init(base), size: windows[window].size, host: windows[window].host)
    } catch {
      // The guest has put the BAR where something else is, or the slots are used up: every
      // access goes on being trapped and is right all the same.
      if !windows[window].wasOpened {
        warn("BAR \(windows[window].bar) window \(window) stays trapped: \(error)")
      }
      return false
    }
    windows[window].mappedAt = base
    if !windows[window].wasOpened {
      windows[window].wasOpened = true
      statistics.windowsOpened += 1
      statistics.bytesMapped += windows[window].size
    }
    return true
  }

  private mutating func addIOVA(_ window: Int) {
    let one = windows[window]
    let start = Clock.microseconds()
    do throws(KernelError) {
      guard try host.dma.map(window: one.mappedAt, size: one.size, host: one.host) else { return }
      windows[window].ioAddress = one.mappedAt
      observe(.peerDMA(place(window, from: .open), isMapped: true), Clock.microseconds() - start)
    } catch {
      warn("other devices cannot reach BAR \(one.bar) window \(window): \(error)")
    }
  }

  /// Whether the device itself has its memory on now.
  var isAnswering: Bool {
    do throws(KernelError) {
      let value = try device.read(
        Device.configRegion, offset: UInt64(Register.command), width: 2)
      return Command(rawValue: UInt16(truncatingIfNeeded: value)).contains(.memorySpace)
        && value != 0xFFFF
    } catch {
      warn("\(error); its memory stays closed")
      return false
    }
  }

  /// Writes the device's configuration; a device that does not take it is told about and lives on.
  func writeDevice(_ offset: Int, width: Int, _ value: UInt32) {
    do throws(KernelError) {
      try device.write(
        Device.configRegion, offset: UInt64(offset), width: width, UInt64(value))
    } catch { warn("\(error)") }
  }
}
