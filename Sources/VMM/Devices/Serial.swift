// SPDX-License-Identifier: Apache-2.0

internal import Boot
internal import Linux
internal import Sandbox
internal import Synchronization

/// A 16550A on COM1 (PC16550D data sheet) with interrupts and FIFOs. It exchanges bytes with the console.
///
/// A byte that the console does not accept stays in the transmitter. THRE and TEMT in the line status
/// register stay clear until the transmitter is empty. The guest waits as for a slow serial line, but its
/// vCPU does not block.
final class Serial: PortDevice {
  static let ports: [ClosedRange<UInt16>] = [0x3F8...0x3FF]
  static let widest = 1
  /// The edge-triggered GSI that ``interrupt`` raises.
  static let gsi: UInt32 = 4
  static let platformDevice: PlatformDevice? = PlatformDevice(
    name: "COM1", identity: "PNP0501", number: 0, ports: ports[0], gsi: gsi)
  static let rules = [
    Rule("epoll_ctl", [.control], "watch console input and output only while the serial port can use them"),
    Rule("getpgrp", [.control], "check whether another process group has the terminal"),
  ]

  private struct Registers {
    var interruptEnable: UInt8 = 0
    var lineControl: UInt8 = 0
    var modemControl: UInt8 = 0
    var scratch: UInt8 = 0
    var divisor: UInt16 = 12
    var fifoEnabled = false
    var received: [UInt8] = []
    /// True if an overrun has occurred since the guest last read LSR.
    var overrun = false
    /// The bytes that the console has not accepted yet.
    var transmitting: [UInt8] = []
    /// True if the interrupt of the empty transmitter is pending. It is cleared when the guest reads it from
    /// IIR.
    var transmitterInterrupt = false
    /// True if the interrupt output is asserted.
    var isInterrupting = false

    var isLoopback: Bool { modemControl & 0x10 != 0 }
    var depth: Int { fifoEnabled ? 16 : 1 }

    /// Puts a byte into the transmitter. If the transmitter is full, the byte replaces the last byte: the
    /// guest has not waited for THRE.
    mutating func queue(_ byte: UInt8) {
      while transmitting.count >= depth { transmitting.removeLast() }
      transmitting.append(byte)
      transmitterInterrupt = false
    }

    /// Records that the transmitter has become empty. The interrupt output falls here and can rise again.
    mutating func finishTransmitting() {
      transmitterInterrupt = true
      isInterrupting = false
    }

    /// The IIR identification (bits 3:0) of the pending interrupt with the highest priority, or 1 if none is
    /// pending.
    var identification: UInt8 {
      if interruptEnable & 4 != 0, overrun { return 6 }
      if interruptEnable & 1 != 0, !received.isEmpty { return 4 }
      if interruptEnable & 2 != 0, transmitterInterrupt { return 2 }
      return 1
    }

    /// Sets the interrupt output from the pending interrupts. Returns true if the output rises.
    mutating func updateInterrupt() -> Bool {
      // On a PC, OUT2 enables the interrupt output.
      let now = identification != 1 && modemControl & 8 != 0
      defer { isInterrupting = now }
      return now && !isInterrupting
    }
  }

  /// Owner: this port. Taken by vCPU threads and by the control thread for one access. No lock is taken
  /// inside it.
  private let registers = Mutex(Registers())
  /// The eventfd that raises ``gsi``.
  let interrupt: EventFD
  /// Signalled when the guest has emptied the receiver.
  let room: EventFD
  /// Signalled when the console does not accept a byte. Call ``transmit()`` when the console has room.
  let backlog: EventFD
  private let output: @Sendable (UInt8) -> Bool

  /// - Parameter output: Accepts a byte that the guest sends. Returns false if it cannot accept the byte now.
  ///   It must not wait.
  init(output: @escaping @Sendable (UInt8) -> Bool) throws(KernelError) {
    interrupt = try EventFD()
    room = try EventFD()
    backlog = try EventFD()
    self.output = output
  }

  /// Sends the bytes in the transmitter to the console. Returns true if the transmitter is empty afterwards.
  @discardableResult
  func transmit() -> Bool {
    let (isEmpty, rises) = registers.withLock { registers in
      guard !registers.transmitting.isEmpty else { return (true, false) }
      while let byte = registers.transmitting.first {
        guard output(byte) else { return (false, false) }
        registers.transmitting.removeFirst()
      }
      registers.finishTransmitting()
      return (true, registers.updateInterrupt())
    }
    if rises { interrupt.signal() }
    return isEmpty
  }

