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
  public var backing = GuestMemory.Backing.available
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

  /// What is wrong with the arguments themselves, before any file or device is touched; nil where
  /// nothing is.
  public var usageProblem: String? {
    if memory < 2 << 20 { return "--memory: a guest needs at least 2M" }
    if memory % backing.pageSize != 0 {
      return "--memory: \(memory) bytes are not a multiple of the page size, \(backing.pageSize >> 10)K"
    }
    if cpus < 1 || cpus > 255 { return "--cpus: \(cpus) is not between 1 and 255" }
    if let missing = cpuPins.keys.filter({ $0 >= cpus }).min() {
      return "--cpu-pin: there is no vCPU \(missing); --cpus \(cpus) makes 0 to \(cpus - 1)"
    }
    if devices.count > Self.mostDevices {
      return "--device: \(devices.count) devices, but the root bus has \(Self.mostDevices) slots"
    }
    var seen: Set<Address> = []
    for device in devices where !seen.insert(device.address).inserted {
      return "--device: \(device.address) is named twice; a device can be in one slot only"
    }
    for device in devices {
      let others = Set(devices.map(\.address.description)).subtracting([device.address.description])
      for peer in device.policies.peers.keys.sorted() where !others.contains(peer) {
        return "--device: \(device.address) has peer-dma for \(peer), which is no other device of this VM"
      }
    }
    return nil
  }
}
