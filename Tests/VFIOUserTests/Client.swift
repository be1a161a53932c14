// SPDX-License-Identifier: Apache-2.0

import Linux
import VFIOUser

/// A connection with a thread that receives its messages.
final class Client: Sendable {
  let connection: Connection
  let memory: TestMemory
  private let reader: Linux.Thread

  /// Negotiates with a server and maps the memory.
  ///
  /// - Parameter maps: Changes the descriptor for DMA_MAP; nil for messages.
  init(
    _ socket: consuming OwnedDescriptor, _ configuration: Connection.Configuration = .init(),
    hasDescriptor: Bool = true
  ) throws {
    let memory = try TestMemory()
    let connection = try Connection(
      socket, name: "test", configuration: configuration, memory: memory.handler)
    (self.connection, self.memory) = (connection, memory)
    reader = try Linux.Thread(name: "reader") { connection.serve() }
    do { try connection.map(memory.range, descriptor: hasDescriptor ? memory.number : nil) } catch {
      connection.close()
      reader.join()
      throw error
    }
  }

  /// Sets Memory Space Enable and Bus Master Enable.
  func enable() throws { try connection.write(7, offset: 4, width: 2, 6) }

  deinit {
    connection.close()
    reader.join()
  }
}

extension EventFD {
  /// Waits for a count and takes it; 0 after a second.
  borrowing func next(milliseconds: Int32 = 1000) throws -> UInt64 {
    _ = try wait(milliseconds: milliseconds)
    return try take()
  }
}
