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
  let assignment: Assignment
  let observe: FunctionObserver
  var config: ConfigSpace
  var gate: Gate
  var layout: WindowLayout
  var windows: [Window]
  var table: MSIXTable?
  var interrupts = Interrupts()
  /// The expansion ROM, as it was at the start; empty where there is none.
  let rom: [UInt8]
  var statistics = FunctionStatistics()

  /// What a write by the guest leaves to be done without the lock.
  enum Rest: Equatable {
    case nothing
    case reset(ResetReason)
  }

  /// Takes a device that has just been reset and makes the guest's view of it.
  init(
    _ device: Device, host: Host, assignment: Assignment, observe: @escaping FunctionObserver
  ) throws(KernelError) {
    self.device = device
    self.host = host
    self.assignment = assignment
    self.observe = observe
    rom = Self.readROM(of: device, observe)
    let optional = try Self.setCommand(of: device, to: .optional).intersection(.optional)
    _ = try Self.setCommand(of: device, to: Self.deviceCommand([], assignment.policies))
    let bytes = try device.readAll(Device.configRegion, count: 4096)
    var sizes = (0..<6).map { device.regions[$0]?.size ?? 0 }
    sizes.append(UInt64(rom.count))
    config = ConfigSpace(
      bytes, bars: BaseAddress.decode(bytes, sizes: sizes), optional: optional)
    var structures: MSIXTable.Layout?
    if let capability = config.capabilities.first(CapabilityID.msix) {
      let found = MSIXTable.Layout(bytes, capability: capability)
      structures = found
      table = MSIXTable(found)
    }
    func vectors(_ kind: Device.InterruptKind, _ count: Int?) throws(KernelError) -> Vectors? {
      guard let count else { return nil }
      statistics.vectors += count
      return try Vectors(kind, of: device, machine: host.machine, routes: host.routes, count: count)
    }
    layout = try WindowLayout(
      device, bars: config.bars, msix: structures, spaces: assignment.peers.count)
    windows = layout.windows
    gate = Gate(
      bars: windows.map(\.bar), conditions: [.fullPower, .outOfReset, .alive],
      opening: assignment.policies.barMap, reaching: assignment.earliest)
    statistics.windows = windows.count
    interrupts.msi = try vectors(.msi, config.msiLayout?.count)
    interrupts.msix = try vectors(.msix, structures?.count)
  }

  /// Writes the command register, and reads back what the device keeps of it.
  private static func setCommand(
    of device: Device, to command: Command
  ) throws(KernelError) -> Command {
    let register = UInt64(Register.command)
    try device.write(Device.configRegion, offset: register, width: 2, UInt64(command.rawValue))
    let value = try device.read(Device.configRegion, offset: register, width: 2)
    return Command(rawValue: UInt16(truncatingIfNeeded: value))
  }

  /// The ROM's bytes, read with the memory on; empty, and told, where they cannot be had.
  private static func readROM(of device: Device, _ observe: FunctionObserver) -> [UInt8] {
    guard device.regions[Device.romRegion] != nil else { return [] }
    do throws(KernelError) {
      let on = UInt64(Command.memorySpace.rawValue)
      try device.write(Device.configRegion, offset: UInt64(Register.command), width: 2, on)
      return try device.readAll(Device.romRegion)
    } catch {
      observe(.warning("its expansion ROM cannot be read, and is not shown: \(error)"), 0)
      return []
    }
  }

  /// What the device's command register is to be while the guest's is as it is.
  private static func deviceCommand(_ command: Command, _ policies: DevicePolicies) -> Command {
    policies.memoryBit == .shadow ? command.union(.memorySpace) : command
  }

  /// The same for the guest's present one.
  var deviceCommand: Command { Self.deviceCommand(config.command, assignment.policies) }

  /// Writes the device's command register as the guest has set it.
  func writeCommand() { writeDevice(Register.command, width: 2, UInt32(deviceCommand.rawValue)) }

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
      case .addIOVA(let window, let moment): addIOVA(window, moment)
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
    place(window, at: from == .open ? windows[window].mappedAt : address(window))
  }

  private func place(_ window: Int, at address: UInt64) -> FunctionEvent.Place {
    .init(bar: windows[window].bar, window: window, address: address, size: windows[window].size)
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
    for space in assignment.peers.indices {
      guard let address = windows[window].ioAddresses[space] else { continue }
      let start = Clock.microseconds()
      try host.dma.unmap(window: address, size: windows[window].size, in: space)
      windows[window].ioAddresses[space] = nil
      observe(
        .peerDMA(place(window, at: address), space: space, isMapped: false), Clock.microseconds() - start)
    }
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

  private mutating func addIOVA(_ window: Int, _ moment: Gate.Moment) {
    let base = address(window)
    for (space, policy) in assignment.peers.enumerated() {
      guard policy.includes(moment), windows[window].ioAddresses[space] == nil else { continue }
      let start = Clock.microseconds()
      let size = windows[window].size
      do throws(KernelError) {
        try host.dma.map(window: base, size: size, host: windows[window].host, in: space)
        windows[window].ioAddresses[space] = base
        observe(
          .peerDMA(place(window, at: base), space: space, isMapped: true), Clock.microseconds() - start)
      } catch {
        guard !windows[window].isToldUnreachable else { continue }
        windows[window].isToldUnreachable = true
        let range = DMAMapper.text(base, base &+ (size - 1))
        warn(
          "\(host.dma.peers(in: space, of: device.address)) cannot reach its BAR \(windows[window].bar) at "
            + "\(range): \(error)")
      }
    }
  }

  /// The device's own command register; nil, and told, where it does not answer.
  func readCommand() -> Command? {
    do throws(KernelError) {
      let value = try device.read(
        Device.configRegion, offset: UInt64(Register.command), width: 2)
      return value == 0xFFFF ? nil : Command(rawValue: UInt16(truncatingIfNeeded: value))
    } catch {
      warn("\(error)")
      return nil
    }
  }

  /// Whether the device itself has its memory on now.
  var isAnswering: Bool { readCommand()?.contains(.memorySpace) ?? false }

  /// Writes the device's configuration; a device that does not take it is told about and lives on.
  func writeDevice(_ offset: Int, width: Int, _ value: UInt32) {
    do throws(KernelError) {
      try device.write(
        Device.configRegion, offset: UInt64(offset), width: width, UInt64(value))
    } catch { warn("\(error)") }
  }
}
