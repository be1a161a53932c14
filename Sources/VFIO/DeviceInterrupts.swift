// SPDX-License-Identifier: Apache-2.0

internal import CLinux
internal import Linux
public import Seams

extension InterruptKind {
  /// VFIO_PCI_*_IRQ_INDEX.
  var index: UInt32 {
    switch self {
    case .error: UInt32(VFIO_PCI_ERR_IRQ_INDEX)
    case .request: UInt32(VFIO_PCI_REQ_IRQ_INDEX)
    case .intx: UInt32(VFIO_PCI_INTX_IRQ_INDEX)
    case .msi: UInt32(VFIO_PCI_MSI_IRQ_INDEX)
    case .msix: UInt32(VFIO_PCI_MSIX_IRQ_INDEX)
    }
  }
}

extension InterruptInfo {
  /// Reads the properties of an interrupt kind from the kernel (VFIO_DEVICE_GET_IRQ_INFO).
  init(_ index: UInt32, of device: Int32) throws(KernelError) {
    var info = vfio_irq_info()
    // SAFETY: the call fills in the struct.
    let result = unsafe cl_vfio_irq_info(device, index, &info)
    // EINVAL: the error interrupt of a device that is not PCI Express (vfio_pci_core.c,
    // vfio_pci_ioctl_get_irq_info).
    if result != -KernelError.invalid { try check(result, "VFIO_DEVICE_GET_IRQ_INFO \(index)") }
    self.init(
      count: result < 0 ? 0 : Int(info.count),
      isFixed: result >= 0 && info.flags & UInt32(VFIO_IRQ_INFO_NORESIZE) != 0)
  }
}

/// Interrupts of a device (VFIO_DEVICE_SET_IRQS).
extension Device {
  /// Turns a kind of interrupt on. Its vectors signal no eventfd yet.
  ///
  /// - Returns: The number of vectors: `count`, or fewer if the host has fewer.
  public func enableInterrupts(_ kind: InterruptKind, count: Int) throws(OperationError) -> Int {
    var count = count
    while true {
      let available = try perform(
        cl_vfio_set_triggers(descriptor.number, kind.index, 0, UInt32(count), -1),
        "VFIO_DEVICE_SET_IRQS \(kind), \(count) vectors")
      // A positive result is the number of available vectors. The kernel has then enabled none.
      guard available > 0, available < count else { return count }
      count = Int(available)
    }
  }

  /// Sets the eventfd that unmasks INTx. The kernel masks INTx when it signals (VFIO_IRQ_INFO_AUTOMASKED).
  public func setUnmask(event: Int32) throws(OperationError) {
    try perform(
      cl_vfio_set_unmask(descriptor.number, event), "VFIO_DEVICE_SET_IRQS intx, unmask eventfd")
  }

  /// Sets the eventfd that a vector signals.
  public func setTrigger(
    _ kind: InterruptKind, vector: Int, event: Int32
  ) throws(OperationError) {
    try perform(
      cl_vfio_set_triggers(descriptor.number, kind.index, UInt32(vector), 1, event),
      "VFIO_DEVICE_SET_IRQS \(kind) vector \(vector)")
  }

  /// Turns a kind of interrupt off.
  public func disableInterrupts(_ kind: InterruptKind) throws(OperationError) {
    try perform(
      cl_vfio_disable_irqs(descriptor.number, kind.index), "VFIO_DEVICE_SET_IRQS \(kind), off")
  }
}
