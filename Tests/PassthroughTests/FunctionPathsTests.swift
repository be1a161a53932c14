// SPDX-License-Identifier: Apache-2.0

import Fakes
import PCI
import Seams
import Synchronization
import Testing

@testable import Gate
@testable import Passthrough

/// The paths of a function, each from the guest's access to the calls through the seams.
@Suite struct FunctionPathsTests {
  private typealias Call = FakeWorld.Call
  private static let command = UInt64(Register.command)

  private func configWrites(_ calls: [Call], at offset: UInt64) -> [UInt64] {
    calls.compactMap {
      if case .write(RegionIndex.config, offset, let value) = $0 { value } else { nil }
    }
  }

  // MARK: The start

  @Test("the start leaves the device with memory and bus mastering off, and nothing mapped")
  func start() throws {
    let rig = try FunctionRig()
    #expect(rig.device.command == 0)
    #expect(rig.slots == [] && rig.connected == 0)
    #expect(rig.function.statistics.windows == 2)
    #expect(rig.function.statistics.vectors == 8)
    #expect(rig.function.bars.map(\.size) == [FunctionRig.barSize])
    #expect(rig.function.interruptPin == 0)
    let names = rig.world.takeCalls().map(\.name)
    #expect(!names.contains("reset"), "the kernel has reset what it opened")
  }

