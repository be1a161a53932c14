// SPDX-License-Identifier: Apache-2.0

internal import Boot
internal import GuestMemory
internal import KVM
internal import Linux
internal import PCI
internal import VFIO

/// The openers of a VM's files. A file comes from its descriptor if one was passed, else from its path.
extension HostFiles {
  /// Returns KVM.
  func system() throws(KVMError) -> KVMSystem {
    if let descriptor = take(.kvm) { return try KVMSystem(descriptor) }
    return try KVMSystem()
  }

  /// Returns the container of an I/O address space.
  ///
  /// - Parameter index: The index of the address space.
  func container(_ index: Int) throws(VFIOError) -> Container {
    if let descriptor = take(.container(index)) { return try Container(descriptor) }
    return try Container()
  }

  /// Returns an iommufd.
  func iommufd() throws(VFIOError) -> IOMMUFD {
    if let descriptor = take(.iommu) { return IOMMUFD(descriptor) }
    return try IOMMUFD()
  }

  /// Returns a group that is attached to a container.
  ///
  /// - Parameters:
  ///   - number: The group's number.
  ///   - device: The address of the device to open, for error messages.
  ///   - container: The container.
  ///   - isFirst: True if the container has no group yet.
  func group(
    _ number: String, device: String, container: Container, isFirst: Bool
  ) throws(VFIOError) -> Group {
    if let descriptor = take(.group(number)) {
      return try Group(descriptor, number: number, device: device, container: container, isFirst: isFirst)
    }
    return try Group(number: number, device: device, container: container, isFirst: isFirst)
  }

  /// Returns a device by its cdev. It is not bound to an iommufd.
  func cdev(_ name: String, of device: ReadyDevice) throws(VFIOError) -> BoundDevice {
    if let address = Address(device.address), let descriptor = take(.device(address)) {
      var spares: [SharedDescriptor] = []
      for index in 0..<BoundDevice.spareLimit {
        if let file = take(.spare(address, index)) { spares.append(SharedDescriptor(file)) }
      }
      return BoundDevice(
        address: device.address, cdev: name, group: device.group, SharedDescriptor(descriptor), spares: spares
      )
    }
    return try BoundDevice(
      address: device.address, cdev: name, group: device.group,
      spareCount: device.hasPort ? BoundDevice.spareLimit : 0)
  }

  /// Loads the kernel and the initrd of a configuration.
  func loadKernel(
    _ configuration: Configuration, commandLine: String, memory: GuestMemory
  ) throws(BootError) -> EntryPoint {
    func source(_ name: DescriptorName, _ path: String?) -> BootSource? {
      number(of: name).map { BootSource(descriptor: $0, name: "(descriptor '\(name)')") }
        ?? path.map { BootSource(path: $0) }
    }
    let entry = try KernelImage.load(
      source(.kernel, configuration.kernel) ?? BootSource(path: ""),
      initrd: source(.initrd, configuration.initrd), commandLine: commandLine, memory: memory)
    for name in [.kernel, .initrd] as [DescriptorName] { _ = take(name) }
    return entry
  }
}
