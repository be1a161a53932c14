// SPDX-License-Identifier: Apache-2.0

extension Rule {
  /// The layers and the table as text: a line for each call of each kind of thread, and one for each request;
  /// `(contingent)` if it may go unused in a run.
  ///
  /// - Parameter isSandboxed: False for a run without the sandbox: it has no table.
  public static func describe(isSandboxed: Bool) -> String {
    var lines = Layer.active(isSandboxed: isSandboxed).map { "# \($0.rawValue): \($0.text)" }
    guard isSandboxed else { return lines.joined(separator: "\n") + "\n" }
    for kind in ThreadKind.allCases {
      lines.append("\(kind.rawValue):")
      for rule in all where rule.threads.contains(kind) {
        switch rule.condition {
        case .any: lines.append("  \(rule.call)\(mark(rule.isContingent))  # \(rule.reason)")
        case .arguments(let alternatives):
          let texts = alternatives.map { $0.map(\.text).joined(separator: ", ") }
          let arguments = " (\(texts.joined(separator: "; or ")))"
          lines.append("  \(rule.call)\(arguments)\(mark(rule.isContingent))  # \(rule.reason)")
        case .requests(let requests):
          for request in requests {
            let number = String(request.number, radix: 16)
            let descriptor = request.descriptor.map { " (fd \($0))" } ?? ""
            lines.append(
              "  \(rule.call) \(request.name) 0x\(number)\(descriptor)\(mark(request.isContingent))  # \(request.reason)"
            )
          }
        }
      }
    }
    return lines.joined(separator: "\n") + "\n"
  }

  private static func mark(_ isContingent: Bool) -> String { isContingent ? " (contingent)" : "" }
}
