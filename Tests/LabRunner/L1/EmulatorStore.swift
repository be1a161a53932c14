// SPDX-License-Identifier: Apache-2.0

import Foundation

/// The QEMU that emulates L1, built under `.build/lab/emulator`.
///
/// The source is Debian's, with three changes.
///
/// The first change removes a line that injects some interrupts of guests twice.
/// VMRUN with an external interrupt in EVENTINJ delivers the interrupt and leaves its vector in
/// `CPUState::exception_index` (helper_vmrun in svm_helper.c: 7.2.22, and upstream's commit 3b50303f95). If
/// another thread of QEMU then calls `cpu_exit` for this processor before the guest's next exit,
/// `cpu_handle_exception` delivers the vector again, even if the guest's IF is clear. With one thread for all
/// processors, 5 of 5 Linux guests with four vCPUs hung.
///
/// The second change clears the whole field EVENTINJ after an event is delivered. QEMU clears only the valid bit
/// there (do_interrupt_all in seg_helper.c), and copies the rest to EXITINTINFO at the next exit. Linux from 6.14
/// on tests the type of EXITINTINFO without its valid bit (svm_check_emulate_instruction). If KVM then has to
/// emulate an access to memory, it executes the instruction again, or ends the VM with KVM_EXIT_INTERNAL_ERROR,
/// suberror 3. The case `exceptions` shows the field.
///
/// The third change removes two assertions of e1000e. A timer that delays an interrupt expires after the guest has
/// turned MSI-X on or off, and QEMU then ends (e1000e_core.c). The guest `intx` did that in 4 of 8 runs.
struct EmulatorStore {
  let workspace: Workspace

  private var root: URL { workspace.lab.appending(path: "emulator") }
  private static let name = "qemu-system-x86_64"
  /// The number of changes. A program with another number is built again.
  private static let changes = "3"

  /// Returns the program. The first call builds it.
  func program() throws -> URL {
    let program = root.appending(path: Self.name)
    let stamp = root.appending(path: "changes")
    let built = try? String(contentsOf: stamp, encoding: .utf8)  // absent: not built
    if program.exists, built == Self.changes { return program }
    do { try build(to: program) } catch { throw LabError("QEMU for L1: build: \(sentence(error))") }
    try Data(Self.changes.utf8).write(to: stamp)
    return program
  }

  private func build(to program: URL) throws {
    try root.removeIfPresent()
    try root.makeDirectory()
    printLine("lab: downloading the source of QEMU")
    let options = try AptLists(workspace: workspace).options([DebianSuite.machine], type: "deb-src")
    try Command.output(["apt-get"] + options + ["source", "qemu"], in: root)
    let source = try unpackedSource()
    try patch(source)
    printLine("lab: building QEMU for L1")
    let build = root.appending(path: "build")
    try build.makeDirectory()
    try Command.output(
      [
        source.appending(path: "configure").path, "--target-list=x86_64-softmmu",
        "--without-default-features",
        "--enable-tcg", "--enable-slirp", "--enable-virtfs", "--enable-attr", "--enable-cap-ng",
        "--enable-fdt=system",
        "--disable-docs", "--disable-tools", "--disable-guest-agent", "--disable-debug-info",
        "--firmwarepath=/usr/share/qemu:/usr/share/seabios:/usr/lib/ipxe/qemu", "--meson=/usr/bin/meson",
      ], in: build, mergingErrors: true)
    try Command.output(["ninja", Self.name], in: build, mergingErrors: true)
    try FileManager.default.moveItem(at: build.appending(path: Self.name), to: program)
    for name in try FileManager.default.contentsOfDirectory(atPath: root.path) where name != Self.name {
      try root.appending(path: name).removeIfPresent()
    }
  }

  private func unpackedSource() throws -> URL {
    for name in try FileManager.default.contentsOfDirectory(atPath: root.path) {
      let directory = root.appending(path: name)
      if directory.appending(path: "configure").exists { return directory }
    }
    throw LabError("\(root.path): no directory has QEMU's configure")
  }

  private func patch(_ source: URL) throws {
    // The directory of the first file differs between Debian 12 and 13.
    try patch(
      ["sysemu", "system"].map { source.appending(path: "target/i386/tcg/\($0)/svm_helper.c") },
      "the injection of an interrupt", Self.patched)
    try patch(
      [source.appending(path: "target/i386/tcg/seg_helper.c")], "the end of an injection", Self.clearing)
    try patch(
      [source.appending(path: "hw/net/e1000e_core.c")], "the timers of delayed interrupts", Self.tolerating)
  }

  private func patch(_ files: [URL], _ place: String, _ change: (String) -> String?) throws {
    guard let file = files.first(where: \.exists) else {
      throw LabError("\(files[0].path): not found; compare QEMU's source with EmulatorStore")
    }
    guard let patched = change(try String(contentsOf: file, encoding: .utf8)) else {
      throw LabError("\(file.path): unexpected code for \(place); check whether QEMU has fixed it")
    }
    try Data(patched.utf8).write(to: file)
  }

  /// Replaces the value that seg_helper.c writes to EVENTINJ after the delivery of an event by 0.
  ///
  /// Returns nil unless the value occurs exactly once.
  static func clearing(_ text: String) -> String? {
    let value = "event_inj & ~SVM_EVTINJ_VALID"
    guard text.ranges(of: value).count == 1 else { return nil }
    return text.replacing(value, with: "event_inj & 0")
  }

  /// Makes the timers of e1000e accept that MSI-X has been turned on or off since their start.
  ///
  /// Returns nil unless each assertion occurs exactly once.
  static func tolerating(_ text: String) -> String? {
    let on = "assert(msix_enabled(timer->core->owner));"
    let off = "assert(!msix_enabled(timer->core->owner));"
    guard text.ranges(of: on).count == 1, text.ranges(of: off).count == 1 else { return nil }
    return text.replacing(off, with: "").replacing(
      on, with: "if (!msix_enabled(timer->core->owner)) { timer->running = false; return; }")
  }

  /// Removes the first assignment of `exception_index` in the case of an external interrupt of svm_helper.c.
  ///
  /// Returns nil if the case does not begin with the assignment.
  static func patched(_ text: String) -> String? {
    guard let label = text.range(of: "case SVM_EVTINJ_TYPE_INTR:") else { return nil }
    let rest = text[label.upperBound...]
    guard let end = rest.firstIndex(of: ";"), rest[..<end].contains("exception_index = vector") else {
      return nil
    }
    return String(text[..<label.upperBound]) + String(rest[rest.index(after: end)...])
  }
}
