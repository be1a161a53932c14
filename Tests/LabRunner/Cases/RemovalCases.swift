// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Cases that remove or isolate a device while the guest uses it. The gate closes, Sluice releases the
/// device, and the VM continues with its other device.
enum RemovalCases {
  static let all: [Case] = [
    Case("outside-unbind", "the host unbinds the device: Sluice releases it at once, reads give all-ones") {
      context in
      let path = "/sys/bus/pci/drivers/vfio-pci/unbind"
      return try depart(context, "echo \(Address.plug) >\(path)") {
        HostDevice(Address.plug).driver == nil
      }
    },
    Case(
      "outside-unbind-sibling", "one function of a slot is released without a bus reset under the other"
    ) {
      context in
      let path = "/sys/bus/pci/drivers/vfio-pci/unbind"
      return try depart(context, "echo \(Address.pair[0]) >\(path)", Address.pair) {
        HostDevice(Address.pair[0]).driver == nil
      }
    },
    Case("outside-remove", "the host removes the device: Sluice releases it at once, reads give all-ones") {
      context in
      let directory = "/sys/bus/pci/devices/\(Address.plug)"
      return try depart(context, "echo 1 >\(directory)/remove") { !URL(filePath: directory).exists }
    },
    Case(
      "outside-unplug", "L1's machine unplugs the device: Sluice releases it, reads give all-ones", limit: 90
    ) {
      context in
      let directory = "/sys/bus/pci/devices/\(Address.plug)"
      let watch = try WatchGuest(context, [Address.plug, Address.edu])
      try Monitor.send("device_del plug")
      let seconds = try wait(30, "the device is still present") { !URL(filePath: directory).exists }
      try restore { try Monitor.plug(MachineDevices.plug, at: Address.plug) }
      return try check(watch, Address.plug, seconds: seconds)
    },
    Case("outside-error", "an error (AER) isolates one device: its reads give all-ones", limit: 90) {
      context in
      try isolate(context)
    },
  ]

  /// Starts the guest `watch` with two devices, and runs a shell command that removes the first device.
  private static func depart(
    _ context: CaseContext, _ command: String, _ devices: [String] = [Address.plug, Address.edu],
    until gone: () -> Bool
  ) throws -> String {
    try depart(WatchGuest(context, devices), devices[0], command, until: gone)
  }

  /// Runs a shell command that removes the device from the host or from its driver. The command returns after Sluice
  /// has released the device.
  ///
  /// - Parameters:
  ///   - watch: The guest that uses the device.
  ///   - device: The address of the guest's first device.
  ///   - command: The shell command.
  ///   - hasOther: True if the guest has a second device.
  ///   - gone: Returns true if the device has left the host or its driver.
  /// - Returns: A remark for the report.
  static func depart(
    _ watch: WatchGuest, _ device: String, _ command: String, hasOther: Bool = true, until gone: () -> Bool
  ) throws -> String {
    let context = watch.context
    let host = try context.start(["sh", "-c", command], as: "host")
    // `host.wait` would kill the command at its time limit. A write to sysfs that waits for Sluice cannot be
    // killed.
    let seconds = try wait(10, "Sluice did not release the device") { !host.isRunning }
    try context.require(try host.wait() == 0, "'\(command)': \(host.lastMessage)")
    try context.require(gone(), "after '\(command)' the device is still present")
    // Restore the device before the checks, so that later cases have it. The guest does not get it again.
    try restore(device) {
      if !URL(filePath: "/sys/bus/pci/devices/\(device)").exists {
        try HostDevice.write("1", to: "/sys/bus/pci/rescan")
      }
    }
    return try check(watch, device, seconds: seconds, hasOther: hasOther)
  }

  /// Waits until a condition holds. Returns the elapsed seconds.
  @discardableResult
  private static func wait(_ seconds: Int, _ complaint: String, until condition: () -> Bool) throws -> Double
  {
    let start = ContinuousClock.now
    while !condition() {
      guard ContinuousClock.now - start < .seconds(seconds) else {
        throw Failed("\(complaint) after \(seconds) s")
      }
      usleep(20_000)
    }
    return (ContinuousClock.now - start) / .seconds(1)
  }

  /// Checks that the removed device reads all-ones, that the other device works, and that the guest ends
  /// normally.
  private static func check(
    _ watch: WatchGuest, _ device: String, seconds: Double, hasOther: Bool = true
  ) throws -> String {
    try watch.requireRemoved(hasOther: hasOther)
    let trace = try watch.finish()
    let released = trace.records.filter { $0.event == "device" && $0.state == "released" }
    try watch.context.require(
      released.count == 1 && released.first?.device == device,
      "the trace has \(released.count) 'released' records, the first for \(released.first?.device ?? "none")")
    let faults = trace.violationsOfRemoval(of: device) + trace.faultsOfBusResets()
    try watch.context.require(faults.isEmpty, faults.joined(separator: "; "))
    let time = seconds.formatted(.number.precision(.fractionLength(1)))
    return "removed after \(time) s; \(try warning(of: device, watch))"
  }

  /// Returns the only warning about the device's removal. The summary also names the device and is not a
  /// warning.
  private static func warning(of device: String, _ watch: WatchGuest) throws -> String {
    let lines = watch.child.errors.split(separator: "\n").filter {
      $0.contains("warning: device \(device)") && $0.contains("from the guest: ")
    }
    guard lines.count == 1, let line = lines.first else {
      throw Failed("the log has \(lines.count) warnings about \(device), expected 1")
    }
    return String(line)
  }

  /// Restores the device for later cases.
  private static func restore(_ device: String = Address.plug, _ bring: () throws -> Void) throws {
    try bring()
    try wait(20, "the device did not reappear") {
      URL(filePath: "/sys/bus/pci/devices/\(device)").exists
    }
    try HostDevice(device).bind(to: "vfio-pci")
  }

  private static func isolate(_ context: CaseContext) throws -> String {
    let device = HostDevice(Address.errorNetwork)
    let watch = try WatchGuest(context, [device.address, Address.edu])
    try ErrorInjection.inject(.nonFatal, device.address, context)
    try watch.requireRemoved()
    try watch.child.type("M")
    try watch.requireRemoved()
    let trace = try watch.finish()
    let isolated = trace.records.filter { $0.event == "device" && $0.state == "isolated" }
    try context.require(
      isolated.count == 1 && isolated.first?.device == device.address,
      "the trace has \(isolated.count) 'isolated' records, expected one for the device")
    let faults = trace.violationsOfRemoval(of: device.address)
    try context.require(faults.isEmpty, faults.joined(separator: "; "))
    try device.requireReleased()
    return try warning(of: device.address, watch)
  }
}
