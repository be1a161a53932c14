// SPDX-License-Identifier: Apache-2.0

internal import Linux
package import Seams
package import Synchronization

/// A PCI function in memory. Its COMMAND register and its power state behave like the registers of a device.
package final class FakeDevice: PCIDevice {
  /// The parts of a device that tests choose.
  package struct Shape: Sendable {
    /// The address on the host.
    package var address = "0000:00:05.0"
    /// Configuration space, 256 or 4096 bytes.
    package var config: [UInt8]
    /// The sizes of BAR 0 to 5; 0 if the BAR does not exist.
    package var bars: [UInt64]
    /// The BARs that are I/O ports.
    package var ports: Set<Int> = []
    /// The expansion ROM.
    package var rom: [UInt8] = []
    /// True if the function can be reset alone.
    package var hasReset = false
    /// The functions that a reset of the bus resets.
    package var busResetScope: [ResetDependent]?
    /// The vectors of each kind.
    package var interrupts: [InterruptKind: InterruptInfo] = [
      .intx: InterruptInfo(count: 1, isFixed: false), .msi: InterruptInfo(count: 4, isFixed: true),
      .msix: InterruptInfo(count: 4, isFixed: false), .error: InterruptInfo(count: 1, isFixed: true),
      .request: InterruptInfo(count: 1, isFixed: true),
    ]
    /// The maximum number of vectors of the host.
    package var hostVectors = 2048
    /// The offset of the power management capability in configuration space; 0 if there is none.
    package var power = 0

    /// Creates a shape.
    package init(config: [UInt8], bars: [UInt64]) {
      self.config = config
      self.bars = bars
    }
  }

  /// The mutable state.
  package struct State: Sendable {
    /// Configuration space.
    package var config: [UInt8]
    /// The bits of COMMAND that a write does not change.
    package var stuckCommand: UInt16 = 0
    /// False after ``FakeDevice/close()``.
    package var isOpen = true
    /// The error that the end of the device's process has caused, or nil.
    package var loss: OperationError?
    /// The kind of interrupt that is on, or nil.
    package var on: InterruptKind?
    /// The eventfds of the vectors that are on.
    package var triggers: [Int: Int32] = [:]
    /// The eventfds of notifications.
    package var notifications: [InterruptKind: Int32] = [:]
    /// The eventfd that unmasks INTx.
    package var unmask: Int32?
  }

  package let address: String
  package let hasReset: Bool
  package let busResetScope: [ResetDependent]?
  /// Taken by each call. No lock is taken inside it.
  package let state: Mutex<State>
  private let shape: Shape
  private let world: FakeWorld
  private let memory: [Memory?]

  /// Creates a device.
  package init(_ shape: Shape, in world: FakeWorld) throws(OperationError) {
    self.shape = shape
    self.world = world
    (address, hasReset, busResetScope) = (shape.address, shape.hasReset, shape.busResetScope)
    state = Mutex(State(config: shape.config))
    var memory: [Memory?] = []
    for size in shape.bars { memory.append(size == 0 ? nil : try Memory(size)) }
    self.memory = memory
  }

  private static let command = 4
  private static let memorySpace: UInt16 = 2

  /// Returns four bytes of a BAR from the device's memory.
  package func peek(bar: Int, _ offset: UInt64) -> UInt32 {
    UInt32(truncatingIfNeeded: memory[bar]?.load(offset, 4) ?? 0)
  }

  /// Writes 4 bytes of a BAR.
  package func poke(bar: Int, _ offset: UInt64, _ value: UInt32) {
    memory[bar]?.store(offset, 4, UInt64(value))
  }

  private func memoryRanges() -> [Range<UInt64>] { memory.compactMap { $0?.range } }

  /// The COMMAND register.
  package var command: UInt16 {
    state.withLock { UInt16($0.config[Self.command]) | UInt16($0.config[Self.command + 1]) << 8 }
  }

  package var isOpen: Bool { state.withLock { $0.isOpen } }
  package var loss: OperationError? { state.withLock { $0.loss } }

  package func region(_ index: Int) -> DeviceRegion? {
    switch index {
    case RegionIndex.config: DeviceRegion(size: UInt64(shape.config.count), mappable: [])
    case RegionIndex.rom: shape.rom.isEmpty ? nil : DeviceRegion(size: UInt64(shape.rom.count), mappable: [])
    case memory.indices:
      memory[index].map { bar in
        DeviceRegion(size: bar.size, mappable: shape.ports.contains(index) ? [] : [0..<bar.size])
      }
    default: nil
    }
  }

  private func check(_ region: Int, _ offset: UInt64, _ width: Int) throws(OperationError) {
    let size = self.region(region)?.size ?? 0
    guard isOpen else { throw OperationError("fake device is closed", errno: 9) }
    guard offset <= size, UInt64(width) <= size - offset else {
      throw OperationError("fake region \(region) has no offset \(offset)")
    }
    guard region < RegionIndex.rom, !shape.ports.contains(region) else { return }
    guard command & Self.memorySpace != 0 else { throw OperationError("fake memory is off", errno: 5) }
  }

  package func read(_ region: Int, offset: UInt64, width: Int) throws(OperationError) -> UInt64 {
    try world.perform(.read(region: region, offset: offset)) { _ in }
    try check(region, offset, width)
    switch region {
    case RegionIndex.config:
      return state.withLock { state in
        (0..<width).reduce(0) { $0 | UInt64(state.config[Int(offset) + $1]) << UInt64($1 * 8) }
      }
    case RegionIndex.rom: return 0
    default: return memory[region]?.load(offset, width) ?? .max
    }
  }

  package func write(_ region: Int, offset: UInt64, width: Int, _ value: UInt64) throws(OperationError) {
    let ranges = memoryRanges()
    let isConfig = region == RegionIndex.config
    let (address, power) = (address, shape.power)
    try world.perform(.write(region: region, offset: offset, value)) { state in
      guard isConfig else { return }
      if Int(offset) == Self.command, UInt16(truncatingIfNeeded: value) & Self.memorySpace == 0 {
        state.requireUnmapped(ranges, "\(address): the memory bit goes off")
      }
      if power != 0, Int(offset) == power + 4, value & 3 != 0 {
        state.requireUnmapped(ranges, "\(address): the device leaves D0")
      }
    }
    try check(region, offset, width)
    guard isConfig else {
      memory[region]?.store(offset, width, value)
      return
    }
    state.withLock { state in
      for byte in 0..<width where Int(offset) + byte >= 4 {
        let at = Int(offset) + byte
        var stuck: UInt8 = 0
        if at == Self.command { stuck = UInt8(truncatingIfNeeded: state.stuckCommand) }
        let new = UInt8(truncatingIfNeeded: value >> UInt64(byte * 8))
        state.config[at] = state.config[at] & stuck | new & ~stuck
      }
    }
    if offset <= UInt64(Self.command), offset + UInt64(width) > UInt64(Self.command) { reportMemory() }
  }

  package func readAll(_ region: Int, count: Int) throws(OperationError) -> [UInt8] {
    try world.perform(.readAll(region: region)) { _ in }
    guard isOpen else { throw OperationError("fake device is closed", errno: 9) }
    switch region {
    case RegionIndex.config: return state.withLock { Array($0.config.prefix(count)) }
    case RegionIndex.rom: return Array(shape.rom.prefix(count))
    default: return []
    }
  }

  package func map(_ region: Int, _ area: Range<UInt64>) throws(OperationError) -> UInt64 {
    try world.perform(.mapBAR(region)) { _ in }
    guard region < memory.count, let bar = memory[region] else {
      throw OperationError("fake region \(region) has no memory")
    }
    return bar.mapping.address + area.lowerBound
  }

  package func dmaBuffer(_ region: Int, _ range: Range<UInt64>) throws(OperationError) -> Int32 {
    let (address, host) = (address, memory.indices.contains(region) ? memory[region]?.mapping.address : nil)
    let size = range.upperBound - range.lowerBound
    return try world.perform(.dmaBuffer(region, range.lowerBound, size)) { state throws(OperationError) in
      guard let host else { throw OperationError("fake region \(region) has no memory", errno: 19) }
      let buffer = FakeWorld.Buffer(device: address, host: host + range.lowerBound, size: size)
      if let known = state.buffers.first(where: { $0.value == buffer }) { return known.key }
      let number = Int32(1000 + state.buffers.count)
      state.buffers[number] = buffer
      return number
    }
  }

  package func interruptInfo(_ kind: InterruptKind) -> InterruptInfo {
    shape.interrupts[kind] ?? InterruptInfo(count: 0, isFixed: false)
  }

  package func enableInterrupts(_ kind: InterruptKind, count: Int) throws(OperationError) -> Int {
    try world.perform(.enable(kind, count)) { _ in }
    return try state.withLock { state throws(OperationError) in
      guard state.isOpen else { throw OperationError("fake device is closed", errno: 9) }
      guard state.on == nil else { throw OperationError("fake \(kind): another kind is on", errno: 22) }
      state.on = kind
      state.triggers = [:]
      return min(count, shape.hostVectors)
    }
  }

  package func disableInterrupts(_ kind: InterruptKind) throws(OperationError) {
    try world.perform(.disable(kind)) { _ in }
    state.withLock { state in
      if state.on == kind { (state.on, state.triggers, state.unmask) = (nil, [:], nil) }
    }
  }

  package func setTrigger(_ kind: InterruptKind, vector: Int, event: Int32) throws(OperationError) {
    try world.perform(.trigger(kind, vector)) { _ in }
    try state.withLock { state throws(OperationError) in
      switch kind {
      case .error, .request: state.notifications[kind] = event
      case .intx:
        guard state.on == nil || state.on == .intx else {
          throw OperationError("fake intx: another kind is on", errno: 22)
        }
        state.on = .intx
        state.triggers[vector] = event
      case .msi, .msix:
        guard state.on == kind else { throw OperationError("fake \(kind): the kind is off", errno: 22) }
        state.triggers[vector] = event
      }
    }
  }

  package func setUnmask(event: Int32) throws(OperationError) {
    try world.perform(.unmask) { _ in }
    state.withLock { $0.unmask = event }
  }

  package func reset() throws(OperationError) {
    let (ranges, address) = (memoryRanges(), address)
    world.state.withLock { $0.resetting }()
    try world.perform(.reset) { state in state.requireUnmapped(ranges, "\(address): the device is reset") }
    resetRegisters()
  }

  package func resetBus() throws(OperationError) {
    let (ranges, address) = (memoryRanges(), address)
    try world.perform(.resetBus) { state in state.requireUnmapped(ranges, "\(address): the bus is reset") }
    resetRegisters()
  }

  package func reopen() throws(OperationError) {
    let (ranges, address) = (memoryRanges(), address)
    state.withLock { $0.isOpen = false }
    try world.perform(.reopen) { state in state.requireUnmapped(ranges, "\(address): the device is closed") }
    state.withLock { state in
      state.isOpen = true
      state.config = shape.config
      (state.on, state.triggers, state.unmask, state.notifications) = (nil, [:], nil, [:])
    }
    reportMemory()
  }

  /// Clears or sets the memory bit outside the VM, as another program of the host can.
  package func setMemoryOutside(_ isEnabled: Bool) {
    state.withLock { state in
      let bit = UInt8(truncatingIfNeeded: Self.memorySpace)
      state.config[Self.command] =
        isEnabled ? state.config[Self.command] | bit : state.config[Self.command] & ~bit
    }
    reportMemory()
  }

  /// Reports the memory bit to the world, which revokes the mappings of dma-bufs if it is clear.
  private func reportMemory() {
    let (address, isEnabled) = (address, command & Self.memorySpace != 0)
    world.state.withLock { $0.setMemory(of: address, isEnabled) }
  }

  /// Resets the registers.
  private func resetRegisters() {
    defer { reportMemory() }
    state.withLock { state in
      state.config[Self.command] = UInt8(truncatingIfNeeded: state.stuckCommand)
      state.config[Self.command + 1] = 0
      if shape.power != 0 { state.config[shape.power + 4] &= ~3 }
    }
  }

  package func close() {
    let (ranges, address) = (memoryRanges(), address)
    world.note(.close) { state in state.requireUnmapped(ranges, "\(address): the device is closed") }
    state.withLock { $0.isOpen = false }
  }
}
