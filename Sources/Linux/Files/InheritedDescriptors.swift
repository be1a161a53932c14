// SPDX-License-Identifier: Apache-2.0

internal import CLinux

/// The descriptors that the process inherits from its parent.
public enum InheritedDescriptors {
  /// Opens /dev/null for each standard descriptor that is closed. Call this first, so that no other file gets
  /// the number.
  public static func openStandard() throws(KernelError) {
    try check(cl_fill_standard_descriptors(), "open /dev/null")
  }

  /// Closes all descriptors from 3 on (close_range). The descriptors of socket activation (LISTEN_PID,
  /// LISTEN_FDS) and the descriptors that paths name stay open. Call this before any file is opened.
  ///
  /// - Parameter paths: The paths of options. /dev/fd/N and /proc/self/fd/N name descriptors.
  public static func close(except paths: [String]) throws(KernelError) {
    let kept = Set(paths.compactMap(number) + listening()).sorted()
    // SAFETY: the array lives for the call, which reads `count` of its elements.
    let result = unsafe kept.withUnsafeBufferPointer { buffer in
      unsafe cl_close_others(buffer.baseAddress, Int32(buffer.count))
    }
    try check(result, "close_range")
  }

  /// Returns the descriptor that a path names, or nil.
  static func number(_ path: String) -> Int32? {
    for prefix in ["/dev/fd/", "/proc/self/fd/"] where path.hasPrefix(prefix) {
      guard let number = Int32(path.dropFirst(prefix.count)), number > 2 else { return nil }
      return number
    }
    return nil
  }

  /// Returns the descriptors of socket activation (sd_listen_fds(3)).
  private static func listening() -> [Int32] {
    func variable(_ name: String) -> Int32? {
      // SAFETY: the string is copied at once. No other thread changes the environment.
      guard let text = unsafe getenv(name) else { return nil }
      return unsafe Int32(String(cString: text))
    }
    guard variable("LISTEN_PID") == cl_process_id(), let count = variable("LISTEN_FDS"), count > 0 else {
      return []
    }
    return Array(3..<3 + min(count, 1 << 20))
  }
}
