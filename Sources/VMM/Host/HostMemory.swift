// SPDX-License-Identifier: Apache-2.0

internal import Linux

/// The sizes of the host's memory in bytes (/proc/meminfo).
struct HostMemory {
  let total: UInt64
  let available: UInt64

  init() throws(KernelError) { self.init(parsing: try Sysfs.read("/proc/meminfo")) }

  init(parsing text: String) {
    func field(_ name: String) -> UInt64 {
      for line in text.split(separator: "\n") where line.hasPrefix(name + ":") {
        let fields = line.split(separator: " ")
        if fields.count >= 2, let kibibytes = UInt64(fields[1]) { return kibibytes << 10 }
      }
      return 0
    }
    total = field("MemTotal")
    available = field("MemAvailable")
  }

  /// Returns the problem of a guest with the given size of RAM. Returns nil if the host has enough memory or
  /// does not report the size of its memory.
  func problem(guest size: UInt64, _ residence: HostProblem.Residence) -> HostProblem? {
    let limit = residence == .touched ? total : available
    guard total > 0, size > limit else { return nil }
    return .memory(size: size, limit: limit, residence)
  }
}
