// SPDX-License-Identifier: Apache-2.0

/// A row of the matrix: an L1, and the results of cases in it.
struct MatrixRow {
  /// The result of a case.
  struct Cell: Equatable {
    enum Outcome: String {
      case pass, fail, skip
    }

    let name: String
    let outcome: Outcome
    /// The remark, the cause of the failure or the reason for the skip.
    let text: String
    let seconds: Double
  }

  let kernel: L1Kernel
  var cells: [Cell] = []
  /// True if L1 has started.
  var hasStarted = false
  /// The time of the whole row in seconds.
  var seconds = 0

  init(_ kernel: L1Kernel) { self.kernel = kernel }

  /// The time in seconds that a row may take.
  static let limit = 720

  /// The name of the row, as `--row` takes it.
  var name: String { Self.name(of: kernel) }

  /// Returns the name of the row with a kernel.
  static func name(of kernel: L1Kernel) -> String {
    kernel.name + (kernel.iommufd ? "-iommufd" : "") + (kernel.mutant.map { "-\($0.rawValue)" } ?? "")
  }

  /// True if the row has the expected results. L1 starts, and a case fails only if the kernel has a fault. A kernel with
  /// a fault makes at least one case fail.
  var isExpected: Bool { hasStarted && cells.contains { $0.outcome == .fail } == (kernel.mutant != nil) }

  /// The exit status for `git bisect run`: 0 for a good kernel, 1 for a bad one, 125 for a kernel on which no case ran.
  var bisectStatus: Int32 {
    if !hasStarted || cells.allSatisfy({ $0.outcome == .skip }) { return 125 }
    return isExpected ? 0 : 1
  }

  /// Fills in the results of a report.
  mutating func take(_ report: Report, seconds: Int) {
    hasStarted = report.hasStarted
    self.seconds = seconds
    cells = report.results.compactMap { event in
      let outcome: Cell.Outcome? =
        switch event.kind {
        case .pass: .pass
        case .fail: .fail
        case .skip: .skip
        case .ready, .start, .note, .pulse, .end: nil
        }
      return outcome.map { Cell(name: event.name, outcome: $0, text: event.text, seconds: event.seconds) }
    }
  }
}
