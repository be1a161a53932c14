// SPDX-License-Identifier: Apache-2.0

import Foundation

/// The run of one VMM in one round of a measurement.
struct Trial {
  let context: CaseContext
  let vmm: VMMName
  /// The name of the run's files.
  let label: String

  /// Runs a guest to its end, and returns the milliseconds from exec to a text in its output.
  func time(of guest: BenchGuest, to mark: String) throws -> Double {
    try run(guest, marks: [mark]).marks[0].milliseconds
  }

  /// Runs a guest to its end.
  ///
  /// - Parameters:
  ///   - guest: The guest to run.
  ///   - marks: The texts of the output whose times are recorded.
  ///   - tracer: The tracer and its arguments, before the command.
  ///   - seconds: The timeout in seconds.
  ///   - seen: Called with the process ID and the text's index when a text has been seen.
  func run(
    _ guest: BenchGuest, marks: [String] = [], tracer: [String] = [], within seconds: Int = 90,
    seen: (Int32, Int) throws -> Void = { _, _ in }
  ) throws -> Launch {
    let launch = try Launch(
      tracer + guest.command(vmm, context), messages: context.file("\(label).err"), marks: marks,
      within: .seconds(seconds), seen: seen)
    try Data(launch.output.utf8).write(to: context.file("\(label).log"))
    let report = BareMetalReport(launch.output)
    guard report.failed.isEmpty, GuestLines(launch.output).faults.isEmpty else {
      throw Failed("the guest failed: \((report.failed + GuestLines(launch.output).faults)[0])")
    }
    // Status 1 comes from the debug exit port, and also from a failure. QEMU ends with 0 also if its guest
    // has died.
    guard launch.status <= (guest.isLinux ? 0 : 1), guest.hasEnded(launch.output) else {
      let said = try String(contentsOf: context.file("\(label).err"), encoding: .utf8)
      throw Failed("exit status \(launch.status): \(said.split(separator: "\n").last ?? "")")
    }
    return launch
  }
}
