// SPDX-License-Identifier: Apache-2.0

package import Linux

/// A whole message.
package struct Message: Sendable {
  /// The header.
  package let header: Header
  /// The bytes after the header.
  package let body: [UInt8]
  /// The descriptors of the message, from number 0 on, or nil if it has none. They are closed with the last copy of
  /// the message unless they are taken.
  package let descriptors: PassedDescriptors<Int>?

  /// The number of descriptors.
  package var descriptorCount: Int { descriptors?.remaining.count ?? 0 }
}

/// The incoming direction of a socket. A message may arrive in pieces; no call waits for the rest.
package struct MessageStream: ~Copyable, Sendable {
  /// The maximum size of a message with the header, in bytes.
  private let limit: Int
  private var header: Header?
  /// The bytes of the header, then of the body.
  private var bytes: [UInt8] = []
  private var descriptors: PassedDescriptors<Int>?

  /// Creates a stream.
  ///
  /// - Parameter limit: The maximum size of a message with the header, in bytes.
  package init(limit: Int) { self.limit = limit }

  /// Returns the next message of a socket, or nil if the rest of it has not arrived.
  ///
  /// - Throws: ``ConnectionFault/ended`` at the end of the connection, also within a message. A message that is too
  ///   large is an error before memory is allocated for it.
  package mutating func next(from socket: Int32) throws(ConnectionFault) -> Message? {
    while true {
      let wanted = header?.bodySize ?? Header.size
      if bytes.count == wanted {
        guard let header else {
          do throws(MessageError) { header = try Header(parsing: bytes[...], limit: limit) } catch {
            throw .malformed(error)
          }
          bytes = []
          continue
        }
        let message = Message(header: header, body: bytes, descriptors: descriptors)
        (self.header, bytes, descriptors) = (nil, [], nil)
        return message
      }
      switch try Self.receive(wanted - bytes.count, from: socket) {
      case .nothing: return nil
      case .end: throw .ended
      case .bytes(let more, let passed):
        if bytes.isEmpty { bytes = more } else { bytes += more }
        guard let passed else { continue }
        guard descriptors == nil else {
          throw .malformed(MessageError("message", .descriptors(passed.remaining.count, expected: 0)))
        }
        descriptors = passed
      }
    }
  }

  private static func receive(_ count: Int, from socket: Int32) throws(ConnectionFault) -> MessageSocket.Input
  {
    do throws(KernelError) { return try MessageSocket.receive(upTo: count, from: socket) } catch {
      throw MessageSocket.isEnd(error) ? .ended : .kernel(error)
    }
  }
}
