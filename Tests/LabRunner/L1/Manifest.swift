// SPDX-License-Identifier: Apache-2.0

import Foundation

/// What the outside made, for the inside: written once, read by every L1.
struct Manifest: Codable {
  struct GuestKernel: Codable {
    var image: String
    var version: String
    var initramfs: String
    /// The same with kexec, this kernel and the plain initramfs in it.
    var kexecInitramfs: String?
    /// The same with fio; nil where that is not installed, which only `bench` does.
    var fioInitramfs: String?
  }

  struct Drive: Codable {
    var serial: String
    var bytes: Int
    var sha256: String
  }

  var guestKernels: [String: GuestKernel] = [:]
  /// Why a kernel is not among them.
  var missing: [String: String] = [:]
  /// By the address of the drive in L1.
  var drives: [String: Drive] = [:]
  /// SHA-256 of the disks behind the USB and SATA controllers, by the controller's address, and of the
  /// first half of the drive that cases write to.
  var sums: [String: String] = [:]
  var downloadSHA256 = ""
  var guests = ""
  var sluice = ""
  /// The same program with its symbols.
  var symbols = ""
  /// The directory of Sluice with planted bugs.
  var planted = ""
  /// The modules of L1's kernel, for `modprobe --dirname`.
  var modules = ""
  var out = ""
  /// Rounds of a measurement.
  var pairs = 5
  /// The programs of `Tests/Programs`.
  var programs = ""
  /// The file `injections`.
  var injections = ""
  /// The path of kvmtool's program, where there is one.
  var kvmtool: String?

  static func read(_ url: URL) throws -> Manifest {
    try JSONDecoder().decode(Manifest.self, from: Data(contentsOf: url))
  }

  func write(to url: URL) throws {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    try encoder.encode(self).write(to: url)
  }
}
