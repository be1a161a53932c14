// SPDX-License-Identifier: Apache-2.0

/// The implementations of the seams that a VM uses.
public protocol Backend: Sendable {
  /// The devices.
  associatedtype Device: PCIDevice
  /// The I/O address spaces.
  associatedtype Space: IOAddressSpace
  /// The hypervisor.
  associatedtype Machine: Hypervisor
}
