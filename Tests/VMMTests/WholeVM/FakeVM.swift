// SPDX-License-Identifier: Apache-2.0

import Fakes
import Foundation
import Linux
import Logging
import PCI
import Passthrough
import Sandbox
import Seams
import Synchronization
import TestTools
import Testing

@testable import VMM

/// A running VM on this machine's KVM, with fake devices.
final class FakeVM {
  static let msix = 0x40
  let devices: [FakeDevice]
  let worlds: [FakeWorld]
  let shutdown: ShutdownRequest
  let vm: VM<FakeHost>
  let eventLog: EventLog
  /// The control socket, or nil.
  let control: ControlServer?
  /// The path of the control socket.
  let controlPath: String
  /// The receiver of the guest's serial output.
  let wire = Wire()
  private let directory = FileManager.default.temporaryDirectory.appending(path: "vm-\(UUID().uuidString)")

  /// The first device, with its world.
  var device: FakeDevice { devices[0] }
  var world: FakeWorld { worlds[0] }

  /// Describes a function whose BAR has registers, an MSI-X table with its pending bits, and a doorbell.
  static func shape(_ address: String) -> FakeDevice.Shape {
    var config = [UInt8](repeating: 0, count: 4096)
    func set(_ offset: Int, _ width: Int, _ value: UInt32) { config.set(value, at: offset, width: width) }
    set(0x00, 4, 0x1111_2222)
    set(0x06, 2, 0x10)
    set(0x34, 1, UInt32(msix))
    set(msix, 4, 0x0003_0011)
    set(msix + 4, 4, 0x1000)
    set(msix + 8, 4, 0x2000)
    var shape = FakeDevice.Shape(config: config, bars: [0x4000, 0, 0, 0, 0, 0])
    shape.address = address
    shape.hasReset = true
    return shape
  }

  convenience init(
    _ address: String, _ guest: GuestCode, cpus: Int = 1, prepare: (FakeWorld) -> Void = { _ in }
  ) throws {
    try self.init([Self.shape(address)], guest, cpus: cpus, prepare: prepare)
  }

  init(
    _ shapes: [FakeDevice.Shape], _ guest: GuestCode, cpus: Int = 1,
    _ change: (inout Configuration) -> Void = { _ in }, hasControl: Bool = false,
    prepare: (FakeWorld) -> Void = { _ in }
  ) throws {
    let worlds = shapes.map { _ in FakeWorld() }
    worlds.forEach(prepare)
    self.worlds = worlds
    devices = try zip(shapes, worlds).map { try FakeDevice($0, in: $1) }
    for (device, world) in zip(devices, worlds) {
      FakeHost.devices.withLock { $0[device.address] = (device, world) }
    }
    try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
    let kernel = directory.appending(path: "kernel").path
    try guest.write(to: kernel)
    var configuration = Configuration(kernel: kernel)
    configuration.memory = 16 << 20
    configuration.cpus = cpus
    configuration.hasDebugExit = true
    configuration.layers = .none
    configuration.devices = try shapes.map { .init(address: try #require(Address($0.address))) }
    change(&configuration)
    try Linux.Thread.installKick()
    shutdown = try ShutdownRequest()
    eventLog = try EventLog(
      log: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }, trace: nil, start: 0,
      feed: hasControl ? EventFeed() : nil)
    let path = directory.appending(path: "control").path
    controlPath = path
    control = try eventLog.feed.map { feed in
      try ControlServer(
        ControlSocket(path: path),
        peers: ControlPeers(user: geteuid(), overflow: 65534, isInOwnNamespace: false), feed: feed,
        advice: { _ in "advice" }, warn: { _ in })
    }
    let wire = wire
    let builder = try MachineBuilder<FakeHost>(
      configuration, files: HostFiles(), eventLog: eventLog, output: { wire.take($0) })
    vm = try VM(builder, configuration, eventLog: eventLog, shutdown: shutdown, control: control)
    try vm.start()
  }

  /// Calls `body` repeatedly until it returns true or the VM ends. Returns its last result, or false after
  /// one minute.
  func wait(until body: () throws -> Bool) rethrows -> Bool {
    for _ in 0..<60_000 {
      if try body() { return true }
      if shutdown.isOver { return try body() }
      usleep(1000)
    }
    return false
  }

  /// Adds a device to a port as the hotplug thread does. Returns the device number of the port.
  @discardableResult
  func add(_ address: String) throws -> UInt8 {
    let device = Configuration.AssignedDevice(address: try #require(Address(address)), hasPort: true)
    let port = try #require(vm.ports.first { $0.isFree })
    let arrival = try vm.hotplug.open(device, for: port, files: HostFiles())
    try vm.hotplug.enter(arrival)
    return port.slot
  }

  /// Starts a thread that performs operations of clients until the VM ends, as the main thread does.
  func performOperations() throws -> Linux.Thread {
    let (vm, shutdown, exchange) = (vm, shutdown, try #require(control).exchange)
    return try Linux.Thread(name: "main") {
      var operations = VMOperations(vm, shutdown: shutdown, exchange: exchange)
      do throws(KernelError) {
        while !shutdown.isOver {
          operations.act()
          if try exchange.forMain.wait(milliseconds: 10) { try operations.perform() }
        }
      } catch { shutdown.end(.failure(.mainThread(error))) }
    }
  }

  /// Stops the guest and returns the devices to the host. Returns the outcome and the failures.
  func stop() -> (Outcome?, [FunctionError]) {
    vm.stop()
    let outcome = vm.status.outcome
    let failures = vm.release()
    eventLog.phase("devices-handed-back")
    vm.endControl()
    try? FileManager.default.removeItem(at: directory)  // a temporary folder
    for device in devices { FakeHost.devices.withLock { $0[device.address] = nil } }
    return (outcome, failures)
  }

  var slots: Int { vm.status.functions[0].statistics.slotsAdded }
}
