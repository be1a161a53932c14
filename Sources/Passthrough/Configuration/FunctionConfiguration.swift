// SPDX-License-Identifier: Apache-2.0

public import Gate

/// The decisions about a device that are made before it is assigned.
public struct FunctionConfiguration: Sendable {
  /// The policies of the device.
  let policies: DevicePolicies
  /// The policy for mapping its windows in each I/O address space.
  let peers: [PeerPolicy]
  /// The method by which it can be reset.
  let reset: ResetMethod
  /// The maximum number of windows per BAR, before the MSI-X structures split any.
  let windowsPerBAR: Int
  /// True if the function is behind a port.
  let isBehindPort: Bool

  /// Creates a configuration from the decisions.
  public init(
    policies: DevicePolicies, peers: [PeerPolicy], reset: ResetMethod, budget: WindowBudget,
    isBehindPort: Bool = false
  ) {
    self.isBehindPort = isBehindPort
    self.policies = policies
    self.peers = peers
    self.reset = reset
    windowsPerBAR = budget.windowsPerBAR(policies.barMap)
  }

  /// True if its reset affects no other device of the VM. Such devices can be reset concurrently.
  public var isResetAlone: Bool { if case .bus(let isAlone) = reset { isAlone } else { true } }

  /// The most eager peer policy of all I/O address spaces, or `on-fault` if no space has a peer policy.
  var mostEagerPeerPolicy: MappingPolicy {
    if peers.contains(.mapped(.eager)) { return .eager }
    return peers.contains(.mapped(.onEnable)) ? .onEnable : .onFault
  }
}
