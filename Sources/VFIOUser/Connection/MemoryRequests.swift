// SPDX-License-Identifier: Apache-2.0

/// Requests about the memory that the server may access.
extension Connection {
  /// Grants the server access to a range of IOVAs (DMA_MAP). It has the access when this returns, and may have it
  /// before.
  ///
  /// - Parameters:
  ///   - range: The IOVAs.
  ///   - access: The access.
  ///   - descriptor: The file that contains the memory, or nil if the server shall use messages. A server may use
  ///     messages in either case.
  ///   - offset: The offset of the range in the file, in bytes.
  /// - Throws: EEXIST if the range overlaps a mapped range.
  public func map(
    _ range: IOVARange, _ access: DMAAccess = [.read, .write], descriptor: Int32? = nil, offset: UInt64 = 0
  ) throws(ConnectionError) {
    guard mapped.add(range, access) else {
      throw ConnectionError(name, .refused(.dmaMap, errno: Self.exists))
    }
    let body = DMAMap(access: access, offset: offset, range: range).encoded
    do throws(ConnectionError) {
      try requestWithoutBody(
        .dmaMap, body, descriptors: descriptor.map { [$0] } ?? [], within: configuration.quietDeadline)
    } catch {
      mapped.remove(range)
      throw error
    }
  }

  /// Revokes the access to a range that was mapped (DMA_UNMAP). The server does not use the memory after the reply. If
  /// the server refuses, it keeps the descriptor, and its messages are refused.
  ///
  /// - Parameter range: The IOVAs, or nil for all ranges.
  public func unmap(_ range: IOVARange?) throws(ConnectionError) {
    let body = DMAUnmap(range)
    defer { mapped.remove(range) }
    let reply = try request(
      .dmaUnmap, body.encoded, within: configuration.quietDeadline, as: DMAUnmap.self)
    guard reply == body else {
      throw end(malformed(.dmaUnmap, "address", reply.range?.address ?? 0))
    }
  }

  /// EEXIST (errno.h).
  private static let exists: UInt32 = 17
}
