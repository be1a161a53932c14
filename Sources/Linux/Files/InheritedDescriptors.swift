// SPDX-License-Identifier: Apache-2.0

internal import CLinux

/// The descriptors that the parent left open.
public enum InheritedDescriptors {
  /// Opens /dev/null for each of the three standard descriptors that is closed, before anything else gets its number.
  public static func openStandard() throws(KernelError) {
    try check(cl_fill_standard_descriptors(), "open /dev/null")
  }

  /// Closes all from 3 on (close_range), except those of socket activation (LISTEN_PID, LISTEN_FDS) and those that
  /// paths name. Call this before anything is opened.
  ///
  /// - Parameter paths: Paths of options; /dev/fd/N and /proc/self/fd/N name descriptors.
  public static func close(except paths: [String]) throws(KernelError) {
    let kept = Set(paths.compactMap(number) + listening()).sorted()
    // SAFETY: the array lives for the call, which reads `count` of its elements.
    let result = unsafe kept.withUnsafeBufferPointer { buffer in
      unsafe cl_close_others(buffer.baseAddress, Int32(buffer.count))
    }
    try check(result, "close_range")
  }

  /// The descriptor that a path names, or nil.
  static func number(_ path: String) -> Int32? {
    for prefix in ["/dev/fd/", "/proc/self/fd/"] where path.hasPrefix(prefix) {
      guard let number = Int32(path.dropFirst(prefix.count)), number > 2 else { return nil }
      return number
    }
    return nil
  }

  /// The descriptors of socket activation (sd_listen_fds(3)).
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
