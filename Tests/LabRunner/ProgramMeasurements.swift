// SPDX-License-Identifier: Apache-2.0

import Foundation

/// The program itself.
enum ProgramMeasurements {
  static let all = [size, start]

  private static let size = Measurement(
    name: "size",
    figures: [Figure("size", "size of the program, stripped", "MB", .atMost(8))],
    vmms: [.sluice], isCounted: true, worksHere: true
  ) { trial in
    let stripped = trial.bench.file("stripped")
    try Command.output(["strip", "-o", stripped.path, trial.bench.manifest.sluice])
    let size = try stripped.resourceValues(forKeys: [.fileSizeKey]).fileSize ?? 0
    try stripped.removeIfPresent()
    return ["size": Double(size) / 1e6]
  }

  /// The shortest of many: a process that does nothing is soon over.
  private static let start = Measurement(
    name: "process",
    figures: [
      Figure("process", "process start to main, and the end", "ms", .atMost(2, times: .program))
    ], vmms: [.sluice, .program], worksHere: true
  ) { trial in
    let arguments =
      trial.vmm == .sluice
      ? [trial.bench.manifest.sluice, "--version"] : [trial.bench.manifest.programs + "/nothing"]
    let times = try (0..<20).map { _ in
      try Launch(arguments, messages: trial.bench.file("\(trial.label).err"), within: .seconds(10)).end
        .milliseconds
    }
    return ["process": times.min() ?? 0]
  }
}
