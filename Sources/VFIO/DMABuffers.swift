// SPDX-License-Identifier: Apache-2.0

internal import CLinux
internal import Linux
public import Seams
internal import Synchronization

/// The dma-bufs that a device has exported (VFIO_DEVICE_FEATURE_DMA_BUF, Linux 6.19).
///
/// The kernel revokes the mappings of a dma-buf when the device's memory goes off or the device is reset. The dma-buf
/// remains, and can be mapped again after the memory is on. Its descriptor is therefore kept.
final class DMABuffers: Sendable {
  private struct Buffer: Sendable {
    let region: UInt32
    /// Bytes from the start of the region.
    let range: Range<UInt64>
    let descriptor: SharedDescriptor
  }

  /// The maximum number of descriptors. The kernel keeps a dma-buf as long as it is mapped, so that an earlier
  /// descriptor can be closed at any time.
  static let capacity = 64

  /// Taken by any thread for an export. No lock is taken inside it.
  private let buffers = Mutex<[Buffer]>([])

  /// Returns the descriptor of a dma-buf for a range of a BAR. It is valid until the next call or ``close()``.
  ///
  /// - Parameters:
  ///   - device: The device's descriptor.
  ///   - region: The index of the BAR, 0 to 5.
  ///   - range: The bytes from the start of the BAR, in whole pages.
  func descriptor(_ device: Int32, _ region: Int, _ range: Range<UInt64>) throws(OperationError) -> Int32 {
    let region = UInt32(region)
    return try buffers.withLock { buffers throws(OperationError) in
      if let known = buffers.first(where: { $0.region == region && $0.range == range }) {
        return known.descriptor.number
      }
      let number = try perform(
        cl_vfio_export_dma_buf(device, region, range.lowerBound, range.upperBound - range.lowerBound),
        "VFIO_DEVICE_FEATURE_DMA_BUF of region \(region)")
      if buffers.count == Self.capacity { buffers.removeFirst().descriptor.close() }
      buffers.append(
        Buffer(region: region, range: range, descriptor: SharedDescriptor(OwnedDescriptor(owning: number))))
      return number
    }
  }

  /// Closes every descriptor.
  func close() {
    buffers.withLock { buffers in
      for buffer in buffers { buffer.descriptor.close() }
      buffers = []
    }
  }
}

extension Device {
  /// Returns the descriptor of a dma-buf for a range of a BAR (VFIO_DEVICE_FEATURE_DMA_BUF).
  public func dmaBuffer(_ index: Int, _ range: Range<UInt64>) throws(OperationError) -> Int32 {
    try buffers.descriptor(descriptor.number, index, range)
  }
}
