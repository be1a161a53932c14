// SPDX-License-Identifier: Apache-2.0

import KVM

/// This machine's KVM.
enum KVMDevice {
  /// Whether it is there, may be used, and has all that Sluice needs.
  static let isUsable: Bool = {
    do throws(SystemError) {
      _ = try System()
      return true
    } catch { return false }
  }()
}
