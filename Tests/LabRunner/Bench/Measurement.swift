// SPDX-License-Identifier: Apache-2.0

import Foundation

/// The figures that one kind of run yields, and the code that measures them.
struct Measurement: Sendable {
  let name: String
  let figures: [Figure]
  let vmms: [VMMName]
  /// True if the numbers are counts. Counts do not spread, so that two rounds without a warm-up are enough.
  var isCounted = false
  var emulation = Emulation.parallel
  var worksInL1 = true
  /// True if the measurement needs neither devices nor L1.
  var worksHere = false
  /// Returns the numbers of one VMM in one round, by the names of figures.
  let sample: @Sendable (Trial) throws -> [String: Double]

  /// The figures with their clock.
  var clockedFigures: [Figure] {
    figures.map { figure in
      var figure = figure
      let isTime = !isCounted && ["ms", "s", "ticks", "per s"].contains(figure.unit)
      if isTime { figure.clock = emulation == .instructionClock ? .instructions : .wall }
      return figure
    }
  }

  static let all: [Measurement] =
    StartMeasurements.all + ExitMeasurements.all + GrowthMeasurements.all + LinuxMeasurements.all
    + ProgramMeasurements.all

  static let file = "samples.json"

  /// The measurement as a case of the lab, which writes its samples to a file.
  var asCase: Case {
    Case(
      "bench-\(name)", figures.map(\.title).joined(separator: "; "), limit: 900,
      emulation: emulation
    ) { context in
      let samples = try take(context)
      try samples.write(to: context.file(Self.file))
      return "\(rounds(context)) rounds"
    }
  }

  private func rounds(_ context: CaseContext) -> Int {
    isCounted ? min(2, context.manifest.pairs) : context.manifest.pairs
  }

  /// Measures all rounds. In one round, each VMM runs once, one after the other.
  private func take(_ context: CaseContext) throws -> Samples {
    var samples = Samples()
    let present = vmms.filter { $0 != .kvmtool || context.manifest.kvmtool != nil }
    for round in (isCounted ? 1 : 0)...rounds(context) {
      for vmm in present {
        let numbers = try numbers(of: vmm, "\(round)-\(vmm.rawValue)", context)
        let text = numbers.sorted { $0.key < $1.key }.map { "\($0.key) \(Series.short($0.value))" }
        context.note(
          "\(round == 0 ? "warm-up" : "round \(round)") \(vmm.rawValue): \(text.joined(separator: ", "))")
        if round > 0 { samples.add(numbers, of: vmm) }
      }
    }
    return samples
  }

  /// Measures one VMM. A failed run of a peer is repeated once, with a note. A failed run of Sluice is a failure.
  private func numbers(of vmm: VMMName, _ label: String, _ context: CaseContext) throws -> [String: Double] {
    func run(_ label: String) throws -> [String: Double] {
      do { return try sample(Trial(context: context, vmm: vmm, label: label)) } catch {
        throw Failed("\(label): \(error)")
      }
    }
    do { return try run(label) } catch {
      guard vmm != .sluice else { throw error }
      context.note("\(error); the run is repeated")
      return try run("\(label)-again")
    }
  }
}