  @Test("a device that reads all-ones is refused with the reason")
  func absent() throws {
    let error = #expect(throws: FunctionError.self) {
      try FunctionRig { $0.shape.config = [UInt8](repeating: 0xFF, count: 4096) }
    }
    #expect(error?.description.contains("all-ones") == true)
    #expect(error?.cause.errno == nil)
  }

  @Test(
    "a device that only its bus resets is reset at once; one that the kernel resets alone is reset for the guest"
  )
  func startReset() throws {
    let bus = try FunctionRig { options in
      options.shape.hasReset = false
      options.shape.busResetScope = [ResetDependent(group: "1", address: "0000:00:05.0", isOwned: true)]
    }
    #expect(bus.world.takeCalls().first == .resetBus)
    #expect(bus.function.isResetAlone)
    let alone = try FunctionRig()
    _ = alone.world.takeCalls()
    var hasBegun = false
    try alone.function.resetAtStart { hasBegun = true }
    #expect(hasBegun)
    #expect(alone.world.takeCalls() == [.reset, .write(region: RegionIndex.config, offset: Self.command, 0)])
    let none = try FunctionRig { $0.shape.hasReset = false }
    #expect(none.seen.warnings.count == 1 && none.seen.warnings[0].contains("it has no reset"))
    _ = none.world.takeCalls()
    try none.function.resetAtStart {}
    #expect(none.world.takeCalls() == [])
  }

  @Test("a device whose reset for the guest fails does not answer it, and ends the start")
  func startResetFails() throws {
    let rig = try FunctionRig()
    rig.world.fail("reset")
    #expect(throws: FunctionError.self) { try rig.function.resetAtStart {} }
    #expect(try rig.function.readConfig(0, width: 4) == .max)
  }

  @Test("the expansion ROM is a copy that answers while its bit and the memory bit are on")
  func rom() throws {
    let rig = try FunctionRig { $0.shape.rom = (0..<4096).map { UInt8($0 & 0xFF) } }
    let bar = try #require(rig.function.bars.first { $0.kind == .rom })
    #expect(bar.size == 4096)
    func read(_ offset: UInt64, _ width: Int) throws -> UInt64 {
      try rig.function.readMemory(bar: BaseAddress.romIndex, offset: offset, width: width)
    }
    try rig.command(2)
    #expect(try read(4, 4) == .max, "its own bit is off")
    try rig.function.writeConfig(Register.rom, width: 4, 0xDF00_0001)
    #expect(try read(4, 4) == 0x0706_0504)
    #expect(try read(4094, 4) == .max, "beyond its end")
    try rig.function.writeMemory(bar: BaseAddress.romIndex, offset: 4, width: 4, 0)
    #expect(try read(4, 4) == 0x0706_0504, "it is read-only")
    try rig.command(0)
    #expect(try read(4, 4) == .max)
  }

  @Test("a ROM that cannot be read is not shown, with one warning")
  func romFails() throws {
    let world = FakeWorld()
    world.fail { _, call in call == .readAll(region: RegionIndex.rom) ? 5 : nil }
    var options = FunctionRig.Options()
    options.shape.rom = [UInt8](repeating: 0x55, count: 4096)
    let rig = try FunctionRig(options, world: world)
    #expect(rig.seen.warnings.count == 1 && rig.seen.warnings[0].contains("its expansion ROM cannot be read"))
    #expect(!rig.function.bars.contains { $0.kind == .rom })
  }

  // MARK: MMIO

  @Test("an access while memory is off reads all-ones, drops the write and reaches no device")
  func closed() throws {
    let rig = try FunctionRig()
    _ = rig.world.takeCalls()
    #expect(try rig.read(0x10) == .max)
    try rig.write(0x10, 1)
    try rig.function.openDueWindows()
    #expect(rig.world.takeCalls() == [])
    #expect(rig.function.statistics.deniedAccesses == 2 && rig.function.statistics.trappedAccesses == 2)
  }

  @Test("the device answers the first access; the slot comes at the next moment between instructions")
  func firstTouch() throws {
    let rig = try FunctionRig { $0.peers = [.mapped(.onFault)] }
    try rig.command(2)
    _ = rig.world.takeCalls()
    try rig.write(FunctionRig.inFirst, 0xABCD)
    #expect(rig.slots == [], "KVM may be inside the instruction")
    #expect(rig.host.openings.isWanted)
    try rig.function.openDueWindows()
    #expect(rig.slots == [FunctionRig.base])
    #expect(rig.mapped(in: 0) == [FunctionRig.base])
    #expect(
      rig.world.takeCalls().map(\.name) == ["write", "addSlot", "map"], "the slot comes before the IOVA")
    #expect(try rig.read(FunctionRig.inFirst) == 0xABCD)
    let statistics = rig.function.statistics
    #expect(statistics.windowsOpened == 1 && statistics.bytesMapped == 4096 && statistics.slotsAdded == 1)
  }

  @Test("a slot that cannot be had leaves the window trapped, with one warning, until another window closes")
  func noSlot() throws {
    let rig = try FunctionRig()
    try rig.command(2)
    rig.world.fail("addSlot", with: 12)
    for _ in 0..<3 { try rig.touch(FunctionRig.inFirst) }
    #expect(rig.world.takeCalls().count { $0.name == "addSlot" } == 1)
    #expect(rig.seen.warnings.count == 1 && rig.seen.warnings[0].hasPrefix("BAR 0 window 0 stays trapped"))
    rig.world.succeed()
    try rig.touch(FunctionRig.inSecond)
    #expect(rig.slots.count == 1)
    try rig.command(0)
    try rig.command(2)
    try rig.touch(FunctionRig.inFirst)
    #expect(rig.slots == [FunctionRig.base])
  }

  @Test("an IOVA that cannot be had leaves the window to the guest alone, and says which peers lack it")
  func noIOVA() throws {
    let rig = try FunctionRig { options in
      options.peers = [.mapped(.onFault)]
      options.ranges = [0...0x7FFF_FFFF]
    }
    try rig.command(2)
    try rig.touch(FunctionRig.inFirst)
    #expect(rig.slots.count == 1 && rig.mapped(in: 0) == [])
    #expect(
      rig.seen.warnings == [
        "0000:00:06.0 cannot reach its BAR 0 at 0xd0000000-0xd0000fff: the IOMMU translates only 0x0-0x7fffffff"
      ])
  }

  @Test("a window over guest RAM is not mapped for peers")
  func overRAM() throws {
    let rig = try FunctionRig { $0.peers = [.mapped(.eager)] }
    try rig.command(2)
    try rig.move(0)
    try rig.touch(FunctionRig.inFirst)
    #expect(rig.mapped(in: 0) == [])
    #expect(rig.seen.warnings.last?.contains("guest RAM is at 0x0-0xfffff") == true)
  }

  @Test("memory that the device denies reads all-ones and counts as denied")
  func denied() throws {
    let rig = try FunctionRig()
    try rig.command(2)
    rig.world.fail { _, call in
      switch call {
      case .read(0, _), .write(0, _, _): 5
      default: nil
      }
    }
    #expect(try rig.read(FunctionRig.inFirst) == .max)
    try rig.write(FunctionRig.inFirst, 1)
    #expect(rig.function.statistics.deniedAccesses == 2)
    #expect(!rig.host.openings.isWanted)
  }

  @Test("the memory bit goes off after every slot, then every IOVA has gone")
  func memoryOff() throws {
    let rig = try FunctionRig { $0.peers = [.mapped(.onFault), .mapped(.eager)] }
    try rig.command(2)
    try rig.touch(FunctionRig.inFirst)
    try rig.touch(FunctionRig.inSecond)
    #expect(rig.slots.count == 2)
    _ = rig.world.takeCalls()
    try rig.command(0)
    let calls = rig.world.takeCalls()
    #expect(
      calls.map(\.name) == ["removeSlot", "removeSlot", "unmap", "unmap", "unmap", "unmap", "write"])
    #expect(calls.last == .write(region: RegionIndex.config, offset: Self.command, 0))
    #expect(rig.slots == [] && rig.mapped(in: 0) == [] && rig.mapped(in: 1) == [])
    #expect(rig.world.violations == [])
    #expect(rig.host.generation.current == 1)
    #expect(rig.function.statistics.closes == 2)
  }

  @Test("a device that does not take the memory bit stays closed")
  func stuck() throws {
    let rig = try FunctionRig { $0.policies.barMap = .eager }
    rig.device.state.withLock { $0.stuckCommand = 2 }
    try rig.command(2)
    try rig.function.openDueWindows()
    #expect(rig.slots == [])
    #expect(try rig.read(0x10) == .max)
  }

  @Test("with memory-bit=shadow the device's bit stays on, and the guest's rules the gate")
  func shadow() throws {
    let rig = try FunctionRig { $0.policies.memoryBit = .shadow }
    #expect(rig.device.command == 2)
    try rig.command(2)
    try rig.touch(FunctionRig.inFirst)
    #expect(rig.slots.count == 1)
    try rig.command(0)
    #expect(rig.device.command == 2 && rig.slots == [])
    #expect(try rig.read(0x10) == .max)
  }

  @Test("a BAR that moves takes its windows along, and they open at the new address")
  func move() throws {
    let rig = try FunctionRig { $0.peers = [.mapped(.onFault)] }
    try rig.command(2)
    try rig.touch(FunctionRig.inFirst)
    try rig.move(0xE000_0000)
    #expect(rig.slots == [] && rig.mapped(in: 0) == [])
    #expect(rig.host.decoder.find(0xD000_0010, isPort: false) == nil)
    #expect(rig.host.decoder.find(0xE000_0010, isPort: false) == BarPlace(function: 8, bar: 0, offset: 0x10))
    try rig.touch(FunctionRig.inFirst)
    #expect(rig.slots == [0xE000_0000] && rig.mapped(in: 0) == [0xE000_0000])
  }

  @Test(
    "a fault of KVM_RUN demotes the windows of a device whose memory is off, else only if all are asked for")
  func fault() throws {
    let rig = try FunctionRig()
    try rig.command(2)
    #expect(try !rig.function.demote(all: true), "nothing is mapped")
    try rig.touch(FunctionRig.inFirst)
    #expect(try !rig.function.demote(all: false), "the device says that its memory is on")
    rig.device.state.withLock { $0.config[Register.command] = 0 }
    #expect(try rig.function.demote(all: false))
    #expect(rig.slots == [])
    rig.device.state.withLock { $0.config[Register.command] = 2 }
    try rig.touch(FunctionRig.inFirst)
    #expect(try rig.function.demote(all: true) && rig.slots == [])
  }

  @Test("an instruction that KVM cannot emulate makes its window due, or all armed ones")
  func notEmulated() throws {
    let rig = try FunctionRig()
    let place = BarPlace(function: 8, bar: 0, offset: FunctionRig.inFirst)
    #expect(try rig.function.makeDue(place) == .none, "memory is off")
    try rig.command(2)
    #expect(try rig.function.makeDue(BarPlace(function: 8, bar: 0, offset: 0x1000)) == .none)
    #expect(try rig.function.makeDue(place) == .isDue)
    try rig.function.openDueWindows()
    #expect(try rig.function.makeDue(place) == .isOpen)
    #expect(try rig.function.makeDue(nil) == .isDue, "the second window")
    try rig.function.openDueWindows()
    #expect(try rig.function.makeDue(nil) == .isOpen)
    #expect(rig.slots.count == 2)
  }

  @Test("I/O BARs answer while the I/O bit is on and the device can")
  func ports() throws {
    let rig = try FunctionRig { options in
      options.shape.bars[1] = 16
      options.shape.ports = [1]
      options.shape.config[Register.bar0 + 4] = 1
    }
    #expect(rig.function.readPort(bar: 1, offset: 4, width: 4) == .max)
    rig.function.writePort(bar: 1, offset: 4, width: 4, 1)
    try rig.command(1)
    rig.function.writePort(bar: 1, offset: 4, width: 4, 0x55)
    #expect(rig.function.readPort(bar: 1, offset: 4, width: 4) == 0x55)
    #expect(rig.host.decoder.find(0xC004, isPort: true)?.bar == 1)
    rig.world.fail { _, call in
      switch call {
      case .read(1, _), .write(1, _, _): 5
      default: nil
      }
    }
    #expect(rig.function.readPort(bar: 1, offset: 4, width: 4) == .max)
    rig.function.writePort(bar: 1, offset: 4, width: 4, 1)
    #expect(rig.function.statistics.deniedAccesses == 4)
  }

  // MARK: Power and reset

  @Test("D3hot closes the gate before the device is written, and D0 arms it again")
  func power() throws {
    let rig = try FunctionRig { options in options.shape.config[FunctionRig.power + 4] = 8 }  // No_Soft_Reset
    try rig.command(2)
    try rig.touch(FunctionRig.inFirst)
    _ = rig.world.takeCalls()
    try rig.setPower(3)
    let sleep = rig.world.takeCalls()
    #expect(sleep.first?.name == "removeSlot")
    #expect(Set(configWrites(sleep, at: UInt64(FunctionRig.power + 4))) == [3])
    #expect(try rig.read(0x10) == .max)
    try rig.setPower(0)
    let calls = rig.world.takeCalls()
    #expect(Set(configWrites(calls, at: UInt64(FunctionRig.power + 4))) == [0])
    #expect(configWrites(calls, at: Self.command) == [2], "the device may have lost COMMAND")
    #expect(!calls.contains(.reset))
    try rig.touch(FunctionRig.inFirst)
    #expect(rig.slots.count == 1 && rig.world.violations == [])
  }

  @Test("a function that does not keep its state is reset on its way to D0")
  func softReset() throws {
    let rig = try FunctionRig()
    try rig.command(2)
    try rig.setMSIX(true)
    try rig.maskMSIX(1, false)
    try rig.touch(FunctionRig.inFirst)
    try rig.setPower(3)
    _ = rig.world.takeCalls()
    try rig.setPower(0)
    #expect(rig.world.takeCalls().contains(.reset))
    #expect(rig.device.command == 2, "the guest keeps its COMMAND")
    #expect(rig.connected == 1, "and its vectors")
    try rig.touch(FunctionRig.inFirst)
    #expect(rig.slots.count == 1 && rig.world.violations == [])
  }

  @Test("FLR closes the gate, turns interrupts off, resets, and gives the guest's COMMAND back")
  func flr() throws {
    let rig = try FunctionRig { $0.peers = [.mapped(.onFault)] }
    try rig.command(6)
    try rig.setMSIX(true)
    try rig.maskMSIX(0, false)
    try rig.touch(FunctionRig.inFirst)
    _ = rig.world.takeCalls()
    try rig.reset()
    let names = rig.world.takeCalls().map(\.name)
    let order = ["removeSlot", "unmap", "disable", "disconnect", "reset", "enable", "connect", "trigger"]
    #expect(names.filter(order.contains) == order)
    #expect(rig.device.command == 6)
    #expect(rig.connected == 1 && rig.slots == [] && rig.world.violations == [])
  }

  @Test("a reset that fails leaves the function as it is, with one warning")
  func flrFails() throws {
    let rig = try FunctionRig()
    try rig.command(2)
    rig.world.fail("reset", with: 25)
    for _ in 0..<2 { try rig.reset() }
    #expect(rig.seen.warnings == ["fake reset: errno 25; it goes on as it is"])
    try rig.touch(FunctionRig.inFirst)
    #expect(rig.slots.count == 1)
  }

  @Test("a device that does not take COMMAND back after its reset is told about")
  func restore() throws {
    let rig = try FunctionRig()
    try rig.command(2)
    rig.device.state.withLock { $0.stuckCommand = 4 }
    for _ in 0..<2 { try rig.reset() }
    #expect(rig.device.command == 6)
    #expect(
      rig.seen.warnings == ["after its reset the command register reads 0x6, and not 0x2 as the guest had it"]
    )
  }

  // MARK: Interrupts

  @Test("MSI-X: enabled with one vector, each further one when it is unmasked")
  func msix() throws {
    let rig = try FunctionRig()
    try rig.command(2)
    try rig.setMSIX(true)
    _ = rig.world.takeCalls()
    try rig.setMessage(2, 0x41)
    #expect(rig.world.takeCalls() == [], "it is masked")
    try rig.maskMSIX(2, false)
    #expect(rig.world.takeCalls().map(\.name) == ["makeEvent", "route", "connect", "trigger"])
    #expect(rig.routes == [0x41])
    try rig.setMessage(2, 0x42)
    #expect(rig.routes == [0x42])
    _ = rig.world.takeCalls()
    try rig.maskMSIX(2, true)
    #expect(rig.world.takeCalls().map(\.name) == ["disconnect"])
    try rig.maskMSIX(2, false)
    #expect(rig.world.takeCalls().map(\.name) == ["route", "connect"], "the device has its event")
    try rig.setMSIX(true, masked: true)
    #expect(rig.connected == 0)
    try rig.setMSIX(true)
    #expect(rig.connected == 1)
    #expect(rig.function.statistics.vectorsUsed == 1)
    try rig.setMSIX(false)
    #expect(rig.connected == 1 && rig.routes == [], "the pin alone")
    #expect(rig.device.state.withLock { $0.on } == .intx)
  }

  @Test("the pending bits of MSI-X are those of the events, and the device's for vectors that signal none")
  func pendingMSIX() throws {
    let rig = try FunctionRig()
    try rig.command(2)
    // The device's own bits are in its memory.
    try #require(try rig.device.write(0, offset: 0x2000, width: 8, 0b1101) == ())
    try rig.setMSIX(true)
    #expect(try rig.read(0x2000, width: 8) == 0b1101)
    try rig.maskMSIX(0, false)
    #expect(try rig.read(0x2000, width: 8) == 0b1100, "vector 0 is not masked")
    try rig.maskMSIX(0, true)
    #expect(try rig.read(0x2000, width: 4) == 0b1100, "its event has not been raised")
    rig.world.fail { _, call in call == .read(region: 0, offset: 0x2000) ? 5 : nil }
    #expect(try rig.read(0x2000, width: 8) == 0)
    #expect(rig.seen.warnings.count == 1 && rig.seen.warnings[0].contains("pending"))
    try rig.write(0x2000, 0xFF)
    rig.world.succeed()
    #expect(try rig.read(0x2001, width: 1) == 0)
  }

  @Test("MSI: the vectors that the guest has enabled and not masked are connected")
  func msi() throws {
    let rig = try FunctionRig()
    try rig.command(2)
    try rig.function.writeConfig(FunctionRig.message + 4, width: 4, 0xFEE0_0000)
    try rig.function.writeConfig(FunctionRig.message + 12, width: 2, 0x60)
    try rig.setMSI(true, count: 1)
    #expect(rig.connected == 2 && rig.routes == [0x60, 0x61])
    try rig.maskMSI(1)
    #expect(rig.connected == 1)
    #expect(try rig.function.readConfig(FunctionRig.message + 20, width: 4) == 0)
    try rig.maskMSI(0)
    try rig.function.writeConfig(FunctionRig.message + 12, width: 2, 0x70)
    #expect(rig.connected == 2 && rig.routes == [0x70, 0x71])
    try rig.setMSI(false)
    #expect(rig.connected == 1 && rig.routes == [], "the pin alone")
  }

  @Test("the pin is on from the first enable bit, and off while INTx is disabled by MSI")
  func pin() throws {
    let rig = try FunctionRig()
    #expect(rig.connected == 0)
    try rig.command(2)
    #expect(rig.connected == 1)
    #expect(rig.device.state.withLock { $0.on == .intx && $0.unmask != nil })
    try rig.setMSI(true)
    #expect(rig.device.state.withLock { $0.on } == .msi)
    try rig.setMSI(false)
    #expect(rig.device.state.withLock { $0.on } == .intx)
  }

  @Test("interrupts that the host lacks are told once, and tried again at the guest's next write")
  func lacking() throws {
    for name in ["enable", "connectLine"] {
      let rig = try FunctionRig()
      rig.world.fail(name, with: 16)
      try rig.command(2)
      try rig.setMSIX(true)
      try rig.setMSIX(false)
      try rig.setMSIX(true)
      let expected =
        name == "enable"
        ? "it has no interrupts: fake enable: errno 16"
        : "its interrupt pin does not work: fake connectLine: errno 16"
      #expect(rig.seen.warnings == [expected])
      rig.world.succeed()
      try rig.setMSIX(false)
      try rig.setMSIX(true)
      #expect(rig.device.state.withLock { $0.on } == .msix)
    }
  }

  @Test("a host with fewer vectors is told once, and the guest's others stay masked")
  func fewVectors() throws {
    let rig = try FunctionRig { options in
      options.shape.hostVectors = 2
      options.shape.interrupts[.msix] = InterruptInfo(count: 4, isFixed: true)
    }
    try rig.command(2)
    try rig.setMSIX(true)
    for vector in 0..<4 as Range<UInt64> { try rig.maskMSIX(vector, false) }
    #expect(rig.connected == 2)
    #expect(rig.seen.warnings == ["the host has 2 vectors for it, the guest has asked for 4"])
  }

  @Test("a vector without a descriptor stays masked, and the warning names the limit")
  func noDescriptor() throws {
    let rig = try FunctionRig()
    try rig.command(2)
    try rig.setMSIX(true)
    rig.world.fail("makeEvent", with: 24)
    try rig.maskMSIX(0, false)
    #expect(rig.connected == 0)
    #expect(
      rig.seen.warnings == [
        "vector 0 stays masked: fake makeEvent: errno 24; raise 'ulimit -n' before the start"
      ])
    rig.world.fail("disconnect", with: 22)
    try rig.maskMSIX(1, false)
    try rig.maskMSIX(1, true)
    #expect(rig.seen.warnings.last == "vector 1 cannot be masked: fake disconnect: errno 22")
  }

  // MARK: Leaving

  @Test("an error that the kernel reports takes the function from the guest for good")
  func error() throws {
    let rig = try FunctionRig { $0.peers = [.mapped(.onFault)] }
    try rig.command(6)
    try rig.setMSIX(true)
    try rig.maskMSIX(0, false)
    try rig.touch(FunctionRig.inFirst)
    #expect(rig.device.state.withLock { $0.notifications[.error] } == rig.function.number(of: .error))
    try rig.function.attend(to: .error)
    #expect(rig.slots == [] && rig.mapped(in: 0) == [] && rig.connected == 0)
    #expect(rig.device.command == 0 && rig.device.isOpen, "it is kept until the VM ends")
    #expect(try rig.function.readConfig(0, width: 4) == .max)
    #expect(rig.seen.events.contains { if case .lost(.isolated) = $0 { true } else { false } })
    #expect(rig.world.violations == [])
    try rig.function.close()
    try rig.function.handBack()
    #expect(!rig.device.isOpen)
  }

  @Test("a device that the host wants back is reset and closed, with nothing of it mapped")
  func request() throws {
    let rig = try FunctionRig { $0.peers = [.mapped(.onFault)] }
    try rig.command(6)
    try rig.touch(FunctionRig.inFirst)
    #expect(rig.device.state.withLock { $0.notifications[.request] } == rig.function.number(of: .request))
    try rig.function.attend(to: .request)
    #expect(!rig.device.isOpen && rig.slots == [] && rig.mapped(in: 0) == [])
    #expect(rig.world.takeCalls().suffix(2) == [.reset, .close])
    #expect(rig.seen.events.contains { if case .lost(.released) = $0 { true } else { false } })
    #expect(rig.world.violations == [])
    try rig.function.close()
    try rig.function.handBack()
    #expect(rig.world.takeCalls() == [], "it has been given back")
  }

  @Test(
    "a device that the host wants back and that cannot be reset now goes back without", arguments: [11, 5])
  func requestBusy(_ errno: Int32) throws {
    let rig = try FunctionRig()
    rig.world.fail("reset", with: errno)
    #expect(rig.device.state.withLock { $0.notifications[.request] } == rig.function.number(of: .request))
    try rig.function.attend(to: .request)
    #expect(!rig.device.isOpen)
    // EAGAIN: the kernel itself holds the device.
    #expect(rig.seen.warnings.contains { $0.contains("without a reset") } == (errno != 11))
  }

  @Test("a bus that other devices of the VM are on is not reset while the VM runs, and is at its end")
  func sharedBus() throws {
    let rig = try FunctionRig { options in
      options.shape.hasReset = false
      options.reset = .bus(isAlone: false)
    }
    #expect(!rig.function.isResetAlone)
    _ = rig.world.takeCalls()
    try rig.reset()
    #expect(!rig.world.takeCalls().contains(.resetBus))
    #expect(rig.seen.warnings.count == 1)
    try rig.function.close()
    try rig.function.handBack()
    #expect(rig.world.takeCalls().contains(.resetBus))
    #expect(!rig.device.isOpen)
  }

  @Test("the end of the VM closes the gate, turns interrupts off in the device, resets it and closes it")
  func end() throws {
    let rig = try FunctionRig { $0.peers = [.mapped(.eager)] }
    try rig.command(6)
    try rig.setMSIX(true)
    try rig.maskMSIX(0, false)
    try rig.touch(FunctionRig.inFirst)
    _ = rig.world.takeCalls()
    try rig.function.close()
    #expect(
      rig.world.takeCalls().map(\.name) == ["removeSlot", "unmap", "unmap", "write", "disable"])
    try rig.function.handBack()
    #expect(rig.world.takeCalls() == [.reset, .close])
    #expect(rig.world.violations == [] && rig.slots == [])
  }

  @Test("a slot that KVM does not remove at the end does not keep the device; an IOVA does")
  func endFails() throws {
    let slot = try FunctionRig { $0.peers = [.mapped(.onFault)] }
    try slot.command(6)
    try slot.touch(FunctionRig.inFirst)
    slot.world.fail("removeSlot")
    try slot.function.close()
    #expect(slot.seen.warnings.count == 1 && slot.seen.warnings[0].hasPrefix("at the end of the VM"))
    #expect(slot.device.command == 0)
    let iova = try FunctionRig { $0.peers = [.mapped(.onFault)] }
    try iova.command(6)
    try iova.touch(FunctionRig.inFirst)
    iova.world.fail("unmap")
    #expect(throws: FunctionError.self) { try iova.function.close() }
    #expect(iova.device.command == 6, "the device is not written")
    _ = iova.world.takeCalls()
    try iova.function.handBack()
    #expect(iova.world.takeCalls() == [] && iova.device.isOpen, "the kernel does it when the process ends")
  }

  @Test("a device that cannot be reset at the end is closed, and the error says what to do")
  func handBackFails() throws {
    let rig = try FunctionRig()
    try rig.function.close()
    rig.world.fail("reset")
    let error = #expect(throws: FunctionError.self) { try rig.function.handBack() }
    #expect(error?.description.contains("it goes back as the guest left it") == true)
    #expect(!rig.device.isOpen)
  }

  // MARK: Shared pages

  @Test("a window is not mapped while another BAR has bytes in its page, and is demoted when one comes")
  func sharedPages() throws {
    let rig = try FunctionRig { options in
      options.shape.bars[2] = 0x1000
      options.policies.barMap = .eager
    }
    try rig.command(2)
    try rig.function.openDueWindows()
    #expect(rig.slots == [FunctionRig.base, FunctionRig.base + 0x3000, FunctionRig.base + 2 << 20])
    try rig.function.writeConfig(Register.bar0 + 8, width: 4, UInt32(FunctionRig.base))
    try rig.function.leaveSharedPages()
    try rig.function.openDueWindows()
    #expect(!rig.slots.contains(FunctionRig.base))
    try rig.touch(FunctionRig.inFirst)
    #expect(!rig.slots.contains(FunctionRig.base), "two BARs are there")
    try rig.function.writeConfig(Register.bar0 + 8, width: 4, 0xD020_0000)
    try rig.touch(FunctionRig.inFirst)
    #expect(rig.slots.contains(FunctionRig.base))
  }
}
