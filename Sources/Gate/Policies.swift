// SPDX-License-Identifier: Apache-2.0

/// The time at which a device's memory is mapped.
public enum MappingPolicy: String, Sendable, Hashable, CaseIterable {
  /// At the guest's first access to the window.
  case onFault = "on-fault"
  /// When the function's memory becomes enabled.
  case onEnable = "on-enable"
  /// Whenever the function's memory is enabled, including after a BAR moves.
  case eager

  /// True if the policy maps windows at this trigger.
  func includes(_ trigger: Gate.MapTrigger) -> Bool {
    switch trigger {
    case .open: true
    case .enable: self != .onFault
    case .move: self == .eager
    }
  }
}

/// The time at which a device's memory is mapped for DMA by another device.
public enum PeerPolicy: Sendable, Hashable {
  /// Never.
  case off
  /// With the guest's own access, or earlier.
  case mapped(MappingPolicy)

  /// True if the policy maps windows at this trigger.
  public func includes(_ trigger: Gate.MapTrigger) -> Bool {
    switch self {
    case .off: false
    case .mapped(let policy): policy.includes(trigger)
    }
  }

  /// The text that ``init(_:)`` parses.
  public var text: String {
    switch self {
    case .off: "off"
    case .mapped(let policy): policy.rawValue
    }
  }

  /// Parses `on-fault`, `on-enable`, `eager` or `off`. Returns nil for any other text.
  public init?(_ text: String) {
    if text == "off" {
      self = .off
    } else if let policy = MappingPolicy(rawValue: text) {
      self = .mapped(policy)
    } else {
      return nil
    }
  }
}

/// The handling of the device's own memory-enable bit.
public enum MemoryBitPolicy: String, Sendable, CaseIterable {
  /// The guest's bit is written to the device.
  case forward
  /// The guest's bit controls only the gate. The device's bit stays set.
  case shadow
}

/// The policies for one device.
public struct DevicePolicies: Sendable, Equatable {
  /// The time at which its windows open.
  public var barMap = MappingPolicy.onFault
  /// The time at which other devices can reach its windows, unless `peers` has an exception.
  public var peerDMA = PeerPolicy.mapped(.onFault)
  /// The exceptions for single peers, by their address on the host.
  public var peers: [String: PeerPolicy] = [:]
  /// The handling of its memory-enable bit.
  public var memoryBit = MemoryBitPolicy.forward

  /// Creates the default policies.
  public init() {}

  /// Returns the policy for a peer's access to its windows.
  public func policy(for peer: String) -> PeerPolicy { peers[peer] ?? peerDMA }
}
