// SPDX-License-Identifier: Apache-2.0

import Foundation

/// A PCI function of L1, accessed through sysfs.
///
/// The lab does not use `sluice bind`. A defect of that command therefore fails one case, and not every case.
struct HostDevice {
  let address: String

  init(_ address: String) { self.address = address }

  private var path: String { "/sys/bus/pci/devices/\(address)" }

  /// The name of the driver, or nil if no driver is bound.
  var driver: String? {
    (try? FileManager.default.destinationOfSymbolicLink(atPath: path + "/driver"))  // absent: no driver
      .map { String($0.split(separator: "/").last ?? "") }
  }

  /// The device ID in the format of sysfs, `0x1234`, or nil if the function is absent.
  var deviceID: String? {
    (try? String(contentsOfFile: path + "/device", encoding: .utf8))?  // absent: no such function
      .trimmingCharacters(in: .newlines)
  }

  /// Returns the functions behind a bridge.
  static func behind(bridge: String) throws -> [HostDevice] {
    try FileManager.default.contentsOfDirectory(atPath: "/sys/bus/pci/devices/\(bridge)")
      .filter { $0.hasPrefix("0000:") && $0.contains(".") && !$0.contains("pcie") }
      .map { HostDevice($0) }
  }

  var group: String? {
    (try? FileManager.default.destinationOfSymbolicLink(atPath: path + "/iommu_group"))  // absent: no IOMMU
      .map { String($0.split(separator: "/").last ?? "") }
  }

  /// Returns the path of the VFIO device file.
  func deviceFile() throws -> String {
    let folder = path + "/vfio-dev"
    let names = try FileManager.default.contentsOfDirectory(atPath: folder)
    guard names.count == 1, let name = names.first, name.hasPrefix("vfio") else {
      throw Failed("\(folder): expected one device, found \(names)")
    }
    return "/dev/vfio/devices/\(name)"
  }

  /// Binds the device to a driver, and unbinds its present driver before that.
  ///
  /// A new device is in sysfs before the kernel allows drivers to match it (drivers/pci/bus.c,
  /// pci_bus_add_device). Therefore this retries for 5 s.
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
    throw Failed("\(address): bind: the driver is \(self.driver ?? "none"), expected \(driver)")
  }

  /// Checks that the device's group is not open.
  ///
  /// - Throws: `Failed` if a process still has the group open.
  func requireReleased() throws {
    guard let group else { throw Failed("\(address): no IOMMU group") }
    do {
      // VFIO allows one open file of a group. EBUSY means that another process has it.
      try FileHandle(forUpdating: URL(filePath: "/dev/vfio/\(group)")).close()
    } catch {
      throw Failed("\(address): not released: /dev/vfio/\(group): \(error)")
    }
  }

  /// Returns the first 64 bytes of the configuration space.
  func config() throws -> Data {
    let handle = try FileHandle(forReadingFrom: URL(filePath: path + "/config"))
    defer { try? handle.close() }  // nothing was written
    return try handle.read(upToCount: 64) ?? Data()
  }

  /// Returns the IDs of the capabilities, in the order of the list.
  func capabilities() throws -> [UInt8] {
    let config = [UInt8](try Data(contentsOf: URL(filePath: path + "/config")))
    guard config.count >= 256 else {
      throw Failed("\(address): sysfs: \(config.count) bytes of configuration space, expected at least 256")
    }
    var found: [UInt8] = []
    var at = Int(config[0x34])
    while at >= 0x40, found.count < 48 {
      found.append(config[at])
      at = Int(config[at + 1])
    }
    return found
  }

  /// Returns the size in bytes and the SHA-256 of the expansion ROM in sysfs.
  func rom() throws -> [String] {
    let file = path + "/rom"
    try Self.write("1", to: file)
    defer { try? Self.write("0", to: file) }  // the next reader turns it on again
    let text = try Command.output(["sh", "-c", "cat \(file) | wc -c; sha256sum <\(file) | cut -c1-64"])
    return text.split(separator: "\n").map(String.init)
  }

  /// The value of COMMAND in the hardware.
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
