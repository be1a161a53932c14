// SPDX-License-Identifier: Apache-2.0

internal import CLinux
public import Linux

/// The guest's RAM: one mapping of this process. Its regions leave out the hole below 4 GiB, which belongs to
/// devices, and addresses that the host's IOMMU reserves.
///
/// The guest changes this memory while it runs. There are therefore only bounds-checked loads and stores, and
/// no spans.
public final class GuestMemory: Sendable {
  /// A contiguous piece of guest RAM.
  public struct Region: Sendable, Equatable {
    /// The GPA of the first byte.
    public let base: GuestAddress
    /// Bytes.
    public let size: UInt64
    /// The host virtual address of the first byte, for KVM and the IOMMU.
    public let hostAddress: UInt64

    /// The first address after the region.
    public var end: GuestAddress { base + size }
  }

  /// The GPA of the start of the hole below 4 GiB. RAM that does not fit below it continues at 4 GiB.
  public static let holeStart: UInt64 = 0xC000_0000
  /// The GPA of the end of the hole, from which RAM continues.
  public static let holeEnd: UInt64 = 0x1_0000_0000

  /// The regions, in ascending order of address and without overlaps.
  public let regions: [Region]
  /// The total size in bytes.
  public let size: UInt64
  /// The page size of the backing, in bytes.
  public let pageSize: UInt64
  /// The file of shared memory, for another process that accesses guest RAM, or nil. Its first byte is the first byte of
  /// ``hostAddresses``.
  public let file: SharedDescriptor?
  private let mapping: Mapping
  /// The host virtual addresses of the mapping.
  public var hostAddresses: Range<UInt64> { mapping.address..<mapping.address + mapping.size }

  /// Creates and maps guest RAM. No page is populated yet.
  ///
  /// - Parameters:
  ///   - size: Bytes; a multiple of the backing's page size.
  ///   - backing: The kind of host memory that backs guest RAM.
  ///   - node: The NUMA node of the host that provides all pages, or nil for no policy.
  ///   - holes: The GPA ranges without RAM, in addition to the hole below 4 GiB: IOVAs that the IOMMU
  ///     reserves.
  ///   - keepsFile: True if ``file`` stays open. Only shared memory has one.
  public init(
    size: UInt64, backing: Backing = .memfd, node: Int? = nil, holes: [ClosedRange<UInt64>] = [],
    keepsFile: Bool = false
  ) throws(AllocationError) {
    var file: SharedDescriptor?
    mapping = try backing.map(size, file: &file)
    self.file = keepsFile ? file : nil
    do throws(KernelError) { try mapping.excludeFromCoreDumps() } catch { throw .kernel(error) }
    if let node { try Self.bind(mapping, toNode: node) }
    self.size = size
    pageSize = backing.pageSize
    var host = mapping.address
    regions = Self.ranges(of: size, around: holes, pageSize: backing.pageSize).map { range in
      defer { host += range.upperBound - range.lowerBound }
      return Region(
        base: GuestAddress(range.lowerBound), size: range.upperBound - range.lowerBound, hostAddress: host)
    }
  }

  /// Returns the GPA ranges of RAM, as low as possible and in whole pages. They exclude the hole below 4 GiB
  /// and `holes`.
  static func ranges(of size: UInt64, around holes: [ClosedRange<UInt64>], pageSize: UInt64) -> [Range<
    UInt64
  >] {
    // No RAM follows a hole that ends at 2^64.
    let last = UInt64.max & ~(pageSize - 1)
    var all = holes.map { hole in
      let end = hole.upperBound >= last ? last : (hole.upperBound + 1).roundedUp(to: pageSize)
      return hole.lowerBound & ~(pageSize - 1)..<end
    }
    all.append(holeStart..<holeEnd)
    var ranges: [Range<UInt64>] = []
    var rest = size
    var start: UInt64 = 0
    for hole in all.sorted(by: { $0.lowerBound < $1.lowerBound }) where rest > 0 {
      if hole.lowerBound > start {
        let count = min(rest, hole.lowerBound - start)
        ranges.append(start..<start + count)
        rest -= count
      }
      start = max(start, hole.upperBound)
    }
    if rest > 0, rest <= last - start { ranges.append(start..<start + rest) }
    return ranges
  }

  private static func bind(_ mapping: borrowing Mapping, toNode node: Int) throws(AllocationError) {
    do throws(KernelError) { try mapping.bind(toNode: node) } catch {
      throw error.errno == KernelError.invalid ? .node(node, error) : .kernel(error)
    }
  }

  /// Populates all pages of a piece, as if the guest had written to each (madvise, MADV_POPULATE_WRITE).
  /// Their contents do not change. Several threads may call this concurrently.
  ///
  /// - Parameter piece: A part of one of ``regions``, in whole pages of the backing.
  public func populate(_ piece: Region) throws(KernelError) {
    try mapping.populate(piece.hostAddress - mapping.address, count: piece.size)
  }

  /// Frees all pages. No vCPU and no device may still use them.
  public func discard() throws(KernelError) { try mapping.discard() }

