// SPDX-License-Identifier: Apache-2.0

import Hardware

/// Four processors that access one armed window concurrently. Each processor accesses separate words.
enum Together {
  private static let processors: UInt32 = 4
  private static let base = SharedWord.first
  private static let round = SharedWord.first + 1
  private static let rounds = SharedWord.first + 2
  /// The index of the last round that a processor has completed, and of its count of wrong results.
  private static func ended(_ processor: UInt32) -> UInt32 { SharedWord.first + 8 + processor }
  private static func wrong(_ processor: UInt32) -> UInt32 { SharedWord.first + 16 + processor }

  /// Runs a processor's instructions of a round. Returns the number of wrong results.
  private static func act(_ processor: UInt32, _ round: UInt64) -> UInt64 {
    let words = shared_load(base) + 0x2000 + UInt64(processor) * 256
    var wrong: UInt64 = 0
    func run(
      _ operation: Operation, _ width: UInt64, rax: UInt64, rcx: UInt64, source: UInt64, at address: UInt64
    ) {
      operation.assemble(width)
      if execution_run(0, rax, rcx, 0, source, address) != 0 { wrong += 1 }
    }
    // Each of the four instructions can be the first access of the round.
    let start = UInt64(processor) &+ round
    for step in 0..<4 as Range<UInt64> {
      switch (start &+ step) % 4 {
      case 0:
        run(Operation(name: "add", forms: "4", code: "0107"), 4, rax: 3, rcx: 0, source: words, at: words)
      case 1:
        run(
          Operation(name: "xadd", forms: "8", code: "0FC107"), 8, rax: 5, rcx: 0, source: words, at: words + 8
        )
        if execution_register(0) != (round - 1) * 5 { wrong += 1 }
      case 2:
        run(
          Operation(name: "rep-movs", forms: "4", code: "A5", prefix: "F3"), 4, rax: 0, rcx: 8,
          source: words + 64, at: words + 128)
      default:
        run(
          Operation(name: "fild", forms: "8", code: "DF2FDF7F08"), 8, rax: 0, rcx: 0, source: words,
          at: words + 32)
        if mmio_load64(words + 40) != 0x1111_2222_3333 + UInt64(processor) { wrong += 1 }
      }
    }
    if mmio_load32(words) != UInt32(truncatingIfNeeded: round * 3) { wrong += 1 }
    for index in 0..<8 as Range<UInt64>
    where mmio_load32(words + 128 + index * 4) != mmio_load32(words + 64 + index * 4) { wrong += 1 }
    return wrong
  }

  private static func work(_ processor: UInt32) {
    execution_initialize()
    var last: UInt64 = 0
    while last < shared_load(rounds) {
      let next = shared_load(round)
      guard next > last else {
        relax()
        continue
      }
      shared_store(wrong(processor), shared_load(wrong(processor)) + act(processor, next))
      shared_store(ended(processor), next)
      last = next
    }
  }

  static func run(_ probe: Probe, rounds count: UInt64, _ report: inout Report) {
    shared_store(base, probe.bar.address)
    shared_store(rounds, count)
    shared_store(round, 0)
    for processor in 0..<processors {
      let words = probe.bar.address + 0x2000 + UInt64(processor) * 256
      for index in 0..<32 as Range<UInt64> {
        mmio_store64(words + index * 8, index >= 8 && index < 16 ? index &* 0x0101_0101 : 0)
      }
      mmio_store64(words + 32, 0x1111_2222_3333 + UInt64(processor))
    }
    for processor in 1..<processors {
      guard Processor.start(processor) else {
        report.skip("no processor \(processor)")
        return
      }
    }
    for processor in 1..<processors { Processor.run(processor) { Together.work($0) } }
    for number in 1...count {
      probe.setMemory(false)
      probe.setMemory(true)
      shared_store(round, number)
      shared_store(wrong(0), shared_load(wrong(0)) + act(0, number))
      for processor in 1..<processors {
        guard Time.wait(milliseconds: 20_000, until: { shared_load(ended(processor)) == number }) else {
          report.check(false, "processor \(processor) completes round \(number)")
          return
        }
      }
    }
    var all: UInt64 = 0
    for processor in 0..<processors { all += shared_load(wrong(processor)) }
    report.check(all == 0, "4 processors, \(count) rounds in one armed window: \(all) wrong results")
  }
}
