// SPDX-License-Identifier: Apache-2.0

import Foundation

/// One monitor's turn in one round of a measurement.
struct Trial {
  let bench: CaseContext
  let vmm: VMMName
  /// Names its files.
  let label: String

  /// Runs a guest to its end; milliseconds from exec to a text.
  func time(of guest: BenchGuest, to mark: String) throws -> Double {
    try run(guest, marks: [mark]).marks[0].milliseconds
  }

  /// Runs a guest to its end.
  ///
  /// - Parameters:
  ///   - marks: Texts that it writes, whose times are wanted.
  ///   - tracer: What stands in front of the command.
  func run(
    _ guest: BenchGuest, marks: [String] = [], tracer: [String] = [], within seconds: Int = 90,
    seen: (Int32, Int) throws -> Void = { _, _ in }
  ) throws -> Launch {
    let launch = try Launch(
      tracer + guest.command(vmm, bench), messages: bench.file("\(label).err"), marks: marks,
      within: .seconds(seconds), seen: seen)
    try Data(launch.output.utf8).write(to: bench.file("\(label).log"))
    let report = BareMetalReport(launch.output)
    guard report.failed.isEmpty, GuestLines(launch.output).faults.isEmpty else {
      throw Failed("the guest failed: \((report.failed + GuestLines(launch.output).faults)[0])")
    }
    // 1 is the debug exit port's, and that of a failure; 0 also that of QEMU whose guest has died.
    guard launch.status <= (guest.isLinux ? 0 : 1), guest.hasEnded(launch.output) else {
      let said = try String(contentsOf: bench.file("\(label).err"), encoding: .utf8)
      throw Failed("exit status \(launch.status): \(said.split(separator: "\n").last ?? "")")
    }
    return launch
  }
}
