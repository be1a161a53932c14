// SPDX-License-Identifier: Apache-2.0

import Foundation

/// An x86-64 ELF program, and the file offsets of its functions.
struct ProgramFile {
  let path: String
  private var bytes: Data
  /// The same program with its symbols. Its layout is the same.
  private let symbols: URL

  init(_ file: URL, symbols: URL) throws {
    path = file.path
    bytes = try Data(contentsOf: file)
    self.symbols = symbols
    guard bytes.starts(with: [0x7F] + "ELF".utf8) else { throw Failed("\(file.path): not an ELF file") }
  }

  private func number<Value: FixedWidthInteger>(_ type: Value.Type, at offset: Int) -> Int {
    let field = bytes.dropFirst(offset).prefix(Value.bitWidth / 8)
    return field.reversed().reduce(0) { $0 << 8 | Int($1) }
  }

  /// Returns the offset of a function in the file, in bytes (Elf64_Ehdr, Elf64_Phdr).
  func offset(of function: String) throws -> Int {
    let names = try Command.output(["nm", "--defined-only", symbols.path])
    let line = names.split(separator: "\n").first { $0.split(separator: " ").last == function[...] }
    guard let line, let address = Int(line.prefix { $0 != " " }, radix: 16) else {
      throw Failed("\(symbols.path): function '\(function)': not found")
    }
    let (table, size) = (number(UInt64.self, at: 32), number(UInt16.self, at: 54))
    let headers = (0..<number(UInt16.self, at: 56)).map { table + $0 * size }
    // PT_LOAD.
    for header in headers where number(UInt32.self, at: header) == 1 {
      let (offset, start) = (number(UInt64.self, at: header + 8), number(UInt64.self, at: header + 16))
      let length = number(UInt64.self, at: header + 32)
      if address >= start, address < start + length { return address - start + offset }
    }
    throw Failed("\(symbols.path): function '\(function)': not in any segment")
  }

  /// Replaces the code of a function, so that it ends the process at once.
  mutating func end(at function: String) throws {
    // mov $60, %eax (exit); xor %edi, %edi; syscall
    let code: [UInt8] = [0xB8, 60, 0, 0, 0, 0x31, 0xFF, 0x0F, 0x05]
    let offset = try offset(of: function)
    bytes.replaceSubrange(offset..<offset + code.count, with: code)
  }

  /// Writes the program as an executable file.
  func write(to file: URL) throws {
    try bytes.write(to: file)
    try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: file.path)
  }
}
