// SPDX-License-Identifier: Apache-2.0

internal import Gate
internal import KVM
internal import Linux
internal import PCI
internal import Passthrough
internal import Seams
internal import Trace
internal import VFIO

/// The backend for devices of VFIO: groups in type1 containers, or cdevs bound to an iommufd.
struct VFIOBackend: Backend {
  typealias Device = VFIO.Device
  typealias Space = AddressSpace
  typealias Machine = MachineResources

  let choice: IOMMUChoice
  let spaces: [DMAMapper<AddressSpace>.Member]
  private let owned: VFIOOwnership
  /// The KVM device that holds the groups or cdevs. KVM knows them as long as it is open.
  private let registration: VirtualMachine.KVMVFIODevice

  /// Returns the facts about devices of the host. Throws an error if a device is not ready. Opens no device.
  static func check(
    _ devices: [Configuration.AssignedDevice], files: HostFiles
  ) throws(RunError) -> [ReadyDevice] {
    guard let passed = files.devices else { return try check(devices) }
    return try devices.map { device throws(RunError) in
      guard let facts = passed.first(where: { $0.address == device.address.address }) else {
        throw .vfio(.noDevice(device.address.description))
      }
      let cdev = facts.cdev ?? (files.has(.device(facts.address)) ? "(unknown)" : nil)
      return ReadyDevice(
        address: facts.address.description, group: facts.group, token: device.token, reserved: facts.reserved,
        cdev: cdev, iommu: facts.iommu, isExpress: facts.isExpress,
        hasPort: device.hasPort)
    }
  }

  private static func check(_ devices: [Configuration.AssignedDevice]) throws(RunError) -> [ReadyDevice] {
    var ready: [ReadyDevice] = []
    for device in devices {
      let address = device.address.description
      let found = try step(RunError.kernel) { () throws(KernelError) in
        try HostDevice(address: address).map { host throws(KernelError) in
          (
            state: try host.readiness, group: try host.group, reserved: try host.reservedAddresses,
            cdev: try host.cdev, isExpress: try host.isExpress, iommu: try host.iommu
          )
        }
      }
      guard let found else { throw .vfio(.noDevice(address)) }
      guard found.state == .ready, let group = found.group else {
        throw .vfio(.notReady(address, found.state))
      }
      ready.append(
        ReadyDevice(
          address: address, group: group, token: device.token, reserved: found.reserved, cdev: found.cdev,
          iommu: found.iommu, isExpress: found.isExpress, hasPort: device.hasPort))
    }
    return ready
  }

  /// See ``HostBackend/peerObstacle``.
  let peerObstacle: String?

  /// Creates the I/O address spaces; see ``HostBackend``. The policy of a device that is added is not known.
  init(
    _ plan: AddressSpacePlan, ready: [ReadyDevice], machine: VirtualMachine, iommu: IOMMUInterface?,
    files: HostFiles, mayGrow: Bool
  ) throws(RunError) {
    var facts = try Self.facts(plan, ready, files)
    // The policy of a device that is added is not known.
    if mayGrow, facts.peerTarget == nil { facts.peerTarget = "a device in a port" }
    var choice = IOMMUChoice(iommu, facts)
    registration = try step(RunError.kernel) { () throws(KernelError) in try machine.makeVFIODevice() }
    if choice.interface == .iommufd {
      let iommufd = try step(RunError.vfio) { () throws(VFIOError) in try files.iommufd() }
      let bound = try Self.bindDevices(ready, files, iommufd, registration)
      // The kernel answers this only for a bound device.
      facts.lacksDMABuffers = facts.peerTarget != nil && !bound.allSatisfy(\.exportsDMABuffers)
      choice = IOMMUChoice(iommu, facts)
      if choice.interface == .iommufd {
        let ioas: [IOAS]
        (ioas, spaces) = try Self.attach(plan, bound, iommufd)
        owned = VFIOOwnership(registration, iommufd: iommufd, bound: bound, spaces: ioas)
      } else {
        for device in bound { Self.release(device, registration) }
        (owned, spaces) = try Self.attachGroups(plan, ready, files, registration)
      }
    } else {
      (owned, spaces) = try Self.attachGroups(plan, ready, files, registration)
    }
    self.choice = choice
    peerObstacle = choice.interface == .iommufd && facts.peerTarget != nil ? facts.dmaBufferObstacle : nil
  }

  /// Closes a device that is not used. KVM's reference to its file would keep it open.
  private static func release(_ device: BoundDevice, _ registration: VirtualMachine.KVMVFIODevice) {
    // KVM refuses only a file that it does not have.
    do throws(KernelError) { try registration.remove(file: device.descriptorNumber) } catch {}
    device.close()
  }

