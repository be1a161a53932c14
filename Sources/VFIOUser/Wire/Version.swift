// SPDX-License-Identifier: Apache-2.0

/// The body of VERSION and of its reply: two numbers, and a JSON object that ends with NUL.
public struct Version: Body {
  /// The major version that this module speaks. Versions with another major number are incompatible.
  public static let major: UInt16 = 0
  /// The minor version that this module speaks.
  public static let minor: UInt16 = 1
  /// The maximum size of the body, in bytes.
  public static let mostBytes = 4096

  /// The sender's major version.
  public var major: UInt16
  /// The sender's minor version.
  public var minor: UInt16
  /// The sender's capabilities.
  public var capabilities: Capabilities

  /// Creates a body.
  public init(
    major: UInt16 = Version.major, minor: UInt16 = Version.minor, capabilities: Capabilities = Capabilities()
  ) {
    (self.major, self.minor, self.capabilities) = (major, minor, capabilities)
  }

  /// Parses a body. The text may be absent.
  public init(parsing bytes: ArraySlice<UInt8>) throws(MessageError) {
    let name = Command.version.description
    guard bytes.count <= Self.mostBytes else {
      throw MessageError(name, .size(bytes.count, expected: 4...Self.mostBytes))
    }
    var reader = FieldReader(bytes, name)
    major = try reader.take()
    minor = try reader.take()
    capabilities = Capabilities()
    let text = reader.remainder
    if text.isEmpty { return }
    guard text.last == 0,
      case .object(let object) = JSONValue(String(decoding: text.dropLast(), as: UTF8.self))
    else { throw MessageError(name, .text) }
    switch object["capabilities"] {
    case nil: break
    case .object(let members):
      guard let capabilities = Capabilities(members) else { throw MessageError(name, .text) }
      self.capabilities = capabilities
    default: throw MessageError(name, .text)
    }
  }

  /// The bytes on the wire.
  public var encoded: [UInt8] {
    var bytes: [UInt8] = []
    bytes.append(field: major)
    bytes.append(field: minor)
    return bytes + Array("{\"capabilities\":\(capabilities.text)}".utf8) + [0]
  }
}
