// SPDX-License-Identifier: Apache-2.0

public import Gate
public import GuestMemory
public import PCI

/// What a VM is made of.
public struct Configuration: Sendable {
  /// A host device to hand to the guest.
  public struct AssignedDevice: Sendable, Equatable {
    /// Its address on the host.
    public var address: Address

    /// How it is handed to the guest.
    public var policies: DevicePolicies

    /// The token that its physical function's owner has set, a UUID as text; nil for none.
    public var token: String?

    /// Names a device.
    public init(address: Address, policies: DevicePolicies = DevicePolicies(), token: String? = nil) {
      self.address = address
      self.policies = policies
      self.token = token
    }
  }

  /// The kernel image's path.
  public var kernel: String
  /// The initial RAM disk's path.
  public var initrd: String?
  /// The kernel's command line.
  public var commandLine = ""
  /// Guest RAM, in bytes.
  public var memory: UInt64 = 512 << 20
  /// What stands behind guest RAM.
  public var backing = GuestMemory.Backing.transparentHugePagesIfAvailable
  /// The NUMA node of the host that guest RAM comes from; nil leaves it to the host.
  public var memoryNode: Int?
  /// Whether all pages of guest RAM are populated while the guest starts.
  public var isPreallocated = false
  /// vCPUs.
  public var cpus = 1
  /// For each vCPU that is to stay on one processor of the host, that processor's number.
  public var cpuPins: [Int: Int] = [:]
  /// Devices in the order of their slots on the guest's bus, from slot 1 on.
  public var devices: [AssignedDevice] = []
  /// Where the trace goes.
  public var trace: String?
  /// Whether to print a summary at the end.
  public var printsSummary = false
  /// Whether a write to port 0xf4 ends the VM.
  public var hasDebugExit = false
  /// True if threads are confined.
  public var isSandboxed = true
  /// True if the guest sees VMX or SVM.
  public var isNested = false

  /// Every path that an option names.
  public var files: [String] { [kernel] + [initrd, trace].compactMap(\.self) }

  /// Starts with a kernel and the defaults.
  public init(kernel: String) { self.kernel = kernel }

  /// The slots of the root bus, less the host bridge's.
  public static let mostDevices = 31

  /// The least guest RAM, in bytes.
  public static let leastMemory: UInt64 = 2 << 20

  /// The first problem of the configuration itself, found without a look at any file or device, or nil.
  public var usageProblem: UsageProblem? {
    if memory < Self.leastMemory { return .memoryTooSmall(memory) }
    if memory % backing.pageSize != 0 { return .memoryNotAligned(memory, pageSize: backing.pageSize) }
    if cpus < 1 || cpus > 255 { return .cpuCount(cpus) }
    if let missing = cpuPins.keys.filter({ $0 >= cpus }).min() { return .pinnedCPU(missing, cpus: cpus) }
    if devices.count > Self.mostDevices { return .deviceCount(devices.count) }
    var seen: Set<Address> = []
    for device in devices where !seen.insert(device.address).inserted {
      return .duplicate(device.address)
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
