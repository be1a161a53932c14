// SPDX-License-Identifier: Apache-2.0

internal import CLinux
public import Linux

/// The guest's RAM: one mapping of this process, in regions around the hole below 4 GiB that belongs to devices, and
/// around addresses that the host's IOMMU reserves.
///
/// The guest changes this memory while it runs, so there are only bounds-checked loads and
/// stores and no spans.
public final class GuestMemory: Sendable {
  /// A contiguous piece of guest RAM.
  public struct Region: Sendable, Equatable {
    /// Where the guest sees it.
    public let base: GuestAddress
    /// Bytes.
    public let size: UInt64
    /// Host virtual address of its first byte, for KVM and the IOMMU.
    public let hostAddress: UInt64

    /// The first address after the region.
    public var end: GuestAddress { base + size }
  }

  /// Where the hole below 4 GiB starts: RAM beyond it continues at 4 GiB.
  public static let holeStart: UInt64 = 0xC000_0000
  /// Where RAM continues.
  public static let holeEnd: UInt64 = 0x1_0000_0000

  /// In rising order of addresses, without overlaps.
  public let regions: [Region]
  /// Bytes in all.
  public let size: UInt64
  /// The page size that stands behind it, in bytes.
  public let pageSize: UInt64
  private let mapping: Mapping

  /// Creates and maps guest RAM. No page is populated yet.
  ///
  /// - Parameters:
  ///   - size: In bytes, a multiple of the backing's page size.
  ///   - node: The NUMA node of the host that all of it is to come from; nil leaves it to the host.
  ///   - holes: GPAs that are to hold no RAM besides those below 4 GiB: I/O addresses that the IOMMU reserves.
  public init(
    size: UInt64, backing: Backing = .memfd, node: Int? = nil, holes: [ClosedRange<UInt64>] = []
  ) throws(AllocationError) {
    mapping = try backing.map(size)
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

  /// The GPAs of RAM: as low as possible, without the hole below 4 GiB and without `holes`, in whole pages.
  static func ranges(of size: UInt64, around holes: [ClosedRange<UInt64>], pageSize: UInt64) -> [Range<
    UInt64
  >] {
    // A hole that reaches to 2^64 has no RAM behind it.
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

  /// Has all pages of a region's part there, as if the guest had written to each (madvise,
  /// MADV_POPULATE_WRITE); what is in them stays. Several threads may do this at once.
  ///
  /// - Parameter piece: Within one of ``regions``, whole pages of the backing.
  public func populate(_ piece: Region) throws(KernelError) {
    try mapping.populate(piece.hostAddress - mapping.address, count: piece.size)
  }

  /// Gives the host its pages back, when neither a vCPU nor a device uses them any more.
  public func discard() throws(KernelError) { try mapping.discard() }

  /// The regions cut into pieces, in rising order.
  ///
  /// - Parameter size: What each has at most, in bytes; a multiple of the page size.
  public func pieces(of size: UInt64) -> [Region] {
    regions.flatMap { region in
      stride(from: 0, to: region.size, by: Int(size)).map { offset in
        Region(
          base: region.base + offset, size: min(size, region.size - offset),
          hostAddress: region.hostAddress + offset)
      }
    }
  }

  /// The region that holds all `count` bytes from `address` on.
  private func region(at address: GuestAddress, count: UInt64) throws(OutOfRange) -> Region {
    for region in regions where address >= region.base {
      let offset = address.rawValue - region.base.rawValue
      if offset <= region.size, count <= region.size - offset { return region }
    }
    throw OutOfRange(address: address, count: count)
  }

  /// The host memory of a range of GPAs, all of which is in one region.
  private func host(_ address: GuestAddress, count: UInt64) throws(OutOfRange) -> UnsafeMutableRawPointer? {
    let region = try region(at: address, count: count)
    let host = region.hostAddress + (address.rawValue - region.base.rawValue)
    return unsafe UnsafeMutableRawPointer(bitPattern: UInt(host))
  }

  /// An access that is not wholly within guest RAM.
  public struct OutOfRange: Error, Equatable, CustomStringConvertible {
    /// The first byte asked for.
    public let address: GuestAddress
    /// How many bytes.
    public let count: UInt64

    /// The place and the length, for a person.
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

  /// Why a part of a file did not get into guest RAM.
  public enum LoadError: Error, CustomStringConvertible {
    /// The place is not in guest RAM.
    case outOfRange(OutOfRange)
    /// The kernel's answer.
    case kernel(KernelError)
    /// The file ended after so many of the bytes that were wanted.
    case truncated(got: UInt64, wanted: UInt64)

    /// The cause, for a person.
    public var description: String {
      switch self {
      case .outOfRange(let error): error.description
      case .kernel(let error): error.description
      case .truncated(let got, let wanted): "the file ends after \(got) of \(wanted) bytes"
      }
    }
  }

  /// Reads a part of a file straight into guest RAM.
  ///
  /// - Parameters:
  ///   - offset: Where in the file, in bytes.
  ///   - count: Bytes.
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
