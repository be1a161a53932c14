// SPDX-License-Identifier: Apache-2.0

/// Shapes of an SVG 1.1 drawing, as text.
struct SVG {
  private var body = ""

  /// Returns a text as XML. A character that XML 1.0 does not allow (§2.2) becomes U+FFFD.
  static func escape(_ text: String) -> String {
    var result = ""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "&": result += "&amp;"
      case "<": result += "&lt;"
      case ">": result += "&gt;"
      case "\"": result += "&quot;"
      case "\t", "\n", "\r", "\u{20}"..."\u{FFFD}", "\u{10000}"...: result.unicodeScalars.append(scalar)
      default: result += "\u{FFFD}"
      }
    }
    return result
  }

  /// The largest number in a drawing. SVG 1.1 requires only single precision of a viewer (§4.3).
  private static let limit = 1e9

  /// Returns a number with one digit after the point, limited to ±``limit``.
  static func number(_ value: Double) -> String {
    let tenths = Int((min(max(value, -limit), limit) * 10).rounded())
    return "\(tenths < 0 ? "-" : "")\(abs(tenths) / 10).\(abs(tenths) % 10)"
  }

  /// Adds a filled box. A viewer shows `title` while the pointer rests on the box.
  mutating func box(
    _ x: Double, _ y: Double, _ width: Double, _ height: Double, style: String, title: String = ""
  ) {
    let position = "x=\"\(Self.number(x))\" y=\"\(Self.number(y))\""
    let size = "width=\"\(Self.number(max(width, 1)))\" height=\"\(Self.number(height))\""
    body += "<rect \(position) \(size) class=\"\(style)\">"
    body += title.isEmpty ? "</rect>\n" : "<title>\(Self.escape(title))</title></rect>\n"
  }

  mutating func line(_ x: Double, _ top: Double, _ bottom: Double, style: String) {
    let at = Self.number(x)
    body +=
      "<line x1=\"\(at)\" x2=\"\(at)\" y1=\"\(Self.number(top))\" y2=\"\(Self.number(bottom))\" class=\"\(style)\"/>\n"
  }

  /// - Parameters:
  ///   - x: The horizontal position of the anchor, in pixels.
  ///   - y: The position of the baseline, in pixels from the top.
  ///   - text: The text, before it is escaped as XML.
  ///   - style: A class of the style sheet.
  ///   - anchor: The part of the text that is at `x`: `start`, `middle` or `end`.
  mutating func text(_ x: Double, _ y: Double, _ text: String, style: String = "", anchor: String = "start") {
    body +=
      "<text x=\"\(Self.number(x))\" y=\"\(Self.number(y))\" class=\"\(style)\" text-anchor=\"\(anchor)\">"
    body += "\(Self.escape(text))</text>\n"
  }

  /// Returns the complete drawing.
  func document(width: Double, height: Double, css: String) -> String {
    """
    <svg xmlns="http://www.w3.org/2000/svg" width="\(Self.number(width))" height="\(Self.number(height))" \
    viewBox="0 0 \(Self.number(width)) \(Self.number(height))">
    <style>\(css)</style>
    <rect width="100%" height="100%" class="paper"/>
    \(body)</svg>

    """
  }
}
