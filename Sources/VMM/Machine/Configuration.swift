// SPDX-License-Identifier: Apache-2.0

public import Gate
public import GuestMemory
public import PCI
public import Sandbox

/// The configuration of a VM.
public struct Configuration: Sendable {
  /// A device to assign to the guest.
  public struct AssignedDevice: Sendable, Equatable {
    /// The device's name: its address on the host, or the socket of its process.
    public var address: DeviceName

    /// The device's passthrough policies.
    public var policies: DevicePolicies

    /// The VF token that the owner of the physical function has set: a UUID as text, or nil for none.
    public var token: String?

    /// True if the device is behind a root port.
    public var hasPort: Bool

    /// The time in seconds between attempts to connect to the device's process again after its loss, or nil for no attempt.
    public var reconnect: Int?

    /// Creates an assigned device of the host.
    public init(
      address: Address, policies: DevicePolicies = DevicePolicies(), token: String? = nil,
      hasPort: Bool = false
    ) {
      self.init(.pci(address), policies: policies, token: token, hasPort: hasPort)
    }

    /// Creates an assigned device.
    public init(
      _ address: DeviceName, policies: DevicePolicies = DevicePolicies(), token: String? = nil,
      hasPort: Bool = false
    ) {
      self.address = address
      self.policies = policies
      self.token = token
      self.hasPort = hasPort
    }
  }

  /// The path of the kernel image, or nil if its descriptor is passed.
  public var kernel: String?
  /// The path of the initial RAM disk, or nil for none.
  public var initrd: String?
  /// The kernel's command line.
  public var commandLine = ""
  /// The size of guest RAM in bytes.
  public var memory: UInt64 = 512 << 20
  /// The backing of guest RAM.
  public var backing = GuestMemory.Backing.transparentHugePagesIfAvailable
  /// True if guest RAM is shared memory, so that devices in other processes can be added.
  public var sharesMemory = false
  /// The host's NUMA node for guest RAM, or nil if the host chooses.
  public var memoryNode: Int?
  /// True if all pages of guest RAM are populated while the guest starts.
  public var isPreallocated = false
  /// The number of vCPUs.
  public var cpus = 1
  /// The host processors to which vCPUs are bound, by vCPU number.
  public var cpuPins: [Int: Int] = [:]
  /// The interface to the IOMMU, or nil if Sluice chooses.
  public var iommu: IOMMUInterface?
  /// The assigned devices, in the order of their PCI slots on the guest's bus. The first is in PCI slot 1.
  public var devices: [AssignedDevice] = []
  /// The number of root ports without a device.
  public var emptyPorts = 0
  /// The sizes of each port's windows, or nil for `PortWindow.standard`, or less if that does not fit.
  public var portWindow: PortWindow?
  /// The path of the trace, or nil for no trace.
  public var trace: String?
  /// The path of the control socket, or nil for none.
  public var control: String?
  /// True if a summary is printed at the end.
  public var printsSummary = false
  /// True if a write to port 0xf4 ends the VM.
  public var hasDebugExit = false
  /// The layers of confinement.
  public var layers = LayerChoice()
  /// The time in seconds that the guest gets to power off after SIGTERM, or nil if SIGTERM ends the VM at once.
  public var stopTimeout: Int?
  /// True if the guest sees VMX or SVM.
  public var isNested = false

  /// The paths of all files in the configuration.
  public var files: [String] { [kernel, initrd, trace].compactMap(\.self) }

  /// Creates a configuration with a kernel and the defaults.
  public init(kernel: String?) { self.kernel = kernel }

  /// The maximum of ``stopTimeout``: a day.
  public static let maxStopTimeout = 86_400

  /// The maximum number of devices and empty ports: all PCI slots of the root bus except the host bridge's.
  public static let maxDevices = 31

  /// True if the VM can have devices in other processes. Guest RAM is then shared memory.
  public var canHaveServers: Bool { sharesMemory || devices.contains { $0.address.path != nil } }

  /// The backing of guest RAM that the devices permit. Private memory cannot be shared with the process of a device.
  public var sharableBacking: GuestMemory.Backing {
    canHaveServers && backing == .transparentHugePagesIfAvailable ? .memfd : backing
  }

  /// The number of root ports.
  public var portCount: Int { devices.count(where: \.hasPort) + emptyPorts }

  /// The minimum size of guest RAM in bytes.
  public static let minMemory: UInt64 = 2 << 20

  /// The first problem of the configuration itself, or nil. The check accesses no file and no device.
  public var usageProblem: UsageProblem? {
    if memory < Self.minMemory { return .memoryTooSmall(memory) }
    if memory % backing.pageSize != 0 { return .memoryNotAligned(memory, pageSize: backing.pageSize) }
    if cpus < 1 || cpus > 255 { return .cpuCount(cpus) }
    if let missing = cpuPins.keys.filter({ $0 >= cpus }).min() { return .pinnedCPU(missing, cpus: cpus) }
    if devices.count > Self.maxDevices { return .deviceCount(devices.count) }
    if emptyPorts < 0 || emptyPorts > Self.maxDevices - devices.count {
      return .portCount(emptyPorts, devices: devices.count)
    }
    var seen: Set<DeviceName> = []
    for device in devices where !seen.insert(device.address).inserted {
      return .duplicate(device.address)
    }
    for device in devices where device.reconnect != nil && !device.hasPort {
      return .reconnectWithoutPort(device.address)
    }
    if canHaveServers, backing == .transparentHugePages {
      return .privateMemory(for: devices.first { $0.address.path != nil }?.address)
    }
    for device in devices {
      let others = Set(devices.map(\.address.description)).subtracting([device.address.description])
      for peer in device.policies.peers.keys.sorted() where !others.contains(peer) {
        return .unknownPeer(peer, of: device.address)
      }
    }
    return nil
  }
}
