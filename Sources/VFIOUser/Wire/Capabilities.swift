// SPDX-License-Identifier: Apache-2.0

/// The capabilities that a side of a connection announces in VERSION. A missing key has its default.
public struct Capabilities: Equatable, Sendable {
  /// `max_msg_fds`: the maximum number of descriptors of a message to this side.
  public var messageDescriptors: UInt64 = 1
  /// `max_data_xfer_size`: the maximum number of data bytes of a message to this side.
  public var transferSize: UInt64 = 1 << 20
  /// `max_dma_maps`: the maximum number of ranges that are mapped at a time.
  public var dmaMaps: UInt64 = 65535
  /// `pgsizes`: the sizes of pages, as bits.
  public var pageSizes: UInt64 = 4096
  /// `write_multiple`: this side accepts REGION_WRITE_MULTI.
  public var writesMultiple = false
  /// `twin_socket.supported`: this side supports a second socket for commands of the server.
  public var twinSocket = false
  /// `twin_socket.fd_index`: the index of the socket among the descriptors of the server's reply, or nil if the reply
  /// has no socket.
  public var twinSocketIndex: UInt64?

  /// Creates the defaults.
  public init() {}

  /// Reads capabilities. Unknown keys are ignored. Returns nil if a known key has another type, or a limit is zero.
  init?(_ object: [String: JSONValue]) {
    for (key, path) in Self.numbers {
      guard let value = object[key] else { continue }
      guard case .number(let number) = value, number > 0 else { return nil }
      self[keyPath: path] = number
    }
    switch object["write_multiple"] {
    case nil: break
    case .bool(let value): writesMultiple = value
    default: return nil
    }
    switch object["twin_socket"] {
    case nil: break
    case .object(let twin):
      switch twin["supported"] {
      case nil: break
      case .bool(let value): twinSocket = value
      default: return nil
      }
      switch twin["fd_index"] {
      case nil: break
      case .number(let value): twinSocketIndex = value
      default: return nil
      }
    default: return nil
    }
  }

  private static var numbers: [(String, WritableKeyPath<Self, UInt64>)] {
    [
      ("max_msg_fds", \.messageDescriptors), ("max_data_xfer_size", \.transferSize),
      ("max_dma_maps", \.dmaMaps), ("pgsizes", \.pageSizes),
    ]
  }

  /// The JSON object.
  var text: String {
    var fields = Self.numbers.map { "\"\($0.0)\":\(self[keyPath: $0.1])" }
    fields.append("\"write_multiple\":\(writesMultiple)")
    if twinSocket || twinSocketIndex != nil {
      let index = twinSocketIndex.map { ",\"fd_index\":\($0)" } ?? ""
      fields.append("\"twin_socket\":{\"supported\":\(twinSocket)\(index)}")
    }
    return "{\(fields.joined(separator: ","))}"
  }
}
