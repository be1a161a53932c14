// SPDX-License-Identifier: Apache-2.0

public import Gate

/// What was decided about a device before it is taken over.
public struct FunctionConfiguration: Sendable {
  /// Its policies.
  let policies: DevicePolicies
  /// When its windows are mapped in each I/O address space.
  let peers: [PeerPolicy]
  /// How it can be reset.
  let reset: ResetMethod
  /// How many windows each of its BARs may have.
  let windowsPerBAR: Int

  /// Collects the decisions.
  public init(
    policies: DevicePolicies, peers: [PeerPolicy], reset: ResetMethod, budget: WindowBudget
  ) {
    self.policies = policies
    self.peers = peers
    self.reset = reset
    windowsPerBAR = budget.windowsPerBAR(policies.barMap)
  }

  /// Whether its reset leaves the VM's other devices alone, so that they can be reset at the same time.
  public var isResetAlone: Bool { if case .bus(let isAlone) = reset { isAlone } else { true } }

  /// The earliest of what the other devices ask for.
  var earliest: MappingPolicy {
    if peers.contains(.mapped(.eager)) { return .eager }
    return peers.contains(.mapped(.onEnable)) ? .onEnable : .onFault
  }
}
