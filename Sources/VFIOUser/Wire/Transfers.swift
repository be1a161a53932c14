// SPDX-License-Identifier: Apache-2.0

/// The body of REGION_READ, REGION_WRITE and their replies: 16 bytes and data. The request to read and the reply to a
/// write have no data.
public struct RegionAccess: Body {
  static let size = 16

  /// Bytes from the start of the region.
  public var offset: UInt64
  /// VFIO_PCI_*_REGION_INDEX.
  public var region: UInt32
  /// The number of bytes to read or write.
  public var count: UInt32
  /// The bytes that are written, or that were read.
  public var data: [UInt8]

  /// Creates a body without data.
  public init(region: UInt32, offset: UInt64, count: UInt32) {
    (self.region, self.offset, self.count, data) = (region, offset, count, [])
  }

  /// Creates a body with data.
  public init(region: UInt32, offset: UInt64, data: [UInt8]) {
    (self.region, self.offset, count, self.data) = (region, offset, UInt32(clamping: data.count), data)
  }

  /// Parses a body. The data is absent, or has `count` bytes. The bytes end below 2^64.
  public init(parsing bytes: ArraySlice<UInt8>) throws(MessageError) {
    var reader = FieldReader(bytes, "region access")
    offset = try reader.take()
    region = try reader.take()
    count = try reader.take()
    data = Array(reader.remainder)
    if !data.isEmpty { try reader.remainder.requireSize(Int(count), "region access") }
    guard !offset.addingReportingOverflow(UInt64(count)).overflow else {
      throw MessageError("region access", .range(start: offset, size: UInt64(count)))
    }
  }

  /// The bytes on the wire.
  public var encoded: [UInt8] {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(Self.size + data.count)
    bytes.append(field: offset)
    bytes.append(field: region)
    bytes.append(field: count)
    bytes += data
    return bytes
  }
}

/// The body of DMA_READ, DMA_WRITE and their replies: 16 bytes and data. The request to read and the reply to a write
/// have no data.
public struct DMATransfer: Body {
  static let size = 16

  /// The IOVAs.
  public var range: IOVARange
  /// The bytes that are written, or that were read.
  public var data: [UInt8]

  /// Creates a body without data.
  public init(_ range: IOVARange) { (self.range, data) = (range, []) }

  /// Creates a body with data.
  public init(address: UInt64, data: [UInt8]) {
    (range, self.data) = (IOVARange(address: address, size: UInt64(data.count)), data)
  }

  /// Parses a body. The data is absent, or has the size of the range. The range has a byte and ends below 2^64.
  public init(parsing bytes: ArraySlice<UInt8>) throws(MessageError) {
    var reader = FieldReader(bytes, "DMA transfer")
    range = IOVARange(address: try reader.take(), size: try reader.take())
    data = Array(reader.remainder)
    guard range.isValid else {
      throw MessageError("DMA transfer", .range(start: range.address, size: range.size))
    }
    if !data.isEmpty { try reader.remainder.requireSize(Int(clamping: range.size), "DMA transfer") }
  }

  /// The bytes on the wire.
  public var encoded: [UInt8] {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(Self.size + data.count)
    bytes.append(field: range.address)
    bytes.append(field: range.size)
    return bytes + data
  }
}
