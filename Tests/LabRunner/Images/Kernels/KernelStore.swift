// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Kernels, unpacked under `.build/lab/kernels`.
struct KernelStore {
  let workspace: Workspace

  private var lists: AptLists { AptLists(workspace: workspace) }

  /// Returns one of Debian's kernels. The first call downloads the kernel.
  ///
  /// - Throws: `Unavailable` with the cause if that fails.
  func kernel(_ name: KernelName) throws(Unavailable) -> KernelPackage {
    do {
      return try unpacked(name.rawValue, stamp: "") { try unpack(name, into: $0) }
    } catch {
      throw Unavailable("kernel \(name.rawValue): \(sentence(error))")
    }
  }

  /// Returns the kernel of an L1 with its own modules.
  func stockKernel(_ l1: L1Kernel) throws -> KernelPackage {
    switch l1.source {
    case .debian(let name): try kernel(name)
    case .local(let local):
      try unpacked("local", stamp: local.stamp) { root in
        printLine("lab: copying the kernel \(local.version) and its modules")
        try local.install(in: root)
      }
    }
  }

  /// Returns the kernel of an L1, with iommufd and the fault that it asks for. The first call builds modules.
  func kernel(_ l1: L1Kernel) throws -> KernelPackage {
    let stock = try stockKernel(l1)
    guard l1.iommufd || l1.mutant != nil else { return stock }
    if l1.mutant == nil, try stock.hasIOMMUFD { return stock }
    guard case .debian(let name) = l1.source else {
      throw LabError(
        "--iommufd: the kernel \(l1.name) has no iommufd; set CONFIG_IOMMUFD and CONFIG_VFIO_DEVICE_CDEV")
    }
    return try kernelWithIOMMUFD(name, stock, l1.mutant)
  }

  /// Returns the kernel in a directory that `body` fills. A later call with another stamp fills it again.
  private func unpacked(_ name: String, stamp: String, _ body: (URL) throws -> Void) throws -> KernelPackage {
    let root = workspace.kernels.appending(path: name)
    let complete = root.appending(path: ".complete")
    if (try? String(contentsOf: complete, encoding: .utf8)) == stamp {  // absent: not complete
      return try KernelPackage(root: root)
    }
    try root.removeIfPresent()
    try root.makeDirectory()
    try body(root)
    let kernel = try KernelPackage(root: root)
    try Command.output(["depmod", "-b", root.path, kernel.version])
    try Data(stamp.utf8).write(to: complete)
    return kernel
  }

  /// Returns a copy of a kernel that has iommufd and the VFIO device files.
  ///
  /// The copy consists of hard links to the stock kernel's files, except for the modules that are built.
  private func kernelWithIOMMUFD(
    _ name: KernelName, _ stock: KernelPackage, _ mutant: ModuleMutant?
  ) throws -> KernelPackage {
    let directory = "\(name.rawValue)-iommufd" + (mutant.map { "-\($0.rawValue)" } ?? "")
    do {
      return try unpacked(directory, stamp: stock.version) { root in
        let release = name.suite.release
        let isForeign = try release != DebianSuite.machine
        let build = BuildRoot(
          directory: workspace.lab.appending(path: "roots/\(isForeign ? release.name : "machine")"),
          isForeign: isForeign)
        let options = try isForeign ? lists.options(name.suite.withRelease) : aptOptions(name)
        let modules = IOMMUFDModules(kernel: stock, aptOptions: options, root: build, mutant: mutant)
        let files = try modules.build()
        for entry in try FileManager.default.contentsOfDirectory(atPath: stock.root.path)
        where entry != ".complete" {
          try Command.output(["cp", "-al", stock.root.appending(path: entry).path, root.path])
        }
        try replace(files, in: KernelPackage(root: root))
        // The compiler of another suite stays for the next build. The machine's compiler is installed.
        try build.directory.appending(path: isForeign ? "source" : "").removeIfPresent()
      }
    } catch let error as Unavailable {
      throw error
    } catch {
      throw LabError("kernel \(name.rawValue): iommufd modules: \(sentence(error))")
    }
  }

  /// Removes the modules of the same names, and installs these files.
  private func replace(_ files: [URL], in kernel: KernelPackage) throws {
    let updates = kernel.modules.appending(path: "updates")
    try updates.makeDirectory()
    for file in files {
      let name = file.lastPathComponent
      try Command.output(["find", kernel.modules.path + "/", "-name", "\(name)*", "-delete"])
      try FileManager.default.copyItem(at: file, to: updates.appending(path: name))
    }
  }

  /// Returns the options that make apt use the lists with the kernel of an L1.
  func aptOptions(_ l1: L1Kernel) throws -> [String] {
    guard case .debian(let name) = l1.source else {
      throw LabError("\(l1.name): no package of Debian; use a kernel of Debian")
    }
    return try aptOptions(name)
  }

  /// Returns the options that make apt use the lists with this kernel.
  private func aptOptions(_ name: KernelName) throws -> [String] {
    try name.suite == DebianSuite.machine ? [] : lists.options([name.suite])
  }

  private func unpack(_ name: KernelName, into root: URL) throws {
    let options = try aptOptions(name)
    let packages = try packages(of: name.metaPackage, options)
    printLine("lab: downloading \(packages.joined(separator: " "))")
    let download = root.appending(path: "download")
    try download.makeDirectory()
    try AptGet.run(options + ["download"] + packages, in: download)
    let files = try FileManager.default.contentsOfDirectory(atPath: download.path)
    try KernelPackage.unpack(files.map { download.appending(path: $0) }, into: root)
    try download.removeIfPresent()
  }

  /// Returns the packages with the kernel and its modules, on which the meta package depends.
  private func packages(of meta: String, _ options: [String]) throws -> [String] {
    func dependencies(_ package: String) throws -> [String] {
      let shown = try Command.output(["apt-cache"] + options + ["show", "--no-all-versions", package])
      return AptFields(shown).dependencies
    }
    guard let image = try dependencies(meta).first(where: { $0.hasPrefix("linux-image-") }) else {
      throw LabError("\(meta): no kernel package; check that its suite is in apt's lists")
    }
    return try AptFields.packages(ofImage: image, dependencies: dependencies(image))
  }
}
