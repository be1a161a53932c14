// SPDX-License-Identifier: Apache-2.0

/// Encoders for resource descriptors (ACPI 6.5 §6.4). Each function returns the bytes of one descriptor.
extension AML {
  /// `ResourceTemplate () { … }`.
  static func resources(_ descriptors: [[UInt8]]) -> Term {
    // The end tag. A checksum of zero means that there is no checksum (§6.4.2.9).
    buffer(descriptors.flatMap { $0 } + [0x79, 0])
  }

  /// `IO (Decode16, base, base, 1, count)`: a device's ports.
  static func ports(_ base: UInt16, count: UInt8) -> [UInt8] {
    var bytes: [UInt8] = [0x47, 0x01]
    bytes.append(little: base)
    bytes.append(little: base)
    return bytes + [1, count]
  }

  /// `Memory32Fixed (ReadWrite, base, length)`: a device's memory. The range is below 4 GiB.
  static func memory32Fixed(_ range: Range<UInt64>) -> [UInt8] {
    var bytes: [UInt8] = [0x86, 9, 0, 0x01]
    bytes.append(little: UInt32(truncatingIfNeeded: range.lowerBound))
    bytes.append(little: UInt32(truncatingIfNeeded: range.upperBound - range.lowerBound))
    return bytes
  }

  /// `Interrupt (ResourceConsumer, Edge, ActiveHigh, Exclusive) { gsi }`.
  static func edgeInterrupt(_ gsi: UInt32) -> [UInt8] {
    var bytes: [UInt8] = [0x89, 6, 0, 0x03, 1]
    bytes.append(little: gsi)
    return bytes
  }

  /// The resource type, general flags and type-specific flags of an address space descriptor.
  private enum Space {
    static let memory: [UInt8] = [0, generalFlags, 0x01]  // not cacheable, read and write
    static let ports: [UInt8] = [1, generalFlags, 0x03]  // the entire range
    static let buses: [UInt8] = [2, generalFlags, 0x00]
    /// The bridge produces the resource for the devices behind it. Minimum and maximum are fixed.
    static let generalFlags: UInt8 = 0x0C
  }

  /// `WordBusNumber (ResourceProducer, MinFixed, MaxFixed, PosDecode, …)`.
  static func busNumbers(_ buses: ClosedRange<UInt8>) -> [UInt8] {
    window(
      tag: 0x88, Space.buses, UInt16(buses.lowerBound), UInt16(buses.upperBound),
      UInt16(buses.count))
  }

  /// `WordIO (ResourceProducer, MinFixed, MaxFixed, PosDecode, EntireRange, …)`.
  static func portWindow(_ ports: ClosedRange<UInt16>) -> [UInt8] {
    window(tag: 0x88, Space.ports, ports.lowerBound, ports.upperBound, UInt16(ports.count))
  }

  /// `DWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed, NonCacheable, ReadWrite, …)`.
  /// The range is below 4 GiB.
  static func memoryWindow32(_ range: Range<UInt64>) -> [UInt8] {
    window(
      tag: 0x87, Space.memory, UInt32(truncatingIfNeeded: range.lowerBound),
      UInt32(truncatingIfNeeded: range.upperBound - 1), UInt32(truncatingIfNeeded: range.count))
  }

  /// `QWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed, NonCacheable, ReadWrite, …)`.
  ///
  /// The window is not prefetchable, so that it accepts prefetchable and non-prefetchable BARs.
  static func memoryWindow64(_ range: Range<UInt64>) -> [UInt8] {
    window(
      tag: 0x8A, Space.memory, range.lowerBound, range.upperBound - 1,
      range.upperBound - range.lowerBound)
  }

  /// Encodes an address space descriptor. Granularity, minimum, maximum, translation and length have one
  /// width.
  private static func window<Value: FixedWidthInteger>(
    tag: UInt8, _ space: [UInt8], _ first: Value, _ last: Value, _ length: Value
  ) -> [UInt8] {
    var body = space
    for value in [0, first, last, 0, length] { body.append(little: value) }
    var bytes = [tag]
    bytes.append(little: UInt16(body.count))
    return bytes + body
  }
}
