// SPDX-License-Identifier: Apache-2.0

internal import Linux
internal import Sandbox
internal import Synchronization

/// A process that connects to the sockets of devices again.
///
/// A confined VM cannot open a path. The process is created before the VM opens a file, so that it has the VM's view of the
/// file system and none of its files. It connects only to the paths that it has at its creation, and has a filter for that.
/// It ends with the VM.
///
/// A request has two bytes: its number, and the index of a path. A reply has five: the number of its request and an error
/// number, little-endian. With the error number 0 it has the socket. The process sends reply 0 when it is confined.
final class Connector: Sendable {
  private let socket: OwnedDescriptor
  private let paths: [String]
  /// The number of the last request.
  private let lastRequest = Atomic<UInt8>(0)

  /// The number of bytes of a request and of a reply.
  private static let (requestSize, replySize) = (2, 5)
  /// The time for a reply, in microseconds. The process waits for nothing else.
  private static let deadline: Int64 = 1_000_000

  /// Creates the process and waits until it is confined. This process must have one thread.
  ///
  /// - Parameters:
  ///   - paths: The paths, at most 255.
  ///   - isConfined: The process loads a seccomp filter.
  convenience init(_ paths: [String], isConfined: Bool) throws(RunError) {
    let sandbox = try step(RunError.sandbox) { () throws(SandboxError) in
      try isConfined ? Rule.connectorSandbox() : nil
    }
    let socket = try step(RunError.kernel) { () throws(KernelError) in
      try ChildProcess.start("connector") { socket in
        do throws(KernelError) {
          do throws(KernelError) { try sandbox?.enter() } catch {
            return try Self.reply(to: 0, error.errno ?? 0, nil, on: socket)
          }
          try Self.serve(socket, paths)
        } catch {
          // The VM sees the end of the connection.
        }
      }
    }
    self.init(socket, paths)
    _ = try step(RunError.kernel) { () throws(KernelError) in try reply(to: 0, "connector: seccomp") }
  }

  /// Creates a client of a process with these paths.
  init(_ socket: consuming OwnedDescriptor, _ paths: [String]) {
    self.socket = socket
    self.paths = paths
  }

  /// Serves requests until the VM ends. This is the body of the process.
  static func serve(_ socket: Int32, _ paths: [String]) throws(KernelError) {
    try reply(to: 0, 0, nil, on: socket)
    while true {
      _ = try MessageSocket.waitForInput([socket], milliseconds: -1)
      switch try MessageSocket.receive(upTo: requestSize, from: socket) {
      case .nothing: continue
      case .end: return
      case .bytes(let bytes, _):
        guard bytes.count == requestSize, bytes[1] < paths.count else { return }
        do throws(KernelError) {
          let connected = SharedDescriptor(
            try StreamSocket.connect(to: paths[Int(bytes[1])], waits: false))
          try reply(to: bytes[0], 0, connected, on: socket)
        } catch { try reply(to: bytes[0], error.errno ?? 0, nil, on: socket) }
      }
    }
  }

  private static func reply(
    to number: UInt8, _ errno: Int32, _ connected: SharedDescriptor?, on socket: Int32
  ) throws(KernelError) {
    let bytes = [number] + (0..<4).map { UInt8(truncatingIfNeeded: errno >> Int32(8 * $0)) }
    _ = try MessageSocket.send(bytes[...], descriptors: connected.map { [$0.number] } ?? [], to: socket)
  }

  /// Returns a socket that is connected to a path, and does not wait.
  ///
  /// - Throws: The error of connect(2), or an error of the process.
  func connect(to path: String) throws(KernelError) -> SharedDescriptor {
    let operation = "connect \(path)"
    guard let index = paths.firstIndex(of: path) else {
      throw KernelError(operation, errno: KernelError.noEntry)
    }
    let number = lastRequest.wrappingAdd(1, ordering: .relaxed).newValue
    _ = try MessageSocket.send([number, UInt8(index)], to: socket.number)
    guard let descriptor = try reply(to: number, operation)?.take(0) else {
      throw KernelError(operation, .refused)
    }
    return SharedDescriptor(descriptor)
  }

  /// Waits for a reply. The reply to an earlier request, which was late, is dropped with its socket.
  private func reply(
    to number: UInt8, _ operation: String
  ) throws(KernelError) -> PassedDescriptors<Int>? {
    let end = Clock.microseconds() + Self.deadline
    while true {
      let left = Int32(clamping: (end - Clock.microseconds() + 999) / 1000)
      guard left > 0, try MessageSocket.waitForInput([socket.number], milliseconds: left) != 0,
        case .bytes(let bytes, let passed) = try MessageSocket.receive(
          upTo: Self.replySize, from: socket.number),
        bytes.count == Self.replySize
      else { throw KernelError("\(operation): the connector process", .refused) }
      guard bytes[0] == number else { continue }
      let errno = bytes.dropFirst().reversed().reduce(0) { $0 << 8 | Int32($1) }
      if errno != 0 { throw KernelError(operation, errno: errno) }
      return passed
    }
  }
}
