// SPDX-License-Identifier: Apache-2.0

internal import CLinux

/// Standard output or standard error, written to without waiting for its reader.
///
/// A pipe or a terminal is opened a second time with O_NONBLOCK, because that flag on the inherited descriptor would
/// reach every process that shares it. If this is not possible (a socket, a terminal of another user, no /proc), a
/// poll comes before each write, which has no more bytes than a poll can promise. Files never make a writer wait.
public final class Output: Sendable {
  /// The descriptor to write to, and to watch for room. It stays open until the process ends.
  public let number: Int32
  /// True if it is the inherited one.
  private let isInherited: Bool
  /// The most bytes of one write to the inherited one: a terminal that is ready has room for one, a pipe for 4,096
  /// (PIPE_BUF; Linux fs/pipe.c, pipe_poll), a socket for one message (include/net/sock.h, sock_writeable).
  private let piece: Int

  /// - Parameter number: 1 for standard output, 2 for standard error.
  public init(_ number: Int32) {
    let own = cl_open_nonblocking(number)
    self.number = own >= 0 ? own : number
    isInherited = own < 0
    piece = own >= 0 ? .max : Terminal.isTerminal(number) ? 1 : 4096
  }

  /// Writes bytes as far as they are taken now.
  ///
  /// - Returns: The number of bytes that are done with. It is less than `count` only if a write would wait. Bytes that
  ///   no reader can get any longer (EPIPE, EIO, ENOSPC) are done with: they are lost, as on a wire.
  public func write(_ bytes: UnsafeRawBufferPointer) -> Int {
    var done = 0
    while done < bytes.count {
      if isInherited, cl_poll_writable(number, 0) == 0 { break }
      // SAFETY: the range stays within the buffer.
      let put = unsafe cl_write(
        number, bytes.baseAddress?.advanced(by: done), min(bytes.count - done, piece))
      if put == -Int(EINTR) { continue }
      if put == -Int(EAGAIN) { break }
      if put < 0 { return bytes.count }
      done += put
    }
    return done
  }

  /// Writes a byte. Returns false if that would wait.
  public func write(_ byte: UInt8) -> Bool {
    // SAFETY: one byte that lives for the call.
    unsafe withUnsafeBytes(of: byte) { unsafe write($0) } == 1
  }

  /// Waits until a write would not wait. Returns false after a timeout in milliseconds.
  public func waitForRoom(_ timeout: Int32) -> Bool {
    // A poll that fails is as good as room: the write reports the error.
    cl_poll_writable(number, timeout) != 0
  }
}
