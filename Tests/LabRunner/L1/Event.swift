// SPDX-License-Identifier: Apache-2.0

import Foundation

/// An event that the runner inside L1 reports to the runner outside.
///
/// Each event is a JSON object on a line of the second serial port.
struct Event: Codable, Equatable {
  enum Kind: String, Codable {
    /// L1 is up. The text is the kernel's version, and `seconds` is the uptime.
    case ready
    case start
    /// A text to print while a case runs.
    case note
    case pass
    case fail
    case skip
    /// L1 still runs.
    case pulse
    /// The runner has no more cases. A text that is not empty is an error.
    case end
  }

  var kind: Kind
  var name = ""
  var text = ""
  var seconds = 0.0

  init(_ kind: Kind, _ name: String = "", text: String = "", seconds: Double = 0) {
    (self.kind, self.name, self.text, self.seconds) = (kind, name, text, seconds)
  }

  /// Parses one line. Returns nil if the line is not an event.
  init?(line: String) {
    guard let start = line.firstIndex(of: "{"),
      let event = try? JSONDecoder().decode(Event.self, from: Data(line[start...].utf8))  // other output
    else { return nil }
    self = event
  }

  /// Runs a check, and returns its result.
  init(of name: String, _ check: () throws -> String) {
    self.init(.pass, name)
    let start = ContinuousClock.now
    do { text = try check() } catch let error as Skipped {
      (kind, text) = (.skip, error.description)
    } catch { (kind, text) = (.fail, sentence(error)) }
    seconds = (ContinuousClock.now - start) / .seconds(1)
  }

  func line() throws -> String {
    String(decoding: try JSONEncoder().encode(self), as: UTF8.self) + "\n"
  }
}
