// SPDX-License-Identifier: Apache-2.0

internal import Gate
public import Linux
internal import PCI
internal import Trace

/// The files of a VM. Each comes from a path, or from a descriptor that another process has passed.
public final class HostFiles: Sendable {
  private let passed: PassedDescriptors<DescriptorName>
  /// The names of all descriptors that were passed.
  private let names: Set<DescriptorName>
  /// The facts about the devices, or nil if the VM opens its devices itself.
  let devices: [PassedDevice]?

  /// Creates files that all come from paths.
  public convenience init() { self.init([:], devices: nil) }

  private init(_ numbers: [DescriptorName: Int32], devices: [PassedDevice]?) {
    passed = PassedDescriptors(numbers)
    names = Set(numbers.keys)
    self.devices = devices
  }

  /// Creates files that have descriptors by name only, for tests of ``check(_:)``.
  init(claiming names: [DescriptorName], devices: [PassedDevice]?) {
    passed = PassedDescriptors([:])
    self.names = Set(names)
    self.devices = devices
  }

  /// Takes descriptors. Checks each name and each file. An exec closes the descriptors from now on.
  ///
  /// - Parameter named: The names and the numbers.
  public convenience init(_ named: [(name: String, number: Int32)]) throws(DescriptorProblem) {
    var numbers: [DescriptorName: Int32] = [:]
    for (text, number) in named {
      guard let name = DescriptorName(text) else { throw .unknown(text.printable) }
      if numbers[name] != nil { throw .doubled(name) }
      if let other = numbers.first(where: { $0.value == number })?.key {
        throw .shared(name, other, number: number)
      }
      guard number > 2, let facts = DescriptorFacts(number) else { throw .closed(name, number: number) }
      guard name.accepts(facts) else { throw .wrong(name, number: number) }
      numbers[name] = number
    }
    guard let number = numbers[.devices] else {
      self.init(numbers, devices: nil)
      return
    }
    let text: [UInt8]
    // The memory is sealed, so that a read cannot fail.
    do throws(KernelError) { text = try readBytes(number, Int(PassedDevice.maxSize) + 1, at: 0) } catch {
      throw .wrong(.devices, number: number)
    }
    guard text.count <= PassedDevice.maxSize else { throw .wrong(.devices, number: number) }
    self.init(numbers, devices: try PassedDevice.all(in: text))
    _ = take(.devices)
  }

  /// Takes the descriptors of a device that is added while the VM runs. Checks each file, and the facts about the device.
  ///
  /// - Parameters:
  ///   - names: The names: the files of a device and `devices`.
  ///   - descriptors: The descriptors, in the order of the names.
  ///   - device: The device.
  convenience init(
    _ names: [DescriptorName], _ descriptors: [SharedDescriptor], for device: Configuration.AssignedDevice
  ) throws(DescriptorProblem) {
    try self.init(zip(names, descriptors).map { ($0.description, $1.number) })
    for descriptor in descriptors { descriptor.release() }
    guard let address = device.address.address else {
      guard has(.server(0)) else { throw .missing(.server(0), cause: "an added device needs it") }
      if let name = names.first(where: { $0 != .server(0) }) {
        throw .unused(name, cause: "the device is \(device.address)")
      }
      return
    }
    guard let devices else { throw .missing(.devices, cause: "an added device needs it") }
    if let index = devices.firstIndex(where: { $0.address != address }) {
      throw .foreign(devices[index].address, line: index + 1)
    }
    guard let facts = devices.first else { throw .noFacts(address) }
    for name in names {
      switch name {
      case .group(let number) where number != facts.group:
        throw .unused(name, cause: "the device is in group \(facts.group)")
      case .server: throw .unused(name, cause: "the device is \(address)")
      case .device(let other) where other != address, .spare(let other, _) where other != address:
        throw .unused(name, cause: "the device is \(address)")
      default: break
      }
    }
  }

  /// Throws an error if a descriptor was not passed that only this VM's opener can open.
  func require(_ name: DescriptorName) throws(RunError) {
    if devices != nil, !has(name) { throw .descriptor(.missing(name, cause: "the added device needs it")) }
  }

