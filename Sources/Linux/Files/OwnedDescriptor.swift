// SPDX-License-Identifier: Apache-2.0

internal import CLinux

/// A file descriptor that is closed at the end of its owner's life.
public struct OwnedDescriptor: ~Copyable, Sendable {
  /// The number, for a call that borrows it.
  public let number: Int32

  /// Takes ownership of an open descriptor.
  public init(owning number: Int32) { self.number = number }

  /// A mode for opening a file (open(2)).
  public enum Access: Sendable {
    /// O_RDONLY.
    case read
    /// O_RDONLY for a file of unknown kind. The open of a FIFO does not wait for a writer.
    case readWithoutWaiting
    /// O_RDWR.
    case readWrite
    /// O_WRONLY. The file is created or truncated.
    case replace
    /// O_WRONLY. The file must exist.
    case write

    var flags: Int32 {
      switch self {
      case .read: O_RDONLY | O_CLOEXEC
      case .readWithoutWaiting: O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC
      case .readWrite: O_RDWR | O_CLOEXEC
      case .replace: O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC
      case .write: O_WRONLY | O_CLOEXEC
      }
    }
  }

  /// Opens a file. The error names the path.
  public init(opening path: String, _ access: Access) throws(KernelError) {
    // SAFETY: the string lives for the call.
    number = try check(unsafe cl_open(path, access.flags, 0o644), "open \(path)")
  }

  /// Makes another number refer to the same open file (dup2). An exec does not close that number.
  public borrowing func duplicate(to other: Int32) throws(KernelError) {
    try check(cl_duplicate(number, other), "dup2")
  }

  /// Returns a second descriptor of the same open file, with a number that is not below `least`.
  public borrowing func duplicate(above least: Int32 = 0) throws(KernelError) -> OwnedDescriptor {
    try OwnedDescriptor(duplicating: number, above: least)
  }

  /// Creates a second descriptor of an open file. An exec closes it.
  public init(duplicating other: Int32, above least: Int32 = 0) throws(KernelError) {
    number = try check(cl_duplicate_above(other, least), "fcntl F_DUPFD_CLOEXEC")
  }

  /// Releases the ownership and returns the number.
  public consuming func release() -> Int32 {
    let number = number
    discard self
    return number
  }

  deinit {
    // A close error of a device or an eventfd cannot be reported. The writer of a file checks for errors
    // itself.
    _ = cl_close(number)
  }

  /// Returns the size of a regular file, in bytes.
  public borrowing func size(of path: String) throws(KernelError) -> UInt64 {
    UInt64(try check(cl_file_size(number), "read \(path)"))
  }

  /// Reads up to `capacity` bytes from the current position. Returns no bytes at the end.
  public borrowing func read(upTo capacity: Int) throws(KernelError) -> [UInt8] {
    try readBytes(number, upTo: capacity)
  }

  /// Reads exactly `count` bytes at `offset`, or fewer at the end of the file.
  public borrowing func read(_ count: Int, at offset: UInt64) throws(KernelError) -> [UInt8] {
    try readBytes(number, count, at: offset)
  }

  /// Writes the data of the file to its device (fdatasync).
  public borrowing func synchronizeData() throws(KernelError) {
    try check(cl_sync_data(number), "fdatasync")
  }

  /// True if this is a regular file. A write then does not wait for a reader.
  public var isRegular: Bool { cl_is_regular(number) }

  /// Writes all of `bytes`.
  public borrowing func write(_ bytes: [UInt8]) throws(KernelError) { try writeAll(number, bytes[...]) }

  /// Writes all of `bytes`.
  public borrowing func write(_ bytes: ArraySlice<UInt8>) throws(KernelError) { try writeAll(number, bytes) }
}

/// Writes all of `bytes`. Waits while a non-blocking descriptor accepts no bytes.
func writeAll(_ number: Int32, _ bytes: ArraySlice<UInt8>) throws(KernelError) {
  var done = 0
  while done < bytes.count {
    // SAFETY: the range stays within the array, which lives for the call.
    let put = unsafe bytes.withUnsafeBytes { buffer in
      unsafe cl_write(number, buffer.baseAddress?.advanced(by: done), bytes.count - done)
    }
    if put == -Int(EINTR) { continue }
    if put == -Int(EAGAIN) {
      _ = try check(cl_poll_writable(number, -1), "poll")
      continue
    }
    done += try check(put, "write")
  }
}

/// Reads exactly `count` bytes of a descriptor at `offset`, or fewer at the end of the file.
public func readBytes(
  _ number: Int32, _ count: Int, at offset: UInt64
) throws(KernelError) -> [UInt8] {
  var got = 0
  // SAFETY: the buffer has `count` bytes and cl_pread writes no more.
  let bytes = unsafe [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
    unsafe got = cl_pread(number, buffer.baseAddress, count, Int64(offset))
    initialized = max(got, 0)
  }
  try check(got, "pread")
  return bytes
}

/// Reads up to `capacity` bytes from a descriptor's current position. Returns no bytes at its end.
public func readBytes(_ number: Int32, upTo capacity: Int) throws(KernelError) -> [UInt8] {
  var count = 0
  // SAFETY: the buffer has `capacity` bytes and cl_read writes no more.
  let bytes = unsafe [UInt8](unsafeUninitializedCapacity: capacity) { buffer, initialized in
    unsafe count = cl_read(number, buffer.baseAddress, capacity)
    initialized = max(count, 0)
  }
  try check(count, "read")
  return bytes
}

/// Writes all of `bytes` to a file at `offset`.
public func writeBytes(_ number: Int32, _ bytes: ArraySlice<UInt8>, at offset: UInt64) throws(KernelError) {
  var done = 0
  while done < bytes.count {
    // SAFETY: the range stays within the array, which lives for the call.
    let put = unsafe bytes.withUnsafeBytes { buffer in
      unsafe cl_pwrite(
        number, buffer.baseAddress?.advanced(by: done), bytes.count - done, Int64(offset) + Int64(done))
    }
    if put == -Int(EINTR) { continue }
    done += try check(put, "pwrite")
  }
}
