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

  @Test("a window is drawn in each of its states, for as long as it was in it")
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

  @Test("what is no trace is refused, with its line")
  func wrong() {
    #expect { try Timeline(trace: Self.trace + "{}\n") } throws: {
      "\($0)".hasPrefix("line 11: not a record")
    }
    #expect(throws: TraceError.self) { try Timeline(trace: "ELF") }
  }

  @Test("an empty trace is an empty picture")
  func empty() throws {
    var timeline = try Timeline(trace: "")
    #expect(timeline.draw().hasPrefix("<svg"))
  }
}
