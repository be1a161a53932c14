// SPDX-License-Identifier: Apache-2.0

import Foundation
import Linux
import SystemPackage

/// The lab. It prepares all files once, and then starts one L1 after the other.
struct Lab {
  let workspace: Workspace
  private let preparation: Preparation
  var manifest: Manifest
  var report = Report()

  init() throws {
    workspace = .current
    preparation = Preparation(workspace)
    try Self.lock(workspace.lab)
    try workspace.out.removeIfPresent()
    try workspace.out.makeDirectory()
    manifest = try preparation.manifest()
  }

  /// Locks the lab's directory until this process ends. A second run would write to the drives of the first.
  private static func lock(_ directory: URL) throws {
    try directory.makeDirectory()
    let path = directory.appending(path: "lock").path
    // The descriptor stays open.
    let file = try FileDescriptor.open(
      FilePath(path), .readWrite, options: [.create, .closeOnExec], permissions: .ownerReadWrite)
    guard flock(file.rawValue, LOCK_EX | LOCK_NB) == 0 else {
      throw LabError("\(path): another command of Tests/lab runs in this tree; wait for its end")
    }
  }

  /// Runs the cases in an L1 with this kernel. Skips the cases that this L1 cannot run.
  ///
  /// - Parameters:
  ///   - cases: The cases.
  ///   - l1: The kernel of L1.
  ///   - vmm: The VMM that runs the Linux guests.
  ///   - times: The number of runs of each case.
  ///   - prefix: The prefix of the cases' names in the report.
  ///   - extra: The devices that only some commands need.
  mutating func run(
    _ cases: [Case], l1: L1Kernel, vmm: String = "sluice", times: Int = 1, prefix: String = "",
    extra: ExtraDevices = .none
  ) throws {
    var cases = cases
    func skip(_ one: Case, _ reason: String) {
      report.add(Event(.skip, one.name, text: reason), prefix: prefix)
    }
    do {
      let stock = try preparation.store.stockKernel(l1)
      cases.removeAll { one in
        guard let reason = Self.reasonToSkip(one, l1, stock.numbers) else { return false }
        skip(one, reason)
        return true
      }
      guard !cases.isEmpty else { return }
      _ = try preparation.store.kernel(l1)
      if extra == .igb { manifest.selftests = try preparation.selftests(for: l1, stock) }
    } catch let error as Unavailable {
      printLine("lab: \(error)")
      for one in cases { skip(one, error.description) }
      return
    }
    for name in Set(cases.flatMap(\.guestKernels)) where manifest.guestKernels[name.rawValue] == nil {
      try preparation.add(name, to: &manifest)
    }
    for suite in Set(cases.compactMap(\.systemd)) where manifest.systemdRoots[suite] == nil {
      try preparation.add(systemd: suite, to: &manifest)
    }
    var manifest = manifest
    manifest.iommu = l1.iommufd ? "iommufd" : nil
    for emulation in Emulation.allCases {
      let some = cases.filter { $0.emulation == emulation }
      var session = Session(
        workspace: workspace, preparation: preparation, kernel: l1, vmm: vmm, times: times, prefix: prefix)
      session.emulation = emulation
      session.extra = extra
      try session.run(some, manifest: manifest, report: &report)
    }
  }

  /// Returns the reason why the case cannot run in an L1 with this kernel, or nil if it can.
  ///
  /// - Parameters:
  ///   - one: The case.
  ///   - l1: The kernel.
  ///   - version: The kernel's version, or nil if it is not known.
  static func reasonToSkip(_ one: Case, _ l1: L1Kernel, _ version: KernelVersion?) -> String? {
    var needed = [one.needsLinux, l1.mutant?.firstVersion].compactMap(\.self)
    if l1.iommufd || one.needsIOMMUFD { needed.append(IOMMUFDModules.firstVersion) }
    if let version, let least = needed.max(), version < least { return "needs \(least)" }
    return one.needsIOMMUFD && !l1.iommufd ? "needs iommufd in L1; use 'Tests/lab run --iommufd'" : nil
  }

  /// Replaces this process with a QEMU whose L1 runs a shell on this terminal.
  func shell(l1: L1Kernel) throws {
    if l1.iommufd, let version = try preparation.store.stockKernel(l1).numbers,
      version < IOMMUFDModules.firstVersion
    {
      throw LabError("--iommufd: needs \(IOMMUFDModules.firstVersion); use --l1 6.12")
    }
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
