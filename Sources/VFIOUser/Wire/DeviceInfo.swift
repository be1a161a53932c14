// SPDX-License-Identifier: Apache-2.0

/// The body of DEVICE_GET_INFO and of its reply: 16 bytes (struct vfio_device_info).
public struct DeviceInfo: Body {
  static let size = 16

  /// The properties of a device (VFIO_DEVICE_FLAGS_*). Unknown flags are kept.
  public struct Flags: OptionSet, Sendable {
    /// The flags.
    public let rawValue: UInt32

    /// Creates a set from flags.
    public init(rawValue: UInt32) { self.rawValue = rawValue }

    /// DEVICE_RESET works.
    public static let reset = Flags(rawValue: 1)
    /// The device is a PCI function.
    public static let pci = Flags(rawValue: 2)
  }

  /// The properties; empty in a request.
  public var flags: Flags
  /// The number of regions; 0 in a request.
  public var regions: UInt32
  /// The number of kinds of interrupts; 0 in a request.
  public var interrupts: UInt32

  /// Creates a body. The defaults are the request's.
  public init(flags: Flags = [], regions: UInt32 = 0, interrupts: UInt32 = 0) {
    (self.flags, self.regions, self.interrupts) = (flags, regions, interrupts)
  }

  /// Parses a body.
  public init(parsing bytes: ArraySlice<UInt8>) throws(MessageError) {
    let name = Command.deviceInfo.description
    try bytes.requireSize(Self.size, name)
    var reader = FieldReader(bytes, name)
    try reader.takeArgumentSize(atLeast: Self.size, name)
    flags = Flags(rawValue: try reader.take())
    regions = try reader.take()
    interrupts = try reader.take()
  }

  /// The bytes on the wire.
  public var encoded: [UInt8] {
    var bytes: [UInt8] = []
    for field in [UInt32(Self.size), flags.rawValue, regions, interrupts] { bytes.append(field: field) }
    return bytes
  }
}

/// The body of DEVICE_GET_IRQ_INFO and of its reply: 16 bytes (struct vfio_irq_info).
public struct IRQInfo: Body {
  static let size = 16

  /// The properties of a kind of interrupt (VFIO_IRQ_INFO_*). Unknown flags are kept.
  public struct Flags: OptionSet, Sendable {
    /// The flags.
    public let rawValue: UInt32

    /// Creates a set from flags.
    public init(rawValue: UInt32) { self.rawValue = rawValue }

    /// The interrupt can signal an eventfd.
    public static let eventfd = Flags(rawValue: 1)
    /// The interrupt can be masked.
    public static let maskable = Flags(rawValue: 2)
    /// The interrupt is masked when it is signalled.
    public static let automasked = Flags(rawValue: 4)
    /// All vectors must be allocated at once.
    public static let fixed = Flags(rawValue: 8)
  }

  /// The properties; empty in a request.
  public var flags: Flags
  /// VFIO_PCI_*_IRQ_INDEX.
  public var index: UInt32
  /// The number of vectors; 0 in a request.
  public var count: UInt32

  /// Creates a body. The defaults are the request's.
  public init(index: UInt32, flags: Flags = [], count: UInt32 = 0) {
    (self.flags, self.index, self.count) = (flags, index, count)
  }

  /// Parses a body.
  public init(parsing bytes: ArraySlice<UInt8>) throws(MessageError) {
    let name = Command.irqInfo.description
    try bytes.requireSize(Self.size, name)
    var reader = FieldReader(bytes, name)
    try reader.takeArgumentSize(atLeast: Self.size, name)
    flags = Flags(rawValue: try reader.take())
    index = try reader.take()
    count = try reader.take()
  }

  /// The bytes on the wire.
  public var encoded: [UInt8] {
    var bytes: [UInt8] = []
    for field in [UInt32(Self.size), flags.rawValue, index, count] { bytes.append(field: field) }
    return bytes
  }
}
