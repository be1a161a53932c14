// SPDX-License-Identifier: Apache-2.0

internal import Gate
internal import KVM
public import Linux
internal import PCI
public import Trace
internal import VFIO

/// The open files of a VM's devices and of KVM, for a program that this process executes.
public struct OpenedDevices: Sendable {
  private let files: [File]

  /// Opens KVM, and the devices by the interface to the IOMMU that a VM with them would choose. Each device must
  /// be ready.
  ///
  /// - Parameters:
  ///   - devices: The devices, with the policies and tokens of the VM.
  ///   - requested: The interface that the user requests, or nil for an automatic choice.
  public init(
    _ devices: [Configuration.AssignedDevice], iommu requested: IOMMUInterface?
  ) throws(RunError) {
    let others = devices.compactMap { $0.address.path == nil ? nil : $0.address }
    let devices = devices.filter { $0.address.path == nil }
    let ready = try VFIOBackend.check(devices, files: HostFiles())
    var files = [
      try File(.kvm, step(RunError.system) { () throws(KVMError) in try KVMSystem.open() })
    ]
    // A VM without devices uses no IOMMU.
    if !ready.isEmpty {
      let plan = AddressSpacePlan(devices, groups: ready.map(\.group))
      switch IOMMUChoice(requested, try VFIOBackend.facts(plan, ready, HostFiles())).interface {
      case .iommufd: files += try Self.cdevs(devices, ready)
      case .type1: files += try Self.groups(ready, containers: plan.spaces.count)
      }
    }
    for (index, name) in others.enumerated() { files.append(try Self.server(name, index)) }
    files.append(try Self.facts(devices, ready))
    self.files = files
  }

  /// Connects to the process of a device that is added to a running VM.
  public init(adding name: DeviceName) throws(RunError) { files = [try Self.server(name, 0)] }

  private static func server(_ name: DeviceName, _ index: Int) throws(RunError) -> File {
    do throws(KernelError) {
      return File(.server(index), try StreamSocket.connect(to: name.path ?? "", waits: true))
    } catch { throw .server(.connect(name, error)) }
  }

  /// Opens the files of a device that is added to a running VM.
  ///
  /// - Parameters:
  ///   - device: The device, with the policies and the token of the VM.
  ///   - interface: The VM's interface to the IOMMU.
  ///   - groups: The numbers of the groups that the VM has open. They cannot be opened again.
  public init(
    adding device: Configuration.AssignedDevice, iommu interface: IOMMUInterface, groups: Set<String>
  ) throws(RunError) {
    let ready = try VFIOBackend.check([device], files: HostFiles())
    var files: [File] =
      switch interface {
      case .iommufd: try Self.cdevs([device], ready)
      case .type1: try Self.groups(ready.filter { !groups.contains($0.group) }, containers: 1)
      }
    files.append(try Self.facts([device], ready))
    self.files = files
  }

  /// The numbers of the files, in the order of ``names``.
  public var numbers: [Int32] { files.map(\.descriptor.number) }

  /// An open file.
  private struct File: Sendable {
    let name: DescriptorName
    let descriptor: SharedDescriptor

    init(_ name: DescriptorName, _ descriptor: consuming OwnedDescriptor) {
      (self.name, self.descriptor) = (name, SharedDescriptor(descriptor))
    }
  }

  /// Opens an iommufd and the cdev of each device.
  private static func cdevs(
    _ devices: [Configuration.AssignedDevice], _ ready: [ReadyDevice]
  ) throws(RunError) -> [File] {
    var files = [try File(.iommu, step(RunError.vfio) { () throws(VFIOError) in try IOMMUFD.openForUser() })]
    for (device, ready) in zip(devices, ready) {
      guard let cdev = ready.cdev, let address = device.address.address else {
        throw .host(.noCdev(ready.address))
      }
      files.append(
        try File(
          .device(address),
          step(RunError.vfio) { () throws(VFIOError) in try BoundDevice.open(cdev, of: ready.address) }))
      for index in 0..<(device.hasPort ? BoundDevice.spareLimit : 0) {
        files.append(
          try File(
            .spare(address, index),
            step(RunError.vfio) { () throws(VFIOError) in try BoundDevice.open(cdev, of: ready.address) }))
      }
    }
    return files
  }

  /// Opens containers and the group of each device.
  private static func groups(_ ready: [ReadyDevice], containers: Int) throws(RunError) -> [File] {
    try step(RunError.vfio) { () throws(VFIOError) in
      var files: [File] = []
      for index in 0..<containers { files.append(File(.container(index), try Container.open())) }
      for (index, device) in ready.enumerated()
      where !ready[..<index].contains(where: { $0.group == device.group }) {
        files.append(File(.group(device.group), try Group.open(device.group, device: device.address)))
      }
      return files
    }
  }

  /// Writes the facts about devices into sealed memory.
  private static func facts(
    _ devices: [Configuration.AssignedDevice], _ ready: [ReadyDevice]
  ) throws(RunError) -> File {
    var lines: [String] = []
    for (device, ready) in zip(devices, ready) {
      if let address = device.address.address { lines.append(try facts(address, ready).line + "\n") }
    }
    return try File(
      .devices,
      step(RunError.kernel) { () throws(KernelError) in
        try SealedMemory.make("devices", [UInt8](lines.joined().utf8))
      })
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

  /// Closes the files.
  public func closeFiles() { for file in files { file.descriptor.close() } }

  /// Closes the files. The numbers from 3 on, if ``pass()`` has set them, are closed too.
  public func close() {
    closeFiles()
    // The numbers are closed before a device is unbound, which waits for its last file.
    do throws(KernelError) { try InheritedDescriptors.close() } catch {}
  }
}
