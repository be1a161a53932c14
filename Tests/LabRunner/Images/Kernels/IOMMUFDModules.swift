// SPDX-License-Identifier: Apache-2.0

import Foundation
import Linux

/// The build of iommufd and of the VFIO modules that use it, for one of Debian's kernels.
///
/// Debian's kernels have neither iommufd nor the VFIO device files in /dev/vfio/devices. Both options change
/// `struct vfio_device`, so that the modules that use the structure are built again. The sources are
/// Debian's, in exactly the version of the kernel. Its vmlinux exports all symbols that the modules need,
/// except the span iterator of lib/interval_tree.c. iommufd contains a copy of the iterator.
struct IOMMUFDModules {
  /// The first version of Linux that has iommufd and the VFIO device files.
  static let firstVersion = KernelVersion(6, 6)

  static let names = ["iommufd", "vfio", "vfio_iommu_type1", "vfio-pci-core", "vfio-pci"]

  let kernel: KernelPackage
  /// The options that make apt use the lists with the kernel's packages.
  let aptOptions: [String]
  let root: BuildRoot
  /// The fault to build into the modules, or nil.
  var mutant: ModuleMutant?

  private var source: URL { root.directory.appending(path: "source") }
  private var pristine: URL { root.directory.appending(path: "source.pristine") }
  private var log: URL { root.directory.appending(path: "make.log") }
  private var complete: URL { root.directory.appending(path: ".complete") }

  /// Builds the modules. The first call for a version downloads the packages.
  ///
  /// - Returns: The files of the modules, in the order of `names`.
  func build() throws -> [URL] {
    if (try? String(contentsOf: complete, encoding: .utf8)) != kernel.version {  // absent: not complete
      try root.create()
      try download()
      printLine("lab: unpacking the packages")
      try root.unpack()
      try prepareHeaders()
      try unpackSource()
      try root.directory.appending(path: "packages").removeIfPresent()
    }
    try source.removeIfPresent()
    try Command.output(["cp", "-r", pristine.path, source.path])
    try prepareSource()
    try mutant?.patch(source)
    let files = try make()
    try Data(kernel.version.utf8).write(to: complete)
    return files
  }

  private var headers: String { "linux-headers-\(kernel.version)" }

  /// The package with the source, which has the first two numbers of the version in its name.
  private var sourcePackage: String {
    get throws {
      guard let numbers = kernel.numbers else {
        throw LabError("\(kernel.version): the version has no numbers")
      }
      return "linux-source-\(numbers.major).\(numbers.minor)"
    }
  }

  private func download() throws {
    let shown = try Command.result(
      ["apt-cache"] + aptOptions + ["show", "--no-all-versions", headers])
    let fields = AptFields(shown.output)
    guard shown.status == 0, let version = fields["Version"] else {
      throw Unavailable("\(headers): not in apt's lists; delete .build/lab/kernels and .build/lab/apt")
    }
    let needed = Self.packages(in: fields.dependencies)
    if !root.isForeign, let compiler = needed.first(where: { $0.hasPrefix("gcc-") }),
      !URL(filePath: "/usr/bin/\(compiler)").exists
    {
      throw LabError("\(compiler): not found; install the package \(compiler)")
    }
    let wanted = [headers] + needed.filter { $0.hasPrefix("linux-") } + ["\(try sourcePackage)=\(version)"]
    printLine(
      "lab: downloading \(root.isForeign ? "a compiler of the kernel's suite, " : "")"
        + wanted.joined(separator: " "))
    try root.download(wanted, aptOptions)
  }

  /// Returns the headers' common part, the build programs and the compiler of the packages.
  static func packages(in dependencies: [String]) -> [String] {
    let prefixes = ["linux-headers-", "linux-kbuild-", "gcc-"]
    return dependencies.filter { prefixes.contains(where: $0.hasPrefix) }
  }

  private func prepareHeaders() throws {
    let configuration = root.directory.appending(path: "usr/src/\(headers)")
    // The package's Makefile includes the common Makefile by its absolute path.
    if !root.isForeign {
      let makefile = configuration.appending(path: "Makefile")
      let text = try String(contentsOf: makefile, encoding: .utf8)
      try Data(text.replacing("/usr/src/", with: root.path("usr/src") + "/").utf8).write(to: makefile)
    }
    // Without this file, the build skips the modules' BTF. To generate it takes minutes.
    try configuration.appending(path: "vmlinux").removeIfPresent()
  }

  private func unpackSource() throws {
    guard let file = try root.files(of: ["linux-source-"]).first else {
      throw LabError("\(root.directory.path): no package with the source; run the command again")
    }
    let package = try sourcePackage
    try pristine.makeDirectory()
    let parts = ["drivers/vfio", "drivers/iommu/iommufd", "drivers/iommu/*.h", "lib/interval_tree.c"]
    let script = """
      dpkg-deb --fsys-tarfile "$1" | tar -xO "./usr/src/$2.tar.xz" |
        tar -xJ -C "$3" --strip-components=1 --wildcards \(parts.map { #""$2/\#($0)""# }.joined(separator: " "))
      """
    try Command.output(["sh", "-c", script, "sh", file.path, package, pristine.path])
  }

  /// Adds the span iterator and the driver's part to iommufd, and writes the Makefile that names the two
  /// directories.
  private func prepareSource() throws {
    let tree = source.appending(path: "lib/interval_tree.c")
    guard let iterator = Self.spanIterator(in: try String(contentsOf: tree, encoding: .utf8)) else {
      throw LabError("\(tree.path): no span iterator; compare the file with IOMMUFDModules.spanIterator")
    }
    let iommufd = source.appending(path: "drivers/iommu/iommufd")
    try Data(iterator.utf8).write(to: iommufd.appending(path: "interval_tree_span.c"))
    // Linux 6.12 has no such part. Later versions link it into vmlinux if an IOMMU driver uses it.
    let driver = iommufd.appending(path: "driver.c").exists ? " driver.o" : ""
    let makefile = iommufd.appending(path: "Makefile")
    let text = try String(contentsOf: makefile, encoding: .utf8)
    try Data((text + "\niommufd-y += interval_tree_span.o\(driver)\n").utf8).write(to: makefile)
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
    printLine(
      "lab: building the iommufd modules for \(kernel.version)"
        + (mutant.map { " with the fault \($0.rawValue)" } ?? ""))
    // The Makefiles do not get CONFIG_IOMMUFD_DRIVER_CORE, because iommufd contains that part here.
    let defines =
      Self.options.map { name, value in "-D\(name)\(value == "m" ? "_MODULE" : "")=1" }
      + ["-DCONFIG_IOMMUFD_DRIVER_CORE=1"]
    // CONFIG_VFIO_MDEV adds a module without use here.
    let (status, output) = try root.run(
      [
        "make", "-j\(min(2, ProcessInfo.processInfo.activeProcessorCount))", "-C",
        root.path("usr/src/\(headers)"),
      ]
        + ["M=\(root.path("source"))", "CONFIG_VFIO_MDEV=", "KCFLAGS=-g0 \(defines.joined(separator: " "))"]
        + Self.options.map { "\($0)=\($1)" } + ["modules"])
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
