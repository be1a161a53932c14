// SPDX-License-Identifier: Apache-2.0

import Foundation

/// A device of this machine, as `sluice devices --json` reports it.
struct HereDevice: Decodable {
  struct Resource: Decodable {
    /// 0 to 5 for a BAR, 6 for the ROM.
    var index: Int
    var kind: String
  }

  let address: String
  /// The vendor ID and the device ID, four hexadecimal digits each.
  let vendor: String
  let device: String
  /// The class, the subclass and the programming interface, six hexadecimal digits.
  let `class`: String
  let driver: String?
  let group: String?
  let sharedWith: [String]
  let bars: [Resource]
  let ready: Bool
  /// The state, and the next step if the device is not ready.
  let advice: String
  /// The other devices of the group.
  var members: [HereDevice] = []
  /// The IDs of the capabilities.
  var capabilities: [UInt8] = []
  /// The serial number and the SHA-256 of the first MiB of each NVMe drive, separated by a space.
  var sums: [String] = []

  private enum CodingKeys: String, CodingKey {
    case address, vendor, device, `class`, driver, group, sharedWith, bars, ready, advice
  }

  /// The driver of the host to which the device is bound, or nil.
  var hostDriver: String? { driver == "vfio-pci" ? nil : driver }

  /// The indices of the memory BARs.
  var memoryBARs: [Int] { bars.filter { $0.index < 6 && $0.kind.hasPrefix("mem") }.map(\.index) }

  /// Drivers of other members that leave a group viable for VFIO (Linux `driver_managed_dma`).
  private static let sharingDrivers = ["vfio-pci", "pcieport", "pci-stub"]

  /// The reason why cases cannot run on the device, or nil.
  var refusal: String? {
    guard group != nil, advice.prefix(8) != "a bridge" else { return "device \(address): \(advice)" }
    let blockers = members.filter { member in
      member.driver.map { !Self.sharingDrivers.contains($0) } ?? false
    }
    guard !blockers.isEmpty else { return nil }
    let list = blockers.map { "\($0.address) (\($0.driver ?? ""))" }.joined(separator: ", ")
    return "device \(address): IOMMU group \(group ?? ""): not viable, because the host uses \(list); "
      + "bind these to vfio-pci, or use another device"
  }
}

/// The facts about this machine that decide if cases can run on a device.
struct HereHost {
  /// The path of Sluice's program.
  let sluice: String

  /// Returns a device that cases can use, without changing anything.
  func device(_ address: String) throws -> HereDevice {
    guard geteuid() == 0 else {
      throw LabError("here: an ordinary user cannot bind a device; run the command with sudo")
    }
    do { try FileHandle(forUpdating: URL(filePath: "/dev/kvm")).close() } catch {
      throw LabError("/dev/kvm: \(sentence(error)); turn on VT-x or SVM, and load kvm_intel or kvm_amd")
    }
    var device = try report(address)
    device.members = try device.sharedWith.map(report)
    device.capabilities = (try? HostDevice(address).capabilities()) ?? []  // unreadable: the device has none
    if let refusal = device.refusal { throw LabError(refusal) }
    if device.driver == "vfio-pci", let group = device.group, Self.isBusy("/dev/vfio/\(group)") {
      throw LabError("device \(address): /dev/vfio/\(group): another process uses it; end that process")
    }
    if let use = try HostUse().use(of: address) {
      throw LabError("device \(address): the host uses it: \(use); stop using it, or give another device")
    }
    device.sums = try sums(of: address)
    return device
  }

  /// True if another process has the file of a group open. VFIO allows one open file of a group.
  private static func isBusy(_ path: String) -> Bool {
    // SAFETY: the string lives for the call.
    let descriptor = unsafe open(path, O_RDWR | O_CLOEXEC)
    guard descriptor >= 0 else { return errno == EBUSY }
    close(descriptor)
    return false
  }

  /// Reads the first MiB of each NVMe drive of a device.
  private func sums(of address: String) throws -> [String] {
    try HostUse().entries("block", of: address).filter { $0.wholeMatch(of: #/nvme[0-9]+n1/#) != nil }.map {
      name in
      let serial = try ProcFile.text("/sys/class/block/\(name)/device/serial")
      let sum = try Command.output(["sh", "-c", "head -c 1048576 /dev/\(name) | sha256sum | cut -c1-64"])
      return [serial, sum].map { $0.trimmingCharacters(in: .whitespacesAndNewlines) }.joined(separator: " ")
    }.sorted()
  }

  /// Returns the product's report on a device.
  func report(_ address: String) throws -> HereDevice {
    let (status, json, errors) = try Command.result([sluice, "devices", "--json", address])
    guard status == 0 else {
      throw LabError(errors.trimmingCharacters(in: .whitespacesAndNewlines).replacing("sluice: ", with: ""))
    }
    guard let device = try JSONDecoder().decode([HereDevice].self, from: Data(json.utf8)).first else {
      throw LabError("device \(address): 'sluice devices --json' printed no report")
    }
    return device
  }

  /// Returns the device's class by name, and the product's details without the next step.
  func details(of device: HereDevice) throws -> String {
    let name = try Command.output(["lspci", "-D", "-nn", "-s", device.address])
    let details = try Command.output([sluice, "devices", device.address]).split(separator: "\n").dropLast()
    return name + details.joined(separator: "\n")
  }
}
