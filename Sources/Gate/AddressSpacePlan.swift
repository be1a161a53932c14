// SPDX-License-Identifier: Apache-2.0

/// Which I/O address spaces a VM needs so that every pair of devices can have the policy it was given:
/// groups share one as long as they are to reach the same.
public struct AddressSpacePlan: Sendable {
  /// A device with its IOMMU group and its policies.
  public struct Member: Sendable {
    let address: String
    let group: String
    let policies: DevicePolicies

    /// Describes a device.
    public init(address: String, group: String, policies: DevicePolicies) {
      self.address = address
      self.group = group
      self.policies = policies
    }
  }

  /// The groups of each address space.
  public private(set) var spaces: [[String]] = []
  /// The devices of each address space.
  public private(set) var devices: [[String]] = []
  private let members: [Member]

  /// Plans for the devices of a VM.
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

  /// Whether the devices of a group are to reach what those of an address space reach.
  private func agrees(_ group: String, with others: [String]) -> Bool {
    let own = members.filter { $0.group == group }.map(\.address)
    return members.allSatisfy { target in
      let policies = (own + others).filter { $0 != target.address }.map(target.policies.policy(for:))
      return Set(policies).count <= 1
    }
  }

  /// When a device's windows are mapped in each address space: off if no device there is to reach them. Devices
  /// of one group share an address space; if their policies differ the most generous one counts.
  ///
  /// - Parameter reachesItself: The device may address its own BARs, as a conventional PCI device may: lsi53c895a
  ///   fetches its program from the RAM in its BAR. Its policy is the one for its peers. A PCI Express function does not (PCIe 6.0 §2.2.4.1: requests go
  ///   upstream).
  public func policies(of address: String, reachesItself: Bool = false) -> [PeerPolicy] {
    guard let target = members.first(where: { $0.address == address }) else { return [] }
    return devices.map { others in
      var all = others.filter { $0 != address }.map(target.policies.policy(for:))
      // With peers in its address space it reaches what they are to reach, and no more.
      if all.isEmpty, reachesItself, others.contains(address) { all = [target.policies.peerDMA] }
      for policy in [MappingPolicy.eager, .onEnable, .onFault] where all.contains(.mapped(policy)) {
        return .mapped(policy)
      }
      return .off
    }
  }
}
