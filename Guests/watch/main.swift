// SPDX-License-Identifier: Apache-2.0

// Reads a register of one or two devices continuously and reports each change of the value, while the host
// changes the devices. Run by the lab's `outside-` cases and others, which control it by single characters on
// the serial port:
//
//   c  report the number of reads                   s  report the state of each device
//   m  turn the first device's memory off           M  turn it on
//   b  turn the first device's bus mastering on, which waits until guest RAM is pinned
//   i  send an SMI to the own processor             q  end
//   p  wait for the button of the first device's slot, and switch the slot's power off; needs a root port
//   P  wait for a device in the slot, and switch the power on
//
// Command line: `strange=N` is the number of reads that may return neither a device's value nor all-ones. If
// the host turns a mapped device off, the value of a read depends on the platform: 0 in an L1 under QEMU. `any=1`
// allows any device, and the guest then writes nothing to it. With `empty=1`, a guest without a device waits for a `q`.

import Hardware

/// A device and the last value of its register.
private struct Watched {
  let probe: Probe
  let value: UInt32
  var last: UInt32
  /// The number of reads that returned neither the value nor all-ones.
  var strange: UInt64 = 0
}

func guest(_ machine: Machine, _ report: inout Report) {
  var first: Watched?
  var second: Watched?
  PCIBus.forEachFunction { function in
    guard function.isEndpoint, let watched = watch(function, machine.commandLine) else { return }
    if first == nil {
      first = watched
    } else if second == nil {
      second = watched
    }
  }
  guard var first else {
    if machine.commandLine.number("empty") == 1 {
      Console.print("watching")
      while Console.read() != 0x71 {}
      return
    }
    return Probe.reportAbsence(machine.commandLine, &report)
  }
  Console.print("watching")
  var reads: UInt64 = 0
  while true {
    for _ in 0..<200 {
      read(&first, 1)
      if second != nil { second.mutate { read(&$0, 2) } }
      reads += 1
    }
    switch Console.read() {
    case 0x63: Console.print("# count \(reads)")  // c
    case 0x73:  // s
      state(first, 1)
      if let second { state(second, 2) }
    case 0x6D: first.probe.setMemory(false)  // m
    case 0x4D: first.probe.setMemory(true)  // M
    case 0x62: first.probe.function.setCommand(PCIFunction.Command.busMaster, true)  // b
    case 0x69: LocalAPIC.interruptManagement()  // i
    case 0x70: release(first.probe.function)  // p
    case 0x50: accept(first.probe.function)  // P
    case 0x71:  // q
      let strange = first.strange + (second?.strange ?? 0)
      let allowed = machine.commandLine.number("strange") ?? 0
      report.check(strange <= allowed, "\(strange) reads returned neither the device's value nor all-ones")
      report.check(reads > 0, "\(reads) rounds of reads")
      return
    default: break
    }
  }
}

/// Turns a device's memory on and reads its register for the first time.
private func watch(_ function: PCIFunction, _ commandLine: CommandLine) -> Watched? {
  let isAny = commandLine.number("any") == 1 && function.slot > 0
  guard let probe = isAny ? Probe.any(function, commandLine) : Probe.of(function) else { return nil }
  RootPort.above(function)?.forward()
  probe.setMemory(true)
  if probe.isMemory { mmio_store32(probe.bar.address + probe.constant, 0x5EA1_ED00) }
  let value = probe.value
  Console.print("# device \(function) has \(hex: value, digits: 8)")
  return Watched(probe: probe, value: value, last: value)
}

@inline(never)
private func read(_ watched: inout Watched, _ number: UInt32) {
  let value = watched.probe.value
  if value != watched.value, value != .max { watched.strange += 1 }
  guard value != watched.last else { return }
  watched.last = value
  Console.print("# device \(number) reads \(hex: value, digits: 8)")
}

/// Releases a device when the host presses the button of its slot.
private func release(_ function: PCIFunction) {
  guard let port = RootPort.above(function) else { return }
  while port.takeEvents() & 1 == 0 {}
  port.setPower(false)
}

/// Switches the slot of a device on when the host has inserted another device.
private func accept(_ function: PCIFunction) {
  guard let port = RootPort.above(function) else { return }
  while !port.isOccupied {}
  port.setPower(true)
}

/// Reports the present values of the device's register, COMMAND and identity.
private func state(_ watched: Watched, _ number: UInt32) {
  let function = watched.probe.function
  Console.print(
    """
    # state \(number) reads \(hex: watched.probe.value, digits: 8) command \
    \(hex: function.command, digits: 4) identity \
    \(hex: function.load32(PCIFunction.Register.identity), digits: 8)
    """)
}

extension Optional where Wrapped == Watched {
  /// Changes the wrapped value in place.
  fileprivate mutating func mutate(_ body: (inout Watched) -> Void) {
    guard var value = self else { return }
    body(&value)
    self = value
  }
}
