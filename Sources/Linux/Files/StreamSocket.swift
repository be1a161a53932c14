// SPDX-License-Identifier: Apache-2.0

internal import CLinux

/// A listening Unix stream socket with a file (unix(7)).
public enum SocketListener {
  /// The maximum number of connections that wait for an accept.
  private static let backlog: Int32 = 16
  /// The mode of the file: only the owner, and root, may connect.
  private static let mode: mode_t = 0o600

  /// Creates a listener and its file, of mode 0600. Fails with ``KernelError/addressInUse`` if the path exists.
  public static func create(at path: String) throws(KernelError) -> OwnedDescriptor {
    // SAFETY: the string lives for the call.
    OwnedDescriptor(owning: try check(unsafe cl_listen_unix(path, mode, backlog), "bind \(path)"))
  }

  /// Removes the file of a listener. Fails with ``KernelError/Cause/wrongFile`` for another kind of file.
  public static func removeFile(_ path: String) throws(KernelError) {
    // SAFETY: the string lives for the call.
    try check(unsafe cl_remove_socket(path), "unlink \(path)")
  }

  /// Accepts the next client, or returns nil if none waits. The client's socket does not block.
  public static func accept(_ listener: Int32) throws(KernelError) -> OwnedDescriptor? {
    let number = cl_accept(listener)
    // A client that has already closed its socket is none.
    if number == -EAGAIN || number == -ECONNABORTED || number == -EINTR { return nil }
    return OwnedDescriptor(owning: try check(number, "accept4"))
  }

  /// Makes calls with a listener return instead of waiting.
  public static func stopWaiting(_ listener: Int32) throws(KernelError) {
    try check(cl_stop_waiting(listener), "fcntl F_SETFL")
  }
}

/// A connected Unix stream socket.
public enum StreamSocket {
  /// Connects to a path.
  ///
  /// - Parameters:
  ///   - path: The path of the listener's socket.
  ///   - waits: True if the calls with the socket wait. Otherwise, a listener whose queue is full is an error with
  ///     ``KernelError/again``.
  public static func connect(to path: String, waits: Bool) throws(KernelError) -> OwnedDescriptor {
    // SAFETY: the string lives for the call.
    OwnedDescriptor(owning: try check(unsafe cl_connect_unix(path, waits), "connect \(path)"))
  }

  /// Returns the ID of the user who has connected (SO_PEERCRED). A user without an ID in this process's user namespace
  /// has the overflow ID.
  public static func peer(of socket: Int32) throws(KernelError) -> UInt32 {
    UInt32(truncatingIfNeeded: try check(cl_peer_user(socket), "getsockopt SO_PEERCRED"))
  }

  /// Sends bytes without waiting. Returns the number of bytes that the kernel has accepted.
  public static func send(_ bytes: ArraySlice<UInt8>, to socket: Int32) throws(KernelError) -> Int {
    // SAFETY: the buffer lives for the call.
    let sent = unsafe bytes.withUnsafeBytes { unsafe cl_send(socket, $0.baseAddress, $0.count, false) }
    if sent == -Int(EAGAIN) || sent == -Int(EINTR) { return 0 }
    return try check(sent, "sendto")
  }

  /// Sends all bytes, and waits for the peer.
  ///
  /// - Parameters:
  ///   - bytes: The bytes.
  ///   - descriptors: Up to ``MessageSocket/mostDescriptors`` numbers of open files, which the peer receives with the first
  ///     byte.
  ///   - socket: The socket.
  public static func sendAll(
    _ bytes: [UInt8], passing descriptors: [Int32] = [], to socket: Int32
  ) throws(KernelError) {
    var rest = bytes[...]
    while !descriptors.isEmpty, rest.count == bytes.count {
      rest = rest.dropFirst(try MessageSocket.send(rest, descriptors: descriptors, to: socket))
      if rest.count == bytes.count { _ = try MessageSocket.waitForRoom(socket, milliseconds: -1) }
    }
    while !rest.isEmpty {
      // SAFETY: the buffer lives for the call.
      let sent = unsafe rest.withUnsafeBytes { unsafe cl_send(socket, $0.baseAddress, $0.count, true) }
      if sent == -Int(EINTR) { continue }
      rest = rest.dropFirst(try check(sent, "sendto"))
    }
  }
}
