// SPDX-License-Identifier: Apache-2.0

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
  /// Decodes all lines of a trace.
  static func records(of text: String) throws(TraceError) -> [TraceRecord] {
    var records: [TraceRecord] = []
    for (index, line) in text.split(separator: "\n").enumerated() {
      guard let record = TraceRecord(line) else { throw TraceError(line: index + 1) }
      records.append(record)
    }
    return records
  }
}
