// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Bytes for the control socket: requests, requests with changed bytes, and random bytes. None ends the VM.
struct FuzzedLine {
  private var random: SplitMix

  init(seed: UInt64) { random = SplitMix(state: seed) }

  /// Returns a number below a limit.
  mutating func number(below limit: Int) -> Int { Int(random.next() % UInt64(limit)) }

  private mutating func one<T>(of values: [T]) -> T { values[number(below: values.count)] }

  private static let verbs = [
    "status", "status", "events", "add", "remove", "replace", "inject", "unknown", "",
  ]
  private static let addresses = [
    "0000:00:01.0", "0000:01:00.0", "ffff:ff:1f.7", "0000:00:20.0", "1:2.3", "", "/../../x",
    "0000:00:01.0\\u0000",
  ]
  static let files = [
    "container", "container.1", "iommu", "group.1", "group.99999999999", "device.0000:00:01.0",
    "device.0000:00:01.0.1", "kvm", "", " ",
  ]
  private static let values = [
    "0", "-1", "1", "31", "256", "99999999999999999999999", "1e3", "null", "true", "[]", "{}", "\"\"",
    "\"x\"",
    "\"on-fault\"", "\"\\ud800\"", "\"\\\"", "\"fatal\"", "\"00000000-0000-0000-0000-000000000000\"",
  ]
  private static let fields = [
    "id", "op", "device", "port", "with", "files", "severity", "timeout", "bar-map", "peer-dma", "memory-bit",
    "vf-token", "other",
  ]

  /// Returns the bytes of one or more lines, and the number of descriptors that the request names.
  mutating func next() -> (bytes: [UInt8], descriptors: Int) {
    switch number(below: 10) {
    case 0: return ((0..<number(below: 6000)).map { _ in UInt8(truncatingIfNeeded: random.next()) } + [10], 0)
    case 1:
      return ([UInt8](repeating: one(of: [0, 10, 32, 0x7B, 0x22, 0xFF]), count: number(below: 5000)), 0)
    case 2, 3, 4:
      var bytes = request().bytes
      for _ in 0...number(below: 4) { mutate(&bytes) }
      return (harmless(bytes), 0)
    default:
      let (bytes, count) = request()
      return (harmless(bytes), count)
    }
  }

  /// A request of the fuzzer never ends the VM. A line that might is replaced.
  private func harmless(_ bytes: [UInt8]) -> [UInt8] {
    bytes.contains("stop".utf8) && !bytes.contains("\"stop\",\"device\":".utf8) ? Array("{}\n".utf8) : bytes
  }

  private mutating func request() -> (bytes: [UInt8], descriptors: Int) {
    let id = one(of: ["1", "\"x\"", "18446744073709551616", "\"\(String(repeating: "i", count: 70))\""])
    if number(below: 12) == 0 {
      return (
        Array("{\"id\":\(id),\"op\":\"stop\",\"device\":\"x\",\"timeout\":\(one(of: Self.values))}\n".utf8), 0
      )
    }
    var text = "{\"id\":\(id),\"op\":\"\(one(of: Self.verbs))\""
    var count = 0
    if number(below: 4) > 0 { text += ",\"device\":\"\(one(of: Self.addresses))\"" }
    if number(below: 4) == 0 { text += ",\"with\":\"\(one(of: Self.addresses))\"" }
    if number(below: 3) == 0 {
      count = number(below: 5)
      let names = (0..<count).map { _ in one(of: Self.files) }
      text += ",\"files\":\"\(names.joined(separator: " "))\""
    }
    for _ in 0..<number(below: 3) { text += ",\"\(one(of: Self.fields))\":\(one(of: Self.values))" }
    return (Array((text + "}\n").utf8), count)
  }

  private mutating func mutate(_ bytes: inout [UInt8]) {
    guard !bytes.isEmpty else { return }
    let place = number(below: bytes.count)
    switch number(below: 6) {
    case 0: bytes[place] ^= 1 << UInt8(number(below: 8))
    case 1: bytes[place] = UInt8(truncatingIfNeeded: random.next())
    case 2: bytes.remove(at: place)
    case 3: bytes.insert(contentsOf: bytes[place...], at: place)
    case 4: bytes.insert(contentsOf: [UInt8](repeating: bytes[place], count: number(below: 5000)), at: place)
    default: bytes.removeSubrange(place...)
    }
  }
}
