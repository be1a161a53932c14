// SPDX-License-Identifier: Apache-2.0

/// QEMU's emulation of L1's processors.
enum Emulation: CaseIterable {
  /// Two processors, each in its own thread. The measurements of `bench` need processors that run concurrently.
  case parallel
  /// Two processors, in turn in one thread.
  ///
  /// With several threads, QEMU before 8.1 looks up addresses in a stale table while L1's memory map changes. The map
  /// changes when a guest clears or sets a device's memory bit. Occasionally a write to the local APIC then goes
  /// elsewhere, and L1 hangs. Also, kernel tracing changes the kernel's code, and QEMU 7.2 sometimes executes the code
  /// in the middle of a change.
  case inTurns
  /// One processor, and a clock that counts its instructions, 2 ns each. L1's own waits take their time. A time is then
  /// the same on a busy and on a quiet machine.
  ///
  /// With `sleep=off`, L1's clock would run ahead while L1 waits for the host's disk: a guest of QEMU then missed its
  /// deadline, and some runs of Sluice took minutes.
  case instructionClock

  /// The arguments of QEMU.
  var arguments: [String] {
    let size = "tb-size=1024"
    return switch self {
    case .parallel: ["-accel", "tcg,thread=multi,\(size)", "-smp", "2"]
    case .inTurns: ["-accel", "tcg,thread=single,\(size)", "-smp", "2"]
    case .instructionClock:
      ["-accel", "tcg,thread=single,\(size)", "-smp", "1", "-icount", "shift=1,sleep=on"]
    }
  }

  /// The text between commas in the message about the start of L1, or an empty text.
  var remark: String {
    switch self {
    case .parallel: ""
    case .inTurns: ", its processors in one thread,"
    case .instructionClock: ", with the instruction clock,"
    }
  }
}
