// SPDX-License-Identifier: Apache-2.0

internal import Linux
public import Seams
internal import Synchronization

/// A PCI function in another process. After the end of the connection every throwing method throws.
public final class RemoteDevice: PCIDevice {
  /// The name of the connection with the prefix `vfio-user:`. It names the device in every message.
  public let address: String
  /// True if DEVICE_RESET works.
  public let hasReset: Bool
  /// Always nil: the device has no bus that this process can reset.
  public let busResetScope: [ResetDependent]? = nil
  /// The connection to the server.
  public let connection: Connection
  /// The regions, indexed by ``RegionIndex``; nil if the device does not have the region.
  private let regions: [RegionReply?]
  /// True if a store of a vCPU can reach a BAR without a message. It would pass a posted write.
  private let hasMappableBAR: Bool
  /// The kinds of interrupts, indexed by VFIO_PCI_*_IRQ_INDEX.
  private let interrupts: [InterruptInfo]
  private let isClosed = Atomic<Bool>(false)
  /// Taken by any thread for a change. No lock is taken inside it.
  private let mappings = Mutex<[MappedArea]>([])

  /// An area of a BAR that is mapped into this process.
  private final class MappedArea: Sendable {
    let mapping: Mapping

    init(_ mapping: consuming Mapping) { self.mapping = mapping }
  }

  /// The number of kinds of interrupts (VFIO_PCI_NUM_IRQS).
  private static let mostKinds: UInt32 = 5

  /// Reads the regions and the interrupts of a device.
  ///
  /// - Throws: An error after which the connection can have ended.
  public init(_ connection: Connection) throws(ConnectionError) {
    address = "vfio-user:\(connection.name)"
    self.connection = connection
    let info = try connection.deviceInfo()
    hasReset = info.flags.contains(.reset)
    var regions: [RegionReply?] = []
    for index in 0..<min(info.regions, UInt32(RegionIndex.config + 1)) {
      let reply = try connection.regionInfo(index)
      regions.append(reply.info.regionSize > 0 ? reply : nil)
    }
    self.regions = regions
    hasMappableBAR = regions.prefix(RegionIndex.rom).contains { $0?.file != nil }
    var interrupts: [InterruptInfo] = []
    for index in 0..<min(info.interrupts, Self.mostKinds) {
      let info = try connection.irqInfo(index)
      let count = info.flags.contains(.eventfd) ? Int(info.count) : 0
      interrupts.append(InterruptInfo(count: count, isFixed: info.flags.contains(.fixed)))
    }
    self.interrupts = interrupts
  }

  /// False after ``close()``, and after the end of the connection.
  public var isOpen: Bool { !isClosed.load(ordering: .acquiring) && connection.failure == nil }

  /// Returns a region, or nil if the device does not have it. An area is mappable if the server has sent a descriptor
  /// and its bounds are whole pages.
  public func region(_ index: Int) -> DeviceRegion? {
    guard let reply = reply(index) else { return nil }
    let areas = reply.file == nil ? [] : reply.info.mappableAreas
    return DeviceRegion(
      size: reply.info.regionSize,
      mappable: areas.filter { $0.lowerBound % Self.pageSize == 0 && $0.upperBound % Self.pageSize == 0 })
  }

  private static let pageSize: UInt64 = 4096

  private func reply(_ index: Int) -> RegionReply? { regions.indices.contains(index) ? regions[index] : nil }

  /// Reads 1, 2, 4 or 8 bytes of a region by a message, little-endian.
  public func read(_ region: Int, offset: UInt64, width: Int) throws(OperationError) -> UInt64 {
    try requireRange(region, offset, width)
    return try perform { connection throws(ConnectionError) in
      try connection.read(UInt32(region), offset: offset, width: width)
    }
  }

  /// Writes 1, 2, 4 or 8 bytes of a region by a message, little-endian. Waits for the server's reply, unless the region is
  /// a BAR and the write can be posted (``PostedWrites``).
  public func write(_ region: Int, offset: UInt64, width: Int, _ value: UInt64) throws(OperationError) {
    try requireRange(region, offset, width)
    try perform { connection throws(ConnectionError) in
      try connection.write(
        UInt32(region), offset: offset, width: width, value,
        isPosted: !hasMappableBAR && region < RegionIndex.rom)
    }
  }

