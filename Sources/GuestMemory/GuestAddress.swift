// SPDX-License-Identifier: Apache-2.0

internal import Seams

/// A guest-physical address (GPA).
public struct GuestAddress: RawRepresentable, Hashable, Comparable, Sendable, CustomStringConvertible {
  /// The address as a number.
  public let rawValue: UInt64

  /// Makes an address of a number.
  public init(rawValue: UInt64) { self.rawValue = rawValue }

  /// Makes an address of a number.
  public init(_ rawValue: UInt64) { self.rawValue = rawValue }

  /// Hexadecimal, as the kernel prints addresses.
  public var description: String { rawValue.hexadecimal }

  /// Numeric order.
  public static func < (left: Self, right: Self) -> Bool { left.rawValue < right.rawValue }

  /// The address `offset` bytes further on; wraps as the bus does.
  public static func + (address: Self, offset: UInt64) -> Self { Self(address.rawValue &+ offset) }
}

extension UInt64 {
  /// The next multiple of a power of two.
  @inlinable
  public func roundedUp(to alignment: UInt64) -> UInt64 { (self + alignment - 1) & ~(alignment - 1) }
}
