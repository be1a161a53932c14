// SPDX-License-Identifier: Apache-2.0

internal import GuestMemory
internal import Linux

/// A check of the host's resources for guest RAM and vCPUs. It comes before any resource is created.
struct HostResources {
  /// The path of sysfs.
  var sysfs = "/sys"

  /// Throws the first requirement of a VM that this host cannot meet.
  func check(_ configuration: Configuration) throws(RunError) {
    try checkPins(configuration.cpuPins)
    let residence: HostProblem.Residence =
      configuration.devices.contains { $0.address.path == nil }
      ? .pinned : configuration.isPreallocated ? .populated : .touched
    var shift: UInt32?
    switch configuration.backing {
    // The pool is not part of available memory. The kernel checks that the pool has enough pages.
    case .hugePages(let own): shift = own
    case .transparentHugePages: try checkTransparentHugePages()
    case .memfd, .transparentHugePagesIfAvailable: break
    }
    if shift == nil {
      let memory = try step(RunError.kernel) { () throws(KernelError) in try HostMemory() }
      if let problem = memory.problem(guest: configuration.memory, residence) { throw .host(problem) }
    }
    guard let number = configuration.memoryNode else { return }
    try check(node: number, configuration.memory, hugePageShift: shift, residence)
  }

  private func check(
    node number: Int, _ size: UInt64, hugePageShift shift: UInt32?, _ residence: HostProblem.Residence
  ) throws(RunError) {
    let problem = try step(RunError.kernel) { () throws(KernelError) in
      let node = try Sysfs.present { () throws(KernelError) in try NUMANode(number, sysfs: sysfs) }
      if let node { return try node.problem(guest: size, hugePageShift: shift, residence) }
      let online = try Sysfs.present { () throws(KernelError) in
        try Sysfs.read("\(sysfs)/devices/system/node/online")
      }
      return online.map { HostProblem.noNode(number, online: $0) } ?? .noNodes(number)
    }
    if let problem { throw .host(problem) }
  }

  private func checkTransparentHugePages() throws(RunError) {
    let path = "\(sysfs)/kernel/mm/transparent_hugepage/enabled"
    let state = try step(RunError.kernel) { () throws(KernelError) in
      try Sysfs.present { () throws(KernelError) in try Sysfs.read(path) }
    }
    guard let state else { throw .host(.noTransparentHugePages) }
    if state.split(separator: " ").contains("[never]") { throw .host(.transparentHugePagesOff(path: path)) }
  }

  private func checkPins(_ pins: [Int: Int]) throws(RunError) {
    for (cpu, processor) in pins.sorted(by: { $0.key < $1.key }) {
      let mayRun = try step(RunError.kernel) { () throws(KernelError) in
        try Thread.mayRun(onProcessor: processor)
      }
      if !mayRun { throw .host(.processor(processor, vcpu: cpu)) }
    }
  }
}
