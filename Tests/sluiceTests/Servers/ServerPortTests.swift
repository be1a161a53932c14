// SPDX-License-Identifier: Apache-2.0

import Boot
import Foundation
import Linux
import PCI
import TestTools
import Testing

/// Devices of other processes behind ports: their processes end and start again, and they are added and removed.
@Suite(.enabled(if: SmallGuests.obstacle == nil, "\(SmallGuests.reason)"), .serialized)
struct ServerPortTests {
  private static let port = UInt32(PlatformLayout.ecam.lowerBound) | 1 << 15
  private static let function = UInt32(PlatformLayout.ecam.lowerBound) | 1 << 20
  private static let bar = UInt32(PlatformLayout.pciWindow32.lowerBound)
  /// Slot Control and Slot Status.
  private static let slot: UInt32 = 0x58
  private static let powerOff: UInt32 = 0x400
  private static let presenceChanged: UInt32 = 0x08 << 16
  private static let changes: UInt32 = 0x108 << 16
  private static let present: UInt32 = 0x40 << 16

  /// Adds code that uses the edu behind the port.
  private static func useDevice(_ guest: inout GuestCode) {
    guest.use(port)
    guest.store(slot, changes)
    guest.store(4, 6)
    guest.use(function)
    guest.load(0)
    guest.expect(0x11E8_1234)
    guest.store(0x10, bar)
    guest.store(4, 6)
    guest.use(bar)
    guest.load(0)
    guest.expect(0x0100_00ED)
    guest.store(4, 0x1234_5678)
    guest.load(4)
    guest.expect(~0x1234_5678)
    // A window opens.
    guest.store(0x1000, 1)
    guest.load(0x1000)
    guest.expect(1)
  }

  /// A guest whose device leaves by surprise and comes back.
  private static func loses(_ count: Int) throws -> String {
    var guest = GuestCode()
    useDevice(&guest)
    for _ in 0..<count {
      guest.writePort(0x3F8, UInt8(ascii: "U"))
      guest.use(port)
      guest.wait(slot, presenceChanged)
      guest.store(slot, changes | powerOff)
      guest.writePort(0x3F8, UInt8(ascii: "L"))
      guest.wait(slot, present)
      useDevice(&guest)
    }
    guest.writePort(0x3F8, UInt8(ascii: "E"))
    guest.end(0)
    let path = FileManager.default.temporaryDirectory.appending(path: "loses-\(UUID().uuidString)").path
    try guest.write(to: path)
    return path
  }

  private func ctl(_ arguments: [String]) async throws -> Program.Result {
    try await Program.tool([Program.file, "ctl"] + arguments)
  }

  /// A VM whose guest loses the device behind its port, and the process of the device.
  private final class Loss {
    let path = FileManager.default.temporaryDirectory.appending(path: "edu-\(UUID().uuidString)").path
    let vm: TinyVM
    private let count: Int
    private(set) var server: ServerProcess
    /// The output of the guest: U before each loss, L after it, and E when it has used the device at the end.
    private var heard = ""

    init(_ count: Int, deviceOptions: String = "", _ options: [String] = []) throws {
      self.count = count
      server = try ServerProcess(.edu, path: path)
      _ = try server.connect()  // waits until the server listens
      vm = try TinyVM(
        kernel: loses(count), isTemporary: true,
        ["--debug-exit", "--device", "vfio-user:\(path),port\(deviceOptions)"] + options)
    }

    /// Waits until the guest has used the device and awaits its loss.
    func awaitUse() throws {
      heard += "U"
      try #require(vm.hears(heard), "\(vm.errors)\(vm.text)")
    }

    /// Kills the process, and waits until the guest has lost the device.
    func lose() throws {
      server.send(SIGKILL)
      _ = server.wait()
      heard += "L"
      try #require(vm.hears(heard), "\(vm.errors)\(vm.text)")
    }

    func restart(faults: String? = nil) throws {
      server = try ServerProcess(.edu, faults: faults, path: path)
    }

    /// Waits for the end of the guest. Returns the messages of the VM.
    func finish() -> String {
      #expect(vm.hears(heard + "E"), "\(vm.text)")
      let status = vm.wait()
      let errors = vm.errors
      #expect(status == 1, "\(errors)")
      return errors
    }

    /// Checks that the VM has reported each loss, and nothing else.
    func finishWithLosses() {
      let lines = finish().split(separator: "\n")
      #expect(lines.count == count, "\(lines)")
      #expect(lines.allSatisfy { $0.contains("vfio-user:\(path): lost by the guest: ") })
    }
  }

