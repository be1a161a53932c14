// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Cases in which another process or the host interferes with a VM and its device. The VM continues, or
/// Sluice reports why it cannot.
enum OutsideCases {
  static let all: [Case] = [
    Case("outside-group-held", "another process holds the group: status 6, one line, the device unchanged") {
      context in try groupHeld(context)
    },
    Case("outside-reset", "the host resets the device through sysfs while the guest reads it") { context in
      let edu = try reset(Address.plug, context, as: "edu")
      let drive = try reset(Address.smallDrive, context, as: "drive")
      return "edu by bus reset: \(edu); NVMe by FLR: \(drive)"
    },
    Case(
      "outside-reset-refused", "the host disables a device's resets: the guest continues, Sluice exits with 6"
    ) {
      context in try resetRefused(context)
    },
    Case("outside-memory-sysfs", "the host clears and sets the device's memory bit through sysfs") {
      context in
      try memoryThroughSysfs(context)
    },
    Case(
      "outside-memory-vfio",
      "the memory bit changes through Sluice's descriptor: KVM_RUN fails, the VM continues"
    ) {
      context in try memoryThroughVFIO(context)
    },
    Case("outside-guest-ram", "guest RAM is unmapped behind Sluice: status 6 and one line") {
      context in
      try guestMemory(context)
    },
    Case(
      "management-interrupt", "a guest's SMI without firmware: Sluice resets and releases the device"
    ) {
      context in try managementInterrupt(context)
    },
  ]

  /// Makes the guest send an SMI to its processor. KVM saves the state of the processor to the SMM address
  /// space, which has no RAM here.
  private static func managementInterrupt(_ context: CaseContext) throws -> String {
    let watch = try WatchGuest(context, [Address.plug])
    try watch.child.type("i")
    usleep(1_000_000)
    if watch.child.isRunning { try watch.child.type("q") }
    let status = try watch.child.wait(within: 20)
    let trace = try Trace(file: context.file("guest.jsonl"))
    let kept = trace.records.filter { $0.event == "reset" && $0.why == "hand-back" }
    try context.require(
      kept.count == 1, "\(kept.count) resets at the device's release, expected 1; \(watch.child.lastMessage)")
    try HostDevice(Address.plug).requireReleased()
    return "status \(status); \(watch.child.lastMessage)"
  }

  private static func groupHeld(_ context: CaseContext) throws -> String {
    guard context.vmm == "sluice" else { throw Skipped("only for Sluice") }
    let device = HostDevice(Address.pair[0])
    let before = try device.config()
    let path = "/dev/vfio/\(device.group ?? "none")"
    let other = try FileHandle(forUpdating: URL(filePath: path))
    let guest = BareMetalGuest("watch", Address.pair)
    let child = try context.start(guest.command(context, as: "guest"), as: "guest")
    let status = try child.wait(within: 20)
    let said = child.errors.trimmingCharacters(in: .newlines)
    try other.close()
    try context.require(status == 6, "status \(status), expected 6; the message is '\(said)'")
    try context.require(!said.contains("\n"), "the message has more than one line: '\(said)'")
    for word in [path, "another process", device.address] {
      try context.require(said.contains(word), "no '\(word)' in the message '\(said)'")
    }
    let after = try device.config()
    let changed = zip(before, after).enumerated().filter { $1.0 != $1.1 }.map {
      "\(String($0, radix: 16)): \(String($1.0, radix: 16)), now \(String($1.1, radix: 16))"
    }
    try context.require(after == before, "the device's configuration space has changed at \(changed)")
    try context.require(device.driver == "vfio-pci", "the device's driver is \(device.driver ?? "none")")
    try device.requireReleased()
    return said
  }

  /// Resets the device from the host while a guest reads it. During the reset, the device's memory does not
  /// respond. A guest that has it mapped reads a value that depends on the platform: all-ones by the
  /// specification, 0 on QEMU.
  private static func reset(_ device: String, _ context: CaseContext, as label: String) throws -> String {
    let watch = try WatchGuest(context, [device], strange: .max, as: label)
    let value = try watch.value()
    for _ in 0..<3 {
      try HostDevice.write("1", to: "/sys/bus/pci/devices/\(device)/reset")
      try watch.requireAlive()
      let state = try watch.state()
      try context.require(
        state.value == value, "the device reads \(state.value) after the reset, expected \(value)")
      try context.require(
        state.command.hasSuffix("2") || state.command.hasSuffix("3"),
        "COMMAND is \(state.command): memory is off")
    }
    _ = try watch.finish()
    try HostDevice(device).requireReleased()
    let changes = watch.child.output.split(separator: "\n").count { $0.contains("# device 1 reads") }
    return "the guest saw \(changes) changes in 3 resets"
  }

