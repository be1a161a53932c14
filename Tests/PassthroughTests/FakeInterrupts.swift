// SPDX-License-Identifier: Apache-2.0

import KVM
import Linux
import Synchronization
import VFIO

@testable import Passthrough

/// A device's and an irqchip's side of interrupts. Each call is recorded, and fails if its name is in `failing`.
final class FakeInterrupts: InterruptSource, InterruptSink {
  /// The calls, by the names that ``failing`` has.
  enum Call: String, CaseIterable {
    case enable, disable, trigger, unmask, event, route, connect, line, disconnect
  }

  struct State {
    var calls: [Call] = []
    var failing: [Call: Int32] = [:]
    /// Signalled by the device: kind and vector, with the event.
    var triggers: [Int: Int32] = [:]
    /// Number of host vectors.
    var vectors = 2048
    /// Connected events with their GSIs, and all that ever were.
    var connected: [Int32: UInt32] = [:]
    var routes: [UInt32: Message] = [:]
    var nextGSI: UInt32 = 24
    var isOn = false
  }

  let isFixedSize: Bool
  let state = Mutex(State())

  init(isFixed: Bool = false) { isFixedSize = isFixed }

  private func call(_ call: Call, _ body: (inout State) -> Void = { _ in }) throws(KernelError) {
    try state.withLock { state throws(KernelError) in
      state.calls.append(call)
      if let errno = state.failing[call] { throw KernelError(call.rawValue, errno: errno) }
      body(&state)
    }
  }

  func fail(_ call: Call, with errno: Int32?) { state.withLock { $0.failing[call] = errno } }
  var calls: [Call] {
    state.withLock { state in
      defer { state.calls = [] }
      return state.calls
    }
  }
  var connectedCount: Int { state.withLock { $0.connected.count } }
  var routeCount: Int { state.withLock { $0.routes.count } }

  // The device.
  func isFixed(_ kind: Device.InterruptKind) -> Bool { isFixedSize }

  func enableInterrupts(_ kind: Device.InterruptKind, count: Int) throws(KernelError) -> Int {
    try call(.enable) { $0.isOn = true }
    return min(count, state.withLock { $0.vectors })
  }

  func disableInterrupts(_ kind: Device.InterruptKind) throws(KernelError) {
    try call(.disable) { state in
      state.isOn = false
      state.triggers = [:]
    }
  }

  func setTrigger(_ kind: Device.InterruptKind, vector: Int, event: Int32) throws(KernelError) {
    try call(.trigger) { $0.triggers[vector] = event }
  }

  func setUnmask(event: Int32) throws(KernelError) { try call(.unmask) }

  // The irqchip.
  func makeEvent() throws(KernelError) -> Event {
    try call(.event)
    return try Event()
  }

  func set(_ route: Route?, to message: Message) throws(KernelError) -> Route {
    try call(.route)
    return state.withLock { state in
      let gsi = route?.gsi ?? state.nextGSI
      if route == nil { state.nextGSI += 1 }
      state.routes[gsi] = message
      return Route(gsi: gsi, ticket: 0)
    }
  }

  func park(_ route: Route) {}
  func release(_ route: Route) { state.withLock { _ = $0.routes.removeValue(forKey: route.gsi) } }

  func connect(event: Int32, to gsi: UInt32) throws(KernelError) {
    try call(.connect) { $0.connected[event] = gsi }
  }

  func connect(event: Int32, toLine gsi: UInt32, resample: Int32) throws(KernelError) {
    try call(.line) { $0.connected[event] = gsi }
  }

  func disconnect(event: Int32, from gsi: UInt32) throws(KernelError) {
    try call(.disconnect) { $0.connected[event] = nil }
  }
}
