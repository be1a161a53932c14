// SPDX-License-Identifier: Apache-2.0

import Foundation

/// A guest of a few instructions. It is a multiboot kernel in 32-bit flat protected mode, with interrupts
/// off.
struct TinyGuest {
  private var code: [UInt8] = []

  /// Adds code that waits until bits of a port are set and leaves the port's value in AL.
  private mutating func wait(port: UInt16, _ bits: UInt8) {
    code += [0xBA] + Self.bytes(UInt32(port))  // mov edx, port
    code += [0xEC, 0xA8, bits, 0x74, 0xFB]  // 1: in al, dx; test al, bits; jz 1b
  }

  /// Adds code that sends a byte to COM1 when the transmitter is empty.
  private mutating func send(_ byte: UInt8) {
    wait(port: 0x3FD, 0x20)
    code += [0xB0, byte, 0xBA] + Self.bytes(0x3F8) + [0xEE]  // mov al, byte; mov edx, 0x3f8; out dx, al
  }

  private static func bytes(_ value: UInt32) -> [UInt8] {
    (0..<4).map { UInt8(truncatingIfNeeded: value >> ($0 * 8)) }
  }

  /// Adds code that sends a text.
  func saying(_ text: String) -> TinyGuest {
    var guest = self
    for byte in text.utf8 { guest.send(byte) }
    return guest
  }

  /// Adds code that halts forever.
  func idling() -> TinyGuest {
    var guest = self
    guest.code += [0xF4, 0xEB, 0xFD]  // 1: hlt; jmp 1b
    return guest
  }

  /// Adds code that sends the bytes 0 to 255 `rounds` times, or forever if nil.
  func flooding(_ rounds: UInt32? = nil) -> TinyGuest {
    var guest = self
    guest.code += [0xB9] + Self.bytes((rounds ?? 1) << 8) + [0x31, 0xDB]  // mov ecx, count; xor ebx, ebx
    let start = guest.code.count
    guest.wait(port: 0x3FD, 0x20)
    guest.code += [0x88, 0xD8, 0xBA] + Self.bytes(0x3F8) + [0xEE, 0x43]  // mov al, bl; mov edx; out; inc ebx
    let back = UInt8(bitPattern: Int8(start - guest.code.count - 2))
    guest.code += [rounds == nil ? 0xEB : 0xE2, back]  // jmp start, or loop start
    return guest
  }

  /// Adds code that sends back each received byte, forever.
  func echoing() -> TinyGuest {
    var guest = self
    let start = guest.code.count
    guest.wait(port: 0x3FD, 1)
    guest.code += [0xBA] + Self.bytes(0x3F8) + [0xEC, 0xEE]  // mov edx, 0x3f8; in al, dx; out dx, al
    guest.code += [0xEB, UInt8(bitPattern: Int8(start - guest.code.count - 2))]
    return guest
  }

  /// Adds code that writes a byte to a port: 0xF4 is the debug exit, 0x505 the panic port.
  func writing(_ value: UInt8, to port: UInt16) -> TinyGuest {
    var guest = self
    guest.code += [0xB0, value, 0xBA] + Self.bytes(UInt32(port)) + [0xEE]
    return guest.idling()
  }

  /// Adds code that causes a triple fault: an exception without an interrupt table.
  func crashing() -> TinyGuest {
    var guest = self
    // xor eax, eax; push eax; push eax; lidt [esp]; ud2
    guest.code += [0x31, 0xC0, 0x50, 0x50, 0x0F, 0x01, 0x1C, 0x24, 0x0F, 0x0B]
    return guest
  }

  /// Writes the kernel to a file and returns its path. The caller removes the file.
  func write() throws -> String {
    let load: UInt32 = 0x10_0000
    // Header (multiboot 0.6.96 §3.1): magic, flags with addresses, checksum, then header, load, load end, BSS
    // end and entry addresses. The code follows the header. The stack is below the kernel.
    let flags: UInt32 = 1 << 16
    let header: [UInt32] = [
      0x1BAD_B002, flags, 0 &- 0x1BAD_B002 &- flags, load, load, 0, 0, load + 32,
    ]
    let stack: [UInt8] = [0xFA, 0xBC] + Self.bytes(0x8000)  // cli; mov esp, 0x8000
    let path = FileManager.default.temporaryDirectory.appending(path: "tiny-\(UUID().uuidString)").path
    try Data(header.flatMap(Self.bytes) + stack + code).write(to: URL(filePath: path))
    return path
  }
}