  static func facts(
    _ plan: AddressSpacePlan, _ ready: [ReadyDevice], _ files: HostFiles
  ) throws(RunError) -> IOMMUChoice.Facts {
    IOMMUChoice.Facts(
      passed: files.interface, iommufdError: files.interface == nil ? IOMMUFD.openingError : nil,
      withoutCdev: ready.filter { $0.cdev == nil }.map(\.address),
      peerTarget: ready.first { device in
        plan.policies(of: device.address, reachesItself: !device.isExpress).contains { $0 != .off }
      }?.address,
      iommus: Set(ready.compactMap(\.iommu)),
      kernel: try step(RunError.kernel) { () throws(KernelError) in try KernelVersion.current },
      tokenDevice: ready.first { $0.token != nil }?.address)
  }

  /// Opens the groups and creates a container for each I/O address space. No device is opened.
  private static func attachGroups(
    _ plan: AddressSpacePlan, _ ready: [ReadyDevice], _ files: HostFiles,
    _ registration: VirtualMachine.KVMVFIODevice
  ) throws(RunError) -> (VFIOOwnership, [DMAMapper<AddressSpace>.Member]) {
    var groups: [Group] = []
    var containers: [Container] = []
    var spaces: [DMAMapper<AddressSpace>.Member] = []
    for (space, (numbers, devices)) in zip(plan.spaces, plan.devices).enumerated() {
      let container = try step(RunError.vfio) { () throws(VFIOError) in try files.container(space) }
      containers.append(container)
      for (index, number) in numbers.enumerated() {
        let device = ready.first { $0.group == number }?.address ?? ""
        groups.append(
          try step(RunError.vfio) { () throws(VFIOError) in
            try files.group(number, device: device, container: container, isFirst: index == 0)
          })
      }
      spaces.append(
        try step(RunError.operation) { () throws(OperationError) in
          try .init(AddressSpace(container), devices: devices)
        })
    }
    try step(RunError.kernel) { () throws(KernelError) in
      for group in groups { try registration.add(file: group.descriptorNumber) }
    }
    let members = ready.map { (address: $0.address, group: $0.group) }
    return (VFIOOwnership(registration, groups: groups, containers: containers, members: members), spaces)
  }

  /// Opens the cdevs and binds them to an iommufd. The kernel resets each device. KVM knows the devices before that.
  private static func bindDevices(
    _ ready: [ReadyDevice], _ files: HostFiles, _ iommufd: IOMMUFD,
    _ registration: VirtualMachine.KVMVFIODevice
  ) throws(RunError) -> [BoundDevice] {
    try concurrentMap(ready) { device throws(RunError) in
      guard let cdev = device.cdev else { throw .host(.noCdev(device.address)) }
      let bound = try step(RunError.vfio) { () throws(VFIOError) in
        try files.cdev(cdev, of: device)
      }
      try step(RunError.kernel) { () throws(KernelError) in try registration.add(file: bound.descriptorNumber)
      }
      try step(RunError.vfio) { () throws(VFIOError) in
        try bound.bind(to: iommufd, token: device.token.flatMap(VFToken.bytes))
      }
      return bound
    }
  }

  /// Attaches bound devices to the I/O address spaces of a plan.
  private static func attach(
    _ plan: AddressSpacePlan, _ bound: [BoundDevice], _ iommufd: IOMMUFD
  ) throws(RunError) -> ([IOAS], [DMAMapper<AddressSpace>.Member]) {
    var all: [IOAS] = []
    var spaces: [DMAMapper<AddressSpace>.Member] = []
    for devices in plan.devices {
      let space = try step(RunError.vfio) { () throws(VFIOError) in
        let space = try iommufd.makeSpace()
        for device in bound where devices.contains(device.address) { try device.attach(to: space) }
        return space
      }
      all.append(space)
      // Each attached device may narrow the ranges.
      spaces.append(
        try step(RunError.operation) { () throws(OperationError) in
          try .init(AddressSpace(space), devices: devices)
        })
    }
    return (all, spaces)
  }

  func open(_ device: ReadyDevice) throws(RunError) -> VFIO.Device {
    try step(RunError.vfio) { () throws(VFIOError) in try owned.open(device) }
  }

  func add(_ device: ReadyDevice, files: HostFiles) throws(RunError) -> AddedDevice<VFIOBackend> {
    try owned.add(device, files, choice.interface)
  }

  var groups: [String] { owned.groups }

  func isLast(_ address: String) -> Bool { owned.isLast(address) }

  func remove(_ address: String) { owned.remove(address) }
}
