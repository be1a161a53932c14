// SPDX-License-Identifier: Apache-2.0

internal import Linux

/// The bytes that a client has sent, as lines.
struct RequestLines {
  /// The result of ``next()``.
  enum Next: Equatable {
    /// A line without its newline.
    case line([UInt8])
    /// A line is longer than a request may be.
    case tooLong
    /// No line is complete.
    case none
  }

  private var bytes: [UInt8] = []

  /// Adds bytes.
  mutating func add(_ more: [UInt8]) { bytes += more }

  /// Takes the next line.
  mutating func next() -> Next {
    guard let end = bytes.prefix(ControlRequest.maxSize + 1).firstIndex(of: UInt8(ascii: "\n")) else {
      return bytes.count > ControlRequest.maxSize ? .tooLong : .none
    }
    defer { bytes.removeFirst(end + 1) }
    return .line(Array(bytes[..<end]))
  }
}

/// A client of the control socket. Only the thread of the socket uses it.
final class ControlClient {
  private let socket: OwnedDescriptor
  var lines = RequestLines()
  /// The bytes that the kernel has not accepted yet.
  private(set) var backlog: [UInt8] = []
  /// The descriptors that no request has taken yet.
  private var descriptors: [SharedDescriptor] = []
  /// True if the client receives events.
  var isSubscribed = false
  /// True if the client has requested an operation that has not ended.
  var isWaiting = false
  /// True if the connection closes after the backlog has been sent.
  var isClosing = false
  /// The condition that the event loop waits for, or nil.
  private var watched: Epoll.Readiness?

  /// The maximum number of descriptors of a request.
  static let descriptorLimit = 8

  /// The maximum size of the backlog of a client that receives events, in bytes.
  static let backlogLimit = 64 << 10

  init(_ socket: consuming OwnedDescriptor) { self.socket = socket }

  /// True if the next request may be read. A client has one request at a time. It receives the reply before the next
  /// request is read.
  var isReady: Bool { !isWaiting && !isClosing && backlog.isEmpty }

  /// Sends bytes, as many as the kernel accepts. The other bytes are added to the backlog.
  func send(_ bytes: [UInt8]) throws(KernelError) {
    backlog += bytes
    try flush()
  }

  /// Sends the backlog, as far as the kernel accepts it.
  func flush() throws(KernelError) {
    while !backlog.isEmpty {
      let count = try StreamSocket.send(backlog[...], to: socket.number)
      if count == 0 { return }
      backlog.removeFirst(count)
    }
  }

  /// Receives bytes and descriptors if the client may have sent some. Returns false at the end of the connection, or if the
  /// client has sent more descriptors than one request may have.
  func receive() throws(KernelError) -> Bool {
    guard watched == .input else { return true }
    switch try MessageSocket.receive(upTo: ControlRequest.maxSize, from: socket.number) {
    case .nothing: return true
    case .end: return false
    case .bytes(let bytes, let passed):
      lines.add(bytes)
      guard let passed else { return true }
      for index in 0..<passed.remaining.count {
        if let descriptor = passed.take(index) { descriptors.append(SharedDescriptor(descriptor)) }
      }
      return descriptors.count <= Self.descriptorLimit
    }
  }

  /// Takes the descriptors of a request. Closes them after the request if it does not use them.
  func takeDescriptors() -> [SharedDescriptor] {
    defer { descriptors = [] }
    return descriptors
  }

  /// Makes the event loop wait for the client's next action.
  func watch(_ loop: borrowing Epoll, as token: UInt64) throws(KernelError) {
    let wanted: Epoll.Readiness? = !backlog.isEmpty ? .output : isWaiting ? nil : .input
    if wanted == watched { return }
    if watched != nil { try loop.unwatch(socket.number) }
    watched = nil
    if let wanted { try loop.watch(socket.number, as: token, for: wanted) }
    watched = wanted
  }
}
