// SPDX-License-Identifier: Apache-2.0

internal import Linux
internal import Sandbox

/// A process that connects to the sockets of devices again.
///
/// A confined VM cannot open a path. The process is created before the VM opens a file, so that it has the VM's view of the
/// file system and none of its files. It connects only to the paths that it has at its creation, and has a filter for that.
/// It ends with the VM.
///
/// The VM sends the index of a path as one byte. The process replies with an error number of four bytes, little-endian, or
/// with 0 and the socket.
final class Connector: Sendable {
  private let socket: OwnedDescriptor
  private let paths: [String]

  /// The number of bytes of a reply.
  private static let replySize = 4
  /// The time for a reply, in milliseconds. The process waits for nothing else.
  private static let deadline: Int32 = 1000

  /// Creates the process. This process must have one thread.
  ///
  /// - Parameters:
  ///   - paths: The paths, at most 255.
  ///   - isConfined: The process loads a seccomp filter.
  init(_ paths: [String], isConfined: Bool) throws(RunError) {
    self.paths = paths
    let sandbox = try step(RunError.sandbox) { () throws(SandboxError) in
      try isConfined ? Rule.connectorSandbox() : nil
    }
    socket = try step(RunError.kernel) { () throws(KernelError) in
      try ChildProcess.start("connector") { socket in
        do throws(KernelError) {
          try sandbox?.enter()
          try Self.serve(socket, paths)
        } catch {
          // The VM sees the end of the connection.
        }
      }
    }
  }

  /// Serves requests until the VM ends. This is the body of the process.
  private static func serve(_ socket: Int32, _ paths: [String]) throws(KernelError) {
    while true {
      _ = try MessageSocket.waitForInput([socket], milliseconds: -1)
      switch try MessageSocket.receive(upTo: 1, from: socket) {
      case .nothing: continue
      case .end: return
      case .bytes(let bytes, _):
        let index = Int(bytes[0])
        guard index < paths.count else { return }
        var connected: SharedDescriptor?
        var errno: Int32 = 0
        do throws(KernelError) {
          connected = SharedDescriptor(try StreamSocket.connect(to: paths[index], waits: false))
        } catch { errno = error.errno ?? 0 }
        let reply = (0..<replySize).map { UInt8(truncatingIfNeeded: errno >> Int32(8 * $0)) }
        let descriptors = connected.map { [$0.number] } ?? []
        _ = try MessageSocket.send(reply[...], descriptors: descriptors, to: socket)
      }
    }
  }

  /// Returns a socket that is connected to a path, and does not wait.
  ///
  /// - Throws: The error of connect(2), or an error of the process.
  func connect(to path: String) throws(KernelError) -> SharedDescriptor {
    guard let index = paths.firstIndex(of: path) else {
      throw KernelError("connect \(path)", errno: KernelError.noEntry)
    }
    _ = try MessageSocket.send([UInt8(index)], to: socket.number)
    guard try MessageSocket.waitForInput([socket.number], milliseconds: Self.deadline) != 0,
      case .bytes(let bytes, let passed) = try MessageSocket.receive(
        upTo: Self.replySize, from: socket.number),
      bytes.count == Self.replySize
    else { throw KernelError("connect \(path): the connector process", .refused) }
    let errno = bytes.reversed().reduce(0) { $0 << 8 | Int32($1) }
    if errno != 0 { throw KernelError("connect \(path)", errno: errno) }
    guard let descriptor = passed?.take(0) else { throw KernelError("connect \(path)", .refused) }
    return SharedDescriptor(descriptor)
  }
}
