// SPDX-License-Identifier: Apache-2.0

import Foundation
import Linux
import Sandbox
import TestTools
import Testing

@testable import VFIOUser

/// The system calls of a connection, in threads with filters.
@Suite struct FilterTests {
  /// The rules that a connection adds to the table of a VM.
  private static let rules: [Rule] =
    Rule.core + [
      Rule("sendmsg", [.vcpu, .socket], "send messages"), Rule("recvmsg", [.socket], "receive messages"),
      Rule("shutdown", [.socket], "end a connection"),
      Rule("pread64", [.socket], "read the memory of this test, a file"),
    ]

  /// True if the kernel and this container allow a thread to confine itself.
  private static let isPossible: Bool = {
    guard let result = try? EventFlag() else { return false }
    // The filter ends with this thread.
    try? Linux.Thread(name: "probe") {
      if (try? ThreadSandbox(.pin, rules: Rule.core).enter()) != nil { result.event.signal() }
    }.join()
    return (try? result.event.take()) ?? 0 > 0
  }()

  private final class EventFlag: Sendable {
    let event: EventFD
    init() throws(KernelError) { event = try EventFD() }
  }

  @Test(
    "a vCPU and the reader need the calls that the documentation lists", .enabled(if: isPossible),
    arguments: [[], ["--twin-socket"]])
  func calls(_ arguments: [String]) async throws {
    let server = try ServerProcess(.edu, ["--messages"] + arguments, faults: "at 40: hang")
    _ = try server.connect()  // waits until the server listens
    await #expect(processExitsWith: .exitCode(7)) { [path = server.path as String] in
      alarm(20)
      try ProcessSandbox.prepare()
      var configuration = Connection.Configuration()
      configuration.deadline = 500
      let memory = try TestMemory()
      let socket = try StreamSocket.connect(to: path, waits: true)
      let connection = try Connection(
        socket, name: "test", configuration: configuration, memory: memory.handler)
      try connection.map(memory.range)
      connection.prepareToServe()
      let reader = try Linux.Thread(name: "reader") {
        guard (try? ThreadSandbox(.socket, rules: Self.rules).enter()) != nil else { _exit(1) }
        connection.serve()
      }
      let vcpu = try Linux.Thread(name: "vcpu") {
        guard (try? ThreadSandbox(.vcpu, rules: Self.rules).enter()) != nil else { _exit(2) }
        do throws(ConnectionError) {
          try connection.write(7, offset: 4, width: 2, 6)
          try connection.write(0, offset: 0x80, width: 8, memory.range.address)
          try connection.write(0, offset: 0x88, width: 8, 0x40000)
          try connection.write(0, offset: 0x90, width: 8, 8)
          try connection.write(0, offset: 0x98, width: 8, 1)
          while true { _ = try connection.read(0, offset: 0x90, width: 8) }
        } catch {
          guard error.cause == .late(.regionRead, milliseconds: 500) else { _exit(3) }
        }
      }
      vcpu.join()
      reader.join()
      _exit(7)
    }
  }
}
