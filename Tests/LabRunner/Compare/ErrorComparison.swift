// SPDX-License-Identifier: Apache-2.0

import Foundation

/// The case that compares the effects of an error that the host's kernel reports: under Sluice and under QEMU, the same guest
/// has the same network card behind a root port.
enum ErrorComparison {
  static let name = "compare-error"

  /// Runs the guest under a VMM. Returns the facts.
  static func observe(_ vmm: String, _ context: CaseContext) throws -> Observations {
    let device = Address.errorNetwork
    let guest = LinuxGuest(kernel: .newFull, devices: [device + ",port"], steps: ["ping", "recover-1"])
    let child = try context.start(guest.command(context), as: vmm)
    try child.expect("lab: recover 1\r\n")
    try ErrorInjection.inject(.nonFatal, device, context)
    let end = ContinuousClock.now + .seconds(100)
    while child.isRunning, message(of: child) == nil, ContinuousClock.now < end { usleep(100_000) }
    // A stopped guest prints nothing more.
    if child.isRunning { usleep(5_000_000) }
    let (isOver, output) = (!child.isRunning, child.output)
    if !isOver { child.kill() }
    let lines = GuestLines(output)
    var facts = Observations()
    facts.add("ping", lines.values(of: "ping").isEmpty ? "none" : "ok")
    facts.add("vmm", message(of: child) ?? "no message")
    facts.add("recovery", lines.values(of: "recover").isEmpty ? "none" : "the driver recovers")
    facts.add("end", isOver && lines.ended ? "the guest powers off" : "the guest does not run")
    return facts
  }

  /// QEMU's message about the error, without the names of the device and of the function.
  private static func message(of child: Child) -> String? {
    child.errors.contains("Unrecoverable error detected") ? "Unrecoverable error detected" : nil
  }
}
