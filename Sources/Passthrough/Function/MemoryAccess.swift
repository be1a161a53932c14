// SPDX-License-Identifier: Apache-2.0

internal import Gate
internal import PCI
internal import Seams
internal import Trace

/// Trapped accesses to BARs: the window is not open, or the bytes have no window.
extension FunctionState {
  /// Serves a guest's read of a memory BAR.
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
      // The offset is beyond the end of the BAR, or memory was disabled outside of Sluice: an unclaimed
      // access.
      statistics.deniedAccesses += 1
      return .max
    }
    try noteAccess(bar: bar, offset: offset)
    return value
  }

  /// Reads the ROM's copy, little-endian. Returns all-ones while the ROM's enable bit is off.
  private mutating func readROM(_ offset: UInt64, width: Int) -> UInt64 {
    guard config.isROMEnabled, offset < UInt64(rom.count), width <= rom.count - Int(offset) else {
      statistics.deniedAccesses += 1
      return .max
    }
    return (0..<width).reduce(0) { $0 | UInt64(rom[Int(offset) + $1]) << UInt64($1 * 8) }
  }

  /// Serves a guest's write to a memory BAR.
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

  /// Marks the window of an access as due. The device has answered the access.
  private mutating func noteAccess(bar: Int, offset: UInt64) throws(OperationError) {
    guard let window = window(bar: bar, offset: offset), mayBecomeDue(window) else { return }
    try apply(.access(window: window), .access)
  }

  /// True if an access makes the window due. The window must be armed and must share no page with another
  /// BAR. If it was refused a slot, a window of this VM must have closed since.
  private func mayBecomeDue(_ window: Int) -> Bool {
    gate.states[window] == .armed && !gate.isDue[window]
      && windows[window].refusedAt != context.generation.current
      && hasOwnPages(window..<window + 1, at: address(window))
  }

  /// Marks the window at a location as due, or all armed windows if `location` is nil.
  mutating func makeDue(_ location: BARLocation?) throws(OperationError) -> EmulationRemedy {
    guard gate.isEffective else { return .none }
    if let location {
      guard let window = window(bar: location.bar, offset: location.offset) else { return .none }
      if mayBecomeDue(window) { try apply(.access(window: window), .access) }
      return gate.isDue[window] ? .isDue : gate.states[window] == .open ? .isOpen : .none
    }
    for window in windows.indices where mayBecomeDue(window) {
      try apply(.access(window: window), .access)
    }
    return gate.isOpeningDue ? .isDue : gate.states.contains(.open) ? .isOpen : .none
  }

  /// Returns the window that contains an offset of a BAR, or nil if the offset cannot be mapped.
  private func window(bar: Int, offset: UInt64) -> Int? {
    windows.firstIndex { $0.bar == bar && offset >= $0.offset && offset - $0.offset < $0.size }
  }

  /// Serves a guest's read of an I/O BAR. Returns all-ones for an unclaimed access.
  mutating func readPort(bar: Int, offset: UInt64, width: Int) -> UInt64 {
    statistics.trappedAccesses += 1
    guard isPortEnabled else { return deny() }
    // Treat a failed read like a disabled device.
    do throws(OperationError) { return try device.read(bar, offset: offset, width: width) } catch {
      return deny()
    }
  }

  /// Serves a guest's write to an I/O BAR.
  mutating func writePort(bar: Int, offset: UInt64, width: Int, _ value: UInt64) {
    statistics.trappedAccesses += 1
    guard isPortEnabled else {
      deny()
      return
    }
    do throws(OperationError) { try device.write(bar, offset: offset, width: width, value) } catch { deny() }
  }

  /// Counts an access that the function does not answer. Returns all-ones, the result of such a read.
  @discardableResult private mutating func deny() -> UInt64 {
    statistics.deniedAccesses += 1
    return .max
  }

  /// True if I/O BARs answer.
  private var isPortEnabled: Bool {
    config.command.contains(.ioSpace)
      && gate.conditions.isSuperset(of: .initial)
  }

  /// Demotes the function's windows if a window with a slot or an I/O address now shares a page with another
  /// BAR.
  mutating func demoteSharedPages() throws(OperationError) {
    for window in windows.indices
    where (gate.states[window] == .open || gate.isPeerMapped[window])
      && context.decoder.isShared(address(window), size: windows[window].size)
    {
      return try apply(.demote, .move)
    }
  }

  /// Demotes the open windows after KVM has hit memory that the kernel removed. Returns false if no window
  /// was demoted.
  mutating func demote(_ reason: DemotionReason) throws(OperationError) -> Bool {
    guard gate.isMapped else { return false }
    switch reason {
    case .memoryOff: guard !isMemoryBitSet else { return false }
    case .revocable: guard hasDMABuffers else { return false }
    case .repeatedFault: break
    }
    try apply(.demote, .fault)
    return true
  }

  /// True if windows can have IOVAs by dma-buf.
  private var hasDMABuffers: Bool {
    configuration.peers.indices.contains { space in
      configuration.peers[space] != .off && context.dma.needsDMABuffers(in: space)
    }
  }
}
