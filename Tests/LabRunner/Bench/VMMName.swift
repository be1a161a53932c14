// SPDX-License-Identifier: Apache-2.0

/// What `bench` measures, in the order in which it takes turns.
enum VMMName: String, CaseIterable, Sendable {
  case sluice
  /// QEMU's machine with everything that a PC has.
  case qemu
  /// QEMU's machine for a fast start.
  case microvm
  case kvmtool
  /// `Tests/Programs`: the C program with which a figure is compared.
  case program

  var title: String {
    switch self {
    case .sluice: "Sluice"
    case .qemu: "QEMU q35"
    case .microvm: "QEMU microvm"
    case .kvmtool: "kvmtool"
    case .program: "C program"
    }
  }
}
