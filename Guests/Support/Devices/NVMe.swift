// SPDX-License-Identifier: Apache-2.0

import Hardware

/// An NVMe controller with its admin queue alone (NVM Express Base 2.0, §3): the simplest way to
/// make a device raise an interrupt exactly when it is told to.
struct NVMe: ~Copyable {
  /// Guest-physical address of BAR 0, which may move.
  var registers: UInt64
  /// How long to wait for the controller, in milliseconds; for a command half of that.
  private let patience: UInt64
  /// Bytes between doorbells.
  private let doorbellStride: UInt64
  private var tail: UInt32 = 0
  private var head: UInt32 = 0
  private var phase: UInt16 = 1
  private var identifier: UInt16 = 0

  private enum Register {
    static let capabilities: UInt64 = 0x00
    static let configuration: UInt64 = 0x14
    static let status: UInt64 = 0x1C
    static let queueSizes: UInt64 = 0x24
    static let submissionQueue: UInt64 = 0x28
    static let completionQueue: UInt64 = 0x30
    static let doorbells: UInt64 = 0x1000
  }

  /// Entries in either queue: 64 bytes each make a page, 16 bytes each a quarter of one.
  private static let depth: UInt32 = 64
  private static let submissionPage: UInt32 = 0
  private static let completionPage: UInt32 = 1
  private static let dataPage: UInt32 = 2

  init(registers: UInt64, patience: UInt64 = 10_000) {
    self.registers = registers
    self.patience = patience
    doorbellStride = 4 << (mmio_load64(registers + Register.capabilities) >> 32 & 0xF)
  }

  /// Stops the controller and starts it with empty queues; false when it does not get ready.
  mutating func start() -> Bool {
    mmio_store32(registers + Register.configuration, 0)
    guard waitReady(false) else { return false }
    for word in UInt64(0)..<512 { mmio_store64(dma_page(Self.completionPage) + word * 8, 0) }
    mmio_store32(registers + Register.queueSizes, (Self.depth - 1) << 16 | (Self.depth - 1))
    mmio_store64(registers + Register.submissionQueue, dma_page(Self.submissionPage))
    mmio_store64(registers + Register.completionQueue, dma_page(Self.completionPage))
    // 64-byte commands, 16-byte completions, 4 KiB pages, enabled.
    mmio_store32(registers + Register.configuration, 6 << 16 | 4 << 20 | 1)
    return waitReady(true)
  }

  /// Stops the controller, so that it uses our memory no more.
  func stop() -> Bool {
    mmio_store32(registers + Register.configuration, 0)
    return waitReady(false)
  }

  private func waitReady(_ ready: Bool) -> Bool {
    let registers = registers
    return Time.wait(milliseconds: patience) {
      mmio_load32(registers + Register.status) & 1 == (ready ? 1 : 0)
    }
  }

  /// Submits Identify Controller, whose answer goes into a page of ours.
  mutating func submitIdentify() {
    let entry = dma_page(Self.submissionPage) + UInt64(tail) * 64
    for word in UInt64(0)..<8 { mmio_store64(entry + word * 8, 0) }
    identifier &+= 1
    mmio_store32(entry, 0x06 | UInt32(identifier) << 16)
    mmio_store64(entry + 24, dma_page(Self.dataPage))
    mmio_store32(entry + 40, 1)  // CNS: the controller
    tail = (tail + 1) % Self.depth
    mmio_store32(registers + Register.doorbells, tail)
  }

  /// Waits for the next completion without taking it; false when there is none, or one that
  /// reports an error.
  func waitForCompletion() -> Bool {
    let status = dma_page(Self.completionPage) + UInt64(head) * 16 + 14
    let phase = phase
    guard Time.wait(milliseconds: patience / 2, until: { mmio_load16(status) & 1 == phase }) else {
      return false
    }
    return mmio_load16(status) >> 1 == 0
  }

  /// Takes the completion and tells the controller.
  mutating func takeCompletion() {
    head += 1
    if head == Self.depth {
      head = 0
      phase ^= 1
    }
    mmio_store32(registers + Register.doorbells + doorbellStride, head)
  }
}
