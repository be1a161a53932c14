// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Counts the calls of a program's functions by thread, with the kernel's probes (uprobes).
struct CallProbes {
  private static let group = "lab"
  private static let histogram = "hist:keys=common_pid.execname"

  private let functions: [String]

  /// Sets the probes, and removes the probes of an earlier instance before that.
  init(_ program: ProgramFile, functions: [String]) throws {
    try Tracefs.mount()
    try Self.remove()
    for name in functions {
      let offset = String(try program.offset(of: name), radix: 16)
      try Tracefs.write("p:\(Self.group)/\(name) \(program.path):0x\(offset)", to: "uprobe_events")
      try Tracefs.write(Self.histogram, to: "events/\(Self.group)/\(name)/trigger")
    }
    self.functions = functions
    try Tracefs.write("1", to: "events/\(Self.group)/enable")
  }

  /// Removes all probes.
  static func remove() throws {
    if Tracefs.exists("events/\(group)") {
      try Tracefs.write("0", to: "events/\(group)/enable")
      for name in try Tracefs.names(in: "events/\(group)")
      where Tracefs.exists("events/\(group)/\(name)/trigger") {
        try Tracefs.write("!" + histogram, to: "events/\(group)/\(name)/trigger")
      }
    }
    try Tracefs.write("", to: "uprobe_events", truncating: true)
  }

  /// Returns the number of calls of each function by threads of this name, since the probes were set.
  func counts(of thread: String) throws -> [String: Int] {
    var counts: [String: Int] = [:]
    for name in functions {
      counts[name] = try Self.count(Tracefs.text("events/\(Self.group)/\(name)/hist"), of: thread)
    }
    return counts
  }

  /// Adds the calls of threads of this name in a histogram: `{ common_pid: NAME [ID] } hitcount: CALLS`.
  static func count(_ histogram: String, of thread: String) throws -> Int {
    try histogram.split(separator: "\n").filter { $0.hasPrefix("{ common_pid: \(thread) ") }
      .reduce(0) { sum, line in
        guard let last = line.split(separator: " ").last, let count = Int(last) else {
          throw Failed("histogram: no count in '\(line)'")
        }
        return sum + count
      }
  }
}
