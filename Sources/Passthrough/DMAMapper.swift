// SPDX-License-Identifier: Apache-2.0

public import GuestMemory
public import Linux
internal import Synchronization
public import VFIO

/// What devices can reach: guest RAM, pinned in the background, and windows of their peers. I/O
/// addresses are guest-physical ones.
///
/// Devices of one VM share one I/O address space, unless their policies for each other differ.
public final class DMAMapper: Sendable {
  /// An I/O address space and the devices in it.
  public struct Space: Sendable {
    let container: Container
    let devices: [String]
    let ranges: [ClosedRange<UInt64>]

    /// Asks the container for what it can translate.
    public init(_ container: Container, devices: [String]) throws(KernelError) {
      self.container = container
      self.devices = devices
      ranges = try container.ranges()
    }

    func isTranslatable(_ start: UInt64, _ size: UInt64) -> Bool {
      ranges.isEmpty || ranges.contains { $0.contains(start) && $0.contains(start + size - 1) }
    }
  }

  private let spaces: [Space]
  private let memory: GuestMemory
  private let done: Event
  /// Set by the pinning thread before `done`, read by those who have waited for `done`.
  private let outcome = Mutex<KernelError?>(nil)

  /// RAM goes to the IOMMU in pieces of this size, so that neither a VM that ends nor a window that
  /// opens meanwhile waits for all of it.
  private static let piece: UInt64 = 128 << 20

  /// Prepares the mapper; nothing is mapped yet.
  public init(_ spaces: [Space], memory: GuestMemory) throws(KernelError) {
    self.spaces = spaces
    self.memory = memory
    done = try Event()
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
      for space in spaces {
        for region in memory.regions {
          try pin(region, in: space, shouldStop: shouldStop, mapped: mapped)
        }
      }
    } catch {
      let failure = error
      outcome.withLock { $0 = failure }
    }
  }

  private func pin(
    _ region: GuestMemory.Region, in space: Space, shouldStop: () -> Bool,
    mapped: (UInt64, UInt64, Int64) -> Void
  ) throws(KernelError) {
    var offset: UInt64 = 0
    while offset < region.size, !shouldStop() {
      let size = min(Self.piece, region.size - offset)
      let start = Clock.microseconds()
      try space.container.map(
        iova: region.base.rawValue + offset, size: size, host: region.hostAddress + offset)
      mapped(region.base.rawValue + offset, size, Clock.microseconds() - start)
      offset += size
    }
  }

  /// Waits until guest RAM is pinned; until then no device may be a bus master.
  public func waitUntilPinned() throws(KernelError) {
    try done.wait()
    if let failure { throw failure }
  }

  /// Why guest RAM could not be pinned; nil where it could, or while that is not known.
  public var failure: KernelError? { outcome.withLock { $0 } }

  /// Maps a window for the devices of a space.
  ///
  /// - Parameter base: Where they see it; a multiple of the page size.
  func map(window base: UInt64, size: UInt64, host: UInt64, in space: Int) throws(KernelError) {
    guard spaces[space].isTranslatable(base, size) else {
      let ranges = spaces[space].ranges.map { Self.text($0.lowerBound, $0.upperBound) }
      throw KernelError(
        "the IOMMU translates only \(ranges.joined(separator: ", "))", errno: KernelError.invalid)
    }
    try spaces[space].container.map(iova: base, size: size, host: host)
  }

  /// Takes a window away from the devices of a space.
  func unmap(window base: UInt64, size: UInt64, in space: Int) throws(KernelError) {
    try spaces[space].container.unmap(iova: base, size: size)
  }

  /// The devices of a space, less the one whose windows are meant.
  func peers(in space: Int, of device: String) -> String {
    spaces[space].devices.filter { $0 != device }.joined(separator: ", ")
  }

  static func text(_ first: UInt64, _ last: UInt64) -> String {
    "0x\(String(first, radix: 16))-0x\(String(last, radix: 16))"
  }
}
