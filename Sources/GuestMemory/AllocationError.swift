// SPDX-License-Identifier: Apache-2.0

public import Linux

extension GuestMemory {
  /// A reason why guest RAM could not be created.
  public enum AllocationError: Error, Equatable, CustomStringConvertible {
    /// The host's pool has too few huge pages (ENOMEM).
    case hugePages(count: UInt64, kibibytes: UInt64, KernelError)
    /// The host has no huge pages of the size (ENODEV).
    case noHugePageSize(kibibytes: UInt64, KernelError)
    /// This process may not use the NUMA node, or the host does not have it (EINVAL).
    case node(Int, KernelError)
    /// Another call failed.
    case kernel(KernelError)

    /// The operation and the cause.
    public var description: String {
      switch self {
      case .hugePages(let count, let kibibytes, let error):
        "guest RAM of \(count) huge pages of \(kibibytes)K: \(error)"
      case .noHugePageSize(let kibibytes, let error):
        "guest RAM of huge pages of \(kibibytes)K: \(error): the host has no huge pages of that size"
      case .node(let node, let error):
        "guest RAM of NUMA node \(node): \(error): this process may not use that node"
      case .kernel(let error): "guest RAM: \(error)"
      }
    }
  }
}
