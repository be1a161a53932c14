// SPDX-License-Identifier: Apache-2.0

import Hardware

/// The e1000e's interrupt mode: INTx, MSI or MSI-X.
private enum InterruptMode: UInt64 {
  case line, message, table

  /// Returns one of the other modes, selected by a number.
  func other(_ number: UInt64) -> InterruptMode {
    InterruptMode(rawValue: (rawValue + 1 + number % 2) % 3) ?? .line
  }
}

/// Switches between INTx, MSI and MSI-X in every order. Raises a cause around each switch: before it with the
/// device's interrupts enabled, before it with them disabled, or after it. The handler sees each cause
/// exactly once.
func checkSwitches(_ network: E1000e, _ input: UInt32, _ switches: UInt64, _ report: inout Report) {
  guard let msi = MSI(network.function), let msix = MSIX(network.function) else {
    report.check(false, "e1000e has MSI and MSI-X")
    return
  }
  for vector in [Vector.line, Vector.message, Vector.table] {
    interrupt_handle(vector, { _ in Causes.takeNetwork() })
  }
  IOAPIC.route(input, processor: 0, interrupt: Vector.line)
  msi.route(processor: 0, interrupt: Vector.message)
  msix.route(0, processor: 0, interrupt: Vector.table)
  msix.mask(0, false)
  network.prepare()
  let enter = { (mode: InterruptMode) in
    msi.enable(false)
    msix.enable(false)
    if mode == .message { msi.enable(true) }
    if mode == .table { msix.enable(true) }
    // Like a driver: a cause that is already set must raise an interrupt.
    network.allow(false)
    network.allow(true)
  }
  let start = Causes.network
  var mode = InterruptMode.line
  var done: UInt64 = 0
  var lost: UInt64 = 0
  while done < switches {
    let wanted = start + done + 1
    switch done % 3 {
    case 0: network.raise()
    case 1:
      network.allow(false)
      network.raise()
    default: break
    }
    let next = mode.other(done / 3)
    // QEMU 7.2 aborts if the guest enables or disables MSI-X while the device holds back a second interrupt.
    // The device holds it back for 128 µs, or longer until QEMU's main loop runs.
    if mode == .table || next == .table { Time.wait(milliseconds: 30) }
    enter(next)
    if done % 3 == 2 { network.raise() }
    if !Time.wait(milliseconds: 1000, until: { Causes.network >= wanted }) {
      lost += 1
      report.note("cause \(done % 3) lost from mode \(mode.rawValue) to \(next.rawValue), switch \(done)")
      break
    }
    mode = next
    done += 1
  }
  let modes = (message: interrupt_count(0, Vector.message), table: interrupt_count(0, Vector.table))
  Time.wait(milliseconds: 30)
  enter(.line)
  Time.wait(milliseconds: 20)
  report.check(
    lost == 0 && Causes.network - start == switches,
    "\(Causes.network - start) of \(switches) causes seen around switches")
  report.check(modes.message > 0 && modes.table > 0, "\(modes.message) by MSI, \(modes.table) by MSI-X")
}
