// SPDX-License-Identifier: Apache-2.0

// Shows the effects of FLR, and of D3hot followed by D0. In D3hot memory reads all-ones and configuration
// space answers. Afterwards registers have their reset values, or keep their values if No_Soft_Reset is set.
// Memory and interrupts work again. Run by the lab case `reset`. Needs an NVMe controller or an e1000e, or
// both.
//
// Command line: `resets=N` (3) is the number of resets of each kind; `emulated=1` directly under QEMU; `any=1` allows
// any device, of which the guest only reads a register.

import Hardware

func guest(_ machine: Machine, _ report: inout Report) {
  let resets = machine.commandLine.number("resets") ?? 3
  var tested: UInt32 = 0
  if let function = PCIBus.first(where: { $0.classCode == 0x01_0802 }), let drive = ResettableDrive(function)
  {
    checkReset(drive, resets, &report)
    tested += 1
  }
  if let network = E1000e.find() {
    checkReset(ResettableNetwork(network), resets, &report)
    tested += 1
  }
  if tested == 0, machine.commandLine.number("any") == 1 {
    guard let probe = Probe.find(machine.commandLine) else {
      return Probe.reportAbsence(machine.commandLine, &report)
    }
    checkReset(ResettableDevice(probe), resets, &report)
    tested += 1
  }
  report.check(tested > 0, "\(tested) devices tested")
}

/// A device with a register that shows a reset.
protocol Resettable {
  var function: PCIFunction { get }
  /// Writes a register that a reset changes.
  func mark()
  /// True if the register has the written value.
  var isMarked: Bool { get }
  /// True if the register has its reset value.
  var isPristine: Bool { get }
  /// A register that is never 0 or all-ones.
  var constant: UInt32 { get }
  /// The GPA of `constant`.
  var address: UInt64 { get }
  /// Raises interrupts and counts the arrivals. Returns nil if the guest cannot raise an interrupt of the device.
  func interrupts() -> Interrupts?
}

private func checkReset<Device: Resettable>(_ device: Device, _ resets: UInt64, _ report: inout Report) {
  let function = device.function
  report.note("\(function)")
  function.setCommand(PCIFunction.Command.memory | PCIFunction.Command.busMaster, true)
  // QEMU's firmware has already used an emulated device.
  if !Machine.current.isEmulated { report.check(device.isPristine, "the device is in its reset state") }
  checkInterrupts(device, "interrupts work", &report)
  if FunctionReset.isSupported(function) {
    for _ in 0..<resets { checkFunctionReset(device, &report) }
    checkAccessesWhileReset(device, &report)
  } else {
    report.skip("no FLR")
  }
  if let power = PowerManagement(function) {
    for _ in 0..<resets { checkPower(device, power, &report) }
  } else {
    report.skip("no power management")
  }
}

/// Checks that each interrupt of the device arrives once.
private func checkInterrupts<Device: Resettable>(
  _ device: Device, _ text: StaticString, _ report: inout Report
) {
  guard let interrupts = device.interrupts() else { return }
  report.check(
    interrupts.areRight,
    "\(device.function) \(text): \(interrupts.raised) raised, \(interrupts.arrived) arrived\(interrupts.isReady ? "" : ", device not ready")"
  )
}

/// The part of configuration space that a reset clears. An operating system saves and restores it.
private struct Saved {
  private let function: PCIFunction
  private let bars: InlineArray<6, UInt32>
  private let command: UInt16

  private static func offset(_ index: Int) -> UInt16 {
    PCIFunction.Register.firstBAR + UInt16(index) * 4
  }

  init(_ function: PCIFunction) {
    self.function = function
    bars = InlineArray { function.load32(Self.offset($0)) }
    command = function.command
  }

  func restore() {
    for index in bars.indices { function.store32(Self.offset(index), bars[index]) }
    function.store16(PCIFunction.Register.command, command)
  }

  /// True if the BARs have their saved addresses.
  var hasBARs: Bool {
    for index in bars.indices where function.load32(Self.offset(index)) != bars[index] { return false }
    return true
  }

  /// True if the BARs and COMMAND have their saved values.
  var isSupported: Bool { hasBARs && function.command == command }
}

/// Returns true if reads of the device's memory match COMMAND and the power state.
private func isConsistent<Device: Resettable>(_ device: Device, _ constant: UInt32) -> Bool {
  let isOn = device.function.command & PCIFunction.Command.memory != 0
  let power = PowerManagement(device.function)?.state ?? 0
  return device.constant == (isOn && power == 0 ? constant : .max)
}

