// SPDX-License-Identifier: Apache-2.0

import Foundation

/// The times of a program's system calls, from the kernel's tracefs. strace would change the times.
struct KernelTrace {
  /// The threads' time outside of system calls from exec to the first KVM_RUN, in microseconds.
  let ownTime: Double
  /// The time from exec to the first KVM_RUN, in microseconds.
  let time: Double

  /// Traces the program that `body` starts.
  init(_ body: () throws -> Void) throws {
    let link = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/thread-self")
    guard let own = link.split(separator: "/").last else {
      throw Failed("/proc/thread-self: unexpected link \(link)")
    }
    try Tracefs.mount()
    defer { try? Self.end() }  // remaining events only make L1 slower
    try Tracefs.write("8192", to: "buffer_size_kb")
    try Tracefs.write("1", to: "options/event-fork")
    try Tracefs.write(String(own), to: "set_event_pid", truncating: true)
    try Tracefs.write("", to: "trace", truncating: true)
    for events in Self.events { try Tracefs.write("1", to: "events/\(events)/enable") }
    try body()
    try Self.end()
    let text = try Tracefs.text("trace")
    guard let times = Self.times(text, starter: String(own)) else {
      throw Failed("tracefs: no KVM_RUN after an exec in \(text.count) bytes")
    }
    (ownTime, time) = times
  }

  private static let events = ["raw_syscalls", "sched/sched_switch"]

  private static func end() throws {
    for events in events { try Tracefs.write("0", to: "events/\(events)/enable") }
    try Tracefs.write("", to: "set_event_pid", truncating: true)
  }

  /// Parses a trace.
  ///
  /// - Parameters:
  ///   - text: The content of tracefs's file `trace`.
  ///   - starter: The ID of the thread that started the program.
  /// - Returns: The times in microseconds, or nil if no thread of the program entered KVM_RUN.
  static func times(_ text: String, starter: String) -> (own: Double, all: Double)? {
    var start = 0.0
    /// The time at which each running thread left the kernel. It is absent for a thread in the kernel.
    var outside: [Substring: Double] = [:]
    /// The threads that lost their processor outside of a system call.
    var waiting: Set<Substring> = []
    var sum = 0.0
    for line in text.split(separator: "\n") where !line.hasPrefix("#") {
      if let change = Switch(line) {
        if let since = outside.removeValue(forKey: change.from) {
          sum += change.time - since
          waiting.insert(change.from)
        }
        if waiting.remove(change.to) != nil { outside[change.to] = change.time }
        continue
      }
      guard let event = Event(line), event.thread != starter else { continue }
      if event.isEntry {
        if let since = outside.removeValue(forKey: event.thread) { sum += event.time - since }
        if event.isRun {
          // The time of the other threads outside of system calls counts up to here.
          return (sum + outside.values.reduce(0) { $0 + event.time - $1 }, event.time - start)
        }
      } else if event.isExec {
        (start, sum, outside, waiting) = (event.time, 0, [event.thread: event.time], [])
      } else {
        outside[event.thread] = event.time
      }
    }
    return nil
  }

  /// A line such as `sluice-398 [001] d.... 41.123456: sched_switch: … prev_pid=398 … next_pid=0 …`.
  private struct Switch {
    let from: Substring
    let to: Substring
    /// The time stamp in microseconds.
    let time: Double

    init?(_ line: Substring) {
      guard let entry = line.range(of: ": sched_switch: ") else { return nil }
      let stamp = line[..<entry.lowerBound].split(separator: " ").last.flatMap { Double($0) }
      guard let stamp, let from = line.range(of: " prev_pid="), let to = line.range(of: " next_pid=")
      else { return nil }
      (self.from, self.to) = (Self.number(line, from.upperBound), Self.number(line, to.upperBound))
      time = stamp * 1e6
    }

    private static func number(_ line: Substring, _ start: Substring.Index) -> Substring {
      line[start...].prefix(while: \.isNumber)
    }
  }

  /// A line such as `sluice-398   [001] .....   41.123456: sys_enter: NR 16 (9, ae80, 0, …)`.
  private struct Event {
    let thread: Substring
    /// The time stamp in microseconds.
    let time: Double
    let isEntry: Bool
    let isRun: Bool
    let isExec: Bool

    init?(_ line: Substring) {
      // The name may contain blanks and hyphens.
      guard let bracket = line.range(of: " ["), let entry = line.range(of: ": sys_") else { return nil }
      let name = line[..<bracket.lowerBound].drop { $0 == " " }.split(separator: "-").last
      let stamp = line[..<entry.lowerBound].split(separator: " ").last.flatMap { Double($0) }
      guard let name, let stamp else { return nil }
      thread = name.prefix(while: \.isNumber)
      time = stamp * 1e6
      let words = line[entry.upperBound...].split(separator: " ")
      guard words.count >= 4, words[1] == "NR" else { return nil }
      isEntry = words[0] == "enter:"
      let number = words[2]
      isRun = isEntry && number == "16" && words.count > 4 && words[4].hasPrefix("ae80")
      isExec = !isEntry && number == "59" && words.last == "0"
    }
  }
}
