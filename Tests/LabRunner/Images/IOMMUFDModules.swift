// SPDX-License-Identifier: Apache-2.0

import Foundation

/// The archive does not have a package, or cannot be reached. The cases that need the package are skipped.
struct Unavailable: Error, CustomStringConvertible {
  let description: String

  init(_ description: String) { self.description = description }
}

/// The build of iommufd and of the VFIO modules that use it, for one of Debian's kernels.
///
/// Debian's kernels have neither iommufd nor the VFIO device files in /dev/vfio/devices. Both options change
/// `struct vfio_device`, so that the modules that use the structure are built again. The sources are
/// Debian's, in exactly the version of the kernel. Its vmlinux exports all symbols that the modules need,
/// except the span iterator of lib/interval_tree.c. iommufd contains a copy of the iterator.
struct IOMMUFDModules {
  /// The first version of Linux that has iommufd and the VFIO device files.
  static let firstVersion = (6, 6)

  static let names = ["iommufd", "vfio", "vfio_iommu_type1", "vfio-pci-core", "vfio-pci"]

  let kernel: KernelPackage
  /// The options that make apt use the lists with the kernel's packages.
  let aptOptions: [String]
  /// The directory for the packages, the sources and the objects.
  let directory: URL

  private var source: URL { directory.appending(path: "source") }
  private var packages: URL { directory.appending(path: "packages") }
  private var log: URL { directory.appending(path: "make.log") }

  /// Downloads the packages, and builds the modules.
  ///
  /// - Returns: The files of the modules, in the order of `names`.
  func build() throws -> [URL] {
    try directory.removeIfPresent()
    try directory.makeDirectory()
    try download()
    try unpackHeaders()
    try unpackSource()
    try prepareSource()
    return try make()
  }

  private var headers: String { "linux-headers-\(kernel.version)" }

  /// The package with the source, which has the first two numbers of the version in its name.
  private var sourcePackage: String {
    get throws {
      guard let (major, minor) = KernelPackage.numbers(ofVersion: kernel.version) else {
        throw LabError("\(kernel.version): the version has no numbers")
      }
      return "linux-source-\(major).\(minor)"
    }
  }

  private func download() throws {
    let shown = try Command.result(
      ["apt-cache"] + aptOptions + ["show", "--no-all-versions", headers])
    let fields = shown.output.split(separator: "\n").map { line in
      line.split(separator: " ", maxSplits: 1).map(String.init)
    }
    guard shown.status == 0, let version = fields.first(where: { $0.first == "Version:" })?.last,
      let depends = fields.first(where: { $0.first == "Depends:" })?.last
    else {
      throw Unavailable("\(headers): not in apt's lists; delete .build/lab/kernels and .build/lab/apt")
    }
    let needed = Self.packages(inDepends: depends)
    if let compiler = needed.first(where: { $0.hasPrefix("gcc-") && !URL(filePath: "/usr/bin/\($0)").exists })
    {
      throw LabError("\(compiler): not found; install the package \(compiler)")
    }
    let wanted = [headers] + needed.filter { $0.hasPrefix("linux-") } + ["\(try sourcePackage)=\(version)"]
    printLine("lab: downloading \(wanted.joined(separator: " "))")
    try packages.makeDirectory()
    let end = try Command.result(["apt-get"] + aptOptions + ["download"] + wanted, in: packages)
    guard end.status == 0 else {
      let cause = end.errors.split(separator: "\n").first { $0.hasPrefix("E: ") }?.dropFirst(3)
      throw Unavailable(
        "apt-get download: \(cause ?? "status \(end.status)"); check the network, or delete "
          + ".build/lab/kernels and .build/lab/apt if the archive has a newer kernel")
    }
  }

  /// Returns the packages of a `Depends` field that have no alternative: the headers' common part, the build
  /// programs and the compiler.
  static func packages(inDepends field: String) -> [String] {
    let prefixes = ["linux-headers-", "linux-kbuild-", "gcc-"]
    return field.split(separator: ",").filter { !$0.contains("|") }
      .compactMap { $0.split(separator: " ").first.map(String.init) }
      .filter { prefixes.contains(where: $0.hasPrefix) }
  }

  private func files(of package: String) throws -> [URL] {
    try FileManager.default.contentsOfDirectory(atPath: packages.path).filter { $0.hasPrefix(package) }
      .map { packages.appending(path: $0) }
  }

  /// The directory of the kernel's configuration, which the unpacked headers contain.
  private var configuration: URL { directory.appending(path: "usr/src/\(headers)") }

