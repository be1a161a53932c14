// SPDX-License-Identifier: Apache-2.0

public import GuestMemory
public import Linux
internal import Synchronization
public import VFIO

/// What devices can reach: guest RAM, pinned in the background, and the open windows of their
/// peers. I/O addresses are guest-physical ones.
public final class DMAMapper: Sendable {
  private let container: Container
  private let memory: GuestMemory
  private let ranges: [ClosedRange<UInt64>]
  /// Whether windows of BARs are mapped: there has to be a peer to reach them.
  private let hasPeers: Bool
  private let done: Event
  /// Set by the pinning thread before `done`, read by those who have waited for `done`.
  private let outcome = Mutex<KernelError?>(nil)

  /// RAM goes to the IOMMU in pieces of this size, so that neither a VM that ends nor a window that
  /// opens meanwhile waits for all of it.
  private static let piece: UInt64 = 128 << 20

  /// Prepares the mapper; nothing is mapped yet.
  public init(_ container: Container, memory: GuestMemory, hasPeers: Bool) throws(KernelError) {
    self.container = container
    self.memory = memory
    self.hasPeers = hasPeers
    ranges = try container.ranges()
    done = try Event()
  }

  /// The first I/O address that the IOMMU cannot translate, as far as it says.
  public var limit: UInt64? { ranges.last.map { $0.upperBound == .max ? .max : $0.upperBound + 1 } }

  /// The first piece of RAM that the IOMMU cannot translate, where there is one.
  public func unreachable() -> GuestMemory.Region? {
    memory.regions.first { !isTranslatable($0.base.rawValue, $0.size) }
  }

  private func isTranslatable(_ start: UInt64, _ size: UInt64) -> Bool {
    ranges.isEmpty || ranges.contains { $0.contains(start) && $0.contains(start + size - 1) }
  }

  /// Maps and pins all of guest RAM; runs on a thread of its own while the guest starts.
  ///
  /// - Parameters:
  ///   - shouldStop: Asked between pieces; true when the VM is ending.
  ///   - mapped: Told of each piece: I/O address, bytes, microseconds.
  public func pinMemory(
    shouldStop: () -> Bool, mapped: (UInt64, UInt64, Int64) -> Void
  ) {
    defer { done.signal() }
    do throws(KernelError) {
      for region in memory.regions {
        var offset: UInt64 = 0
        while offset < region.size, !shouldStop() {
          let size = min(Self.piece, region.size - offset)
          let start = Clock.microseconds()
          try container.map(
            iova: region.base.rawValue + offset, size: size, host: region.hostAddress + offset)
          mapped(region.base.rawValue + offset, size, Clock.microseconds() - start)
          offset += size
        }
      }
    } catch {
      let failure = error
      outcome.withLock { $0 = failure }
    }
  }

  /// Waits until guest RAM is pinned; until then no device may be a bus master.
  public func waitUntilPinned() throws(KernelError) {
    try done.wait()
    if let failure { throw failure }
  }

  /// Why guest RAM could not be pinned; nil where it could, or while that is not known.
  public var failure: KernelError? { outcome.withLock { $0 } }

  /// Maps a window for the other devices; false where there are none.
  public func map(window base: UInt64, size: UInt64, host: UInt64) throws(KernelError) -> Bool {
    guard hasPeers else { return false }
    guard isTranslatable(base, size) else {
      throw KernelError(
        "IOVA 0x\(String(base, radix: 16)), \(size) bytes, is outside of what the IOMMU translates",
        errno: KernelError.invalid)
    }
    try container.map(iova: base, size: size, host: host)
    return true
  }

  /// Takes a window away from the other devices.
  public func unmap(window base: UInt64, size: UInt64) throws(KernelError) {
    try container.unmap(iova: base, size: size)
  }
}
