// SPDX-License-Identifier: Apache-2.0

import Foundation

/// A QEMU that emulates Intel's 82576 (igb), with which the selftests make DMA. QEMU has the device since version 8.
struct SelftestEmulator {
  let workspace: Workspace

  private static let name = "qemu-system-x86_64"
  private var directory: URL { workspace.lab.appending(path: "emulator-igb") }

  /// Returns the program and its first arguments. The first call downloads QEMU if this machine's is older.
  func program() throws -> [String] {
    // An unknown device has status 0 and no output.
    if try Command.result([Self.name, "-device", "igb,help"]).output.contains("igb") { return [Self.name] }
    let complete = directory.appending(path: ".complete")
    if !complete.exists {
      let root = BuildRoot(directory: directory, isForeign: true)
      try root.create()
      let suite = try DebianSuite.machine.backports
      let options =
        try AptLists(workspace: workspace).options(suite.withRelease) + ["--target-release", suite.name]
      printLine("lab: downloading QEMU of \(suite.name)")
      try root.download(["qemu-system-x86"], options, programs: [])
      try root.unpack()
      try directory.appending(path: "packages").removeIfPresent()
      try Data().write(to: complete)
    }
    return command
  }

  /// The program runs with the C library and the other libraries of its suite.
  private var command: [String] {
    func path(_ name: String) -> String { directory.appending(path: name).path }
    return [
      path("lib64/ld-linux-x86-64.so.2"), "--library-path",
      "\(path("usr/lib/x86_64-linux-gnu")):\(path("lib/x86_64-linux-gnu"))", path("usr/bin/\(Self.name)"),
      "-L", path("usr/share/qemu"), "-L", path("usr/share/seabios"), "-L", path("usr/lib/ipxe/qemu"),
    ]
  }
}
