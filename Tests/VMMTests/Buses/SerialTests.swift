// SPDX-License-Identifier: Apache-2.0

import Linux
import Synchronization
import Testing

@testable import VMM

/// The receiver of a serial port's output in a test.
final class Wire: Sendable {
  private let sent = Mutex<[UInt8]>([])
  var bytes: [UInt8] { sent.withLock { $0 } }
  /// The number of bytes that the receiver still accepts.
  let room = Mutex(Int.max)

  func take(_ byte: UInt8) -> Bool {
    let isTaken = room.withLock { room in
      guard room > 0 else { return false }
      room -= 1
      return true
    }
    if isTaken { sent.withLock { $0.append(byte) } }
    return isTaken
  }
}

/// The registers have the names of the PC16550D data sheet.
@Suite struct SerialTests {
  private static let data: UInt16 = 0
  private static let enable: UInt16 = 1
  private static let identification: UInt16 = 2
  private static let fifoControl: UInt16 = 2
  private static let lineControl: UInt16 = 3
  private static let modemControl: UInt16 = 4
  private static let lineStatus: UInt16 = 5
  private static let modemStatus: UInt16 = 6
  private static let scratch: UInt16 = 7

  private let wire = Wire()
  private let serial: Serial

  init() throws {
    let wire = wire
    serial = try Serial { wire.take($0) }
  }

  /// Returns the number of rises of the interrupt output since the last call.
  private func rises() throws -> UInt64 { try serial.interrupt.take() }

  @Test("held bytes never exceed the FIFO, even if the FIFO is then turned off")
  func bounded() {
    wire.room.withLock { $0 = 0 }
    serial.write(Self.fifoControl, 0x01)
    for byte in UInt8(0)..<10 { serial.write(Self.data, byte) }
    serial.write(Self.fifoControl, 0x00)
    for byte in UInt8(0)..<100 { serial.write(Self.data, byte) }
    wire.room.withLock { $0 = .max }
    #expect(serial.transmit())
    #expect(wire.bytes == [99])
  }

  @Test("the port is a 16550A: it has FIFO bits, a scratch register and a separate divisor")
  func identity() {
    #expect(serial.read(Self.identification) == 0x01)
    serial.write(Self.fifoControl, 0x01)
    #expect(serial.read(Self.identification) == 0xC1)
    serial.write(Self.scratch, 0xA5)
    #expect(serial.read(Self.scratch) == 0xA5)
    serial.write(Self.lineControl, 0x83)
    serial.write(0, 0x34)
    serial.write(1, 0x12)
    #expect(serial.read(0) == 0x34 && serial.read(1) == 0x12)
    serial.write(Self.lineControl, 0x03)
    #expect(serial.read(Self.enable) == 0)
    #expect(serial.read(Self.lineControl) == 3)
    #expect(wire.bytes == [])
  }

  @Test("IER and MCR keep only their defined bits, and LSR and MSR are read-only")
  func reserved() {
    serial.write(Self.enable, 0xFF)
    #expect(serial.read(Self.enable) == 0x0F)
    serial.write(Self.modemControl, 0xFF)
    #expect(serial.read(Self.modemControl) == 0x1F)
    serial.write(Self.lineStatus, 0)
    serial.write(Self.modemStatus, 0)
    #expect(serial.read(Self.lineStatus) == 0x60)
  }

  @Test("a byte that the console does not accept stays in the transmitter, and THRE and TEMT stay clear")
  func held() throws {
    serial.write(Self.modemControl, 8)
    serial.write(Self.enable, 2)
    _ = serial.read(Self.identification)
    _ = try rises()
    wire.room.withLock { $0 = 0 }
    serial.write(Self.data, 65)
    #expect(serial.read(Self.lineStatus) & 0x60 == 0)
    #expect(try serial.backlog.take() == 1)
    #expect(try rises() == 0 && serial.read(Self.identification) == 1, "the transmitter is not empty")
    #expect(!serial.transmit())
    wire.room.withLock { $0 = 1 }
    #expect(serial.transmit())
    #expect(wire.bytes == [65])
    #expect(serial.read(Self.lineStatus) & 0x60 == 0x60)
    #expect(try rises() == 1 && serial.read(Self.identification) == 2)
  }

  @Test(
    "the transmitter holds 16 bytes with the FIFO and one without, and a further byte replaces the last")
  func transmitter() {
    wire.room.withLock { $0 = 0 }
    serial.write(Self.data, 65)
    serial.write(Self.data, 66)
    wire.room.withLock { $0 = .max }
    #expect(serial.transmit() && wire.bytes == [66])
    serial.write(Self.fifoControl, 1)
    wire.room.withLock { $0 = 0 }
    for byte in 0..<18 as Range<UInt8> { serial.write(Self.data, byte) }
    wire.room.withLock { $0 = 5 }
    #expect(!serial.transmit() && serial.read(Self.lineStatus) & 0x60 == 0)
    wire.room.withLock { $0 = .max }
    #expect(serial.transmit() && wire.bytes == [66] + Array(0..<15) + [17])
    serial.write(Self.data, 18)
    #expect(wire.bytes.last == 18)
  }

