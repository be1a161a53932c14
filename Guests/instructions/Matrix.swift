// SPDX-License-Identifier: Apache-2.0

import Hardware

/// Every instruction on a BAR that is memory, in windows that are armed, open and closed.
struct Matrix {
  let probe: Probe
  /// GPA of ordinary memory.
  let memory: UInt64
  let isUser: Bool
  /// False if an instruction that KVM cannot emulate ends the VMM while memory is off.
  let hasClosedWindows: Bool

  /// The locations of the operands.
  enum Direction {
    /// [RDI] in the BAR, [RSI] in ordinary memory.
    case toDevice
    /// [RDI] in ordinary memory, [RSI] in the BAR.
    case fromDevice
    /// Both operands in the BAR, in different windows.
    case within

    var name: StaticString {
      switch self {
      case .toDevice: "to"
      case .fromDevice: "from"
      case .within: "in"
      }
    }
  }

  private func trial(_ direction: Direction, _ offset: UInt64) -> Trial {
    let device = probe.bar.address + 0x1000 + offset
    switch direction {
    case .toDevice: return Trial(destination: device, source: memory + 64 + offset, isUser: isUser)
    case .fromDevice: return Trial(destination: memory + 64 + offset, source: device, isUser: isUser)
    case .within:
      return Trial(destination: device, source: probe.bar.address + (8 << 20) + offset, isUser: isUser)
    }
  }

  /// Arms every window of the function.
  private func arm() {
    probe.setMemory(false)
    probe.setMemory(true)
  }

  /// Runs each instruction with operands of each width at several offsets. Writes a checksum for each
  /// instruction.
  func write(_ report: inout Report) {
    var failures: UInt32 = 0
    var runs: UInt32 = 0
    Operation.forEach { operation in
      let directions: InlineArray<3, Direction> = [.toDevice, .fromDevice, .within]
      for index in directions.indices {
        let direction = directions[index]
        guard direction == .toDevice || operation.usesSource else { continue }

        writeOne(operation, direction, &runs, &failures, &report)
      }
    }
    report.check(
      runs > 0 && failures == 0,
      "CPL \(isUser ? 3 : 0 as UInt8): \(runs) instructions have the same result in armed and open windows"
    )
  }

  private func writeOne(
    _ operation: Operation, _ direction: Direction, _ runs: inout UInt32, _ failures: inout UInt32,
    _ report: inout Report
  ) {
    var open = Trial.Sum()
    var closed = Trial.Sum()
    operation.forEachWidth { width in
      let offsets: InlineArray<3, UInt64> = [0, 1, 6]
      for index in offsets.indices {
        let offset = offsets[index]
        guard !operation.isAligned || offset == 0, !isUser || offset < 6 else { continue }

        let trial = trial(direction, offset)
        let first = run(trial, operation, width, isArmed: true)
        let second = run(trial, operation, width, isArmed: false)
        runs += 1
        if first != second {
          failures += 1
          report.check(
            false,
            "\(operation.name) \(width)+\(offset) \(direction.name): armed \(hex: first.sum) vector \(first.vector) RAX \(hex: first.rax), open \(hex: second.sum) vector \(second.vector) RAX \(hex: second.rax)"
          )
        }
        open.add(UInt64(second.sum))
        if hasClosedWindows || !operation.needsWindow {
          closed.add(UInt64(runClosed(trial, operation, width, direction, &failures, &report).sum))
        }
      }
    }
    let level = isUser ? 3 : 0 as UInt8
    Console.print("cpl\(level).\(operation.name).\(direction.name) = \(hex: open.value)")
    Console.print("closed.cpl\(level).\(operation.name).\(direction.name) = \(hex: closed.value)")
  }

  /// Runs the instructions that need an open window, while memory is off.
  func writeClosed(_ report: inout Report) {
    var runs: UInt32 = 0
    var failures: UInt32 = 0
    Operation.forEach { operation in
      guard operation.needsWindow else { return }
      var sum = Trial.Sum()
      operation.forEachWidth { width in
        let trial = trial(.toDevice, 0)
        let result = runClosed(trial, operation, width, .toDevice, &failures, &report)
        runs += 1
        sum.add(UInt64(result.sum))
        Console.print("unmapped.\(operation.name).\(width) = vector \(result.vector)")
      }
    }
    report.check(
      runs > 0 && failures == 0, "\(runs) instructions that KVM cannot emulate ran on closed windows")
  }

  private func run(_ trial: Trial, _ operation: Operation, _ width: UInt64, isArmed: Bool) -> Trial.Result {
    trial.fill()
    if isArmed { arm() }
    var result = trial.run(operation, width)
    trial.remember(&result)
    return result
  }

  /// Runs an instruction while memory is off. It must not change the BAR.
  private func runClosed(
    _ trial: Trial, _ operation: Operation, _ width: UInt64, _ direction: Direction,
    _ failures: inout UInt32, _ report: inout Report
  ) -> Trial.Result {
    trial.fill()
    var before = Trial.Result()
    trial.remember(&before)
    probe.setMemory(false)
    var result = trial.run(operation, width)
    probe.setMemory(true)
    trial.remember(&result)
    if direction == .within, result.memory != before.memory {
      failures += 1
      report.check(false, "closed \(operation.name) \(width): the device's memory changed")
    }
    return result
  }
}
