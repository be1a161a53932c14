// SPDX-License-Identifier: Apache-2.0

internal import GuestMemory
internal import Linux

/// What the host has to have for a guest's memory and vCPUs, asked before anything is made.
struct HostResources {
  /// Where sysfs is.
  var sysfs = "/sys"

  /// Why the host cannot carry such a VM, and what to do; nil where it can.
  func problem(_ configuration: Configuration) throws(KernelError) -> String? {
    if let problem = try pinProblem(configuration.cpuPins) { return problem }
    let isPopulated = configuration.isPreallocated || !configuration.devices.isEmpty
    var shift: UInt32?
    switch configuration.backing {
    // What is in the pool is no available memory; the kernel itself says whether the pool has enough.
    case .hugePages(let own): shift = own
    case .transparentHugePages: if let problem = transparentProblem() { return problem }
    case .memory, .available: break
    }
    if shift == nil {
      let problem = try HostMemory().problem(
        guest: configuration.memory, isPinned: !configuration.devices.isEmpty,
        isPreallocated: configuration.isPreallocated)
      if let problem { return problem }
    }
    guard let number = configuration.memoryNode else { return nil }
    do throws(KernelError) {
      return try HostNode(number, sysfs: sysfs)
        .problem(guest: configuration.memory, hugePageShift: shift, isPopulated: isPopulated)
    } catch {
      guard error.errno == KernelError.noEntry else { throw error }
      return noNode(number)
    }
  }

  private func noNode(_ number: Int) -> String {
    do throws(KernelError) {
      let online = try Sysfs.read("\(sysfs)/devices/system/node/online")
      return "--memory: this machine has no NUMA node \(number); give node= one of \(online), or leave it out"
    } catch { return "--memory: this machine's kernel knows no NUMA nodes; leave node=\(number) out" }
  }

  private func transparentProblem() -> String? {
    let path = "\(sysfs)/kernel/mm/transparent_hugepage/enabled"
    do throws(KernelError) {
      guard try Sysfs.read(path).split(separator: " ").contains("[never]") else { return nil }
      return
        "--memory: transparent huge pages are off on this machine; type 'echo madvise | sudo tee \(path)', "
        + "or leave hugepages=thp out"
    } catch {
      return "--memory: this machine's kernel has no transparent huge pages; leave hugepages=thp out"
    }
  }

  private func pinProblem(_ pins: [Int: Int]) throws(KernelError) -> String? {
    for (cpu, processor) in pins.sorted(by: { $0.key < $1.key })
    where try !Thread.mayRun(onProcessor: processor) {
      return "--cpu-pin \(cpu):\(processor): this process may not run on processor \(processor) of the host; "
        + "'grep Cpus_allowed_list /proc/self/status' says on which it may"
    }
    return nil
  }
}
