// SPDX-License-Identifier: Apache-2.0

internal import Linux

/// A NUMA node of the host (/sys/devices/system/node/nodeN), in bytes.
struct HostNode {
  let number: Int
  let total: UInt64
  /// What is free or can be made free.
  let available: UInt64
  private let path: String

  /// - Parameter sysfs: Where sysfs is.
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

  /// How many huge pages of the pool are free here; 0 where there are none of that size.
  func freeHugePages(kibibytes: UInt64) -> UInt64 {
    let name = "\(path)/hugepages/hugepages-\(kibibytes)kB/free_hugepages"
    // No such file: the kernel has no huge pages of that size.
    do throws(KernelError) { return UInt64(try Sysfs.read(name)) ?? 0 } catch { return 0 }
  }

  /// Why guest RAM cannot come from here; nil where it can.
  ///
  /// - Parameter isPopulated: All of it will be there, because it is pinned or populated.
  func problem(guest size: UInt64, hugePageShift shift: UInt32?, isPopulated: Bool) -> String? {
    let advice = "give a smaller --memory, or leave node=\(number) out"
    guard let shift else {
      let limit = isPopulated ? available : total
      guard size > limit else { return nil }
      return "guest memory of \(size >> 20) MiB: NUMA node \(number) has \(limit >> 20) MiB"
        + (isPopulated ? " available; " : "; ") + advice
    }
    let kibibytes: UInt64 = 1 << UInt64(shift - 10)
    let (wanted, free) = (size >> UInt64(shift), freeHugePages(kibibytes: kibibytes))
    guard wanted > free else { return nil }
    return
      "guest memory of \(wanted) huge pages of \(kibibytes)K: NUMA node \(number) has \(free) free; type 'echo "
      + "\(wanted) | sudo tee \(path)/hugepages/hugepages-\(kibibytes)kB/nr_hugepages', or leave node=\(number) out"
  }
}
