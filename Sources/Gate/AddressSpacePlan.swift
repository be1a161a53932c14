// SPDX-License-Identifier: Apache-2.0

/// The I/O address spaces that a VM needs so that every pair of devices has its policy. IOMMU groups share an
/// address space if every device has the same policy for all their devices.
public struct AddressSpacePlan: Sendable {
  /// A device with its IOMMU group and policies.
  public struct Member: Sendable {
    let address: String
    let group: String
    let policies: DevicePolicies

    /// Creates a member.
    public init(address: String, group: String, policies: DevicePolicies) {
      self.address = address
      self.group = group
      self.policies = policies
    }
  }

  /// The IOMMU groups of each address space.
  public private(set) var spaces: [[String]] = []
  /// The devices of each address space.
  public private(set) var devices: [[String]] = []
  private let members: [Member]

  /// Creates a plan for the devices of a VM.
  public init(_ members: [Member]) {
    self.members = members
    for member in members {
      if let space = spaces.firstIndex(where: { $0.contains(member.group) }) {
        devices[space].append(member.address)
      }
      guard !spaces.contains(where: { $0.contains(member.group) }) else { continue }
      if let space = devices.indices.first(where: { agrees(member.group, with: devices[$0]) }) {
        spaces[space].append(member.group)
        devices[space].append(member.address)
      } else {
        spaces.append([member.group])
        devices.append([member.address])
      }
    }
  }

  /// True if every device has the same policy for the devices of a group and of an address space.
  private func agrees(_ group: String, with others: [String]) -> Bool {
    let own = members.filter { $0.group == group }.map(\.address)
    return members.allSatisfy { target in
      let policies = (own + others).filter { $0 != target.address }.map(target.policies.policy(for:))
      return Set(policies).count <= 1
    }
  }

  /// Returns the policy of a device's windows in each address space. It is off if no device of the address
  /// space may reach the windows. Devices of one group share an address space. If the policies for them differ,
  /// the most eager policy applies.
  ///
  /// - Parameters:
  ///   - address: The device's address on the host's PCI bus.
  ///   - reachesItself: True if the device may address its own BARs, as a conventional PCI device may. For
  ///     example, lsi53c895a fetches its program from the RAM in its BAR. The policy for peers applies. A PCI
  ///     Express function cannot address its own BARs, because its requests go upstream (PCIe 6.0 §2.2.4.1).
  public func policies(of address: String, reachesItself: Bool = false) -> [PeerPolicy] {
    guard let target = members.first(where: { $0.address == address }) else { return [] }
    return devices.map { others in
      var all = others.filter { $0 != address }.map(target.policies.policy(for:))
      // With peers in its address space, the device reaches only the windows that they may reach.
      if all.isEmpty, reachesItself, others.contains(address) { all = [target.policies.peerDMA] }
      for policy in [MappingPolicy.eager, .onEnable, .onFault] where all.contains(.mapped(policy)) {
        return .mapped(policy)
      }
      return .off
    }
  }
}
