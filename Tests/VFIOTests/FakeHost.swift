// SPDX-License-Identifier: Apache-2.0

import Foundation

@testable import VFIO

/// A sysfs tree in a temporary directory. Attributes are regular files.
final class FakeHost {
  let root = FileManager.default.temporaryDirectory.appending(path: "sluice-sysfs-\(UUID().uuidString)").path

  func make(_ path: String) throws {
    try FileManager.default.createDirectory(atPath: "\(root)/\(path)", withIntermediateDirectories: true)
  }

  init(drivers: [String] = ["vfio-pci", "nvme", "e1000e"]) throws {
    try make("bus/pci/devices")
    for driver in drivers {
      try make("bus/pci/drivers/\(driver)")
      try write("", to: "bus/pci/drivers/\(driver)/unbind")
    }
    try write("", to: "bus/pci/drivers_probe")
  }

  deinit { try? FileManager.default.removeItem(atPath: root) }  // a failure only leaves files behind

  /// Adds a device.
  func add(
    _ address: String, driver: String? = nil, group: String? = nil, classCode: String = "0x010802",
    attributes: [String: String] = [:]
  ) throws {
    let device = "bus/pci/devices/\(address)"
    try make(device)
    try write("0x1b36\n", to: "\(device)/vendor")
    try write("0x0010\n", to: "\(device)/device")
    try write("\(classCode)\n", to: "\(device)/class")
    try write("", to: "\(device)/driver_override")
    for (name, text) in attributes { try write(text, to: "\(device)/\(name)") }
    if let driver { try link("\(device)/driver", to: "../../drivers/\(driver)") }
    if let group {
      let members = "kernel/iommu_groups/\(group)/devices"
      try make(members)
      try link("\(members)/\(address)", to: "../../../../bus/pci/devices/\(address)")
      try link("\(device)/iommu_group", to: "../../../../kernel/iommu_groups/\(group)")
    }
  }

  private func link(_ path: String, to target: String) throws {
    try FileManager.default.createSymbolicLink(atPath: "\(root)/\(path)", withDestinationPath: target)
  }

  func write(_ text: String, to path: String) throws {
    try text.write(toFile: "\(root)/\(path)", atomically: false, encoding: .utf8)
  }

  func read(_ path: String) throws -> String {
    try String(contentsOfFile: "\(root)/\(path)", encoding: .utf8)
  }

  func remove(_ path: String) throws { try FileManager.default.removeItem(atPath: "\(root)/\(path)") }

  func device(_ address: String) throws -> HostDevice? { try HostDevice(address: address, root: root) }
}
