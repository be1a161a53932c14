// SPDX-License-Identifier: Apache-2.0

public import GuestMemory
internal import Linux
public import Seams
internal import Synchronization

/// The memory that devices reach by DMA: guest RAM, pinned in the background, and the windows of peer
/// devices. An IOVA equals the GPA.
///
/// Devices of one VM share one I/O address space, unless their policies for each other differ.
public final class DMAMapper<Space: IOAddressSpace>: Sendable {
  /// An I/O address space and the devices in it.
  public struct Member: Sendable {
    let space: Space
    let devices: [String]
    let limits: IOLimits
    var ranges: [ClosedRange<UInt64>] { limits.ranges }

    /// Creates a member and reads the limits of its space.
    public init(_ space: Space, devices: [String]) throws(OperationError) {
      self.space = space
      self.devices = devices
      limits = try space.limits()
    }

    func isTranslatable(_ start: UInt64, _ size: UInt64) -> Bool {
      DMARange.isTranslatable(start, size, ranges)
    }
  }

  /// The I/O address spaces. Any thread reads them, and the control thread adds the first one or removes all. Innermost in
  /// the lock order.
  private let members: Mutex<[Member]>
  private var spaces: [Member] { members.withLock { $0 } }
  private let memory: GuestMemory
  private let done: EventFD
  /// The cause if guest RAM could not be pinned, or nil. The last pinning thread sets it before `done`.
  /// Threads read it after they have waited for `done`. Innermost in the lock order.
  private let outcome = Mutex<OperationError?>(nil)
  /// True if all of guest RAM is pinned. It is set before `done`, and read by every thread before it waits.
  private let isPinned = Atomic<Bool>(false)

  /// The size of the pieces in which guest RAM is pinned, in bytes. Each piece is one mapping.
  public var pieceSize: UInt64 { Self.pieceSize(spaces, memory) }
  /// The number of mappings for windows in each I/O address space.
  public var windowMappings: [Int] {
    let spaces = spaces
    let pieces = memory.pieces(of: Self.pieceSize(spaces, memory)).count
    return spaces.map { max(0, $0.limits.mappings - pieces) }
  }

  private static func pieceSize(_ spaces: [Member], _ memory: GuestMemory) -> UInt64 {
    let least = spaces.map(\.limits.mappings).min() ?? 0
    return max(DMARange.pieceSize(memory: memory.size, mappings: least), memory.pageSize)
  }

  /// Creates a mapper. Nothing is mapped yet.
  public init(_ spaces: [Member], memory: GuestMemory) throws(OperationError) {
    // The throwing call is first: Swift 6.3.1's optimizer fails on the destruction of a Mutex in a partly initialized class.
    do throws(KernelError) { done = try EventFD() } catch { throw OperationError(error) }
    members = Mutex(spaces)
    self.memory = memory
  }

  /// True if there is no I/O address space. Nothing is pinned.
  public var isEmpty: Bool { spaces.isEmpty }

  /// The first IOVA after the last range of an IOMMU, the lowest of all IOMMUs, or nil if no IOMMU reports its
  /// ranges.
  public var limit: UInt64? {
    spaces.compactMap { $0.ranges.last.map { $0.upperBound == .max ? .max : $0.upperBound + 1 } }.min()
  }

  /// Returns the first region of RAM that an IOMMU cannot translate, or nil if there is none.
  public func unreachable() -> GuestMemory.Region? {
    memory.regions.first { region in
      !spaces.allSatisfy { $0.isTranslatable(region.base.rawValue, region.size) }
    }
  }

