// SPDX-License-Identifier: Apache-2.0

internal import Gate
internal import Passthrough

/// The records of a trace.
extension Trace {
  /// Adds what happened to a function.
  ///
  /// - Parameter microseconds: How long it took, as far as it is known.
  func record(_ device: String, _ event: FunctionEvent, microseconds: Int64) {
    let device = "\"device\":\"\(device)\""
    let took = "\"us\":\(microseconds)"
    switch event {
    case .gate(let place, let from, let to, let reason):
      record(
        "gate",
        "\(device),\(Self.fields(place)),\"gpa\":\"\(Self.hex(place.address))\",\"size\":\(place.size),"
          + "\"from\":\"\(from.rawValue)\",\"to\":\"\(to.rawValue)\",\"why\":\"\(reason.rawValue)\",\(took)")
    case .command(let old, let new):
      record(
        "command",
        "\(device),\"old\":\"\(Self.hex(UInt64(old)))\",\"new\":\"\(Self.hex(UInt64(new)))\",\(took)")
    case .peerDMA(let place, let space, let isMapped):
      record(
        "dma",
        "\"op\":\"\(isMapped ? "map" : "unmap")\",\"what\":\"bar\",\(device),\(Self.fields(place)),"
          + "\"windows\":\(place.windows),\"iova\":\"\(Self.hex(place.address))\",\"size\":\(place.size),\"container\":\(space),\(took)"
      )
    case .interrupts(let mode, let count):
      record("interrupts", "\(device),\"mode\":\"\(mode.rawValue)\",\"vectors\":\(count),\(took)")
    case .vector(let vector, let change):
      record("vector", "\(device),\"vector\":\(vector),\"op\":\"\(change.rawValue)\",\(took)")
    case .reset(let why, let method):
      record("reset", "\(device),\"why\":\"\(why.rawValue)\",\"method\":\"\(method)\",\(took)")
    case .lost(let state): record("device", "\(device),\"state\":\"\(state.rawValue)\",\(took)")
    case .warning(let text): record("warning", "\(device),\"text\":\(Self.quote(text))")
    }
  }

  private static func fields(_ place: FunctionEvent.Place) -> String {
    "\"bar\":\(place.bar),\"window\":\(place.window)"
  }

  static func hex(_ value: UInt64) -> String { "0x" + String(value, radix: 16) }

  /// A JSON string (RFC 8259 §7).
  static func quote(_ text: String) -> String {
    var result = "\""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\"": result += "\\\""
      case "\\": result += "\\\\"
      case _ where scalar.value < 0x20:
        let digits = String(scalar.value, radix: 16)
        result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
      default: result.unicodeScalars.append(scalar)
      }
    }
    return result + "\""
  }
}
