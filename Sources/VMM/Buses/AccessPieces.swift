// SPDX-License-Identifier: Apache-2.0

/// The naturally aligned pieces of an access, in rising order of addresses.
///
/// KVM splits an access at the end of a page only, so that an access may have any width from 1 to 8 bytes and may
/// cross the end of a register, of a BAR or of a function's configuration space.
struct AccessPieces: Sequence, IteratorProtocol {
  /// A piece: its address, its bytes, and its place in the access, in bits.
  struct Piece: Equatable {
    let address: UInt64
    let width: Int
    let shift: UInt64
  }

  private var address: UInt64
  private var rest: Int
  private var shift: UInt64 = 0
  private let widest: Int

  /// - Parameters:
  ///   - width: Bytes of the access, 1 to 8.
  ///   - widest: Bytes of the largest piece, a power of two.
  init(_ address: UInt64, width: Int, widest: Int) {
    self.address = address
    self.rest = width
    self.widest = widest
  }

  /// True if an access is one piece.
  static func isWhole(_ address: UInt64, width: Int, widest: Int) -> Bool {
    width <= widest && width & (width - 1) == 0 && address & UInt64(width - 1) == 0
  }

  mutating func next() -> Piece? {
    guard rest > 0 else { return nil }
    var width = widest
    while width > rest || address & UInt64(width - 1) != 0 { width >>= 1 }
    defer {
      address &+= UInt64(width)
      rest -= width
      shift += UInt64(width * 8)
    }
    return Piece(address: address, width: width, shift: shift)
  }
}

extension AccessPieces.Piece {
  /// The piece of a value that is written.
  func of(_ value: UInt64) -> UInt64 { value >> shift & mask }

  /// The piece of an answer, at its place in the value that is read.
  func placed(_ answer: UInt64) -> UInt64 { (answer & mask) << shift }

  private var mask: UInt64 { .max >> UInt64(64 - width * 8) }
}
