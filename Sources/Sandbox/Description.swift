// SPDX-License-Identifier: Apache-2.0

extension Rule {
  /// Describes the layers and the table of rules as text. Each kind of thread has one line for each call, or
  /// for each request of ioctl. `(contingent)` marks a call that a run may never make.
  ///
  /// - Parameters:
  ///   - rules: The table.
  ///   - choice: The layers of the run. A run without seccomp has no table.
  ///   - hasConnector: The run has a process that connects to devices again.
  public static func describe(_ rules: [Rule], _ choice: LayerChoice, hasConnector: Bool = false) -> String {
    var lines = choice.layers.map { "# \($0.rawValue): \($0.text)" }
    guard choice.contains(.seccomp) else { return lines.joined(separator: "\n") + "\n" }
    for kind in kinds(rules) {
      lines += ["\(kind.rawValue):"] + table(rules.filter { $0.threads.contains(kind) })
    }
    if hasConnector { lines += ["connector (a process):"] + table(connector) }
    return lines.joined(separator: "\n") + "\n"
  }

  private static func table(_ rules: [Rule]) -> [String] {
    var lines: [String] = []
    for rule in rules {
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
    return lines
  }

  /// The kinds of threads of a machine with a table. Only a machine with devices in other processes has readers.
  private static func kinds(_ rules: [Rule]) -> [ThreadKind] {
    ThreadKind.allCases.filter { kind in kind != .reader || rules.contains { $0.threads == [.reader] } }
  }

  private static func mark(_ isContingent: Bool) -> String { isContingent ? " (contingent)" : "" }
}
