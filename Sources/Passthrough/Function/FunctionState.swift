// SPDX-License-Identifier: Apache-2.0

internal import Gate
internal import Linux
internal import PCI
internal import Seams
internal import Trace

/// An action that a guest's write requires and that is performed without the lock.
enum DeferredAction: Equatable {
  case nothing
  case reset(TraceEvent.ResetReason)
}

/// The mutable state of an assigned function. Its owner holds the lock. The type is noncopyable, so that no
/// access retains a reference.
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
  /// True after all vCPUs have stopped. From then on a memory slot that KVM fails to remove is harmless.
  var hasStopped = false
  /// The cause if the guest has lost the function, or nil.
  var loss: TraceEvent.DeviceState?
  /// The request that vCPUs pause between two instructions, so that due windows open.
  let opening: OpeningRequest
  /// The reason for which windows are due, for the trace.
  var openingReason = TraceEvent.WindowReason.access
  var table: MSIXTable?
  var interrupts = Interrupts<B>()
  /// A copy of the expansion ROM from the start, or empty if there is none.
  let rom: [UInt8]
  var statistics = FunctionStatistics()
  /// The kinds of warnings that have been logged.
  private var warned: Warning = []

  /// Creates the state of a device that the kernel has just opened, and the guest's view of its registers.
  init(
    _ device: B.Device, context: PassthroughContext<B>, configuration: FunctionConfiguration,
    opening: OpeningRequest,
    observe: @escaping FunctionObserver
  ) throws(OperationError) {
    let rom = Self.readROM(of: device, observe)
    let optional = try Self.optionalCommand(of: device)
    _ = try Self.setCommand(of: device, to: Self.deviceCommand([], configuration.policies))
    let bytes = try device.readAll(RegionIndex.config, count: 4096)
    guard bytes.count >= 64, bytes.prefix(4) != [0xFF, 0xFF, 0xFF, 0xFF] else {
      throw OperationError(
        "configuration space reads all-ones: the device has no power (D3cold) or is no longer on the bus")
    }
    var sizes = (0..<6).map { device.region($0)?.size ?? 0 }
    sizes.append(UInt64(rom.count))
    let config = ConfigSpace(
      bytes, bars: BAR.decode(bytes, sizes: sizes), optional: optional,
      isBehindPort: configuration.isBehindPort)
    let structures = config.capabilities.first(CapabilityID.msix)
      .map { MSIXTable.Layout(bytes, capability: $0) }
    let layout = WindowLayout(
      device, bars: config.bars, msix: structures, spaces: configuration.peers.count,
      most: configuration.windowsPerBAR)
    if let (bar, error) = layout.failure { observe(.warning("BAR \(bar) stays trapped: \(error)"), 0) }
    let msi = config.msiLayout.map { Vectors<B>(.msi, of: device, context.machine, count: $0.count) }
    let msix = structures.map { Vectors<B>(.msix, of: device, context.machine, count: $0.count) }
    // Nothing fails from here on: a noncopyable value cannot be discarded half-initialized.
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
      conditions: .initial, cpuPolicy: configuration.policies.barMap,
      peerPolicy: configuration.mostEagerPeerPolicy)
    interrupts.msi = msi
    interrupts.msix = msix
    statistics.windows = layout.windows.count
    statistics.vectors = (msi?.count ?? 0) + (msix?.count ?? 0)
  }

  /// Returns the optional bits of the command register that the device keeps.
  ///
  /// libvfio-user's server refuses a write that sets Parity Error Response, but keeps the other bits of it. The value that
  /// the device then has decides. A lost device fails the read.
  private static func optionalCommand(of device: B.Device) throws(OperationError) -> Command {
    do throws(OperationError) {
      return try setCommand(of: device, to: .optional).intersection(.optional)
    } catch { return try command(of: device).intersection(.optional) }
  }

  /// Writes the command register and returns the value that the device keeps.
  private static func setCommand(
    of device: B.Device, to command: Command
  ) throws(OperationError) -> Command {
    let register = UInt64(ConfigOffset.command)
    try device.write(RegionIndex.config, offset: register, width: 2, UInt64(command.rawValue))
    return try Self.command(of: device)
  }

  private static func command(of device: B.Device) throws(OperationError) -> Command {
    let value = try device.read(RegionIndex.config, offset: UInt64(ConfigOffset.command), width: 2)
    return Command(rawValue: UInt16(truncatingIfNeeded: value))
  }

  /// Reads the ROM with memory enabled. Logs a warning and returns an empty array if the ROM cannot be read.
  private static func readROM(of device: B.Device, _ observe: FunctionObserver) -> [UInt8] {
    guard let rom = device.region(RegionIndex.rom) else { return [] }
    do throws(OperationError) {
      let on = UInt64(Command.memorySpace.rawValue)
      try device.write(RegionIndex.config, offset: UInt64(ConfigOffset.command), width: 2, on)
      return try device.readAll(RegionIndex.rom, count: Int(clamping: rom.size))
    } catch {
      observe(.warning("the expansion ROM cannot be read and is hidden from the guest: \(error)"), 0)
      return []
    }
  }

  /// Returns the value of the device's command register for a value of the guest's command register.
  private static func deviceCommand(_ command: Command, _ policies: DevicePolicies) -> Command {
    policies.memoryBit == .shadow ? command.union(.memorySpace) : command
  }

  /// The value of the device's command register for the guest's present one.
  var deviceCommand: Command { Self.deviceCommand(config.command, configuration.policies) }

  /// Writes ``deviceCommand`` to the device.
  mutating func writeCommand() { writeDevice(ConfigOffset.command, width: 2, UInt32(deviceCommand.rawValue)) }

  /// Reports an event that has just happened.
  ///
  /// - Parameters:
  ///   - event: The event to report.
  ///   - start: The time at which the event began, in microseconds.
  func emit(_ event: FunctionEvent, since start: Int64) { observe(event, Clock.microseconds() - start) }

  /// Logs a failure that does not end the VM. Logs each kind once, because a guest can repeat the failure.
  mutating func warn(_ kind: Warning, _ text: @autoclosure () -> FunctionWarning) {
    // The loss of a device is reported once, with its cause.
    guard warned.isDisjoint(with: kind), device.loss == nil else { return }
    warned.formUnion(kind)
    observe(.warning(text()), 0)
  }

  /// Reads the device's command register. Returns nil if the device does not answer, and warns if the read
  /// fails.
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

  /// True if the device's command register has the bits that were written to it. False if there are none to compare.
  var keepsCommand: Bool {
    mutating get {
      let written = deviceCommand.intersection([.ioSpace, .memorySpace, .busMaster])
      return !written.isEmpty && readCommand()?.isSuperset(of: written) ?? false
    }
  }

  /// True if the memory bit of the device's own command register is set.
  var isMemoryBitSet: Bool { mutating get { readCommand()?.contains(.memorySpace) ?? false } }

  /// Writes the device's configuration space. A failure is logged and does not isolate the device.
  mutating func writeDevice(_ offset: Int, width: Int, _ value: UInt32) {
    do throws(OperationError) {
      try device.write(
        RegionIndex.config, offset: UInt64(offset), width: width, UInt64(value))
    } catch { warn(.configWrite, "\(error)") }
  }
}
