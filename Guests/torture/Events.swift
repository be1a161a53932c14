// SPDX-License-Identifier: Apache-2.0

import Hardware

extension Schedule {
  /// Checks that the register reads all-ones right after an event that closes it.
  private mutating func judgeClosed(_ device: Int) {
    guard !isEmulated else { return }
    judgement.closed += 1
    judgement.check(targets[device].value == .max, "register not closed", device, done)
  }

  /// Checks that the register reads its value right after an event that opens it.
  private mutating func judgeOpen(_ device: Int) {
    judgement.opened += 1
    judgement.check(targets[device].value == targets[device].expected, "register not open", device, done)
  }

  private mutating func judgeCommand(_ agrees: Bool, _ device: Int) {
    judgement.config += 1
    judgement.check(agrees, "COMMAND differs from the written value", device, done)
  }

  /// Turns memory off, changes the device, and turns memory on.
  mutating func change(_ device: Int, _ number: UInt64, _ body: (inout Target) -> Void) {
    targets[device].beginChange()
    judgeCommand(targets[device].setMemory(false, throughMemory: number & 1 != 0), device)
    if number & 6 == 0 { judgeClosed(device) }
    body(&targets[device])
    judgeCommand(targets[device].setMemory(true, throughMemory: number & 1 == 0), device)
    follow(device)
    // Sometimes another processor performs the first access.
    if number & 24 != 0 { judgeOpen(device) }
    targets[device].endChange()
  }

  private mutating func follow(_ device: Int) {
    if device == Int(Device.drive) { drive.follow(targets[device]) }
  }

  /// Moves the BAR with memory on.
  mutating func move(_ device: Int) {
    targets[device].beginChange()
    targets[device].move()
    follow(device)
    judgeOpen(device)
    targets[device].endChange()
  }

  /// Resets the device by FLR and restores it like an operating system.
  mutating func reset(_ device: Int, _ number: UInt64) {
    targets[device].beginChange()
    judgement.check(FunctionReset.start(targets[device].function), "FLR is not supported", device, done)
    recover(device)
    targets[device].endChange()
  }

  /// Enters D3hot and returns to D0. Optionally turns memory off and on in D3hot.
  mutating func sleep(_ device: Int, _ number: UInt64) {
    guard let power = PowerManagement(targets[device].function) else { return }
    targets[device].beginChange()
    power.enter(PowerManagement.State.d3hot)
    judgeClosed(device)
    if number & 4 != 0 {
      judgeCommand(targets[device].setMemory(false, throughMemory: false), device)
      judgeCommand(targets[device].setMemory(true, throughMemory: true), device)
      judgeClosed(device)
    }
    judgement.check(targets[device].function.isPresent, "no configuration space in D3hot", device, done)
    power.enter(PowerManagement.State.d0)
    recover(device)
    targets[device].endChange()
  }

  /// Restores configuration space and restarts the device.
  private mutating func recover(_ device: Int) {
    targets[device].restore()
    judgeOpen(device)
    if device == Int(Device.drive) {
      drive.follow(targets[device])
      judgement.check(drive.start(), "the drive did not start", device, done)
    } else if device == Int(Device.network) {
      causes.prepareNetwork(targets[device])
    }
  }

  /// Checks that configuration space has the written values.
  mutating func checkConfig(_ device: Int) {
    judgement.config += 1
    judgement.check(targets[device].isConfigured, "configuration space differs", device, done)
  }

  /// Requests a change of the device by the host, without notice to Sluice. Waits until the host reports the
  /// end.
  mutating func requestHostChange(_ device: Int, _ number: UInt64) {
    // Kinds 0 and 1 are resets through sysfs and VFIO, for devices that support a reset. Kind 2 is the memory
    // bit.
    let hasReset = device == Int(Device.drive) || device == Int(Device.network)
    let kind = hasReset ? number % 3 : 2
    shared_store(Shared.isChangedByHost(UInt32(device)), 1)
    targets[device].beginChange()
    Console.print("outside \(kind) \(UInt64(device))")
    // All processors use the device concurrently.
    let isDone = Time.wait(milliseconds: 20_000) {
      LocalAPIC.interruptOthers(Vector.wake)
      readOnce(0, UInt32(device))
      return Console.read() == 0x6F
    }
    judgement.check(isDone, "no answer from the host", device, done)
    _ = targets[device].setMemory(false, throughMemory: false)
    if kind < 2 {
      recover(device)
    } else {
      _ = targets[device].setMemory(true, throughMemory: false)
      judgeOpen(device)
    }
    targets[device].endChange()
    if !isEmulated { shared_store(Shared.isChangedByHost(UInt32(device)), 0) }
  }

  /// Reports the counts, and the checks that are possible only at the end.
  mutating func finish(_ report: inout Report) {
    for event in Event.allCases { report.note("event \(event.name) \(counts[event.rawValue])") }
    report.note("event switch \(causes.switches)")
    report.note("event mask-change \(drive.changes)")
    report.note("invariant closed-at-once \(judgement.closed)")
    report.note("invariant open-at-once \(judgement.opened)")
    report.note("invariant config \(judgement.config)")
    report.note("invariant interrupts \(causes.raised + drive.raised)")
    report.note("invariant transfers \(transfers.done)")
    report.check(judgement.faults == 0, "\(judgement.faults) faults right after an event")
    report.check(causes.lost == 0, "\(causes.lost) of \(causes.raised) causes of edu and e1000e lost")
    report.check(drive.lost == 0, "\(drive.lost) of \(drive.raised) interrupts of the drive lost")
    report.check(drive.failed == 0, "\(drive.failed) commands of the drive failed")
    report.check(
      transfers.partial == 0 && transfers.missing == 0,
      "\(transfers.done) transfers: \(transfers.moved) whole, \(transfers.partial) partial, \(transfers.missing) missing"
    )
  }
}
