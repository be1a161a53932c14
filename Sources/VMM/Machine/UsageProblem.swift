// SPDX-License-Identifier: Apache-2.0

/// A configuration that is invalid on every host.
public enum UsageProblem: Error, Equatable, CustomStringConvertible {
  /// Guest RAM is smaller than ``Configuration/minMemory``. The size is in bytes.
  case memoryTooSmall(UInt64)
  /// The size of guest RAM is not a multiple of the backing's page size. Sizes are in bytes.
  case memoryNotAligned(UInt64, pageSize: UInt64)
  /// The number of vCPUs is less than 1 or more than 255.
  case cpuCount(Int)
  /// A processor is configured for a vCPU that the VM does not have.
  case pinnedCPU(Int, cpus: Int)
  /// There are more devices than PCI slots on the root bus.
  case deviceCount(Int)
  /// There are more empty ports than PCI slots on the root bus that no device has.
  case portCount(Int, devices: Int)
  /// A device is named twice.
  case duplicate(DeviceName)
  /// A device has a policy for a peer that is not another device of the VM.
  case unknownPeer(String, of: DeviceName)
  /// A device that is to be connected to again is on the root bus, where the guest cannot find it again.
  case reconnectWithoutPort(DeviceName)
  /// The explicit backing of guest RAM cannot be shared with the process of a device. The device is nil if it can be added
  /// later.
  case privateMemory(for: DeviceName?)

  /// The subject and the cause.
  public var description: String {
    switch self {
    case .memoryTooSmall(let size):
      "\(size) bytes: a guest needs at least \(Configuration.minMemory >> 20)M"
    case .memoryNotAligned(let size, let pageSize):
      "\(size) bytes: not a multiple of the page size, \(pageSize >> 10)K"
    case .cpuCount(let count): "\(count) is not between 1 and 255"
    case .pinnedCPU(let cpu, let cpus): "vCPU \(cpu): the VM has only vCPUs 0 to \(cpus - 1)"
    case .deviceCount(let count):
      "\(count) devices: the root bus has PCI slots for \(Configuration.maxDevices)"
    case .portCount(let count, let devices):
      "\(count) ports: the root bus has PCI slots for \(Configuration.maxDevices - devices) beside the devices"
    case .duplicate(let address): "\(address): named twice, but a device can be in only one PCI slot"
    case .unknownPeer(let peer, let address):
      "\(address): its peer \(peer) is not another device of this VM"
    case .reconnectWithoutPort(let address):
      "\(address): reconnect= without a port, which the guest needs to find the device again"
    case .privateMemory(let address):
      "transparent huge pages are private memory, which the process of \(address?.description ?? "a device") cannot access"
    }
  }
}