  /// Adds the first I/O address space while the VM runs, and maps and pins all guest RAM in it. No function exists.
  ///
  /// - Parameters:
  ///   - space: The space.
  ///   - shouldStop: Called before each mapping. Returns true if the VM is ending.
  ///   - mapped: Called for each mapping with its IOVA, bytes and microseconds.
  ///   - unmapped: After an error, as in ``unpinMemory(unmapped:)``.
  /// - Throws: The cause if the IOMMU does not translate a region of RAM, if RAM cannot be pinned, or if the VM is ending.
  ///   Nothing stays mapped, unless the error says so.
  public func add(
    _ space: Member, shouldStop: () -> Bool, mapped: (UInt64, UInt64, Int64) -> Void,
    unmapped: (UInt64, UInt64, Int64) -> Void
  ) throws(OperationError) {
    for region in memory.regions where !space.isTranslatable(region.base.rawValue, region.size) {
      throw OperationError(
        "the IOMMU does not translate guest RAM at \(DMARange.text(region.base.rawValue, region.base.rawValue + (region.size - 1)))"
      )
    }
    do throws(OperationError) {
      for piece in memory.pieces(of: Self.pieceSize([space], memory)) {
        if shouldStop() { throw OperationError("the VM is ending") }
        let start = Clock.microseconds()
        try space.space.map(
          iova: piece.base.rawValue, size: piece.size, host: piece.hostAddress, sharedWith: nil)
        mapped(piece.base.rawValue, piece.size, Clock.microseconds() - start)
      }
    } catch {
      do throws(OperationError) { try unpin(space, unmapped: unmapped) } catch let second {
        throw OperationError("\(error); guest RAM stays mapped: \(second)", errno: error.errno)
      }
      throw error
    }
    members.withLock { $0 = [space] }
  }

  /// Unmaps guest RAM and forgets every I/O address space, after the last device has been closed and before its group is.
  ///
  /// - Parameter unmapped: As in ``unpinMemory(unmapped:)``.
  /// - Returns: False if threads still pin guest RAM. Nothing has changed then.
  public func removeSpaces(unmapped: (UInt64, UInt64, Int64) -> Void) throws(OperationError) -> Bool {
    guard isPinned.load(ordering: .acquiring) else { return false }
    defer { members.withLock { $0 = [] } }
    try unpinMemory(unmapped: unmapped)
    return true
  }

  /// Maps and pins a piece of guest RAM in every I/O address space, while the guest starts. Several threads
  /// may pin different pieces concurrently.
  ///
  /// - Parameters:
  ///   - piece: The piece. Its IOVA is its GPA.
  ///   - mapped: Called for each mapping with its IOVA, bytes and microseconds.
  public func pinMemory(
    _ piece: GuestMemory.Region, mapped: (UInt64, UInt64, Int64) -> Void
  ) throws(OperationError) {
    for (index, space) in spaces.enumerated() {
      let start = Clock.microseconds()
      try space.space.map(
        iova: piece.base.rawValue, size: piece.size, host: piece.hostAddress,
        sharedWith: index == 0 ? nil : spaces[0].space)
      mapped(piece.base.rawValue, piece.size, Clock.microseconds() - start)
    }
  }

  /// Ends every wait for pinned RAM.
  ///
  /// - Parameters:
  ///   - failure: The cause if RAM could not be pinned, or nil.
  ///   - isComplete: False if the VM ended before all RAM was pinned.
  public func finishPinning(_ failure: OperationError?, isComplete: Bool = true) {
    outcome.withLock { $0 = failure }
    if failure == nil, isComplete { isPinned.store(true, ordering: .releasing) }
    done.signal()
  }

  /// Waits until guest RAM is pinned. No device may be a bus master before that. No lock is held during the
  /// wait.
  ///
  /// - Parameter end: The eventfd that ends the wait when it is signalled.
  /// - Returns: True if guest RAM is pinned, false if `end` or the end of the VM came first.
  /// - Throws: The cause if guest RAM could not be pinned.
  func waitUntilPinned(orUntil end: borrowing EventFD) throws(OperationError) -> Bool {
    if isPinned.load(ordering: .acquiring) { return true }
    do throws(KernelError) { guard try done.wait(orFor: end) else { return false } } catch {
      throw OperationError(error)
    }
    if let failure = outcome.withLock({ $0 }) { throw failure }
    return isPinned.load(ordering: .acquiring)
  }

  /// Unmaps guest RAM from every I/O address space at the end of the VM, and unpins its pages. RAM that was
  /// never pinned is skipped. No thread may pin RAM concurrently.
  ///
  /// - Parameter unmapped: Called for each region that had a mapping, with its IOVA, the bytes that were
  ///   mapped, and microseconds.
  public func unpinMemory(unmapped: (UInt64, UInt64, Int64) -> Void) throws(OperationError) {
    for space in spaces { try unpin(space, unmapped: unmapped) }
  }

