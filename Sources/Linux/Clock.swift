// SPDX-License-Identifier: Apache-2.0

internal import CLinux

/// The monotonic clock (clock_gettime, CLOCK_MONOTONIC).
public enum Clock {
  /// Microseconds since an arbitrary start.
  public static func microseconds() -> Int64 {
    var time = timespec()
    // SAFETY: the call fills in the struct. It cannot fail for this clock.
    unsafe clock_gettime(CLOCK_MONOTONIC, &time)
    return Int64(time.tv_sec) * 1_000_000 + Int64(time.tv_nsec) / 1000
  }

  /// Microseconds of the monotonic clock when this process began to run its program, from
  /// field 22 of /proc/self/stat (10 ms steps); the present moment where that is not readable.
  public static func processStart() -> Int64 {
    let now = microseconds()
    guard let file = try? OwnedDescriptor(opening: "/proc/self/stat", .read),
      let bytes = try? file.read(upTo: 1024)
    else { return now }  // Without /proc the phases start here instead.
    let text = String(decoding: bytes, as: UTF8.self)
    guard let end = text.lastIndex(of: ")") else { return now }
    let fields = text[end...].split(separator: " ")
    guard fields.count > 20, let ticks = Int64(fields[20]) else { return now }
    return min(now, ticks * 1_000_000 / Int64(sysconf(Int32(_SC_CLK_TCK))))
  }
}
