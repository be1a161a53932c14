// SPDX-License-Identifier: Apache-2.0

import Hardware

/// The bytes of a literal, without a heap for a string.
extension StaticString {
  var byteCount: UInt64 { UInt64(utf8CodeUnitCount) }

  /// A byte of the literal; `index` is below `byteCount`.
  func byte(_ index: UInt64) -> UInt8 {
    // SAFETY: a literal's bytes are there for as long as the program is.
    mmio_load8(unsafe UInt64(UInt(bitPattern: utf8Start)) + index)
  }
}
