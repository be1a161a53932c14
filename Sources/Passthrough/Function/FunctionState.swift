// SPDX-License-Identifier: Apache-2.0

internal import Gate
internal import Linux
internal import PCI
internal import Seams
internal import Trace

/// What a write by the guest leaves to be done without the lock.
enum DeferredAction: Equatable {
  case nothing
  case reset(TraceEvent.ResetReason)
}

/// All that changes about an assigned function; its owner holds the lock. It cannot be copied, so that no access
/// to it counts references.
struct FunctionState<B: Backend>: ~Copyable {
  let device: B.Device
  let context: PassthroughContext<B>
  let configuration: FunctionConfiguration
  let observe: FunctionObserver
  /// Device and function number on the guest's bus.
  var number = 0
  var config: ConfigSpace
  var gate: Gate
  var windows: [Window]
  /// True after all vCPUs have stopped. A memory slot that KVM does not remove is harmless then.
  var hasStopped = false
  /// Asks the vCPUs for a moment between instructions, in which due windows open.
  let opening: OpeningRequest
  /// Why windows are due, for the trace.
  var openingReason = TraceEvent.WindowReason.access
  var table: MSIXTable?
  var interrupts = Interrupts<B>()
  /// The expansion ROM, as it was at the start; empty where there is none.
  let rom: [UInt8]
  var statistics = FunctionStatistics()
  /// The kinds of warnings that have been logged.
  private var warned: Warning = []

  /// Takes a device that the kernel has just opened and makes the guest's view of it.
  init(
    _ device: B.Device, context: PassthroughContext<B>, configuration: FunctionConfiguration,
    opening: OpeningRequest,
    observe: @escaping FunctionObserver
  ) throws(OperationError) {
    let rom = Self.readROM(of: device, observe)
    let optional = try Self.setCommand(of: device, to: .optional).intersection(.optional)
    _ = try Self.setCommand(of: device, to: Self.deviceCommand([], configuration.policies))
    let bytes = try device.readAll(RegionIndex.config, count: 4096)
    guard bytes.count >= 64, bytes.prefix(4) != [0xFF, 0xFF, 0xFF, 0xFF] else {
      throw OperationError(
        "its configuration space reads all-ones: it has no power (D3cold) or has left the bus")
    }
    var sizes = (0..<6).map { device.region($0)?.size ?? 0 }
    sizes.append(UInt64(rom.count))
    let config = ConfigSpace(bytes, bars: BAR.decode(bytes, sizes: sizes), optional: optional)
    let structures = config.capabilities.first(CapabilityID.msix)
      .map { MSIXTable.Layout(bytes, capability: $0) }
    let layout = WindowLayout(
      device, bars: config.bars, msix: structures, spaces: configuration.peers.count,
      most: configuration.windowsPerBAR)
    if let (bar, error) = layout.failure { observe(.warning("BAR \(bar) stays trapped: \(error)"), 0) }
    let msi = config.msiLayout.map { Vectors<B>(.msi, of: device, context.machine, count: $0.count) }
    let msix = structures.map { Vectors<B>(.msix, of: device, context.machine, count: $0.count) }
    // What cannot be copied cannot be given up half made: from here on nothing fails.
    self.device = device
    self.context = context
    self.configuration = configuration
    self.observe = observe
    self.opening = opening
    self.rom = rom
    self.config = config
    table = structures.map { MSIXTable($0) }
    windows = layout.windows
    gate = Gate(
      bars: layout.windows.map(\.bar), adjoins: layout.adjoins,
      conditions: [.fullPower, .outOfReset, .alive], cpuPolicy: configuration.policies.barMap,
      peerPolicy: configuration.earliest)
    interrupts.msi = msi
    interrupts.msix = msix
    statistics.windows = layout.windows.count
    statistics.vectors = (msi?.count ?? 0) + (msix?.count ?? 0)
  }

  /// Writes the command register, and reads back what the device keeps of it.
  private static func setCommand(
    of device: B.Device, to command: Command
  ) throws(OperationError) -> Command {
    let register = UInt64(ConfigOffset.command)
    try device.write(RegionIndex.config, offset: register, width: 2, UInt64(command.rawValue))
    let value = try device.read(RegionIndex.config, offset: register, width: 2)
    return Command(rawValue: UInt16(truncatingIfNeeded: value))
  }

  /// The ROM's bytes, read with the memory on; empty, and told, where they cannot be had.
  private static func readROM(of device: B.Device, _ observe: FunctionObserver) -> [UInt8] {
    guard let rom = device.region(RegionIndex.rom) else { return [] }
    do throws(OperationError) {
      let on = UInt64(Command.memorySpace.rawValue)
      try device.write(RegionIndex.config, offset: UInt64(ConfigOffset.command), width: 2, on)
      return try device.readAll(RegionIndex.rom, count: Int(clamping: rom.size))
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
  var deviceCommand: Command { Self.deviceCommand(config.command, configuration.policies) }

  /// Writes the device's command register as the guest has set it.
  mutating func writeCommand() { writeDevice(ConfigOffset.command, width: 2, UInt32(deviceCommand.rawValue)) }

  /// Tells of something that has just been done.
  ///
  /// - Parameter start: When it began.
  func emit(_ event: FunctionEvent, since start: Int64) { observe(event, Clock.microseconds() - start) }

  /// Logs something that does not work and that the VM runs on without: once for each kind, because a guest can
  /// cause it again and again.
  mutating func warn(_ kind: Warning, _ text: @autoclosure () -> String) {
    guard warned.isDisjoint(with: kind) else { return }
    warned.formUnion(kind)
    observe(.warning(text()), 0)
  }

  /// The device's own command register; nil, and told, where it does not answer.
  mutating func readCommand() -> Command? {
    do throws(OperationError) {
      let value = try device.read(
        RegionIndex.config, offset: UInt64(ConfigOffset.command), width: 2)
      return value == 0xFFFF ? nil : Command(rawValue: UInt16(truncatingIfNeeded: value))
    } catch {
      warn(.command, "\(error)")
      return nil
    }
  }

  /// Whether the device itself has its memory on now.
  var isAnswering: Bool { mutating get { readCommand()?.contains(.memorySpace) ?? false } }

  /// Writes the device's configuration; a device that does not take it is told about and lives on.
  mutating func writeDevice(_ offset: Int, width: Int, _ value: UInt32) {
    do throws(OperationError) {
      try device.write(
        RegionIndex.config, offset: UInt64(offset), width: width, UInt64(value))
    } catch { warn(.configWrite, "\(error)") }
  }
}
