// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import Testing

@testable import Trace

@Suite struct TimelineTests {
  private static let trace = """
    {"time":100,"event":"phase","name":"program-started"}
    {"time":2000,"event":"reset","device":"0000:00:06.0","why":"start","method":"function","us":1500}
    {"time":3000,"event":"dma","op":"map","what":"ram","iova":"0x0","size":134217728,"us":400}
    {"time":4000,"event":"gate","device":"0000:00:06.0","bar":0,"window":0,"gpa":"0xc0000000","size":8192,\
    "from":"closed","to":"armed","why":"command","us":3}
    {"time":5000,"event":"gate","device":"0000:00:06.0","bar":0,"window":0,"gpa":"0xc0000000","size":8192,\
    "from":"armed","to":"open","why":"access","us":3}
    {"time":6000,"event":"interrupts","device":"0000:00:06.0","mode":"msix","vectors":65,"us":10}
    {"time":7000,"event":"vector","device":"0000:00:06.0","vector":1,"op":"allocate","us":9}
    {"time":8000,"event":"warning","device":"0000:00:06.0","text":"a <b> & \\"c\\""}
    {"time":9000,"event":"phase","name":"power-off"}
    {"time":9500,"event":"dma","op":"unmap","what":"ram","iova":"0x0","size":134217728,"us":70}

    """

  @Test("a window is drawn in each of its states, for the duration of the state")
  func windows() throws {
    var timeline = try Timeline(trace: Self.trace)
    let picture = timeline.draw()
    for text in [
      "window 0 closed, 0 µs to 4.0 ms", "window 0 armed, 4.0 ms to 5.0 ms",
      "window 0 open, 5.0 ms to 9.5 ms",
      "reset: start, 1.5 ms, at 2.0 ms", "128 MiB mapped and pinned", "128 MiB unmapped, 70 µs",
      "BAR 0, 8 KiB", "MSIX",
      "program-started 100 µs", "a &lt;b&gt; &amp; &quot;c&quot;", "vector-allocate",
    ] { #expect(picture.contains(text), "\(text)") }
    #expect(!picture.contains("<b>"))
  }

  @Test("an invalid trace is rejected with its line number")
  func wrong() {
    #expect { try Timeline(trace: Self.trace + "{}\n") } throws: {
      "\($0)".hasPrefix("line 11: invalid trace record")
    }
    #expect(throws: TraceError.self) { try Timeline(trace: "ELF") }
  }

  /// Returns the lines of records with extreme numbers.
  private static func extremes(time: Int64, duration: Int64) -> [String] {
    let window = TraceEvent.Window(device: "d", bar: .min, index: .max, address: .max, size: .max)
    let events: [TraceEvent] = [
      .phase(name: "p"), .command(device: "d", old: .max, new: 0, microseconds: duration),
      .memory(.map, iova: .max, size: .max, microseconds: duration),
      .share(.map, device: "d", iova: .max, size: .max, microseconds: duration),
      .peer(.map, first: window, windows: .max, container: .min, microseconds: duration),
      .gate(window, from: .armed, to: .open, why: .access, microseconds: duration),
      .reset(device: "d", why: .flr, .bus, microseconds: duration),
      .interrupts(device: "d", mode: .msi, vectors: .min, microseconds: duration),
      .vector(device: "d", vector: .min, .mask, microseconds: duration),
      .loss(device: "d", .released, microseconds: duration), .warning(device: "d", text: ""),
      .truncated(path: ""),
    ]
    return events.map { TraceRecord(time: time, event: $0).line }
  }

  @Test("records with the largest and smallest numbers are drawn")
  func extremes() throws {
    var all: [String] = []
    for time in [0, 1, .max] as [Int64] {
      for duration in [0, 1, .max] as [Int64] { all += Self.extremes(time: time, duration: duration) }
    }
    for trace in all + [all.joined(separator: "\n")] {
      var timeline = try Timeline(trace: trace)
      #expect(timeline.draw().hasSuffix("</svg>\n"), "\(trace)")
    }
  }

  @Test("a negative time or duration is rejected", arguments: [(-1, 1), (1, -1)] as [(Int64, Int64)])
  func negative(time: Int64, duration: Int64) {
    for line in Self.extremes(time: time, duration: duration) where time < 0 || line.contains("\"us\"") {
      #expect(throws: TraceError.self) { try Timeline(trace: line) }
    }
  }

  @Test("characters that XML does not allow are replaced")
  func characters() throws {
    let text = "a\u{1}b\u{1B}c\u{FFFE}d\te\nf"
    let record = TraceRecord(time: 1, event: .warning(device: "d", text: text))
    var timeline = try Timeline(trace: record.line)
    #expect(timeline.draw().contains("a\u{FFFD}b\u{FFFD}c\u{FFFD}d\te\nf"))
  }

  @Test("an empty trace gives an empty drawing")
  func empty() throws {
    var timeline = try Timeline(trace: "")
    #expect(timeline.draw().hasPrefix("<svg"))
  }
}