  @Test("bytes are sent in order, and the transmitter is empty if the console accepts them")
  func send() {
    for byte in "sluice".utf8 { serial.write(Self.data, byte) }
    #expect(wire.bytes == Array("sluice".utf8))
    #expect(serial.read(Self.lineStatus) & 0x60 == 0x60)
  }

  @Test("received bytes are read in order, and LSR reports if there is a byte")
  func receive() {
    serial.write(Self.fifoControl, 1)
    serial.receive([1, 2, 3])
    #expect(serial.read(Self.lineStatus) & 1 == 1)
    #expect([serial.read(0), serial.read(0), serial.read(0)] == [1, 2, 3])
    #expect(serial.read(Self.lineStatus) & 1 == 0)
    #expect(serial.read(0) == 0)
  }

  @Test("the receiver holds 16 bytes with the FIFO and one without, and LSR reports an overrun once")
  func overrun() {
    #expect(serial.space == 1)
    serial.receive([1, 2])
    #expect(serial.space == 0)
    #expect(serial.read(Self.lineStatus) == 0x63)
    #expect(serial.read(Self.lineStatus) == 0x61)
    #expect(serial.read(0) == 1)
    serial.write(Self.fifoControl, 1)
    #expect(serial.space == 16)
    serial.receive(0..<17)
    #expect(serial.read(Self.lineStatus) & 2 == 2)
    #expect((0..<16).map { _ in serial.read(0) } == Array(0..<16))
    #expect(serial.read(Self.lineStatus) == 0x60)
  }

  @Test("an enabled overrun interrupt has a higher priority than the data interrupt")
  func lineStatusInterrupt() {
    serial.write(Self.enable, 0x05)
    serial.receive([1, 2])
    #expect(serial.read(Self.identification) == 0x06)
    _ = serial.read(Self.lineStatus)
    #expect(serial.read(Self.identification) == 0x04)
    _ = serial.read(0)
    #expect(serial.read(Self.identification) == 0x01)
  }

  @Test("received data raises the interrupt output only if IER and OUT2 enable it")
  func receiveInterrupt() throws {
    serial.receive([1])
    #expect(try rises() == 0)
    serial.write(Self.enable, 1)
    #expect(try rises() == 0, "OUT2 is off")
    serial.write(Self.modemControl, 8)
    #expect(try rises() == 1)
    #expect(serial.read(Self.identification) == 0x04)
    #expect(try rises() == 0)
    _ = serial.read(0)
    serial.receive([2])
    #expect(try rises() == 1)
    serial.receive([3])
    #expect(try rises() == 0, "the output is already high")
    serial.write(Self.modemControl, 0)
    serial.write(Self.modemControl, 8)
    #expect(try rises() == 1)
  }

  @Test("an empty transmitter interrupts when enabled and after each byte, until IIR is read")
  func transmitInterrupt() throws {
    serial.write(Self.modemControl, 8)
    serial.write(Self.enable, 2)
    #expect(try rises() == 1)
    #expect(serial.read(Self.identification) == 0x02)
    #expect(serial.read(Self.identification) == 0x01)
    serial.write(Self.data, 65)
    #expect(try rises() == 1)
    serial.write(Self.data, 66)
    #expect(try rises() == 1)
    #expect(serial.read(Self.identification) == 0x02)
    serial.write(Self.enable, 2)
    #expect(try rises() == 0, "enabling it again has no effect")
    serial.write(Self.enable, 0)
    serial.write(Self.data, 67)
    #expect(serial.read(Self.identification) == 0x01)
    #expect(try rises() == 0)
  }

  @Test("loopback receives bytes instead of sending them, and connects MCR's outputs to MSR's inputs")
  func loopback() {
    #expect(serial.read(Self.modemStatus) == 0xB0)
    serial.write(Self.modemControl, 0x10)
    #expect(serial.read(Self.modemStatus) == 0)
    serial.write(Self.data, 0x5A)
    serial.write(Self.data, 0x5B)
    #expect(wire.bytes == [])
    #expect(serial.read(Self.lineStatus) == 0x63)
    #expect(serial.read(0) == 0x5A)
    for (output, input) in [(0x01, 0x20), (0x02, 0x10), (0x04, 0x40), (0x08, 0x80)] as [(UInt8, UInt8)] {
      serial.write(Self.modemControl, 0x10 | output)
      #expect(serial.read(Self.modemStatus) == input)
    }
  }

  @Test("room is signalled when the last byte is read and when the FIFO is cleared")
  func room() throws {
    serial.write(Self.fifoControl, 1)
    _ = try serial.room.take()
    serial.receive([1, 2])
    _ = serial.read(0)
    #expect(try serial.room.take() == 0)
    _ = serial.read(0)
    #expect(try serial.room.take() == 1)
    _ = serial.read(0)
    #expect(try serial.room.take() == 0)
    serial.receive([3])
    serial.write(Self.fifoControl, 3)
    #expect(try serial.room.take() == 1)
    #expect(serial.space == 16)
    #expect(serial.read(Self.lineStatus) & 1 == 0)
  }
}
