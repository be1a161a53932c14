// SPDX-License-Identifier: Apache-2.0

internal import GuestMemory
internal import Linux
internal import Seams
internal import Synchronization
internal import Trace
internal import VFIOUser

/// A device in another process, with its access to guest RAM.
///
/// A process ignores Bus Master Enable. This type therefore owns the access: guest RAM is mapped for the process before
/// a write that sets the bit, and unmapped after a write that clears it and before a reset.
final class ServerDevice: PCIDevice {
  /// Called after a region of guest RAM was mapped for a device, or unmapped: the operation, the device, the IOVA, the size
  /// in bytes and the duration in microseconds.
  typealias Observer =
    @Sendable (TraceEvent.MapOperation, _ device: String, _ iova: UInt64, _ size: UInt64, Int64) -> Void

  private let remote: RemoteDevice
  private let space: RemoteAddressSpace
  private let regions: [GuestMemory.Region]
  private let shared: Observer
  /// True while guest RAM is mapped. Held by any thread for the requests of a change. The locks of the connection are
  /// taken inside it.
  private let isGranted = Mutex(false)
  private let isClosed = Atomic<Bool>(false)
  /// Taken by any thread for a short time. No lock is taken inside it.
  private let departure = Mutex(Departure())

  /// The report that the device has left by itself.
  private struct Departure {
    /// The eventfd of `InterruptKind.request`, or nil.
    var event: Int32?
    /// True after the end of ``ServerDevice/serve()``.
    var hasEnded = false
  }

  /// COMMAND and its bit Bus Master Enable (PCI 3.0 §6.2.2).
  private static let command: UInt64 = 4
  private static let busMaster: UInt64 = 1 << 2

  /// Creates a device from a connection. Its process cannot access guest RAM yet.
  init(
    _ remote: RemoteDevice, _ space: RemoteAddressSpace, _ regions: [GuestMemory.Region],
    shared: @escaping Observer
  ) {
    (self.remote, self.space, self.regions, self.shared) = (remote, space, regions, shared)
  }

  // MARK: The connection

  /// Leaves the receipt of messages to ``serve()``.
  func prepareToServe() { remote.connection.prepareToServe() }

  /// Receives the messages of the process until the connection ends. If the process has ended it, signals
  /// `InterruptKind.request`, as the kernel does for a device that has been unplugged.
  func serve() {
    remote.connection.serve()
    departure.withLock { departure in
      departure.hasEnded = true
      if let event = departure.event { EventFD.signal(event) }
    }
  }

  /// Ends the connection, because the thread of ``serve()`` cannot begin.
  func abandon(_ error: KernelError) { remote.connection.abandon(error) }

  var loss: OperationError? {
    guard let failure = remote.connection.failure, failure.cause != .closed else { return nil }
    return OperationError(failure)
  }

  var address: String { remote.address }
  var isOpen: Bool { !isClosed.load(ordering: .acquiring) }

  func close() {
    isClosed.store(true, ordering: .releasing)
    departure.withLock { $0.event = nil }
    remote.close()
  }

  // MARK: Guest RAM

  /// The upper byte of STATUS, whose error bits a write clears (PCI 3.0 §6.2.3).
  private static let upperStatus: UInt64 = 7

  /// The value of Bus Master Enable in a write to configuration space, or nil if the write does not change COMMAND.
  private static func busMaster(_ offset: UInt64, _ width: Int, _ value: UInt64) -> Bool? {
    guard offset <= command, command - offset < UInt64(width) else { return nil }
    return value >> (8 * (command - offset)) & busMaster != 0
  }

  /// Lets the process access guest RAM.
  private func grant(_ isGranted: inout Bool) throws(OperationError) {
    guard !isGranted else { return }
    isGranted = true
    do throws(OperationError) {
      for region in regions {
        let start = Clock.microseconds()
        try space.map(
          iova: region.base.rawValue, size: region.size, host: region.hostAddress, sharedWith: nil)
        report(.map, region, since: start)
      }
    } catch {
      revoke(&isGranted)
      throw error
    }
  }

