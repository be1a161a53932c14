// SPDX-License-Identifier: Apache-2.0

public import GuestMemory
internal import Linux
public import Seams
internal import Synchronization

/// What devices can reach: guest RAM, pinned in the background, and windows of their peers. I/O
/// addresses are guest-physical ones.
///
/// Devices of one VM share one I/O address space, unless their policies for each other differ.
public final class DMAMapper<Space: IOAddressSpace>: Sendable {
  /// An I/O address space and the devices in it.
  public struct Member: Sendable {
    let space: Space
    let devices: [String]
    let limits: IOLimits
    var ranges: [ClosedRange<UInt64>] { limits.ranges }

    /// Asks the space for what it can map.
    public init(_ space: Space, devices: [String]) throws(OperationError) {
      self.space = space
      self.devices = devices
      limits = try space.limits()
    }

    func isTranslatable(_ start: UInt64, _ size: UInt64) -> Bool {
      DMARange.isTranslatable(start, size, ranges)
    }
  }

  private let spaces: [Member]
  private let memory: GuestMemory
  private let done: EventFD
  /// Set by the last pinning thread before `done`, read by those who have waited for `done`. Innermost in the lock
  /// order.
  private let outcome = Mutex<OperationError?>(nil)
  /// Set before `done` if all of guest RAM is pinned; read by every thread that would wait.
  private let isPinned = Atomic<Bool>(false)

  /// Guest RAM is pinned in pieces of so many bytes, one mapping each.
  public let pieceSize: UInt64
  /// For each address space, how many mappings there are for windows.
  public let windowMappings: [Int]

  /// Prepares the mapper; nothing is mapped yet.
  public init(_ spaces: [Member], memory: GuestMemory) throws(OperationError) {
    self.spaces = spaces
    self.memory = memory
    let least = spaces.map(\.limits.mappings).min() ?? 0
    let size = max(DMARange.pieceSize(memory: memory.size, mappings: least), memory.pageSize)
    let pieces = memory.pieces(of: size).count
    pieceSize = size
    windowMappings = spaces.map { max(0, $0.limits.mappings - pieces) }
    do throws(KernelError) { done = try EventFD() } catch { throw OperationError(error) }
  }

  /// The first I/O address that an IOMMU cannot translate, as far as they say.
  public var limit: UInt64? {
    spaces.compactMap { $0.ranges.last.map { $0.upperBound == .max ? .max : $0.upperBound + 1 } }.min()
  }

  /// The first piece of RAM that an IOMMU cannot translate, where there is one.
  public func unreachable() -> GuestMemory.Region? {
    memory.regions.first { region in
      !spaces.allSatisfy { $0.isTranslatable(region.base.rawValue, region.size) }
    }
  }

  /// Maps and pins a piece of guest RAM in every address space, while the guest starts. Several threads may
  /// do this at once with different pieces.
  ///
  /// - Parameter mapped: Told of each mapping: I/O address, bytes, microseconds.
  public func pinMemory(
    _ piece: GuestMemory.Region, mapped: (UInt64, UInt64, Int64) -> Void
  ) throws(OperationError) {
    for space in spaces {
      let start = Clock.microseconds()
      try space.space.map(iova: piece.base.rawValue, size: piece.size, host: piece.hostAddress)
      mapped(piece.base.rawValue, piece.size, Clock.microseconds() - start)
    }
  }

  /// Ends every wait for pinned RAM.
  ///
  /// - Parameters:
  ///   - failure: Why it could not be pinned, or nil.
  ///   - isComplete: False if the VM ended before all of it was pinned.
  public func finishPinning(_ failure: OperationError?, isComplete: Bool = true) {
    outcome.withLock { $0 = failure }
    if failure == nil, isComplete { isPinned.store(true, ordering: .releasing) }
    done.signal()
  }

  /// Waits until guest RAM is pinned; until then no device may be a bus master. No lock is held meanwhile.
  ///
  /// - Parameter end: Ends the wait when it is signalled.
  /// - Returns: True if guest RAM is pinned, false if `end` or the end of the VM came first.
  /// - Throws: Why guest RAM could not be pinned.
  func waitUntilPinned(orUntil end: borrowing EventFD) throws(OperationError) -> Bool {
    if isPinned.load(ordering: .acquiring) { return true }
    do throws(KernelError) { guard try done.wait(orFor: end) else { return false } } catch {
      throw OperationError(error)
    }
    if let failure = outcome.withLock({ $0 }) { throw failure }
    return isPinned.load(ordering: .acquiring)
  }

