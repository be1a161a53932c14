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

  /// Returns a copy of the kernel that has iommufd and the VFIO device files. The first call builds the copy.
  ///
  /// The copy consists of hard links to the stock kernel's files, except for the modules that are built.
  func kernelWithIOMMUFD(_ name: KernelName) throws -> KernelPackage {
    let stock = try kernel(name).get()
    let root = workspace.kernels.appending(path: "\(name.rawValue)-iommufd")
    let complete = root.appending(path: ".complete")
    let version = try? String(contentsOf: complete, encoding: .utf8)  // absent: not built
    if version == stock.version { return try KernelPackage(root: root) }
    do {
      try root.removeIfPresent()
      try root.makeDirectory()
      let directory = workspace.lab.appending(path: "iommufd")
      let modules = IOMMUFDModules(
        kernel: stock, aptOptions: try aptOptions(name), directory: directory)
      let files = try modules.build()
      for name in ["boot", "lib"] {
        try Command.output(["cp", "-al", stock.root.appending(path: name).path, root.path])
      }
      try replace(files, in: KernelPackage(root: root))
      try directory.removeIfPresent()
      try Data(stock.version.utf8).write(to: complete)
    } catch let error as Unavailable {
      throw error
    } catch {
      throw LabError("kernel \(name.rawValue): iommufd modules: \(sentence(error))")
    }
    return try KernelPackage(root: root)
  }

  /// Removes the modules of the same names, and installs these files.
  private func replace(_ files: [URL], in kernel: KernelPackage) throws {
    let modules = kernel.root.appending(path: "lib/modules/\(kernel.version)")
    let updates = modules.appending(path: "updates")
    try updates.makeDirectory()
    for file in files {
      let name = file.lastPathComponent
      try Command.output(["find", modules.path, "-name", "\(name)*", "-delete"])
      try FileManager.default.copyItem(at: file, to: updates.appending(path: name))
    }
    try Command.output(["depmod", "-b", kernel.root.path, kernel.version])
  }

  /// Returns the options that make apt use the lists with this kernel.
  private func aptOptions(_ name: KernelName) throws -> [String] {
    name.isBackport ? try AptLists(workspace: workspace).options(.backports) : []
  }

  private func unpack(_ name: KernelName, into root: URL) throws {
    let options = try aptOptions(name)
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
