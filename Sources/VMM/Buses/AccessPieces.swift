// SPDX-License-Identifier: Apache-2.0

/// The naturally aligned pieces of an access, in ascending order of address.
///
/// KVM splits an access only at a page boundary. An access can therefore have any width from 1 to 8 bytes.
/// It can cross the end of a register, of a BAR or of a function's configuration space.
struct AccessPieces: Sequence, IteratorProtocol {
  /// A piece: its address, its width in bytes and its offset in the access in bits.
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
  ///   - address: The GPA of the first byte, or its port.
  ///   - width: The width of the access in bytes, 1 to 8.
  ///   - widest: The maximum width of a piece in bytes, a power of two.
  init(_ address: UInt64, width: Int, widest: Int) {
    self.address = address
    self.rest = width
    self.widest = widest
  }

  /// True if an access consists of one piece.
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
  /// Extracts the piece's bytes from the value of a write.
  func of(_ value: UInt64) -> UInt64 { value >> shift & mask }

  /// Shifts the bytes that the piece has read to their position in the value of the whole read.
  func placed(_ answer: UInt64) -> UInt64 { (answer & mask) << shift }

  private var mask: UInt64 { .max >> UInt64(64 - width * 8) }
}
