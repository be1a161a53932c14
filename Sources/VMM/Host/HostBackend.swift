// SPDX-License-Identifier: Apache-2.0

internal import Gate
internal import GuestMemory
internal import KVM
internal import Passthrough
internal import Seams

/// A backend on this host. It finds the devices of a VM and opens them.
protocol HostBackend: Backend where Machine == MachineResources {
  /// Returns the facts about devices. Throws an error if a device is not ready. Opens no device.
  ///
  /// - Parameters:
  ///   - devices: The devices.
  ///   - files: The files of the VM.
  static func check(
    _ devices: [Configuration.AssignedDevice], files: HostFiles
  ) throws(RunError) -> [ReadyDevice]

  /// Creates the I/O address spaces of a plan and attaches the devices' groups, or the devices.
  ///
  /// - Parameters:
  ///   - plan: The I/O address spaces.
  ///   - ready: The devices.
  ///   - machine: The virtual machine.
  ///   - memory: Guest RAM.
  ///   - iommu: The interface that the user requests, or nil if the backend chooses.
  ///   - files: The files of the VM.
  ///   - ports: The number of ports, to which devices may be added while the VM runs.
  ///   - eventLog: The record of events that belong to no function.
  init(
    _ plan: AddressSpacePlan, ready: [ReadyDevice], machine: VirtualMachine, memory: GuestMemory,
    iommu: IOMMUInterface?, files: HostFiles, ports: Int, eventLog: EventLog
  ) throws(RunError)

  /// The interface to the IOMMU, and the reason for it, or nil if the VM can have no device of the host.
  var choice: IOMMUChoice? { get }

  /// The threads that receive the messages of devices in other processes, or nil if the VM can have no such device.
  var readers: ServerReaders? { get }

  /// The reason why the I/O address spaces cannot map windows that other devices may reach, or nil.
  var peerObstacle: String? { get }

  /// The I/O address spaces, in the order of the plan.
  var spaces: [DMAMapper<Space>.Member] { get }

  /// Opens a device. The kernel resets the device, which may take a second.
  func open(_ device: ReadyDevice) throws(RunError) -> Device

  /// Opens a device while the VM runs. After an error, the VM is as before.
  ///
  /// - Parameters:
  ///   - device: The device.
  ///   - files: The device's descriptors.
  /// - Returns: The device, and its I/O address space if it is new. The caller maps guest RAM in a new one.
  func add(_ device: ReadyDevice, files: HostFiles) throws(RunError) -> AddedDevice<Self>

  /// The IOMMU groups that the VM has open.
  var groups: [String] { get }

  /// True if a device is the last one of the VM.
  func isLast(_ address: String) -> Bool

  /// Closes the files that only this device needed, after the device has been closed.
  func remove(_ address: String)
}

/// A device that was added while the VM runs.
struct AddedDevice<B: Backend> {
  let device: B.Device
  /// The I/O address space if it is new, or nil.
  let space: DMAMapper<B.Space>.Member?
}

/// A device that is ready for passthrough.
struct ReadyDevice: Sendable {
  let address: String
  let group: String
  /// The VF token as text, or nil if none is configured.
  let token: String?
  /// The IOVAs that the device's IOMMU group cannot use.
  let reserved: [ClosedRange<UInt64>]
  /// The name of the device's cdev, or nil if it has none.
  var cdev: String?
  /// The name of the IOMMU that translates the device's DMA, or nil if it is unknown.
  var iommu: String?
  /// True if the device has a PCI Express capability.
  var isExpress = true
  /// True if the device is behind a port.
  var hasPort = false
  /// The index of its socket if it is in another process, or nil for a device of the host.
  var server: Int?
}
