// SPDX-License-Identifier: Apache-2.0

extension String {
  /// The first characters of a text from another process. Other characters than printable ASCII become `?`.
  var printable: String {
    let characters = unicodeScalars.prefix(32).map { scalar in
      (0x20..<0x7F).contains(scalar.value) ? Character(scalar) : "?"
    }
    return String(characters) + (unicodeScalars.count > 32 ? "…" : "")
  }
}
