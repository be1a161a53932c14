// SPDX-License-Identifier: Apache-2.0

import Fakes
import Linux
import Seams
import Synchronization
import Testing
import Trace

@testable import PCI
@testable import Passthrough

@Suite struct InterruptsTests {
  private let world = FakeWorld()
  private let device: FakeDevice
  private let machine: FakeMachine
  private var interrupts = Interrupts<FakeBackend>()
  private static let message = MSIMessage(address: 0xFEE0_0000, data: 0x31)
  private static let other = MSIMessage(address: 0xFEE0_0000, data: 0x32)

  init() throws {
    device = try FakeDevice(FunctionRig.shape(), in: world)
    machine = FakeMachine(world)
    interrupts.intx = try INTxPin(device, machine, gsi: 16)
    interrupts.msi = Vectors(.msi, of: device, machine, count: 4)
    interrupts.msix = Vectors(.msix, of: device, machine, count: 2048)
    _ = world.takeCalls()
  }

  private static func error(_ name: String, _ errno: Int32) -> OperationError {
    OperationError("fake \(name): errno \(errno)", errno: errno)
  }

  private var connectedCount: Int { world.state.withLock { $0.connected.count } }
  private var routeCount: Int { world.state.withLock { $0.routes.count } }

  /// Errors that the kernel returns for a missing resource, and one error that it does not return.
  private static let errors = [
    KernelError.tooManyFiles, KernelError.noMemory, KernelError.invalid, KernelError.busy, KernelError.io,
  ]
  private static let steps: [(String, Warning)] = [
    ("makeEventFD", .event), ("route", .route), ("connect", .connection), ("trigger", .trigger),
  ]

  @Test(
    "a vector stays masked if the host lacks a resource for it, and the next unmask tries again",
    arguments: steps, errors)
  mutating func lackingVector(_ step: (call: String, warning: Warning), _ errno: Int32) throws {
    try interrupts.turn(.msix, count: 2048)
    world.fail(step.call, with: errno)
    for _ in 0..<3 {
      let failure = #expect(throws: InterruptFailure.self) { try interrupts.connect(7, Self.message) }
      let error = Self.error(step.call, errno)
      #expect(failure == InterruptFailure(warning: step.warning, error: error))
      #expect(!interrupts.isConnected(7) && connectedCount == 0)
    }
    // The device keeps the pending bit of a vector without a trigger.
    let pending = try #require(try interrupts.msix?.pending(from: 0))
    #expect(pending.raised == 0 && pending.inDevice == .max)
    world.succeed()
    #expect(try interrupts.connect(7, Self.message) == true)
    #expect(interrupts.isConnected(7) && connectedCount == 1)
  }

  @Test("masking a vector of a kind that is off in the host has no effect, whatever its number")
  mutating func maskWhileOff() throws {
    #expect(try !interrupts.disconnect(1000))
    try interrupts.turn(.msi, count: 4)
    #expect(try !interrupts.disconnect(1000))
    try interrupts.turn(.intx, count: 0)
    #expect(try !interrupts.disconnect(1000))
  }

