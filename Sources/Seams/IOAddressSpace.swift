// SPDX-License-Identifier: Apache-2.0

/// An I/O address space. It contains all memory that its devices can reach by DMA.
public protocol IOAddressSpace: AnyObject, Sendable {
  /// True if windows are mapped by dma-buf, false if they are mapped by host virtual address.
  var needsDMABuffers: Bool { get }

  /// Returns the present limits of mappings.
  func limits() throws(OperationError) -> IOLimits

  /// Maps guest RAM for the devices and pins it.
  ///
  /// - Parameters:
  ///   - iova: The IOVA. In a VM it equals the GPA.
  ///   - size: The size in bytes.
  ///   - host: The host virtual address.
  ///   - other: An I/O address space that has the same mapping, or nil. The pinned pages are shared with it if the
  ///     interface can share them.
  func map(iova: UInt64, size: UInt64, host: UInt64, sharedWith other: Self?) throws(OperationError)

  /// Maps a window of a BAR for the devices.
  ///
  /// - Parameters:
  ///   - iova: The IOVA.
  ///   - size: The size in bytes.
  ///   - window: The window, in the form that ``needsDMABuffers`` states.
  func map(iova: UInt64, size: UInt64, window: WindowMemory) throws(OperationError)

  /// Removes all mappings in a range. No mapping may cross a boundary of the range.
  ///
  /// - Returns: The number of bytes that were mapped.
  func unmapAll(iova: UInt64, size: UInt64) throws(OperationError) -> UInt64
}

/// The memory of a window that an I/O address space maps.
public enum WindowMemory: Sendable, Equatable {
  /// The host virtual address of its first byte.
  case host(UInt64)
  /// The descriptor of a dma-buf that consists of the window.
  case dmaBuffer(Int32)
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
