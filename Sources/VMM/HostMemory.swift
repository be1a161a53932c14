// SPDX-License-Identifier: Apache-2.0

internal import Linux

/// The host's memory, in bytes (/proc/meminfo).
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

  /// Why a guest of a size cannot run here; nil where it can.
  ///
  /// - Parameters:
  ///   - isPinned: All of it will be pinned, because a device may reach it.
  ///   - isPreallocated: All of it will be populated.
  func problem(guest size: UInt64, isPinned: Bool, isPreallocated: Bool = false) -> String? {
    let limit = isPinned || isPreallocated ? available : total
    guard total > 0, size > limit else { return nil }
    let reason =
      if isPinned {
        "a guest with devices has all its memory pinned, and this machine has \(limit >> 20) MiB available"
      } else if isPreallocated {
        "all of it is to be there from the start, and this machine has \(limit >> 20) MiB available"
      } else {
        "this machine has \(limit >> 20) MiB"
      }
    return "guest memory of \(size >> 20) MiB: \(reason); give a smaller --memory"
  }
}
