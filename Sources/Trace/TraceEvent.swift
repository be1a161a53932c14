// SPDX-License-Identifier: Apache-2.0

/// An event of a trace with its fields.
///
/// The schema of the trace consists of these cases, the names of ``Name`` and ``Field``, and the raw values
/// of the enumerations. The article of this module documents it.
public enum TraceEvent: Equatable, Sendable {
  /// The VM session has reached a phase.
  case phase(name: String)
  /// The VM uses an interface to the IOMMU. The text is the reason.
  case iommu(IOMMUInterface, text: String)
  /// The process has entered a layer of confinement, or has not. The text is the cause, or the part of the layer that the
  /// kernel lacks.
  case layer(name: String, LayerState, text: String)
  /// A window has changed its state. The event follows the change of its memory slot, if there is one.
  case gate(Window, from: WindowState, to: WindowState, why: WindowReason, microseconds: Int64)
  /// The device's command register has been written.
  case command(device: String, old: UInt16, new: UInt16, microseconds: Int64)
  /// A range of guest RAM was mapped for all devices of the host, or unmapped.
  case memory(MapOperation, iova: UInt64, size: UInt64, microseconds: Int64)
  /// A range of guest RAM was mapped for a device in another process, or unmapped.
  case share(MapOperation, device: String, iova: UInt64, size: UInt64, microseconds: Int64)
  /// Windows were mapped for other devices, or unmapped.
  ///
  /// - Parameters:
  ///   - first: The first window. Its size is the total size of all windows.
  ///   - windows: The number of windows.
  ///   - container: The I/O address space.
  ///   - microseconds: The duration of the operation in microseconds.
  case peer(MapOperation, first: Window, windows: Int, container: Int, microseconds: Int64)
  /// The host has enabled another kind of interrupt.
  case interrupts(device: String, mode: InterruptMode, vectors: Int, microseconds: Int64)
  /// A vector was changed.
  case vector(device: String, vector: Int, VectorOperation, microseconds: Int64)
  /// The device has been reset, alone or with its bus.
  case reset(device: String, why: ResetReason, ResetMethod, microseconds: Int64)
  /// The guest has lost access to the device.
  case loss(device: String, DeviceState, microseconds: Int64)
  /// The life of a device behind a port has reached a state.
  case slot(device: String, SlotState)
  /// An operation failed and the VM continues without it.
  case warning(device: String, text: String)
  /// The last record. The trace file accepted no data until the timeout.
  case truncated(path: String)

  /// A window of a BAR.
  public struct Window: Equatable, Sendable {
    /// The device's address on the PCI bus.
    public let device: String
    /// The BAR.
    public let bar: Int
    /// The window's number within the device.
    public let index: Int
    /// The guest-physical address of its first byte.
    public let address: UInt64
    /// The size in bytes.
    public let size: UInt64

    /// Creates a window.
    public init(device: String, bar: Int, index: Int, address: UInt64, size: UInt64) {
      self.device = device
      self.bar = bar
      self.index = index
      self.address = address
      self.size = size
    }
  }

  /// A state of a window.
  public enum WindowState: String, CaseIterable, Sendable {
    /// No access reaches the device.
    case closed
    /// The first access opens it.
    case armed
    /// It is mapped.
    case open
  }

  /// The cause of a window's change.
  public enum WindowReason: String, CaseIterable, Sendable {
    /// The guest accessed the window.
    case access
    /// The command register was written.
    case command
    /// A BAR was moved.
    case move
    /// The power state changed.
    case power
    /// A reset began or ended.
    case reset
    /// The kernel removed the memory under the window.
    case fault
    /// The VM ends.
    case shutdown
    /// The kernel reported an error of the device.
    case error
    /// The device is released to the host.
    case release
    /// The function's port began or ceased to forward accesses.
    case port
  }

  /// A change of an I/O address space.
  public enum MapOperation: String, CaseIterable, Sendable {
    /// Devices can reach the memory from now on.
    case map
    /// Devices can no longer reach the memory.
    case unmap
  }

  /// A kind of interrupt.
  public enum InterruptMode: String, CaseIterable, Sendable {
    /// No interrupt.
    case none
    /// The interrupt pin.
    case intx
    /// MSI.
    case msi
    /// MSI-X.
    case msix
  }

  /// A change of an interrupt vector.
  public enum VectorOperation: String, CaseIterable, Sendable {
    /// The host has allocated the vector, and an eventfd is its trigger.
    case allocate
    /// The vector is connected to the guest's interrupt controller.
    case unmask
    /// The vector is disconnected. Its eventfd counts further signals.
    case mask
    /// The vector has another message.
    case route
  }

  /// The kernel's interface to the IOMMU.
  public enum IOMMUInterface: String, CaseIterable, Sendable {
    /// VFIO groups and containers.
    case type1
    /// iommufd and the VFIO device cdev.
    case iommufd
  }

  /// The cause of a reset.
  public enum ResetReason: String, CaseIterable, Sendable {
    /// The VM has taken the device from the host.
    case start
    /// The guest requested the reset (FLR).
    case flr
    /// The device returned from D3hot to D0 and does not keep its state.
    case power
    /// The guest reset the slot of the device's port.
    case slot
    /// The device is released to the host.
    case handBack = "hand-back"
  }

  /// The reach of a reset.
  public enum ResetMethod: String, CaseIterable, Sendable {
    /// Only the device.
    case function
    /// All devices of its bus.
    case bus
  }

  /// The state of a layer of confinement.
  public enum LayerState: String, CaseIterable, Sendable {
    /// The process has entered the layer.
    case active
    /// The process has not entered the layer.
    case off
  }

  /// The state of a device that the guest can no longer access.
  public enum DeviceState: String, CaseIterable, Sendable {
    /// The device had an error. Sluice owns it until the VM ends.
    case isolated
    /// The device has been released to the host.
    case released
  }

  /// The life of a device behind a port.
  public enum SlotState: String, CaseIterable, Sendable {
    /// The device is in the slot, and its power is off.
    case present
    /// The guest reaches the device.
    case enabled
    /// The device had an error. The guest does not reach it until it resets the slot.
    case contained
    /// The guest resets the slot.
    case resetting
    /// The host requests the device, and the guest has not released it.
    case leaving
    /// The device has left the slot.
    case gone
  }
}

extension TraceEvent {
  /// The device's address on the PCI bus, or nil if the event concerns no single device.
  public var device: String? {
    switch self {
    case .phase, .layer, .iommu, .memory, .truncated: nil
    case .gate(let window, _, _, _, _), .peer(_, let window, _, _, _): window.device
    case .command(let device, _, _, _), .interrupts(let device, _, _, _), .vector(let device, _, _, _),
      .reset(let device, _, _, _), .loss(let device, _, _), .slot(let device, _), .warning(let device, _),
      .share(_, let device, _, _, _):
      device
    }
  }

  /// The duration in microseconds, or nil if the event has none.
  public var microseconds: Int64? {
    switch self {
    case .phase, .layer, .iommu, .slot, .warning, .truncated: nil
    case .gate(_, _, _, _, let microseconds), .command(_, _, _, let microseconds),
      .memory(_, _, _, let microseconds), .share(_, _, _, _, let microseconds),
      .peer(_, _, _, _, let microseconds),
      .interrupts(_, _, _, let microseconds), .vector(_, _, _, let microseconds),
      .reset(_, _, _, let microseconds), .loss(_, _, let microseconds):
      microseconds
    }
  }
}
