// SPDX-License-Identifier: Apache-2.0

extension BinaryInteger {
  /// The number as text, with `0x` in front.
  package var hexadecimal: String { "0x" + String(self, radix: 16) }
}
