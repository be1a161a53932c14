// SPDX-License-Identifier: Apache-2.0

internal import FoundationEssentials

/// A line of the trace that `sluice run --trace` writes; the README lists the fields of each event.
struct TraceRecord: Decodable {
  /// Microseconds since the program began.
  var time: Double
  var event: String
  /// How long it took, in microseconds: it ended at `time`.
  var us: Double?
  var name: String?
  var device: String?
  var bar: Int?
  var window: Int?
  var from: String?
  var to: String?
  var why: String?
  var size: UInt64?
  var op: String?
  var what: String?
  var mode: String?
  var vector: Int?
  var state: String?
  var text: String?
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
  static func records(of text: String) throws -> [TraceRecord] {
    let decoder = JSONDecoder()
    return try text.split(separator: "\n").enumerated().map { index, line in
      do {
        return try decoder.decode(TraceRecord.self, from: Data(line.utf8))
      } catch { throw TraceError(line: index + 1) }
    }
  }
}
