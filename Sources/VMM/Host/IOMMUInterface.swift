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
    /// The interface whose descriptor was passed, or nil.
    var passed: IOMMUInterface?
    /// The cause if /dev/iommu cannot be opened, or nil.
    var iommufdError: String?
    /// The devices without a cdev.
    var withoutCdev: [String]
    /// The first device whose BARs other devices of the VM may reach.
    var peerTarget: String?
    /// The IOMMUs behind which the devices are.
    var iommus: Set<String> = []
    /// The version of the host's kernel, or nil if it is unknown.
    var kernel: KernelVersion?
    /// True if a device is bound and the kernel does not export its BARs as dma-bufs.
    var lacksDMABuffers = false
    /// The first device with a VF token.
    var tokenDevice: String?
  }

  /// The automatic choice for a VM with one device.
  public init(for device: HostDevice) throws(KernelError) {
    let facts = Facts(
      iommufdError: IOMMUFD.openingError, withoutCdev: try device.cdev == nil ? [device.address] : [],
      peerTarget: try device.isExpress ? nil : device.address, kernel: try KernelVersion.current)
    self.init(nil, facts)
  }

  /// Takes iommufd only if it offers everything that the VM's devices and policies need.
  ///
  /// - Parameters:
  ///   - requested: The user's choice, or nil for an automatic one.
  ///   - facts: The facts about the host and the VM.
  init(_ requested: IOMMUInterface?, _ facts: Facts) {
    if let passed = facts.passed {
      self.init(interface: passed, reason: "its descriptor was passed")
      return
    }
    if let requested {
      self.init(interface: requested, reason: "requested")
      return
    }
    let obstacle: String? =
      if let error = facts.iommufdError {
        error
      } else if let device = facts.withoutCdev.first {
        "device \(device) has no cdev"
      } else if let device = facts.peerTarget, let cause = facts.dmaBufferObstacle {
        "peer DMA may reach the BARs of \(device): \(cause)"
      } else if let device = facts.tokenDevice, facts.version < Facts.tokens {
        "device \(device) has a VF token, which iommufd accepts since \(Facts.tokens)"
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

extension IOMMUChoice.Facts {
  /// The first version of Linux that maps BARs for iommufd, as dma-bufs.
  private static let dmaBuffers = KernelVersion(6, 19)
  /// The first version of Linux that maps a dma-buf correctly for devices behind different IOMMUs
  /// (drivers/iommu/iommufd/pages.c).
  private static let severalIOMMUs = KernelVersion(7, 3)
  /// The first version of Linux that accepts VF tokens in VFIO_DEVICE_BIND_IOMMUFD.
  static let tokens = KernelVersion(7, 0)

  /// The version of the host's kernel. An unknown version has no feature.
  var version: KernelVersion { kernel ?? KernelVersion(0, 0) }

  /// The reason why iommufd cannot map the BARs of the VM's devices, or nil if it can.
  var dmaBufferObstacle: String? {
    if version < Self.dmaBuffers { return "iommufd maps BARs since \(Self.dmaBuffers)" }
    if lacksDMABuffers { return "the kernel exports no BARs as dma-bufs (CONFIG_PCI_P2PDMA)" }
    guard iommus.count > 1, version < Self.severalIOMMUs else { return nil }
    return "iommufd maps BARs for devices behind several IOMMUs since \(Self.severalIOMMUs)"
  }
}
