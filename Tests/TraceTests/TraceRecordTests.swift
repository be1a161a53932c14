// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

@testable import Trace

/// A record and its line in the file.
struct Sample: Sendable, CustomTestStringConvertible {
  let time: Int64
  let event: TraceEvent
  let line: String

  var testDescription: String { line }

  init(_ time: Int64, _ event: TraceEvent, _ line: String) {
    (self.time, self.event, self.line) = (time, event, line)
  }

  private static let device = "0000:01:00.0"
  private static let window = TraceEvent.Window(
    device: device, bar: 2, index: 3, address: 0xC000_4000, size: 4096)

  /// At least one of each event.
  static let all = [
    Sample(1, .phase(name: "first-instruction"), #"{"time":1,"event":"phase","name":"first-instruction"}"#),
    Sample(
      2, .layer(name: "landlock", .off, text: "left out"),
      #"{"time":2,"event":"layer","name":"landlock","state":"off","text":"left out"}"#),
    Sample(
      2, .iommu(.iommufd, text: "requested"),
      #"{"time":2,"event":"iommu","interface":"iommufd","text":"requested"}"#),
    Sample(
      20, .gate(window, from: .armed, to: .open, why: .access, microseconds: 5),
      #"{"time":20,"event":"gate","device":"0000:01:00.0","bar":2,"window":3,"gpa":"0xc0004000","size":4096,"#
        + #""from":"armed","to":"open","why":"access","us":5}"#),
    Sample(
      300, .command(device: device, old: 0x406, new: 0, microseconds: 6),
      #"{"time":300,"event":"command","device":"0000:01:00.0","old":"0x406","new":"0x0","us":6}"#),
    Sample(
      4000, .memory(.unmap, iova: 0x1_0000_0000, size: 1 << 30, microseconds: 12),
      #"{"time":4000,"event":"dma","op":"unmap","what":"ram","iova":"0x100000000","size":1073741824,"us":12}"#
    ),
    Sample(
      .max, .memory(.map, iova: .max, size: .max, microseconds: .max),
      #"{"time":9223372036854775807,"event":"dma","op":"map","what":"ram","iova":"0xffffffffffffffff","#
        + #""size":18446744073709551615,"us":9223372036854775807}"#),
    Sample(
      5, .share(.map, device: "vfio-user:s", iova: 0, size: 4096, microseconds: 6),
      #"{"time":5,"event":"dma","op":"map","what":"ram","device":"vfio-user:s","iova":"0x0","size":4096,"us":6}"#
    ),
    Sample(
      50000, .peer(.map, first: window, windows: 4, container: 1, microseconds: 7),
      #"{"time":50000,"event":"dma","op":"map","what":"bar","device":"0000:01:00.0","bar":2,"window":3,"#
        + #""windows":4,"iova":"0xc0004000","size":4096,"container":1,"us":7}"#),
    Sample(
      600_000, .interrupts(device: device, mode: .msix, vectors: 65, microseconds: 11),
      #"{"time":600000,"event":"interrupts","device":"0000:01:00.0","mode":"msix","vectors":65,"us":11}"#),
    Sample(
      7_000_000, .vector(device: device, vector: 9, .allocate, microseconds: 9),
      #"{"time":7000000,"event":"vector","device":"0000:01:00.0","vector":9,"op":"allocate","us":9}"#),
    Sample(
      8, .reset(device: device, why: .handBack, .bus, microseconds: 10),
      #"{"time":8,"event":"reset","device":"0000:01:00.0","why":"hand-back","method":"bus","us":10}"#),
    Sample(
      9, .loss(device: device, .isolated, microseconds: 12),
      #"{"time":9,"event":"device","device":"0000:01:00.0","state":"isolated","us":12}"#),
    Sample(
      10, .warning(device: device, text: "a \"quoted\"\nline"),
      #"{"time":10,"event":"warning","device":"0000:01:00.0","text":"a \"quoted\"\u000aline"}"#),
    Sample(
      12, .slot(device: device, .contained),
      #"{"time":12,"event":"slot","device":"0000:01:00.0","state":"contained"}"#),
    Sample(11, .truncated(path: #"/a\b"#), #"{"time":11,"event":"truncated","path":"/a\\b"}"#),
  ]
}

@Suite struct TraceRecordTests {
  @Test("a record is encoded as its line", arguments: Sample.all)
  func encode(_ sample: Sample) {
    #expect(TraceRecord(time: sample.time, event: sample.event).line == sample.line)
  }

  @Test("a line is decoded to its record", arguments: Sample.all)
  func decode(_ sample: Sample) throws {
    let record = try #require(TraceRecord(sample.line[...]))
    #expect(record == TraceRecord(time: sample.time, event: sample.event))
  }

  @Test("each event has a sample, and the samples have each field")
  func complete() throws {
    #expect(Set(Sample.all.map(\.event.name)) == Set(TraceEvent.Name.allCases))
    var fields: Set<String> = []
    for sample in Sample.all { fields.formUnion(try Self.fields(of: sample.line)) }
    #expect(fields == Set(TraceEvent.Field.allCases.map(\.rawValue)))
  }

  @Test("a record has the device and the duration of its line", arguments: Sample.all)
  func common(_ sample: Sample) throws {
    let fields = try #require(
      JSONSerialization.jsonObject(with: Data(sample.line.utf8)) as? NSDictionary)
    #expect(sample.event.device == fields["device"] as? String)
    #expect(sample.event.microseconds == (fields["us"] as? NSNumber)?.int64Value)
  }

  @Test("a record with each word of a field is encoded and decoded unchanged")
  func words() {
    let window = TraceEvent.Window(device: "d", bar: 0, index: 0, address: 0, size: 1)
    var events: [TraceEvent] = []
    for state in TraceEvent.WindowState.allCases {
      events += TraceEvent.WindowReason.allCases.map {
        .gate(window, from: state, to: state, why: $0, microseconds: 0)
      }
    }
    events += TraceEvent.MapOperation.allCases.map { .memory($0, iova: 0, size: 1, microseconds: 0) }
    events += TraceEvent.MapOperation.allCases.map {
      .share($0, device: "d", iova: 0, size: 1, microseconds: 0)
    }
    events += TraceEvent.InterruptMode.allCases.map {
      .interrupts(device: "d", mode: $0, vectors: 1, microseconds: 0)
    }
    events += TraceEvent.VectorOperation.allCases.map {
      .vector(device: "d", vector: 1, $0, microseconds: 0)
    }
    for reason in TraceEvent.ResetReason.allCases {
      events += TraceEvent.ResetMethod.allCases.map { .reset(device: "d", why: reason, $0, microseconds: 0) }
    }
    events += TraceEvent.DeviceState.allCases.map { .loss(device: "d", $0, microseconds: 0) }
    events += TraceEvent.SlotState.allCases.map { .slot(device: "d", $0) }
    for event in events {
      let record = TraceRecord(time: 1, event: event)
      #expect(TraceRecord(record.line[...]) == record)
    }
  }

  @Test(
    "an invalid line is rejected",
    arguments: [
      "", "{}", #"{"time":1}"#, #"{"time":1,"event":"other"}"#, #"{"event":"phase","name":"a"}"#,
      #"{"time":1,"event":"phase"}"#, #"{"time":1,"event":"phase","name":1}"#,
      #"{"time":"1","event":"phase","name":"a"}"#, #"{"time":1.5,"event":"phase","name":"a"}"#,
      #"{"time":1,"event":"device","device":"d","state":"open","us":1}"#,
      #"{"time":1,"event":"command","device":"d","old":"2","new":"0x0","us":1}"#,
      #"{"time":1,"event":"command","device":"d","old":"0x10000","new":"0x0","us":1}"#,
      #"{"time":1,"event":"dma","op":"map","what":"rom","iova":"0x0","size":1,"us":1}"#,
    ])
  func wrong(_ line: String) {
    #expect(TraceRecord(line[...]) == nil)
  }

  @Test(
    "Foundation decodes a quoted string", arguments: ["", "a\"b\\c", "\u{0}\t\r\n\u{1f}", "ü→🙂", "/"])
  func quote(_ text: String) throws {
    let json = "[\(JSON.quote(text))]"
    let list = try JSONSerialization.jsonObject(with: Data(json.utf8)) as? [String]
    #expect(list == [text])
  }

  /// Returns the names of the fields of a line.
  static func fields(of line: String) throws -> Set<String> {
    let object = try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any]
    return Set(try #require(object).keys)
  }
}

/// The article about traces has every word of the schema.
@Suite struct TraceDocumentationTests {
  private let article: String

  init() throws {
    let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent()
    article = try String(
      contentsOf: root.appending(path: "Sources/Trace/Trace.docc/Trace.md"), encoding: .utf8)
  }

  @Test("the article has a row for each event with its fields")
  func rows() throws {
    let rows = article.split(separator: "\n")
    for sample in Sample.all {
      let row = try #require(
        rows.first { $0.hasPrefix("| `\(sample.event.name.rawValue)` |") }, "\(sample.event.name)")
      // The article describes these two fields above the table.
      for field in try TraceRecordTests.fields(of: sample.line).subtracting(["time", "event"]) {
        #expect(row.contains("`\(field)`"), "\(sample.event.name): \(field)")
      }
    }
  }

  @Test("the article has each field and each word of a field")
  func words() {
    var words = TraceEvent.Field.allCases.map(\.rawValue) + TraceEvent.Memory.allCases.map(\.rawValue)
    words += TraceEvent.IOMMUInterface.allCases.map(\.rawValue)
    words += TraceEvent.WindowState.allCases.map(\.rawValue)
    words += TraceEvent.WindowReason.allCases.map(\.rawValue)
    words += TraceEvent.MapOperation.allCases.map(\.rawValue)
    words += TraceEvent.InterruptMode.allCases.map(\.rawValue)
    words += TraceEvent.VectorOperation.allCases.map(\.rawValue)
    words += TraceEvent.ResetReason.allCases.map(\.rawValue)
    words += TraceEvent.ResetMethod.allCases.map(\.rawValue)
    words += TraceEvent.DeviceState.allCases.map(\.rawValue) + TraceEvent.SlotState.allCases.map(\.rawValue)
    for word in words { #expect(article.contains("`\(word)`"), "\(word)") }
  }
}
