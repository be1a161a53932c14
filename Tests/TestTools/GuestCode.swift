// SPDX-License-Identifier: Apache-2.0

import Foundation

/// A guest of a few instructions: a multiboot kernel in flat 32-bit protected mode with interrupts off. It
/// reports the number of the first failed check, or 0, through the debug exit port.
package struct GuestCode {
  private var code: [UInt8] = []
  private var checks: UInt8 = 0

  /// Creates a guest without instructions.
  package init() {}

  private static func bytes(_ value: UInt32) -> [UInt8] {
    (0..<4).map { UInt8(truncatingIfNeeded: value >> ($0 * 8)) }
  }

  /// Reads 4 bytes of configuration space of function 0 in a PCI slot into EAX, by mechanism #1.
  package mutating func readConfig(slot: UInt32, _ offset: UInt32) {
    selectConfig(slot, offset)
    code += [0xED]  // in eax, dx
  }

  /// Writes 4 bytes of configuration space of function 0 in a PCI slot.
  package mutating func writeConfig(slot: UInt32, _ offset: UInt32, _ value: UInt32) {
    selectConfig(slot, offset)
    code += [0xB8] + Self.bytes(value) + [0xEF]  // mov eax, value; out dx, eax
  }

  private mutating func selectConfig(_ slot: UInt32, _ offset: UInt32) {
    // mov edx, 0xcf8; mov eax, address; out dx, eax
    code += [0xBA] + Self.bytes(0xCF8)
    code += [0xB8] + Self.bytes(1 << 31 | slot << 11 | offset) + [0xEF]
    code += [0xBA] + Self.bytes(0xCFC)  // mov edx, 0xcfc
  }

  /// Sets the base of ``load(_:)`` and ``store(_:_:)`` to the address of the BAR register in EAX.
  package mutating func useBAR() { code += [0x83, 0xE0, 0xF0, 0x89, 0xC3] }  // and eax, ~0xf; mov ebx, eax

  /// Sets the base to a fixed address.
  package mutating func use(_ address: UInt32) { code += [0xBB] + Self.bytes(address) }  // mov ebx, address

  /// Reads 4 bytes at an offset from the base into EAX.
  package mutating func load(_ offset: UInt32) {
    code += [0x8B, 0x83] + Self.bytes(offset)  // mov eax, [ebx + offset]
  }

  /// Writes 4 bytes at an offset from the base.
  package mutating func store(_ offset: UInt32, _ value: UInt32) {
    code += [0xC7, 0x83] + Self.bytes(offset) + Self.bytes(value)  // mov dword [ebx + offset], value
  }

  /// Saves the base until ``pop()`` restores it.
  package mutating func push() { code += [0x53] }
  /// Restores the base.
  package mutating func pop() { code += [0x5B] }

  /// Checks the value in EAX. On failure, ends the VM with the number of the check.
  package mutating func expect(_ value: UInt32) {
    checks += 1
    code += [0x3D] + Self.bytes(value) + [0x74, 11]  // cmp eax, value; je over
    end(checks)
  }

  /// Waits until one of the bits at an offset from the base is set.
  package mutating func wait(_ offset: UInt32, _ bits: UInt32) {
    let start = code.count
    load(offset)
    code += [0xA9] + Self.bytes(bits)  // test eax, bits
    code += [0x74, UInt8(bitPattern: Int8(start - code.count - 2))]  // jz start
  }

  /// Writes a byte to a port.
  package mutating func writePort(_ port: UInt16, _ value: UInt8) {
    // mov edx, port; mov al, value; out dx, al
    code += [0xBA] + Self.bytes(UInt32(port)) + [0xB0, value, 0xEE]
  }

  /// Writes bytes of memory to a port with one instruction.
  package mutating func writeString(_ address: UInt32, count: UInt32, port: UInt16) {
    // cld; mov esi, address; mov ecx, count; mov edx, port; rep outsb
    code += [0xFC, 0xBE] + Self.bytes(address) + [0xB9] + Self.bytes(count)
    code += [0xBA] + Self.bytes(UInt32(port)) + [0xF3, 0x6E]
  }

  /// Reads bytes of a port to memory with one instruction. KVM requests all bytes in one exit.
  package mutating func readString(_ address: UInt32, count: UInt32, port: UInt16) {
    // cld; mov edi, address; mov ecx, count; mov edx, port; rep insb
    code += [0xFC, 0xBF] + Self.bytes(address) + [0xB9] + Self.bytes(count)
    code += [0xBA] + Self.bytes(UInt32(port)) + [0xF3, 0x6C]
  }

  /// Shifts EAX to the right.
  package mutating func shiftRight(_ bits: UInt8) { code += [0xC1, 0xE8, bits] }  // shr eax, bits

  /// Executes an undefined instruction.
  package mutating func undefined() { code += [0x0F, 0x0B] }  // ud2

  /// Halts for the rest of the VM.
  package mutating func halt() { code += [0xF4, 0xEB, 0xFD] }  // 1: hlt; jmp 1b

  /// Ends the VM with a value. The code has 11 bytes.
  package mutating func end(_ value: UInt8) {
    // mov al, value; mov edx, 0xf4; out dx, al; 1: hlt; jmp 1b
    code += [0xB0, value, 0xBA] + Self.bytes(0xF4) + [0xEE, 0xF4, 0xEB, 0xFD]
  }

  /// Writes the kernel to a file.
  package func write(to path: String) throws {
    let load: UInt32 = 0x10_0000
    // Header (multiboot 0.6.96 §3.1): magic, flags with addresses, checksum, then header, load, load end, BSS
    // end and entry addresses.
    let flags: UInt32 = 1 << 16
    let header: [UInt32] = [0x1BAD_B002, flags, 0 &- 0x1BAD_B002 &- flags, load, load, 0, 0, load + 32]
    let stack: [UInt8] = [0xFA, 0xBC] + Self.bytes(0x8000)  // cli; mov esp, 0x8000
    try Data(header.flatMap(Self.bytes) + stack + code).write(to: URL(filePath: path))
  }
}
