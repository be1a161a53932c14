// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Figures that one kind of run yields, and how they are taken.
struct Measurement: Sendable {
  let name: String
  let figures: [Figure]
  let vmms: [VMMName]
  /// Whether numbers are counts, which do not spread: two rounds are enough then, and none to warm up.
  var isCounted = false
  /// Whether it wants an L1 whose processors take turns. One that has the kernel trace does: that changes its code,
  /// which QEMU 7.2 now and then runs in between where each processor has a thread of its own.
  var needsSingleThreadedTCG = false
  var worksInL1 = true
  /// Whether it needs neither devices nor L1.
  var worksHere = false
  /// One monitor's numbers of one round, by the names of figures.
  let sample: @Sendable (Trial) throws -> [String: Double]

  static let all: [Measurement] =
    StartMeasurements.all + ExitMeasurements.all + GrowthMeasurements.all + LinuxMeasurements.all
    + ProgramMeasurements.all

  static let file = "samples.json"

  /// As a case of the lab, which leaves its samples in a file.
  var asCase: Case {
    Case(
      "bench-\(name)", figures.map(\.title).joined(separator: "; "), limit: 900,
      needsSingleThreadedTCG: needsSingleThreadedTCG
    ) { bench in
      let samples = try take(bench)
      try samples.write(to: bench.file(Self.file))
      return "\(rounds(bench)) rounds"
    }
  }

  private func rounds(_ bench: CaseContext) -> Int {
    isCounted ? min(2, bench.manifest.pairs) : bench.manifest.pairs
  }

  /// Takes turns: one round is one number of each monitor, one after the other.
  private func take(_ bench: CaseContext) throws -> Samples {
    var samples = Samples()
    let present = vmms.filter { $0 != .kvmtool || bench.manifest.kvmtool != nil }
    for round in (isCounted ? 1 : 0)...rounds(bench) {
      for vmm in present {
        let label = "\(round)-\(vmm.rawValue)"
        let trial = Trial(bench: bench, vmm: vmm, label: label)
        let numbers: [String: Double]
        do { numbers = try sample(trial) } catch { throw Failed("\(label): \(error)") }
        let text = numbers.sorted { $0.key < $1.key }.map { "\($0.key) \(Series.short($0.value))" }
        bench.note(
          "\(round == 0 ? "warm-up" : "round \(round)") \(vmm.rawValue): \(text.joined(separator: ", "))")
        if round > 0 { samples.add(numbers, of: vmm) }
      }
    }
    return samples
  }
}
