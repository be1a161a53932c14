// SPDX-License-Identifier: Apache-2.0

/// A line of the file that `sluice run --trace` writes.
///
/// The lab reads traces with this parser, which shares no code with the program's parser. A trace may have
/// hundreds of megabytes. The parser therefore makes one pass and decodes a field only when it is read.
struct TraceRecord {
  /// A window of a BAR.
  struct Window: Hashable, CustomStringConvertible {
    var device: String
    var bar: Int
    var index: Int

    var description: String { "\(device) BAR \(bar) window \(index)" }
  }

  private var fields: [(name: String, value: String)] = []
  /// The time in microseconds.
  private(set) var time = ""
  private(set) var event = ""

  /// Reads a JSON object of strings and numbers, without spaces between them. Escapes are not decoded.
  init(line: ArraySlice<UInt8>) throws {
    guard Self.read(line, into: &fields), let time = self["time"], let event = self["event"] else {
      throw Failed("the trace has an invalid line: \(String(decoding: line, as: UTF8.self))")
    }
    (self.time, self.event) = (time, event)
  }

  /// Reads the fields. Returns false if the line is not an object.
  private static func read(
    _ line: ArraySlice<UInt8>, into fields: inout [(name: String, value: String)]
  ) -> Bool {
    guard line.first == UInt8(ascii: "{"), line.last == UInt8(ascii: "}") else { return false }
    var rest = line.dropFirst()
    while true {
      guard let name = string(&rest), rest.popFirst() == UInt8(ascii: ":"),
        let value = rest.first == UInt8(ascii: "\"") ? string(&rest) : number(&rest)
      else { return false }
      fields.append((name, value))
      switch rest.popFirst() {
      case UInt8(ascii: ","): continue
      case UInt8(ascii: "}"): return rest.isEmpty
      default: return false
      }
    }
  }

  /// Takes a string, in which a backslash escapes the next byte. Returns nil if the text has no string here.
  private static func string(_ rest: inout ArraySlice<UInt8>) -> String? {
    guard rest.popFirst() == UInt8(ascii: "\"") else { return nil }
    var end = rest.startIndex
    while end < rest.endIndex, rest[end] != UInt8(ascii: "\"") {
      end += rest[end] == UInt8(ascii: "\\") ? 2 : 1
    }
    guard end < rest.endIndex else { return nil }
    defer { rest = rest[(end + 1)...] }
    return String(decoding: rest[..<end], as: UTF8.self)
  }

  /// Takes an integer. Returns nil if the text has no integer here.
  private static func number(_ rest: inout ArraySlice<UInt8>) -> String? {
    let digits = rest.prefix { $0 == UInt8(ascii: "-") || UInt8(ascii: "0")...UInt8(ascii: "9") ~= $0 }
    rest = rest[digits.endIndex...]
    return digits.isEmpty ? nil : String(decoding: digits, as: UTF8.self)
  }

  subscript(name: String) -> String? { fields.first { $0.name == name }?.value }

  private func number(_ name: String) -> Int? { self[name].flatMap { Int($0) } }

  var name: String? { self["name"] }
  var device: String? { self["device"] }
  /// The number of windows, starting with ``namedWindow``, or nil for one window.
  var windows: Int? { number("windows") }
  var container: Int? { number("container") }
  /// The duration of the operation.
  var microseconds: Int? { number("us") }
  var from: String? { self["from"] }
  var to: String? { self["to"] }
  var why: String? { self["why"] }
  var op: String? { self["op"] }
  var what: String? { self["what"] }
  var new: String? { self["new"] }
  var state: String? { self["state"] }
  var method: String? { self["method"] }
  var text: String? { self["text"] }
  /// The interface to the IOMMU.
  var interface: String? { self["interface"] }
  var size: UInt64? { self["size"].flatMap { UInt64($0) } }
}

extension TraceRecord {
  /// The window, or the first of several windows, or nil if the record names none.
  var namedWindow: Window? {
    guard let device, let bar = number("bar"), let window = number("window") else { return nil }
    return Window(device: device, bar: bar, index: window)
  }

  private var namedWindows: [Window] {
    guard let namedWindow else { return [] }
    return (0..<(windows ?? 1)).map {
      Window(device: namedWindow.device, bar: namedWindow.bar, index: namedWindow.index + $0)
    }
  }

  var openedWindow: Window? { event == "gate" && to == "open" ? namedWindow : nil }
  var closedWindow: Window? { event == "gate" && from == "open" && to != "open" ? namedWindow : nil }
  var mappedWindows: [Window] { event == "dma" && what == "bar" && op == "map" ? namedWindows : [] }
  var unmappedWindows: [Window] { event == "dma" && what == "bar" && op == "unmap" ? namedWindows : [] }

  /// The value that was written to COMMAND, or nil for another record.
  var newCommand: Int? { event == "command" ? hex("new") : nil }

  /// True if this is a write of COMMAND that clears the memory bit (PCI 3.0 §6.2.2, bit 1).
  var clearsMemory: Bool {
    guard event == "command", let old = hex("old"), let new = newCommand else { return false }
    return old & 2 != 0 && new & 2 == 0
  }

  private func hex(_ name: String) -> Int? {
    guard let text = self[name], text.hasPrefix("0x") else { return nil }
    return Int(text.dropFirst(2), radix: 16)
  }
}
