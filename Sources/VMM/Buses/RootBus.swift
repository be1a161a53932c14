// SPDX-License-Identifier: Apache-2.0

internal import Boot
internal import Passthrough
internal import Seams

/// The guest's PCI root bus, and a bus behind each root port. The host bridge is in PCI slot 0, the assigned functions
/// and the ports start at PCI slot 1.
final class RootBus<B: Backend>: Sendable {
  /// The function at a device and function number, or nil if there is none. The type is not copyable, so that
  /// an access to the function counts no reference.
  private struct Slot: ~Copyable, Sendable {
    let function: AssignedFunction<B>?
  }

  /// A port at a device number, or nil if there is none.
  private struct PortSlot: ~Copyable, Sendable {
    let port: Port<B>?
  }

  /// The ports by device number.
  private let portTable: InlineArray<32, PortSlot>
  /// The ports, in the order of their buses.
  let ports: [Port<B>]
  /// The functions by device and function number.
  private let table: InlineArray<256, Slot>
  /// The indices in `table` that have a function.
  private let occupied: [Int]
  /// The address decoder of the functions, or nil if the VM has no function.
  private let decoder: AddressDecoder?

  init(
    functions: [AssignedFunction<B>], guestSlots: [GuestSlot], ports: [Port<B>] = [],
    decoder: AddressDecoder? = nil
  ) {
    self.decoder = decoder
    self.ports = ports
    let own = zip(functions, guestSlots).filter { $1.port == nil }
    occupied = own.map { $1.index }
    let all = Dictionary(own.map { ($1.index, $0) }) { $1 }
    table = InlineArray { Slot(function: all[$0]) }
    let places = Dictionary(ports.map { (Int($0.slot), $0) }) { $1 }
    portTable = InlineArray { PortSlot(port: places[$0]) }
  }

  /// The start of the host bridge's configuration space: a generic PCI Express host bridge (1b36:0008,
  /// pci.ids) with class code 06 00 00 (PCI Code and ID Assignment §1.7). All other registers read 0.
  private let bridge: InlineArray<4, UInt32> = [0x0008_1B36, 0, 0x0600_0000, 0]

  /// Reads configuration space. An unclaimed access reads all-ones.
  ///
  /// - Parameters:
  ///   - address: The address within the ECAM: bus in bits 27:20, PCI slot in 19:15, function in 14:12,
  ///     offset in 11:0 (PCIe 6.0 §7.2.2). It is a multiple of `width`.
  ///   - width: 1, 2 or 4 bytes.
  func readConfig(_ address: UInt64, width: Int) throws(FunctionError) -> UInt64 {
    let offset = Int(address & 0xFFF)
    let index = Int(address >> 12 & 0xFF)
    if address >> 20 != 0 {
      guard let function = behindPort(address) else { return .max }
      return UInt64(try function.readConfig(offset, width: width))
    }
    if index == 0 {
      let dword = offset / 4 < bridge.count ? bridge[offset / 4] : 0
      return UInt64(dword >> UInt32(offset % 4 * 8))
    }
    if index & 7 == 0, portTable[index >> 3].port != nil {
      return UInt64(portTable[index >> 3].port?.readConfig(offset, width: width) ?? .max)
    }
    return UInt64(try table[index].function?.readConfig(offset, width: width) ?? .max)
  }

  /// Returns the function behind a port whose bus a configuration address names, or nil if no function is there.
  private func behindPort(_ address: UInt64) -> AssignedFunction<B>? {
    guard address >> 12 & 0xFF == 0 else { return nil }
    for port in ports where port.reaches(bus: Int(address >> 20)) { return port.function }
    return nil
  }

  /// Writes configuration space. An unclaimed access is dropped. See ``readConfig(_:width:)``.
  func writeConfig(_ address: UInt64, width: Int, _ value: UInt64) throws(FunctionError) {
    let offset = Int(address & 0xFFF)
    let index = Int(address >> 12 & 0xFF)
    let value = UInt32(truncatingIfNeeded: value)
    let before = decoder?.changes
    if address >> 20 != 0 {
      try behindPort(address)?.writeConfig(offset, width: width, value)
    } else if index & 7 == 0, portTable[index >> 3].port != nil {
      try portTable[index >> 3].port?.writeConfig(offset, width: width, value)
    } else {
      try table[index].function?.writeConfig(offset, width: width, value)
    }
    if decoder?.changes == before { return }
    for index in occupied { try table[index].function?.demoteSharedPages() }
    for port in ports { try port.function?.demoteSharedPages() }
  }

  /// Reads 1 to 8 bytes of the ECAM or of BARs. Unclaimed bytes read all-ones.
  func readMemory(_ address: UInt64, width: Int) throws(FunctionError) -> UInt64 {
    let widest = Self.widest(at: address)
    if AccessPieces.isWhole(address, width: width, widest: widest) {
      return try readPiece(address, width: width)
    }
    var value: UInt64 = 0
    for piece in AccessPieces(address, width: width, widest: widest) {
      value |= piece.placed(try readPiece(piece.address, width: piece.width))
    }
    return value
  }

  /// Writes 1 to 8 bytes of the ECAM or of BARs. Unclaimed bytes are dropped.
  func writeMemory(_ address: UInt64, width: Int, _ value: UInt64) throws(FunctionError) {
    let widest = Self.widest(at: address)
    if AccessPieces.isWhole(address, width: width, widest: widest) {
      return try writePiece(address, width: width, value)
    }
    for piece in AccessPieces(address, width: width, widest: widest) {
      try writePiece(piece.address, width: piece.width, piece.of(value))
    }
  }

