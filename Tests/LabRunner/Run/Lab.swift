// SPDX-License-Identifier: Apache-2.0

import Foundation

/// The lab. It prepares all files once, and then starts one L1 after the other.
struct Lab {
  let workspace: Workspace
  private let preparation: Preparation
  var manifest: Manifest
  var report = Report()

  init() throws {
    workspace = .current
    preparation = Preparation(workspace)
    try workspace.out.removeIfPresent()
    try workspace.out.makeDirectory()
    manifest = try preparation.manifest()
  }

  /// Runs the cases in an L1 with this kernel. Skips the cases that this L1 cannot run.
  ///
  /// - Parameters:
  ///   - cases: The cases.
  ///   - l1: The kernel of L1.
  ///   - iommufd: True if L1's kernel has iommufd.
  ///   - vmm: The VMM that runs the Linux guests.
  ///   - times: The number of runs of each case.
  ///   - prefix: The prefix of the cases' names in the report.
  ///   - isBench: True for the measurements of `bench`.
  mutating func run(
    _ cases: [Case], l1: KernelName, iommufd: Bool = false, vmm: String = "sluice", times: Int = 1,
    prefix: String = "", isBench: Bool = false
  ) throws {
    var cases = cases
    cases.removeAll { one in
      guard let reason = reasonToSkip(one, l1: l1, iommufd: iommufd) else { return false }
      report.add(Event(.skip, one.name, text: reason), prefix: prefix)
      return true
    }
    guard !cases.isEmpty else { return }
    do { _ = try preparation.hostKernel(l1, iommufd: iommufd) } catch let error as Unavailable {
      printLine("lab: \(error)")
      for one in cases { report.add(Event(.skip, one.name, text: error.description), prefix: prefix) }
      return
    }
    var manifest = manifest
    manifest.iommu = iommufd ? "iommufd" : nil
    for isSingleThreaded in [false, true] {
      let some = cases.filter { $0.needsSingleThreadedTCG == isSingleThreaded }
      var session = Session(
        workspace: workspace, preparation: preparation, kernel: l1, vmm: vmm, times: times, prefix: prefix)
      session.isSingleThreaded = isSingleThreaded
      session.isBench = isBench
      session.iommufd = iommufd
      try session.run(some, manifest: manifest, report: &report)
    }
  }

  private func reasonToSkip(_ one: Case, l1: KernelName, iommufd: Bool) -> String? {
    if let reason = manifest.missing[l1.rawValue] { return reason }
    if iommufd || one.needsIOMMUFD, let reason = reasonWithoutIOMMUFD(l1) { return reason }
    return one.needsIOMMUFD && !iommufd ? "needs iommufd in L1; use 'Tests/lab run --iommufd'" : nil
  }

  /// Returns the reason why an L1 with this kernel cannot have iommufd, or nil if it can.
  private func reasonWithoutIOMMUFD(_ l1: KernelName) -> String? {
    guard let version = manifest.guestKernels[l1.rawValue]?.version,
      let numbers = KernelPackage.numbers(ofVersion: version), numbers < IOMMUFDModules.firstVersion
    else { return nil }
    return "needs Linux \(IOMMUFDModules.firstVersion.0).\(IOMMUFDModules.firstVersion.1)"
  }

  /// Replaces this process with a QEMU whose L1 runs a shell on this terminal.
  func shell(l1: KernelName, iommufd: Bool) throws {
    if iommufd, let reason = reasonWithoutIOMMUFD(l1) {
      throw LabError("--iommufd: \(reason); use --l1 6.12")
    }
    let machine = try preparation.machine(
      l1, iommufd: iommufd,
      command: "'\(workspace.runner.path)' inside --manifest '\(workspace.manifest.path)' --port /dev/null "
        + "--command 'cd \(workspace.tree.path); exec setsid --ctty --wait bash' </dev/ttyS0 >/dev/ttyS0 2>&1"
    )
    var manifest = manifest
    manifest.modules = machine.kernel.root.path
    try manifest.write(to: workspace.manifest)
    printLine(
      "lab: 'exit' powers L1 off; Ctrl-A x ends QEMU; bound to vfio-pci: \(Address.assignable.joined(separator: " "))"
    )
    let arguments = machine.arguments(console: "mon:stdio", reports: "null")
    // SAFETY: the duplicated strings are never freed. The process is replaced, or the runner exits.
    let strings = unsafe arguments.map { unsafe strdup($0) } + [nil]
    _ = unsafe execvp(arguments[0], strings)
    throw LabError("\(arguments[0]): execvp: errno \(errno)")
  }
}
