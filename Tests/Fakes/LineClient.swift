// SPDX-License-Identifier: Apache-2.0

import Foundation
import Linux

/// A client of a Unix stream socket that sends and receives lines.
package final class LineClient {
  private let socket: OwnedDescriptor
  /// The socket's number.
  package var number: Int32 { socket.number }
  private var buffer: [UInt8] = []
  /// True if the other process has closed the connection.
  package private(set) var isClosed = false

  /// The number of bytes that the kernel holds for the client.
  package var unread: Int32 {
    var count: Int32 = 0
    // SAFETY: the call fills in the number.
    return unsafe ioctl(socket.number, UInt(FIONREAD), &count) == 0 ? count : 0
  }

  /// Connects to a path.
  package init(_ path: String) throws { socket = try StreamSocket.connect(to: path, waits: true) }

  /// Sends bytes.
  package func send(_ bytes: [UInt8]) throws { try StreamSocket.sendAll(bytes, to: socket.number) }

  /// Sends a line with descriptors.
  package func send(_ line: String, passing descriptors: [Int32] = []) throws {
    try StreamSocket.sendAll(Array("\(line)\n".utf8), passing: descriptors, to: socket.number)
  }

  /// Ends the client's direction of the connection.
  package func endSending() { _ = shutdown(socket.number, Int32(SHUT_WR)) }

  /// Returns the next line without its newline, or nil at the end of the connection or after a timeout.
  package func next(milliseconds: Int32 = 10_000) -> String? {
    while true {
      if let end = buffer.firstIndex(of: 10) {
        defer { buffer.removeFirst(end + 1) }
        return String(decoding: buffer[..<end], as: UTF8.self)
      }
      guard !isClosed, receive(milliseconds) else { return nil }
    }
  }

  /// Waits for bytes. Returns false after the timeout.
  private func receive(_ milliseconds: Int32) -> Bool {
    var poller = pollfd(fd: socket.number, events: Int16(POLLIN), revents: 0)
    // SAFETY: the call fills in the struct.
    guard unsafe poll(&poller, 1, milliseconds) > 0 else { return false }
    do throws(KernelError) {
      let bytes = try socket.read(upTo: 65536)
      isClosed = bytes.isEmpty
      buffer += bytes
    } catch { isClosed = true }
    return true
  }

  /// Waits for the end of the connection, and drops all lines before. Returns false after the timeout.
  package func waitForEnd(milliseconds: Int32 = 10_000) -> Bool {
    while !isClosed { guard receive(milliseconds) else { return false } }
    return true
  }
}
