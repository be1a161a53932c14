// SPDX-License-Identifier: Apache-2.0

internal import CLinux
internal import Linux
internal import PCI
public import Seams

/// Resets of a device.
extension Device {
  /// Resets the function alone (VFIO_DEVICE_RESET). This takes up to seconds.
  public func reset() throws(OperationError) {
    try perform(cl_vfio_number(descriptor.number, IOC_VFIO_DEVICE_RESET, 0), "VFIO_DEVICE_RESET")
  }

  /// Returns the functions that a bus reset of a device resets, including the device, or nil if its bus
  /// cannot be reset (VFIO_DEVICE_GET_PCI_HOT_RESET_INFO). The owner is the number of the group, or the device's ID in
  /// the iommufd.
  static func busResetScope(_ device: Int32) throws(KernelError) -> [(owner: UInt32, address: String)]? {
    let info: InfoBuffer
    do throws(KernelError) {
      info = unsafe try InfoBuffer { buffer throws(KernelError) in
        // SAFETY: the buffer begins with the struct and has `count` bytes.
        try check(
          unsafe cl_vfio_hot_reset_info(
            device, buffer.baseAddress?.assumingMemoryBound(to: vfio_pci_hot_reset_info.self),
            UInt32(buffer.count)), "VFIO_DEVICE_GET_PCI_HOT_RESET_INFO")
      }
    } catch {
      // ENODEV: the device is on a root bus, or behind a slot that cannot be reset (vfio_pci_core.c,
      // vfio_pci_ioctl_get_pci_hot_reset_info).
      guard error.errno == KernelError.noDevice else { throw error }
      return nil
    }
    // struct vfio_pci_hot_reset_info: argsz, flags, count, then group or device ID, segment, bus and devfn of
    // each function.
    return (0..<Int(info.word(8))).map { index in
      let entry = 12 + index * 8
      let location = info.word(entry + 4)
      return (
        info.word(entry),
        Address(
          domain: location & 0xFFFF, bus: UInt8(location >> 16 & 0xFF), device: UInt8(location >> 27),
          function: UInt8(location >> 24 & 7)
        ).description
      )
    }
  }

  /// Resets all functions of ``busResetScope`` (VFIO_DEVICE_PCI_HOT_RESET). This process must own their groups, or
  /// have bound them to the same iommufd.
  public func resetBus() throws(OperationError) {
    let descriptors: [Int32] =
      if case .groups(let groups) = resetOwnership { groups.map(\.descriptorNumber) } else { [] }
    // SAFETY: the array lives for the call, which reads `count` of its elements.
    let result = unsafe descriptors.withUnsafeBufferPointer { buffer in
      unsafe cl_vfio_hot_reset(descriptor.number, buffer.baseAddress, UInt32(buffer.count))
    }
    try perform(result, "VFIO_DEVICE_PCI_HOT_RESET")
  }
}

/// Converts the `-errno` convention of the C layer into an `OperationError`.
@discardableResult
func perform<Result: SignedInteger & FixedWidthInteger>(
  _ result: Result, _ operation: @autoclosure () -> String
) throws(OperationError) -> Result {
  do throws(KernelError) { return try check(result, operation()) } catch { throw OperationError(error) }
}
