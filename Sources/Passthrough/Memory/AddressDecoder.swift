// SPDX-License-Identifier: Apache-2.0

internal import Gate
internal import PCI
internal import Synchronization

/// The addresses of the BARs of all functions of a VM, for look-ups without a function's lock.
///
/// A page that contains bytes of several memory BARs is not mapped. Every access to it is trapped and reaches
/// the same BAR, whatever was mapped before.
public final class AddressDecoder: Sendable {
  /// The addresses of one BAR. The type has no references, so that a look-up retains nothing.
  private struct Entry: Equatable {
    var function = 0
    var bar = 0
    var base: UInt64 = 0
    /// Bytes; 0 until the function is placed on the guest's bus.
    var size: UInt64 = 0
    var isPort = false
    var isEnabled = false
    /// True if no function has the entry.
    var isFree = true
  }

  /// Owner: all assigned functions. vCPU threads take the lock for a look-up. A change takes it inside the
  /// function's lock. No lock is taken inside it.
  private let entries = Mutex<[Entry]>([])
  /// Incremented after a BAR of any function has moved or its decoding has changed. vCPU threads read it.
  private let counter = Atomic<UInt64>(0)

  init() {}

  /// The number of changes of BARs.
  public var changes: UInt64 { counter.load(ordering: .acquiring) }

  /// Reserves entries for the BARs of a function. Returns the index of the first entry.
  func reserve(_ count: Int) -> Int {
    entries.withLock { entries in
      // The entries of a function that has left the VM are free.
      var start = entries.count
      while start > 0, entries[start - 1].isFree { start -= 1 }
      for first in 0..<max(0, start - count + 1) where entries[first..<first + count].allSatisfy(\.isFree) {
        start = first
        break
      }
      let end = start + count
      if end > entries.count {
        entries.append(contentsOf: repeatElement(Entry(), count: end - entries.count))
      }
      for index in start..<end { entries[index] = Entry(isFree: false) }
      return start
    }
  }

  /// Frees the entries of a function that has left the VM.
  func release(_ start: Int, _ count: Int) {
    entries.withLock { entries in
      for index in start..<start + count { entries[index] = Entry() }
    }
  }

  /// Stores the addresses of a function's BARs.
  ///
  /// - Parameters:
  ///   - start: The index from ``reserve(_:)``.
  ///   - function: The device and function number on the guest's bus.
  ///   - config: The guest's view of the function. It gives the BARs' addresses and enable bits.
  ///   - isAnswering: True if the function answers the accesses that its enable bits allow.
  func update(_ start: Int, function: Int, _ config: ConfigSpace, isAnswering: Bool) {
    let hasChanged = entries.withLock { entries in
      var hasChanged = false
      for index in config.bars.indices {
        let bar = config.bars[index]
        let now = Entry(
          function: function, bar: bar.index, base: config.base(of: bar), size: bar.size,
          isPort: bar.kind == .io, isEnabled: isAnswering && config.isEnabled(bar), isFree: false)
        if entries[start + index] != now { hasChanged = true }
        entries[start + index] = now
      }
      return hasChanged
    }
    if hasChanged { counter.add(1, ordering: .acquiringAndReleasing) }
  }

  /// Finds the BAR at an address. If BARs overlap, an enabled BAR takes precedence. A disabled BAR is found
  /// if no enabled BAR matches, so that its function counts the access.
  ///
  /// - Parameters:
  ///   - address: A GPA or a port.
  ///   - isPort: True for a port.
  public func find(_ address: UInt64, isPort: Bool) -> BARLocation? {
    entries.withLock { entries in
      var found: BARLocation?
      for index in entries.indices where entries[index].isPort == isPort && address >= entries[index].base {
        let offset = address - entries[index].base
        guard offset < entries[index].size, found == nil || entries[index].isEnabled else { continue }
        found = BARLocation(function: entries[index].function, bar: entries[index].bar, offset: offset)
        if entries[index].isEnabled { break }
      }
      return found
    }
  }

  /// True if the pages of a range contain bytes of more than one enabled memory BAR.
  ///
  /// - Parameters:
  ///   - base: The GPA of the range's first byte.
  ///   - size: Bytes, not 0.
  func isShared(_ base: UInt64, size: UInt64) -> Bool {
    let (first, last) = Self.pages(base, size)
    return entries.withLock { entries in
      var count = 0
      for index in entries.indices where entries[index].isEnabled && !entries[index].isPort {
        let own = Self.pages(entries[index].base, entries[index].size)
        if own.first <= last, first <= own.last { count += 1 }
      }
      return count > 1
    }
  }

  /// Returns the first and the last byte of the pages that a range touches. A range that exceeds 2^64 ends
  /// there.
  private static func pages(_ base: UInt64, _ size: UInt64) -> (first: UInt64, last: UInt64) {
    let (last, overflow) = base.addingReportingOverflow(size &- 1)
    return (base & ~(WindowCuts.page - 1), overflow ? .max : last | (WindowCuts.page - 1))
  }
}

/// A location in a BAR.
public struct BARLocation: Equatable, Sendable {
  /// The device and function number on the guest's bus.
  public let function: Int
  /// The number of the BAR.
  public let bar: Int
  /// Bytes from the start of the BAR.
  public let offset: UInt64
}
