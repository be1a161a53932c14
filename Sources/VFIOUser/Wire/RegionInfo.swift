// SPDX-License-Identifier: Apache-2.0

/// The body of DEVICE_GET_REGION_INFO: 32 bytes.
public struct RegionInfoRequest: Body {
  /// The maximum size of the reply's body, in bytes.
  public var argumentSize: UInt32
  /// VFIO_PCI_*_REGION_INDEX.
  public var index: UInt32

  /// Creates a request.
  public init(index: UInt32, argumentSize: UInt32 = UInt32(RegionInfo.size)) {
    (self.argumentSize, self.index) = (argumentSize, index)
  }

  /// Parses a body. The fields of the reply are ignored, and bytes after them: libvfio-user's client sends room for
  /// the capabilities.
  public init(parsing bytes: ArraySlice<UInt8>) throws(MessageError) {
    let name = Command.regionInfo.description
    guard RegionInfo.size...RegionInfo.mostBytes ~= bytes.count else {
      throw MessageError(name, .size(bytes.count, expected: RegionInfo.size...RegionInfo.mostBytes))
    }
    var reader = FieldReader(bytes, name)
    argumentSize = try reader.takeArgumentSize(atLeast: RegionInfo.size, name)
    try reader.skip(4)
    index = try reader.take()
  }

  /// The bytes on the wire.
  public var encoded: [UInt8] {
    var bytes: [UInt8] = []
    for field in [argumentSize, 0, index, 0] { bytes.append(field: field) }
    return bytes + [UInt8](repeating: 0, count: 16)
  }
}

/// The body of the reply to DEVICE_GET_REGION_INFO: 32 bytes and capabilities (struct vfio_region_info). A mappable
/// region has a descriptor.
public struct RegionInfo: Body {
  /// The size without capabilities, in bytes.
  public static let size = 32
  /// The maximum number of areas that a message may have.
  public static let mostAreas = 256
  /// The maximum size with a sparse-mmap capability, in bytes.
  static let mostBytes = size + 16 + 16 * mostAreas
  private static let sparseID: UInt16 = 1
  private static let capabilityFlag: UInt32 = 8

  /// The properties of a region (VFIO_REGION_INFO_FLAG_*), without the flag of capabilities.
  public struct Flags: OptionSet, Sendable {
    /// The flags.
    public let rawValue: UInt32

    /// Creates a set from flags.
    public init(rawValue: UInt32) { self.rawValue = rawValue }

    /// The region can be read.
    public static let read = Flags(rawValue: 1)
    /// The region can be written.
    public static let write = Flags(rawValue: 2)
    /// The region can be mapped.
    public static let mappable = Flags(rawValue: 4)
  }

  /// A mappable area of a region.
  public struct Area: Equatable, Sendable {
    /// Bytes from the start of the region.
    public var offset: UInt64
    /// Bytes; not zero.
    public var size: UInt64

    /// Creates an area.
    public init(offset: UInt64, size: UInt64) { (self.offset, self.size) = (offset, size) }
  }

  /// The properties.
  public var flags: Flags
  /// VFIO_PCI_*_REGION_INDEX.
  public var index: UInt32
  /// The size of the region, in bytes. 0 if the device does not have the region.
  public var regionSize: UInt64
  /// The offset of the region in the descriptor's file, in bytes.
  public var fileOffset: UInt64
  /// The mappable areas of the sparse-mmap capability, without overlaps. Nil if the reply has no such capability: a
  /// mappable region is then mappable as a whole.
  public var areas: [Area]?

  /// Creates a reply.
  public init(flags: Flags, index: UInt32, regionSize: UInt64, fileOffset: UInt64 = 0, areas: [Area]? = nil) {
    (self.flags, self.index, self.regionSize) = (flags, index, regionSize)
    (self.fileOffset, self.areas) = (fileOffset, areas)
  }

  /// Returns the size that a whole reply needs, in bytes: `argsz` of a reply, which can be larger than the reply.
  static func neededSize(_ bytes: ArraySlice<UInt8>) throws(MessageError) -> Int {
    var reader = FieldReader(bytes, Command.regionInfo.description)
    return Int(try reader.takeArgumentSize(atLeast: Self.size, Command.regionInfo.description))
  }

