// SPDX-License-Identifier: Apache-2.0

public import Linux
public import Seams
internal import Synchronization

/// A file whose mapping is guest RAM. A server maps the same file.
public struct RAMFile: Sendable {
  /// The host virtual addresses of the mapping.
  public let addresses: Range<UInt64>
  /// The file.
  public let file: SharedDescriptor
  /// The offset of the mapping in the file, in bytes.
  public let offset: UInt64

  /// Creates a description of a mapping.
  public init(addresses: Range<UInt64>, file: SharedDescriptor, offset: UInt64 = 0) {
    (self.addresses, self.file, self.offset) = (addresses, file, offset)
  }
}

/// The memory that the server of one device can access. It is guest RAM by descriptor.
///
/// A server ignores Bus Master Enable. The owner unmaps RAM while the device may not access it.
public final class RemoteAddressSpace: IOAddressSpace {
  /// Always false. Windows of devices are not mapped at all.
  public let needsDMABuffers = false

  private let connection: Connection
  private let ram: [RAMFile]
  /// The ranges that are mapped. Held by any thread for requests to the server, so that an unmap finds every range that
  /// is mapped. Inside it a thread takes the locks of the connection.
  private let ranges = Mutex<Set<IOVARange>>([])

  /// Creates an empty address space.
  ///
  /// - Parameters:
  ///   - connection: The connection to the device's server.
  ///   - ram: The files that contain guest RAM.
  public init(_ connection: Connection, ram: [RAMFile]) {
    self.connection = connection
    self.ram = ram
  }

  /// Returns no ranges, because a server has no IOMMU, and the number of mappings that the server still accepts.
  public func limits() throws(OperationError) -> IOLimits {
    let used = ranges.withLock { $0.count }
    return IOLimits(ranges: [], mappings: max(0, Int(clamping: connection.server.dmaMaps) - used))
  }

  /// Grants the server access to a piece of guest RAM. Nothing is pinned.
  ///
  /// - Parameters:
  ///   - iova: The IOVA, equal to the GPA.
  ///   - size: The size in bytes.
  ///   - host: The host virtual address, in one of the files.
  ///   - other: Ignored.
  public func map(
    iova: UInt64, size: UInt64, host: UInt64, sharedWith other: RemoteAddressSpace?
  ) throws(OperationError) {
    let range = IOVARange(address: iova, size: size)
    guard range.isValid,
      let file = ram.first(where: { $0.addresses.contains(host) && size <= $0.addresses.upperBound - host })
    else { throw OperationError("DMA_MAP \(size) bytes at \(iova.hexadecimal): no file contains the memory") }
    try ranges.withLock { ranges throws(OperationError) in
      do throws(ConnectionError) {
        try connection.map(
          range, descriptor: file.file.number, offset: file.offset + (host - file.addresses.lowerBound))
      } catch { throw OperationError(error) }
      ranges.insert(range)
    }
  }

  /// Throws an error: a window of a device has no descriptor that a server can map.
  public func map(iova: UInt64, size: UInt64, window: WindowMemory) throws(OperationError) {
    throw OperationError(
      "DMA_MAP \(size) bytes at \(iova.hexadecimal): a server cannot access the windows of other devices")
  }

  /// Revokes the access to all pieces in a range.
  ///
  /// - Returns: The number of bytes that were mapped. After the end of the connection the server may still have mapped
  ///   the memory.
  /// - Throws: An error if a piece crosses a boundary of the range, or if the server refuses. The earlier pieces are
  ///   unmapped.
  public func unmapAll(iova: UInt64, size: UInt64) throws(OperationError) -> UInt64 {
    let whole = IOVARange(address: iova, size: size)
    guard whole.isValid else { throw OperationError("DMA_UNMAP: invalid range at \(iova.hexadecimal)") }
    return try ranges.withLock { ranges throws(OperationError) in
      let pieces = ranges.filter { $0.overlaps(whole) }.sorted { $0.address < $1.address }
      guard pieces.allSatisfy(whole.contains) else {
        throw OperationError("DMA_UNMAP \(size) bytes at \(iova.hexadecimal): a mapping crosses the boundary")
      }
      var bytes: UInt64 = 0
      for piece in pieces {
        do throws(ConnectionError) { try connection.unmap(piece) } catch { throw OperationError(error) }
        ranges.remove(piece)
        bytes += piece.size
      }
      return bytes
    }
  }
}
