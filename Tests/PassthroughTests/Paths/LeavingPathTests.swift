// SPDX-License-Identifier: Apache-2.0

import Fakes
import PCI
import Seams
import Synchronization
import Testing
import Trace

@testable import Gate
@testable import Passthrough

/// Errors, removal and the end of the VM.
@Suite struct LeavingPathTests {
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
    try rig.function.quiesce()
    try rig.function.resetAndRelease()
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
    try rig.function.quiesce()
    try rig.function.resetAndRelease()
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
    try rig.function.quiesce()
    try rig.function.resetAndRelease()
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
    try rig.function.quiesce()
    #expect(
      rig.world.takeCalls().map(\.name) == ["removeSlot", "unmap", "unmap", "write", "disable"])
    try rig.function.resetAndRelease()
    #expect(rig.world.takeCalls() == [.reset, .close])
    #expect(rig.world.violations == [] && rig.slots == [])
  }

  @Test("a slot that KVM does not remove at the end does not keep the device; an IOVA does")
  func endFails() throws {
    let slot = try FunctionRig { $0.peers = [.mapped(.onFault)] }
    try slot.command(6)
    try slot.touch(FunctionRig.inFirst)
    slot.world.fail("removeSlot")
    try slot.function.quiesce()
    #expect(slot.seen.warnings.count == 1 && slot.seen.warnings[0].hasPrefix("at the end of the VM"))
    #expect(slot.device.command == 0)
    let iova = try FunctionRig { $0.peers = [.mapped(.onFault)] }
    try iova.command(6)
    try iova.touch(FunctionRig.inFirst)
    iova.world.fail("unmap")
    #expect(throws: FunctionError.self) { try iova.function.quiesce() }
    #expect(iova.device.command == 6, "the device is not written")
    _ = iova.world.takeCalls()
    try iova.function.resetAndRelease()
    #expect(iova.world.takeCalls() == [] && iova.device.isOpen, "the kernel does it when the process ends")
  }

  @Test("a device that cannot be reset at the end is closed, and the error says what to do")
  func handBackFails() throws {
    let rig = try FunctionRig()
    try rig.function.quiesce()
    rig.world.fail("reset")
    let error = #expect(throws: FunctionError.self) { try rig.function.resetAndRelease() }
    #expect(error?.description.contains("it goes back as the guest left it") == true)
    #expect(!rig.device.isOpen)
  }
}
