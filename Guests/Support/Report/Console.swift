// SPDX-License-Identifier: Apache-2.0

import Hardware

/// The first serial port (16550A), without interrupts.
enum Console {
  private static let base: UInt16 = 0x3F8
  private static let lineStatus: UInt16 = base + 5
  private static let transmitterEmpty: UInt8 = 1 << 5
  private static let dataReady: UInt8 = 1 << 0

  /// Returns a received byte, or nil.
  static func read() -> UInt8? {
    port_load8(lineStatus) & dataReady != 0 ? port_load8(base) : nil
  }

  static func write(_ byte: UInt8) {
    // The bound prevents a hang if nothing reads the output.
    var timeout = 100_000
    while timeout > 0, port_load8(lineStatus) & transmitterEmpty == 0 { timeout -= 1 }
    port_store8(base, byte)
  }

  /// Writes a line and a newline.
  static func print(_ line: Line) {
    _ = line
    flush()
  }

  /// Writes the line buffer and a newline.
  @inline(never)
  static func flush() {
    for index in 0..<line_length() { write(line_byte(index)) }
    write(0x0A)
    line_clear()
  }
}