  /// Takes the access to guest RAM from the process. If the process refuses, the connection ends.
  private func revoke(_ isGranted: inout Bool) {
    guard isGranted else { return }
    isGranted = false
    for region in regions {
      let start = Clock.microseconds()
      do throws(OperationError) {
        guard try space.unmapAll(iova: region.base.rawValue, size: region.size) > 0 else { continue }
      } catch { return remote.connection.abandon(.dmaUnmap, errno: error.errno) }
      report(.unmap, region, since: start)
    }
  }

  private func report(_ operation: TraceEvent.MapOperation, _ region: GuestMemory.Region, since start: Int64)
  {
    shared(operation, address, region.base.rawValue, region.size, Clock.microseconds() - start)
  }

  func write(_ region: Int, offset: UInt64, width: Int, _ value: UInt64) throws(OperationError) {
    // libvfio-user's server refuses a part of STATUS. A write of zeros does not change the lower byte.
    if region == RegionIndex.config, offset == Self.upperStatus, width == 1 {
      return try remote.write(region, offset: offset - 1, width: 2, value << 8)
    }
    guard region == RegionIndex.config, let isMaster = Self.busMaster(offset, width, value) else {
      return try remote.write(region, offset: offset, width: width, value)
    }
    try isGranted.withLock { isGranted throws(OperationError) in
      if isMaster { try grant(&isGranted) }
      defer { if !isMaster { revoke(&isGranted) } }
      try remote.write(region, offset: offset, width: width, value)
    }
  }

  func reset() throws(OperationError) {
    try isGranted.withLock { isGranted throws(OperationError) in
      revoke(&isGranted)
      try remote.reset()
    }
  }

  func reopen() throws(OperationError) {
    try isGranted.withLock { isGranted throws(OperationError) in
      revoke(&isGranted)
      try remote.reopen()
    }
  }

  // MARK: Interrupts

  /// Returns the number of vectors of a kind. A request for the device always exists: this process reports the end of the
  /// connection.
  func interruptInfo(_ kind: InterruptKind) -> InterruptInfo {
    kind == .request ? InterruptInfo(count: 1, isFixed: false) : remote.interruptInfo(kind)
  }

  func setTrigger(_ kind: InterruptKind, vector: Int, event: Int32) throws(OperationError) {
    guard kind == .request else { return try remote.setTrigger(kind, vector: vector, event: event) }
    departure.withLock { departure in
      departure.event = event
      if departure.hasEnded { EventFD.signal(event) }
    }
    if remote.interruptInfo(kind).count > 0 {
      try remote.setTrigger(kind, vector: vector, event: event)
    }
  }

  func enableInterrupts(_ kind: InterruptKind, count: Int) throws(OperationError) -> Int {
    let vectors = try remote.enableInterrupts(kind, count: count)
    try setMessageControl(kind, vectors: vectors)
    return vectors
  }

  func disableInterrupts(_ kind: InterruptKind) throws(OperationError) {
    try remote.disableInterrupts(kind)
    try setMessageControl(kind, vectors: 0)
  }

  private func setMessageControl(_ kind: InterruptKind, vectors: Int) throws(OperationError) {
    guard kind == .msi || kind == .msix else { return }
    let config = try remote.readAll(RegionIndex.config, count: 256)
    guard let control = MessageControl(kind, vectors: vectors, in: config) else { return }
    try remote.write(RegionIndex.config, offset: UInt64(control.offset), width: 2, UInt64(control.value))
  }

  func setUnmask(event: Int32) throws(OperationError) { try remote.setUnmask(event: event) }

  // MARK: Regions

  var hasReset: Bool { remote.hasReset }
  var busResetScope: [ResetDependent]? { remote.busResetScope }
  func resetBus() throws(OperationError) { try remote.resetBus() }
  func region(_ index: Int) -> DeviceRegion? { remote.region(index) }

  func read(_ region: Int, offset: UInt64, width: Int) throws(OperationError) -> UInt64 {
    try remote.read(region, offset: offset, width: width)
  }

  func readAll(_ region: Int, count: Int) throws(OperationError) -> [UInt8] {
    try remote.readAll(region, count: count)
  }

  func map(_ region: Int, _ area: Range<UInt64>) throws(OperationError) -> UInt64 {
    try remote.map(region, area)
  }

  func dmaBuffer(_ region: Int, _ range: Range<UInt64>) throws(OperationError) -> Int32 {
    try remote.dmaBuffer(region, range)
  }
}
