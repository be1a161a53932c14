// SPDX-License-Identifier: Apache-2.0

internal import Gate
internal import PCI
internal import Seams
internal import Trace

/// Accesses to BARs that have come to Sluice: the window is not open, or there is none.
extension FunctionState {
  /// What a guest reads from a memory BAR.
  mutating func readMemory(
    bar: Int, offset: UInt64, width: Int
  ) throws(OperationError) -> UInt64 {
    statistics.trappedAccesses += 1
    guard gate.isEffective else {
      statistics.deniedAccesses += 1
      return .max
    }
    if bar == BAR.romIndex { return readROM(offset, width: width) }
    if let bytes = table?.layout.table(in: bar), bytes.contains(offset) {
      return table?.read(offset: offset - bytes.lowerBound, width: width) ?? .max
    }
    if let bytes = table?.layout.pending(in: bar), bytes.contains(offset) {
      let at = offset - bytes.lowerBound
      return pendingMSIX(from: Int(at / 8) * 64) >> (at % 8 * 8)
    }
    let value: UInt64
    do throws(OperationError) { value = try device.read(bar, offset: offset, width: width) } catch {
      // Beyond the end of the BAR, or disabled behind our back: no one answers.
      statistics.deniedAccesses += 1
      return .max
    }
    try noteAccess(bar: bar, offset: offset)
    return value
  }

  /// The ROM's copy, little-endian; all-ones while its enable bit is off.
  private mutating func readROM(_ offset: UInt64, width: Int) -> UInt64 {
    guard config.isROMEnabled, offset < UInt64(rom.count), width <= rom.count - Int(offset) else {
      statistics.deniedAccesses += 1
      return .max
    }
    return (0..<width).reduce(0) { $0 | UInt64(rom[Int(offset) + $1]) << UInt64($1 * 8) }
  }

  /// Takes what a guest writes to a memory BAR.
  mutating func writeMemory(
    bar: Int, offset: UInt64, width: Int, _ value: UInt64
  ) throws(OperationError) {
    statistics.trappedAccesses += 1
    guard gate.isEffective else {
      statistics.deniedAccesses += 1
      return
    }
    if bar == BAR.romIndex { return }  // read-only
    if let bytes = table?.layout.table(in: bar), bytes.contains(offset) {
      let change = table?.write(offset: offset - bytes.lowerBound, width: width, value)
      if let change { apply(change) }
      return
    }
    if let bytes = table?.layout.pending(in: bar), bytes.contains(offset) { return }  // read-only
    do throws(OperationError) { try device.write(bar, offset: offset, width: width, value) } catch {
      statistics.deniedAccesses += 1
      return
    }
    try noteAccess(bar: bar, offset: offset)
  }

  /// Makes the window due of an access that the device has answered.
  private mutating func noteAccess(bar: Int, offset: UInt64) throws(OperationError) {
    guard let window = window(bar: bar, offset: offset), mayBecomeDue(window) else { return }
    try apply(.access(window: window), .access)
  }

  /// True if an access to the window changes its state: the window is armed, and since it last got no slot a
  /// window of this VM has been closed.
  private func mayBecomeDue(_ window: Int) -> Bool {
    gate.states[window] == .armed && !gate.isDue[window]
      && windows[window].refusedAt != context.generation.current
      && hasOwnPages(window..<window + 1, at: address(window))
  }

  /// Makes the window at a place due, or all armed windows.
  mutating func makeDue(_ place: BARLocation?) throws(OperationError) -> EmulationRemedy {
    guard gate.isEffective else { return .none }
    if let place {
      guard let window = window(bar: place.bar, offset: place.offset) else { return .none }
      if mayBecomeDue(window) { try apply(.access(window: window), .access) }
      return gate.isDue[window] ? .isDue : gate.states[window] == .open ? .isOpen : .none
    }
    for window in windows.indices where mayBecomeDue(window) {
      try apply(.access(window: window), .access)
    }
    return gate.isOpeningDue ? .isDue : gate.states.contains(.open) ? .isOpen : .none
  }

  /// The window that a place in a BAR is in; nil where that cannot be mapped.
  private func window(bar: Int, offset: UInt64) -> Int? {
    windows.firstIndex { $0.bar == bar && offset >= $0.offset && offset - $0.offset < $0.size }
  }

  /// What a guest reads from an I/O BAR; all-ones where no one answers.
  mutating func readPort(bar: Int, offset: UInt64, width: Int) -> UInt64 {
    statistics.trappedAccesses += 1
    guard isPortEnabled else { return deny() }
    // A device that does not answer is as one that is off.
    do throws(OperationError) { return try device.read(bar, offset: offset, width: width) } catch {
      return deny()
    }
  }

  /// Takes what a guest writes to an I/O BAR.
  mutating func writePort(bar: Int, offset: UInt64, width: Int, _ value: UInt64) {
    statistics.trappedAccesses += 1
    guard isPortEnabled else {
      deny()
      return
    }
    do throws(OperationError) { try device.write(bar, offset: offset, width: width, value) } catch { deny() }
  }

  /// Counts an access that does not reach the device; all-ones, for one that reads.
  @discardableResult private mutating func deny() -> UInt64 {
    statistics.deniedAccesses += 1
    return .max
  }

  /// Whether I/O BARs answer.
  private var isPortEnabled: Bool {
    config.command.contains(.ioSpace)
      && gate.conditions.isSuperset(of: [.fullPower, .outOfReset, .alive])
  }

  /// Demotes the function's windows if one that has a slot or an I/O address shares a page now.
  mutating func leaveSharedPages() throws(OperationError) {
    for window in windows.indices
    where (gate.states[window] == .open || gate.isPeerMapped[window])
      && context.decoder.isShared(address(window), size: windows[window].size)
    {
      return try apply(.demote, .move)
    }
  }

  /// Demotes the open windows after KVM has met memory that the kernel took away.
  ///
  /// - Parameter all: Those of a device that says its memory is on, too.
  mutating func demote(all: Bool) throws(OperationError) -> Bool {
    guard gate.isMapped, all || !isAnswering else { return false }
    try apply(.demote, .fault)
    return true
  }
}
