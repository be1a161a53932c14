// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Counts the calls of functions of a program by probes of the kernel (uprobes), thread by thread.
///
/// The stripped program is what runs; where its functions are says the one it was made of, which has the same
/// layout.
struct CallProbes {
  private static let tracing = "/sys/kernel/tracing"
  private static let group = "lab"

  private let functions: [String]

  /// Sets the probes, in place of those of an earlier one.
  init(program: String, unstripped: String, functions: [String]) throws {
    if !FileManager.default.fileExists(atPath: Self.tracing + "/uprobe_events") {
      try Command.output(["mount", "-t", "tracefs", "nodev", Self.tracing])
    }
    try Self.remove()
    let segment = try Self.code(of: program)
    guard try segment == Self.code(of: unstripped) else { throw Failed("\(unstripped) has another layout") }
    let addresses = try Self.addresses(in: unstripped)
    for name in functions {
      guard let address = addresses[name] else { throw Failed("\(unstripped) has no \(name)") }
      let offset = String(address - segment.address + segment.offset, radix: 16)
      try Self.write("p:\(Self.group)/\(name) \(program):0x\(offset)", to: "uprobe_events")
      try Self.write("hist:keys=common_pid.execname", to: "events/\(Self.group)/\(name)/trigger")
    }
    self.functions = functions
    try Self.write("1", to: "events/\(Self.group)/enable")
  }

  /// Removes all probes.
  static func remove() throws {
    let events = "\(tracing)/events/\(group)"
    if FileManager.default.fileExists(atPath: events) {
      try write("0", to: "events/\(group)/enable")
      for name in try FileManager.default.contentsOfDirectory(atPath: events)
      where FileManager.default.fileExists(atPath: "\(events)/\(name)/trigger") {
        try write("!hist:keys=common_pid.execname", to: "events/\(group)/\(name)/trigger")
      }
    }
    try Data().write(to: URL(filePath: tracing + "/uprobe_events"))
  }

  /// How often each function has been called since the probes were set, by threads with a name.
  func counts(of thread: String) throws -> [String: Int] {
    var counts: [String: Int] = [:]
    for name in functions {
      let text = try ProcFile.text("\(Self.tracing)/events/\(Self.group)/\(name)/hist")
      counts[name] = try Self.count(text, of: thread)
    }
    return counts
  }

  /// The calls in a histogram by threads with a name: `{ common_pid: NAME [ID] } hitcount: CALLS`.
  static func count(_ histogram: String, of thread: String) throws -> Int {
    try histogram.split(separator: "\n").filter { $0.hasPrefix("{ common_pid: \(thread) ") }
      .reduce(0) { sum, line in
        guard let last = line.split(separator: " ").last, let count = Int(last) else {
          throw Failed("a histogram: '\(line)'")
        }
        return sum + count
      }
  }

  /// One line at a time: the kernel takes a write as a whole.
  private static func write(_ line: String, to name: String) throws {
    let handle = try FileHandle(forWritingTo: URL(filePath: "\(tracing)/\(name)"))
    defer { try? handle.close() }  // every write has been checked
    try handle.write(contentsOf: Data((line + "\n").utf8))
  }

  private struct Segment: Equatable {
    var offset: Int
    var address: Int
  }

  /// The segment that is executed.
  private static func code(of file: String) throws -> Segment {
    for line in try Command.output(["readelf", "-lW", file]).split(separator: "\n")
    where line.contains("LOAD") && line.contains("R E") {
      let words = line.split(separator: " ")
      if words.count > 2, let offset = number(words[1]), let address = number(words[2]) {
        return Segment(offset: offset, address: address)
      }
    }
    throw Failed("\(file) has no segment to execute")
  }

  private static func addresses(in file: String) throws -> [String: Int] {
    var addresses: [String: Int] = [:]
    for line in try Command.output(["nm", file]).split(separator: "\n") {
      let words = line.split(separator: " ")
      if words.count == 3 { addresses[String(words[2])] = Int(words[0], radix: 16) }
    }
    return addresses
  }

  private static func number(_ text: Substring) -> Int? { Int(text.dropFirst(2), radix: 16) }
}
