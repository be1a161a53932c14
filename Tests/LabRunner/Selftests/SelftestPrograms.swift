// SPDX-License-Identifier: Apache-2.0

import Foundation
import Linux

/// The kernel's own tests of VFIO (tools/testing/selftests/vfio), built from the source of L1's kernel.
struct SelftestPrograms {
  let workspace: Workspace

  /// The directory of the programs.
  var directory: URL { workspace.lab.appending(path: "selftests") }

  /// The programs, in the order of the kernel's Makefile.
  static let names = [
    "vfio_dma_mapping_test", "vfio_dma_mapping_mmio_test", "vfio_iommufd_setup_test", "vfio_pci_device_test",
    "vfio_pci_device_init_perf_test", "vfio_pci_driver_test", "vfio_pci_sriov_uapi_test",
  ]

  /// The files of the kernel's source that the build reads.
  private static let parts = [
    "tools/testing/selftests/vfio", "tools/testing/selftests/*.mk", "tools/testing/selftests/*.h",
    "tools/include", "tools/arch/x86/include", "scripts/subarch.include", "include/linux/pci_ids.h",
    "drivers/net/ethernet/intel/igb/*.h", "drivers/dma/idxd/registers.h", "drivers/dma/ioat/*.h",
  ]

  /// Builds the programs. The first call for a version downloads the source and the headers of the kernel.
  func build(for kernel: KernelPackage, _ options: [String]) throws {
    let complete = directory.appending(path: ".complete")
    if (try? String(contentsOf: complete, encoding: .utf8)) == kernel.version { return }  // absent: not built
    guard let numbers = kernel.numbers else {
      throw LabError("\(kernel.version): the version has no numbers")
    }
    try directory.removeIfPresent()
    let root = directory.appending(path: "root")
    try root.makeDirectory()
    let source = "linux-source-\(numbers.major).\(numbers.minor)"
    printLine("lab: downloading \(source) linux-libc-dev")
    try AptGet.run(options + ["download", source, "linux-libc-dev"], in: root)
    printLine("lab: building the kernel's selftests of VFIO")
    let parts = Self.parts.map { #""$1/\#($0)""# }.joined(separator: " ")
    try Command.output(
      [
        "sh", "-c",
        """
        dpkg -x linux-libc-dev_*.deb . && dpkg-deb --fsys-tarfile "$1"_*.deb |
          tar -xO "./usr/src/$1.tar.xz" | tar -xJ --wildcards \(parts)
        """, "sh", source,
      ], in: root)
    let tree = root.appending(path: source)
    try Command.output(
      [
        "make", "-C", tree.appending(path: "tools/testing/selftests/vfio").path, "OUTPUT=\(directory.path)",
        "KHDR_INCLUDES=-isystem \(root.appending(path: "usr/include").path)", "top_srcdir=\(tree.path)",
      ], mergingErrors: true)
    try root.removeIfPresent()
    try Data(kernel.version.utf8).write(to: complete)
  }
}
