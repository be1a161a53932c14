// SPDX-License-Identifier: Apache-2.0

/// The programs that `bench` measures, in the order of a round.
enum VMMName: String, CaseIterable, Sendable {
  case sluice
  /// QEMU's machine q35, a complete PC.
  case qemu
  /// QEMU's machine microvm, for a fast start.
  case microvm
  case kvmtool
  /// A C program of `Tests/Programs`, for comparison.
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