private func checkFunctionReset<Device: Resettable>(_ device: Device, _ report: inout Report) {
  let constant = device.constant
  let saved = Saved(device.function)
  device.mark()
  report.check(device.isMarked, "a register keeps the written value")
  report.check(FunctionReset.start(device.function), "the function supports FLR")
  report.check(device.function.isPresent, "FLR: configuration space answers")
  report.note("COMMAND \(hex: device.function.command, digits: 4) afterwards")
  if saved.hasBARs {
    report.check(isConsistent(device, constant), "FLR: reads of memory match COMMAND")
  }
  saved.restore()
  report.check(saved.isSupported, "FLR: BARs and COMMAND can be restored")
  report.equal(device.constant, constant, "FLR: memory answers")
  report.check(device.isPristine, "FLR: registers have their reset values")
  checkInterrupts(device, "FLR: interrupts work", &report)
}

/// Resets the device while another processor reads it. Each read returns the device's value or all-ones.
private func checkAccessesWhileReset<Device: Resettable>(_ device: Device, _ report: inout Report) {
  let saved = Saved(device.function)
  shared_store(Reader.address, device.address)
  shared_store(Reader.value, UInt64(device.constant))
  guard Processor.start(1) else {
    report.skip("no second processor")
    return
  }
  Processor.run(1) { _ in Reader.run() }
  _ = Time.wait(milliseconds: 5000) { shared_load(Reader.values) > 0 }
  for _ in 0..<3 {
    _ = FunctionReset.start(device.function)
    saved.restore()
  }
  shared_store(Reader.stop, 1)
  report.check(Time.wait(milliseconds: 5000) { shared_load(Reader.stopped) == 1 }, "the reader stops")
  let values = shared_load(Reader.values)
  let closed = shared_load(Reader.closed)
  let isGood = values > 0 && shared_load(Reader.others) == 0
  report.check(isGood || Machine.current.isEmulated, "\(shared_load(Reader.others)) wrong reads")
  report.note("\(values) reads of the value and \(closed) of all-ones during three resets")
}

/// Turns MSI or MSI-X on and off in D3hot. The device cannot send a message in D3hot.
///
/// - Parameters:
///   - identity: The capability's ID.
///   - bit: The enable bit in the capability's control register.
private func enableMessages(
  _ function: PCIFunction, _ identity: UInt8, _ bit: UInt16, _ report: inout Report
) {
  guard let capability = function.capability(identity) else { return }
  let offset = capability + 2
  let control = function.load16(offset)
  function.store16(offset, control | bit)
  report.equal(function.load16(offset), control | bit, "D3hot: MSI or MSI-X can be enabled")
  function.store16(offset, control)
}

private func checkPower<Device: Resettable>(
  _ device: Device, _ power: PowerManagement, _ report: inout Report
) {
  let function = device.function
  let constant = device.constant
  let keeps = power.hasNoSoftReset
  let saved = Saved(function)
  let identity = function.load32(PCIFunction.Register.identity)
  device.mark()
  // Unmask every vector while MSI-X is disabled. MSI-X is then enabled and disabled in D3hot.
  let msix = MSIX(function)
  if let msix { for vector in 0..<msix.count { msix.mask(vector, false) } }
  power.enter(PowerManagement.State.d3hot)
  report.equal(power.state, PowerManagement.State.d3hot, "the power state is D3hot")
  let isClosed = { Machine.current.isEmulated || device.constant == .max }
  report.check(isClosed(), "D3hot: memory reads all-ones")
  report.equal(function.load32(PCIFunction.Register.identity), identity, "D3hot: configuration space answers")
  function.setCommand(PCIFunction.Command.memory, false)
  function.setCommand(PCIFunction.Command.memory, true)
  report.check(isClosed(), "D3hot, memory turned on: memory still reads all-ones")
  enableMessages(function, 0x05, 1, &report)
  enableMessages(function, 0x11, 1 << 15, &report)
  // With memory and I/O off, not even the INTx pin is in use.
  let command = function.command
  function.store16(PCIFunction.Register.command, 0)
  enableMessages(function, 0x11, 1 << 15, &report)
  function.store16(PCIFunction.Register.command, command)
  power.enter(PowerManagement.State.d0)
  report.equal(power.state, PowerManagement.State.d0, "the power state is D0")
  report.note("COMMAND \(hex: function.command, digits: 4) afterwards, No_Soft_Reset \(keeps ? "1" : "0")")
  if saved.isSupported { report.equal(device.constant, constant, "D0: memory answers at once") }
  saved.restore()
  report.equal(device.constant, constant, "D0: memory answers after the restore")
  if let msix { for vector in 0..<msix.count { msix.mask(vector, true) } }
  if keeps {
    report.check(device.isMarked, "No_Soft_Reset: registers keep written values")
  } else {
    // QEMU 7.2 resets only the configuration space of an e1000e here.
    report.note("registers \(device.isPristine ? "have their reset values" : "keep written values")")
  }
  checkInterrupts(device, "D0: interrupts work", &report)
}
