// SPDX-License-Identifier: Apache-2.0

/// A PCI function of the host or of another process. One VM owns it.
///
/// Any thread may call any method. After ``close()`` every throwing method throws.
public protocol PCIDevice: Sendable {
  /// The address on the host, such as `0000:01:00.0`. Every message about the device contains it.
  var address: String { get }
  /// True if ``reset()`` is supported.
  var hasReset: Bool { get }
  /// The functions that ``resetBus()`` resets, including this function, or nil if the bus cannot be reset.
  var busResetScope: [ResetDependent]? { get }
  /// False after ``close()``.
  var isOpen: Bool { get }
  /// The cause if the process of the device has ended or has broken the protocol, or nil. The device no longer answers.
  var loss: OperationError? { get }

  /// Returns a region, or nil if the device has no such region.
  ///
  /// - Parameter index: An index of ``RegionIndex``, or 0 to 5 for a BAR.
  func region(_ index: Int) -> DeviceRegion?

  /// Reads 1, 2, 4 or 8 bytes of a region, little-endian. An aligned 8-byte read of a mapped area is one
  /// access.
  ///
  /// - Throws: EIO or EFAULT if the region's memory is disabled.
  func read(_ region: Int, offset: UInt64, width: Int) throws(OperationError) -> UInt64

  /// Writes 1, 2, 4 or 8 bytes of a region, little-endian. An aligned 8-byte write to a mapped area is one
  /// access.
  ///
  /// - Throws: EIO or EFAULT if the region's memory is disabled.
  func write(_ region: Int, offset: UInt64, width: Int, _ value: UInt64) throws(OperationError)

  /// Reads up to `count` bytes from the start of a region. Returns fewer bytes if the region is shorter.
  func readAll(_ region: Int, count: Int) throws(OperationError) -> [UInt8]

  /// Maps a mappable area of a BAR into this process until ``close()``. It does not fault in any page.
  ///
  /// - Parameters:
  ///   - region: The index of the BAR, 0 to 5.
  ///   - area: The bytes from the start of the BAR, in whole pages.
  /// - Returns: The host virtual address of the area.
  func map(_ region: Int, _ area: Range<UInt64>) throws(OperationError) -> UInt64

  /// Returns the descriptor of a dma-buf that consists of a range of a BAR. The device owns the descriptor, which is
  /// valid until the next call of this method or until ``close()``.
  ///
  /// - Parameters:
  ///   - region: The index of the BAR, 0 to 5.
  ///   - range: The bytes from the start of the BAR, in whole pages.
  func dmaBuffer(_ region: Int, _ range: Range<UInt64>) throws(OperationError) -> Int32

  /// Returns the host's support for a kind of interrupt.
  func interruptInfo(_ kind: InterruptKind) -> InterruptInfo

  /// Enables a kind of interrupt. No vector has a trigger yet.
  ///
  /// - Returns: The number of vectors. It is less than `count` if the host has fewer vectors.
  func enableInterrupts(_ kind: InterruptKind, count: Int) throws(OperationError) -> Int

  /// Disables a kind of interrupt.
  func disableInterrupts(_ kind: InterruptKind) throws(OperationError)

  /// Sets an eventfd as the trigger of a vector.
  func setTrigger(_ kind: InterruptKind, vector: Int, event: Int32) throws(OperationError)

  /// Sets the eventfd that unmasks INTx. INTx is masked from its own signal until this eventfd is signalled.
  func setUnmask(event: Int32) throws(OperationError)

  /// Resets only this function. The reset can take seconds.
  func reset() throws(OperationError)

  /// Resets all functions of ``busResetScope``.
  func resetBus() throws(OperationError)

  /// Closes the device and opens it again, so that its registers have the values of the first open. The mappings keep their
  /// addresses. Every interrupt and every notification is off. The device stays closed after an error.
  func reopen() throws(OperationError)

  /// Unmaps the device and releases it to its owner.
  func close()
}

extension PCIDevice {
  /// Nil: a device of the host's kernel has no process. The kernel reports its errors.
  public var loss: OperationError? { nil }
}

/// The indices of regions (VFIO_PCI_*_REGION_INDEX). The indices 0 to 5 are the BARs.
public enum RegionIndex {
  /// The expansion ROM.
  public static let rom = 6
  /// Configuration space.
  public static let config = 7
}

/// A part of a device that is accessed by offset.
public struct DeviceRegion: Sendable {
  /// The size in bytes.
  public let size: UInt64
  /// The mappable areas, in bytes from the start of the region, in ascending order.
  public let mappable: [Range<UInt64>]

  /// Creates a region.
  public init(size: UInt64, mappable: [Range<UInt64>]) {
    self.size = size
    self.mappable = mappable
  }
}

/// A function that a bus reset affects.
public struct ResetDependent: Sendable, Equatable {
  /// The number of its IOMMU group.
  public let group: String
  /// The address on the host.
  public let address: String
  /// True if this VM owns the group.
  public let isOwned: Bool

  /// Creates a description of a function.
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
  /// The host's kernel reports an error of the device (AER).
  case error
  /// The host's kernel requests the release of the device.
  case request
}

/// The host's support for one kind of interrupt.
public struct InterruptInfo: Sendable {
  /// The number of vectors, or 0 if the device does not support the kind.
  public let count: Int
  /// True if all vectors must be allocated at once (VFIO_IRQ_INFO_NORESIZE).
  public let isFixed: Bool

  /// Creates a description of a kind.
  public init(count: Int, isFixed: Bool) {
    self.count = count
    self.isFixed = isFixed
  }
}
