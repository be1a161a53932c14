// SPDX-License-Identifier: Apache-2.0

import Hardware

/// A USB controller (xHCI 1.2 §5). Guests use only its interrupters, one for each vector. A guest can make
/// each interrupter raise its interrupt.
struct XHCI {
  let function: PCIFunction
  let bar: BAR
  /// Guest-physical address of interrupter 0's registers.
  private let interrupters: UInt64
  /// Guest-physical address of the operational registers.
  private let operational: UInt64
  /// The number of interrupters.
  let count: UInt32

  /// Bits of an interrupter's registers.
  private enum Interrupter {
    static let enable: UInt32 = 2
    static let handlerBusy: UInt32 = 1 << 3
  }

  /// A page with an event ring and its segment table, which all interrupters share. The controller never
  /// writes to it.
  private static let page: UInt32 = 7

  /// Creates the controller and enables memory decoding and bus mastering. Returns nil for other devices.
  init?(_ function: PCIFunction) {
    guard function.classCode == 0x0C_0330, let bar = BAR.usable(function, 0) else { return nil }
    function.setCommand(PCIFunction.Command.memory | PCIFunction.Command.busMaster, true)
    self.init(function, at: bar)
  }

  /// Creates a controller from the BAR that another processor found. Memory decoding must be on.
  init(_ function: PCIFunction, at bar: BAR) {
    self.function = function
    self.bar = bar
    count = mmio_load32(bar.address + 4) >> 8 & 0x7FF
    operational = bar.address + UInt64(mmio_load32(bar.address) & 0xFF)
    interrupters = bar.address + UInt64(mmio_load32(bar.address + 0x18) & ~0x1F) + 0x20
  }

  private func registers(_ number: UInt32) -> UInt64 { interrupters + UInt64(number) * 32 }

  /// Enables an interrupter. MSI or MSI-X must already be enabled.
  func prepare(_ number: UInt32) {
    let table = dma_page(Self.page)
    let ring = table + 2048
    // One segment of 16 events.
    mmio_store64(table, ring)
    mmio_store64(table + 8, 16)
    mmio_store32(registers(number) + 0x08, 1)
    mmio_store32(registers(number) + 0x1C, UInt32(ring >> 32))
    mmio_store32(registers(number) + 0x10, UInt32(truncatingIfNeeded: table))
    mmio_store32(registers(number) + 0x14, UInt32(table >> 32))
    mmio_store32(registers(number), Interrupter.enable)
    mmio_store32(operational, mmio_load32(operational) | 1 << 2)
  }

  /// Triggers an interrupter's interrupt. The written dequeue pointer states that an event has arrived since
  /// the last handled one.
  func raise(_ number: UInt32) {
    let ring = dma_page(Self.page) + 2048
    mmio_store32(
      registers(number) + 0x18, UInt32(truncatingIfNeeded: ring + 16) | Interrupter.handlerBusy)
  }
}
