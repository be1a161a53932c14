// SPDX-License-Identifier: Apache-2.0

internal import Boot
internal import Passthrough
internal import Seams
internal import Synchronization

/// The I/O ports: COM1, configuration mechanism #1, reset, sleep, panic, debug exit, and I/O BARs.
final class PortBus<B: Backend>: Sendable {
  private let serial: Serial
  private let root: RootBus<B>
  private let ending: Ending
  private let hasDebugExit: Bool
  /// CONFIG_ADDRESS (PCI 3.0 §3.2.2.3.2). One guest CPU at a time uses it under the guest's own lock.
  private let configAddress = Atomic<UInt32>(0)

  init(serial: Serial, root: RootBus<B>, ending: Ending, hasDebugExit: Bool) {
    self.serial = serial
    self.root = root
    self.ending = ending
    self.hasDebugExit = hasDebugExit
  }

  /// The place in configuration space, as in the ECAM, that CONFIG_DATA stands for; nil if
  /// CONFIG_ADDRESS is not enabled.
  private func configTarget(_ port: UInt16) -> UInt64? {
    let address = configAddress.load(ordering: .relaxed)
    guard address & 1 << 31 != 0 else { return nil }
    let byte = UInt64(port - PlatformLayout.configAddress - 4)
    return UInt64(address >> 8 & 0xFFFF) << 12 | UInt64(address & 0xFC) | byte
  }

  /// Bytes of the largest register at a port.
  private static func widest(at port: UInt16) -> Int {
    PlatformLayout.com1Ports.contains(port) || PlatformLayout.com1Ports.contains(port &+ 3) ? 1 : 4
  }

  /// Reads 1, 2 or 4 bytes from a port on; all-ones for bytes that nothing answers.
  func read(_ port: UInt16, width: Int) throws(FunctionError) -> UInt64 {
    let widest = Self.widest(at: port)
    if AccessPieces.isWhole(UInt64(port), width: width, widest: widest) {
      return try readPiece(port, width: width)
    }
    var value: UInt64 = 0
    for piece in AccessPieces(UInt64(port), width: width, widest: widest) {
      let port = UInt16(truncatingIfNeeded: piece.address)
      value |= piece.placed(try readPiece(port, width: piece.width))
    }
    return value
  }

  /// Writes 1, 2 or 4 bytes from a port on; bytes that nothing answers are dropped.
  func write(_ port: UInt16, width: Int, _ value: UInt64) throws(FunctionError) {
    let widest = Self.widest(at: port)
    if AccessPieces.isWhole(UInt64(port), width: width, widest: widest) {
      return try writePiece(port, width: width, value)
    }
    for piece in AccessPieces(UInt64(port), width: width, widest: widest) {
      let port = UInt16(truncatingIfNeeded: piece.address)
      try writePiece(port, width: piece.width, piece.of(value))
    }
  }

  private func readPiece(_ port: UInt16, width: Int) throws(FunctionError) -> UInt64 {
    switch port {
    case PlatformLayout.com1Ports where width == 1: return UInt64(serial.read(port - PlatformLayout.com1))
    case PlatformLayout.configAddress where width == 4:
      return UInt64(configAddress.load(ordering: .relaxed))
    case PlatformLayout.configData:
      guard let target = configTarget(port) else { return .max }
      return try root.readConfig(target, width: width)
    // Neither buffer of the keyboard controller is full.
    case PlatformLayout.keyboardCommand: return 0
    case PlatformLayout.systemControl: return 2
    // Which events a guest may report: a panic.
    case PlatformLayout.pvpanic: return 1
    case PlatformLayout.sleepControl, PlatformLayout.sleepStatus, PlatformLayout.reset: return 0
    default: return root.readPort(port, width: width)
    }
  }

  private func writePiece(_ port: UInt16, width: Int, _ value: UInt64) throws(FunctionError) {
    let byte = UInt8(truncatingIfNeeded: value)
    switch port {
    case PlatformLayout.com1Ports where width == 1: serial.write(port - PlatformLayout.com1, byte)
    case PlatformLayout.configAddress where width == 4:
      configAddress.store(UInt32(truncatingIfNeeded: value), ordering: .relaxed)
    case PlatformLayout.configData:
      if let target = configTarget(port) { try root.writeConfig(target, width: width, value) }
    // Bit 2 is the one that resets, as on a PC.
    case PlatformLayout.reset where width == 1: if byte & 4 != 0 { ending.end(.reset) }
    case PlatformLayout.keyboardCommand: if byte == PlatformLayout.keyboardReset { ending.end(.reset) }
    case PlatformLayout.systemControl: if byte & 1 != 0 { ending.end(.reset) }
    case PlatformLayout.sleepControl:
      if byte == PlatformLayout.powerOffValue { ending.end(.powerOff) }
    case PlatformLayout.pvpanic: if byte & 1 != 0 { ending.end(.panic) }
    case PlatformLayout.debugExit where hasDebugExit:
      ending.end(.debugExit(UInt32(truncatingIfNeeded: value) & UInt32.max >> UInt32(32 - width * 8)))
    default: root.writePort(port, width: width, value)
    }
  }
}
