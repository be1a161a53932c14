// SPDX-License-Identifier: Apache-2.0

import Fakes
import PCI
import Seams
import Synchronization
import Testing
import Trace

@testable import Gate
@testable import Passthrough

/// Tests of the host's notifications and of repeated teardown.
@Suite struct TeardownTests {
  private func losses(_ rig: FunctionRig) -> [TraceEvent.DeviceState] {
    rig.seen.events.compactMap { if case .lost(let loss) = $0 { loss } else { nil } }
  }

  @Test("a handled notification is no longer readable, and the other one remains")
  func taken() throws {
    for notification in DeviceNotification.allCases {
      let rig = try FunctionRig()
      for one in DeviceNotification.allCases { EventCount.raise(rig.function.number(of: one)) }
      try rig.function.handle(notification)
      for one in DeviceNotification.allCases {
        #expect(EventCount.isRaised(rig.function.number(of: one)) == (one != notification))
      }
    }
  }

  @Test("a function leaves the guest once, regardless of later notifications")
  func once() throws {
    let rig = try FunctionRig()
    try rig.command(6)
    for _ in 0..<2 { try rig.function.handle(.error) }
    try rig.function.isolate(OperationError("late"))
    #expect(losses(rig) == [.isolated] && rig.seen.warnings.count == 1)
    #expect(rig.function.presence == .isolated)
    _ = rig.world.takeCalls()
    try rig.function.handle(.request)
    #expect(rig.world.takeCalls() == [.reset, .close], "an isolated device is released to the host")
    #expect(losses(rig) == [.isolated] && !rig.device.isOpen)
    #expect(rig.function.presence == .released)
  }

  @Test("a function that the user removes is leaving during its reset, and then released")
  func presence() throws {
    let rig = try FunctionRig()
    #expect(rig.function.presence == .present)
    let during = Mutex<FunctionPresence?>(nil)
    let function = rig.function
    rig.world.whileResetting { during.withLock { $0 = function.presence } }
    try rig.function.remove()
    #expect(during.withLock { $0 } == .leaving && rig.function.presence == .released)
    #expect(rig.seen.warnings == ["removed from the guest: the user requests the device"])
  }

  @Test("clears COMMAND after the last mapping is removed, and then turns interrupts off")
  func order() throws {
    let acts: [(AssignedFunction<FakeBackend>) throws -> Void] = [
      { try $0.handle(.error) }, { try $0.remove() }, { try $0.quiesce() },
    ]
    for act in acts {
      let rig = try FunctionRig { $0.peers = [.mapped(.onFault)] }
      try rig.command(6)
      try rig.setMSIX(true)
      try rig.maskMSIX(0, false)
      try rig.touch(FunctionRig.inFirst)
      _ = rig.world.takeCalls()
      try act(rig.function)
      let order = ["removeSlot", "unmap", "write", "disable"]
      #expect(rig.world.takeCalls().map(\.name).filter(order.contains) == order)
      #expect(rig.device.command == 0 && rig.world.violations == [])
    }
  }

  @Test("skips a bus reset that affects other devices of the VM when the host requests a device")
  func sharedBus() throws {
    let rig = try FunctionRig { options in
      options.shape.hasReset = false
      options.reset = .bus(isAlone: false)
    }
    _ = rig.world.takeCalls()
    try rig.function.handle(.request)
    #expect(!rig.world.takeCalls().contains(.resetBus))
    #expect(!rig.device.isOpen && losses(rig) == [.released])
    let alone = try FunctionRig { options in
      options.shape.hasReset = false
      options.reset = .bus(isAlone: true)
    }
    _ = alone.world.takeCalls()
    try alone.function.handle(.request)
    #expect(alone.world.takeCalls().suffix(2) == [.resetBus, .close])
  }

  @Test("does not close the gate of a function a second time at the end of the VM")
  func closedOnce() throws {
    let rig = try FunctionRig()
    try rig.command(6)
    try rig.function.quiesce()
    _ = rig.world.takeCalls()
    try rig.function.quiesce()
    try rig.function.handle(.error)
    #expect(rig.world.takeCalls() == [] && losses(rig) == [])
    try rig.function.resetAndRelease()
    try rig.function.resetAndRelease()
    #expect(rig.world.takeCalls() == [.reset, .close])
  }
}
