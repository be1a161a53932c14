// SPDX-License-Identifier: Apache-2.0

package import VFIOUser

/// The registers of a device, without configuration space, interrupts and the protocol. One thread calls all methods.
package protocol DeviceLogic: AnyObject {
  /// The layout of configuration space.
  var identity: FunctionIdentity { get }
  /// The BARs.
  var bars: [BARLayout] { get }
  /// The expansion ROM; empty for none.
  var rom: [UInt8] { get }

  /// Reads bytes of a BAR. The range is within the BAR, and is not mappable memory.
  func read(bar: Int, _ offset: Int, _ count: Int) -> [UInt8]
  /// Writes bytes of a BAR. The range is within the BAR, and is not mappable memory.
  func write(bar: Int, _ offset: Int, _ bytes: [UInt8], _ port: some DevicePort)
  /// Stores the mappable memory of the BARs. It is called once.
  func attach(_ memory: [Int: SharedMemory])
  /// Performs work that does not belong to a message. The server calls it after each reply, and in intervals while a
  /// BAR has mapped doorbells. Returns true if there was work.
  func work(_ port: some DevicePort) -> Bool
  /// Resets the device.
  func reset()
  /// Writes all data to storage.
  func flush()
}

/// The outside of a device: the client's memory, and interrupts.
package protocol DevicePort: AnyObject {
  /// Reads memory at an IOVA by DMA. Returns nil if Bus Master is off or the client refuses.
  func read(_ range: IOVARange) -> [UInt8]?
  /// Writes memory at an IOVA by DMA. Returns false if Bus Master is off or the client refuses.
  func write(_ address: UInt64, _ bytes: [UInt8]) -> Bool
  /// Signals a vector of MSI-X or MSI, or asserts INTx.
  func signal(_ vector: Int)
  /// Deasserts INTx.
  func deassert()
}

/// The identity of a function, and its interrupts.
package struct FunctionIdentity {
  var vendor: UInt16
  var device: UInt16
  /// The class code: class, subclass, interface.
  var classCode: UInt32
  /// The number of MSI vectors, 0 or a power of two up to 32.
  var msiVectors: Int
  /// The MSI-X table, or nil for none.
  var msix: MSIXLayout?

  /// Creates an identity.
  package init(vendor: UInt16, device: UInt16, classCode: UInt32, msiVectors: Int, msix: MSIXLayout?) {
    (self.vendor, self.device, self.classCode) = (vendor, device, classCode)
    (self.msiVectors, self.msix) = (msiVectors, msix)
  }
}

/// The location of an MSI-X table. The pending bits follow it at the next page.
package struct MSIXLayout {
  var bar: Int
  var offset: Int
  var vectors: Int

  /// Creates a location.
  package init(bar: Int, offset: Int, vectors: Int) {
    (self.bar, self.offset, self.vectors) = (bar, offset, vectors)
  }

  /// The offset of the pending bits.
  var pendingOffset: Int { (offset + 16 * vectors + 4095) & ~4095 }
}

/// A memory BAR.
package struct BARLayout {
  var index: Int
  /// Bytes; a power of two.
  var size: Int
  var is64Bit: Bool
  var isPrefetchable: Bool
  /// The parts that the client can map, in bytes from the start of the BAR.
  var mappable: [Range<Int>]

  /// Creates a BAR.
  package init(
    index: Int, size: Int, is64Bit: Bool = false, isPrefetchable: Bool = false, mappable: [Range<Int>] = []
  ) {
    (self.index, self.size, self.is64Bit) = (index, size, is64Bit)
    (self.isPrefetchable, self.mappable) = (isPrefetchable, mappable)
  }
}
