// SPDX-License-Identifier: Apache-2.0

import Fakes
import Glibc
import GuestMemory
import Linux
import PCI
import Seams
import Synchronization

@testable import Gate
@testable import Passthrough

/// An assigned function with fakes of the device, the IOMMU and KVM.
final class FunctionRig {
  /// The offsets of the capabilities in configuration space.
  static let power = 0x40
  static let message = 0x50
  static let msix = 0x70
  static let express = 0x80
  /// GPA of BAR 0.
  static let base: UInt64 = 0xD000_0000
  /// The size of BAR 0. It has the MSI-X table in its second page and the pending bits in its third page. Its
  /// windows are the first page and all pages from the fourth page on.
  static let barSize: UInt64 = 0x8000
  /// Offsets in BAR 0 that are in the first and in the second window.
  static let inFirst: UInt64 = 0x10
  static let inSecond: UInt64 = 0x4010

  /// The parts of a rig that tests choose.
  struct Options {
    var shape = FunctionRig.shape()
    var policies = DevicePolicies()
    /// The policy of the windows in each I/O address space.
    var peers: [PeerPolicy] = []
    var reset: ResetMethod?
    /// The IOVAs that the spaces translate.
    var ranges: [ClosedRange<UInt64>] = []
    var memory: UInt64 = 1 << 20
    var isPinned = true
    /// True if the spaces map windows by dma-buf.
    var needsDMABuffers = false
  }

  let world: FakeWorld
  let device: FakeDevice
  let function: AssignedFunction<FakeBackend>
  let context: PassthroughContext<FakeBackend>
  let dma: DMAMapper<FakeSpace>
  /// The events that the function reported.
  let seen = Log()
  private let memory: GuestMemory

  final class Log: Sendable {
    private let all = Mutex<[FunctionEvent]>([])
    private let reaction = Mutex<@Sendable (FunctionEvent) -> Void>({ _ in })
    var events: [FunctionEvent] { all.withLock { $0 } }
    var warnings: [String] {
      events.compactMap { if case .warning(let warning) = $0 { warning.description } else { nil } }
    }
    /// The typed reasons of the warnings, without nil.
    var reasons: [FunctionWarning.Reason] {
      events.compactMap { if case .warning(let warning) = $0 { warning.reason } else { nil } }
    }
    func add(_ event: FunctionEvent) {
      all.withLock { $0.append(event) }
      reaction.withLock { $0 }(event)
    }
    /// Calls a closure for each later event.
    func react(_ body: @escaping @Sendable (FunctionEvent) -> Void) { reaction.withLock { $0 = body } }
    func clear() { all.withLock { $0 = [] } }
  }

  convenience init(_ change: (inout Options) -> Void = { _ in }) throws {
    var options = Options()
    change(&options)
    try self.init(options, world: FakeWorld())
  }

  init(_ options: Options, world: FakeWorld) throws {
    self.world = world
    device = try FakeDevice(options.shape, in: world)
    memory = try GuestMemory(size: options.memory)
    var spaces: [DMAMapper<FakeSpace>.Member] = []
    for index in options.peers.indices {
      spaces.append(
        try .init(
          FakeSpace(world, ranges: options.ranges, needsDMABuffers: options.needsDMABuffers),
          devices: [device.address, "0000:00:0\(6 + index).0"]))
    }
    dma = try DMAMapper(spaces, memory: memory)
    context = PassthroughContext(machine: FakeMachine(world), dma: dma)
    let configuration = FunctionConfiguration(
      policies: options.policies, peers: options.peers,
      reset: options.reset ?? ResetMethod(device, devices: [device.address]), budget: WindowBudget(most: 8))
    let log = seen
    function = try AssignedFunction(device, context: context, configuration: configuration) { event, _ in
      log.add(event)
    }
    let addresses = function.bars.map { bar -> UInt64 in
      switch bar.kind {
      case .io: 0xC000
      case .rom: 0xDF00_0000
      default: Self.base + UInt64(bar.index) << 20
      }
    }
    try function.attach(addresses, function: 8, isMultifunction: false, gsi: 16)
    if options.isPinned { dma.finishPinning(nil) }
  }

  /// Creates the shape of a function with one BAR, MSI with 4 vectors, MSI-X with 4 vectors, power management
  /// and FLR.
  static func shape(configSize: Int = 4096) -> FakeDevice.Shape {
    var config = [UInt8](repeating: 0, count: configSize)
    func set(_ offset: Int, _ width: Int, _ value: UInt32) { config.set(value, at: offset, width: width) }
    set(ConfigOffset.vendor, 4, 0x1111_2222)
    set(ConfigOffset.status, 2, 0x10)
    set(ConfigOffset.capabilities, 1, UInt32(power))
    set(ConfigOffset.interruptPin, 1, 1)
    set(power, 4, 0x0003_0000 | UInt32(message) << 8 | 1)
    set(message, 4, 0x0184_0000 | UInt32(msix) << 8 | 5)  // 4 vectors, 64-bit, maskable
    set(msix, 4, 0x0003_0000 | UInt32(express) << 8 | 0x11)  // 4 vectors
    set(msix + 4, 4, 0x1000)
    set(msix + 8, 4, 0x2000)
    set(express, 4, 0x0002_0010)
    set(express + 4, 4, 0x1000_8000)  // FLR
    var shape = FakeDevice.Shape(config: config, bars: [barSize, 0, 0, 0, 0, 0])
    shape.power = power
    shape.hasReset = true
    return shape
  }

