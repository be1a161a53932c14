// SPDX-License-Identifier: Apache-2.0

/// The sizes of a port's memory windows in bytes: powers of two, at least 1 MiB, or 0 for none.
public struct PortWindow: Equatable, Sendable {
  /// The non-prefetchable window below 4 GiB.
  public var memory32: UInt64
  /// The prefetchable window, above 4 GiB if it fits there.
  public var memory64: UInt64

  /// Creates the sizes of the windows.
  public init(memory32: UInt64, memory64: UInt64) {
    self.memory32 = memory32
    self.memory64 = memory64
  }

  /// The windows of a port if the user requests no other size.
  public static let standard = PortWindow(memory32: 16 << 20, memory64: 64 << 30)

  /// The granule of a window (PCIe 6.0 §7.5.1.3.8).
  public static let granule: UInt64 = 1 << 20

  /// Creates the smallest windows in which BARs fit. A port has no I/O window.
  public init(for bars: [BAR]) {
    self.init(memory32: 0, memory64: 0)
    for bar in bars where bar.kind != .io {
      // A BAR smaller than a page gets a separate page. Sizes are powers of two, so that the sum has room.
      let size = max(bar.size, 4096)
      if bar.isInPrefetchableWindow { memory64 += size } else { memory32 += size }
    }
    memory32 = Self.rounded(memory32)
    memory64 = Self.rounded(memory64)
  }

  /// Returns the power of two from which a size fits, at least a granule, or 0 for 0.
  private static func rounded(_ size: UInt64) -> UInt64 {
    var result = granule
    while result < size, result < 1 << 62 { result <<= 1 }
    return size == 0 ? 0 : result
  }

  /// Returns the larger size of each window.
  public func united(with other: PortWindow) -> PortWindow {
    PortWindow(memory32: max(memory32, other.memory32), memory64: max(memory64, other.memory64))
  }

  /// The windows as BARs, for a ``BARAllocator``.
  var bars: [BAR] {
    [
      BAR(index: 0, kind: .memory32, size: max(memory32, Self.granule)),
      BAR(index: 2, kind: .memory64, isPrefetchable: true, size: max(memory64, Self.granule)),
    ]
  }
}

extension BAR {
  /// True if the BAR is in the prefetchable window of the port above its function. Only a prefetchable BAR may be
  /// there (PCIe 6.0 §7.5.1.3.9).
  var isInPrefetchableWindow: Bool { kind == .memory64 && isPrefetchable }
}

/// The addresses of all BARs and of the windows of the ports before the guest starts.
public struct BARPlacement: Sendable {
  /// A function to place.
  public struct Function: Sendable {
    let bars: [BAR]
    let port: Int?

    /// Creates a function to place.
    ///
    /// - Parameters:
    ///   - bars: Its BARs.
    ///   - port: The index of its port, or nil on the root bus.
    public init(_ bars: [BAR], port: Int?) {
      self.bars = bars
      self.port = port
    }
  }

  /// A BAR or a window that does not fit.
  public enum NoRoom: Error, Equatable, Sendable {
    /// A BAR, by the index of its function and its position among the function's BARs.
    case bar(function: Int, position: Int)
    /// A window of a port. The size is in bytes.
    case window(port: Int, size: UInt64)
  }

  /// The address of each BAR of each function. An I/O BAR behind a port has none, and gets 0.
  public private(set) var addresses: [[UInt64]]
  /// The GPAs of the non-prefetchable and of the prefetchable window of each port.
  public private(set) var windows: [(memory32: Range<UInt64>, memory64: Range<UInt64>)] = []

  /// Places the BARs of functions on the root bus and the windows of ports, and then the BARs behind the ports.
  ///
  /// - Parameters:
  ///   - functions: The functions.
  ///   - sizes: The sizes of the windows of each port. A function that needs more gets more.
  ///   - allocator: The windows of the host bridge.
  public init(
    _ functions: [Function], ports sizes: [PortWindow], in allocator: BARAllocator
  ) throws(NoRoom) {
    var allocator = allocator
    addresses = functions.map { [UInt64](repeating: 0, count: $0.bars.count) }
    var bars: [BAR] = []
    var owners: [NoRoom] = []
    for (index, function) in functions.enumerated() where function.port == nil {
      bars += function.bars
      owners += function.bars.indices.map { .bar(function: index, position: $0) }
    }
    for (port, size) in sizes.enumerated() {
      let needs = functions.filter { $0.port == port }.map { PortWindow(for: $0.bars) }
      let window = needs.reduce(size) { $0.united(with: $1) }
      bars += window.bars
      owners += window.bars.map { .window(port: port, size: $0.size) }
    }
    let placed: [UInt64]
    do throws(BARAllocator.NoRoom) { placed = try allocator.allocate(bars) } catch {
      throw owners[error.position]
    }
    for (owner, address) in zip(owners, placed) {
      if case .bar(let function, let position) = owner { addresses[function][position] = address }
    }
    let first = owners.count - 2 * sizes.count
    for port in sizes.indices {
      let (low, high) = (first + 2 * port, first + 2 * port + 1)
      windows.append(
        (placed[low]..<placed[low] + bars[low].size, placed[high]..<placed[high] + bars[high].size))
    }
    for (index, function) in functions.enumerated() {
      guard let port = function.port else { continue }
      addresses[index] = try Self.place(function.bars, in: windows[port], function: index)
    }
  }

  /// Places the BARs of a function behind a port.
  private static func place(
    _ bars: [BAR], in window: (memory32: Range<UInt64>, memory64: Range<UInt64>), function: Int
  ) throws(NoRoom) -> [UInt64] {
    var addresses = [UInt64](repeating: 0, count: bars.count)
    for isPrefetchable in [false, true] {
      let positions = bars.indices.filter {
        bars[$0].kind != .io && bars[$0].isInPrefetchableWindow == isPrefetchable
      }
      var inner = BARAllocator(
        io: 0..<0, memory32: isPrefetchable ? 0..<0 : window.memory32,
        memory64: isPrefetchable ? window.memory64 : 0..<0)
      let own: [UInt64]
      do throws(BARAllocator.NoRoom) { own = try inner.allocate(positions.map { bars[$0] }) } catch {
        throw .bar(function: function, position: positions[error.position])
      }
      for (position, address) in zip(positions, own) { addresses[position] = address }
    }
    return addresses
  }
}
