// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

@testable import LabRunner

/// The use of a device by the host, in directories with the form of sysfs and procfs.
@Suite final class HostUseTests {
  private let root = FileManager.default.temporaryDirectory.appending(path: "use-\(UUID().uuidString)")
  private static let address = "0000:01:00.0"
  private static let device = "devices/pci0000:00/\(address)"

  init() throws {
    try write("self/mountinfo", "22 1 8:2 / / rw - ext4 /dev/sda2 rw\n")
    try write("swaps", "Filename Type Size Used Priority\n")
  }

  deinit { try? FileManager.default.removeItem(at: root) }  // a temporary folder

  private func write(_ path: String, _ text: String) throws {
    let file = root.appending(path: path)
    try FileManager.default.createDirectory(
      at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
    try Data(text.utf8).write(to: file)
  }

  /// Creates an entry of a class, with attributes, as a link to a directory below a device.
  private func entry(_ kind: String, _ name: String, at path: String, _ attributes: [String: String]) throws {
    for (attribute, text) in attributes { try write("\(path)/\(attribute)", text) }
    try link("class/\(kind)/\(name)", to: path)
  }

  private func link(_ path: String, to target: String) throws {
    let file = root.appending(path: path)
    try FileManager.default.createDirectory(
      at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
    try FileManager.default.createSymbolicLink(at: file, withDestinationURL: root.appending(path: target))
  }

  private func use(_ addresses: String = "") throws -> String? {
    try HostUse(sys: root.path, proc: root.path, addresses: { _ in addresses }).use(of: Self.address)
  }

  @Test("a drive without a mount, swap or holder is free, and another device's mounts do not count")
  func free() throws {
    #expect(try use() == nil)
    try entry("block", "sda2", at: "devices/pci0000:00/0000:00:1f.2/block/sda/sda2", ["dev": "8:2\n"])
    try entry("block", "nvme0n1", at: "\(Self.device)/nvme/nvme0/nvme0n1", ["dev": "259:0\n"])
    #expect(try use() == nil)
  }

  @Test("a mounted partition is found by its number, and by its source")
  func mounts() throws {
    try entry("block", "nvme0n1p1", at: "\(Self.device)/nvme/nvme0/nvme0n1/nvme0n1p1", ["dev": "259:1\n"])
    try write("self/mountinfo", "30 22 259:1 / /data rw shared:1 - ext4 /dev/root rw\n")
    #expect(try use() == "nvme0n1p1 is mounted at /data")
    try write("self/mountinfo", "30 22 0:40 /@ /home rw - btrfs /dev/nvme0n1p1 rw\n")
    #expect(try use() == "nvme0n1p1 is mounted at /home")
  }

  @Test("swap and a device on top of the drive are found")
  func others() throws {
    let path = "\(Self.device)/nvme/nvme0/nvme0n1"
    try entry("block", "nvme0n1", at: path, ["dev": "259:0\n"])
    try write("\(path)/holders/dm-3", "")
    #expect(try use() == "dm-3 is on nvme0n1")
    try write("swaps", "Filename Type Size Used Priority\n/dev/nvme0n1 partition 1048572 0 -2\n")
    #expect(try use() == "nvme0n1 is swap space")
  }

  @Test("a drive of an NVMe subsystem belongs to each controller of the subsystem")
  func subsystem() throws {
    let folder = "devices/virtual/nvme-subsystem/nvme-subsys0"
    try entry("block", "nvme0n1", at: "\(folder)/nvme0n1", ["dev": "259:0\n"])
    try write("self/mountinfo", "30 22 259:0 / /data rw - ext4 /dev/nvme0n1 rw\n")
    #expect(try use() == nil)
    try write("\(Self.device)/nvme/nvme0/serial", "1\n")
    try link("\(folder)/nvme0", to: "\(Self.device)/nvme/nvme0")
    #expect(try use() == "nvme0n1 is mounted at /data")
  }

  @Test(
    "an interface that is up and has an address is in use",
    arguments: [
      ("0x1003\n", "2: eth0    inet 192.0.2.1/24 scope global eth0", true),
      ("0x1003\n", "2: eth0    inet6 2001:db8::1/64 scope global", true),
      ("0x1003\n", "2: eth0    inet6 fe80::1/64 scope link", false),
      ("0x1002\n", "2: eth0    inet 192.0.2.1/24 scope global eth0", false),
    ])
  func interfaces(_ flags: String, _ addresses: String, _ isUsed: Bool) throws {
    try entry("net", "eth0", at: "\(Self.device)/net/eth0", ["flags": flags])
    #expect(try use(addresses) == (isUsed ? "the interface eth0 is up and has an address" : nil))
  }
}
