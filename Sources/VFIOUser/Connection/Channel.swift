// SPDX-License-Identifier: Apache-2.0

package import Linux
internal import Synchronization

/// A socket for messages. Several threads send; each message is sent as a whole.
package final class Channel: Sendable {
  private let socket: OwnedDescriptor
  /// Taken by any thread for one message. No lock is taken inside it.
  private let sending = Mutex(())

  /// The number of the socket.
  package let number: Int32

  /// Takes ownership of a connected socket.
  package init(_ socket: consuming OwnedDescriptor) {
    number = socket.number
    self.socket = socket
  }

  /// Sends a message. Waits for room in the socket, and for memory of the host, until the deadline.
  ///
  /// - Parameters:
  ///   - bytes: The header and the body.
  ///   - descriptors: The descriptors to pass, which stay open here.
  ///   - milliseconds: The deadline.
  /// - Throws: An error after which the stream can end within a message.
  package func send(
    _ bytes: [UInt8], descriptors: [Int32] = [], within milliseconds: Int32
  ) throws(ConnectionFault) {
    try withLock(within: milliseconds) { () throws(KernelError) in
      try transmit(bytes[...], descriptors, within: milliseconds)
    }
  }

  /// Sends a posted write, as ``send(_:descriptors:within:)`` does.
  func send(_ write: PostedWrite, within milliseconds: Int32) throws(ConnectionFault) {
    try withLock(within: milliseconds) { () throws(KernelError) in
      var sent = 0
      do throws(KernelError) {
        sent = try write.withBytes { bytes throws(KernelError) in
          try MessageSocket.send(bytes, to: number)
        }
      } catch { guard MessageSocket.isShortage(error) else { throw error } }
      if sent == write.size { return true }
      return try transmit(write.bytes(from: sent)[...], [], within: milliseconds)
    }
  }

  /// Sends a message as a whole. The closure returns false after the deadline.
  private func withLock(
    within milliseconds: Int32, _ body: () throws(KernelError) -> Bool
  ) throws(ConnectionFault) {
    do throws(KernelError) {
      if try sending.withLock({ _ throws(KernelError) in try body() }) { return }
    } catch { throw MessageSocket.isEnd(error) ? .ended : .kernel(error) }
    throw .stalled(milliseconds: milliseconds)
  }

  /// Sends all bytes. Returns false after the deadline.
  private func transmit(
    _ bytes: ArraySlice<UInt8>, _ descriptors: [Int32], within milliseconds: Int32
  ) throws(KernelError) -> Bool {
    var rest = bytes
    var passed = descriptors
    var end: Int64?
    while true {
      let (sent, shortage) = try attempt(rest, passed)
      rest = rest.dropFirst(sent)
      if rest.isEmpty { return true }
      if sent > 0 {
        passed = []
        continue
      }
      let limit = end ?? Clock.microseconds() + Int64(milliseconds) * 1000
      end = limit
      let left = Deadline.milliseconds(until: limit)
      guard left > 0 else {
        if let shortage { throw shortage }
        return false
      }
      if shortage == nil {
        _ = try MessageSocket.waitForRoom(number, milliseconds: left)
      } else {
        _ = try MessageSocket.waitForInput([], milliseconds: Self.shortageInterval)
      }
    }
  }

  /// Sends bytes. A shortage of the host is no error: no byte is sent.
  private func attempt(
    _ bytes: ArraySlice<UInt8>, _ descriptors: [Int32]
  ) throws(KernelError) -> (sent: Int, shortage: KernelError?) {
    do throws(KernelError) {
      return (try MessageSocket.send(bytes, descriptors: descriptors, to: number), nil)
    } catch {
      guard MessageSocket.isShortage(error) else { throw error }
      return (0, error)
    }
  }

  /// The time between two attempts while the host lacks memory, in milliseconds.
  private static var shortageInterval: Int32 { 2 }

  /// Ends both directions. Calls of the peer return.
  package func end() { MessageSocket.end(number) }
}

/// Points in time of the monotonic clock.
enum Deadline {
  /// Returns the milliseconds until a time in microseconds, rounded up; 0 if it has passed.
  static func milliseconds(until time: Int64) -> Int32 {
    Int32(clamping: max(0, (time - Clock.microseconds() + 999) / 1000))
  }
}
