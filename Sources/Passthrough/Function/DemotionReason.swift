// SPDX-License-Identifier: Apache-2.0

/// The reason to demote the open windows of a function after a bare -EFAULT of KVM_RUN.
public enum DemotionReason: Sendable {
  /// The memory bit of the device reads as clear.
  case memoryOff
  /// The memory of every device is on again, and the kernel may have revoked dma-bufs of this device.
  case revocable
  /// The fault is repeated while the memory of every device is on.
  case repeatedFault
}
