// SPDX-License-Identifier: Apache-2.0

internal import Linux

/// A NUMA node of the host (/sys/devices/system/node/nodeN). Sizes are in bytes.
struct NUMANode {
  let number: Int
  let total: UInt64
  /// The size of the memory that is free or reclaimable.
  let available: UInt64
  private let path: String

  /// - Parameters:
  ///   - number: The number of the node.
  ///   - sysfs: The path of sysfs.
  init(_ number: Int, sysfs: String = "/sys") throws(KernelError) {
    let path = "\(sysfs)/devices/system/node/node\(number)"
    self.init(number, path: path, parsing: try Sysfs.read("\(path)/meminfo"))
  }

  private init(_ number: Int, path: String, parsing text: String) {
    func field(_ name: String) -> UInt64 {
      for line in text.split(separator: "\n") {
        // Node 0 MemTotal:       24684084 kB
        let fields = line.split(separator: " ")
        if fields.count >= 4, fields[2] == name + ":", let kibibytes = UInt64(fields[3]) {
          return kibibytes << 10
        }
      }
      return 0
    }
    self.number = number
    self.path = path
    total = field("MemTotal")
    available = ["MemFree", "Active(file)", "Inactive(file)", "SReclaimable"].map(field).reduce(0, +)
  }

  private func pool(_ kibibytes: UInt64) -> String { "\(path)/hugepages/hugepages-\(kibibytes)kB" }

  /// Returns the number of free huge pages in this node's pool, or 0 if the kernel does not support the size.
  func freeHugePages(kibibytes: UInt64) throws(KernelError) -> UInt64 {
    let text = try Sysfs.present { () throws(KernelError) in
      try Sysfs.read("\(pool(kibibytes))/free_hugepages")
    }
    return text.flatMap { UInt64($0) } ?? 0
  }

  /// Returns the problem of guest RAM from this node, or nil.
  func problem(
    guest size: UInt64, hugePageShift shift: UInt32?, _ residence: HostProblem.Residence
  ) throws(KernelError) -> HostProblem? {
    guard let shift else {
      let limit = residence == .touched ? total : available
      return size > limit ? .nodeMemory(number, size: size, limit: limit, residence) : nil
    }
    let kibibytes: UInt64 = 1 << UInt64(shift - 10)
    let (wanted, free) = (size >> UInt64(shift), try freeHugePages(kibibytes: kibibytes))
    guard wanted > free else { return nil }
    return .nodeHugePages(number, count: wanted, kibibytes: kibibytes, free: free, pool: pool(kibibytes))
  }
}