  /// Takes guest RAM from the devices, at the end of the VM, as far as it has been pinned, and lets go of its pages.
  ///
  /// - Parameter unmapped: Told of each region of which anything was mapped: I/O address, bytes that were mapped, microseconds.
  public func unpinMemory(unmapped: (UInt64, UInt64, Int64) -> Void) throws(OperationError) {
    for space in spaces {
      for region in memory.regions {
        let start = Clock.microseconds()
        let size = try space.space.unmapAll(iova: region.base.rawValue, size: region.size)
        if size > 0 { unmapped(region.base.rawValue, size, Clock.microseconds() - start) }
      }
    }
  }

  /// Maps a window, or neighbouring ones, for the devices of a space.
  ///
  /// - Parameter base: Where they see it; a multiple of the page size.
  func map(windows base: UInt64, size: UInt64, host: UInt64, in space: Int) throws(OperationError) {
    guard spaces[space].isTranslatable(base, size) else {
      let ranges = spaces[space].ranges.map { DMARange.text($0.lowerBound, $0.upperBound) }
      throw OperationError("the IOMMU translates only \(ranges.joined(separator: ", "))")
    }
    // Guest RAM has its addresses from the start, pinned yet or not: a mapping in its way would fail the pinning.
    if let region = DMARange.overlap(base, size, memory.regions) {
      throw OperationError(
        "guest RAM is at \(DMARange.text(region.base.rawValue, region.base.rawValue + (region.size - 1)))")
    }
    try spaces[space].space.map(iova: base, size: size, host: host)
  }

  /// Takes windows that follow each other away from the devices of a space.
  func unmap(windows base: UInt64, size: UInt64, in space: Int) throws(OperationError) {
    // The kernel removes whole mappings and returns their bytes. With fewer than expected nothing is left either.
    _ = try spaces[space].space.unmapAll(iova: base, size: size)
  }

  /// The devices of a space but one; that one if there is no other.
  func peers(in space: Int, of device: String) -> String {
    let others = spaces[space].devices.filter { $0 != device }
    return others.isEmpty ? device : others.joined(separator: ", ")
  }
}

/// Ranges of I/O addresses, and the pieces in which guest RAM is mapped.
public enum DMARange {
  /// True if all of a range of I/O addresses, which does not wrap, is in one of those that an IOMMU names.
  static func isTranslatable(_ start: UInt64, _ size: UInt64, _ ranges: [ClosedRange<UInt64>]) -> Bool {
    guard size > 0, size - 1 <= .max - start else { return false }
    let last = start + (size - 1)
    return ranges.isEmpty || ranges.contains { $0.contains(start) && $0.contains(last) }
  }

  /// Small enough that neither a VM that ends nor a window that opens meanwhile waits for long.
  public static let smallestPiece: UInt64 = 128 << 20
  /// RAM has no more pieces than about this, however large it is.
  private static let mostPieces = 1024

  /// The size of the pieces in which guest RAM is pinned: three quarters of the mappings stay for windows.
  ///
  /// - Parameters:
  ///   - memory: Bytes of RAM.
  ///   - mappings: How many mappings an address space can have.
  static func pieceSize(memory: UInt64, mappings: Int) -> UInt64 {
    let most = UInt64(max(1, min(mostPieces, mappings / 4)))
    var size = smallestPiece
    while memory / size > most { size <<= 1 }
    return size
  }

  /// The RAM that shares an address with a range, or nil.
  static func overlap(_ base: UInt64, _ size: UInt64, _ regions: [GuestMemory.Region]) -> GuestMemory.Region?
  {
    // Differences only: a range may end at 2^64.
    regions.first { region in
      let start = region.base.rawValue
      return start >= base ? start - base < size : base - start < region.size
    }
  }

  static func text(_ first: UInt64, _ last: UInt64) -> String {
    "\(first.hexadecimal)-\(last.hexadecimal)"
  }
}