  private func unpackHeaders() throws {
    for file in try files(of: "linux-headers-") + files(of: "linux-kbuild-") {
      try Command.output(["dpkg", "-x", file.path, directory.path])
    }
    // The package's Makefile includes the common Makefile by its absolute path.
    let makefile = configuration.appending(path: "Makefile")
    let text = try String(contentsOf: makefile, encoding: .utf8)
    try Data(text.replacing(" /usr/src/", with: " \(directory.path)/usr/src/").utf8).write(to: makefile)
    // Without this file, the build skips the modules' BTF. To generate it takes minutes.
    try configuration.appending(path: "vmlinux").removeIfPresent()
  }

  private func unpackSource() throws {
    guard let file = try files(of: "linux-source-").first else {
      throw LabError("\(packages.path): no package with the source; run the command again")
    }
    let package = try sourcePackage
    try source.makeDirectory()
    let parts = [
      "drivers/vfio", "drivers/iommu/iommufd", "drivers/iommu/iommu-priv.h", "lib/interval_tree.c",
    ]
    let script = """
      dpkg-deb --fsys-tarfile "$1" | tar -xO "./usr/src/$2.tar.xz" |
        tar -xJ -C "$3" --strip-components=1 \(parts.map { #""$2/\#($0)""# }.joined(separator: " "))
      """
    try Command.output(["sh", "-c", script, "sh", file.path, package, source.path])
  }

  /// Adds the span iterator to iommufd, and writes the Makefile that names the two directories.
  private func prepareSource() throws {
    let tree = source.appending(path: "lib/interval_tree.c")
    guard let iterator = Self.spanIterator(in: try String(contentsOf: tree, encoding: .utf8)) else {
      throw LabError("\(tree.path): no span iterator; compare the file with IOMMUFDModules.spanIterator")
    }
    let iommufd = source.appending(path: "drivers/iommu/iommufd")
    try Data(iterator.utf8).write(to: iommufd.appending(path: "interval_tree_span.c"))
    let makefile = iommufd.appending(path: "Makefile")
    let text = try String(contentsOf: makefile, encoding: .utf8)
    try Data((text + "\niommufd-y += interval_tree_span.o\n").utf8).write(to: makefile)
    try Data("obj-m := drivers/iommu/iommufd/ drivers/vfio/\n".utf8)
      .write(to: source.appending(path: "Kbuild"))
  }

  /// Returns the part of lib/interval_tree.c that depends on CONFIG_INTERVAL_TREE_SPAN_ITER, without its
  /// exports, or nil if the file has no such part.
  static func spanIterator(in text: String) -> String? {
    let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
    guard let start = lines.firstIndex(of: "#ifdef CONFIG_INTERVAL_TREE_SPAN_ITER"),
      let end = lines[start...].firstIndex(where: { $0.hasPrefix("#endif") })
    else { return nil }
    let part = lines[(start + 1)..<end].filter { !$0.hasPrefix("EXPORT_SYMBOL") }
    return (["#include <linux/interval_tree.h>"] + part).map { $0 + "\n" }.joined()
  }

  /// The options that Debian's configuration lacks, for the kernel's Makefiles.
  private static let options = [
    ("CONFIG_IOMMUFD", "m"), ("CONFIG_VFIO_DEVICE_CDEV", "y"), ("CONFIG_INTERVAL_TREE_SPAN_ITER", "y"),
  ]

  private func make() throws -> [URL] {
    printLine("lab: building the iommufd modules for \(kernel.version)")
    let defines = Self.options.map { name, value in "-D\(name)\(value == "m" ? "_MODULE" : "")=1" }
    // CONFIG_VFIO_MDEV adds a module without use here.
    let (status, output, _) = try Command.result(
      ["make", "-j\(ProcessInfo.processInfo.activeProcessorCount)", "-C", configuration.path]
        + ["M=\(source.path)", "CONFIG_VFIO_MDEV=", "KCFLAGS=-g0 \(defines.joined(separator: " "))"]
        + Self.options.map { "\($0)=\($1)" } + ["modules"], mergingErrors: true)
    try Data(output.utf8).write(to: log)
    guard status == 0 else {
      let lines = output.split(separator: "\n")
      let cause = lines.first { $0.contains("error:") || $0.contains("ERROR:") || $0.contains("***") }
      throw LabError("make: \(cause ?? lines.last ?? "status \(status)"); read \(log.path)")
    }
    return try Self.names.map { name in
      let folder = name == "iommufd" ? "iommu/iommufd" : name.hasPrefix("vfio-pci") ? "vfio/pci" : "vfio"
      let file = source.appending(path: "drivers/\(folder)/\(name).ko")
      guard file.exists else { throw LabError("make: \(file.path): not built; read \(log.path)") }
      return file
    }
  }
}
