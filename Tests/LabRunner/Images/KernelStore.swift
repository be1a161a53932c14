// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Debian's kernels, downloaded and unpacked under `.build/lab/kernels`.
struct KernelStore {
  let workspace: Workspace

  /// Returns the kernel if it exists or can be downloaded, else the cause.
  func kernel(_ name: KernelName) -> Result<KernelPackage, LabError> {
    Result {
      let root = workspace.kernels.appending(path: name.rawValue)
      let complete = root.appending(path: ".complete")
      if !complete.exists {
        try root.removeIfPresent()
        try root.makeDirectory()
        try unpack(name, into: root)
        let kernel = try KernelPackage(root: root)
        try Command.output(["depmod", "-b", root.path, kernel.version])
        try Data().write(to: complete)
      }
      return try KernelPackage(root: root)
    }.mapError { LabError("kernel \(name.rawValue): \($0)") }
  }

  private func unpack(_ name: KernelName, into root: URL) throws {
    let options = name.isBackport ? try AptLists(workspace: workspace).options(.backports) : []
    let package = try dependency(of: name.metaPackage, options)
    printLine("lab: downloading \(package)")
    let download = root.appending(path: "download")
    try download.makeDirectory()
    try Command.output(["apt-get"] + options + ["download", package], in: download)
    for file in try FileManager.default.contentsOfDirectory(atPath: download.path) {
      try Command.output(["dpkg", "-x", download.appending(path: file).path, root.path])
    }
    try download.removeIfPresent()
  }

  /// Returns the package with the kernel, on which the meta package depends.
  private func dependency(of package: String, _ options: [String]) throws -> String {
    let output = try Command.output(["apt-cache"] + options + ["depends", "--important", package])
    for line in output.split(separator: "\n") {
      let words = line.split(separator: " ")
      if words.count == 2, words[0] == "Depends:", words[1].hasPrefix("linux-image-") {
        return String(words[1])
      }
    }
    throw LabError("\(package): no kernel package; check that its suite is in apt's lists")
  }
}
