// SPDX-License-Identifier: Apache-2.0

public import Linux

/// A reason why the control socket cannot be created.
public enum ControlProblem: Error, Equatable, CustomStringConvertible {
  /// A process listens on the socket.
  case inUse(String)
  /// The path has another kind of file.
  case notASocket(String)
  /// The file would belong to another user, or other users could connect.
  case notPrivate(String)
  /// The kernel refused an operation.
  case kernel(KernelError)

  /// The subject, the operation and the cause.
  public var description: String {
    switch self {
    case .inUse(let path): "control socket \(path): bind: another process listens on it"
    case .notASocket(let path): "control socket \(path): bind: the file is not a socket"
    case .notPrivate(let path):
      "control socket \(path): bind: the file system does not limit the socket to its owner"
    case .kernel(let error): "control socket: \(error)"
    }
  }

  /// True if another path is the remedy.
  public var isUsage: Bool {
    switch self {
    case .inUse, .notASocket: true
    case .notPrivate, .kernel: false
    }
  }
}

/// The listening control socket. The kernel refuses a connection of a process that may not write to the socket's file,
/// whose mode is 0600.
final class ControlSocket: Sendable {
  private let listener: OwnedDescriptor
  /// The path of the file that this process has created, or nil.
  private let path: String?

  var number: Int32 { listener.number }

  /// Creates the socket and its file. Replaces the file of a socket on which no process listens.
  init(path: String) throws(ControlProblem) {
    let listener = try Self.create(path)
    guard let facts = DescriptorFacts(listener.number), facts.isPrivateListener else {
      Self.remove(path)
      throw .notPrivate(path)
    }
    self.listener = listener
    self.path = path
  }

  /// Takes a listening socket that was passed.
  init(_ passed: consuming OwnedDescriptor) throws(ControlProblem) {
    do throws(KernelError) { try SocketListener.stopWaiting(passed.number) } catch {
      throw .kernel(error)
    }
    listener = passed
    path = nil
  }

  private static func create(_ path: String) throws(ControlProblem) -> OwnedDescriptor {
    do throws(KernelError) { return try SocketListener.create(at: path) } catch {
      guard error.errno == KernelError.addressInUse else { throw .kernel(error) }
    }
    if let error = answer(of: path) {
      guard error.errno == KernelError.connectionRefused else {
        throw error.errno == KernelError.again ? .inUse(path) : .kernel(error)
      }
    } else {
      throw .inUse(path)
    }
    // The kernel also refuses a connection to a file of another kind.
    do throws(KernelError) {
      try SocketListener.removeFile(path)
      return try SocketListener.create(at: path)
    } catch { throw error.cause == .wrongFile ? .notASocket(path) : .kernel(error) }
  }

  /// Connects to a path. Returns nil if a process listens there and its queue is not full (EAGAIN), else the error.
  private static func answer(of path: String) -> KernelError? {
    do throws(KernelError) {
      _ = try StreamSocket.connect(to: path, waits: false)
      return nil
    } catch { return error }
  }

  /// Removes the socket's file. Only a process that is not confined can do this.
  func removeFile() { if let path { Self.remove(path) } }

  private static func remove(_ path: String) {
    // The next VM replaces a file that remains.
    do throws(KernelError) { try SocketListener.removeFile(path) } catch {}
  }
}

/// The users whose processes may be clients of the control socket: root and the user of the VM.
struct ControlPeers: Equatable, Sendable {
  /// The IDs as SO_PEERCRED returns them.
  private let users: Set<UInt32>

  /// - Parameters:
  ///   - user: The ID of the VM's user.
  ///   - overflow: The ID that the kernel shows for a user without an ID in the VM's user namespace.
  ///   - isInOwnNamespace: True if the VM has a user namespace, in which only its user has an ID.
  init(user: UInt32, overflow: UInt32, isInOwnNamespace: Bool) {
    // In a namespace of an ordinary user, the host's root has no ID. The mode of the socket's file then decides, before
    // the connection exists.
    users = isInOwnNamespace ? (user == 0 ? [0] : [user, overflow]) : [user, 0]
  }

  /// Returns true if processes of a user may be clients.
  func accepts(_ user: UInt32) -> Bool { users.contains(user) }
}
