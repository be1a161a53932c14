// SPDX-License-Identifier: Apache-2.0

extension BinaryInteger {
  /// The number in hexadecimal with the prefix `0x`.
  package var hexadecimal: String { "0x" + String(self, radix: 16) }
}
