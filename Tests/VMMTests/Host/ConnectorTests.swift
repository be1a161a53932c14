// SPDX-License-Identifier: Apache-2.0

import Foundation
import Linux
import Testing

@testable import VMM

/// The client and the body of the process that connects to devices again, as threads of one process.
@Suite struct ConnectorTests {
  private static func path() -> String {
    FileManager.default.temporaryDirectory.appending(path: "c-\(UUID().uuidString)").path
  }

  @Test("each path has its socket, an error of connect is returned, and a late reply is dropped")
  func connects() throws {
    let paths = [Self.path(), Self.path(), Self.path()]
    let first = try SocketListener.create(at: paths[0])
    let second = try SocketListener.create(at: paths[1])
    defer { for path in paths { try? FileManager.default.removeItem(atPath: path) } }
    let (own, other) = try MessageSocket.makePair()
    let connector = Connector(OwnedDescriptor(owning: own), paths)
    // A reply that a stopped process has sent too late, without a socket.
    _ = try MessageSocket.send([99, 0, 0, 0, 0], to: other)
    let thread = try Linux.Thread(name: "connector") {
      let end = OwnedDescriptor(owning: other)
      do throws(KernelError) { try Connector.serve(end.number, paths) } catch {
        Issue.record("\(error)")
      }
    }
    for _ in 0..<3 {
      let one = try connector.connect(to: paths[0])
      #expect(try SocketListener.accept(first.number) != nil && one.number >= 0)
      #expect(try SocketListener.accept(second.number) == nil)
      let two = try connector.connect(to: paths[1])
      #expect(try SocketListener.accept(second.number) != nil && two.number >= 0)
      #expect(throws: KernelError("connect \(paths[2])", errno: KernelError.noEntry)) {
        _ = try connector.connect(to: paths[2])
      }
    }
    MessageSocket.end(own)
    thread.join()
    #expect(throws: KernelError.self) { _ = try connector.connect(to: paths[0]) }
  }
}