  private func unpin(_ space: Member, unmapped: (UInt64, UInt64, Int64) -> Void) throws(OperationError) {
    for region in memory.regions {
      let start = Clock.microseconds()
      let size = try space.space.unmapAll(iova: region.base.rawValue, size: region.size)
      if size > 0 { unmapped(region.base.rawValue, size, Clock.microseconds() - start) }
    }
  }

  /// Maps a window, or adjoining windows, for the devices of a space.
  ///
  /// - Parameters:
  ///   - base: The IOVA; a multiple of the page size.
  ///   - size: The size in bytes; a multiple of the page size.
  ///   - memory: The windows' memory, in the form that ``needsDMABuffers(in:)`` states.
  ///   - space: The index of the I/O address space.
  func map(
    windows base: UInt64, size: UInt64, memory: WindowMemory, in space: Int
  ) throws(OperationError) {
    guard spaces[space].isTranslatable(base, size) else {
      let ranges = spaces[space].ranges.map { DMARange.text($0.lowerBound, $0.upperBound) }
      throw OperationError("the IOMMU translates only \(ranges.joined(separator: ", "))")
    }
    // Guest RAM occupies its addresses from the start, even before it is pinned. A mapping at such an address
    // would make the pinning fail.
    if let region = DMARange.overlap(base, size, self.memory.regions) {
      throw OperationError(
        "guest RAM is at \(DMARange.text(region.base.rawValue, region.base.rawValue + (region.size - 1)))")
    }
    try spaces[space].space.map(iova: base, size: size, window: memory)
  }

  /// True if a space maps windows by dma-buf.
  func needsDMABuffers(in space: Int) -> Bool { spaces[space].space.needsDMABuffers }

  /// Unmaps adjoining windows from the devices of a space.
  func unmap(windows base: UInt64, size: UInt64, in space: Int) throws(OperationError) {
    // The kernel removes whole mappings and returns their size. No mapping is left, even if the size is
    // smaller than expected.
    _ = try spaces[space].space.unmapAll(iova: base, size: size)
  }

  /// Lists the devices of a space other than one device, or that device if there is no other.
  func peers(in space: Int, of device: String) -> String {
    let others = spaces[space].devices.filter { $0 != device }
    return others.isEmpty ? device : others.joined(separator: ", ")
  }
}

/// Ranges of I/O addresses, and the pieces in which guest RAM is mapped.
public enum DMARange {
  /// True if one of the ranges that an IOMMU reports contains a whole range of IOVAs. The range must not
  /// wrap. Any range is translatable if the IOMMU reports none.
  static func isTranslatable(_ start: UInt64, _ size: UInt64, _ ranges: [ClosedRange<UInt64>]) -> Bool {
    guard size > 0, size - 1 <= .max - start else { return false }
    let last = start + (size - 1)
    return ranges.isEmpty || ranges.contains { $0.contains(start) && $0.contains(last) }
  }

  /// The smallest size of a piece, in bytes. It is small enough that the end of the VM or the opening of a
  /// window does not wait for long.
  public static let smallestPiece: UInt64 = 128 << 20
  /// The approximate maximum number of pieces, for any size of RAM.
  private static let mostPieces = 1024

  /// Returns the size of the pieces in which guest RAM is pinned, in bytes. Three quarters of the mappings
  /// remain for windows.
  ///
  /// - Parameters:
  ///   - memory: Bytes of RAM.
  ///   - mappings: The number of mappings that an I/O address space can have.
  static func pieceSize(memory: UInt64, mappings: Int) -> UInt64 {
    let most = UInt64(max(1, min(mostPieces, mappings / 4)))
    var size = smallestPiece
    while memory / size > most { size <<= 1 }
    return size
  }

  /// Returns the region of RAM that overlaps a range, or nil.
  static func overlap(_ base: UInt64, _ size: UInt64, _ regions: [GuestMemory.Region]) -> GuestMemory.Region?
  {
    // Compare differences: the end of a range may be 2^64.
    regions.first { region in
      let start = region.base.rawValue
      return start >= base ? start - base < size : base - start < region.size
    }
  }

  static func text(_ first: UInt64, _ last: UInt64) -> String {
    "\(first.hexadecimal)-\(last.hexadecimal)"
  }
}
