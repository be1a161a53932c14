// SPDX-License-Identifier: Apache-2.0

internal import Linux

/// A whole REGION_WRITE of up to 8 bytes that has no reply. It allocates no memory: each doorbell of a device is such a write.
struct PostedWrite {
  /// The header, the offset, the region with the count, and the data. The processor is little-endian, as the protocol.
  private let words: InlineArray<5, UInt64>
  /// The size of the message in bytes.
  let size: Int

  /// Creates a message.
  ///
  /// - Parameters:
  ///   - id: The ID.
  ///   - region: VFIO_PCI_*_REGION_INDEX.
  ///   - offset: Bytes from the start of the region.
  ///   - width: Bytes, 1 to 8.
  ///   - value: The value, of which the lower `width` bytes are written.
  init(id: UInt16, region: UInt32, offset: UInt64, width: Int, _ value: UInt64) {
    size = Header.size + RegionAccess.size + width
    let header = UInt64(id) | UInt64(Command.regionWrite.rawValue) << 16 | UInt64(size) << 32
    let flags = UInt64(Header.Kind.command.rawValue | Header.noReply)
    words = [header, flags, offset, UInt64(region) | UInt64(width) << 32, value]
  }

  /// Calls a closure with the bytes on the wire.
  func withBytes<Result>(
    _ body: (RawSpan) throws(KernelError) -> Result
  ) throws(KernelError) -> Result {
    // SAFETY: the words have no padding.
    try body(unsafe words.span.bytes.extracting(first: size))
  }

  /// Returns the bytes from an offset on.
  func bytes(from start: Int) -> [UInt8] {
    (start..<size).map { UInt8(truncatingIfNeeded: words[$0 / 8] >> UInt64(8 * ($0 % 8))) }
  }
}
