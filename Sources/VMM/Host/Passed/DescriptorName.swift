// SPDX-License-Identifier: Apache-2.0

internal import Linux
public import PCI
internal import VFIO

/// The name of a descriptor that another process passes to a VM.
public enum DescriptorName: Hashable, Sendable, CustomStringConvertible {
  /// An open /dev/kvm.
  case kvm
  /// An open /dev/vfio/vfio, for an I/O address space. The value is its index.
  case container(Int)
  /// An open /dev/iommu.
  case iommu
  /// An open /dev/vfio/NUMBER.
  case group(String)
  /// An open cdev of a device.
  case device(Address)
  /// Another open file of the cdev, by which a device behind a port is opened again after an error. The value is its
  /// index.
  case spare(Address, Int)
  /// The facts about the devices: sealed memory with one JSON object per line.
  case devices
  /// The kernel image.
  case kernel
  /// The initial RAM disk.
  case initrd
  /// The trace.
  case trace
  /// The guest's console.
  case console
  /// The service manager's socket for notifications.
  case notify
  /// The control socket.
  case control
  /// A socket that is connected to the process of a device. The value is the index among the VM's devices of this kind.
  case server(Int)

  private static let fixed: [DescriptorName] = [
    .kvm, .container(0), .iommu, .devices, .kernel, .initrd, .trace, .console, .notify,
    .control, .server(0),
  ]

  /// Parses a name. Returns nil for an unknown name.
  public init?(_ text: String) {
    if let name = Self.fixed.first(where: { $0.description == text }) {
      self = name
    } else if text.hasPrefix("group."), Self.isGroup(text.dropFirst(6)) {
      self = .group(String(text.dropFirst(6)))
    } else if text.hasPrefix("container."), let index = Int(text.dropFirst(10)), index > 0,
      DescriptorName.container(index).description == text
    {
      self = .container(index)
    } else if text.hasPrefix("vfio-user."), let index = Int(text.dropFirst(10)), index > 0,
      DescriptorName.server(index).description == text
    {
      self = .server(index)
    } else if text.hasPrefix("device."), let address = Self.address(text.dropFirst(7)) {
      self = .device(address)
    } else if text.hasPrefix("spare."), let address = Self.address(text.dropFirst(6).prefix(12)),
      let index = (0..<BoundDevice.spareLimit).first(where: { Self.spare(address, $0).description == text })
    {
      self = .spare(address, index)
    } else {
      return nil
    }
  }

  /// Parses an address with hyphens in place of colons.
  private static func address(_ text: Substring) -> Address? {
    guard text.utf8.count == 12, let address = Address(text.split(separator: "-").joined(separator: ":")),
      self.text(address) == text
    else { return nil }
    return address
  }

  /// A colon separates names in LISTEN_FDNAMES, so that an address has hyphens in place of colons.
  private static func text(_ address: Address) -> String {
    address.description.split(separator: ":").joined(separator: "-")
  }

  /// True for the decimal number of a group.
  static func isGroup(_ text: some StringProtocol) -> Bool {
    (1...10).contains(text.utf8.count) && text.utf8.allSatisfy { (0x30...0x39).contains($0) }
  }

  /// The name.
  public var description: String {
    switch self {
    case .kvm: "kvm"
    case .container(let index): index == 0 ? "container" : "container.\(index)"
    case .iommu: "iommu"
    case .group(let number): "group.\(number)"
    case .device(let address): "device.\(Self.text(address))"
    case .spare(let address, let index): "spare.\(Self.text(address))\(index == 0 ? "" : ".\(index)")"
    case .devices: "devices"
    case .kernel: "kernel"
    case .initrd: "initrd"
    case .trace: "trace"
    case .console: "console"
    case .notify: "notify"
    case .control: "control"
    case .server(let index): index == 0 ? "vfio-user" : "vfio-user.\(index)"
    }
  }

  /// The kind of file that the name requires.
  var kind: String {
    switch self {
    case .kvm: "an open /dev/kvm"
    case .container: "an open /dev/vfio/vfio"
    case .iommu: "an open /dev/iommu"
    case .group(let number): "an open /dev/vfio/\(number)"
    case .device(let address), .spare(let address, _): "an open cdev of \(address) that is not bound"
    case .devices: "sealed memory of at most \(PassedDevice.maxSize >> 10) KiB"
    case .kernel, .initrd: "a regular file that can be read"
    case .trace: "a file that can be written"
    case .console: "a terminal, a pipe or a socket that can be read and written"
    case .notify: "a socket"
    case .control:
      "a listening Unix stream socket whose file has mode 0600 and belongs to root or to this user"
    case .server: "a connected Unix stream socket"
    }
  }

  /// True for the descriptors by which a VM owns its devices.
  var isOfDevices: Bool {
    switch self {
    case .container, .iommu, .group, .device, .spare: true
    default: false
    }
  }

  /// Returns true if a file is of the kind that the name requires.
  func accepts(_ facts: DescriptorFacts) -> Bool {
    switch self {
    case .kvm: facts.isKVM
    case .container: facts.isContainer
    case .iommu: facts.isIOMMUFD
    case .group: facts.isGroup
    case .device, .spare: facts.isUnboundDevice
    case .devices: facts.isSealed && facts.isReadable
    case .kernel, .initrd: facts.kind == .regular && facts.isReadable
    case .trace: facts.isWritable && facts.kind != .socket
    case .console: facts.isReadable && facts.isWritable && facts.kind != .regular
    case .notify: facts.kind == .socket
    case .control: facts.isPrivateListener
    case .server: facts.isConnectedStream
    }
  }
}
