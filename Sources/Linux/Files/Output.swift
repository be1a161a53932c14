// SPDX-License-Identifier: Apache-2.0

internal import CLinux

/// Standard output or standard error. A write does not wait for the reader.
///
/// A pipe or a terminal is opened a second time with O_NONBLOCK. On the inherited descriptor, the flag would
/// affect every process that shares it. If the second open fails (a socket, a terminal of another user, no
/// /proc), a poll precedes each write, and the write has no more bytes than a poll guarantees. A regular file
/// never makes a writer wait.
public final class Output: Sendable {
  /// The descriptor for writes, and for waiting until a write is possible. It stays open until the process
  /// ends.
  public let number: Int32
  /// True if the descriptor is the inherited descriptor.
  private let isInherited: Bool
  /// The maximum number of bytes of one write to the inherited descriptor. A ready terminal has room for one
  /// byte, a pipe for 4,096 (PIPE_BUF; Linux fs/pipe.c, pipe_poll), a socket for one message
  /// (include/net/sock.h, sock_writeable).
  private let piece: Int

  /// Creates an output.
  ///
  /// - Parameter number: 1 for standard output, 2 for standard error.
  public init(_ number: Int32) {
    let reopened = cl_open_nonblocking(number)
    self.number = reopened >= 0 ? reopened : number
    isInherited = reopened < 0
    piece = reopened >= 0 ? .max : Terminal.isTerminal(number) ? 1 : 4096
  }

  /// Writes bytes until a write would wait.
  ///
  /// - Returns: The number of finished bytes. It is less than `bytes.count` only if a write would wait. Bytes
  ///   that no reader can receive (EPIPE, EIO, ENOSPC) are lost and count as finished.
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

  /// Writes a byte. Returns false if the write would wait.
  public func write(_ byte: UInt8) -> Bool {
    // SAFETY: one byte that lives for the call.
    unsafe withUnsafeBytes(of: byte) { unsafe write($0) } == 1
  }

  /// Waits until a write is possible. Returns false after a timeout in milliseconds.
  public func waitForRoom(_ timeout: Int32) -> Bool {
    // A failed poll counts as room: the write then reports the error.
    cl_poll_writable(number, timeout) != 0
  }
}
