// SPDX-License-Identifier: Apache-2.0

internal import Gate
internal import KVM
public import Linux
public import PCI
public import Trace
internal import VFIO

/// The open files of a VM's devices and of KVM, for a program that this process executes.
public struct OpenedDevices: Sendable {
  private let files: [(name: DescriptorName, descriptor: SharedDescriptor)]

  /// Opens KVM, and the devices by the interface to the IOMMU that a VM with them would choose. Each device must
  /// be ready. Its peers may reach its BARs by the default policy.
  ///
  /// - Parameters:
  ///   - addresses: The devices.
  ///   - requested: The interface that the user requests, or nil for an automatic choice.
  public init(_ addresses: [Address], iommu requested: IOMMUInterface?) throws(RunError) {
    let ready = try VFIOBackend.check(addresses.map { .init(address: $0) }, files: HostFiles())
    let plan = AddressSpacePlan(
      ready.map { AddressSpacePlan.Member(address: $0.address, group: $0.group, policies: DevicePolicies()) })
    let choice = IOMMUChoice(requested, try VFIOBackend.facts(plan, ready, HostFiles()))
    var files: [(DescriptorName, SharedDescriptor)] = []
    files.append(
      (.kvm, SharedDescriptor(try step(RunError.system) { () throws(KVMError) in try KVMSystem.open() })))
    try step(RunError.vfio) { () throws(VFIOError) in
      switch choice.interface {
      case .iommufd:
        files.append((.iommu, SharedDescriptor(try IOMMUFD.openForUser())))
      case .type1:
        files.append((.container, SharedDescriptor(try Container.open())))
        for (index, device) in ready.enumerated()
        where !ready[..<index].contains(where: { $0.group == device.group }) {
          files.append(
            (.group(device.group), SharedDescriptor(try Group.open(device.group, device: device.address))))
        }
      }
    }
    if choice.interface == .iommufd {
      for (address, device) in zip(addresses, ready) {
        guard let cdev = device.cdev else { throw .host(.noCdev(device.address)) }
        let descriptor = try step(RunError.vfio) { () throws(VFIOError) in
          try BoundDevice.open(cdev, of: device.address)
        }
        files.append((.device(address), SharedDescriptor(descriptor)))
      }
    }
    let lines = try zip(addresses, ready).map { address, device throws(RunError) in
      try Self.facts(address, device).line + "\n"
    }
    files.append(
      (
        .devices,
        SharedDescriptor(
          try step(RunError.kernel) { () throws(KernelError) in
            try SealedMemory.make("devices", [UInt8](lines.joined().utf8))
          })
      ))
    self.files = files
  }

  private static func facts(_ address: Address, _ device: ReadyDevice) throws(RunError) -> PassedDevice {
    let methods = try step(RunError.kernel) { () throws(KernelError) in
      try HostDevice(address: device.address)?.resetMethods ?? []
    }
    return PassedDevice(
      address: address, group: device.group, resetMethods: methods, cdev: device.cdev, iommu: device.iommu,
      isExpress: device.isExpress, reserved: device.reserved)
  }

  /// The names of the files, in the order of their numbers.
  public var names: [String] { files.map(\.name.description) }

  /// Gives the files the numbers from 3 on, sets the variables of sd_listen_fds(3), and keeps the files open at the
  /// exec. Other files get these numbers replaced.
  public func pass() throws(KernelError) {
    let start = ListenVariables.start
    // The numbers may overlap.
    let copies = try files.map { file throws(KernelError) in
      SharedDescriptor(
        try OwnedDescriptor(duplicating: file.descriptor.number, above: start + Int32(files.count)))
    }
    for file in files { file.descriptor.close() }
    for (index, copy) in copies.enumerated() {
      try copy.duplicate(to: start + Int32(index))
    }
    try ListenVariables.set(names)
  }

  /// Closes the files. The numbers from 3 on, if ``pass()`` has set them, are closed too.
  public func close() {
    for file in files { file.descriptor.close() }
    // The numbers are closed before a device is unbound, which waits for its last file.
    do throws(KernelError) { try InheritedDescriptors.close() } catch {}
  }
}
