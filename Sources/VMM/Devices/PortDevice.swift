// SPDX-License-Identifier: Apache-2.0

internal import Boot
public import Sandbox
public import Trace

/// A device on the port bus. The device's file declares everything that other parts of the machine need.
///
/// The bus splits an access at the boundaries of the device's registers. Unclaimed bytes read all-ones.
protocol PortDevice: Sendable {
  /// The ports that the device claims.
  static var ports: [ClosedRange<UInt16>] { get }
  /// The width of the largest register, in bytes.
  static var widest: Int { get }
  /// The device's DSDT description with its GSI, or nil if the DSDT does not describe it.
  static var platformDevice: PlatformDevice? { get }
  /// The rules for system calls that only this device needs.
  static var rules: [Rule] { get }

  /// Reads 1, 2 or 4 bytes of a register. Returns all-ones if the register has another width.
  func read(_ port: UInt16, width: Int) -> UInt64
  /// Writes 1, 2 or 4 bytes of a register. Has no effect if the register has another width.
  func write(_ port: UInt16, width: Int, _ value: UInt64)
}

extension PortDevice {
  static var widest: Int { 4 }
  static var platformDevice: PlatformDevice? { nil }
  static var rules: [Rule] { [] }
}

/// The device that claims a port.
enum PortOwner: UInt8, CaseIterable {
  /// An I/O BAR, or no device.
  case bars
  case serial
  case config
  case reset
  case sleep
  case panic
  case debugExit

  /// The end of the devices' ports. No device claims this port or a higher one.
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

  /// The rules for system calls that only one of the devices needs.
  static let rules: [Rule] =
    Serial.rules + ConfigMechanism.rules + ResetPorts.rules + SleepControl.rules + PanicPort.rules
    + DebugExit.rules

  /// The devices that the DSDT of every machine describes.
  static let platformDevices: [PlatformDevice] = [Serial.platformDevice, PanicPort.platformDevice].compactMap(
    \.self)
}

extension Rule {
  /// Returns the table of a machine: the rules of every machine, of its devices and of the interface to the IOMMU.
  ///
  /// - Parameters:
  ///   - interface: The interface to the IOMMU, or nil if the machine has no device of the host.
  ///   - hasServers: True if the machine can have devices in other processes.
  public static func machine(_ interface: IOMMUInterface?, hasServers: Bool = false) -> [Rule] {
    var rules = core + PortOwner.rules
    switch interface {
    case .type1: rules = adding(type1, to: rules)
    case .iommufd: rules = adding(iommufd, to: rules)
    case nil: break
    }
    guard hasServers else { return rules }
    // A thread has one rule for a call. The rules of iommufd let vCPUs close files.
    return rules.filter { $0.call != "close" || $0.threads != [.vcpu] } + servers
  }
}
