// SPDX-License-Identifier: Apache-2.0

internal import Passthrough
internal import Seams

/// The I/O port bus. It has the platform's devices and the I/O BARs.
final class PortBus<B: Backend>: Sendable {
  private let root: RootBus<B>
  private let serial: Serial
  private let config = ConfigMechanism()
  private let reset: ResetPorts
  private let sleep: SleepControl
  private let panic: PanicPort
  private let debugExit: DebugExit
  /// The owner of each port below ``PortOwner/end``.
  private let owners: InlineArray<4096, PortOwner>

  init(serial: Serial, root: RootBus<B>, shutdown: ShutdownRequest, hasDebugExit: Bool) {
    self.serial = serial
    self.root = root
    reset = ResetPorts(shutdown: shutdown)
    sleep = SleepControl(shutdown: shutdown)
    panic = PanicPort(shutdown: shutdown)
    debugExit = DebugExit(shutdown: shutdown)
    var owners = InlineArray<4096, PortOwner>(repeating: .bars)
    for owner in PortOwner.allCases where owner != .debugExit || hasDebugExit {
      for range in owner.ports { for port in range { owners[Int(port)] = owner } }
    }
    self.owners = owners
  }

  private func owner(of port: UInt16) -> PortOwner { port < PortOwner.end ? owners[Int(port)] : .bars }

  /// True if an access is not split. An aligned access goes as a whole to the owner of its first port.
  private func isWhole(_ port: UInt16, _ width: Int, _ owner: PortOwner) -> Bool {
    AccessPieces.isWhole(UInt64(port), width: width, widest: owner == .serial ? Serial.widest : 4)
  }

  /// The width of the largest register at a port, in bytes. An access that reaches the serial port is split
  /// into bytes.
  private func widest(at port: UInt16) -> Int {
    owner(of: port) == .serial || owner(of: port &+ 3) == .serial ? Serial.widest : 4
  }

  /// Reads 1, 2 or 4 bytes, starting at a port. Unclaimed bytes read all-ones.
  func read(_ port: UInt16, width: Int) throws(FunctionError) -> UInt64 {
    let owner = owner(of: port)
    if isWhole(port, width, owner) { return try readPiece(owner, port, width: width) }
    var value: UInt64 = 0
    for piece in AccessPieces(UInt64(port), width: width, widest: widest(at: port)) {
      let port = UInt16(truncatingIfNeeded: piece.address)
      value |= piece.placed(try readPiece(self.owner(of: port), port, width: piece.width))
    }
    return value
  }

  /// Writes 1, 2 or 4 bytes, starting at a port. Unclaimed bytes are dropped.
  func write(_ port: UInt16, width: Int, _ value: UInt64) throws(FunctionError) {
    let owner = owner(of: port)
    if isWhole(port, width, owner) { return try writePiece(owner, port, width: width, value) }
    for piece in AccessPieces(UInt64(port), width: width, widest: widest(at: port)) {
      let port = UInt16(truncatingIfNeeded: piece.address)
      try writePiece(self.owner(of: port), port, width: piece.width, piece.of(value))
    }
  }

  private func readPiece(_ owner: PortOwner, _ port: UInt16, width: Int) throws(FunctionError) -> UInt64 {
    switch owner {
    case .bars: root.readPort(port, width: width)
    case .serial: serial.read(port, width: width)
    case .config:
      if let target = config.target(port) {
        try root.readConfig(target, width: width)
      } else {
        config.read(port, width: width)
      }
    case .reset: reset.read(port, width: width)
    case .sleep: sleep.read(port, width: width)
    case .panic: panic.read(port, width: width)
    case .debugExit: debugExit.read(port, width: width)
    }
  }

  private func writePiece(
    _ owner: PortOwner, _ port: UInt16, width: Int, _ value: UInt64
  ) throws(FunctionError) {
    switch owner {
    case .bars: root.writePort(port, width: width, value)
    case .serial: serial.write(port, width: width, value)
    case .config:
      if let target = config.target(port) {
        try root.writeConfig(target, width: width, value)
      } else {
        config.write(port, width: width, value)
      }
    case .reset: reset.write(port, width: width, value)
    case .sleep: sleep.write(port, width: width, value)
    case .panic: panic.write(port, width: width, value)
    case .debugExit: debugExit.write(port, width: width, value)
    }
  }
}
