// SPDX-License-Identifier: Apache-2.0

import Hardware

/// The other processors, by APIC ID from 1 on.
enum Processor {
  /// Starts a processor and waits until it runs our code; false when it does not come, at once
  /// where there is none.
  static func start(_ id: UInt32) -> Bool {
    guard id > 0, id < UInt32(PROCESSORS), Machine.current.tables.hasProcessor(id) else { return false }
    LocalAPIC.startProcessor(id, vector: processor_trampoline())
    return Time.wait(milliseconds: 10_000) { processor_has_arrived(id) != 0 }
  }

  /// Gives a started processor what it runs from now on.
  static func run(_ id: UInt32, _ job: @convention(c) (UInt32) -> Void) {
    processor_assign(id, job)
  }
}
