// SPDX-License-Identifier: Apache-2.0

internal import CLinux
public import Linux

/// A device that this process has through vfio-pci (struct vfio_device_info).
public final class Device: Sendable {
  /// Its address on the host, which names it in every message.
  public let address: String
  /// Regions by number: BAR 0 to 5, the ROM (6) and config space (7); nil where there is none.
  public let regions: [Region?]
  /// Whether VFIO_DEVICE_RESET works (VFIO_DEVICE_FLAGS_RESET).
  public let hasReset: Bool
  let descriptor: SharedDescriptor
  /// By VFIO_PCI_*_IRQ_INDEX.
  private let interrupts: [InterruptInfo]

  /// True if the function has a PCI Express capability; read from configuration space, which is little-endian.
  public func isExpress() throws(KernelError) -> Bool {
    let config = try readAll(Self.configRegion, count: 256)
    guard config.count == 256, config[0x06] & 0x10 != 0 else { return false }
    var at = Int(config[0x34] & ~3)
    // At most one capability for each 4 bytes after the header (PCI 3.0 §6.7).
    for _ in 0..<48 where at >= 0x40 {
      if config[at] == 0x10 { return true }
      at = Int(config[at + 1] & ~3)
    }
    return false
  }

  /// The region number of the expansion ROM.
  public static let romRegion = VFIO_PCI_ROM_REGION_INDEX
  /// The region number of config space.
  public static let configRegion = VFIO_PCI_CONFIG_REGION_INDEX

  /// A part of a device that is read and written through its descriptor.
  public struct Region: Sendable {
    /// Where it begins in the descriptor's file.
    public let offset: UInt64
    /// Bytes.
    public let size: UInt64
    /// The areas that can be mapped, as offsets in the region; rising.
    public let mappable: [Range<UInt64>]
  }

  /// The BARs of which a part can be mapped: size and mappable areas, in bytes.
  public var mappableBARs: [(size: UInt64, areas: [Range<UInt64>])] {
    regions.prefix(6).compactMap { $0 }.filter { !$0.mappable.isEmpty }.map { ($0.size, $0.mappable) }
  }

  /// Opens a device of a group and reads its regions.
  ///
  /// - Parameter token: The VF token, as text; nil for none.
  public init(address: String, group: Group, token: String? = nil) throws(VFIOError) {
    self.address = address
    do throws(KernelError) {
      descriptor = SharedDescriptor(try group.device(address, token: token))
    } catch  where error.errno == KernelError.accessDenied {
      throw .token(device: address, isGiven: token != nil, error)
    } catch  where error.errno == KernelError.invalid && token != nil {
      throw .needlessToken(device: address, error)
    } catch { throw .device(address, error) }
    do throws(KernelError) {
      var info = vfio_device_info()
      // SAFETY: the call fills in the struct.
      try check(
        unsafe cl_vfio_device_info(descriptor.number, &info), "VFIO_DEVICE_GET_INFO")
      hasReset = info.flags & UInt32(VFIO_DEVICE_FLAGS_RESET) != 0
      var regions: [Region?] = []
      for index in 0..<min(Int(info.num_regions), Self.configRegion + 1) {
        regions.append(try Self.region(UInt32(index), of: descriptor.number))
      }
      self.regions = regions
      var interrupts: [InterruptInfo] = []
      for index in 0..<min(info.num_irqs, UInt32(VFIO_PCI_NUM_IRQS)) {
        interrupts.append(try InterruptInfo(index, of: descriptor.number))
      }
      self.interrupts = interrupts
    } catch { throw .device(address, error) }
  }

  /// Makes a device of a descriptor whose regions and interrupts are known.
  init(
    address: String, regions: [Region?], hasReset: Bool, interrupts: [InterruptInfo],
    descriptor: consuming OwnedDescriptor
  ) {
    (self.address, self.regions, self.hasReset) = (address, regions, hasReset)
    self.interrupts = interrupts
    self.descriptor = SharedDescriptor(descriptor)
  }

  /// How the kernel can deliver interrupts of a kind; none if it has none.
  public func interruptInfo(_ kind: InterruptKind) -> InterruptInfo {
    let index = Int(kind.index)
    return index < interrupts.count ? interrupts[index] : InterruptInfo(count: 0, isFixed: false)
  }

