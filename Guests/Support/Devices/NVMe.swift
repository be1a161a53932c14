// SPDX-License-Identifier: Apache-2.0

import Hardware

/// An NVMe controller with only its admin queue (NVM Express Base 2.0, §3). Each admin command makes the
/// device raise one interrupt.
struct NVMe: ~Copyable {
  /// Guest-physical address of BAR 0. The BAR may move.
  var registers: UInt64
  /// The timeout for the controller, in milliseconds. The timeout for a command is half of it.
  private let timeout: UInt64
  /// The distance between doorbells, in bytes.
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

  /// The number of entries in each queue. 64 entries of 64 bytes fill a page; 64 of 16 bytes fill a quarter.
  private static let depth: UInt32 = 64
  private static let submissionPage: UInt32 = 0
  private static let completionPage: UInt32 = 1
  private static let dataPage: UInt32 = 2

  init(registers: UInt64, timeout: UInt64 = 10_000) {
    self.registers = registers
    self.timeout = timeout
    doorbellStride = 4 << (mmio_load64(registers + Register.capabilities) >> 32 & 0xF)
  }

  /// Disables the controller and enables it with empty queues. Returns false if it does not become ready.
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

  /// Disables the controller, so that it no longer accesses the guest's memory.
  func stop() -> Bool {
    mmio_store32(registers + Register.configuration, 0)
    return waitReady(false)
  }

  private func waitReady(_ ready: Bool) -> Bool {
    let registers = registers
    return Time.wait(milliseconds: timeout) {
      mmio_load32(registers + Register.status) & 1 == (ready ? 1 : 0)
    }
  }

  /// Submits Identify Controller. The controller writes the data to a page of the guest.
  mutating func submitIdentify() {
    let entry = dma_page(Self.submissionPage) + UInt64(tail) * 64
    for word in UInt64(0)..<8 { mmio_store64(entry + word * 8, 0) }
    identifier &+= 1
    mmio_store32(entry, 0x06 | UInt32(identifier) << 16)
    mmio_store64(entry + 24, dma_page(Self.dataPage))
    mmio_store32(entry + 40, 1)  // CNS: Identify Controller
    tail = (tail + 1) % Self.depth
    mmio_store32(registers + Register.doorbells, tail)
  }

  /// Waits for the next completion without consuming it. Returns false after a timeout or if the completion
  /// reports an error.
  func waitForCompletion() -> Bool {
    let status = dma_page(Self.completionPage) + UInt64(head) * 16 + 14
    let phase = phase
    guard Time.wait(milliseconds: timeout / 2, until: { mmio_load16(status) & 1 == phase }) else {
      return false
    }
    return mmio_load16(status) >> 1 == 0
  }

  /// Consumes the completion and writes the controller's doorbell.
  mutating func takeCompletion() {
    head += 1
    if head == Self.depth {
      head = 0
      phase ^= 1
    }
    mmio_store32(registers + Register.doorbells + doorbellStride, head)
  }
}
