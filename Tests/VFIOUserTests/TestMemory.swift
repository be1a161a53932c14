// SPDX-License-Identifier: Apache-2.0

import CLinux
import Linux
import VFIOUser

/// Memory of a client: a memfd at an IOVA.
final class TestMemory: Sendable {
  private let file: OwnedDescriptor
  /// The IOVAs.
  let range: IOVARange

  /// Creates memory of zeros.
  init(at address: UInt64 = 0x1000_0000, size: UInt64 = 1 << 22) throws {
    // SAFETY: the name is a literal that lives for the call.
    file = OwnedDescriptor(owning: try check(unsafe cl_memfd("memory", 0), "memfd_create"))
    try check(cl_truncate(file.number, Int64(size)), "ftruncate")
    range = IOVARange(address: address, size: size)
  }

  var number: Int32 { file.number }

  func read(_ address: UInt64, _ count: Int) -> [UInt8]? {
    guard range.contains(IOVARange(address: address, size: UInt64(count))) else { return nil }
    return try? file.read(count, at: address - range.address)
  }

  @discardableResult
  func write(_ address: UInt64, _ bytes: [UInt8]) -> Bool {
    guard range.contains(IOVARange(address: address, size: UInt64(bytes.count))) else { return false }
    return (try? writeBytes(file.number, bytes[...], at: address - range.address)) != nil
  }

  /// The memory for a connection.
  var handler: DMAMemory {
    DMAMemory(read: { self.read($0.address, Int($0.size)) }, write: { self.write($0, $1) })
  }
}
