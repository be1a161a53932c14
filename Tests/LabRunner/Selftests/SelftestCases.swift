// SPDX-License-Identifier: Apache-2.0

import Foundation
import Linux

/// The kernel's selftests as cases, each with one program.
enum SelftestCases {
  static let all = SelftestPrograms.names.map { name in
    Case(
      "selftest-\(name.replacing("vfio_", with: "").replacing("_test", with: "").replacing("_", with: "-"))",
      "the kernel's \(name), with an igb", limit: 300, needsIOMMUFD: true,
      needsLinux: KernelVersion(6, 19)
    ) { try run(name, $0) }
  }

  private static func run(_ name: String, _ context: CaseContext) throws -> String {
    let device = MachineDevices.igb
    guard HostDevice(device).deviceID == "0x10c9" else {
      throw Skipped("needs an igb; use 'Tests/lab selftests'")
    }
    try HostDevice(device).bind(to: "vfio-pci")
    // Some tests map huge pages. A test skips a size that L1 lacks.
    try HostDevice.write("64", to: "/proc/sys/vm/nr_hugepages")
    // vfio-pci creates virtual functions only with this parameter.
    try HostDevice.write("1", to: "/sys/module/vfio_pci/parameters/enable_sriov")
    let child = try context.start(["\(context.manifest.selftests)/\(name)", device], as: name)
    let status = try child.wait()
    let results = SelftestResults(child.output)
    try context.require(status == 0 && results.failed.isEmpty, "status \(status): \(results.failed)")
    guard results.passed + results.skipped.count > 0 else { throw Failed("\(name) reported no test") }
    guard results.passed > 0 else { throw Skipped(results.skipped.first ?? "no test ran") }
    return "\(results.passed) passed" + (results.skipped.isEmpty ? "" : ", skipped: \(results.skipped)")
  }
}

/// The results in the output of a selftest, in KTAP.
struct SelftestResults {
  private(set) var passed = 0
  /// The names of the failed tests.
  private(set) var failed: [String] = []
  /// The skipped tests, each with its reason.
  private(set) var skipped: [String] = []

  init(_ output: String) {
    for line in output.split(whereSeparator: \.isNewline) {
      guard let match = line.wholeMatch(of: #/(not )?ok [0-9]+ (.+?)( # SKIP ?(.*))?/#) else { continue }
      let name = String(match.2)
      if match.1 != nil {
        failed.append(name)
      } else if match.3 != nil {
        skipped.append("\(name): \(match.4 ?? "no reason")")
      } else {
        passed += 1
      }
    }
  }
}
