// SPDX-License-Identifier: Apache-2.0

import GuestMemory
import KVM
import Linux

/// This machine's KVM.
enum KVMDevice {
  /// Whether it is there, may be used, and has all that Sluice needs.
  static let isUsable: Bool = {
    do throws(KVMError) {
      _ = try KVMSystem()
      return true
    } catch { return false }
  }()

  /// A machine whose pages for VT-x are where QEMU has them.
  static func machine(_ system: borrowing KVMSystem) throws(KernelError) -> VirtualMachine {
    try VirtualMachine(system, identityMap: GuestAddress(0xFFFB_C000), taskState: GuestAddress(0xFFFB_D000))
  }
}