  /// True if the descriptor was passed.
  public func has(_ name: DescriptorName) -> Bool { names.contains(name) }

  /// Takes a descriptor that was passed, or returns nil.
  func take(_ name: DescriptorName) -> OwnedDescriptor? { passed.take(name) }

  /// Returns the number of a descriptor that was passed and is not taken, or nil.
  func number(of name: DescriptorName) -> Int32? { passed.number(of: name) }

  /// The numbers that must stay open while the process closes the descriptors that it inherits.
  public var numbers: [Int32] { passed.remaining }

  /// Makes the descriptor `console`, if it was passed, the standard input and output of this process.
  public func connectConsole() throws(KernelError) {
    guard let console = take(.console) else { return }
    for stream: Int32 in [0, 1] { try console.duplicate(to: stream) }
  }

  /// The interface to the IOMMU whose descriptor was passed, or nil.
  var interface: IOMMUInterface? {
    guard devices != nil else { return nil }
    return has(.iommu) ? .iommufd : has(.container(0)) ? .type1 : nil
  }

  /// Checks that a VM has every descriptor that it needs, and uses every descriptor that it has.
  public func check(_ configuration: Configuration) throws(DescriptorProblem) {
    for (name, path) in [
      (.kernel, configuration.kernel), (.initrd, configuration.initrd), (.trace, configuration.trace),
      (.control, configuration.control),
    ]
      as [(DescriptorName, String?)]
    where has(name) && path != nil { throw .path(name) }
    try checkServers(configuration.devices.count { $0.address.path != nil })
    guard let devices else {
      if let name = names.filter(\.isOfDevices).sorted(by: { $0.description < $1.description }).first {
        throw .missing(.devices, cause: "the descriptor '\(name)' is")
      }
      return
    }
    try check(configuration, devices)
  }

  /// Checks the sockets of devices in other processes.
  ///
  /// - Parameter count: The number of these devices.
  private func checkServers(_ count: Int) throws(DescriptorProblem) {
    for name in names.sorted(by: { $0.description < $1.description }) {
      if case .server(let index) = name, index >= count {
        throw .unused(name, cause: "the VM has \(count) devices of vfio-user")
      }
    }
    guard devices != nil, let missing = (0..<count).first(where: { !has(.server($0)) }) else { return }
    throw .missing(.server(missing), cause: "the VM's devices need it")
  }

  private func check(_ configuration: Configuration, _ devices: [PassedDevice]) throws(DescriptorProblem) {
    if has(.iommu), has(.container(0)) {
      throw .unused(.container(0), cause: "the descriptor 'iommu' is passed too")
    }
    if let interface, let requested = configuration.iommu, interface != requested {
      throw .interface(interface == .iommufd ? .iommu : .container(0), requested: requested)
    }
    let assigned = configuration.devices.filter { $0.address.path == nil }
    let addresses = Set(assigned.compactMap(\.address.address))
    for (index, device) in devices.enumerated() where !addresses.contains(device.address) {
      throw .foreign(device.address, line: index + 1)
    }
    for address in assigned.compactMap(\.address.address)
    where !devices.contains(where: { $0.address == address }) { throw .noFacts(address) }
    var needed: Set<DescriptorName> = []
    if !devices.isEmpty {
      if has(.iommu) {
        needed = Set(devices.map { .device($0.address) }).union([.iommu])
      } else {
        needed = Set(devices.map { .group($0.group) })
        let groups = assigned.map { device in
          devices.first { $0.address == device.address.address }?.group ?? ""
        }
        let plan = AddressSpacePlan(assigned, groups: groups)
        needed.formUnion(plan.spaces.indices.map { .container($0) })
      }
    }
    for name in needed.sorted(by: { $0.description < $1.description }) where !has(name) {
      throw .missing(name, cause: "the VM's devices need it")
    }
    for name in names.sorted(by: { $0.description < $1.description })
    where name.isOfDevices && !needed.contains(name) {
      if case .spare(let address, _) = name, needed.contains(.device(address)) { continue }
      throw .unused(name, cause: "no device of the VM needs it")
    }
  }
}
