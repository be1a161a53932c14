// SPDX-License-Identifier: Apache-2.0

import Fakes
import Linux
import PCI
import Seams
import Synchronization
import Testing
import Trace

@testable import Passthrough
@testable import VMM

/// The owner of a port.
@Suite final class PortTests: PortRig {
  @Test("the port is on the root bus, and the function on the bus of the port")
  func topology() throws {
    #expect(try root.readConfig(Self.port | 8, width: 4) == 0x0604_0000)
    #expect(try root.readConfig(Self.bus, width: 2) == 0x1122)
    #expect(try root.readConfig(Self.bus | 1 << 15, width: 4) & 0xFFFF_FFFF == 0xFFFF_FFFF)
    #expect(try root.readConfig(2 << 20, width: 4) & 0xFFFF_FFFF == 0xFFFF_FFFF)
    try root.writeConfig(Self.port | 0x18, width: 4, 0x0005_0500)
    #expect(try root.readConfig(Self.bus, width: 4) & 0xFFFF_FFFF == 0xFFFF_FFFF)
    #expect(try root.readConfig(5 << 20, width: 2) == 0x1122, "the guest numbers the buses")
  }

  @Test("memory reaches the function only if the port forwards it, and the window closes before")
  func forwarding() throws {
    try command(Self.bus, 2)
    #expect(try root.readMemory(Self.base, width: 4) & 0xFFFF_FFFF == 0xFFFF_FFFF)
    try open()
    try command(Self.port, 4)
    #expect(slots == [] && device.command == 2)
    #expect(try root.readMemory(Self.base, width: 4) & 0xFFFF_FFFF == 0xFFFF_FFFF)
    try command(Self.port, 6)
    try root.writeMemory(Self.base, width: 4, 0x55)
    #expect(device.peek(bar: 0, 0) == 0x55)
  }

  @Test("a secondary bus reset closes the gate, resets the device once and arms the gate at its end")
  func reset() throws {
    try open()
    let before = resets
    try root.writeConfig(Self.port | Self.bridgeControl, width: 2, 0x40)
    #expect(slots == [] && resets == before + 1)
    #expect(try root.readConfig(Self.bus, width: 4) & 0xFFFF_FFFF == 0xFFFF_FFFF)
    try root.writeConfig(Self.port | Self.bridgeControl, width: 2, 0)
    #expect(resets == before + 1)
    #expect(try root.readConfig(Self.bus, width: 2) == 0x1122)
    #expect(try root.readConfig(Self.bus | 0x10, width: 4) == Self.base)
    #expect(device.command == 2)
    try root.writeMemory(Self.base, width: 4, 0x66)
    #expect(device.peek(bar: 0, 0) == 0x66)
  }

  @Test("the guest ejects the function by the slot's power, and the device is returned to the host")
  func eject() throws {
    try open()
    try power(false)
    #expect(slots == [] && port.function == nil && device.isOpen)
    #expect(try root.readConfig(Self.bus, width: 4) & 0xFFFF_FFFF == 0xFFFF_FFFF)
    #expect(try root.readMemory(Self.base, width: 4) & 0xFFFF_FFFF == 0xFFFF_FFFF)
    let gone = try departed()
    #expect(gone.count == 1)
    for function in gone { try function.release() }
    #expect(!device.isOpen)
    try power(true)
    #expect(try root.readConfig(Self.bus, width: 4) & 0xFFFF_FFFF == 0xFFFF_FFFF)
    #expect(try departed().isEmpty)
  }

  @Test("a function that is inserted after an eject waits until the guest notices it, and then answers")
  func insert() throws {
    try open()
    try power(false)
    let gone = try #require(try departed().first)
    try gone.release()
    #expect(port.isFree && port.deadline == nil)
    let next = try Self.function(0x2233, "0000:02:00.0", in: world, context)
    try next.attach([0], function: 256 | Int(Self.slot), isMultifunction: false, gsi: 16)
    try port.insert(next, RootPort.Link(speed: 1, width: 1))
    let time = try #require(port.deadline)
    #expect(!port.isFree && port.function == nil)
    try port.act(at: time - 1)
    #expect(port.function == nil)
    try port.act(at: time)
    #expect(port.function === next && port.deadline == nil)
    let status = Self.port | (try capability(0x10) + 0x1A)
    #expect(try root.readConfig(status, width: 2) & 0x148 == 0x148, "present, and link changed")
    #expect(try root.readConfig(Self.bus, width: 4) & 0xFFFF_FFFF == 0xFFFF_FFFF, "the power is off")
    try power(true)
    #expect(try root.readConfig(Self.bus, width: 2) == 0x2233)
    try root.writeConfig(Self.bus | 0x10, width: 4, Self.base)
    try command(Self.bus, 2)
    #expect(try root.readMemory(Self.base, width: 4) == 0)
  }

