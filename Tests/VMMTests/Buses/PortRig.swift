// SPDX-License-Identifier: Apache-2.0

import Boot
import Fakes
import Gate
import GuestMemory
import PCI
import Seams
import Synchronization
import Testing
import Trace

@testable import Passthrough
@testable import VMM

/// A function behind a port, in PCI slot 3 of the root bus.
class PortRig {
  /// The reported states of a function's life.
  final class Life: Sendable {
    let states = Mutex<[TraceEvent.SlotState]>([])
  }

  let life = Life()
  let world = FakeWorld()
  let device: FakeDevice
  let function: AssignedFunction<FakeBackend>
  let port: Port<FakeBackend>
  let root: RootBus<FakeBackend>
  let hotplug: HotplugQueue<FakeBackend>
  let memory: GuestMemory
  let context: PassthroughContext<FakeBackend>
  static let base: UInt64 = 0xC000_0000
  static let slot: UInt8 = 3
  static let bus: UInt64 = 1 << 20
  static let port: UInt64 = UInt64(slot) << 15
  /// Offsets in the port's configuration space: MSI and the slot registers are found by their capabilities.
  static let bridgeControl: UInt64 = 0x3E

  init() throws {
    memory = try GuestMemory(size: 1 << 20)
    let dma = try DMAMapper<FakeSpace>([], memory: memory)
    dma.finishPinning(nil)
    let machine = FakeMachine(world)
    context = PassthroughContext<FakeBackend>(machine: machine, dma: dma)
    function = try Self.function(0x1122, "0000:01:00.0", in: world, context, life)
    device = function.device
    let place = GuestSlot(slot: Self.slot, function: 0, isShared: false, port: 0)
    try function.attach([Self.base], function: place.index, isMultifunction: false, gsi: 16)
    hotplug = try HotplugQueue()
    let layout = RootPort.Layout(
      slot: UInt16(Self.slot), secondaryBus: 1, subordinateBus: 1,
      memory32: Self.base..<Self.base + 0x10_0000,
      memory64: 0..<0, interruptLine: 19)
    port = try Port(
      index: 0, slot: Self.slot, RootPort(layout, link: RootPort.Link(speed: 1, width: 1)), function,
      PortInterrupt(machine, gsi: 19), hotplug: hotplug, warn: { _ in })
    root = RootBus(functions: [function], guestSlots: [place], ports: [port], decoder: context.decoder)
  }

  /// Creates a function with a BAR of 8 KiB.
  static func function(
    _ vendor: UInt32, _ address: String, in world: FakeWorld, _ context: PassthroughContext<FakeBackend>,
    _ life: Life = Life()
  ) throws -> AssignedFunction<FakeBackend> {
    var config = [UInt8](repeating: 0, count: 4096)
    config.set(vendor, at: 0, width: 2)
    var shape = FakeDevice.Shape(config: config, bars: [0x2000, 0, 0, 0, 0, 0])
    shape.address = address
    shape.hasReset = true
    let configuration = FunctionConfiguration(
      policies: DevicePolicies(), peers: [], reset: .function,
      budget: WindowBudget([], slots: 1000, mappings: []), isBehindPort: true)
    return try AssignedFunction(
      FakeDevice(shape, in: world), context: context, configuration: configuration
    ) { event, _ in if case .slot(let state) = event { life.states.withLock { $0.append(state) } } }
  }

  /// Takes the functions that have left the slot.
  func departed() throws -> [AssignedFunction<FakeBackend>] {
    try (hotplug.take() ?? []).compactMap { if case .departure(let function) = $0 { function } else { nil } }
  }

  func command(_ address: UInt64, _ value: UInt64) throws {
    try root.writeConfig(address | 4, width: 2, value)
  }

  /// Enables the memory of the port and of the function, and opens the function's window.
  func open() throws {
    try command(Self.port, 6)
    try command(Self.bus, 2)
    _ = try root.readMemory(Self.base, width: 4)
    try root.openDueWindows()
    #expect(slots == [Self.base])
  }

  var slots: [UInt64] { world.state.withLock { $0.slots.values.map(\.base) } }
  var resets: Int { world.state.withLock { $0.calls.count { $0 == .reset } } }

  /// Returns the offset of a capability of the port.
  func capability(_ id: UInt64) throws -> UInt64 {
    var at = try root.readConfig(Self.port | 0x34, width: 1)
    while at != 0 {
      let header = try root.readConfig(Self.port | at, width: 2)
      if header & 0xFF == id { return at }
      at = header >> 8
    }
    throw OperationError("the port has no capability \(id)")
  }

  /// Writes the slot control register with the power off or on.
  func power(_ isOn: Bool) throws {
    try root.writeConfig(Self.port | (capability(0x10) + 0x18), width: 2, isOn ? 0 : 0x400)
  }
}
