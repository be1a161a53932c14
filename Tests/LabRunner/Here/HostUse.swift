// SPDX-License-Identifier: Apache-2.0

import Foundation

/// The use of a PCI device by the host: mounted file systems, swap, block devices on top of it, and configured
/// network interfaces.
struct HostUse {
  /// The mount points of sysfs and procfs, or other directories in tests.
  var sys = "/sys"
  var proc = "/proc"
  /// Returns the output of `ip -o addr show dev NAME`.
  var addresses: (String) throws -> String = { try Command.output(["ip", "-o", "addr", "show", "dev", $0]) }

  /// Returns the first use of a device, or nil.
  func use(of address: String) throws -> String? {
    if let use = try useOfBlocks(address) { return use }
    return try useOfInterfaces(address)
  }

  /// Returns the entries of a class of sysfs that belong to a PCI device.
  func entries(_ name: String, of address: String) throws -> [String] {
    let folder = "\(sys)/class/\(name)"
    guard FileManager.default.fileExists(atPath: folder) else { return [] }
    return try FileManager.default.contentsOfDirectory(atPath: folder).filter { entry in
      belongs(URL(filePath: "\(folder)/\(entry)").resolvingSymlinksInPath().path, to: address)
    }.sorted()
  }

  /// True if a path in sysfs is below a PCI device. The drives of an NVMe subsystem are below a virtual device that
  /// links to its controllers.
  private func belongs(_ path: String, to address: String) -> Bool {
    let parts = path.split(separator: "/").map(String.init)
    if parts.contains(address) { return true }
    guard let at = parts.firstIndex(of: "nvme-subsystem"), at + 1 < parts.count else { return false }
    let subsystem = "/" + parts[...(at + 1)].joined(separator: "/")
    // Absent: the subsystem has no controller.
    let links = (try? FileManager.default.contentsOfDirectory(atPath: subsystem)) ?? []
    return links.contains { link in
      guard link.hasPrefix("nvme"), link.dropFirst(4).allSatisfy(\.isNumber) else { return false }
      return URL(filePath: "\(subsystem)/\(link)").resolvingSymlinksInPath().path.split(separator: "/")
        .contains(Substring(address))
    }
  }

  private func useOfBlocks(_ address: String) throws -> String? {
    let mounts = try String(contentsOfFile: "\(proc)/self/mountinfo", encoding: .utf8).split(separator: "\n")
    let swaps = try String(contentsOfFile: "\(proc)/swaps", encoding: .utf8).split(separator: "\n")
      .dropFirst()
    for name in try entries("block", of: address) {
      let folder = "\(sys)/class/block/\(name)"
      // A path to a drive in a subsystem has no number.
      let number = (try? String(contentsOfFile: folder + "/dev", encoding: .utf8))?
        .trimmingCharacters(in: .newlines)
      for mount in mounts {
        // ID, parent, major:minor, root, mount point, options, …, '-', type, source
        let words = mount.split(separator: " ").map(String.init)
        guard words.count > 5 else { continue }
        let source = words.firstIndex(of: "-").flatMap { $0 + 2 < words.count ? words[$0 + 2] : nil }
        if words[2] == number || source == "/dev/\(name)" { return "\(name) is mounted at \(words[4])" }
      }
      if swaps.contains(where: { $0.split(separator: " ").first.map { $0 == "/dev/\(name)" } ?? false }) {
        return "\(name) is swap space"
      }
      // Absent: nothing is on the device.
      let holders = (try? FileManager.default.contentsOfDirectory(atPath: folder + "/holders")) ?? []
      if let holder = holders.sorted().first { return "\(holder) is on \(name)" }
    }
    return nil
  }

  private func useOfInterfaces(_ address: String) throws -> String? {
    for name in try entries("net", of: address) {
      let text = try String(contentsOfFile: "\(sys)/class/net/\(name)/flags", encoding: .utf8)
      let flags = UInt32(text.trimmingCharacters(in: .newlines).dropFirst(2), radix: 16) ?? 0
      // IFF_UP
      guard flags & 1 != 0 else { continue }
      let lines = try addresses(name).split(separator: "\n")
      if lines.contains(where: {
        $0.contains(" inet ") || $0.contains(" inet6 ") && $0.contains("scope global")
      }) {
        return "the interface \(name) is up and has an address"
      }
    }
    return nil
  }
}
