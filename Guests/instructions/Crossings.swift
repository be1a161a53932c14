// SPDX-License-Identifier: Apache-2.0

import Hardware

/// Accesses that cross the end of a window, a BAR, an MSI-X table or a function's configuration space.
struct Crossings {
  /// Writes a checksum for each width: the values of reads that cross a border, at each distance.
  static func writeReads(_ name: StaticString, _ border: UInt64) {
    let widths: InlineArray<3, UInt64> = [2, 4, 8]
    for index in widths.indices {
      let width = widths[index]

      var sum = Trial.Sum()
      for distance in 1..<width as Range<UInt64> {
        let address = border - distance
        sum.add(
          width == 2
            ? UInt64(mmio_load16(address)) : width == 4 ? UInt64(mmio_load32(address)) : mmio_load64(address))
      }
      Console.print("\(name).\(width) = \(hex: sum.value)")
    }
  }

  /// Runs each instruction across the border between two windows of memory: with both armed, one armed, and
  /// both open.
  static func acrossWindows(_ probe: Probe, _ memory: UInt64, _ report: inout Report) {
    let border = probe.bar.address + (4 << 20)
    var runs: UInt32 = 0
    var failures: UInt32 = 0
    Operation.forEach { operation in
      guard !operation.isAligned else { return }
      var sum = Trial.Sum()
      operation.forEachWidth { width in
        guard width > 1 else { return }
        let distances: InlineArray<3, UInt64> = [1, width - 1, width]
        for index in distances.indices {
          let distance = distances[index]

          let trial = Trial(destination: border - distance, source: memory + 64, isUser: false)
          let open = run(probe, trial, operation, width, opening: nil, isArmed: false)
          sum.add(UInt64(open.sum))
          let firsts: InlineArray<3, UInt64?> = [nil, border - 4096, border + 4096]
          for index in firsts.indices {
            let first = firsts[index]

            let armed = run(probe, trial, operation, width, opening: first, isArmed: true)
            runs += 1
            if armed != open {
              failures += 1
              report.check(
                false,
                "\(operation.name) \(width)-\(distance): open first \(hex: first ?? 0): vector \(armed.vector) RAX \(hex: armed.rax), open vector \(open.vector) RAX \(hex: open.rax)"
              )
            }
          }
        }
      }
      Console.print("across.\(operation.name) = \(hex: sum.value)")
    }
    report.check(
      runs > 0 && failures == 0, "\(runs) instructions across two windows have equal results in every state")
  }

  private static func run(
    _ probe: Probe, _ trial: Trial, _ operation: Operation, _ width: UInt64, opening first: UInt64?,
    isArmed: Bool
  ) -> Trial.Result {
    trial.fill()
    if isArmed {
      probe.setMemory(false)
      probe.setMemory(true)
      if let first { _ = mmio_load32(first) }
    }
    var result = trial.run(operation, width)
    trial.remember(&result)
    return result
  }
}
