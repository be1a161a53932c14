// SPDX-License-Identifier: Apache-2.0

public import PCI

/// The name of an assigned device in configurations, messages, the trace and the control socket.
public enum DeviceName: Hashable, Sendable, CustomStringConvertible {
  /// A device of the host, by its PCI address.
  case pci(Address)
  /// A device in another process, by the path of the process's socket (vfio-user).
  case server(String)

  /// The prefix of the name of a device in another process.
  public static let prefix = "vfio-user:"
  /// The maximum size of the path of a socket, in bytes (unix(7)).
  public static let maxPath = 107

  /// Parses a name. Returns nil for an invalid address or path.
  public init?(_ text: String) {
    guard text.hasPrefix(Self.prefix) else {
      guard let address = Address(text) else { return nil }
      self = .pci(address)
      return
    }
    let path = String(text.dropFirst(Self.prefix.count))
    // A comma starts the options.
    guard 1...Self.maxPath ~= path.utf8.count,
      path.utf8.allSatisfy({ (0x21..<0x7F).contains($0) && $0 != UInt8(ascii: ",") })
    else { return nil }
    self = .server(path)
  }

  /// The address on the host's PCI buses, or nil if the device is in another process.
  public var address: Address? { if case .pci(let address) = self { address } else { nil } }

  /// The path of the socket of the device's process, or nil for a device of the host.
  public var path: String? { if case .server(let path) = self { path } else { nil } }

  /// The address, or the path after ``prefix``.
  public var description: String {
    switch self {
    case .pci(let address): address.description
    case .server(let path): Self.prefix + path
    }
  }
}
