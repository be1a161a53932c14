// SPDX-License-Identifier: Apache-2.0

/// When something of a device's memory is mapped.
public enum MappingPolicy: String, Sendable, Hashable, CaseIterable {
  /// At the guest's first access to the window.
  case onFault = "on-fault"
  /// When the function's memory comes on.
  case onEnable = "on-enable"
  /// Whenever the function's memory is on: after the move of a BAR, too.
  case eager

  /// True if windows are mapped at this moment, although no access has come.
  func includes(_ trigger: Gate.MapTrigger) -> Bool {
    switch trigger {
    case .open: true
    case .enable: self != .onFault
    case .move: self == .eager
    }
  }
}

/// When a device's memory is mapped for the DMA of another one.
public enum PeerPolicy: Sendable, Hashable {
  /// Never.
  case off
  /// Together with the guest's own access, or earlier.
  case mapped(MappingPolicy)

  /// True if a window is mapped at this moment.
  public func includes(_ trigger: Gate.MapTrigger) -> Bool {
    switch self {
    case .off: false
    case .mapped(let policy): policy.includes(trigger)
    }
  }

  /// Reads `on-fault`, `on-enable`, `eager` or `off`; nil for anything else.
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

/// Who has the last word on the device's own memory-enable bit.
public enum MemoryBitPolicy: String, Sendable, CaseIterable {
  /// The guest's bit is written to the device.
  case forward
  /// The guest's bit rules the gate alone; the device's stays set.
  case shadow
}

/// How one device is handed to the guest.
public struct DevicePolicies: Sendable, Equatable {
  /// When its windows open.
  public var barMap = MappingPolicy.onFault
  /// When other devices can reach its windows, unless `peers` says otherwise.
  public var peerDMA = PeerPolicy.mapped(.onFault)
  /// The same for single devices, by their addresses on the host.
  public var peers: [String: PeerPolicy] = [:]
  /// Its memory-enable bit.
  public var memoryBit = MemoryBitPolicy.forward

  /// The defaults.
  public init() {}

  /// When a device can reach its windows.
  public func policy(for peer: String) -> PeerPolicy { peers[peer] ?? peerDMA }
}
