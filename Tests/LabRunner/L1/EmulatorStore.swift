// SPDX-License-Identifier: Apache-2.0

import Foundation

/// The QEMU that emulates L1, built under `.build/lab/emulator`.
///
/// The source is Debian's, without one line. The line injects some interrupts of guests twice.
///
/// VMRUN with an external interrupt in EVENTINJ delivers the interrupt and leaves its vector in
/// `CPUState::exception_index` (helper_vmrun in svm_helper.c: 7.2.22, and upstream's commit 3b50303f95). If
/// another thread of QEMU then calls `cpu_exit` for this processor before the guest's next exit,
/// `cpu_handle_exception` delivers the vector again, even if the guest's IF is clear. With one thread for all
/// processors, 5 of 5 Linux guests with four vCPUs hung.
struct EmulatorStore {
  let workspace: Workspace

  private var root: URL { workspace.lab.appending(path: "emulator") }
  private static let name = "qemu-system-x86_64"

  /// Returns the program. The first call builds it.
  func program() throws -> URL {
    let program = root.appending(path: Self.name)
    if program.exists { return program }
    do { try build(to: program) } catch { throw LabError("QEMU for L1: build: \(sentence(error))") }
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
    // The directory differs between Debian 12 and 13.
    let files = ["sysemu", "system"].map {
      source.appending(path: "target/i386/tcg/\($0)/svm_helper.c")
    }
    guard let file = files.first(where: \.exists) else {
      throw LabError("\(source.path): svm_helper.c: not found")
    }
    let text = try String(contentsOf: file, encoding: .utf8)
    guard let patched = Self.patched(text) else {
      throw LabError(
        "\(file.path): unexpected code for the injection of an interrupt; check whether QEMU has fixed it")
    }
    try Data(patched.utf8).write(to: file)
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
