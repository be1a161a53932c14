// SPDX-License-Identifier: Apache-2.0

import Passthrough
import Testing

@testable import VMM

@Suite struct EventSourceTests {
  @Test("each source has a unique token, from which it can be created again")
  func tokens() {
    var sources: [EventSource] = [
      .signals, .shutdown, .serialRoom, .serialBacklog, .input, .output, .arrivals, .control,
    ]
    for index in [0, 1, 255] {
      sources.append(.portPin(index))
      for notification in DeviceNotification.allCases { sources.append(.notification(notification, index)) }
    }
    for source in sources { #expect(EventSource(rawValue: source.rawValue) == source) }
    #expect(Set(sources.map(\.rawValue)).count == sources.count)
  }

  @Test("an unknown token has no source", arguments: [8, 0xFC, 0x100, .max - 3] as [UInt64])
  func none(_ token: UInt64) { #expect(EventSource(rawValue: token) == nil) }
}
