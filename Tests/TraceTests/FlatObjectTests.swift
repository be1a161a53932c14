// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

@testable import Trace

@Suite struct FlatObjectTests {
  @Test("strings and numbers are found by name, and literals are skipped")
  func values() throws {
    let text = #" { "a" : "x" ,"b":-1.5e3, "c":true,"d":null ,"e":false,"f":0,"":"" } "#
    let object = try #require(FlatObject(text[...]))
    #expect(object.strings == ["a": "x", "": ""])
    #expect(object.numbers == ["b": "-1.5e3", "f": "0"])
    #expect(object.names == ["a", "b", "c", "d", "e", "f", ""])
    #expect(FlatObject(#"{"a":null,"b":1,"a":2}"#)?.names == ["a", "b", "a"])
    #expect(FlatObject("{}")?.strings.isEmpty == true)
  }

  @Test(
    "escapes are decoded",
    arguments: [
      (#"\"\\\/"#, "\"\\/"), (#"\b\f\n\r\t"#, "\u{8}\u{C}\n\r\t"), (#"\u00b5s\u000a"#, "µs\n"),
      (#"\uD83D\uDE00\uDBFF\uDFFF"#, "😀\u{10FFFF}"), ("µ😀", "µ😀"),
    ])
  func escapes(_ text: String, _ value: String) {
    #expect(FlatObject("{\"a\":\"\(text)\"}")?.strings["a"] == value)
  }

  @Test(
    "an invalid object is rejected",
    arguments: [
      "", "{", "}", "[]", "1", "ELF", "{}x", "{\"a\"}", "{\"a\":}", "{\"a\":1,}", "{,}", "{\"a\":1 \"b\":2}",
      "{a:1}", "{\"a\":{}}", "{\"a\":[1]}", "{\"a\":tru}", "{\"a\":0x10}", "{\"a\":+1}", "{\"a\":inf}",
      "{\"a\":nan}", "{\"a\":\"}", "{\"a\":\"\\q\"}", "{\"a\":\"\\u12\"}", "{\"a\":\"\\uD83D\"}",
      "{\"a\":\"\\uDE00\"}", "{\"a\":\"\n\"}", "{\"a\":1 2}",
    ])
  func wrong(_ text: String) {
    #expect(FlatObject(text[...]) == nil)
  }

  @Test("decodes the text and number that Foundation encoded")
  func foundation() throws {
    var generator = SystemRandomNumberGenerator()
    for _ in 0..<200 {
      let text = String(
        String.UnicodeScalarView(
          (0..<8).compactMap { _ in Unicode.Scalar(UInt32.random(in: 0..<0x11_0000, using: &generator)) }))
      let number = Double.random(in: -1e9...1e9, using: &generator)
      let data = try JSONSerialization.data(withJSONObject: ["text": text, "number": number])
      let object = try #require(FlatObject(String(decoding: data, as: UTF8.self)[...]))
      #expect(object.strings == ["text": text])
      #expect(object.numbers["number"].flatMap { Double($0) } == number)
    }
  }
}
