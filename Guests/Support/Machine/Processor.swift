// SPDX-License-Identifier: Apache-2.0

import Hardware

/// The processors other than the first, by APIC ID from 1 on.
enum Processor {
  /// Starts a processor and waits until it runs the guest's code. Returns false at once if the machine does
  /// not have the processor, or after a timeout of 10 s.
  static func start(_ id: UInt32) -> Bool {
    guard id > 0, id < UInt32(PROCESSORS), Machine.current.tables.hasProcessor(id) else { return false }
    LocalAPIC.startProcessor(id, vector: processor_trampoline())
    return Time.wait(milliseconds: 10_000) { processor_has_arrived(id) != 0 }
  }

  /// Sets the function that a started processor runs.
  static func run(_ id: UInt32, _ job: @convention(c) (UInt32) -> Void) {
    processor_assign(id, job)
  }
}
