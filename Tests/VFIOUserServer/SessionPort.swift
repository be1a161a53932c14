// SPDX-License-Identifier: Apache-2.0

import Linux
import VFIOUser

/// The outside of a device while a session handles one message.
final class SessionPort<Logic: DeviceLogic>: DevicePort {
  private let session: Session<Logic>
  /// The first error of the connection.
  private(set) var fault: ConnectionFault?

  init(_ session: Session<Logic>) { self.session = session }

  func read(_ range: IOVARange) -> [UInt8]? {
    guard session.function.config.isBusMaster, fault == nil, range.isValid,
      let parts = session.memory.parts(range, .read)
    else { return nil }
    var bytes: [UInt8] = []
    for (range, part) in parts {
      guard let more = read(range, part) else { return nil }
      bytes += more
    }
    return bytes
  }

  private func read(_ range: IOVARange, _ part: ClientMemory.Part) -> [UInt8]? {
    switch part {
    case .file(let file, let offset):
      // A file that the client has truncated gives fewer bytes.
      guard let bytes = try? readBytes(file.number, Int(range.size), at: offset),
        bytes.count == range.size
      else { return nil }
      return bytes
    case .messages:
      var bytes: [UInt8] = []
      for piece in pieces(range) {
        guard let reply = request(.dmaRead, DMATransfer(piece)) else { return nil }
        bytes += reply.data
      }
      return bytes
    }
  }

  func write(_ address: UInt64, _ bytes: [UInt8]) -> Bool {
    let range = IOVARange(address: address, size: UInt64(bytes.count))
    guard session.function.config.isBusMaster, fault == nil, range.isValid,
      let parts = session.memory.parts(range, .write)
    else { return false }
    var rest = bytes[...]
    for (range, part) in parts {
      guard write(range, part, rest.prefix(Int(range.size))) else { return false }
      rest = rest.dropFirst(Int(range.size))
    }
    return true
  }

  private func write(_ range: IOVARange, _ part: ClientMemory.Part, _ bytes: ArraySlice<UInt8>) -> Bool {
    switch part {
    case .file(let file, let offset):
      return (try? writeBytes(file.number, bytes, at: offset)) != nil
    case .messages:
      var rest = bytes
      for piece in pieces(range) {
        let transfer = DMATransfer(address: piece.address, data: Array(rest.prefix(Int(piece.size))))
        guard request(.dmaWrite, transfer) != nil else { return false }
        rest = rest.dropFirst(Int(piece.size))
      }
      return true
    }
  }

  /// Reads and writes an IOVA that no client maps.
  func stray() {
    let range = IOVARange(address: 0xFFFF_0000_0000_0000, size: 8)
    _ = request(.dmaRead, DMATransfer(range))
    _ = request(.dmaWrite, DMATransfer(address: range.address, data: [UInt8](repeating: 0xEE, count: 8)))
  }

  /// Sends a DMA command. Returns nil if the client refuses, or after an error of the connection.
  private func request(_ command: Command, _ transfer: DMATransfer) -> DMATransfer? {
    guard fault == nil else { return nil }
    do throws(ConnectionFault) { return try session.request(command, transfer) } catch {
      fault = error
      return nil
    }
  }

  /// Splits a transfer into messages that the client accepts.
  private func pieces(_ range: IOVARange) -> [IOVARange] {
    let most = min(session.client?.transferSize ?? 4096, UInt64(Session<Logic>.transferSize))
    return stride(from: 0, to: range.size, by: Int(most)).map {
      IOVARange(address: range.address + $0, size: min(most, range.size - $0))
    }
  }

  func signal(_ vector: Int) {
    let isDisabled = session.function.config.isInterruptDisabled
    guard let kind = session.lines.messageKind else {
      session.function.setInterruptStatus(true)
      if session.lines.isAsserted || session.injector.interruptCount() > 0 {
        session.lines.setLine(true, isDisabled: isDisabled)
      }
      return
    }
    for _ in 0..<session.injector.interruptCount() { session.lines.signal(kind, vector) }
  }

  func deassert() {
    session.function.setInterruptStatus(false)
    session.lines.setLine(false, isDisabled: session.function.config.isInterruptDisabled)
  }
}
