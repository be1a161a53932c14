// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Foundation

/// `selftests`
struct SelftestsCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "selftests",
    abstract: "Run the kernel's own tests of VFIO in an L1 with Linux 7.3, iommufd and an igb.")

  func run() throws {
    var lab = try Lab()
    let l1 = L1Kernel(.latestFull, iommufd: true)
    try lab.run(SelftestCases.all, l1: l1, extra: .igb)
    throw ExitCode(lab.report.finish())
  }
}