  // Accesses of a guest.
  func command(_ value: UInt32) throws { try function.writeConfig(ConfigOffset.command, width: 2, value) }
  func setPower(_ state: UInt32) throws { try function.writeConfig(Self.power + 4, width: 2, state) }
  func setMSI(_ on: Bool, count: UInt32 = 0) throws {
    try function.writeConfig(Self.message + 2, width: 2, (on ? 1 : 0) | count << 4)
  }
  func setMSIX(_ on: Bool, masked: Bool = false) throws {
    try function.writeConfig(Self.msix + 2, width: 2, (on ? 0x8000 : 0) | (masked ? 0x4000 : 0))
  }
  func maskMSI(_ bits: UInt32) throws { try function.writeConfig(Self.message + 16, width: 4, bits) }
  func setMessage(_ vector: UInt64, _ data: UInt64) throws {
    try function.writeMemory(bar: 0, offset: 0x1000 + vector * 16, width: 8, 0xFEE0_0000)
    try function.writeMemory(bar: 0, offset: 0x1000 + vector * 16 + 8, width: 4, data)
  }
  func maskMSIX(_ vector: UInt64, _ masked: Bool) throws {
    try function.writeMemory(bar: 0, offset: 0x1000 + vector * 16 + 12, width: 4, masked ? 1 : 0)
  }
  func reset() throws { try function.writeConfig(Self.express + 8, width: 2, 0x8000) }
  func move(_ address: UInt32) throws { try function.writeConfig(ConfigOffset.bar0, width: 4, address) }
  func read(_ offset: UInt64, width: Int = 4) throws -> UInt64 {
    try function.readMemory(bar: 0, offset: offset, width: width)
  }
  func write(_ offset: UInt64, _ value: UInt64, width: Int = 4) throws {
    try function.writeMemory(bar: 0, offset: offset, width: width, value)
  }
  /// Performs an access, and then opens due windows between two instructions.
  func touch(_ offset: UInt64) throws {
    _ = try read(offset)
    try function.openDueWindows()
  }

  /// Pins the first piece of guest RAM.
  func pinMemory() throws { try dma.pinMemory(memory.pieces(of: dma.pieceSize)[0]) { _, _, _ in } }

  // The present mappings and connections.
  var slots: [UInt64] { world.state.withLock { $0.slots.values.map(\.base).sorted() } }
  func mapped(in space: Int) -> [UInt64] { world.state.withLock { $0.spaces[space].keys.sorted() } }
  var connected: Int { world.state.withLock { $0.connected.count } }
  var routes: [UInt32] { world.state.withLock { $0.routes.values.sorted() } }

  /// Adds a BAR of another function to the bus, in the page of an offset of BAR 0.
  func addNeighbour(at offset: UInt64 = 0) {
    let bar = BAR(index: 0, kind: .memory32, size: 0x1000)
    var space = ConfigSpace([UInt8](repeating: 0, count: 256), bars: [bar])
    space.setBase(of: bar, to: Self.base + offset)
    _ = space.write(offset: ConfigOffset.command, width: 2, 2)
    context.decoder.update(context.decoder.reserve(1), function: 16, space, isAnswering: true)
  }

  /// True if BAR 0 is enabled in the decoder. The value is valid after ``addNeighbour(at:)``.
  var isDecoded: Bool { context.decoder.isShared(Self.base, size: 1) }
}

/// The operations of VFIO and KVM on an eventfd.
enum EventCount {
  static func raise(_ event: Int32) {
    var one: UInt64 = 1
    // SAFETY: the number lives for the duration of the call.
    _ = unsafe write(event, &one, 8)
  }

  static func isRaised(_ event: Int32) -> Bool {
    var one = pollfd(fd: event, events: Int16(POLLIN), revents: 0)
    // SAFETY: the structure lives for the duration of the call.
    return unsafe poll(&one, 1, 0) == 1
  }
}

extension FunctionRig {
  /// A write of the guest, or a fault of KVM_RUN.
  enum Step: CaseIterable {
    case d3hot, d0, msiOn, msiOff, msixOn, msixOff, msixMasked, maskMSI, unmaskMSI, maskVector, unmaskVector
    case message, pinOff, memoryOn, memoryOff, reset, moveToRAM, moveToEnd, moveAway, touch, fault
  }

  func take(_ step: Step) throws {
    switch step {
    case .d3hot: try setPower(3)
    case .d0: try setPower(0)
    case .msiOn: try setMSI(true, count: 2)
    case .msiOff: try setMSI(false)
    case .msixOn: try setMSIX(true)
    case .msixOff: try setMSIX(false)
    case .msixMasked: try setMSIX(true, masked: true)
    case .maskMSI: try maskMSI(0xF)
    case .unmaskMSI: try maskMSI(0)
    case .maskVector: try maskMSIX(2, true)
    case .unmaskVector: try maskMSIX(2, false)
    case .message: try setMessage(2, 0x41)
    case .pinOff: try command(0x0406)
    case .memoryOn: try command(0x0006)
    case .memoryOff: try command(0)
    case .reset: try reset()
    case .moveToRAM: try move(0)
    case .moveToEnd: try move(0xFFFF_8000)
    case .moveAway: try move(UInt32(Self.base))
    case .touch:
      try touch(Self.inFirst)
      try touch(Self.inSecond)
      _ = try read(0x2000, width: 8)
      _ = try function.readConfig(Self.message + 20, width: 4)
    case .fault: _ = try function.demote(.repeatedFault)
    }
  }
}
