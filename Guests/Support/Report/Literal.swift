// SPDX-License-Identifier: Apache-2.0

import Hardware

/// Access to the bytes of a literal. A `String` would need a heap.
extension StaticString {
  var byteCount: UInt64 { UInt64(utf8CodeUnitCount) }

  /// Returns a byte of the literal.
  ///
  /// - Parameter index: Less than `byteCount`.
  func byte(_ index: UInt64) -> UInt8 {
    // SAFETY: the bytes of a literal stay valid while the program runs.
    mmio_load8(unsafe UInt64(UInt(bitPattern: utf8Start)) + index)
  }
}
