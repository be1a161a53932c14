// SPDX-License-Identifier: Apache-2.0

/// An I/O address space: what the devices in it can reach by DMA.
public protocol IOAddressSpace: AnyObject, Sendable {
  /// Returns what can be mapped. The number of mappings is the number that can still be made.
  func limits() throws(OperationError) -> IOLimits

  /// Lets the devices reach host memory, and pins it if it is RAM.
  ///
  /// - Parameters:
  ///   - iova: The I/O address; the GPA in a VM.
  ///   - size: Bytes.
  ///   - host: Host virtual address.
  func map(iova: UInt64, size: UInt64, host: UInt64) throws(OperationError)

  /// Removes all mappings in a range, none of which may reach beyond it.
  ///
  /// - Returns: The bytes that were mapped.
  func unmapAll(iova: UInt64, size: UInt64) throws(OperationError) -> UInt64
}

/// The limits of an I/O address space.
public struct IOLimits: Sendable {
  /// The I/O addresses that the IOMMU translates, rising; empty if they are not known.
  public let ranges: [ClosedRange<UInt64>]
  /// The number of mappings that can still be made.
  public let mappings: Int

  /// Describes the limits.
  public init(ranges: [ClosedRange<UInt64>], mappings: Int) {
    self.ranges = ranges
    self.mappings = mappings
  }
}
