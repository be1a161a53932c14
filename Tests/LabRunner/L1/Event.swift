// SPDX-License-Identifier: Apache-2.0

import Foundation

/// What the runner inside L1 tells the one outside, one JSON object per line on the second serial port.
struct Event: Codable, Equatable {
  enum Kind: String, Codable {
    /// L1 is up; the text says in how many seconds.
    case ready
    case start
    /// Something to read while a case runs.
    case note
    case pass
    case fail
    case skip
    /// L1 lives.
    case pulse
    /// The runner has no more cases; the text says what went wrong where it is not empty.
    case end
  }

  var kind: Kind
  var name = ""
  var text = ""
  var seconds = 0.0

  init(_ kind: Kind, _ name: String = "", text: String = "", seconds: Double = 0) {
    (self.kind, self.name, self.text, self.seconds) = (kind, name, text, seconds)
  }

  /// Reads one line; nil for what is not ours.
  init?(line: String) {
    guard let start = line.firstIndex(of: "{"),
      let event = try? JSONDecoder().decode(Event.self, from: Data(line[start...].utf8))  // noise
    else { return nil }
    self = event
  }

  func line() throws -> String {
    String(decoding: try JSONEncoder().encode(self), as: UTF8.self) + "\n"
  }
}
