// SPDX-License-Identifier: Apache-2.0

/// The PCI address of a function on the host: domain, bus, device and function number.
public struct Address: Hashable, Sendable, CustomStringConvertible {
  /// The domain (segment group).
  public let domain: UInt32
  /// The bus.
  public let bus: UInt8
  /// The device (slot) on the bus, 0 to 31.
  public let device: UInt8
  /// The function, 0 to 7.
  public let function: UInt8

  /// Creates an address from its numbers.
  public init(domain: UInt32, bus: UInt8, device: UInt8, function: UInt8) {
    self.domain = domain
    self.bus = bus
    self.device = device
    self.function = function
  }

  /// Parses `0000:01:00.0`, or `01:00.0` for domain 0. Returns nil for any other text.
  public init?(_ text: String) {
    let parts = text.split(separator: ":", omittingEmptySubsequences: false)
    guard parts.count == 2 || parts.count == 3 else { return nil }
    let last = parts[parts.count - 1].split(separator: ".", omittingEmptySubsequences: false)
    guard last.count == 2,
      let domain = parts.count == 3 ? Self.hex(parts[0], digits: 4...8) : 0,
      let bus = Self.hex(parts[parts.count - 2], digits: 1...2),
      let device = Self.hex(last[0], digits: 1...2), device < 32,
      let function = Self.hex(last[1], digits: 1...1), function < 8
    else { return nil }
    self.domain = domain
    self.bus = UInt8(bus)
    self.device = UInt8(device)
    self.function = UInt8(function)
  }

  private static func hex(_ text: Substring, digits: ClosedRange<Int>) -> UInt32? {
    // UInt32(_:radix:) also accepts a sign.
    guard digits.contains(text.count), text.allSatisfy(\.isHexDigit) else { return nil }
    return UInt32(text, radix: 16)
  }

  /// True if another function belongs to the same device.
  public func isSameDevice(as other: Address) -> Bool {
    domain == other.domain && bus == other.bus && device == other.device
  }

  /// The form that sysfs uses: `0000:01:00.0`.
  public var description: String {
    "\(domain.digits(4)):\(bus.digits(2)):\(device.digits(2)).\(function)"
  }
}

extension BinaryInteger {
  /// Returns the number as hexadecimal digits with leading zeros up to a count, as in pci.ids and sysfs.
  package func digits(_ count: Int) -> String {
    let text = String(self, radix: 16)
    return String(repeating: "0", count: max(0, count - text.count)) + text
  }
}
