// SPDX-License-Identifier: Apache-2.0

/// The implementations of the seams that a VM uses.
public protocol Backend: Sendable {
  /// Its devices.
  associatedtype Device: PCIDevice
  /// Its I/O address spaces.
  associatedtype Space: IOAddressSpace
  /// Its hypervisor.
  associatedtype Machine: Hypervisor
}
