// SPDX-License-Identifier: Apache-2.0

import Hardware

/// A PCI function on bus 0 or behind a root port, accessed through configuration mechanism #1 (PCI 3.0 §3.2.2.3.2).
struct PCIFunction {
  /// The device number, 0 to 31.
  let slot: UInt8
  /// The function number, 0 to 7.
  let function: UInt8
  /// The bus number.
  var bus: UInt8 = 0

  /// Offsets in the configuration header (PCIe 6.0 §7.5.1).
  enum Register {
    static let identity: UInt16 = 0x00
    static let command: UInt16 = 0x04
    static let status: UInt16 = 0x06
    static let classCode: UInt16 = 0x08
    static let headerType: UInt16 = 0x0E
    static let firstBAR: UInt16 = 0x10
    static let rom: UInt16 = 0x30
    static let capabilities: UInt16 = 0x34
    static let interruptLine: UInt16 = 0x3C
    static let interruptPin: UInt16 = 0x3D
  }

  /// Bits of COMMAND.
  enum Command {
    static let io: UInt16 = 1 << 0
    static let memory: UInt16 = 1 << 1
    static let busMaster: UInt16 = 1 << 2
    static let interruptDisable: UInt16 = 1 << 10
  }

  /// Bits of STATUS.
  enum Status {
    static let interrupt: UInt16 = 1 << 3
    static let capabilities: UInt16 = 1 << 4
  }

  private static let addressPort: UInt16 = 0xCF8
  private static let dataPort: UInt16 = 0xCFC

  private func select(_ offset: UInt16) {
    port_store32(
      Self.addressPort,
      1 << 31 | UInt32(bus) << 16 | UInt32(slot) << 11 | UInt32(function) << 8 | UInt32(offset & 0xFC))
  }

  @inline(never)
  func load8(_ offset: UInt16) -> UInt8 {
    select(offset)
    return port_load8(Self.dataPort + offset % 4)
  }

  @inline(never)
  func load16(_ offset: UInt16) -> UInt16 {
    select(offset)
    return port_load16(Self.dataPort + offset % 4)
  }

  @inline(never)
  func load32(_ offset: UInt16) -> UInt32 {
    select(offset)
    return port_load32(Self.dataPort)
  }

  @inline(never)
  func store8(_ offset: UInt16, _ value: UInt8) {
    select(offset)
    port_store8(Self.dataPort + offset % 4, value)
  }

  @inline(never)
  func store16(_ offset: UInt16, _ value: UInt16) {
    select(offset)
    port_store16(Self.dataPort + offset % 4, value)
  }

  @inline(never)
  func store32(_ offset: UInt16, _ value: UInt32) {
    select(offset)
    port_store32(Self.dataPort, value)
  }

  /// Returns the GPA of the function's configuration space in an ECAM at `base`.
  func ecamAddress(_ base: UInt64) -> UInt64 {
    base + UInt64(bus) << 20 + UInt64(slot) << 15 + UInt64(function) << 12
  }

  var vendor: UInt16 { load16(Register.identity) }
  var device: UInt16 { load16(Register.identity + 2) }
  var isPresent: Bool { vendor != 0xFFFF }
  /// The class, subclass and programming interface.
  var classCode: UInt32 { load32(Register.classCode) >> 8 }
  /// True for an endpoint, false for a bridge.
  var isEndpoint: Bool { load8(Register.headerType) & 0x7F == 0 }
  var isMultifunction: Bool { load8(Register.headerType) & 0x80 != 0 }

  var command: UInt16 { load16(Register.command) }

  var status: UInt16 { load16(Register.status) }

  func setCommand(_ bits: UInt16, _ on: Bool) {
    store16(Register.command, on ? command | bits : command & ~bits)
  }

  /// Calls `body` with the offset and ID of each capability.
  func forEachCapability(_ body: (_ offset: UInt16, _ id: UInt8) -> Void) {
    guard status & Status.capabilities != 0 else { return }
    var offset = UInt16(load8(Register.capabilities) & 0xFC)
    // At most 48 capabilities fit. A longer list is a cycle.
    for _ in 0..<48 where offset >= 0x40 {
      body(offset, load8(offset))
      offset = UInt16(load8(offset + 1) & 0xFC)
    }
  }

  /// Calls `body` with the offset and ID of each extended capability (PCIe 6.0 §7.6).
  ///
  /// - Parameter ecam: The base of the ECAM, which must be mapped. Extended capabilities are accessible only
  ///   through the ECAM.
  func forEachExtendedCapability(_ ecam: UInt64, _ body: (_ offset: UInt64, _ id: UInt16) -> Void) {
    let base = ecamAddress(ecam)
    var offset: UInt64 = 0x100
    // At most 960 capabilities fit. A longer list is a cycle.
    for _ in 0..<960 where offset >= 0x100 {
      let header = mmio_load32(base + offset)
      guard header != 0, header != .max else { return }
      body(offset, UInt16(truncatingIfNeeded: header))
      offset = UInt64(header >> 20 & 0xFFC)
    }
  }

  /// Returns the offset of the first capability with an ID, or nil.
  func capability(_ id: UInt8) -> UInt16? {
    var found: UInt16?
    forEachCapability { offset, candidate in
      if candidate == id, found == nil { found = offset }
    }
    return found
  }
}

/// Bus 0, and the functions behind its root ports.
enum PCIBus {
  /// Calls `body` with each function on the bus. A function behind a root port follows its port.
  static func forEachFunction(_ body: (PCIFunction) -> Void) {
    for slot in UInt8(0)..<32 {
      let first = PCIFunction(slot: slot, function: 0)
      guard first.isPresent else { continue }
      body(first)
      if let behind = RootPort(first)?.occupant { body(behind) }
      guard first.isMultifunction else { continue }
      for number in UInt8(1)..<8 {
        let function = PCIFunction(slot: slot, function: number)
        if function.isPresent { body(function) }
      }
    }
  }

  /// Returns the first endpoint with a vendor ID and device ID, or nil.
  static func find(vendor: UInt16, device: UInt16) -> PCIFunction? {
    first { $0.vendor == vendor && $0.device == device }
  }

  /// Returns the first endpoint that `matches`, or nil.
  static func first(where matches: (PCIFunction) -> Bool) -> PCIFunction? {
    var found: PCIFunction?
    forEachFunction { function in
      if found == nil, function.isEndpoint, matches(function) { found = function }
    }
    return found
  }

  /// Returns the function in the slot that `device=SLOT` on the command line names, or nil if it does not
  /// match. Without that word, returns the first endpoint that `matches`.
  static func find(_ commandLine: CommandLine, where matches: (PCIFunction) -> Bool) -> PCIFunction? {
    if let slot = commandLine.number("device") {
      let function = PCIFunction(slot: UInt8(truncatingIfNeeded: slot & 31), function: 0)
      return function.isPresent && matches(function) ? function : nil
    }
    return first(where: matches)
  }
}
