// SPDX-License-Identifier: Apache-2.0

import Glibc
import Linux
import Testing

@testable import VMM

/// The console reads descriptor 0. Each test therefore runs in a separate process.
@Suite struct ConsoleTests {
  @Test("Ctrl-A x quits, Ctrl-A Ctrl-A sends one Ctrl-A, and Ctrl-A with any other byte sends both")
  func terminal() async {
    await #expect(processExitsWith: .exitCode(7)) {
      let serial = try Keyboard.serial()
      var console = Console(serial: serial, isTerminal: true, input: 0, output: 1)
      try Keyboard.type([0x61, 1, 1, 1, 0x62, 0x78])
      guard try !console.transfer(), Keyboard.received(serial) == [0x61, 1, 1, 0x62, 0x78] else { _exit(1) }
      try Keyboard.type([0x61, 1])
      guard try !console.transfer(), Keyboard.received(serial) == [0x61] else { _exit(2) }
      try Keyboard.type([0x78])
      _exit(try console.transfer() ? 7 : 3)
    }
  }

  @Test("input that is not from a terminal passes unchanged")
  func pipe() async {
    await #expect(processExitsWith: .exitCode(7)) {
      let serial = try Keyboard.serial()
      var console = Console(serial: serial, isTerminal: false, input: 0, output: 1)
      try Keyboard.type([1, 0x78, 1, 1])
      guard try !console.transfer() else { _exit(1) }
      _exit(Keyboard.received(serial) == [1, 0x78, 1, 1] ? 7 : 2)
    }
  }

  @Test("only the bytes that the guest has room for are read")
  func room() async {
    await #expect(processExitsWith: .exitCode(7)) {
      let serial = try Keyboard.serial()
      var console = Console(serial: serial, isTerminal: false, input: 0, output: 1)
      try Keyboard.type(Array(0..<20))
      guard try !console.transfer(), serial.space == 0 else { _exit(1) }
      guard try !console.transfer(), Keyboard.received(serial) == Array(0..<16) else { _exit(2) }
      guard try !console.transfer(), Keyboard.received(serial) == Array(16..<20) else { _exit(3) }
      _exit(7)
    }
  }

  @Test("EAGAIN from non-blocking input does not end the input")
  func again() async {
    await #expect(processExitsWith: .exitCode(7)) {
      let serial = try Keyboard.serial()
      var console = Console(serial: serial, isTerminal: false, input: 0, output: 1)
      try Keyboard.type([])
      guard fcntl(0, F_SETFL, O_NONBLOCK) == 0 else { _exit(1) }
      // The pipe is empty, as if another reader had been faster.
      guard try !console.transfer() else { _exit(2) }
      try Keyboard.type([0x61])
      guard try !console.transfer() else { _exit(3) }
      _exit(Keyboard.received(serial) == [0x61] ? 7 : 4)
    }
  }

  @Test("a file, which epoll does not accept, is read to its end as the guest makes room")
  func file() async {
    await #expect(processExitsWith: .exitCode(7)) {
      let serial = try Keyboard.serial()
      var console = Console(serial: serial, isTerminal: false, input: 0, output: 1)
      // SAFETY: the path is a literal that lives for the call.
      let regular = unsafe open("/etc/passwd", O_RDONLY)
      guard regular >= 0, dup2(regular, 0) == 0 else { _exit(1) }
      let loop = try Epoll()
      try console.watch(loop)
      guard try !console.refill(), serial.space == 0 else { _exit(2) }
      var count = 0
      while case let bytes = Keyboard.received(serial), !bytes.isEmpty {
        count += bytes.count
        guard try !console.refill() else { _exit(3) }
      }
      _exit(off_t(count) == lseek(regular, 0, SEEK_END) ? 7 : 4)
    }
  }
}

/// The input on descriptor 0.
private enum Keyboard {
  /// Creates a serial port whose FIFO is on.
  static func serial() throws -> Serial {
    let serial = try Serial { _ in true }
    serial.write(2, 1)
    return serial
  }

  /// Makes descriptor 0 a pipe that holds the bytes. The write end stays open.
  static func type(_ bytes: [UInt8]) throws {
    var ends: [Int32] = [0, 0]
    // SAFETY: the array has room for two numbers, and the bytes live for the call.
    guard unsafe Glibc.pipe(&ends) == 0, dup2(ends[0], 0) == 0,
      unsafe Glibc.write(ends[1], bytes, bytes.count) == bytes.count
    else { _exit(100) }
  }

  /// Returns the bytes that the guest can read.
  static func received(_ serial: Serial) -> [UInt8] {
    var bytes: [UInt8] = []
    while serial.read(5) & 1 != 0 { bytes.append(serial.read(0)) }
    return bytes
  }
}
