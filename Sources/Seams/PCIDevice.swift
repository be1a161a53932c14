// SPDX-License-Identifier: Apache-2.0

/// One PCI function of the host, or of another process, that a VM owns.
///
/// All calls may come from any thread. After ``close()`` every call that can throw throws.
public protocol PCIDevice: Sendable {
  /// The address on the host, such as `0000:01:00.0`. It names the device in every message.
  var address: String { get }
  /// True if ``reset()`` works.
  var hasReset: Bool { get }
  /// The functions that ``resetBus()`` resets, this one included; nil if the bus cannot be reset.
  var busResetScope: [ResetDependent]? { get }
  /// False after ``close()``.
  var isOpen: Bool { get }

  /// Returns a region, or nil if the device does not have it.
  ///
  /// - Parameter index: A number of ``RegionIndex``; 0 to 5 are the BARs.
  func region(_ index: Int) -> DeviceRegion?

  /// Reads 1, 2, 4 or 8 bytes of a region, little-endian. An aligned access of 8 bytes to a mapped area is one access.
  ///
  /// - Throws: EIO or EFAULT if the region's memory is disabled.
  func read(_ region: Int, offset: UInt64, width: Int) throws(OperationError) -> UInt64

  /// Writes 1, 2, 4 or 8 bytes of a region, little-endian. An aligned access of 8 bytes to a mapped area is one access.
  ///
  /// - Throws: EIO or EFAULT if the region's memory is disabled.
  func write(_ region: Int, offset: UInt64, width: Int, _ value: UInt64) throws(OperationError)

  /// Reads a region from its start, up to a number of bytes; fewer if the region is shorter.
  func readAll(_ region: Int, count: Int) throws(OperationError) -> [UInt8]

  /// Maps a mappable area of a BAR into this process until ``close()``. No page of it is faulted in.
  ///
  /// - Parameter area: Bytes from the start of the BAR; whole pages.
  /// - Returns: The host virtual address of the area.
  func map(_ region: Int, _ area: Range<UInt64>) throws(OperationError) -> UInt64

  /// Returns how a kind of interrupt can be delivered.
  func interruptInfo(_ kind: InterruptKind) -> InterruptInfo

  /// Turns a kind of interrupt on. Its vectors signal nothing yet.
  ///
  /// - Returns: The number of vectors: `count`, or fewer if the host has no more.
  func enableInterrupts(_ kind: InterruptKind, count: Int) throws(OperationError) -> Int

  /// Turns a kind of interrupt off.
  func disableInterrupts(_ kind: InterruptKind) throws(OperationError)

  /// Lets a vector signal an eventfd.
  func setTrigger(_ kind: InterruptKind, vector: Int, event: Int32) throws(OperationError)

  /// Lets an eventfd unmask INTx, which is masked when it signals.
  func setUnmask(event: Int32) throws(OperationError)

  /// Resets the function alone. This takes up to seconds.
  func reset() throws(OperationError)

  /// Resets all functions of ``busResetScope``.
  func resetBus() throws(OperationError)

  /// Unmaps the device and gives it back to its owner.
  func close()
}

/// Numbers of regions (VFIO_PCI_*_REGION_INDEX). BAR 0 to 5 have their own numbers.
public enum RegionIndex {
  /// The expansion ROM.
  public static let rom = 6
  /// Configuration space.
  public static let config = 7
}

/// A part of a device that is read and written by offset.
public struct DeviceRegion: Sendable {
  /// Bytes.
  public let size: UInt64
  /// The areas that can be mapped, in bytes from the start of the region; rising.
  public let mappable: [Range<UInt64>]

  /// Describes a region.
  public init(size: UInt64, mappable: [Range<UInt64>]) {
    self.size = size
    self.mappable = mappable
  }
}

/// A function that a bus reset resets.
public struct ResetDependent: Sendable, Equatable {
  /// The number of its IOMMU group.
  public let group: String
  /// Its address on the host.
  public let address: String
  /// True if this VM owns its group.
  public let isOwned: Bool

  /// Describes a function.
  public init(group: String, address: String, isOwned: Bool) {
    self.group = group
    self.address = address
    self.isOwned = isOwned
  }
}

/// A kind of interrupt or notification of a device (VFIO_PCI_*_IRQ_INDEX).
public enum InterruptKind: Sendable, Hashable, CaseIterable {
  /// The interrupt pin.
  case intx
  /// MSI.
  case msi
  /// MSI-X.
  case msix
  /// The host's kernel has met an error of the device (AER).
  case error
  /// The host's kernel wants the device back.
  case request
}

/// How one kind of interrupt can be delivered.
public struct InterruptInfo: Sendable {
  /// The number of vectors; 0 if the device does not have the kind.
  public let count: Int
  /// True if all vectors have to be allocated at once (VFIO_IRQ_INFO_NORESIZE).
  public let isFixed: Bool

  /// Describes a kind.
  public init(count: Int, isFixed: Bool) {
    self.count = count
    self.isFixed = isFixed
  }
}
