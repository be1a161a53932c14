// SPDX-License-Identifier: Apache-2.0

/// An I/O address space. It contains all memory that its devices can reach by DMA.
public protocol IOAddressSpace: AnyObject, Sendable {
  /// Returns the present limits of mappings.
  func limits() throws(OperationError) -> IOLimits

  /// Maps host memory for the devices and pins it if it is RAM.
  ///
  /// - Parameters:
  ///   - iova: The IOVA. In a VM it equals the GPA.
  ///   - size: The size in bytes.
  ///   - host: The host virtual address.
  func map(iova: UInt64, size: UInt64, host: UInt64) throws(OperationError)

  /// Removes all mappings in a range. No mapping may cross a boundary of the range.
  ///
  /// - Returns: The number of bytes that were mapped.
  func unmapAll(iova: UInt64, size: UInt64) throws(OperationError) -> UInt64
}

/// The limits of an I/O address space.
public struct IOLimits: Sendable {
  /// The IOVAs that the IOMMU translates, in ascending order. It is empty if they are unknown.
  public let ranges: [ClosedRange<UInt64>]
  /// The number of mappings that can still be created.
  public let mappings: Int

  /// Creates limits.
  public init(ranges: [ClosedRange<UInt64>], mappings: Int) {
    self.ranges = ranges
    self.mappings = mappings
  }
}
