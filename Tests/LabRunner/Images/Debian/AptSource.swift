// SPDX-License-Identifier: Apache-2.0

/// An entry of apt's source lists: the address of a suite and the key that signs it.
///
/// The lists of a machine contain only the suite of the machine. The lab uses the address and the keyring of
/// that entry to download backports and source packages.
struct AptSource: Equatable {
  var address: String
  /// The path of the keyring, from `signed-by=` in a one-line entry or from the `Signed-By` field, or nil.
  var signedBy: String?

  /// Returns the entry in one-line form for another suite.
  ///
  /// - Parameters:
  ///   - type: `deb`, or `deb-src` for source packages.
  ///   - suite: The suite, such as `bookworm-backports`.
  func line(_ type: String = "deb", suite: String) -> String {
    let options = signedBy.map { "[signed-by=\($0)] " } ?? ""
    return "\(type) \(options)\(address) \(suite) main\n"
  }

  /// Returns the first binary entry of `text` for `suite`, in either of apt's two formats.
  static func find(suite: String, in text: String) -> AptSource? {
    findOneLine(suite: suite, in: text) ?? findStanza(suite: suite, in: text)
  }

  private static func findOneLine(suite: String, in text: String) -> AptSource? {
    for line in text.split(separator: "\n") {
      var rest = line.drop(while: \.isWhitespace)
      guard rest.hasPrefix("deb"), rest.dropFirst(3).first?.isWhitespace ?? false else { continue }
      rest = rest.dropFirst(3).drop(while: \.isWhitespace)
      var signedBy: String?
      if rest.hasPrefix("["), let end = rest.firstIndex(of: "]") {
        let options = rest[rest.index(after: rest.startIndex)..<end].split(separator: " ")
        signedBy = options.first { $0.hasPrefix("signed-by=") }.map { String($0.dropFirst(10)) }
        rest = rest[rest.index(after: end)...]
      }
      let words = rest.split(whereSeparator: \.isWhitespace).map(String.init)
      if words.count >= 3, words[1] == suite {
        return AptSource(address: words[0], signedBy: signedBy)
      }
    }
    return nil
  }

  private static func findStanza(suite: String, in text: String) -> AptSource? {
    for stanza in stanzas(of: text) {
      guard stanza["types"]?.contains("deb") ?? false, stanza["enabled"]?.first != "no",
        stanza["suites"]?.contains(suite) ?? false, let address = stanza["uris"]?.first
      else { continue }
      // The stanza may contain the key itself, over several lines. A one-line entry can only name a file.
      let key = stanza["signed-by"]?.first
      return AptSource(address: address, signedBy: key.flatMap { $0.hasPrefix("/") ? $0 : nil })
    }
    return nil
  }

  /// Returns the deb822 stanzas of a `.sources` file, each as words by lower-case field name.
  private static func stanzas(of text: String) -> [[String: [String]]] {
    var result: [[String: [String]]] = [[:]]
    var field = ""
    for line in text.split(separator: "\n", omittingEmptySubsequences: false) {
      if line.hasPrefix("#") { continue }
      if line.allSatisfy(\.isWhitespace) {
        result.append([:])
        continue
      }
      var words = line[...]
      if let first = line.first, !first.isWhitespace, let colon = line.firstIndex(of: ":") {
        field = line[..<colon].lowercased()
        words = line[line.index(after: colon)...]
      }
      result[result.count - 1][field, default: []] += words.split(whereSeparator: \.isWhitespace).map(
        String.init)
    }
    return result
  }
}
