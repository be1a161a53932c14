// SPDX-License-Identifier: Apache-2.0

internal import KVM
internal import Linux
internal import PCI
internal import Passthrough
internal import Seams
internal import Synchronization
internal import Trace
internal import VFIO

/// The files by which this process owns the devices of a VM: groups in type1 containers, or cdevs bound to an iommufd.
final class VFIOOwnership: Sendable {
  private struct State {
    var groups: [Group] = []
    /// The group of each device.
    var members: [(address: String, group: String)] = []
    var containers: [Container] = []
    var iommufd: IOMMUFD?
    var bound: [BoundDevice] = []
    /// The I/O address space of devices that are added, or nil.
    var space: IOAS?
    /// The number of I/O address spaces that have devices.
    var spaces = 0
  }

  /// The start uses it, and the control thread when a device is added or removed.
  private let state: Mutex<State>
  /// KVM's record of the files.
  private let registration: VirtualMachine.KVMVFIODevice

  init(
    _ registration: VirtualMachine.KVMVFIODevice, groups: [Group], containers: [Container],
    members: [(address: String, group: String)]
  ) {
    self.registration = registration
    state = Mutex(State(groups: groups, members: members, containers: containers, spaces: containers.count))
  }

  init(
    _ registration: VirtualMachine.KVMVFIODevice, iommufd: IOMMUFD, bound: [BoundDevice], spaces: [IOAS]
  ) {
    self.registration = registration
    state = Mutex(State(iommufd: iommufd, bound: bound, space: spaces.first, spaces: spaces.count))
  }

  /// Opens a device at the start.
  func open(_ device: ReadyDevice) throws(VFIOError) -> VFIO.Device {
    let (groups, bound) = state.withLock { ($0.groups, $0.bound) }
    if let one = bound.first(where: { $0.address == device.address }) { return try open(one) }
    guard let group = groups.first(where: { $0.number == device.group }) else {
      throw .noDevice(device.address)
    }
    return try VFIO.Device(address: device.address, group: group, groups: groups, token: device.token)
  }

  private func open(_ bound: BoundDevice) throws(VFIOError) -> VFIO.Device {
    try VFIO.Device(
      bound, willOpen: { [registration] file throws(KernelError) in try registration.add(file: file) }
    ) { [registration] file in
      // KVM refuses only a file that it does not have. The device is then released when the process ends.
      do throws(KernelError) { try registration.remove(file: file) } catch {}
    }
  }

  /// Opens a device while the VM runs; see ``HostBackend/add(_:files:)``.
  func add(
    _ device: ReadyDevice, _ files: HostFiles, _ interface: IOMMUInterface
  ) throws(RunError) -> AddedDevice<VFIOBackend> {
    try state.withLock { state throws(RunError) in
      guard state.spaces <= 1 else { throw .host(.severalSpaces(device.address, state.spaces)) }
      return switch interface {
      case .type1: try addGroup(device, files, &state)
      case .iommufd: try addBound(device, files, &state)
      }
    }
  }

  private func addGroup(
    _ device: ReadyDevice, _ files: HostFiles, _ state: inout State
  ) throws(RunError) -> AddedDevice<VFIOBackend> {
    let isFirst = state.groups.isEmpty
    if state.containers.isEmpty {
      try files.require(.container(0))
      state.containers = [try step(RunError.vfio) { () throws(VFIOError) in try files.container(0) }]
    }
    let container = state.containers[0]
    let known = state.groups.first { $0.number == device.group }
    if known == nil { try files.require(.group(device.group)) }
    let group = try step(RunError.vfio) { () throws(VFIOError) in
      if let known { return known }
      return try files.group(device.group, device: device.address, container: container, isFirst: isFirst)
    }
    if known == nil {
      try step(RunError.kernel) { () throws(KernelError) in
        try registration.add(file: group.descriptorNumber)
      }
    }
    do throws(RunError) {
      let open = try step(RunError.vfio) { () throws(VFIOError) in
        try VFIO.Device(
          address: device.address, group: group, groups: state.groups + (known == nil ? [group] : []),
          token: device.token)
      }
      let space = try isFirst ? Self.member(AddressSpace(container), device) : nil
      if known == nil { state.groups.append(group) }
      state.members.append((device.address, device.group))
      state.spaces = 1
      return AddedDevice(device: open, space: space)
    } catch {
      if known == nil { forget(group.descriptorNumber) }
      throw error
    }
  }

  private func addBound(
    _ device: ReadyDevice, _ files: HostFiles, _ state: inout State
  ) throws(RunError) -> AddedDevice<VFIOBackend> {
    guard let cdev = device.cdev, let address = Address(device.address) else {
      throw .host(.noCdev(device.address))
    }
    try files.require(.device(address))
    let isFirst = state.bound.isEmpty
    let bound = try step(RunError.vfio) { () throws(VFIOError) in try files.cdev(cdev, of: device) }
    try step(RunError.kernel) { () throws(KernelError) in
      try registration.add(file: bound.descriptorNumber)
    }
    do throws(RunError) {
      let (open, space) = try step(RunError.vfio) { () throws(VFIOError) in
        let iommufd = if let iommufd = state.iommufd { iommufd } else { try files.iommufd() }
        state.iommufd = iommufd
        let space = if let space = state.space { space } else { try iommufd.makeSpace() }
        state.space = space
        try bound.bind(to: iommufd, token: device.token.flatMap(VFToken.bytes))
        try bound.attach(to: space)
        return (try self.open(bound), space)
      }
      let member = try isFirst ? Self.member(AddressSpace(space), device) : nil
      state.bound.append(bound)
      state.spaces = 1
      return AddedDevice(device: open, space: member)
    } catch {
      forget(bound.descriptorNumber)
      bound.close()
      throw error
    }
  }

  private static func member(
    _ space: AddressSpace, _ device: ReadyDevice
  ) throws(RunError) -> DMAMapper<AddressSpace>.Member {
    try step(RunError.operation) { () throws(OperationError) in try .init(space, devices: [device.address]) }
  }

  /// Removes a file from KVM, whose reference would keep it open.
  private func forget(_ file: Int32) {
    // KVM refuses only a file that it does not have.
    do throws(KernelError) { try registration.remove(file: file) } catch {}
  }

  /// The numbers of the groups that are open.
  var groups: [String] { state.withLock { $0.groups.map(\.number) } }

  /// True if a device is the last one of the VM.
  func isLast(_ address: String) -> Bool {
    state.withLock { state in
      state.members.allSatisfy { $0.address == address } && state.bound.allSatisfy { $0.address == address }
    }
  }

  /// Closes the files that only this device needed. A container without a group keeps no mapping.
  func remove(_ address: String) {
    state.withLock { state in
      state.bound.removeAll { $0.address == address }
      if let group = state.members.first(where: { $0.address == address })?.group {
        state.members.removeAll { $0.address == address }
        if !state.members.contains(where: { $0.group == group }) {
          // A function that the VM had at its start refers to its group until the VM ends.
          for one in state.groups where one.number == group {
            forget(one.descriptorNumber)
            one.close()
          }
          state.groups.removeAll { $0.number == group }
        }
      }
      if state.members.isEmpty, state.bound.isEmpty { state.spaces = 0 }
    }
  }
}
