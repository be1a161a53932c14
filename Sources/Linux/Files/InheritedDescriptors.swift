// SPDX-License-Identifier: Apache-2.0

internal import CLinux

/// The descriptors that the process inherits from its parent.
public enum InheritedDescriptors {
  /// Opens /dev/null for each standard descriptor that is closed. Call this first, so that no other file gets
  /// the number.
  public static func openStandard() throws(KernelError) {
    try check(cl_fill_standard_descriptors(), "open /dev/null")
  }

  /// Closes all descriptors from 3 on (close_range), except some. Call this before any file is opened.
  ///
  /// - Parameters:
  ///   - paths: The paths of options. /dev/fd/N and /proc/self/fd/N name descriptors that stay open.
  ///   - numbers: The numbers of other descriptors that stay open.
  public static func close(except paths: [String] = [], _ numbers: [Int32] = []) throws(KernelError) {
    let kept = Set(paths.compactMap(number) + numbers).sorted()
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
}