  @Test("a device behind a port leaves by surprise, and 'ctl add' brings it back, three times")
  func returns() async throws {
    let control = FileManager.default.temporaryDirectory.appending(path: "ctl-\(UUID().uuidString)").path
    let loss = try Loss(3, ["--control", control])
    let path = loss.path
    for _ in 0..<3 {
      try loss.awaitUse()
      try loss.lose()
      let refused = try await ctl([control, "add", "vfio-user:\(path)"])
      #expect(refused.status == 1)
      #expect(
        refused.messages
          == "sluice: device vfio-user:\(path): connect \(path): Connection refused; start the device's process, and give "
          + "the path of its socket\n")
      try loss.restart()
      _ = try loss.server.connect()
      let added = try await ctl([control, "add", "vfio-user:\(path)"])
      #expect(added.status == 0 && added.output == "added to port 1\n", "\(added.messages)")
    }
    loss.finishWithLosses()
  }

  @Test("with reconnect= a device comes back when its process has started again, three times")
  func reconnects() throws {
    let loss = try Loss(3, deviceOptions: ",reconnect=1")
    for round in 0..<3 {
      try loss.awaitUse()
      if round == 0 { try Self.checkConnector(of: loss.vm) }
      try loss.lose()
      try loss.restart()
    }
    loss.finishWithLosses()
  }

  /// Checks the process that connects again: it has a filter, and no file but its socket.
  private static func checkConnector(of vm: TinyVM) throws {
    let children = try String(
      contentsOfFile: "/proc/\(vm.process)/task/\(vm.process)/children", encoding: .utf8)
    let child = "/proc/" + (try #require(children.split(separator: " ").first))
    let status = try String(contentsOfFile: "\(child)/status", encoding: .utf8)
    for line in ["Name:\tconnector\n", "Seccomp:\t2\n", "NoNewPrivs:\t1\n", "Threads:\t1\n"] {
      #expect(status.contains(line), "\(status)")
    }
    #expect(try FileManager.default.contentsOfDirectory(atPath: "\(child)/fd") == ["0"])
    let maps = try String(contentsOfFile: "\(child)/maps", encoding: .utf8)
    #expect(!maps.contains("guest-ram") && !maps.contains("/dev/"))
  }

  @Test("a process that cannot be used is tried again, with one warning, until it can be used")
  func reconnectsLater() throws {
    let loss = try Loss(1, deviceOptions: ",reconnect=1")
    try loss.awaitUse()
    try loss.lose()
    try loss.restart(faults: "every 2: wrong-id")
    let warning = "; Sluice tries again every 1 s\n"
    let end = ContinuousClock.now + .seconds(20)
    var errors = ""
    while !errors.contains(warning), ContinuousClock.now < end {
      usleep(20_000)
      errors += loss.vm.errors
    }
    // More attempts fail with the same error.
    usleep(2_500_000)
    errors += loss.vm.errors
    #expect(errors.components(separatedBy: warning).count == 2, "\(errors)")
    loss.server.send(SIGKILL)
    _ = loss.server.wait()
    try loss.restart()
    #expect(loss.finish() == "")
  }

  @Test("a device is removed by request, and a VM whose RAM is private cannot get one")
  func requests() async throws {
    let control = FileManager.default.temporaryDirectory.appending(path: "ctl-\(UUID().uuidString)").path
    let (first, second) = (try ServerGuestTests.start(.edu), try ServerGuestTests.start(.nvme))
    let vm = try TinyVM(
      TinyGuest().saying("up").idling(),
      ["--control", control, "--ports", "1", "--device", "vfio-user:\(first.path)"])
    try #require(vm.hears("up"), "\(vm.errors)")
    let added = try await ctl([control, "add", "vfio-user:\(second.path)"])
    #expect(added.output == "added to port 2\n", "\(added.messages)")
    let twice = try await ctl([control, "add", "vfio-user:\(second.path)"])
    #expect(twice.status == 1)
    let status = try await ctl([control, "status"])
    #expect(status.output.contains("port 2  vfio-user:\(second.path)\n"), "\(status.output)")
    #expect(status.output.contains("vfio-user:\(first.path)  present"))
    let removed = try await ctl([control, "remove", "vfio-user:\(first.path)"])
    #expect(removed.status == 0, "\(removed.messages)")
    // The server accepts the next client.
    let again = try TinyVM(smallGuest: "config", socket: first.path)
    #expect(again.failures() == [])
    let other = try await ctl([control, "add", "0000:01:00.0"])
    #expect(other.status == 1)
    let stop = try await ctl([control, "stop"])
    #expect(stop.status == 0 && vm.wait() == 0, "\(vm.errors)")
    let plain = try TinyVM(TinyGuest().saying("up").idling(), ["--control", control, "--ports", "1"])
    try #require(plain.hears("up"), "\(plain.errors)")
    let refused = try await ctl([control, "add", "vfio-user:\(second.path)"])
    #expect(
      refused.status == 1
        && refused.messages.contains("the RAM of the VM is not shared memory; start the VM with"),
      "\(refused.messages)")
  }

  @Test("a VM with shared RAM gets its first device while it runs")
  func first() async throws {
    let control = FileManager.default.temporaryDirectory.appending(path: "ctl-\(UUID().uuidString)").path
    let server = try ServerGuestTests.start(.edu)
    var guest = GuestCode()
    guest.writePort(0x3F8, UInt8(ascii: "W"))
    guest.use(Self.port)
    guest.wait(Self.slot, Self.present)
    Self.useDevice(&guest)
    guest.end(0)
    let path = FileManager.default.temporaryDirectory.appending(path: "first-\(UUID().uuidString)").path
    try guest.write(to: path)
    let vm = try TinyVM(
      kernel: path, isTemporary: true, memory: "16M,shared",
      ["--debug-exit", "--control", control, "--ports", "1"])
    try #require(vm.hears("W"), "\(vm.errors)\(vm.text)")
    let added = try await ctl([control, "add", "vfio-user:\(server.path)"])
    #expect(added.output == "added to port 1\n", "\(added.messages)")
    #expect(vm.wait() == 1, "\(vm.errors)\(vm.text)")
  }
}
