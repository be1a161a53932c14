// SPDX-License-Identifier: Apache-2.0

import Foundation

/// A device goes while the guest uses it: the gate closes, the device is given back, and the VM lives on
/// with its other one.
enum DepartureCases {
  static let all: [Case] = [
    Case("outside-unbind", "the host unbinds the device from vfio-pci: given back at once, all-ones") {
      bench in
      let path = "/sys/bus/pci/drivers/vfio-pci/unbind"
      return try depart(bench, "echo \(Address.plug) >\(path)") {
        HostDevice(Address.plug).driver == nil
      }
    },
    Case(
      "outside-unbind-sibling", "one function of a slot is given back: its bus is not reset under the other"
    ) {
      bench in
      let path = "/sys/bus/pci/drivers/vfio-pci/unbind"
      return try depart(bench, "echo \(Address.pair[0]) >\(path)", Address.pair) {
        HostDevice(Address.pair[0]).driver == nil
      }
    },
    Case("outside-remove", "the host removes the device: given back at once, all-ones") { bench in
      let directory = "/sys/bus/pci/devices/\(Address.plug)"
      return try depart(bench, "echo 1 >\(directory)/remove") { !URL(filePath: directory).exists }
    },
    Case("outside-unplug", "the device is unplugged from the machine: given back, all-ones", limit: 90) {
      bench in
      let directory = "/sys/bus/pci/devices/\(Address.plug)"
      let watch = try WatchGuest(bench, [Address.plug, Address.edu])
      try Monitor.send("device_del plug")
      let seconds = try wait(30, "the device is still there") { !URL(filePath: directory).exists }
      try restore { try Monitor.send("device_add \(MachineDevices.plug)") }
      return try check(watch, Address.plug, seconds: seconds)
    },
    Case("outside-error", "an error (AER) isolates the one device: all-ones from then on", limit: 90) {
      bench in
      try isolate(bench)
    },
  ]

  /// Has a shell take the device away, which the kernel lets return when Sluice has given it back.
  private static func depart(
    _ bench: CaseContext, _ command: String, _ devices: [String] = [Address.plug, Address.edu],
    until gone: () -> Bool
  ) throws -> String {
    let watch = try WatchGuest(bench, devices)
    let host = try bench.start(["sh", "-c", command], as: "host")
    // Not `host.wait`: a write to sysfs that waits for Sluice cannot be killed.
    let seconds = try wait(10, "Sluice did not give the device back") { !host.isRunning }
    try bench.require(try host.wait() == 0, "'\(command)': \(host.lastMessage)")
    try bench.require(gone(), "after '\(command)' the device is still there")
    // Before the verdict, for the cases to come; the guest does not get it again.
    try restore(devices[0]) { try HostDevice.write("1", to: "/sys/bus/pci/rescan") }
    return try check(watch, devices[0], seconds: seconds)
  }

  /// Waits until something holds; the seconds that it took.
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

  /// The guest sees the first device gone and the second one work, and ends as usual.
  private static func check(_ watch: WatchGuest, _ device: String, seconds: Double) throws -> String {
    try watch.requireGone()
    let trace = try watch.finish()
    let released = trace.records.filter { $0.event == "device" && $0.state == "released" }
    try watch.bench.require(
      released.count == 1 && released.first?.device == device,
      "the trace has \(released.count) records of a device released, for \(released.first?.device ?? "none")")
    let faults = trace.faultsOfDeparture(of: device) + trace.faultsOfBusResets()
    try watch.bench.require(faults.isEmpty, faults.joined(separator: "; "))
    let time = seconds.formatted(.number.precision(.fractionLength(1)))
    return "gone after \(time) s; \(try warning(of: device, watch))"
  }

  /// The one warning that the device goes; the summary names every device.
  private static func warning(of device: String, _ watch: WatchGuest) throws -> String {
    let lines = watch.child.errors.split(separator: "\n").filter {
      $0.contains("warning: device \(device)") && $0.contains("the guest does not")
    }
    guard lines.count == 1, let line = lines.first else {
      throw Failed("the log has \(lines.count) warnings of \(device), expected 1")
    }
    return String(line)
  }

  /// Brings the device back for the cases to come.
  private static func restore(_ device: String = Address.plug, _ bring: () throws -> Void) throws {
    try bring()
    try wait(20, "the device did not come back") {
      URL(filePath: "/sys/bus/pci/devices/\(device)").exists
    }
    try HostDevice(device).bind(to: "vfio-pci")
  }

  private static func isolate(_ bench: CaseContext) throws -> String {
    let device = HostDevice(Address.errorNetwork)
    let watch = try WatchGuest(bench, [device.address, Address.edu])
    try ErrorInjection.inject(device.address, bench)
    try watch.requireGone()
    try watch.child.type("M")
    try watch.requireGone()
    let trace = try watch.finish()
    let isolated = trace.records.filter { $0.event == "device" && $0.state == "isolated" }
    try bench.require(
      isolated.count == 1 && isolated.first?.device == device.address,
      "the trace has \(isolated.count) records of a device isolated")
    let faults = trace.faultsOfDeparture(of: device.address)
    try bench.require(faults.isEmpty, faults.joined(separator: "; "))
    try device.requireReleased()
    return try warning(of: device.address, watch)
  }
}
