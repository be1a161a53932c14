// SPDX-License-Identifier: Apache-2.0

/// A line of the trace that `sluice run --trace` writes; the README lists the fields of each event.
struct TraceRecord {
  /// Microseconds since the program began.
  let time: Double
  let event: String
  private let fields: FlatObject

  /// nil where the line is no record.
  init?(_ line: Substring) {
    guard let fields = FlatObject(line), let time = fields.numbers["time"],
      let event = fields.strings["event"]
    else { return nil }
    self.time = time
    self.event = event
    self.fields = fields
  }

  /// How long it took, in microseconds: it ended at `time`.
  var us: Double? { fields.numbers["us"] }
  var name: String? { fields.strings["name"] }
  var device: String? { fields.strings["device"] }
  var bar: Int? { fields.numbers["bar"].flatMap { Int(exactly: $0) } }
  var window: Int? { fields.numbers["window"].flatMap { Int(exactly: $0) } }
  var from: String? { fields.strings["from"] }
  var to: String? { fields.strings["to"] }
  var why: String? { fields.strings["why"] }
  /// Bytes; a double holds powers of two and their sums up to 8 PiB.
  var size: UInt64? { fields.numbers["size"].flatMap { UInt64(exactly: $0) } }
  var op: String? { fields.strings["op"] }
  var what: String? { fields.strings["what"] }
  var mode: String? { fields.strings["mode"] }
  var vector: Int? { fields.numbers["vector"].flatMap { Int(exactly: $0) } }
  var state: String? { fields.strings["state"] }
  var text: String? { fields.strings["text"] }
}

/// A line of a trace that is no record.
public struct TraceError: Error, CustomStringConvertible {
  /// Counted from 1.
  public let line: Int

  /// The cause and the remedy, for a person.
  public var description: String {
    "line \(line) is no record of a trace; name a file that 'sluice run --trace' has written"
  }
}

extension TraceRecord {
  static func records(of text: String) throws(TraceError) -> [TraceRecord] {
    var records: [TraceRecord] = []
    for (index, line) in text.split(separator: "\n").enumerated() {
      guard let record = TraceRecord(line) else { throw TraceError(line: index + 1) }
      records.append(record)
    }
    return records
  }
}