  @Test("masks a vector whose message cannot be changed, and keeps its interrupts pending", arguments: errors)
  mutating func lackingRoute(_ errno: Int32) throws {
    try interrupts.turn(.msi, count: 4)
    _ = try interrupts.connect(1, Self.message)
    world.fail("route", with: errno)
    #expect(throws: InterruptFailure(warning: .route, error: Self.error("route", errno))) {
      try interrupts.route(1, Self.other)
    }
    #expect(!interrupts.isConnected(1))
    let event = try #require(device.state.withLock { $0.triggers[1] })
    #expect(try interrupts.msi?.pending(from: 0).raised == 0)
    EventCount.raise(event)
    #expect(try interrupts.msi?.pending(from: 0).raised == 2)
    world.succeed()
    #expect(try interrupts.route(1, Self.other) == false, "the vector already has its trigger")
    #expect(interrupts.isConnected(1))
  }

  @Test("a vector that cannot be masked stays connected and keeps its route when interrupts go off")
  mutating func cannotMask() throws {
    try interrupts.turn(.msix, count: 2048)
    _ = try interrupts.connect(3, Self.message)
    world.fail("disconnect", with: KernelError.invalid)
    let failure = #expect(throws: InterruptFailure.self) { try interrupts.disconnect(3) }
    #expect(failure?.warning == .mask)
    #expect(interrupts.isConnected(3))
    #expect(interrupts.turnOff()?.warning == .disable)
    #expect(routeCount == 1 && interrupts.mode == .none)
    world.succeed()
    try interrupts.turn(.msix, count: 2048)
    _ = try interrupts.connect(3, Self.message)
    #expect(connectedCount == 1)
    #expect(interrupts.turnOff() == nil && routeCount == 0)
  }

  @Test("frees the routes each time that interrupts go off")
  mutating func freed() throws {
    for _ in 0..<50 {
      try interrupts.turn(.msix, count: 2048)
      for vector in 0..<64 { _ = try interrupts.connect(vector, Self.message) }
      #expect(routeCount == 64)
      try interrupts.turn(.msi, count: 4)
      #expect(routeCount == 0 && connectedCount == 0)
      _ = try interrupts.connect(0, Self.message)
      #expect(interrupts.turnOff() == nil && routeCount == 0)
    }
    #expect(interrupts.used == 65, "the eventfds stay")
  }

  @Test(
    "a kind that cannot be turned on leaves interrupts off, and can be turned on later", arguments: errors)
  mutating func cannotEnable(_ errno: Int32) throws {
    world.fail("enable", with: errno)
    for mode in [TraceEvent.InterruptMode.msi, .msix] {
      let failure = #expect(throws: InterruptFailure.self) { try interrupts.turn(mode, count: 4) }
      #expect(failure?.warning == .enable && failure?.error.errno == errno)
      #expect(interrupts.mode == .none)
      #expect(try interrupts.connect(0, Self.message) == nil, "no vector is on")
    }
    world.succeed()
    try interrupts.turn(.msi, count: 4)
    #expect(try interrupts.connect(0, Self.message) == true)
  }

  @Test("keeps the next kind off until the previous kind is off in the device")
  mutating func cannotDisable() throws {
    try interrupts.turn(.msi, count: 4)
    _ = try interrupts.connect(0, Self.message)
    world.fail("disable", with: KernelError.io)
    #expect(interrupts.turnOff()?.warning == .disable)
    #expect(connectedCount == 0, "no interrupt reaches the guest")
    let failure = #expect(throws: InterruptFailure.self) { try interrupts.turn(.msix, count: 4) }
    #expect(failure?.warning == .disable && interrupts.mode == .none)
    world.succeed()
    _ = world.takeCalls()
    try interrupts.turn(.msix, count: 4)
    #expect(world.takeCalls().map(\.name) == ["disable", "enable"])
  }

  @Test(
    "an INTx pin that the host does not share is off, keeps its eventfds and is tried again",
    arguments: ["connectLevel", "trigger", "unmask"], errors)
  mutating func busyPin(_ call: String, _ errno: Int32) throws {
    world.fail(call, with: errno)
    for _ in 0..<2 {
      let failure = #expect(throws: InterruptFailure.self) { try interrupts.turn(.intx, count: 0) }
      let error = Self.error(call, errno)
      #expect(failure == InterruptFailure(warning: .intx, error: error))
      #expect(interrupts.mode == .none && connectedCount == 0)
    }
    world.succeed()
    _ = world.takeCalls()
    try interrupts.turn(.intx, count: 0)
    #expect(world.takeCalls().map(\.name) == ["connectLevel", "trigger", "unmask"], "no new eventfds")
    try interrupts.turn(.msi, count: 1)
    #expect(connectedCount == 0 && interrupts.mode == .msi)
  }

  @Test("ignores vectors that the host does not have")
  mutating func fewVectors() throws {
    var shape = FunctionRig.shape()
    shape.hostVectors = 3
    shape.interrupts[.msix] = InterruptInfo(count: 8, isFixed: true)
    interrupts.msix = Vectors(.msix, of: try FakeDevice(shape, in: world), machine, count: 8)
    try interrupts.turn(.msix, count: 8)
    #expect(interrupts.requestedCount == 8 && interrupts.count == 3)
    #expect(try interrupts.connect(2, Self.message) == true)
    #expect(try interrupts.connect(3, Self.message) == nil)
    #expect(try interrupts.route(3, Self.other) == nil)
  }

  @Test("turns the next kind on although the previous kind is still connected to the guest")
  mutating func pathStays() throws {
    try interrupts.turn(.msix, count: 4)
    _ = try interrupts.connect(0, Self.message)
    world.fail("disconnect", with: KernelError.invalid)
    try interrupts.turn(.msi, count: 4)
    #expect(interrupts.mode == .msi && device.state.withLock { $0.on } == .msi)
    world.succeed()
    #expect(interrupts.turnOff() == nil && connectedCount == 0, "the failed step is repeated")
  }

  @Test("discards the pending interrupts of a vector that is turned off", arguments: [false, true])
  mutating func forgotten(_ isMSIX: Bool) throws {
    let mode: TraceEvent.InterruptMode = isMSIX ? .msix : .msi
    try interrupts.turn(mode, count: 4)
    _ = try interrupts.connect(2, Self.message)
    #expect(try interrupts.disconnect(2))
    let event = try #require(device.state.withLock { $0.triggers[2] })
    EventCount.raise(event)
    #expect(interrupts.turnOff() == nil)
    #expect(!EventCount.isRaised(event))
    #expect(try interrupts.connect(2, Self.message) == nil, "no vector is on")
    #expect(interrupts.requestedCount == 0 && interrupts.count == 0)
  }

  @Test("discards the pending interrupt of an INTx pin that is turned off")
  mutating func forgottenPin() throws {
    try interrupts.turn(.intx, count: 0)
    let (trigger, unmask) = device.state.withLock { ($0.triggers[0], $0.unmask) }
    let events = [try #require(trigger), try #require(unmask)]
    for event in events { EventCount.raise(event) }
    #expect(interrupts.turnOff() == nil)
    #expect(!events.contains(where: EventCount.isRaised))
    #expect(device.state.withLock { $0.on } == nil && connectedCount == 0)
  }

  @Test("parks a route while no eventfd raises it, so that another vector can use it")
  mutating func parked() throws {
    var parked: Int { world.state.withLock { $0.parked.count } }
    try interrupts.turn(.msix, count: 4)
    _ = try interrupts.connect(0, Self.message)
    _ = try interrupts.connect(1, Self.other)
    #expect(parked == 0)
    #expect(try interrupts.disconnect(0) && parked == 1)
    _ = try interrupts.connect(0, Self.message)
    #expect(parked == 0)
    world.fail("connect")
    #expect(throws: InterruptFailure.self) { try interrupts.connect(2, Self.message) }
    #expect(parked == 1)
    world.succeed()
    world.fail("trigger")
    #expect(throws: InterruptFailure.self) { try interrupts.connect(2, Self.message) }
    #expect(parked == 1)
    #expect(interrupts.turnOff() == nil)
    #expect(parked == 0 && routeCount == 0 && world.violations == [])
  }

  @Test("turns a partly enabled INTx pin off in the device, at once or before the next kind")
  mutating func halfPin() throws {
    world.fail("unmask")
    #expect(throws: InterruptFailure.self) { try interrupts.turn(.intx, count: 0) }
    #expect(device.state.withLock { $0.on } == nil)
    world.fail { _, call in ["unmask", "disable"].contains(call.name) ? 5 : nil }
    #expect(throws: InterruptFailure.self) { try interrupts.turn(.intx, count: 0) }
    #expect(device.state.withLock { $0.on } == .intx && connectedCount == 0)
    world.succeed()
    try interrupts.turn(.msi, count: 1)
    #expect(device.state.withLock { $0.on } == .msi)
  }
}