  /// Returns the regions, cut into pieces, in ascending order of address.
  ///
  /// - Parameter size: The maximum size of a piece in bytes; a multiple of the page size.
  public func pieces(of size: UInt64) -> [Region] {
    regions.flatMap { region in
      stride(from: 0, to: region.size, by: Int(size)).map { offset in
        Region(
          base: region.base + offset, size: min(size, region.size - offset),
          hostAddress: region.hostAddress + offset)
      }
    }
  }

  /// Returns the region that contains all `count` bytes from `address` on.
  private func region(at address: GuestAddress, count: UInt64) throws(OutOfRange) -> Region {
    for region in regions where address >= region.base {
      let offset = address.rawValue - region.base.rawValue
      if offset <= region.size, count <= region.size - offset { return region }
    }
    throw OutOfRange(address: address, count: count)
  }

  /// Returns the host address of a GPA range, which must be within one region.
  private func host(_ address: GuestAddress, count: UInt64) throws(OutOfRange) -> UnsafeMutableRawPointer? {
    let region = try region(at: address, count: count)
    let host = region.hostAddress + (address.rawValue - region.base.rawValue)
    return unsafe UnsafeMutableRawPointer(bitPattern: UInt(host))
  }

  /// An access that is not completely within guest RAM.
  public struct OutOfRange: Error, Equatable, CustomStringConvertible {
    /// The first byte of the access.
    public let address: GuestAddress
    /// The number of bytes.
    public let count: UInt64

    /// The length and the address.
    public var description: String { "\(count) bytes at GPA \(address) are not in guest RAM" }
  }

  /// Loads a little-endian number.
  public func load<Value: FixedWidthInteger>(
    _ type: Value.Type = Value.self, at address: GuestAddress
  ) throws(OutOfRange) -> Value {
    let width = Value.bitWidth / 8
    // SAFETY: host() has checked that all of the bytes are in one region.
    return unsafe Value(
      truncatingIfNeeded: cl_load(try host(address, count: UInt64(width)), UInt32(width)))
  }

  /// Stores a little-endian number.
  public func store<Value: FixedWidthInteger>(
    _ value: Value, at address: GuestAddress
  ) throws(OutOfRange) {
    let width = Value.bitWidth / 8
    // SAFETY: host() has checked that all of the bytes are in one region.
    unsafe cl_store(
      try host(address, count: UInt64(width)), UInt32(width), UInt64(truncatingIfNeeded: value))
  }

  /// Copies bytes into guest RAM.
  public func write(_ bytes: [UInt8], at address: GuestAddress) throws(OutOfRange) {
    let host = unsafe try host(address, count: UInt64(bytes.count))
    // SAFETY: host() has checked that all of the bytes are in one region.
    unsafe bytes.withUnsafeBytes { source in
      unsafe cl_copy_in(host, source.baseAddress, source.count)
    }
  }

  /// Copies bytes out of guest RAM.
  public func read(_ count: Int, at address: GuestAddress) throws(OutOfRange) -> [UInt8] {
    let host = unsafe try host(address, count: UInt64(count))
    // SAFETY: host() has checked that all of the bytes are in one region.
    return unsafe [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
      unsafe cl_copy_out(buffer.baseAddress, host, count)
      initialized = count
    }
  }

  /// A reason why a part of a file could not be loaded into guest RAM.
  public enum LoadError: Error, CustomStringConvertible {
    /// The destination is not in guest RAM.
    case outOfRange(OutOfRange)
    /// The read of the file failed.
    case kernel(KernelError)
    /// The file ended after `got` of `wanted` bytes.
    case truncated(got: UInt64, wanted: UInt64)

    /// The cause.
    public var description: String {
      switch self {
      case .outOfRange(let error): error.description
      case .kernel(let error): error.description
      case .truncated(let got, let wanted): "the file ends after \(got) of \(wanted) bytes"
      }
    }
  }

  /// Reads a part of a file directly into guest RAM.
  ///
  /// - Parameters:
  ///   - file: The descriptor of the file.
  ///   - offset: The offset in the file, in bytes.
  ///   - count: Bytes.
  ///   - address: The GPA of the first byte. All bytes must be in one region of RAM.
  public func load(
    _ file: borrowing OwnedDescriptor, offset: UInt64, count: UInt64, at address: GuestAddress
  ) throws(LoadError) {
    let start: UnsafeMutableRawPointer?
    do throws(OutOfRange) { unsafe start = try host(address, count: count) } catch {
      throw .outOfRange(error)
    }
    var done: UInt64 = 0
    while done < count {
      // SAFETY: host() has checked that all of the bytes are in one region.
      let got = unsafe cl_pread(
        file.number, start?.advanced(by: Int(done)),
        Int(min(count - done, 1 << 30)), Int64(offset + done))
      do throws(KernelError) { try check(got, "pread") } catch { throw .kernel(error) }
      guard got > 0 else { throw .truncated(got: done, wanted: count) }
      done += UInt64(got)
    }
  }
}
