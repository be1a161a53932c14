// SPDX-License-Identifier: Apache-2.0

internal import CLinux

/// Small files, links and directories of sysfs.
public enum Sysfs {
  /// Returns the result of `look`, or nil if the name or its device does not exist (ENOENT, ENODEV).
  ///
  /// - Throws: Every other error. A file that may not be read is not absent.
  public static func present<Value>(
    _ look: () throws(KernelError) -> Value
  ) throws(KernelError) -> Value? {
    do throws(KernelError) { return try look() } catch {
      guard error.errno == KernelError.noEntry || error.errno == KernelError.noDevice else { throw error }
      return nil
    }
  }

  /// Returns the text of an attribute, without its newline.
  public static func read(_ path: String) throws(KernelError) -> String {
    let file = try OwnedDescriptor(opening: path, .read)
    let bytes: [UInt8]
    do throws(KernelError) { bytes = try file.read(upTo: 65536) } catch {
      throw KernelError("read \(path)", error.cause)
    }
    let text = String(decoding: bytes, as: UTF8.self)
    return text.last == "\n" ? String(text.dropLast()) : text
  }

  /// Returns up to `count` bytes of a binary attribute.
  public static func bytes(_ path: String, count: Int) throws(KernelError) -> [UInt8] {
    let file = try OwnedDescriptor(opening: path, .read)
    do throws(KernelError) { return try file.read(upTo: count) } catch {
      throw KernelError("read \(path)", error.cause)
    }
  }

  /// Writes an attribute.
  public static func write(_ text: String, to path: String) throws(KernelError) {
    let file = try OwnedDescriptor(opening: path, .write)
    do throws(KernelError) { try file.write([UInt8](text.utf8)) } catch {
      throw KernelError("write '\(text)' to \(path)", error.cause)
    }
  }

  /// Returns the last component of a symbolic link's target.
  public static func link(_ path: String) throws(KernelError) -> String {
    var count = 0
    // SAFETY: the buffer has 4096 bytes and the call writes no more.
    let bytes = unsafe [UInt8](unsafeUninitializedCapacity: 4096) { buffer, initialized in
      unsafe count = buffer.withMemoryRebound(to: CChar.self) { buffer in
        unsafe cl_readlink(path, buffer.baseAddress, 4096)
      }
      initialized = max(count, 0)
    }
    try check(count, "readlink \(path)")
    let target = String(decoding: bytes, as: UTF8.self)
    return target.split(separator: "/").last.map(String.init) ?? target
  }

  /// Returns the names in a directory, sorted.
  public static func list(_ path: String) throws(KernelError) -> [String] {
    let capacity = 1 << 18
    var used: Int64 = 0
    // SAFETY: the buffer has `capacity` bytes and the call writes no more.
    let bytes = unsafe [UInt8](unsafeUninitializedCapacity: capacity) { buffer, initialized in
      unsafe used = buffer.withMemoryRebound(to: CChar.self) { buffer in
        unsafe cl_list_directory(path, buffer.baseAddress, capacity)
      }
      initialized = Int(max(used, 0))
    }
    try check(used, "list \(path)")
    return bytes.split(separator: 0).map { String(decoding: $0, as: UTF8.self) }.sorted()
  }
}
