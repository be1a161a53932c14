// SPDX-License-Identifier: Apache-2.0

import CLinux
import Linux

/// Memory of a BAR that the client can map (memfd_create). Its size is sealed, so that the client cannot truncate it.
package final class SharedMemory {
  private let file: OwnedDescriptor
  private let mapping: Mapping

  /// The descriptor for the client.
  var number: Int32 { file.number }
  /// Bytes.
  let size: Int

  /// Creates memory of zeros.
  ///
  /// - Parameter size: Bytes; a multiple of the page size.
  init(size: Int) throws(KernelError) {
    // SAFETY: the name is a literal that lives for the call. The flag is MFD_ALLOW_SEALING.
    file = OwnedDescriptor(owning: try check(unsafe cl_memfd("bar", 2), "memfd_create"))
    try check(cl_truncate(file.number, Int64(size)), "ftruncate")
    try check(cl_seal_size(file.number), "fcntl F_ADD_SEALS")
    mapping = try Mapping(descriptor: file.number, offset: 0, size: UInt64(size))
    self.size = size
  }

  /// Reads bytes. The range is within the memory.
  func read(_ offset: Int, _ count: Int) -> [UInt8] {
    precondition(offset >= 0 && count >= 0 && count <= size - offset, "the range ends beyond the memory")
    // SAFETY: the range is within the mapping, whose size is sealed; the array has `count` bytes.
    return unsafe [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
      unsafe cl_copy_in(buffer.baseAddress, address(offset), count)
      initialized = count
    }
  }

  /// Writes bytes. The range is within the memory.
  package func write(_ offset: Int, _ bytes: [UInt8]) {
    precondition(offset >= 0 && bytes.count <= size - offset, "the range ends beyond the memory")
    // SAFETY: the range is within the mapping, whose size is sealed; the array has `count` bytes.
    unsafe bytes.withUnsafeBytes { unsafe cl_copy_out(mutableAddress(offset), $0.baseAddress, $0.count) }
  }

  /// Reads an aligned number of 4 bytes, little-endian, in one access.
  package func load32(_ offset: Int) -> UInt32 {
    precondition(offset >= 0 && offset % 4 == 0 && 4 <= size - offset, "the access is beyond the memory")
    // SAFETY: the range is within the mapping, whose size is sealed.
    return UInt32(truncatingIfNeeded: unsafe cl_load(address(offset), 4))
  }

  /// Sets all bytes to zero.
  func clear() { write(0, [UInt8](repeating: 0, count: size)) }

  private func address(_ offset: Int) -> UnsafeRawPointer? {
    unsafe UnsafeRawPointer(bitPattern: UInt(mapping.address) + UInt(offset))
  }

  private func mutableAddress(_ offset: Int) -> UnsafeMutableRawPointer? {
    unsafe UnsafeMutableRawPointer(bitPattern: UInt(mapping.address) + UInt(offset))
  }
}
