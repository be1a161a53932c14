// SPDX-License-Identifier: Apache-2.0

internal import Trace

/// The fields of a reply after `id` and `ok`, as JSON.
public struct ControlFields: Equatable, Sendable {
  private(set) var json = ""

  /// Adds a string.
  mutating func put(_ name: String, _ text: String) { json += ",\"\(name)\":\(JSON.quote(text))" }

  /// Adds a number.
  mutating func put(_ name: String, _ number: some FixedWidthInteger) { json += ",\"\(name)\":\(number)" }
}

/// The reply to a request.
enum ControlReply {
  /// Returns the reply as a line with its newline.
  ///
  /// - Parameters:
  ///   - id: The request's ID, or nil if it has none.
  ///   - result: The fields of a success, or the error.
  ///   - advice: Returns the remedy for an error.
  static func line(
    _ id: ControlID?, _ result: Result<ControlFields, ControlError>, advice: (ControlError) -> String
  ) -> [UInt8] {
    let start = "{\"id\":\(id?.json ?? "null")"
    switch result {
    case .success(let fields): return Array("\(start),\"ok\":1\(fields.json)}\n".utf8)
    case .failure(let error):
      var fields = ControlFields()
      fields.put("subject", error.subject)
      fields.put("operation", error.operation)
      fields.put("cause", error.cause)
      fields.put("remedy", advice(error))
      return Array("\(start),\"ok\":0\(fields.json)}\n".utf8)
    }
  }
}
