// SPDX-License-Identifier: Apache-2.0

internal import CLinux
internal import Linux

extension Device {
  /// A part of a device that is read and written through its descriptor.
  struct Region: Sendable {
    /// The offset of the region in the descriptor's file.
    let offset: UInt64
    /// Bytes.
    let size: UInt64
    /// The areas that can be mapped, as offsets in the region, in ascending order.
    let mappable: [Range<UInt64>]
  }
}

extension Device.Region {
  /// Reads a region (VFIO_DEVICE_GET_REGION_INFO). Returns nil if the device does not have it.
  init?(_ index: UInt32, of device: Int32) throws(KernelError) {
    let info = unsafe try InfoBuffer { buffer throws(KernelError) in
      // SAFETY: the buffer begins with the struct and has `count` bytes.
      let needed = unsafe cl_vfio_region_info(
        device, index, buffer.baseAddress?.assumingMemoryBound(to: vfio_region_info.self),
        UInt32(buffer.count))
      // EINVAL: the device does not have the region, such as VGA.
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
    (offset, self.size, self.mappable) = (info.long(24), size, mappable)
  }
}
