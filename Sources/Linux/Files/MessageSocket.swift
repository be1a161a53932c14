// SPDX-License-Identifier: Apache-2.0

internal import CLinux

/// A connected Unix stream socket that passes descriptors (unix(7), SCM_RIGHTS). No call waits.
public enum MessageSocket {
  /// The maximum number of descriptors of a message.
  public static let mostDescriptors = Int(CL_MOST_PASSED)

  /// The result of ``receive(upTo:from:)``.
  public enum Input: Sendable {
    /// Bytes, and the descriptors that came with them in the order of the message, from number 0 on.
    case bytes([UInt8], PassedDescriptors<Int>?)
    /// The socket has no bytes now.
    case nothing
    /// The peer has closed its socket.
    case end
  }

  /// Sends bytes, and descriptors with the first byte.
  ///
  /// - Returns: The number of bytes that the kernel has accepted. If it is 0, no descriptor was sent.
  /// - Throws: ``KernelError/Cause/limit`` for more than ``mostDescriptors`` descriptors.
  public static func send(
    _ bytes: ArraySlice<UInt8>, descriptors: [Int32] = [], to socket: Int32
  ) throws(KernelError) -> Int {
    // SAFETY: both buffers live for the call.
    let sent = unsafe bytes.withUnsafeBytes { buffer in
      unsafe descriptors.withUnsafeBufferPointer { passed in
        unsafe cl_send_message(
          socket, buffer.baseAddress, buffer.count, passed.baseAddress, Int32(clamping: passed.count))
      }
    }
    return try accepted(sent)
  }

  /// Sends bytes, as ``send(_:descriptors:to:)`` does.
  public static func send(_ bytes: RawSpan, to socket: Int32) throws(KernelError) -> Int {
    // SAFETY: the buffer lives for the call.
    try accepted(
      unsafe bytes.withUnsafeBytes { buffer in
        unsafe cl_send_message(socket, buffer.baseAddress, buffer.count, nil, 0)
      })
  }

  private static func accepted(_ sent: Int) throws(KernelError) -> Int {
    if sent == -Int(EAGAIN) || sent == -Int(EINTR) { return 0 }
    return try check(sent, "sendmsg")
  }

  /// Receives up to `capacity` bytes. An exec closes the descriptors.
  ///
  /// - Throws: ``KernelError/Cause/limit`` for more than ``mostDescriptors`` descriptors.
  public static func receive(upTo capacity: Int, from socket: Int32) throws(KernelError) -> Input {
    var got = 0
    var numbers = [Int32](repeating: -1, count: mostDescriptors)
    var passed: Int32 = 0
    // SAFETY: the buffers have `capacity` bytes and CL_MOST_PASSED numbers, and the call stores no more.
    let bytes = unsafe [UInt8](unsafeUninitializedCapacity: capacity) { buffer, initialized in
      unsafe numbers.withUnsafeMutableBufferPointer { list in
        unsafe got = cl_receive_message(socket, buffer.baseAddress, capacity, list.baseAddress, &passed)
      }
      initialized = max(got, 0)
    }
    if got == -Int(EAGAIN) || got == -Int(EINTR) { return .nothing }
    try check(got, "recvmsg")
    if got == 0 { return .end }
    guard passed > 0 else { return .bytes(bytes, nil) }
    let pairs = (0..<Int(passed)).map { ($0, numbers[$0]) }
    return .bytes(bytes, PassedDescriptors(Dictionary(uniqueKeysWithValues: pairs)))
  }

  /// Creates two connected sockets. An exec closes them.
  ///
  /// - Returns: The numbers, for the caller to own.
  public static func makePair() throws(KernelError) -> (Int32, Int32) {
    var pair: (Int32, Int32) = (-1, -1)
    // SAFETY: the tuple has the layout of an array of two numbers, which the call stores.
    try check(
      unsafe withUnsafeMutablePointer(to: &pair) { pointer in
        unsafe pointer.withMemoryRebound(to: Int32.self, capacity: 2) { unsafe cl_socket_pair($0) }
      }, "socketpair")
    return pair
  }

  /// Ends both directions of a connection (shutdown). A later receive of either process returns the end.
  public static func end(_ socket: Int32) {
    // The call fails only if the peer has ended the connection.
    _ = cl_end_connection(socket)
  }

  /// True if an error of a call reports that the peer has closed the connection.
  public static func isEnd(_ error: KernelError) -> Bool { error.errno == EPIPE || error.errno == ECONNRESET }

  /// True if an error of ``send(_:descriptors:to:)`` reports that the host lacks memory, or has too many descriptors in
  /// messages that were not received. A later call can succeed.
  public static func isShortage(_ error: KernelError) -> Bool {
    error.errno == ENOBUFS || error.errno == ENOMEM || error.errno == ETOOMANYREFS
  }

  /// Waits until one of up to eight descriptors has input, an error or its end.
  ///
  /// - Parameters:
  ///   - numbers: The descriptors. A negative number is ignored.
  ///   - milliseconds: The timeout, or -1 for none.
  /// - Returns: A bit for each ready descriptor. It is 0 after the timeout and after a signal.
  public static func waitForInput(_ numbers: [Int32], milliseconds: Int32) throws(KernelError) -> Int32 {
    // SAFETY: the buffer lives for the call.
    let ready = unsafe numbers.withUnsafeBufferPointer { buffer in
      unsafe cl_poll_inputs(buffer.baseAddress, Int32(clamping: buffer.count), milliseconds)
    }
    return try check(ready, "poll")
  }

  /// Waits until a socket accepts bytes, or has an error. Returns false after the timeout.
  public static func waitForRoom(_ socket: Int32, milliseconds: Int32) throws(KernelError) -> Bool {
    try check(cl_poll_writable(socket, milliseconds), "poll") > 0
  }
}