  /// The width of the largest register at an address, in bytes: 4 in the ECAM, 8 in a BAR.
  private static func widest(at address: UInt64) -> Int {
    PlatformLayout.ecam.contains(address) || PlatformLayout.ecam.contains(address &+ 7) ? 4 : 8
  }

  private func readPiece(_ address: UInt64, width: Int) throws(FunctionError) -> UInt64 {
    if PlatformLayout.ecam.contains(address) {
      return try readConfig(address - PlatformLayout.ecam.lowerBound, width: width)
    }
    guard let location = decoder?.find(address, isPort: false) else { return .max }
    if location.function >= GuestSlot.firstBehindPort {
      return try function(at: location)?.readMemory(bar: location.bar, offset: location.offset, width: width)
        ?? .max
    }
    return try table[location.function].function?.readMemory(
      bar: location.bar, offset: location.offset, width: width)
      ?? .max
  }

  /// Returns the function behind a port at a location, or nil if the slot is empty.
  private func function(at location: BARLocation) -> AssignedFunction<B>? {
    portTable[location.function - GuestSlot.firstBehindPort].port?.function
  }

  private func writePiece(_ address: UInt64, width: Int, _ value: UInt64) throws(FunctionError) {
    if PlatformLayout.ecam.contains(address) {
      return try writeConfig(address - PlatformLayout.ecam.lowerBound, width: width, value)
    }
    guard let location = decoder?.find(address, isPort: false) else { return }
    if location.function >= GuestSlot.firstBehindPort {
      try function(at: location)?.writeMemory(bar: location.bar, offset: location.offset, width: width, value)
      return
    }
    try table[location.function].function?.writeMemory(
      bar: location.bar, offset: location.offset, width: width, value)
  }

  /// Reads an I/O BAR. An unclaimed access reads all-ones.
  ///
  /// - Parameters:
  ///   - port: The I/O port; a multiple of `width`.
  ///   - width: The width in bytes: 1, 2 or 4.
  func readPort(_ port: UInt16, width: Int) -> UInt64 {
    // A port has no I/O window.
    guard let location = decoder?.find(UInt64(port), isPort: true),
      location.function < GuestSlot.firstBehindPort
    else { return .max }
    return table[location.function].function?.readPort(
      bar: location.bar, offset: location.offset, width: width)
      ?? .max
  }

  /// Writes an I/O BAR. An unclaimed access is dropped.
  func writePort(_ port: UInt16, width: Int, _ value: UInt64) {
    guard let location = decoder?.find(UInt64(port), isPort: true),
      location.function < GuestSlot.firstBehindPort
    else { return }
    table[location.function].function?.writePort(
      bar: location.bar, offset: location.offset, width: width, value)
  }

  /// Opens the windows that are due. Every vCPU must be between two instructions.
  func openDueWindows() throws(FunctionError) {
    for index in occupied { try table[index].function?.openDueWindows() }
    for port in ports { try port.function?.openDueWindows() }
  }

  /// Makes windows due for an instruction that KVM cannot emulate.
  ///
  /// - Parameter address: The GPA of the access. If it is nil or outside every BAR, all armed windows become
  ///   due.
  func makeDue(_ address: UInt64?) throws(FunctionError) -> EmulationRemedy {
    if let address, let location = decoder?.find(address, isPort: false) {
      if location.function >= GuestSlot.firstBehindPort {
        return try function(at: location)?.makeDue(location) ?? .none
      }
      return try table[location.function].function?.makeDue(location) ?? .none
    }
    var best = EmulationRemedy.none
    for index in occupied {
      let one = try table[index].function?.makeDue(nil) ?? .none
      if one.rawValue > best.rawValue { best = one }
    }
    for port in ports {
      let one = try port.function?.makeDue(nil) ?? .none
      if one.rawValue > best.rawValue { best = one }
    }
    return best
  }

  /// Handles a bare -EFAULT of KVM_RUN. Demotes the windows of devices whose memory is off. If there are no such
  /// windows, memory is on again, and the access succeeds when it is repeated.
  ///
  /// The windows then keep their IOVAs: they stay reachable if their device has not changed, and the mappings of type1 work
  /// again with the memory. Windows with dma-bufs are demoted, because the kernel may have revoked the dma-bufs.
  ///
  /// - Parameter isRepeated: True if the access was repeated without success. All open windows are then demoted.
  /// - Returns: True if the access may be repeated: a window was demoted or, at first, is mapped.
  func handleFault(isRepeated: Bool) throws(FunctionError) -> Bool {
    if try demote(.memoryOff) { return true }
    if try demote(isRepeated ? .repeatedFault : .revocable) { return true }
    return !isRepeated
      && (occupied.contains { table[$0].function?.isMapped == true }
        || ports.contains { $0.function?.isMapped == true })
  }

  private func demote(_ reason: DemotionReason) throws(FunctionError) -> Bool {
    var isDemoted = false
    for index in occupied where try table[index].function?.demote(reason) == true { isDemoted = true }
    for port in ports where try port.function?.demote(reason) == true { isDemoted = true }
    return isDemoted
  }
}
