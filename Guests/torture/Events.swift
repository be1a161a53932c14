// SPDX-License-Identifier: Apache-2.0

import Hardware

/// The requests to the host.
enum Request: UInt64 {
  /// A reset through sysfs, a reset through Sluice's descriptor, and a change of the memory bit: without notice to Sluice.
  case reset, deviceReset, memory
  /// Operations of the control socket, for a device behind a port.
  case nonFatalError, fatalError, removal, addition, replacement
}

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

  /// Resets the slot of a device behind a port, and restores the device like an operating system.
  mutating func resetSlot(_ device: Int) {
    targets[device].beginChange()
    resetChangingSlot(device)
    targets[device].endChange()
  }

  private mutating func resetChangingSlot(_ device: Int) {
    guard let port = targets[device].port else { return }
    slotResets += 1
    port.setReset(true)
    judgeClosed(device)
    judgement.check(!targets[device].function.isPresent, "a device in reset answers", device, done)
    port.setReset(false)
    judgement.check(targets[device].function.isPresent, "no device after the reset of its slot", device, done)
    recover(device)
    _ = port.takeEvents()
  }

  /// Releases a device that the host requests with the button of its slot, and then uses the device that the host inserts.
  mutating func exchange(_ device: Int, isReplacement: Bool) {
    guard let port = targets[device].port else { return }
    release(device, for: isReplacement ? .replacement : .removal)
    if isReplacement {
      replacements += 1
    } else {
      additions += 1
      ask(.addition, device)
    }
    let isInserted = Time.wait(milliseconds: 20_000) { port.isOccupied }
    judgement.check(isInserted, "the host inserted no device", device, done)
    judgement.check(port.occupant == nil, "a device without power answers", device, done)
    port.setPower(true)
    judgement.check(port.occupant != nil, "no device after the power is on", device, done)
    judgeClosed(device)
    recover(device)
    _ = port.takeEvents()
    targets[device].endChange()
  }

  /// Releases a device that the host requests with the button of its slot. The change of the device has no end.
  mutating func release(_ device: Int, for request: Request) {
    guard let port = targets[device].port else { return }
    targets[device].beginChange()
    ask(request, device)
    let isPressed = Time.wait(milliseconds: 20_000) { port.takeEvents() & 1 != 0 }
    judgement.check(isPressed, "the host did not press the button", device, done)
    judgeOpen(device)
    port.setPower(false)
    judgeClosed(device)
    judgement.check(port.occupant == nil, "a device without power answers", device, done)
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

  /// Requests an error of a device behind a port, which the host injects. After a fatal error, the device does not answer
  /// until the guest has reset its slot.
  mutating func requestError(_ device: Int, isFatal: Bool) {
    targets[device].beginChange()
    errors += 1
    ask(isFatal ? .fatalError : .nonFatalError, device)
    if isFatal {
      judgeClosed(device)
      resetChangingSlot(device)
    } else {
      judgeOpen(device)
    }
    targets[device].endChange()
  }

  /// Prints a request for the host, and waits until the host reports the end. All processors use the device concurrently.
  private mutating func ask(_ kind: Request, _ device: Int) {
    Console.print("outside \(kind.rawValue) \(UInt64(device))")
    let isDone = Time.wait(milliseconds: 20_000) {
      LocalAPIC.interruptOthers(Vector.wake)
      readOnce(0, UInt32(device))
      return Console.read() == 0x6F
    }
    judgement.check(isDone, "no answer from the host", device, done)
  }

  /// Requests a change of the device by the host, without notice to Sluice. Waits until the host reports the
  /// end.
  mutating func requestHostChange(_ device: Int, _ number: UInt64) {
    // Only some devices support a reset.
    let hasReset = device == Int(Device.drive) || device == Int(Device.network)
    let kind = hasReset ? Request(rawValue: number % 3) ?? .memory : .memory
    shared_store(Shared.isChangedByHost(UInt32(device)), 1)
    targets[device].beginChange()
    ask(kind, device)
    _ = targets[device].setMemory(false, throughMemory: false)
    if kind != .memory {
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
    report.note("event slot-reset \(slotResets)")
    report.note("event inject \(errors)")
    report.note("event remove-add \(additions)")
    report.note("event replace \(replacements)")
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
