// SPDX-License-Identifier: Apache-2.0

/// The format of functions and BARs in lines of output.
extension Line.StringInterpolation {
  /// `00:05.0 1234:11e8`.
  mutating func appendInterpolation(_ function: PCIFunction) {
    appendInterpolation(hex: UInt8(0), digits: 2)
    appendLiteral(":")
    appendInterpolation(hex: function.slot, digits: 2)
    appendLiteral(".")
    appendInterpolation(function.function)
    appendLiteral(" ")
    appendInterpolation(hex: function.vendor, digits: 4)
    appendLiteral(":")
    appendInterpolation(hex: function.device, digits: 4)
  }

  /// `BAR 0 at fea00000 size 100000 32-bit`. Address and size are hexadecimal.
  mutating func appendInterpolation(_ bar: BAR) {
    appendLiteral("BAR ")
    appendInterpolation(bar.index)
    appendLiteral(" at ")
    appendInterpolation(hex: bar.address, digits: 8)
    appendLiteral(" size ")
    appendInterpolation(hex: bar.size)
    appendLiteral(bar.isMemory ? bar.is64Bit ? " 64-bit" : " 32-bit" : " I/O")
    if bar.isPrefetchable { appendLiteral(" prefetchable") }
  }
}