  @Test("the host requests a function that waits for its insertion: it leaves at once")
  func withdraw() throws {
    try power(false)
    _ = try departed()
    let next = try Self.function(0x2233, "0000:02:00.0", in: world, context)
    try port.insert(next, RootPort.Link(speed: 1, width: 1))
    #expect(port.has(next))
    try port.requestRemoval(by: 100)
    #expect(port.isFree && port.deadline == nil && !port.has(next))
    #expect(try departed().count == 1)
  }

  @Test("a request of the host presses the button once, and at the deadline the function leaves by surprise")
  func request() throws {
    try open()
    let status = Self.port | (try capability(0x10) + 0x1A)
    try port.requestRemoval(by: 100)
    #expect(port.deadline == 100)
    #expect(try root.readConfig(status, width: 2) & 1 == 1)
    try root.writeConfig(status, width: 2, 1)
    try port.requestRemoval(by: 200)
    #expect(try port.deadline == 100 && root.readConfig(status, width: 2) & 1 == 0)
    try port.removeBySurprise()
    #expect(slots == [] && port.deadline == nil && port.function == nil)
    #expect(try root.readConfig(status, width: 2) & 0x48 == 8, "presence changed, and is off")
    #expect(try departed().count == 1)
    try port.removeBySurprise()
    #expect(try departed().isEmpty)
  }

  @Test("the host requests a device that was unplugged: it leaves by surprise at once")
  func unplugged() throws {
    try open()
    device.state.withLock { $0.config = [UInt8](repeating: 0xFF, count: 4096) }
    let status = Self.port | (try capability(0x10) + 0x1A)
    try port.requestRemoval(by: 100)
    #expect(slots == [] && port.deadline == nil && port.function == nil)
    #expect(try root.readConfig(status, width: 2) & 0x49 == 8, "presence changed, is off, and no button")
    #expect(try departed().count == 1)
  }

  @Test("an error closes the gate until the guest has reset the slot")
  func contain() throws {
    try open()
    // Error reporting of Device Control.
    try root.writeConfig(Self.port | (capability(0x10) + 8), width: 2, 7)
    try port.contain()
    #expect(slots == [])
    #expect(try root.readMemory(Self.base, width: 4) & 0xFFFF_FFFF == 0xFFFF_FFFF)
    #expect(try root.readConfig(Self.bus, width: 4) & 0xFFFF_FFFF == 0xFFFF_FFFF)
    #expect(try root.readConfig(Self.port | 0x130, width: 4) & 0x44 == 0x44, "Root Error Status: fatal")
    #expect(try root.readConfig(Self.port | 0x134, width: 4) >> 16 == UInt64(Self.slot) << 3)
    for value in [0x40, 0] as [UInt64] {
      try root.writeConfig(Self.port | Self.bridgeControl, width: 2, value)
    }
    #expect(try root.readConfig(Self.bus, width: 2) == 0x1122)
    try root.writeMemory(Self.base, width: 4, 0x77)
    #expect(device.peek(bar: 0, 0) == 0x77)
  }

  /// Takes the recovery that waits for the hotplug thread.
  private func recovering() throws -> AssignedFunction<FakeBackend>? {
    try (hotplug.take() ?? []).compactMap { task -> AssignedFunction<FakeBackend>? in
      if case .recovery(let function, _) = task { function } else { nil }
    }.first
  }

  /// Adds one to the eventfd of errors, as the host's kernel does.
  private func signalError() throws {
    let number = try #require(device.state.withLock { $0.notifications[.error] })
    try OwnedDescriptor(duplicating: number).write([1, 0, 0, 0, 0, 0, 0, 0])
  }

  /// The host's kernel reports an error of the function.
  private func hostError() throws {
    try signalError()
    try port.handleError(of: function)
  }

  private func resetSlot() throws {
    for value in [0x40, 0] as [UInt64] {
      try root.writeConfig(Self.port | Self.bridgeControl, width: 2, value)
    }
  }

