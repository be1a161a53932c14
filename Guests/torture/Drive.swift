// SPDX-License-Identifier: Apache-2.0

import Hardware

/// The drive's admin queue, with MSI-X vector 0.
struct Drive: ~Copyable {
  private var nvme: NVMe
  private var msix: MSIX
  private var address: UInt64
  private var processor: UInt32 = 0
  private var vector = Vector.drive
  private(set) var raised: UInt64 = 0
  private(set) var lost: UInt64 = 0
  private(set) var failed: UInt64 = 0
  private(set) var changes: UInt64 = 0

  init(_ target: Target, _ msix: MSIX) {
    self.msix = msix
    address = target.bar.address
    nvme = NVMe(registers: address)
  }

  /// Sets up MSI-X, then starts the controller.
  mutating func start() -> Bool {
    msix.enable(true)
    msix.route(0, processor: processor, interrupt: vector)
    msix.mask(0, false)
    nvme = NVMe(registers: address)
    return nvme.start()
  }

  mutating func follow(_ target: Target) {
    guard target.bar.address != address else { return }
    msix.move(from: address, to: target.bar.address)
    address = target.bar.address
    nvme.registers = address
  }

  /// Routes the messages to a processor and vector.
  mutating func route(processor: UInt32, second: Bool) {
    (self.processor, vector) = (processor, Vector.drive + (second ? 1 : 0))
    msix.mask(0, true)
    msix.route(0, processor: processor, interrupt: vector)
    msix.mask(0, false)
    changes += 1
  }

  /// Runs a command, masks and unmasks the vector `masks` times during it, and waits for its interrupt.
  mutating func identify(masks: UInt64) {
    let (processor, vector) = (processor, vector)
    let before = interrupt_count(processor, vector)
    if masks % 2 == 1 { msix.mask(0, true) }
    nvme.submitIdentify()
    for _ in 0..<masks {
      msix.mask(0, true)
      msix.mask(0, false)
    }
    changes += masks
    guard nvme.waitForCompletion() else {
      failed += 1
      _ = start()
      return
    }
    msix.mask(0, false)
    raised += 1
    if !Time.wait(milliseconds: 5000, until: { interrupt_count(processor, vector) > before }) {
      lost += 1
      Console.print("# lost: drive, processor \(processor), vector \(vector), command \(raised)")
    }
    nvme.takeCompletion()
  }
}
