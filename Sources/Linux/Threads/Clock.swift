// SPDX-License-Identifier: Apache-2.0

internal import CLinux

/// The monotonic clock (clock_gettime, CLOCK_MONOTONIC).
public enum Clock {
  /// Returns the microseconds since an arbitrary start.
  public static func microseconds() -> Int64 {
    var time = timespec()
    // SAFETY: the call fills in the struct. It cannot fail for this clock.
    unsafe clock_gettime(CLOCK_MONOTONIC, &time)
    return Int64(time.tv_sec) * 1_000_000 + Int64(time.tv_nsec) / 1000
  }

  /// Returns the start time of the program, in microseconds of the monotonic clock. It is derived from the
  /// processor time of the program (CLOCK_PROCESS_CPUTIME_ID). Call this first, before the program waits for
  /// anything.
  public static func programStart() -> Int64 {
    var used = timespec()
    // SAFETY: the call fills in the struct. It cannot fail for this clock.
    unsafe clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used)
    return microseconds() - Int64(used.tv_sec) * 1_000_000 - Int64(used.tv_nsec) / 1000
  }
}

/// Ends the process.
public func endProcess(_ status: Int32) -> Never { exit(status) }
