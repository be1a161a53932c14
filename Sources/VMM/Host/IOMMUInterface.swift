// SPDX-License-Identifier: Apache-2.0

public import Linux
public import Trace
public import VFIO

/// The kernel's interface to the IOMMU.
public typealias IOMMUInterface = TraceEvent.IOMMUInterface

/// The interface that a VM uses, and the reason.
public struct IOMMUChoice: Sendable, Equatable {
  /// The interface.
  public let interface: IOMMUInterface
  /// The reason, for the log and the trace.
  public let reason: String

  /// The facts about the host and the VM that decide.
  struct Facts: Sendable {
    /// The cause if /dev/iommu cannot be opened, or nil.
    var iommufdError: String?
    /// The devices without a cdev.
    var withoutCdev: [String]
    /// The first device whose BARs other devices of the VM may reach.
    var peerTarget: String?
    /// The first device with a VF token.
    var tokenDevice: String?
  }

  /// The automatic choice for a VM with one device.
  public init(for device: HostDevice) throws(KernelError) {
    let facts = Facts(
      iommufdError: IOMMUFD.openingError, withoutCdev: try device.cdev == nil ? [device.address] : [],
      peerTarget: try device.isExpress ? nil : device.address)
    self.init(nil, facts)
  }

  /// Takes iommufd only if it offers everything that the VM's devices and policies need.
  ///
  /// - Parameters:
  ///   - requested: The user's choice, or nil for an automatic one.
  ///   - facts: The facts about the host and the VM.
  init(_ requested: IOMMUInterface?, _ facts: Facts) {
    if let requested {
      self.init(interface: requested, reason: "requested")
      return
    }
    let obstacle: String? =
      if let error = facts.iommufdError {
        error
      } else if let device = facts.withoutCdev.first {
        "device \(device) has no cdev"
      } else if let device = facts.peerTarget {
        "other devices may reach the BARs of \(device), which iommufd cannot map"
      } else if let device = facts.tokenDevice {
        "device \(device) has a VF token, which iommufd accepts since Linux 7"
      } else {
        nil
      }
    self.init(
      interface: obstacle == nil ? .iommufd : .type1,
      reason: obstacle ?? "the kernel offers all that the devices need")
  }

  private init(interface: IOMMUInterface, reason: String) {
    (self.interface, self.reason) = (interface, reason)
  }
}
