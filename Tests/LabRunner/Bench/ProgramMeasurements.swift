// SPDX-License-Identifier: Apache-2.0

import Foundation

/// The size and the start of Sluice's program.
enum ProgramMeasurements {
  static let all = [size, start]

  private static let size = Measurement(
    name: "size",
    figures: [Figure("size", "size of the program, stripped", "MB", .atMost(8))],
    vmms: [.sluice], isCounted: true, worksHere: true
  ) { trial in
    let stripped = trial.context.file("stripped")
    try Command.output(["strip", "-o", stripped.path, trial.context.manifest.sluice])
    let size = try stripped.resourceValues(forKeys: [.fileSizeKey]).fileSize ?? 0
    try stripped.removeIfPresent()
    return ["size": Double(size) / 1e6]
  }

  /// Runs copies of the programs in which `main` ends the process. The shortest of 20 runs counts.
  private static let start = Measurement(
    name: "process",
    figures: [
      Figure("process", "process start to main", "ms", .atMost(2, times: .program)),
      Figure("version", "process start to end: 'sluice --version', C program 'nothing'", "ms"),
    ], vmms: [.sluice, .program], worksHere: true
  ) { trial in
    let manifest = trial.context.manifest
    let isSluice = trial.vmm == .sluice
    let program = URL(filePath: isSluice ? manifest.sluice : manifest.programs + "/nothing")
    let symbols = isSluice ? URL(filePath: manifest.symbols) : program
    var file = try ProgramFile(program, symbols: symbols)
    try file.end(at: "main")
    let copy = trial.context.file("to-main")
    try file.write(to: copy)
    func shortest(_ arguments: [String]) throws -> Double {
      let messages = trial.context.file("\(trial.label).err")
      let times = try (0..<20).map { _ in
        try Launch(arguments, messages: messages, within: .seconds(10)).end.milliseconds
      }
      return times.min() ?? 0
    }
    let values = [
      "process": try shortest([copy.path]),
      "version": try shortest([program.path] + (isSluice ? ["--version"] : [])),
    ]
    try copy.removeIfPresent()
    return values
  }
}