  /// Checks a device whose resets the kernel refuses at the end, although it had a reset method when Sluice
  /// opened it.
  private static func resetRefused(_ context: CaseContext) throws -> String {
    let device = HostDevice(Address.smallDrive)
    let methods = "/sys/bus/pci/devices/\(device.address)/reset_method"
    let before = try String(contentsOfFile: methods, encoding: .utf8)
    let watch = try WatchGuest(context, [device.address, Address.edu])
    try HostDevice.write("\n", to: methods)
    let end = Result {
      try watch.requireAlive()
      try watch.child.type("q")
      return try watch.child.wait(within: 20)
    }
    try HostDevice.write("default", to: methods)
    let status = try end.get()
    let after = try String(contentsOfFile: methods, encoding: .utf8)
    try context.require(after == before, "the reset methods are \(after), expected \(before)")
    let said = watch.child.errors.split(separator: "\n").filter { $0.contains("release: device") }
    try context.require(status == 6, "status \(status), expected 6")
    for word in [device.address, "VFIO_DEVICE_RESET", "/sys/bus/pci/devices/\(device.address)/reset"] {
      try context.require(said.count == 1 && said[0].contains(word), "no '\(word)' in \(said)")
    }
    for address in [device.address, Address.edu] { try HostDevice(address).requireReleased() }
    let trace = try Trace(file: context.file("guest.jsonl"))
    try context.require(trace.violationsOfClosing().isEmpty, "\(trace.violationsOfClosing())")
    return String(said[0])
  }

  private static func memoryThroughSysfs(_ context: CaseContext) throws -> String {
    let device = HostDevice(Address.plug)
    let watch = try WatchGuest(context, [device.address], strange: .max)
    let value = try watch.value()
    let command = try device.command
    try context.require(
      command & 2 != 0, "the device's COMMAND is \(command) while the guest uses the device: memory is off")
    try device.setCommand(command & ~2)
    let off = try watch.next("# device 1 reads ")
    try context.require(["ffffffff", "00000000"].contains(off), "the device reads \(off) with memory off")
    try watch.requireAlive()
    try device.setCommand(command)
    try watch.expect(reads: value)
    try watch.requireAlive()
    _ = try watch.finish()
    return "\(value), \(off), \(value)"
  }

  private static func memoryThroughVFIO(_ context: CaseContext) throws -> String {
    let watch = try WatchGuest(context, [Address.plug])
    let value = try watch.value()
    let foreign = try ForeignDevice(of: watch.child.sluice())
    for _ in 0..<3 {
      try foreign.setMemory(false)
      let others = try watch.expect(reads: "ffffffff")
      try context.require(others.isEmpty, "the device read \(others) before all-ones")
      try watch.requireAlive()
      try foreign.setMemory(true)
      try watch.expect(reads: value)
    }
    let trace = try watch.finish()
    let demotions = trace.records.count { $0.event == "gate" && $0.why == "fault" && $0.from == "open" }
    try context.require(demotions == 3, "\(demotions) windows demoted in 3 faults, expected 3")
    return "3 times \(value), ffffffff, \(value); \(demotions) windows demoted"
  }

  private static func guestMemory(_ context: CaseContext) throws -> String {
    let watch = try WatchGuest(context, [Address.plug])
    // Enable bus mastering, which waits until guest RAM is pinned. Otherwise the VM would end because RAM
    // cannot be pinned.
    try watch.child.type("b")
    let command = try watch.state().command
    try context.require(command.hasSuffix("6"), "COMMAND is \(command): memory or bus mastering is off")
    let process = try ForeignProcess(watch.child.sluice())
    let size: UInt = 128 << 20  // the default of `BareMetalGuest`
    try process.unmap(process.mapping(of: size), size: size)
    let status = try watch.child.wait(within: 15)
    // Under iommufd, a warning says that peer DMA is off.
    let said = watch.child.errors.split(separator: "\n").filter {
      $0.hasPrefix("sluice: ") && !$0.hasPrefix("sluice: warning: ")
    }
    try context.require(status == 6, "status \(status), expected 6; \(watch.child.lastMessage)")
    try context.require(
      said.count == 1 && said[0].contains("KVM_RUN") && said[0].contains("EFAULT"),
      "Sluice printed \(said.count) lines: \(said.joined(separator: "; "))")
    try HostDevice(Address.plug).requireReleased()
    return said.joined()
  }
}
