// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Cases for the control socket and `sluice ctl`.
enum ControlCases {
  static let all: [Case] = [
    Case("control", "a client removes a device, and presses the power button of a user's VM", limit: 240) {
      context in
      try control(context)
    }
  ]

  private static let user = "nobody"
  /// A user who is neither root nor the VM's user.
  private static let stranger = "1"

  private static func control(_ context: CaseContext) throws -> String {
    guard context.vmm == "sluice" else { throw Skipped("only for Sluice") }
    // The VM's user creates the trace and the socket.
    try FileManager.default.setAttributes([.posixPermissions: 0o777], ofItemAtPath: context.directory.path)
    let first = try remove(context)
    // Root can write the trace of the user's VM, and the user cannot write a trace of root's VM.
    try stop(context)
    let times = [first, try leave(context)].map { $0.formatted(.number.precision(.fractionLength(2))) }
    return "removed after \(times[0]) s, and behind a port after \(times[1]) s"
  }

  /// Runs `sluice ctl`. Returns its standard output.
  private static func ctl(
    _ context: CaseContext, _ path: String, _ arguments: [String], as user: String = "0", status: Int32 = 0,
    says text: String = ""
  ) throws -> String {
    let become = user == "0" ? [] : ["setpriv", "--reuid", user, "--regid", user, "--clear-groups"]
    let result = try Command.result(become + [context.manifest.sluice, "ctl", path] + arguments)
    try context.require(
      result.status == status && (result.output + result.errors).contains(text),
      "ctl \(arguments) of user \(user): status \(result.status): \(result.output)\(result.errors)")
    return result.output
  }

  /// Removes a device that a guest reads. Returns the elapsed seconds.
  private static func remove(_ context: CaseContext) throws -> Double {
    let path = context.file("watch").path
    var guest = BareMetalGuest("watch", [Address.plug, Address.edu], append: "strange=0")
    guest.options = ["--control", path]
    let watch = try WatchGuest(context, guest, as: "watch-guest")
    _ = try ctl(context, path, ["status"], says: "\(Address.plug)  present, windows opened 1 of ")
    let start = ContinuousClock.now
    _ = try ctl(context, path, ["remove", Address.plug], says: "released to the host")
    let time = (ContinuousClock.now - start) / .seconds(1)
    try watch.requireRemoved()
    let device = HostDevice(Address.plug)
    // With type1, the VM keeps the group open.
    if context.manifest.iommu == "iommufd" { try device.requireReleased() }
    // The host can unbind the device, and bind it again.
    try HostDevice.write(device.address, to: "/sys/bus/pci/drivers/vfio-pci/unbind")
    try context.require(device.driver == nil, "the driver is \(device.driver ?? "none")")
    try device.bind(to: "vfio-pci")
    _ = try ctl(context, path, ["status"], says: "\(Address.plug)  released, ")
    _ = try ctl(context, path, ["status"], says: "\(Address.edu)  present, ")
    _ = try ctl(
      context, path, ["remove", Address.plug], status: 1,
      says: "device \(Address.plug): remove: already released to the host; ")
    let trace = try watch.finish()
    let released = trace.records.filter { $0.event == "device" && $0.state == "released" }
    try context.require(
      released.map(\.device) == [Address.plug], "the trace has \(released.count) 'released' records")
    let faults = trace.violationsOfRemoval(of: Address.plug)
    try context.require(faults.isEmpty, faults.joined(separator: "; "))
    return time
  }

  /// Removes a drive behind a port, which the guest releases. Returns the elapsed seconds.
  private static func leave(_ context: CaseContext) throws -> Double {
    let path = context.file("leave").path
    let guest = LinuxGuest(
      devices: [Address.bigDrive + ",port"], steps: ["nvme-sha256", "leave"], options: ["--control", path])
    let child = try context.start(guest.command(context), as: "leave-guest")
    try child.expect("lab: leave")
    let start = ContinuousClock.now
    _ = try ctl(context, path, ["remove", Address.bigDrive], says: "released to the host")
    let time = (ContinuousClock.now - start) / .seconds(1)
    try HostDevice(Address.bigDrive).requireReleased()
    let status = try child.wait()
    let lines = GuestLines(child.output)
    try context.require(
      status == 0 && lines.ended && lines.faults.isEmpty,
      "status \(status); \(lines.faults.joined(separator: "; ")); \(child.lastMessage)")
    return time
  }

  /// Presses the power button of a guest whose VM belongs to an ordinary user.
  private static func stop(_ context: CaseContext) throws {
    let path = context.file("button").path
    var guest = LinuxGuest(devices: [Address.bigDrive], steps: ["nvme-sha256", "button"])
    guest.options = ["--control", path]
    let child = try context.start(
      [context.manifest.sluice, "open", "--user", user] + context.manifest.iommuOption
        + [Address.bigDrive, "--"] + guest.command(context), as: "guest")
    try child.expect("lab: button ready")
    let events = try context.start([context.manifest.sluice, "ctl", path, "events", "--json"], as: "events")
    try events.expect(#"{"id":1,"ok":1}"#)
    _ = try ctl(context, path, ["status"], as: "65534", says: "\(Address.bigDrive)  present, ")
    _ = try ctl(context, path, ["stop"], as: stranger, status: 1, says: "Permission denied")
    try context.require(child.isRunning, "a stranger has ended the VM; \(child.lastMessage)")
    _ = try ctl(context, path, ["stop", "--timeout", "60"], says: "the power button is pressed")
    let status = try child.wait(within: 60)
    try context.require(
      status == 0 && child.errors.contains("summary: power-off"), "status \(status); \(child.lastMessage)")
    let end = try events.wait(within: 20)
    try context.require(
      end == 0 && events.lastLine.contains("devices-handed-back"),
      "events: status \(end); \(events.lastLine); \(events.lastMessage)")
    let resets = events.output.split(separator: "\n").filter { $0.contains(#""event":"reset""#) }
    try context.require(resets.count == 1, "the events have \(resets.count) resets, expected 1 at the end")
    try HostDevice(Address.bigDrive).requireReleased()
  }
}