  @Test(
    "after an error of the host, the guest reads all-ones until the device is reset, and opened again if it lost its registers",
    arguments: [true, false])
  func recover(keepsRegisters: Bool) throws {
    try open()
    // A reset does not clear the command register, as the kernel restores it.
    if keepsRegisters { device.state.withLock { $0.stuckCommand = 2 } }
    let refusals = Atomic<Int>(0)
    world.fail { _, call in
      call == .reset && refusals.add(1, ordering: .relaxed).newValue <= 3 ? KernelError.again : nil
    }
    try hostError()
    #expect(slots == [])
    try resetSlot()
    // The kernel signals the error again, before and during the recovery.
    try hostError()
    #expect(try recovering() === function && resets == 0)
    #expect(world.violations.isEmpty)
    #expect(try root.readConfig(Self.bus, width: 4) & 0xFFFF_FFFF == 0xFFFF_FFFF)
    #expect(try root.readMemory(Self.base, width: 4) & 0xFFFF_FFFF == 0xFFFF_FFFF)
    #expect(try function.recover(within: 10_000_000))
    try signalError()
    try port.endRecovery(function, isRecovered: true)
    try port.handleError(of: function)
    #expect(refusals.load(ordering: .relaxed) == 4)
    #expect(world.state.withLock { $0.calls.contains(.reopen) } == !keepsRegisters)
    #expect(device.state.withLock { Set($0.notifications.keys) } == [.error, .request])
    #expect(try root.readConfig(Self.bus, width: 2) == 0x1122 && device.command & 2 == 2)
    try root.writeMemory(Self.base, width: 4, 0x77)
    #expect(device.peek(bar: 0, 0) == 0x77)
    #expect(life.states.withLock { $0 } == [.enabled, .contained, .resetting, .enabled])
    // The next reset of the slot is of the guest alone.
    try resetSlot()
    #expect(try recovering() == nil)
  }

  @Test("a device that cannot be reset or opened again leaves by surprise", arguments: ["reset", "reopen"])
  func lost(_ call: String) throws {
    try open()
    world.fail(call)
    try hostError()
    try resetSlot()
    #expect(try recovering() === function)
    #expect(try !function.recover(within: 0))
    try port.endRecovery(function, isRecovered: false)
    #expect(port.function == nil && slots == [])
    #expect(try departed().map { $0 === function } == [true])
    try function.release()
    #expect(!device.isOpen && world.violations.isEmpty)
  }

  @Test("a request of the host during a recovery does not wait for the device")
  func requestDuringRecovery() throws {
    try open()
    try hostError()
    try resetSlot()
    let reads = world.state.withLock { $0.calls.count { $0 == .read(region: RegionIndex.config, offset: 8) } }
    try port.requestRemoval(by: 100)
    #expect(port.deadline == 100 && port.function === function)
    #expect(
      world.state.withLock { $0.calls.count { $0 == .read(region: RegionIndex.config, offset: 8) } } == reads)
  }

  @Test("an error of a function that waits for its insertion: it leaves at once")
  func errorBeforeInsertion() throws {
    try power(false)
    _ = try departed()
    let next = try Self.function(0x2233, "0000:02:00.0", in: world, context)
    try port.insert(next, RootPort.Link(speed: 1, width: 1))
    try OwnedDescriptor(duplicating: next.number(of: .error)).write([1, 0, 0, 0, 0, 0, 0, 0])
    try port.handleError(of: next)
    #expect(port.isFree && port.deadline == nil)
    #expect(try departed().map { $0 === next } == [true])
  }

  @Test("a function that leaves during its recovery is not used again")
  func leaveDuringRecovery() throws {
    try open()
    try hostError()
    try resetSlot()
    try port.removeBySurprise()
    #expect(try !function.recover(within: 10_000_000))
    try port.endRecovery(function, isRecovered: false)
    #expect(port.function == nil && slots == [])
  }

  @Test("each state of a function's life is reported once, when it begins")
  func states() throws {
    try open()
    try port.contain()
    try root.writeConfig(Self.port | Self.bridgeControl, width: 2, 0x40)
    try root.writeConfig(Self.port | Self.bridgeControl, width: 2, 0)
    try command(Self.port, 4)
    try command(Self.port, 6)
    try port.requestRemoval(by: 100)
    try power(false)
    #expect(
      life.states.withLock { $0 } == [.enabled, .contained, .resetting, .enabled, .leaving, .gone])
  }

  @Test("the port's message is routed and sent if the guest has enabled it")
  func message() throws {
    try command(Self.port, 6)
    let msi = try capability(5)
    try root.writeConfig(Self.port | (msi + 4), width: 4, 0xFEE0_0000)
    try root.writeConfig(Self.port | (msi + 12), width: 2, 0x41)
    try root.writeConfig(Self.port | (msi + 2), width: 2, 1)
    try root.writeConfig(Self.port | (capability(0x10) + 0x18), width: 2, 0x21)
    #expect(world.state.withLock { $0.routes.isEmpty })
    try port.requestRemoval(by: 100)
    let (routes, connected) = world.state.withLock { ($0.routes, $0.connected) }
    #expect(routes.filter { $0.value == 0x41 }.count == 1)
    #expect(Set(connected.values).isSuperset(of: routes.keys))
  }
}
