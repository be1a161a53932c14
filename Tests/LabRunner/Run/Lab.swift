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

  /// Runs the cases in an L1 with this kernel. Skips all of them if the kernel is missing.
  mutating func run(
    _ cases: [Case], l1: KernelName, vmm: String = "sluice", times: Int = 1, prefix: String = "",
    isBench: Bool = false
  ) throws {
    if let reason = manifest.missing[l1.rawValue] {
      for one in cases { report.add(Event(.skip, one.name, text: reason), prefix: prefix) }
      return
    }
    for isSingleThreaded in [false, true] {
      let some = cases.filter { $0.needsSingleThreadedTCG == isSingleThreaded }
      var session = Session(
        workspace: workspace, preparation: preparation, kernel: l1, vmm: vmm, times: times, prefix: prefix)
      session.isSingleThreaded = isSingleThreaded
      session.isBench = isBench
      try session.run(some, manifest: manifest, report: &report)
    }
  }

  /// Replaces this process with a QEMU whose L1 runs a shell on this terminal.
  func shell(l1: KernelName) throws {
    let machine = try preparation.machine(
      l1,
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
