// SPDX-License-Identifier: Apache-2.0

import Foundation

/// The data that the runner outside passes to the runner inside each L1.
struct Manifest: Codable {
  struct GuestKernel: Codable {
    var image: String
    var version: String
    var initramfs: String
    /// The initramfs with kexec, this kernel and the plain initramfs added, or nil.
    var kexecInitramfs: String?
    /// The initramfs with fio added, or nil if fio is not installed. Only `bench` and `long` install it.
    var fioInitramfs: String?
  }

  struct Drive: Codable {
    var serial: String
    var bytes: Int
    var sha256: String
  }

  var guestKernels: [String: GuestKernel] = [:]
  /// The reasons for missing kernels, by the name of the kernel.
  var missing: [String: String] = [:]
  /// The drives, by their PCI address in L1.
  var drives: [String: Drive] = [:]
  /// The SHA-256 of each disk behind a USB, SATA or SCSI controller, by the controller's address. The entry
  /// of the drive that cases write to is the SHA-256 of its first half.
  var sums: [String: String] = [:]
  var downloadSHA256 = ""
  /// The directory of the checkout.
  var tree = ""
  var guests = ""
  var sluice = ""
  /// The same program with its symbols.
  var symbols = ""
  /// The directory of the Sluice programs with a planted bug.
  var planted = ""
  /// The modules of L1's kernel, for `modprobe --dirname`.
  var modules = ""
  var out = ""
  /// The number of rounds of a measurement.
  var pairs = 5
  /// The directory of the programs of `Tests/Programs`.
  var programs = ""
  /// The directory of the kernel's selftests, or empty without them.
  var selftests = ""
  /// The root directories with systemd, by the name of the suite.
  var systemdRoots: [String: String] = [:]
  /// The path of the Debian package, or empty without it.
  var package = ""
  /// The version of the QEMU that emulates L1, such as `7.2.22`.
  var emulatorVersion = ""
  /// The path of the file `injections`.
  var injections = ""
  /// The interface to the IOMMU that Sluice must use, or nil if Sluice chooses.
  var iommu: String?
  /// The path of kvmtool's program, or nil if it is not installed.
  var kvmtool: String?

  /// The option for ``iommu``. A later `--iommu` of a case replaces it.
  var iommuOption: [String] { iommu.map { ["--iommu", $0] } ?? [] }

  static func read(_ url: URL) throws -> Manifest {
    try JSONDecoder().decode(Manifest.self, from: Data(contentsOf: url))
  }

  func write(to url: URL) throws {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    try encoder.encode(self).write(to: url)
  }
}
