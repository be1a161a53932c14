// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

/// The memory that the server reads and writes by DMA_READ and DMA_WRITE. The connection calls it only for IOVAs that
/// are mapped with the access.
///
/// The thread that receives the server's commands calls it with a lock of the connection held. It must not use the
/// connection.
public struct DMAMemory: Sendable {
  /// Returns bytes at an IOVA, or nil if some of them are not memory.
  let read: @Sendable (_ range: IOVARange) -> [UInt8]?
  /// Writes bytes at an IOVA. Returns false if some of them are not memory.
  let write: @Sendable (_ address: UInt64, _ bytes: [UInt8]) -> Bool

  /// Creates memory.
  ///
  /// - Parameters:
  ///   - read: Returns bytes at an IOVA, or nil if some of them are not memory.
  ///   - write: Writes bytes at an IOVA. Returns false if some of them are not memory.
  public init(
    read: @escaping @Sendable (_ range: IOVARange) -> [UInt8]?,
    write: @escaping @Sendable (_ address: UInt64, _ bytes: [UInt8]) -> Bool
  ) {
    self.read = read
    self.write = write
  }
}

/// The ranges of IOVAs that the server may access. They do not overlap.
final class MappedRanges: Sendable {
  /// Taken by any thread for a short time. No lock is taken inside it.
  private let ranges = Mutex<[IOVARange: DMAAccess]>([:])

  /// Adds a range. Returns false if it overlaps another range.
  func add(_ range: IOVARange, _ access: DMAAccess) -> Bool {
    ranges.withLock { ranges in
      guard !ranges.keys.contains(where: { $0.overlaps(range) }) else { return false }
      ranges[range] = access
      return true
    }
  }

  /// Removes a range, or all ranges.
  func remove(_ range: IOVARange?) {
    ranges.withLock { ranges in
      if let range { ranges[range] = nil } else { ranges = [:] }
    }
  }

  /// True if the server has an access to every byte of a range. Several adjacent ranges may contain it.
  func permits(_ access: DMAAccess, _ range: IOVARange) -> Bool {
    ranges.withLock { ranges in
      var rest = range
      while true {
        let first = IOVARange(address: rest.address, size: 1)
        guard
          let one = ranges.first(where: { $0.key.contains(first) && $0.value.isSuperset(of: access) })?.key
        else { return false }
        let covered = one.size - (rest.address - one.address)
        if covered >= rest.size { return true }
        rest = IOVARange(address: rest.address + covered, size: rest.size - covered)
      }
    }
  }

  /// The number of ranges.
  var count: Int { ranges.withLock { $0.count } }
}
