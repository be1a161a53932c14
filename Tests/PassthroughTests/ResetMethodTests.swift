// SPDX-License-Identifier: Apache-2.0

import Fakes
import Seams
import Synchronization
import Testing
import Trace

@testable import Passthrough

@Suite struct ResetMethodTests {
  private static let address = "0000:03:00.0"

  /// Creates a device with a bus reset scope and, by default, without a function-level reset.
  private func device(_ scope: [ResetDependent]?, hasReset: Bool = false) throws -> FakeDevice {
    var shape = FunctionRig.shape()
    shape.address = Self.address
    shape.hasReset = hasReset
    shape.busResetScope = scope
    return try FakeDevice(shape, in: FakeWorld())
  }

  private func scope(_ owned: [Bool]) -> [ResetDependent] {
    let all = [("7", Self.address), ("7", "0000:03:00.1"), ("9", "0000:03:01.0")]
    return zip(all, owned).map { ResetDependent(group: $0.0, address: $0.1, isOwned: $1) }
  }

  @Test("prefers the function's reset to a bus reset, and accepts a device with neither")
  func best() throws {
    let own = try device(scope([true, true, true]), hasReset: true)
    #expect(ResetMethod(own, devices: [Self.address]) == .function)
    guard case .none = ResetMethod(try device(nil), devices: [Self.address]) else {
      Issue.record("the device has a reset")
      return
    }
  }

  @Test("resets a bus if the VM owns all of its groups")
  func ours() throws {
    let device = try device(scope([true, true, true]))
    #expect(ResetMethod(device, devices: [Self.address]) == .bus(isAlone: true))
    #expect(ResetMethod(device, devices: [Self.address, "0000:03:01.0"]) == .bus(isAlone: false))
  }

  @Test("names the devices that the VM does not own, in the text and in the typed reason")
  func foreign() throws {
    guard case .none(let one) = ResetMethod(try device(scope([true, true, false])), devices: []) else {
      Issue.record("the device has a reset")
      return
    }
    #expect(one.description.contains("would also reset 0000:03:01.0 (group 9): the guest receives"))
    #expect(one.reason == .foreignDevices(["0000:03:01.0"]))
    guard case .none(let two) = ResetMethod(try device(scope([false, false, true])), devices: []) else {
      Issue.record("the device has a reset")
      return
    }
    #expect(two.description.contains("0000:03:00.0 (group 7), 0000:03:00.1 (group 7): the guest receives"))
    #expect(two.reason == .foreignDevices(["0000:03:00.0", "0000:03:00.1"]))
  }

  @Test("performs no reset that affects another device while the VM runs")
  func running() {
    #expect(ResetMethod.function.isSafeWhileRunning)
    #expect(ResetMethod.bus(isAlone: true).isSafeWhileRunning)
    #expect(!ResetMethod.bus(isAlone: false).isSafeWhileRunning)
    #expect(!ResetMethod.none("").isSafeWhileRunning)
  }

  @Test("performs the call of each method and reports it")
  func perform() throws {
    let world = FakeWorld()
    let device = try FakeDevice(FunctionRig.shape(), in: world)
    for (method, call, reach) in [
      (ResetMethod.function, [.reset], [.function]), (.bus(isAlone: true), [.resetBus], [.bus]),
      (.none(""), [], []),
    ] as [(ResetMethod, [FakeWorld.Call], [TraceEvent.ResetMethod])] {
      let reported = Mutex<[TraceEvent.ResetMethod]>([])
      try method.perform(on: device, .flr) { event, _ in
        guard case .reset(.flr, let reach) = event else { return }
        reported.withLock { $0.append(reach) }
      }
      #expect(world.takeCalls() == call)
      #expect(reported.withLock { $0 } == reach)
    }
  }
}
