// SPDX-License-Identifier: Apache-2.0

import Boot
import Fakes
import Gate
import GuestMemory
import PCI
import Seams
import Synchronization
import Testing

@testable import Passthrough
@testable import VMM

/// Functions on the guest's bus.
@Suite struct FunctionBusTests {
  /// Two functions in PCI slots 1 and 2. Each has a memory BAR of 8 KiB and an I/O BAR of 16 ports.
  private final class Rig {
    let world = FakeWorld()
    let devices: [FakeDevice]
    let functions: [AssignedFunction<FakeBackend>]
    let root: RootBus<FakeBackend>
    let ports: PortBus<FakeBackend>
    let shutdown: ShutdownRequest
    let host: PassthroughContext<FakeBackend>
    private let memory: GuestMemory
    static let bases: [UInt64] = [0xD000_0000, 0xD001_0000]

    init(_ mapping: MappingPolicy = .onFault) throws {
      let world = world
      devices = try (0..<2).map { index in
        var config = [UInt8](repeating: 0, count: 4096)
        (config[0], config[1], config[0x14]) = (UInt8(0x20 + index), 0x11, 1)
        var shape = FakeDevice.Shape(config: config, bars: [0x2000, 16, 0, 0, 0, 0])
        shape.address = "0000:00:0\(5 + index).0"
        shape.ports = [1]
        shape.hasReset = true
        return try FakeDevice(shape, in: world)
      }
      memory = try GuestMemory(size: 1 << 20)
      let dma = try DMAMapper<FakeSpace>([], memory: memory)
      dma.finishPinning(nil)
      let host = PassthroughContext<FakeBackend>(machine: FakeMachine(world), dma: dma)
      self.host = host
      var policies = DevicePolicies()
      policies.barMap = mapping
      let assignment = FunctionConfiguration(
        policies: policies, peers: [], reset: .function,
        budget: WindowBudget([], slots: 1000, mappings: []))
      functions = try devices.enumerated().map { index, device in
        let function = try AssignedFunction(device, context: host, configuration: assignment) { _, _ in }
        try function.attach(
          [Self.bases[index], 0xC000 + UInt64(index) * 16], function: (index + 1) << 3,
          isMultifunction: false, gsi: 16)
        return function
      }
      root = RootBus(
        functions: functions,
        guestSlots: [1, 2].map { GuestSlot(slot: $0, function: 0, isShared: false) }, decoder: host.decoder)
      shutdown = try ShutdownRequest()
      ports = PortBus(serial: try Serial { _ in true }, root: root, shutdown: shutdown, hasDebugExit: false)
    }

    func config(_ slot: UInt64, _ offset: UInt64) -> UInt64 { slot << 15 | offset }
    func command(_ slot: UInt64, _ value: UInt64) throws {
      try root.writeConfig(config(slot, 4), width: 2, value)
    }
    var slots: [UInt64] { world.state.withLock { $0.slots.values.map(\.base).sorted() } }
    /// Sets the address of the second function's memory BAR.
    func move(_ address: UInt64) throws { try root.writeConfig(config(2, 0x10), width: 4, address) }
  }

