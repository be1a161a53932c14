// SPDX-License-Identifier: Apache-2.0

import GuestMemory
import KVM
import Linux

/// The KVM of this machine.
enum KVMDevice {
  /// True if KVM exists, may be used and has every capability that Sluice needs.
  static let isUsable: Bool = {
    do throws(KVMError) {
      _ = try KVMSystem()
      return true
    } catch { return false }
  }()

  /// Creates a VM whose pages for VT-x have the same addresses as in QEMU.
  static func machine(_ system: borrowing KVMSystem) throws(KernelError) -> VirtualMachine {
    try VirtualMachine(system, identityMap: GuestAddress(0xFFFB_C000), taskState: GuestAddress(0xFFFB_D000))
  }
}