  /// Parses a whole reply. Unknown capabilities are skipped.
  public init(parsing bytes: ArraySlice<UInt8>) throws(MessageError) {
    let name = Command.regionInfo.description
    var reader = FieldReader(bytes, name)
    try reader.takeArgumentSize(atLeast: Self.size, name)
    let word: UInt32 = try reader.take()
    flags = Flags(rawValue: word & ~Self.capabilityFlag)
    index = try reader.take()
    let first: UInt32 = try reader.take()
    regionSize = try reader.take()
    fileOffset = try reader.take()
    guard regionSize <= UInt64(Int64.max), fileOffset <= UInt64(Int64.max) - regionSize else {
      throw MessageError(name, .range(start: fileOffset, size: regionSize))
    }
    areas = nil
    guard word & Self.capabilityFlag != 0 else {
      try bytes.requireSize(Self.size, name)
      return
    }
    areas = try Self.areas(in: bytes, from: first, regionSize: regionSize)
  }

  /// Finds the sparse-mmap capability in the chain (struct vfio_info_cap_header). The offsets count from the start of
  /// the body. A chain that is circular or leaves the body is an error.
  private static func areas(
    in bytes: ArraySlice<UInt8>, from first: UInt32, regionSize: UInt64
  ) throws(MessageError) -> [Area]? {
    let name = Command.regionInfo.description
    var at = Int(first)
    while at != 0 {
      guard at >= Self.size, at <= bytes.count - 8 else {
        throw MessageError(name, .value("capability offset", UInt64(at)))
      }
      var reader = FieldReader(bytes.dropFirst(at), name)
      let id: UInt16 = try reader.take()
      try reader.skip(2)
      let next = Int(try reader.take(UInt32.self))
      if id == Self.sparseID { return try areas(&reader, regionSize: regionSize) }
      guard next == 0 || next > at else {
        throw MessageError(name, .value("capability offset", UInt64(next)))
      }
      at = next
    }
    return nil
  }

  /// Reads the areas of a sparse-mmap capability (struct vfio_region_info_cap_sparse_mmap).
  private static func areas(_ reader: inout FieldReader, regionSize: UInt64) throws(MessageError) -> [Area] {
    let name = Command.regionInfo.description
    let count: UInt32 = try reader.take()
    try reader.skip(4)
    guard count <= Self.mostAreas else { throw MessageError(name, .value("number of areas", UInt64(count))) }
    var areas: [Area] = []
    for _ in 0..<count {
      let area = Area(offset: try reader.take(), size: try reader.take())
      guard area.size > 0, area.offset <= regionSize, area.size <= regionSize - area.offset else {
        throw MessageError(name, .range(start: area.offset, size: area.size))
      }
      areas.append(area)
    }
    let sorted = areas.sorted { $0.offset < $1.offset }
    for (one, next) in zip(sorted, sorted.dropFirst()) where one.offset + one.size > next.offset {
      throw MessageError(name, .range(start: next.offset, size: next.size))
    }
    return areas
  }

  /// The bytes on the wire.
  public var encoded: [UInt8] {
    var tail: [UInt8] = []
    if let areas {
      tail.append(field: Self.sparseID)
      tail.append(field: UInt16(1))  // version
      tail.append(field: UInt32(0))  // no next capability
      tail.append(field: UInt32(areas.count))
      tail.append(field: UInt32(0))
      for area in areas {
        tail.append(field: area.offset)
        tail.append(field: area.size)
      }
    }
    var bytes: [UInt8] = []
    bytes.append(field: UInt32(Self.size + tail.count))
    bytes.append(field: flags.rawValue | (areas == nil ? 0 : Self.capabilityFlag))
    bytes.append(field: index)
    bytes.append(field: areas == nil ? 0 : UInt32(Self.size))
    bytes.append(field: regionSize)
    bytes.append(field: fileOffset)
    return bytes + tail
  }

  /// The first 32 bytes of the reply, for a client whose `argsz` is too small for the whole reply. Its own `argsz` is
  /// the size of the whole reply.
  public var encodedWithoutCapabilities: [UInt8] { Array(encoded.prefix(Self.size)) }

  /// The mappable areas in ascending order, in bytes from the start of the region.
  public var mappableAreas: [Range<UInt64>] {
    guard flags.contains(.mappable), regionSize > 0 else { return [] }
    guard let areas else { return [0..<regionSize] }
    return areas.map { $0.offset..<$0.offset + $0.size }.sorted { $0.lowerBound < $1.lowerBound }
  }
}
