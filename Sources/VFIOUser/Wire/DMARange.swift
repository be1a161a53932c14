// SPDX-License-Identifier: Apache-2.0

/// The access that the server has to a range of IOVAs. The raw values are the flags of DMA_MAP.
public struct DMAAccess: OptionSet, Sendable {
  /// The flags.
  public let rawValue: UInt32

  /// Creates a set from flags.
  public init(rawValue: UInt32) { self.rawValue = rawValue }

  /// The server may read.
  public static let read = DMAAccess(rawValue: 1)
  /// The server may write.
  public static let write = DMAAccess(rawValue: 2)
  /// The descriptor can be mapped (libvfio-user).
  public static let mappable = DMAAccess(rawValue: 4)
  /// The descriptor is accessed by reads and writes of the file (libvfio-user).
  public static let file = DMAAccess(rawValue: 8)
}

/// A range of IOVAs.
public struct IOVARange: Hashable, Sendable {
  /// The IOVA of the first byte.
  public var address: UInt64
  /// Bytes.
  public var size: UInt64

  /// Creates a range.
  public init(address: UInt64, size: UInt64) { (self.address, self.size) = (address, size) }

  /// True if the range has a byte and ends below 2^64.
  public var isValid: Bool { size > 0 && !address.addingReportingOverflow(size - 1).overflow }

  /// True if the range contains all bytes of another valid range.
  public func contains(_ other: IOVARange) -> Bool {
    other.address >= address && other.address - address < size
      && other.size <= size - (other.address - address)
  }

  /// True if two valid ranges have a byte in common.
  public func overlaps(_ other: IOVARange) -> Bool {
    other.address >= address ? other.address - address < size : address - other.address < other.size
  }
}

/// The body of DMA_MAP: 32 bytes. A descriptor is optional.
public struct DMAMap: Body {
  static let size = 32
  private static let known: DMAAccess = [.read, .write, .mappable, .file]

  /// The access that the server has.
  public var access: DMAAccess
  /// The offset of the range in the descriptor's file, in bytes.
  public var offset: UInt64
  /// The IOVAs.
  public var range: IOVARange

  /// Creates a request.
  public init(access: DMAAccess, offset: UInt64, range: IOVARange) {
    (self.access, self.offset, self.range) = (access, offset, range)
  }

  /// Parses a body. The range must end below 2^64, and its part of the file below 2^63.
  public init(parsing bytes: ArraySlice<UInt8>) throws(MessageError) {
    let name = Command.dmaMap.description
    try bytes.requireSize(Self.size, name)
    var reader = FieldReader(bytes, name)
    try reader.takeArgumentSize(atLeast: Self.size, name)
    access = DMAAccess(rawValue: try reader.take())
    guard access.isSubset(of: Self.known) else {
      throw MessageError(name, .value("flags", UInt64(access.rawValue)))
    }
    offset = try reader.take()
    range = IOVARange(address: try reader.take(), size: try reader.take())
    guard range.isValid else { throw MessageError(name, .range(start: range.address, size: range.size)) }
    guard offset <= UInt64(Int64.max), range.size <= UInt64(Int64.max) - offset else {
      throw MessageError(name, .range(start: offset, size: range.size))
    }
  }

  /// The bytes on the wire.
  public var encoded: [UInt8] {
    var bytes: [UInt8] = []
    bytes.append(field: UInt32(Self.size))
    bytes.append(field: access.rawValue)
    bytes.append(field: offset)
    bytes.append(field: range.address)
    bytes.append(field: range.size)
    return bytes
  }
}

/// The body of DMA_UNMAP and of its reply: 24 bytes.
public struct DMAUnmap: Body {
  static let size = 24
  private static let all: UInt32 = 2

  /// A range that was mapped, or nil for all ranges (VFIO_DMA_UNMAP_FLAG_ALL).
  public var range: IOVARange?

  /// Creates a request.
  public init(_ range: IOVARange?) { self.range = range }

  /// Parses a body. A request for a bitmap of dirty pages is an error.
  public init(parsing bytes: ArraySlice<UInt8>) throws(MessageError) {
    let name = Command.dmaUnmap.description
    try bytes.requireSize(Self.size, name)
    var reader = FieldReader(bytes, name)
    try reader.takeArgumentSize(atLeast: Self.size, name)
    let flags: UInt32 = try reader.take()
    let range = IOVARange(address: try reader.take(), size: try reader.take())
    let isEmpty = range == IOVARange(address: 0, size: 0)
    guard flags == Self.all ? isEmpty : range.isValid else {
      throw MessageError(name, .range(start: range.address, size: range.size))
    }
    switch flags {
    case 0: self.range = range
    case Self.all: self.range = nil
    default: throw MessageError(name, .value("flags", UInt64(flags)))
    }
  }

  /// The bytes on the wire.
  public var encoded: [UInt8] {
    var bytes: [UInt8] = []
    bytes.append(field: UInt32(Self.size))
    bytes.append(field: range == nil ? Self.all : 0)
    bytes.append(field: range?.address ?? 0)
    bytes.append(field: range?.size ?? 0)
    return bytes
  }
}

extension FieldReader {
  /// Reads `argsz`, the size that the sender has for the reply, in bytes.
  @discardableResult
  mutating func takeArgumentSize(atLeast least: Int, _ name: String) throws(MessageError) -> UInt32 {
    let size: UInt32 = try take()
    guard size >= least else { throw MessageError(name, .value("argsz", UInt64(size))) }
    return size
  }
}
