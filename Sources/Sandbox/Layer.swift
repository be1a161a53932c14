// SPDX-License-Identifier: Apache-2.0

/// A layer of a run's confinement, in the order in which a process enters them.
public enum Layer: String, CaseIterable, Sendable {
  case namespaces
  case capabilities
  case noNewPrivileges = "no_new_privs"
  case landlock
  case seccomp
  case guestMemory = "core dumps"

  /// The layer's effect.
  public var text: String {
    switch self {
    case .namespaces: "own user, mount, network, IPC and UTS namespaces, and an empty root directory"
    case .capabilities: "none, and an empty bounding set"
    case .noNewPrivileges: "execve() cannot add privileges to a thread (PR_SET_NO_NEW_PRIVS)"
    case .landlock: "no file can be opened, no TCP or UDP port used and no other process signalled"
    case .seccomp: "a system call outside the table kills the process, as do int 0x80 and x32 calls"
    case .guestMemory: "guest RAM is excluded (MADV_DONTDUMP)"
    }
  }

  /// The layers that a run can leave out.
  public static let optional: [Layer] = allCases.filter { $0 != .guestMemory }
}

/// The layers of a run.
public struct LayerChoice: Equatable, Sendable {
  /// The layers that the run does not enter.
  public var leftOut: Set<Layer>
  /// The layers without which the run does not start.
  public var required: Set<Layer>

  /// Creates a choice. The default is every layer that the kernel has.
  public init(leftOut: Set<Layer> = [], required: Set<Layer> = []) {
    self.leftOut = leftOut
    self.required = required
  }

  /// The choice of a run without the sandbox.
  public static let none = LayerChoice(leftOut: Set(Layer.optional))

  /// Returns true if the run enters a layer.
  public func contains(_ layer: Layer) -> Bool { !leftOut.contains(layer) }

  /// The layers of the run.
  public var layers: [Layer] { Layer.allCases.filter(contains) }

  /// A layer that needs no_new_privs, which is left out, or nil.
  public var lacksNewPrivileges: Layer? {
    contains(.noNewPrivileges) ? nil : [.landlock, .seccomp].first(where: contains)
  }
}

/// The state of a layer in a run.
public struct LayerState: Equatable, Sendable, CustomStringConvertible {
  /// The layer.
  public let layer: Layer
  /// The reason why the process has not entered the layer, or nil if it has.
  public let obstacle: String?
  /// A part of the layer that the kernel lacks or refused, or nil.
  public let gap: String?

  /// Creates a state.
  public init(_ layer: Layer, obstacle: String? = nil, gap: String? = nil) {
    (self.layer, self.obstacle, self.gap) = (layer, obstacle, gap)
  }

  /// The layer, and its effect or the reason why it is off.
  public var description: String {
    if let obstacle { return "\(layer.rawValue): off: \(obstacle)" }
    return "\(layer.rawValue): \(layer.text)\(gap.map { " (\($0))" } ?? "")"
  }
}
