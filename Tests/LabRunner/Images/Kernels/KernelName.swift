// SPDX-License-Identifier: Apache-2.0

/// One of Debian's kernels that the lab can boot, in L1 or in a guest.
enum KernelName: String, CaseIterable, Codable, Sendable {
  case oldFull = "6.1"
  case oldCloud = "6.1-cloud"
  case newFull = "6.12"
  case newCloud = "6.12-cloud"
  case latestFull = "7.3"
  case latestCloud = "7.3-cloud"

  /// Debian's package that depends on the newest kernel of this kind.
  var metaPackage: String {
    switch self {
    case .oldFull, .newFull, .latestFull: "linux-image-amd64"
    case .oldCloud, .newCloud, .latestCloud: "linux-image-cloud-amd64"
    }
  }

  /// The suite that has this kernel.
  var suite: DebianSuite {
    switch self {
    case .oldFull, .oldCloud: DebianSuite("bookworm")
    case .newFull, .newCloud: DebianSuite("bookworm-backports")
    case .latestFull, .latestCloud: DebianSuite("trixie-backports")
    }
  }

  /// True if the lab downloads this kernel only for an L1 or a case that needs the kernel.
  var isOnDemand: Bool { self == .latestFull || self == .latestCloud }

  /// The kernels that have all modules of L1.
  static let hostKernels: [KernelName] = [.oldFull, .newFull, .latestFull]

  /// The names of ``hostKernels`` for messages.
  static var hosts: String { hostKernels.map(\.rawValue).joined(separator: ", ") }
}
