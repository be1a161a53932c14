// SPDX-License-Identifier: Apache-2.0

import Foundation

/// An NVMe drive of L1 that L1's own driver uses for a while.
struct HostDrive {
  let device: HostDevice
  /// The serial number, by which the block device is found.
  let serial: String

  /// Binds the drive to L1's driver, calls `body` with the path of the block device, and returns the drive to vfio-pci.
  func use<Result>(_ body: (String) throws -> Result) throws -> Result {
    try device.bind(to: "nvme")
    let result = Swift.Result { try body(try node()) }
    try device.bind(to: "vfio-pci")
    return try result.get()
  }

  /// Waits for the block device. Returns its path.
  private func node() throws -> String {
    let end = ContinuousClock.now + .seconds(20)
    repeat {
      for name in try FileManager.default.contentsOfDirectory(atPath: "/sys/block") {
        let path = "/dev/\(name)"
        if isDrive(name), FileManager.default.fileExists(atPath: path) { return path }
      }
      usleep(50_000)
    } while ContinuousClock.now < end
    throw Failed("\(device.address): L1's driver made no block device")
  }

  /// True for a block device of the drive, which is not a path of another device (nvme0c0n1).
  private func isDrive(_ name: String) -> Bool {
    guard name.wholeMatch(of: #/nvme[0-9]+n1/#) != nil else { return false }
    // Absent: the driver has just removed the block device.
    let text = try? String(contentsOfFile: "/sys/block/\(name)/device/serial", encoding: .utf8)
    return text?.trimmingCharacters(in: .whitespacesAndNewlines) == serial
  }
}
