// SPDX-License-Identifier: Apache-2.0

internal import Boot

/// The ports that reset a PC: the reset register, the keyboard controller's reset output and System Control
/// Port A.
struct ResetPorts: PortDevice {
  static let ports = [
    PlatformLayout.reset...PlatformLayout.reset, keyboard...keyboard, systemControl...systemControl,
  ]

  /// The command register of a PC's keyboard controller (8042). Only the reset output is emulated.
  private static let keyboard: UInt16 = 0x64
  /// The command that pulses the reset output when written to `keyboard`.
  private static let pulse: UInt8 = 0xFE
  /// System Control Port A of a PS/2. Bit 0 resets the processor. Bit 1 is A20, which is always on here.
  private static let systemControl: UInt16 = 0x92

  let shutdown: ShutdownRequest

  func read(_ port: UInt16, width: Int) -> UInt64 {
    // Status 0: neither buffer of the keyboard controller is full.
    port == Self.systemControl ? 2 : 0
  }

  func write(_ port: UInt16, width: Int, _ value: UInt64) {
    let byte = UInt8(truncatingIfNeeded: value)
    let isReset =
      switch port {
      // Bit 2 triggers the reset, as on a PC.
      case PlatformLayout.reset: width == 1 && byte & 4 != 0
      case Self.keyboard: byte == Self.pulse
      default: byte & 1 != 0
      }
    if isReset { shutdown.end(.reset) }
  }
}
