// SPDX-License-Identifier: Apache-2.0

internal import CLinux
public import Linux

/// Resets of a device.
extension Device {
  /// A function that a bus reset resets too (struct vfio_pci_dependent_device).
  public struct Dependent: Sendable, Equatable {
    /// Its IOMMU group.
    public let group: String
    /// Its address on the host.
    public let address: String

    /// Names a function.
    public init(group: String, address: String) {
      self.group = group
      self.address = address
    }
  }

  /// Resets the function alone; takes up to seconds (VFIO_DEVICE_RESET).
  public func reset() throws(KernelError) {
    try check(cl_vfio_number(descriptor.number, IOC_VFIO_DEVICE_RESET, 0), "VFIO_DEVICE_RESET")
  }

  /// What a reset of its bus would reset, itself included; ENODEV where its bus cannot be reset
  /// (VFIO_DEVICE_GET_PCI_HOT_RESET_INFO).
  public func busResetScope() throws(KernelError) -> [Dependent] {
    let info = unsafe try InfoBuffer { buffer throws(KernelError) in
      // SAFETY: the buffer begins with the struct and has `count` bytes.
      try check(
        unsafe cl_vfio_hot_reset_info(
          descriptor.number, buffer.baseAddress?.assumingMemoryBound(to: vfio_pci_hot_reset_info.self),
          UInt32(buffer.count)), "VFIO_DEVICE_GET_PCI_HOT_RESET_INFO")
    }
    // struct vfio_pci_hot_reset_info: argsz, flags, count; then group, segment, bus and devfn of each.
    return (0..<Int(info.word(8))).map { index in
      let entry = 12 + index * 8
      let place = info.word(entry + 4)
      return Dependent(
        group: String(info.word(entry)),
        address: Self.address(
          domain: place & 0xFFFF, bus: place >> 16 & 0xFF, device: place >> 27, function: place >> 24 & 7))
    }
  }

  private static func address(domain: UInt32, bus: UInt32, device: UInt32, function: UInt32) -> String {
    func padded(_ value: UInt32, _ digits: Int) -> String {
      let text = String(value, radix: 16)
      return String(repeating: "0", count: max(0, digits - text.count)) + text
    }
    return "\(padded(domain, 4)):\(padded(bus, 2)):\(padded(device, 2)).\(function)"
  }

  /// Resets everything on its bus (VFIO_DEVICE_PCI_HOT_RESET).
  ///
  /// - Parameter groups: All groups that the reset reaches, which this process owns.
  public func resetBus(groups: [Group]) throws(KernelError) {
    let descriptors = groups.map(\.descriptorNumber)
    // SAFETY: the array lives for the call, which reads `count` of its elements.
    let result = unsafe descriptors.withUnsafeBufferPointer { buffer in
      unsafe cl_vfio_hot_reset(descriptor.number, buffer.baseAddress, UInt32(buffer.count))
    }
    try check(result, "VFIO_DEVICE_PCI_HOT_RESET")
  }
}
