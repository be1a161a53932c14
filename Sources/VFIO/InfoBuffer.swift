// SPDX-License-Identifier: Apache-2.0

internal import Linux

/// The answer to an info request, with its chain of capabilities (struct vfio_info_cap_header).
struct InfoBuffer {
  private let bytes: [UInt8]

  /// Sends a request. Repeats it with a larger buffer if the kernel needs one.
  init(
    _ request: (UnsafeMutableRawBufferPointer) throws(KernelError) -> Int32
  ) throws(KernelError) {
    var size = 256
    while true {
      var answer = [UInt8](repeating: 0, count: size)
      var needed: Int32 = 0
      var failure: KernelError?
      // SAFETY: the buffer belongs to the array and lives for the call.
      unsafe answer.withUnsafeMutableBytes { buffer in
        do throws(KernelError) { needed = unsafe try request(buffer) } catch { failure = error }
      }
      if let failure { throw failure }
      if Int(needed) <= size {
        bytes = answer
        return
      }
      size = Int(needed)
    }
  }

  /// Returns a 32-bit field, or 0 beyond the answer.
  func word(_ offset: Int) -> UInt32 { UInt32(truncatingIfNeeded: number(offset, 4)) }

  /// Returns a 64-bit field, or 0 beyond the answer.
  func long(_ offset: Int) -> UInt64 { number(offset, 8) }

  private func number(_ offset: Int, _ width: Int) -> UInt64 {
    guard offset >= 0, offset + width <= bytes.count else { return 0 }
    return (0..<width).reduce(0) { $0 | UInt64(bytes[offset + $1]) << UInt64($1 * 8) }
  }

  /// Returns the offset of a capability, or nil if the chain does not have it. A circular chain also gives
  /// nil.
  func capability(_ id: UInt16, from first: UInt32) -> Int? {
    var at = Int(first)
    for _ in 0..<64 where at != 0 {
      if UInt16(truncatingIfNeeded: word(at)) == id { return at }
      at = Int(word(at + 4))
    }
    return nil
  }
}