  /// Reads up to `count` bytes from the start of a region, in pieces that the server accepts.
  public func readAll(_ region: Int, count: Int) throws(OperationError) -> [UInt8] {
    let total = min(count, Int(clamping: reply(region)?.info.regionSize ?? 0))
    var bytes: [UInt8] = []
    while bytes.count < total {
      let piece = min(total - bytes.count, connection.transferLimit)
      bytes += try perform { connection throws(ConnectionError) in
        try connection.read(UInt32(region), offset: UInt64(bytes.count), count: piece)
      }
    }
    return bytes
  }

  private func requireRange(_ region: Int, _ offset: UInt64, _ width: Int) throws(OperationError) {
    let size = reply(region)?.info.regionSize ?? 0
    guard offset <= size, UInt64(width) <= size - offset else {
      throw OperationError("access region \(region): the access ends beyond the region")
    }
  }

  /// Maps a mappable area of a BAR and returns its host virtual address. The address is congruent with the area's offset
  /// in the BAR. An access faults with SIGBUS if the server truncates its file.
  public func map(_ region: Int, _ area: Range<UInt64>) throws(OperationError) -> UInt64 {
    guard let reply = reply(region), let file = reply.file,
      reply.info.mappableAreas.contains(where: {
        $0.contains(area.lowerBound) && area.upperBound <= $0.upperBound
      })
    else { throw OperationError("mmap region \(region): the server has no descriptor of this area") }
    let one: MappedArea
    do throws(KernelError) {
      one = MappedArea(
        try Mapping(
          descriptor: file.number, offset: reply.info.fileOffset + area.lowerBound,
          size: area.upperBound - area.lowerBound, congruentWith: area.lowerBound))
    } catch { throw OperationError(error) }
    mappings.withLock { $0.append(one) }
    return one.mapping.address
  }

  /// Throws an error: a server has no dma-buf.
  public func dmaBuffer(_ region: Int, _ range: Range<UInt64>) throws(OperationError) -> Int32 {
    throw OperationError("export region \(region): a device of vfio-user has no dma-buf")
  }

  /// Returns the number of vectors of a kind, 0 if the device does not have the kind.
  public func interruptInfo(_ kind: InterruptKind) -> InterruptInfo {
    let index = Int(kind.index)
    return index < interrupts.count ? interrupts[index] : InterruptInfo(count: 0, isFixed: false)
  }

  /// Returns the number of vectors: `count`, or fewer if the device has fewer. The server enables a vector with its
  /// eventfd.
  public func enableInterrupts(_ kind: InterruptKind, count: Int) throws(OperationError) -> Int {
    min(count, interruptInfo(kind).count)
  }

  /// Disables a kind of interrupt.
  public func disableInterrupts(_ kind: InterruptKind) throws(OperationError) {
    try perform { connection throws(ConnectionError) in try connection.disableInterrupts(kind.index) }
  }

  /// Sets an eventfd as the trigger of a vector.
  public func setTrigger(_ kind: InterruptKind, vector: Int, event: Int32) throws(OperationError) {
    try perform { connection throws(ConnectionError) in
      try connection.setTriggers(kind.index, start: UInt32(vector), events: [event])
    }
  }

  /// Sets the eventfd that unmasks INTx.
  public func setUnmask(event: Int32) throws(OperationError) {
    try perform { connection throws(ConnectionError) in
      try connection.setUnmask(InterruptKind.intx.index, event: event)
    }
  }

  /// Resets the device. The deadline is ``Connection/Configuration/quietDeadline``.
  public func reset() throws(OperationError) {
    try perform { connection throws(ConnectionError) in try connection.reset() }
  }

  /// Throws an error: the device has no bus.
  public func resetBus() throws(OperationError) {
    throw OperationError("reset bus: a device of vfio-user has no bus")
  }

  /// Turns every interrupt off and resets the device. The server has no earlier registers that it could restore, and the
  /// connection and the mappings stay.
  public func reopen() throws(OperationError) {
    for kind in InterruptKind.allCases where interruptInfo(kind).count > 0 { try disableInterrupts(kind) }
    try reset()
  }

  /// Unmaps the device and ends the connection.
  public func close() {
    isClosed.store(true, ordering: .releasing)
    mappings.withLock { $0 = [] }
    connection.close()
  }

  private func perform<Result>(
    _ body: (Connection) throws(ConnectionError) -> Result
  ) throws(OperationError) -> Result {
    do throws(ConnectionError) { return try body(connection) } catch { throw OperationError(error) }
  }
}

extension InterruptKind {
  /// VFIO_PCI_*_IRQ_INDEX.
  fileprivate var index: UInt32 {
    switch self {
    case .intx: 0
    case .msi: 1
    case .msix: 2
    case .error: 3
    case .request: 4
    }
  }
}
