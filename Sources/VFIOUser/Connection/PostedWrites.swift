// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

/// The decision if a write to a region waits for the server's reply.
///
/// A write without a reply is a posted write, as on PCI. With one socket, libvfio-user's server fails a DMA transfer if a
/// command arrives before the reply to the transfer. Writes are therefore posted only if the server sends its commands on
/// a second socket, or if it has answered ``requiredReplies`` writes and has sent no command: a server that uses the
/// descriptors of guest RAM sends none. After a command on the first socket, no write is posted.
final class PostedWrites: Sendable {
  /// The number of answered writes that show that the server uses descriptors.
  static let requiredReplies = 64
  /// One of this number of writes waits for its reply. The server's delay is thus bounded, and the deadline applies.
  static let interval = 128

  private let hasTwinSocket: Bool
  private let hasCommands = Atomic<Bool>(false)
  private let replies = Atomic<Int>(0)
  private let writes = Atomic<Int>(0)

  init(hasTwinSocket: Bool) { self.hasTwinSocket = hasTwinSocket }

  /// Returns true if the next write does not wait for its reply.
  func isNextPosted() -> Bool {
    let usesDescriptors =
      !hasCommands.load(ordering: .relaxed) && replies.load(ordering: .relaxed) >= Self.requiredReplies
    guard hasTwinSocket || usesDescriptors else { return false }
    return writes.wrappingAdd(1, ordering: .relaxed).newValue % Self.interval != 0
  }

  /// Counts a write that the server has answered while guest RAM was mapped.
  func countReply() { replies.wrappingAdd(1, ordering: .relaxed) }

  /// Records a command of the server on the first socket.
  func recordCommand() { hasCommands.store(true, ordering: .relaxed) }
}
