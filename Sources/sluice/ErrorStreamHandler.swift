// SPDX-License-Identifier: Apache-2.0

import Linux
import Logging

/// Writes each message as one line to standard error. The line has no time, which would need a time zone and
/// a locale.
struct ErrorStreamHandler: LogHandler {
  var logLevel: Logger.Level = .info
  var metadata: Logger.Metadata = [:]

  subscript(metadataKey key: String) -> Logger.Metadata.Value? {
    get { metadata[key] }
    set { metadata[key] = newValue }
  }

  func log(event: LogEvent) {
    writeStandardError("sluice: \(event.level): \(event.message)\n")
  }
}
