// SPDX-License-Identifier: Apache-2.0

import Hardware

/// An interrupt mode: INTx, MSI or MSI-X.
enum InterruptMode: UInt64 {
  case line, message, table
}

/// The processors' interrupt vectors.
enum Vector {
  static let line = UInt32(FIRST_VECTOR)
  static let message = UInt32(FIRST_VECTOR) + 1
  static let table = UInt32(FIRST_VECTOR) + 2
  /// The vector that wakes the other processors.
  static let wake = UInt32(FIRST_VECTOR) + 3
  /// The first of two vectors for the drive's completions, at any processor.
  static let drive = UInt32(FIRST_VECTOR) + 4
}

/// Interrupt causes of edu and e1000e, raised in all three modes.
struct Causes {
  private let edu: MSI
  private let network: MSI
  private let table: MSIX
  private var modes = (edu: InterruptMode.line, network: InterruptMode.line)
  private(set) var raised: UInt64 = 0
  private(set) var lost: UInt64 = 0
  private(set) var switches: UInt64 = 0

  /// Finds the I/O APIC inputs of both devices' INTx, and sets up all modes.
  init?(_ eduTarget: Target, _ networkTarget: Target) {
    guard let edu = MSI(eduTarget.function), let network = MSI(networkTarget.function),
      let table = MSIX(networkTarget.function)
    else { return nil }
    (self.edu, self.network, self.table) = (edu, network, table)
    let handler: @convention(c) (UInt32) -> Void = { _ in Self.take() }
    let device = Edu(function: eduTarget.function, bar: eduTarget.bar)
    let card = E1000e(function: networkTarget.function, bar: networkTarget.bar)
    card.prepare()
    guard let first = Route.find(raising: { device.raise(1) }, handler: handler),
      let second = Route.find(raising: { card.raise() }, handler: handler)
    else { return nil }
    for vector in Vector.line...Vector.table { interrupt_handle(vector, handler) }
    IOAPIC.route(first, processor: 0, interrupt: Vector.line)
    IOAPIC.route(second, processor: 0, interrupt: Vector.line)
    edu.route(processor: 0, interrupt: Vector.message)
    network.route(processor: 0, interrupt: Vector.message)
    table.route(0, processor: 0, interrupt: Vector.table)
    table.mask(0, false)
  }

  /// Clears the causes of both devices. Called by the interrupt handlers. A device that reads all-ones has
  /// its memory off.
  private static func take() {
    let edu = shared_load(Shared.registers(Device.edu))
    let causes = mmio_load32(edu + Edu.Register.interruptStatus)
    if causes != 0, causes != .max {
      mmio_store32(edu + Edu.Register.interruptAcknowledge, causes)
      count(Device.edu)
    }
    let network = shared_load(Shared.registers(Device.network))
    let set = mmio_load32(network + E1000e.Register.causeSet)
    if set != .max, set & E1000e.receiveQueue != 0 {
      mmio_store32(network + E1000e.Register.cause, .max)
      count(Device.network)
    }
  }

  private static func count(_ device: UInt32) {
    shared_store(Shared.causes(device), shared_load(Shared.causes(device)) + 1)
  }

  /// Raises a cause of edu, optionally after a switch to the other mode.
  mutating func raiseEdu(_ target: Target, switching: Bool) {
    let device = Edu(function: target.function, bar: target.bar)
    if switching {
      modes.edu = modes.edu == .line ? .message : .line
      edu.enable(modes.edu == .message)
      switches += 1
    }
    wait(Device.edu) { device.raise(1) }
  }

  /// Raises a cause of e1000e, optionally before or after a switch to another mode.
  mutating func raiseNetwork(_ target: Target, to mode: InterruptMode, raisingBefore: Bool) {
    let device = E1000e(function: target.function, bar: target.bar)
    let isSwitch = mode != modes.network
    if mode == .table || modes.network == .table { Self.waitForThrottle() }
    if raisingBefore, isSwitch {
      device.allow(false)
      device.raise()
    }
    if isSwitch {
      network.enable(false)
      table.enable(false)
      if mode == .message { network.enable(true) }
      if mode == .table { table.enable(true) }
      modes.network = mode
      switches += 1
    }
    // A cause that is already set raises an interrupt too.
    wait(Device.network) {
      device.allow(false)
      if !raisingBefore || !isSwitch { device.raise() }
      device.allow(true)
    }
    if mode == .table { Self.waitForThrottle() }
  }

  /// Waits until the device holds back no interrupt. QEMU 7.2 aborts if the guest enables or disables MSI-X,
  /// or resets the device, while the device holds back a second interrupt. The hold lasts 128 µs, or
  /// longer until QEMU's main loop runs.
  private static func waitForThrottle() { Time.wait(milliseconds: 30) }

  private mutating func wait(_ device: UInt32, raise: () -> Void) {
    let wanted = shared_load(Shared.causes(device)) + 1
    raise()
    raised += 1
    if Time.wait(milliseconds: 5000, until: { shared_load(Shared.causes(device)) >= wanted }) { return }
    lost += 1
    Console.print(
      "# lost: device \(device), mode \(device == Device.edu ? modes.edu.rawValue : modes.network.rawValue), cause \(raised)"
    )
  }

  /// Restores e1000e's interrupts after a reset.
  func prepareNetwork(_ target: Target) {
    E1000e(function: target.function, bar: target.bar).prepare()
    network.enable(modes.network == .message)
    network.route(processor: 0, interrupt: Vector.message)
    table.enable(modes.network == .table)
    table.route(0, processor: 0, interrupt: Vector.table)
    table.mask(0, false)
  }
}
