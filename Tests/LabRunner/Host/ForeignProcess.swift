// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Another process. The type forces it to unmap memory through ptrace(2).
///
/// No host does this. In the lab it is the only method to remove guest RAM of a running VM.
struct ForeignProcess {
  private typealias Trace = @convention(c) (Int32, Int32, UInt, UInt) -> Int

  /// Requests of <sys/ptrace.h>.
  private enum Request {
    static let step: Int32 = 9
    static let registers: Int32 = 12
    static let setRegisters: Int32 = 13
    static let attach: Int32 = 16
    static let detach: Int32 = 17
  }

  /// Indices in `struct user_regs_struct`.
  private enum Register {
    static let (rax, rsi, rdi, call, rip) = (10, 13, 14, 15, 16)
    static let count = 27
  }

  let id: Int32
  private let trace: Trace

  init(_ id: Int32) throws {
    guard let symbol = unsafe dlsym(nil, "ptrace") else { throw Skipped("the C library has no ptrace") }
    self.id = id
    // SAFETY: ptrace takes its arguments in registers, variadic or not.
    trace = unsafe unsafeBitCast(symbol, to: Trace.self)
  }

  /// Returns the address of the only mapping of this size in bytes.
  func mapping(of size: UInt) throws -> UInt {
    let maps = try String(contentsOfFile: "/proc/\(id)/maps", encoding: .utf8)
    let found = maps.split(separator: "\n").compactMap { line -> UInt? in
      let range = line.prefix { $0 != " " }.split(separator: "-").compactMap { UInt($0, radix: 16) }
      return range.count == 2 && range[1] - range[0] == size ? range[0] : nil
    }
    guard found.count == 1 else {
      throw Failed("process \(id): \(found.count) mappings of \(size) bytes, expected 1")
    }
    return found[0]
  }

  /// Forces the first thread to call munmap(2), and then returns it to the system call in which it waits.
  func unmap(_ address: UInt, size: UInt) throws {
    try call(Request.attach, 0)
    try wait()
    let saved = try registers()
    var changed = saved
    // The instruction before the program counter made the system call in which the thread waits.
    changed[Register.rip] -= 2
    changed[Register.rax] = 11
    changed[Register.rdi] = address
    changed[Register.rsi] = size
    changed[Register.call] = .max
    try set(changed)
    try call(Request.step, 0)
    try wait()
    let result = try registers()[Register.rax]
    try set(saved)
    try call(Request.detach, 0)
    guard result == 0 else { throw Failed("munmap: \(Int(bitPattern: result))") }
  }

  private func call(_ request: Int32, _ data: UInt) throws {
    guard trace(request, id, 0, data) == 0 else { throw Failed("ptrace request \(request): errno \(errno)") }
  }

  private func wait() throws {
    var status: Int32 = 0
    let all: Int32 = 0x4000_0000  // __WALL
    guard unsafe waitpid(id, &status, all) == id, status & 0xff == 0x7f else {
      throw Failed("process \(id) did not stop: status \(status)")
    }
  }

  private func registers() throws -> [UInt] {
    var values = [UInt](repeating: 0, count: Register.count)
    // SAFETY: the array is as large as `struct user_regs_struct`.
    try unsafe values.withUnsafeMutableBytes { bytes in
      try call(Request.registers, UInt(bitPattern: bytes.baseAddress))
    }
    return values
  }

  private func set(_ values: [UInt]) throws {
    // SAFETY: as above.
    try unsafe values.withUnsafeBytes { bytes in
      try call(Request.setRegisters, UInt(bitPattern: bytes.baseAddress))
    }
  }
}
