// SPDX-License-Identifier: Apache-2.0

/// A base address register (PCIe 6.0 §7.5.1.2.1).
public struct BAR: Equatable, Sendable {
  /// The address space of a BAR.
  public enum Kind: Equatable, Sendable {
    /// I/O ports.
    case io
    /// Memory below 4 GiB.
    case memory32
    /// Memory at any address. The BAR has two registers.
    case memory64
    /// The expansion ROM: memory below 4 GiB with a separate enable bit (§7.5.1.2.4).
    case rom
  }

  /// The index of the expansion ROM.
  public static let romIndex = 6

  /// The index of its first register, 0 to 5, or ``romIndex``.
  public let index: Int
  /// The address space.
  public let kind: Kind
  /// True if reads have no side effects.
  public let isPrefetchable: Bool
  /// The size in bytes: a power of two, at least 4 for I/O, 16 for memory and 2048 for a ROM.
  public let size: UInt64

  /// Creates a BAR. A size that is too small or not a power of two is rounded up to a valid size.
  public init(index: Int, kind: Kind, isPrefetchable: Bool = false, size: UInt64) {
    self.index = index
    self.kind = kind
    self.isPrefetchable = isPrefetchable
    let smallest: UInt64 = kind == .io ? 4 : kind == .rom ? 2048 : 16
    var size = max(size, smallest)
    if size & (size - 1) != 0, size.leadingZeroBitCount > 0 {
      size = 1 << UInt64(64 - size.leadingZeroBitCount)
    }
    self.size = size
  }

  /// Decodes the BARs of a header.
  ///
  /// - Parameters:
  ///   - config: The configuration space of the function.
  ///   - sizes: The size of each BAR in bytes, with the ROM last. 0 means that the BAR is absent.
  public static func decode(_ config: [UInt8], sizes: [UInt64]) -> [BAR] {
    var result: [BAR] = []
    var index = 0
    while index < 6 {
      let register = config.number(at: ConfigOffset.bar0 + index * 4, width: 4)
      let kind: Kind = register & 1 != 0 ? .io : register >> 1 & 3 == 2 && index < 5 ? .memory64 : .memory32
      if index < sizes.count, sizes[index] > 0 {
        result.append(
          BAR(
            index: index, kind: kind, isPrefetchable: kind != .io && register & 8 != 0, size: sizes[index]))
      }
      index += kind == .memory64 ? 2 : 1
    }
    if sizes.count > romIndex, sizes[romIndex] > 0 {
      result.append(BAR(index: romIndex, kind: .rom, size: sizes[romIndex]))
    }
    return result
  }

  /// The offset of its first register in configuration space.
  public var register: Int { kind == .rom ? ConfigOffset.rom : ConfigOffset.bar0 + index * 4 }

  /// The read-only bits of the first register, which encode the kind.
  var flags: UInt32 {
    switch kind {
    case .io: 1
    case .rom: 0
    case .memory32: isPrefetchable ? 8 : 0
    case .memory64: isPrefetchable ? 0xC : 4
    }
  }

  /// The address bits. For 64-bit memory they cover both registers.
  var addressMask: UInt64 {
    let mask = ~(size - 1)
    return kind == .memory64 ? mask : mask & 0xFFFF_FFFF
  }
}

/// Allocates addresses for BARs in the host bridge's windows before the guest starts. A kernel that boots
/// without firmware expects allocated BARs.
public struct BARAllocator: Sendable {
  /// A BAR that does not fit in any window.
  public struct NoRoom: Error, Equatable, Sendable {
    /// The position of the BAR among the given BARs.
    public let position: Int
    /// The size of the BAR in bytes.
    public let size: UInt64
  }

  /// The free I/O ports.
  public var io: Range<UInt64>
  /// The free memory below 4 GiB, as GPAs.
  public var memory32: Range<UInt64>
  /// The free memory above 4 GiB, as GPAs.
  public var memory64: Range<UInt64>

  /// The minimum size of a 64-bit BAR that goes above 4 GiB even if it is not prefetchable.
  private static let large: UInt64 = 64 << 20

  /// Creates an allocator whose windows are free.
  public init(io: Range<UInt64>, memory32: Range<UInt64>, memory64: Range<UInt64>) {
    self.io = io
    self.memory32 = memory32
    self.memory64 = memory64
  }

  /// Returns an address for each BAR, aligned to its size. The largest BAR is placed first.
  public mutating func allocate(_ bars: [BAR]) throws(NoRoom) -> [UInt64] {
    var addresses = [UInt64](repeating: 0, count: bars.count)
    for position in bars.indices.sorted(by: { bars[$0].size > bars[$1].size }) {
      let bar = bars[position]
      guard let address = take(for: bar) else { throw NoRoom(position: position, size: bar.size) }
      addresses[position] = address
    }
    return addresses
  }

  private mutating func take(for bar: BAR) -> UInt64? {
    // A BAR smaller than a page gets a separate page, so that it can be mapped alone.
    let size = bar.kind == .io ? bar.size : max(bar.size, 4096)
    switch bar.kind {
    case .io: return Self.take(size, from: &io)
    case .memory32, .rom: return Self.take(size, from: &memory32)
    case .memory64 where bar.isPrefetchable || bar.size >= Self.large:
      return Self.take(size, from: &memory64) ?? Self.take(size, from: &memory32)
    case .memory64:
      return Self.take(size, from: &memory32) ?? Self.take(size, from: &memory64)
    }
  }

  private static func take(_ size: UInt64, from window: inout Range<UInt64>) -> UInt64? {
    let (sum, overflow) = window.lowerBound.addingReportingOverflow(size - 1)
    guard !overflow else { return nil }
    let base = sum & ~(size - 1)
    guard base <= window.upperBound, size <= window.upperBound - base else { return nil }
    window = base + size..<window.upperBound
    return base
  }
}
