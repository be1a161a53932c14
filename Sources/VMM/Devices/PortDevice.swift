// SPDX-License-Identifier: Apache-2.0

internal import Boot
internal import Sandbox

/// A device on the port bus. Its file declares all that the rest of the machine has to know of it.
///
/// The bus splits an access at the device's registers; bytes that no device claims read all-ones.
protocol PortDevice: Sendable {
  /// The ports that it claims.
  static var ports: [ClosedRange<UInt16>] { get }
  /// Bytes of its largest register.
  static var widest: Int { get }
  /// Its description in the DSDT, with its GSI, or nil.
  static var platformDevice: PlatformDevice? { get }
  /// The system calls that only its threads need.
  static var rules: [Rule] { get }

  /// Reads 1, 2 or 4 bytes of a register; all-ones if the width is not the register's.
  func read(_ port: UInt16, width: Int) -> UInt64
  /// Writes 1, 2 or 4 bytes of a register; nothing if the width is not the register's.
  func write(_ port: UInt16, width: Int, _ value: UInt64)
}

extension PortDevice {
  static var widest: Int { 4 }
  static var platformDevice: PlatformDevice? { nil }
  static var rules: [Rule] { [] }
}

/// The device that claims a port.
enum PortOwner: UInt8, CaseIterable {
  /// An I/O BAR, or none.
  case bars
  case serial
  case config
  case reset
  case sleep
  case panic
  case debugExit

  /// Devices claim no port from this one on.
  static let end = 0x1000

  /// The ports of a device.
  var ports: [ClosedRange<UInt16>] {
    switch self {
    case .bars: []
    case .serial: Serial.ports
    case .config: ConfigMechanism.ports
    case .reset: ResetPorts.ports
    case .sleep: SleepControl.ports
    case .panic: PanicPort.ports
    case .debugExit: DebugExit.ports
    }
  }

  /// The devices of every machine that the DSDT describes.
  static let platformDevices: [PlatformDevice] = [Serial.platformDevice, PanicPort.platformDevice].compactMap(
    \.self)
}
