// SPDX-License-Identifier: Apache-2.0

public import PCI

/// A configuration that no VM can have.
public enum UsageProblem: Error, Equatable, CustomStringConvertible {
  /// Less guest RAM than ``Configuration/leastMemory``. Bytes.
  case memoryTooSmall(UInt64)
  /// Guest RAM that is not whole pages of what stands behind it. Bytes.
  case memoryNotAligned(UInt64, pageSize: UInt64)
  /// Fewer than 1 or more than 255 vCPUs.
  case cpuCount(Int)
  /// A vCPU that is to stay on a processor, and that the VM does not have.
  case pinnedCPU(Int, cpus: Int)
  /// More devices than the root bus has slots.
  case deviceCount(Int)
  /// A device that is named twice.
  case duplicate(Address)
  /// A device with a policy for a peer that is not another device of the VM.
  case unknownPeer(String, of: Address)

  /// The subject and the cause.
  public var description: String {
    switch self {
    case .memoryTooSmall(let size):
      "\(size) bytes: a guest needs at least \(Configuration.leastMemory >> 20)M"
    case .memoryNotAligned(let size, let pageSize):
      "\(size) bytes: not a multiple of the page size, \(pageSize >> 10)K"
    case .cpuCount(let count): "\(count) is not between 1 and 255"
    case .pinnedCPU(let cpu, let cpus): "vCPU \(cpu): the VM has the vCPUs 0 to \(cpus - 1)"
    case .deviceCount(let count):
      "\(count) devices: the root bus has \(Configuration.mostDevices) slots"
    case .duplicate(let address): "\(address): named twice, and a device can be in one slot only"
    case .unknownPeer(let peer, let address):
      "\(address): its peer \(peer) is not another device of this VM"
    }
  }
}