  /// The number of bytes that the receiver can accept.
  var space: Int { registers.withLock { max(0, $0.depth - $0.received.count) } }

  /// Receives bytes from the console. Bytes that do not fit are lost, as on a wire.
  func receive(_ bytes: some Sequence<UInt8>) {
    let rises = registers.withLock { registers in
      for byte in bytes {
        if registers.received.count < registers.depth {
          registers.received.append(byte)
        } else {
          registers.overrun = true
        }
      }
      return registers.updateInterrupt()
    }
    if rises { interrupt.signal() }
  }

  func read(_ port: UInt16, width: Int) -> UInt64 {
    width == 1 ? UInt64(read(port - Self.ports[0].lowerBound)) : .max
  }

  func write(_ port: UInt16, width: Int, _ value: UInt64) {
    if width == 1 { write(port - Self.ports[0].lowerBound, UInt8(truncatingIfNeeded: value)) }
  }

  /// Reads a register, 0 to 7.
  func read(_ register: UInt16) -> UInt8 {
    var hasRoom = false
    let (value, rises) = registers.withLock { registers in
      let value = Self.read(register, &registers, &hasRoom)
      return (value, registers.updateInterrupt())
    }
    if rises { interrupt.signal() }
    if hasRoom { room.signal() }
    return value
  }

  private static func read(_ register: UInt16, _ registers: inout Registers, _ hasRoom: inout Bool) -> UInt8 {
    let isLatched = registers.lineControl & 0x80 != 0
    switch register {
    case 0 where isLatched: return UInt8(truncatingIfNeeded: registers.divisor)
    case 1 where isLatched: return UInt8(truncatingIfNeeded: registers.divisor >> 8)
    case 0:
      guard !registers.received.isEmpty else { return 0 }
      hasRoom = registers.received.count == 1
      return registers.received.removeFirst()
    case 1: return registers.interruptEnable
    case 2:
      let identification = registers.identification
      if identification == 2 { registers.transmitterInterrupt = false }
      return identification | (registers.fifoEnabled ? 0xC0 : 0)
    case 3: return registers.lineControl
    case 4: return registers.modemControl
    case 5:
      let status =
        (registers.transmitting.isEmpty ? 0x60 : 0) | (registers.received.isEmpty ? 0 : 1)
        | (registers.overrun ? 2 : 0) as UInt8
      registers.overrun = false
      return status
    case 6:
      let control = registers.modemControl
      // In loopback mode the outputs are connected to the inputs. Otherwise DCD, DSR and CTS are on.
      return registers.isLoopback
        ? (control & 2) << 3 | (control & 1) << 5 | (control & 4) << 4 | (control & 8) << 4 : 0xB0
    default: return registers.scratch
    }
  }

  /// Writes a register, 0 to 7.
  func write(_ register: UInt16, _ value: UInt8) {
    var isHeld = false
    var hasRoom = false
    let rises = registers.withLock { registers in
      if let sent = Self.write(register, value, &registers, &hasRoom) {
        if registers.transmitting.isEmpty, output(sent) {
          registers.finishTransmitting()
        } else {
          registers.queue(sent)
          isHeld = true
        }
      }
      return registers.updateInterrupt()
    }
    if isHeld { backlog.signal() }
    if rises { interrupt.signal() }
    if hasRoom { room.signal() }
  }

  /// Writes a register. Returns the byte to send, or nil if there is none.
  private static func write(
    _ register: UInt16, _ value: UInt8, _ registers: inout Registers, _ hasRoom: inout Bool
  ) -> UInt8? {
    let isLatched = registers.lineControl & 0x80 != 0
    switch register {
    case 0 where isLatched: registers.divisor = registers.divisor & 0xFF00 | UInt16(value)
    case 1 where isLatched: registers.divisor = registers.divisor & 0x00FF | UInt16(value) << 8
    case 0:
      guard registers.isLoopback else { return value }
      registers.finishTransmitting()
      if registers.received.count < registers.depth {
        registers.received.append(value)
      } else {
        registers.overrun = true
      }
    case 1:
      if value & 2 != 0, registers.interruptEnable & 2 == 0, registers.transmitting.isEmpty {
        registers.transmitterInterrupt = true
      }
      registers.interruptEnable = value & 0x0F
    case 2:
      if value & 2 != 0 || (value & 1 != 0) != registers.fifoEnabled {
        registers.received.removeAll()
        hasRoom = true
      }
      registers.fifoEnabled = value & 1 != 0
    case 3: registers.lineControl = value
    case 4: registers.modemControl = value & 0x1F
    case 7: registers.scratch = value
    default: break
    }
    return nil
  }
}
