// SPDX-License-Identifier: Apache-2.0

/// A line of a trace that is no record.
public struct TraceError: Error, Equatable, CustomStringConvertible {
  /// Counted from 1.
  public let line: Int

  /// Names a line.
  public init(line: Int) { self.line = line }

  /// The line and the cause.
  public var description: String { "line \(line): not a record of a trace" }
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
