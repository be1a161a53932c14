// SPDX-License-Identifier: Apache-2.0

internal import Seams

/// A guest-physical address (GPA).
public struct GuestAddress: RawRepresentable, Hashable, Comparable, Sendable, CustomStringConvertible {
  /// The address as a number.
  public let rawValue: UInt64

  /// Creates an address from a number.
  public init(rawValue: UInt64) { self.rawValue = rawValue }

  /// Creates an address from a number.
  public init(_ rawValue: UInt64) { self.rawValue = rawValue }

  /// The address in hexadecimal, as the kernel prints addresses.
  public var description: String { rawValue.hexadecimal }

  /// Compares the addresses as numbers.
  public static func < (left: Self, right: Self) -> Bool { left.rawValue < right.rawValue }

  /// Returns the sum of an address and an offset in bytes. It wraps around at 2^64, as the bus does.
  public static func + (address: Self, offset: UInt64) -> Self { Self(address.rawValue &+ offset) }
}

extension UInt64 {
  /// Returns the number, rounded up to a multiple of a power of two.
  @inlinable
  public func roundedUp(to alignment: UInt64) -> UInt64 { (self + alignment - 1) & ~(alignment - 1) }
}