  @Test("each function has separate configuration space, memory and ports")
  func accesses() throws {
    let rig = try Rig()
    for index in 0..<2 {
      let slot = UInt64(index + 1)
      #expect(try rig.root.readConfig(rig.config(slot, 0), width: 2) == 0x1120 + UInt64(index))
      #expect(
        try rig.root.readMemory(PlatformLayout.ecam.lowerBound + rig.config(slot, 0x10), width: 4)
          == Rig.bases[index])
      try rig.command(slot, 3)
      #expect(rig.devices[index].command == 3)
      try rig.root.writeMemory(Rig.bases[index] + 0x14, width: 4, 0xAB00 + slot)
      #expect(rig.devices[index].peek(bar: 0, 0x14) == 0xAB00 + UInt32(slot))
      #expect(try rig.root.readMemory(Rig.bases[index] + 0x14, width: 4) == 0xAB00 + slot)
      let port = UInt16(0xC000 + index * 16 + 4)
      try rig.ports.write(port, width: 2, 0xCD00 + slot)
      #expect(rig.devices[index].peek(bar: 1, 4) == 0xCD00 + UInt32(slot))
      #expect(try rig.ports.read(port, width: 2) == 0xCD00 + slot)
    }
    #expect(try rig.root.readConfig(rig.config(3, 0), width: 4) & 0xFFFF_FFFF == 0xFFFF_FFFF)
    #expect(try rig.root.readMemory(Rig.bases[1] + 0x2000, width: 4) == .max)
    #expect(try rig.ports.read(0xC020, width: 4) == .max)
  }

  @Test("an access across the end of a BAR reaches only the bytes inside the BAR")
  func across() throws {
    let rig = try Rig()
    try rig.command(1, 3)
    try rig.root.writeMemory(Rig.bases[0] + 0x1FFC, width: 8, 0x8877_6655_4433_2211)
    #expect(rig.devices[0].peek(bar: 0, 0x1FFC) == 0x4433_2211)
    #expect(try rig.root.readMemory(Rig.bases[0] + 0x1FFE, width: 4) & 0xFFFF_FFFF == 0xFFFF_4433)
    try rig.ports.write(0xC00D, width: 4, 0x4433_2211)
    #expect(rig.devices[0].peek(bar: 1, 12) == 0x3322_1100)
  }

  @Test("due windows of every function open")
  func open() throws {
    let rig = try Rig()
    for slot in [1, 2] as [UInt64] { try rig.command(slot, 2) }
    for base in Rig.bases { _ = try rig.root.readMemory(base, width: 4) }
    #expect(rig.slots == [])
    try rig.root.openDueWindows()
    #expect(rig.slots == Rig.bases)
  }

  @Test(
    "a BAR that moves into another function's page removes its memory slot, and other writes keep it")
  func shared() throws {
    let rig = try Rig(.eager)
    for slot in [1, 2] as [UInt64] { try rig.command(slot, 2) }
    try rig.root.openDueWindows()
    #expect(rig.slots == Rig.bases)
    try rig.root.writeConfig(rig.config(2, 0x3C), width: 1, 9)
    #expect(rig.slots == Rig.bases)
    try rig.move(Rig.bases[0])
    #expect(rig.slots == [])
    try rig.move(Rig.bases[1])
    for base in Rig.bases { _ = try rig.root.readMemory(base, width: 4) }
    try rig.root.openDueWindows()
    #expect(rig.slots == Rig.bases)
  }

  @Test("an instruction that KVM cannot emulate makes the window at its address due, or all armed windows")
  func due() throws {
    let rig = try Rig()
    #expect(try rig.root.makeDue(Rig.bases[0]) == .none && rig.root.makeDue(nil) == .none)
    for slot in [1, 2] as [UInt64] { try rig.command(slot, 2) }
    #expect(try rig.root.makeDue(Rig.bases[0] + 8) == .isDue)
    try rig.root.openDueWindows()
    #expect(rig.slots == [Rig.bases[0]])
    #expect(try rig.root.makeDue(Rig.bases[0] + 8) == .isOpen)
    #expect(try rig.root.makeDue(nil) == .isDue, "the second function's window is due")
    try rig.root.openDueWindows()
    #expect(rig.slots == Rig.bases)
    try rig.command(2, 0)
    #expect(try rig.root.makeDue(0x1000) == .isOpen, "the best remedy of all functions")
    try rig.command(1, 0)
    try rig.command(2, 2)
    #expect(try rig.root.makeDue(nil) == .isDue && rig.root.makeDue(Rig.bases[0]) == .none)
  }

  @Test(
    "a fault demotes the windows of functions whose memory is off; without them it is repeated, and then demotes all"
  )
  func demote() throws {
    let rig = try Rig(.eager)
    for slot in [1, 2] as [UInt64] { try rig.command(slot, 2) }
    try rig.root.openDueWindows()
    rig.devices[1].state.withLock { $0.config[ConfigOffset.command] = 0 }
    #expect(try rig.root.handleFault(isRepeated: false))
    #expect(rig.slots == [Rig.bases[0]])
    #expect(try rig.root.handleFault(isRepeated: false))
    #expect(rig.slots == [Rig.bases[0]], "memory is on, so that the access is repeated")
    #expect(try rig.root.handleFault(isRepeated: true))
    #expect(rig.slots == [])
    #expect(try !rig.root.handleFault(isRepeated: false) && !rig.root.handleFault(isRepeated: true))
  }
}
