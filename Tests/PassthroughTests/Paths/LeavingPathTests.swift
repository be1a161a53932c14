// SPDX-License-Identifier: Apache-2.0

import Fakes
import PCI
import Seams
import Synchronization
import Testing
import Trace

@testable import Gate
@testable import Passthrough

/// Tests of errors, of removal and of the end of the VM.
@Suite struct LeavingPathTests {
  @Test("isolates the function permanently after an error that the kernel reports")
  func error() throws {
    let rig = try FunctionRig { $0.peers = [.mapped(.onFault)] }
    try rig.command(6)
    try rig.setMSIX(true)
    try rig.maskMSIX(0, false)
    try rig.touch(FunctionRig.inFirst)
    #expect(rig.device.state.withLock { $0.notifications[.error] } == rig.function.number(of: .error))
    try rig.function.handle(.error)
    #expect(rig.slots == [] && rig.mapped(in: 0) == [] && rig.connected == 0)
    #expect(rig.device.command == 0 && rig.device.isOpen, "the device stays open until the VM ends")
    #expect(try rig.function.readConfig(0, width: 4) == .max)
    #expect(rig.seen.events.contains { if case .lost(.isolated) = $0 { true } else { false } })
    #expect(rig.world.violations == [])
    try rig.function.quiesce()
    try rig.function.resetAndRelease()
    #expect(!rig.device.isOpen)
  }

  @Test("unmaps, resets and closes a device that the host requests")
  func request() throws {
    let rig = try FunctionRig { $0.peers = [.mapped(.onFault)] }
    try rig.command(6)
    try rig.touch(FunctionRig.inFirst)
    #expect(rig.device.state.withLock { $0.notifications[.request] } == rig.function.number(of: .request))
    try rig.function.handle(.request)
    #expect(!rig.device.isOpen && rig.slots == [] && rig.mapped(in: 0) == [])
    #expect(rig.world.takeCalls().suffix(2) == [.reset, .close])
    #expect(rig.seen.events.contains { if case .lost(.released) = $0 { true } else { false } })
    #expect(rig.world.violations == [])
    try rig.function.quiesce()
    try rig.function.resetAndRelease()
    #expect(rig.world.takeCalls() == [], "the device is already released")
  }

  @Test(
    "releases a requested device without a reset if its reset fails", arguments: [11, 5])
  func requestBusy(_ errno: Int32) throws {
    let rig = try FunctionRig()
    rig.world.fail("reset", with: errno)
    #expect(rig.device.state.withLock { $0.notifications[.request] } == rig.function.number(of: .request))
    try rig.function.handle(.request)
    #expect(!rig.device.isOpen)
    // EAGAIN: the kernel holds the device for its removal.
    #expect(rig.seen.warnings.contains { $0.contains("without a reset") } == (errno != 11))
  }

  @Test("a bus with other devices of the VM is reset at the end of the VM, not while it runs")
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

  @Test("the end of the VM closes the gate, turns interrupts off in the device, resets and closes the device")
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

  @Test("a remaining IOVA keeps the device open at the end of the VM, a remaining memory slot does not")
  func endFails() throws {
    let slot = try FunctionRig { $0.peers = [.mapped(.onFault)] }
    try slot.command(6)
    try slot.touch(FunctionRig.inFirst)
    slot.world.fail("removeSlot")
    try slot.function.quiesce()
    #expect(slot.seen.warnings.count == 1 && slot.seen.warnings[0].hasPrefix("memory slot not removed"))
    #expect(slot.device.command == 0)
    let iova = try FunctionRig { $0.peers = [.mapped(.onFault)] }
    try iova.command(6)
    try iova.touch(FunctionRig.inFirst)
    iova.world.fail("unmap")
    #expect(throws: FunctionError.self) { try iova.function.quiesce() }
    #expect(iova.device.command == 6, "the device is not written")
    _ = iova.world.takeCalls()
    try iova.function.resetAndRelease()
    #expect(iova.world.takeCalls() == [] && iova.device.isOpen, "the kernel releases it at exit")
  }

  @Test("closes a device whose reset fails at the end of the VM, and reports the failure")
  func releaseFails() throws {
    let rig = try FunctionRig()
    try rig.function.quiesce()
    rig.world.fail("reset")
    let error = #expect(throws: FunctionError.self) { try rig.function.resetAndRelease() }
    #expect(error?.description.contains("released without a reset") == true)
    #expect(error?.isReleasedWithoutReset == true)
    #expect(!rig.device.isOpen)
  }

  @Test("a device whose process ends during its last reset is lost, which is no failure of the VM")
  func lostAtRelease() throws {
    let rig = try FunctionRig()
    try rig.function.quiesce()
    let device = rig.device
    rig.world.fail { _, call in
      guard call.name == "reset" else { return nil }
      device.state.withLock { $0.loss = OperationError("the process has ended") }
      return 5
    }
    try rig.function.resetAndRelease()
    #expect(rig.seen.warnings == ["lost by the guest: the process has ended"])
    #expect(!rig.device.isOpen)
  }
}