  private static func region(_ index: UInt32, of device: Int32) throws(KernelError) -> Region? {
    let info = unsafe try InfoBuffer { buffer throws(KernelError) in
      // SAFETY: the buffer begins with the struct and has `count` bytes.
      let needed = unsafe cl_vfio_region_info(
        device, index, buffer.baseAddress?.assumingMemoryBound(to: vfio_region_info.self),
        UInt32(buffer.count))
      // A region that the device has not, such as VGA, is EINVAL.
      if needed == -KernelError.invalid { return 0 }
      return try check(needed, "VFIO_DEVICE_GET_REGION_INFO \(index)")
    }
    // struct vfio_region_info: argsz, flags, index, cap_offset, size, offset.
    let flags = info.word(4)
    let size = info.long(16)
    guard size > 0 else { return nil }
    var mappable: [Range<UInt64>] = []
    if flags & UInt32(VFIO_REGION_INFO_FLAG_MMAP) != 0 {
      mappable = [0..<size]
      if flags & UInt32(VFIO_REGION_INFO_FLAG_CAPS) != 0,
        let at = info.capability(UInt16(VFIO_REGION_INFO_CAP_SPARSE_MMAP), from: info.word(12))
      {
        mappable = (0..<Int(info.word(at + 8))).map { area in
          let start = info.long(at + 16 + area * 16)
          return start..<start + info.long(at + 24 + area * 16)
        }
        .filter { !$0.isEmpty && $0.upperBound <= size }.sorted { $0.lowerBound < $1.lowerBound }
      }
    }
    return Region(offset: info.long(24), size: size, mappable: mappable)
  }

  /// Where an access is in the descriptor's file; nil beyond the region's end.
  private func place(_ index: Int, _ offset: UInt64, _ width: Int) -> Int64? {
    guard index < regions.count, let start = regions[index]?.offset, let size = regions[index]?.size,
      offset <= size, UInt64(width) <= size - offset
    else { return nil }
    return Int64(start + offset)
  }

  /// Reads 1, 2, 4 or 8 bytes of a region; EIO where its memory is disabled.
  public func read(_ index: Int, offset: UInt64, width: Int) throws(KernelError) -> UInt64 {
    guard let place = place(index, offset, width) else {
      throw KernelError("read region \(index) beyond its end", errno: KernelError.invalid)
    }
    var value: UInt64 = 0
    // SAFETY: the call fills in the number.
    try check(
      unsafe cl_pread_scalar(descriptor.number, place, UInt32(width), &value),
      "read region \(index) at 0x\(String(offset, radix: 16))")
    return value
  }

  /// Writes 1, 2, 4 or 8 bytes of a region; EIO where its memory is disabled.
  public func write(
    _ index: Int, offset: UInt64, width: Int, _ value: UInt64
  ) throws(KernelError) {
    guard let place = place(index, offset, width) else {
      throw KernelError("write region \(index) beyond its end", errno: KernelError.invalid)
    }
    try check(
      cl_pwrite_scalar(descriptor.number, place, UInt32(width), value),
      "write region \(index) at 0x\(String(offset, radix: 16))")
  }

  /// Reads up to `count` bytes of a region from its start.
  public func readAll(_ index: Int, count: Int) throws(KernelError) -> [UInt8] {
    guard index < regions.count, let region = regions[index] else { return [] }
    var bytes: [UInt8] = []
    let total = min(count, Int(clamping: region.size))
    while bytes.count < total {
      let more = try readBytes(
        descriptor.number, total - bytes.count, at: region.offset + UInt64(bytes.count))
      if more.isEmpty { break }
      bytes += more
    }
    return bytes
  }

  /// Maps a part of a BAR into this process; nothing of it is faulted in yet.
  public func map(_ index: Int, _ area: Range<UInt64>) throws(KernelError) -> Mapping {
    guard index < regions.count, let region = regions[index] else {
      throw KernelError("mmap region \(index)", errno: KernelError.invalid)
    }
    return try Mapping(
      descriptor: descriptor.number, offset: region.offset + area.lowerBound,
      size: area.upperBound - area.lowerBound, congruentWith: area.lowerBound)
  }

  /// Reads the whole of a region, however large.
  public func readAll(_ index: Int) throws(KernelError) -> [UInt8] {
    guard index < regions.count, let region = regions[index] else { return [] }
    return try readAll(index, count: Int(clamping: region.size))
  }

  /// Gives the device back to the kernel: from now on every call fails with EBADF. Its mappings have to be
  /// gone too before the kernel can give it to someone else.
  public func close() { descriptor.close() }

  /// Whether it has not been closed.
  public var isOpen: Bool { descriptor.number >= 0 }
}
