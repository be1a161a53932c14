// SPDX-License-Identifier: Apache-2.0

/// An invalid line of a trace.
public struct TraceError: Error, Equatable, CustomStringConvertible {
  /// The line number, counted from 1.
  public let line: Int

  /// Creates an error.
  public init(line: Int) { self.line = line }

  /// The line and the cause.
  public var description: String { "line \(line): invalid trace record" }
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
