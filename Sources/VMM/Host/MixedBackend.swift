// SPDX-License-Identifier: Apache-2.0

internal import Gate
internal import GuestMemory
internal import KVM
internal import Passthrough
internal import Seams
internal import VFIO

/// The backend for devices of the host and for devices in other processes.
///
/// A device in another process has no I/O address space here: ``ServerDevice`` owns its access to guest RAM.
struct MixedBackend: HostBackend {
  typealias Device = MixedDevice
  typealias Space = AddressSpace
  typealias Machine = MachineResources

  /// The backend of the host's devices, or nil if the VM can have none.
  private let vfio: VFIOBackend?
  /// The devices in other processes, or nil if the VM can have none.
  private let servers: Servers?
  private let files: HostFiles

  static func check(
    _ devices: [Configuration.AssignedDevice], files: HostFiles
  ) throws(RunError) -> [ReadyDevice] {
    var host = try VFIOBackend.check(devices.filter { $0.address.path == nil }, files: files)[...]
    var index = 0
    var ready: [ReadyDevice] = []
    for device in devices {
      if device.address.path == nil {
        ready += [host.removeFirst()]
      } else {
        ready.append(
          ReadyDevice(
            address: device.address.description, group: "", token: nil, reserved: [],
            hasPort: device.hasPort, server: index))
        index += 1
      }
    }
    return ready
  }

  init(
    _ plan: AddressSpacePlan, ready: [ReadyDevice], machine: VirtualMachine, memory: GuestMemory,
    iommu: IOMMUInterface?, files: HostFiles, ports: Int, eventLog: EventLog
  ) throws(RunError) {
    self.files = files
    let host = ready.filter { $0.server == nil }
    let others = ready.filter { $0.server != nil }
    // A VM whose devices are all in other processes needs no IOMMU.
    vfio =
      try host.isEmpty && !others.isEmpty
      ? nil
      : VFIOBackend(plan, ready: host, machine: machine, iommu: iommu, files: files, mayGrow: ports > 0)
    let places = others.count { !$0.hasPort } + ports
    servers =
      try memory.file == nil || places == 0 ? nil : Servers(memory, count: places, shared: eventLog.shared)
  }

  var choice: IOMMUChoice? { vfio?.choice }
  var peerObstacle: String? { vfio?.peerObstacle }
  var spaces: [DMAMapper<AddressSpace>.Member] { vfio?.spaces ?? [] }
  var readers: ServerReaders? { servers?.readers }
  var groups: [String] { vfio?.groups ?? [] }

  func open(_ device: ReadyDevice) throws(RunError) -> MixedDevice {
    guard let index = device.server else {
      guard let vfio else { throw .host(.noHostDevices(device.address)) }
      return .host(try vfio.open(device))
    }
    let name = Self.name(device)
    guard let servers else { throw .server(.notShared(name)) }
    let open = try servers.open(name, index, files)
    guard servers.readers.give(open) else { throw .server(.noReader(name)) }
    return .server(open)
  }

  func add(_ device: ReadyDevice, files: HostFiles) throws(RunError) -> AddedDevice<MixedBackend> {
    guard device.server == nil else {
      let name = Self.name(device)
      guard let servers else { throw .server(.notShared(name)) }
      return AddedDevice(device: .server(try servers.add(name, files)), space: nil)
    }
    guard let vfio else { throw .host(.noHostDevices(device.address)) }
    let added = try vfio.add(device, files: files)
    return AddedDevice(device: .host(added.device), space: added.space)
  }

  private static func name(_ device: ReadyDevice) -> DeviceName {
    DeviceName(device.address) ?? .server(device.address)
  }

  private static func isServer(_ address: String) -> Bool { DeviceName(address)?.path != nil }

  func isLast(_ address: String) -> Bool { !Self.isServer(address) && vfio?.isLast(address) ?? false }

  func remove(_ address: String) { if !Self.isServer(address) { vfio?.remove(address) } }
}
