// SPDX-License-Identifier: Apache-2.0

internal import Linux
internal import Passthrough
internal import Synchronization

/// A file with one JSON object per line for all that happens to devices, in the order in which it
/// happened.
final class Trace: Sendable {
  private struct State: ~Copyable {
    let file: OwnedDescriptor
    var buffer: [UInt8] = []
    var failure: KernelError?
    var lost = 0
  }

  let path: String
  private let start: Int64
  /// Taken by any thread, inside the lock of the function that the record is about.
  private let state: Mutex<State>

  private static let bufferSize = 32 << 10

  /// Creates the file.
  ///
  /// - Parameter start: The moment that times count from; microseconds of the monotonic clock.
  init(path: String, start: Int64) throws(KernelError) {
    self.path = path
    self.start = start
    state = Mutex(State(file: try OwnedDescriptor(opening: path, .replace)))
  }

  /// Why the file is not complete, and how many records are not in it; nil where it is complete.
  var failure: (error: KernelError, lost: Int)? {
    state.withLock { state in state.failure.map { ($0, state.lost) } }
  }

  /// Adds a record: its event's name, and its fields as JSON.
  func record(_ event: String, _ fields: String, flush: Bool = false) {
    let time = Clock.microseconds() - start
    let line = "{\"time\":\(time),\"event\":\"\(event)\",\(fields)}\n"
    state.withLock { state in
      guard state.failure == nil else {
        state.lost += 1
        return
      }
      state.buffer.append(contentsOf: line.utf8)
      if flush || state.buffer.count >= Self.bufferSize { Self.flush(&state) }
    }
  }

  /// Writes what is buffered.
  func flush() { state.withLock { state in Self.flush(&state) } }

  private static func flush(_ state: inout State) {
    guard !state.buffer.isEmpty, state.failure == nil else { return }
    do throws(KernelError) { try state.file.write(state.buffer) } catch {
      state.failure = error
      state.lost += state.buffer.count { $0 == UInt8(ascii: "\n") }
    }
    state.buffer.removeAll(keepingCapacity: true)
  }

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
