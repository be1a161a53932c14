// SPDX-License-Identifier: Apache-2.0

import Foundation

/// A PCI function of L1, through sysfs.
///
/// The lab binds without `sluice bind`, so that a defect there fails one case and not all.
struct HostDevice {
  let address: String

  init(_ address: String) { self.address = address }

  private var path: String { "/sys/bus/pci/devices/\(address)" }

  /// The driver's name; nil when none is bound.
  var driver: String? {
    (try? FileManager.default.destinationOfSymbolicLink(atPath: path + "/driver"))  // absent: no driver
      .map { String($0.split(separator: "/").last ?? "") }
  }

  /// As sysfs has it, `0x1234`.
  var deviceID: String? {
    (try? String(contentsOfFile: path + "/device", encoding: .utf8))?  // absent: no such function
      .trimmingCharacters(in: .newlines)
  }

  /// The functions behind a bridge.
  static func behind(bridge: String) throws -> [HostDevice] {
    try FileManager.default.contentsOfDirectory(atPath: "/sys/bus/pci/devices/\(bridge)")
      .filter { $0.hasPrefix("0000:") && $0.contains(".") && !$0.contains("pcie") }
      .map { HostDevice($0) }
  }

  var group: String? {
    (try? FileManager.default.destinationOfSymbolicLink(atPath: path + "/iommu_group"))  // absent: no IOMMU
      .map { String($0.split(separator: "/").last ?? "") }
  }

  /// Binds to a driver, whatever had the device before.
  ///
  /// A device that has just come is in sysfs before the kernel lets drivers match it (drivers/pci/bus.c,
  /// pci_bus_add_device).
  func bind(to driver: String) throws {
    guard self.driver != driver else { return }
    try Self.write(driver, to: path + "/driver_override")
    if self.driver != nil { try Self.write(address, to: path + "/driver/unbind") }
    let limit = ContinuousClock.now + .seconds(5)
    repeat {
      try Self.write(address, to: "/sys/bus/pci/drivers_probe")
      if self.driver == driver { return }
      usleep(20_000)
    } while ContinuousClock.now < limit
    throw Failed("\(address): wanted driver \(driver), has \(self.driver ?? "none")")
  }

  /// Throws when someone still has the device's group open.
  func requireReleased() throws {
    guard let group else { throw Failed("\(address) has no IOMMU group") }
    do {
      // VFIO lets a group be open once: EBUSY tells of another owner.
      try FileHandle(forUpdating: URL(filePath: "/dev/vfio/\(group)")).close()
    } catch {
      throw Failed("\(address) was not released: /dev/vfio/\(group): \(error)")
    }
  }

  /// The first 64 bytes of its configuration space.
  func config() throws -> Data {
    let handle = try FileHandle(forReadingFrom: URL(filePath: path + "/config"))
    defer { try? handle.close() }  // nothing was written
    return try handle.read(upToCount: 64) ?? Data()
  }

  /// The identities of its capabilities, in the order of the chain.
  func capabilities() throws -> [UInt8] {
    let config = [UInt8](try Data(contentsOf: URL(filePath: path + "/config")))
    guard config.count >= 256 else {
      throw Failed("\(address): sysfs has \(config.count) bytes of its configuration")
    }
    var found: [UInt8] = []
    var at = Int(config[0x34])
    while at >= 0x40, found.count < 48 {
      found.append(config[at])
      at = Int(config[at + 1])
    }
    return found
  }

  /// Size in bytes and SHA-256 of its expansion ROM, as sysfs shows it.
  func rom() throws -> [String] {
    let file = path + "/rom"
    try Self.write("1", to: file)
    defer { try? Self.write("0", to: file) }  // the next reader turns it on anyway
    let text = try Command.output(["sh", "-c", "cat \(file) | wc -c; sha256sum <\(file) | cut -c1-64"])
    return text.split(separator: "\n").map(String.init)
  }

  /// COMMAND, as the hardware has it.
  var command: UInt16 {
    get throws {
      let bytes = try config()
      guard bytes.count == 64 else { throw Failed("\(address): no configuration space in sysfs") }
      return UInt16(bytes[bytes.startIndex + 4]) | UInt16(bytes[bytes.startIndex + 5]) << 8
    }
  }

  func setCommand(_ command: UInt16) throws {
    let handle = try FileHandle(forWritingTo: URL(filePath: path + "/config"))
    try handle.seek(toOffset: 4)
    try handle.write(contentsOf: Data([UInt8(truncatingIfNeeded: command), UInt8(command >> 8)]))
    try handle.close()
  }

  static func write(_ text: String, to path: String) throws {
    let handle = try FileHandle(forWritingTo: URL(filePath: path))
    try handle.write(contentsOf: Data(text.utf8))
    try handle.close()
  }
}
