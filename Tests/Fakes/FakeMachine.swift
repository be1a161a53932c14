// SPDX-License-Identifier: Apache-2.0

package import Linux
package import Seams
internal import Synchronization

/// A hypervisor that records its calls.
package final class FakeMachine: Hypervisor {
  private let world: FakeWorld

  /// Creates a hypervisor in a world.
  package init(_ world: FakeWorld) { self.world = world }

  package var slotCapacity: Int { world.state.withLock { $0.slotsLeft } }

  package func addSlot(at base: UInt64, size: UInt64, host: UInt64) throws(OperationError) -> UInt32 {
    try world.perform(.addSlot(base, size)) { state throws(OperationError) in
      guard state.slotsLeft > 0 else { throw OperationError("fake slots: all are in use") }
      for slot in state.slots.values where base < slot.base + slot.size && slot.base < base + size {
        throw OperationError("fake slot overlaps", errno: 17)
      }
      state.slotsLeft -= 1
      state.nextSlot += 1
      state.slots[state.nextSlot] = .init(base: base, size: size, host: host)
      return state.nextSlot
    }
  }

  package func removeSlot(_ slot: UInt32) throws(OperationError) {
    try world.perform(.removeSlot(slot)) { state in
      guard state.slots.removeValue(forKey: slot) != nil else {
        state.violations.append("memory slot \(slot) is removed but does not exist")
        return
      }
      state.slotsLeft += 1
    }
  }

  package func makeEventFD() throws(OperationError) -> SharedEventFD {
    try world.perform(.makeEventFD) { _ in }
    return try SharedEventFD()
  }

  package func setRoute(_ route: Route?, address: UInt64, data: UInt32) throws(OperationError) -> Route {
    try world.perform(.route(data)) { state in
      let gsi = route?.gsi ?? state.nextGSI
      if route == nil { state.nextGSI += 1 }
      state.routes[gsi] = data
      state.parked.remove(gsi)
      return Route(gsi: gsi, ticket: 0)
    }
  }

  package func parkRoute(_ route: Route) {
    world.state.withLock { state in
      if state.connected.values.contains(route.gsi) {
        state.violations.append("GSI \(route.gsi) is parked while an eventfd raises it")
      }
      state.parked.insert(route.gsi)
    }
  }

  package func releaseRoute(_ route: Route) {
    world.state.withLock { state in
      if state.connected.values.contains(route.gsi) {
        state.violations.append("GSI \(route.gsi) is released while an eventfd raises it")
      }
      state.routes[route.gsi] = nil
      state.parked.remove(route.gsi)
    }
  }

  package func connect(event: Int32, to gsi: UInt32) throws(OperationError) {
    try world.perform(.connect(gsi)) { state in state.connected[event] = gsi }
  }

  package func connect(event: Int32, toLevelGSI gsi: UInt32, resample: Int32) throws(OperationError) {
    try world.perform(.connectLevel(gsi)) { state in
      state.connected[event] = gsi
      state.resamples[event] = resample
    }
  }

  package func disconnect(event: Int32, from gsi: UInt32) throws(OperationError) {
    try world.perform(.disconnect(gsi)) { state in
      if state.connected.removeValue(forKey: event) == nil {
        state.violations.append("an eventfd is disconnected from GSI \(gsi) but does not raise it")
      }
    }
  }
}

/// An I/O address space that records its calls.
package final class FakeSpace: IOAddressSpace {
  private let world: FakeWorld
  private let index: Int
  private let ranges: [ClosedRange<UInt64>]
  private let mappings: Int?
  package let needsDMABuffers: Bool

  /// Creates an empty I/O address space in a world.
  ///
  /// - Parameters:
  ///   - ranges: The IOVAs that it translates; empty if it reports none.
  ///   - mappings: The number of mappings that it reports as available, or nil for the world's limit.
  ///   - needsDMABuffers: True if it maps windows by dma-buf.
  package init(
    _ world: FakeWorld, ranges: [ClosedRange<UInt64>] = [], mappings: Int? = nil,
    needsDMABuffers: Bool = false
  ) {
    self.world = world
    self.needsDMABuffers = needsDMABuffers
    self.ranges = ranges
    self.mappings = mappings
    index = world.state.withLock { state in
      state.spaces.append([:])
      return state.spaces.count - 1
    }
  }

  package func limits() throws(OperationError) -> IOLimits {
    let (index, ranges, mappings) = (index, ranges, mappings)
    return try world.perform(.limits) { state in
      IOLimits(ranges: ranges, mappings: mappings ?? state.mappingLimit - state.spaces[index].count)
    }
  }

  package func map(
    iova: UInt64, size: UInt64, host: UInt64, sharedWith other: FakeSpace?
  ) throws(OperationError) {
    try map(other == nil ? .map(iova, size) : .share(iova, size), iova: iova, size: size) { _ in
      FakeWorld.Mapped(base: iova, size: size, host: host)
    }
  }

  package func map(iova: UInt64, size: UInt64, window: WindowMemory) throws(OperationError) {
    let needsDMABuffers = needsDMABuffers
    try map(.map(iova, size), iova: iova, size: size) { state throws(OperationError) in
      switch window {
      case .host(let host):
        if needsDMABuffers { throw OperationError("fake space maps only dma-bufs", errno: 14) }
        return .init(base: iova, size: size, host: host)
      case .dmaBuffer(let number):
        guard let buffer = state.buffers[number], buffer.size == size else {
          throw OperationError("fake dma-buf \(number) with \(size) bytes does not exist", errno: 22)
        }
        guard state.enabledDevices.contains(buffer.device) else {
          throw OperationError("fake dma-buf \(number): memory is off", errno: 19)
        }
        return .init(base: iova, size: size, host: buffer.host, buffer: number)
      }
    }
  }

  private func map(
    _ call: FakeWorld.Call, iova: UInt64, size: UInt64,
    _ mapping: (FakeWorld.State) throws(OperationError) -> FakeWorld.Mapped
  ) throws(OperationError) {
    let index = index
    let inProgress = world.state.withLock { state in
      state.mapsInProgress[index, default: [:]][iova] = size
      return state.mapping
    }
    defer { world.state.withLock { $0.mapsInProgress[index]?[iova] = nil } }
    inProgress(iova)
    try world.perform(call) { state throws(OperationError) in
      guard state.spaces[index].count < state.mappingLimit else {
        throw OperationError("fake mappings: all are in use", errno: 28)
      }
      for mapped in state.spaces[index].values
      where iova < mapped.base + mapped.size && mapped.base < iova + size {
        throw OperationError("fake mapping overlaps", errno: 17)
      }
      state.spaces[index][iova] = try mapping(state)
    }
  }

  package func unmapAll(iova: UInt64, size: UInt64) throws(OperationError) -> UInt64 {
    let index = index
    return try world.perform(.unmap(iova, size)) { state throws(OperationError) in
      // iommufd refuses this, unlike type1.
      let isBusy = state.mapsInProgress[index, default: [:]].contains { start, length in
        iova < start + length && start < iova + size
      }
      if isBusy { throw OperationError("fake unmap: a mapping is in progress", errno: 16) }
      let all = state.spaces[index].values.filter { $0.base >= iova && $0.base - iova < size }
      for mapped in all { state.spaces[index][mapped.base] = nil }
      return all.reduce(0) { $0 + $1.size }
    }
  }
}

/// A backend of fakes.
package enum FakeBackend: Backend {
  package typealias Device = FakeDevice
  package typealias Space = FakeSpace
  package typealias Machine = FakeMachine
}
