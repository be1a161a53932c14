// SPDX-License-Identifier: Apache-2.0

import Fakes
import Foundation
import Testing

@testable import Linux

@Suite struct ServiceManagerTests {
  @Test("sends the state and the status to a path and to an abstract name", arguments: [false, true])
  func sends(_ isAbstract: Bool) throws {
    let directory = try Temporary()
    let name = isAbstract ? "@sluice-\(UUID().uuidString)" : directory.path + "/notify"
    let receiver = try DatagramReceiver(name)
    let manager = ServiceManager(try ServiceManager.connect(to: name))
    manager.send(.ready, status: "one")
    manager.send(.stopWaits(3_600_000_000), status: "two")
    manager.send(.stopping, status: "three")
    #expect(receiver.next() == "READY=1\nSTATUS=one\n")
    #expect(receiver.next() == "EXTEND_TIMEOUT_USEC=3600000000\nSTATUS=two\n")
    #expect(receiver.next() == "STOPPING=1\nSTATUS=three\n")
    #expect(receiver.next() == nil)
  }

  @Test("a receiver that reads nothing does not delay the sender")
  func full() throws {
    let directory = try Temporary()
    let receiver = try DatagramReceiver(directory.path + "/notify")
    let manager = ServiceManager(try ServiceManager.connect(to: directory.path + "/notify"))
    for _ in 0..<10_000 { manager.send(.ready, status: "x") }
    #expect(receiver.next() == "READY=1\nSTATUS=x\n")
  }

  @Test(
    "a name that is too long, relative, of another kind or without a receiver is an error",
    arguments: [
      "", "relative", "vsock:2:1234", "/nonexistent/notify", "/" + String(repeating: "x", count: 200),
    ])
  func refused(_ name: String) {
    let error = #expect(throws: KernelError.self) { _ = try ServiceManager.connect(to: name) }
    #expect(error?.description.hasPrefix("connect to NOTIFY_SOCKET \(name): ") ?? false)
  }
}
